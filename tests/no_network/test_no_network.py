"""The tests themselves run with every non-loopback socket refused, in this process and in those it starts."""

import os
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path

import pytest

GUARD = Path(__file__).parent
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(GUARD)}
# An address from the block reserved for documentation (RFC 5737): nothing answers there, guard or no guard.
FAR = ("192.0.2.1", 80)


def python(code: str) -> subprocess.CompletedProcess:
    """Run `code` in a new Python under the guard."""
    return subprocess.run(
        [sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True, timeout=600, check=False
    )


@pytest.mark.parametrize(
    "code",
    [
        f"import socket; socket.create_connection({FAR}, timeout=5)",
        f"import socket; socket.socket().connect({FAR})",
        f"import socket; socket.socket().connect_ex({FAR})",
        f"import socket; socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', {FAR})",
        "import socket; socket.getaddrinfo('example.org', 443)",
        "import socket; socket.gethostbyname('example.org')",
        "import urllib.request; urllib.request.urlopen('http://example.org', timeout=5)",
        f"import asyncio; asyncio.run(asyncio.open_connection(*{FAR}))",
    ],
)
def test_other_hosts_are_refused_with_a_clear_message(code):
    done = python(code)
    assert done.returncode != 0
    assert "network refused" in done.stderr


def test_the_refusal_is_an_oserror_so_that_libraries_handle_it_like_a_missing_network():
    done = python(f"import socket\ntry: socket.create_connection({FAR})\nexcept OSError as e: print(type(e).__name__)")
    assert done.stdout.strip() == "NetworkRefused"


def test_loopback_works_by_address_and_by_name():
    with socket.create_server(("127.0.0.1", 0)) as server:
        accepting = threading.Thread(target=lambda: [server.accept()[0].close() for _ in range(2)])
        accepting.start()
        port = server.getsockname()[1]
        done = python(
            f"import socket; [socket.create_connection((h, {port})).close() for h in ('127.0.0.1', 'localhost')]"
        )
        accepting.join(10)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="Python on Windows has no Unix sockets to test")
def test_unix_sockets_work(tmp_path):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        server.listen()
        done = python(f"import socket; socket.socket(socket.AF_UNIX).connect({str(tmp_path / 's')!r})")
    assert done.returncode == 0, done.stderr


def test_a_kernel_inherits_the_refusal():
    from jupyter_client.manager import start_new_kernel

    manager, client = start_new_kernel(startup_timeout=600, kernel_name="python3", env=ENVIRONMENT)
    try:
        reply = client.execute_interactive(
            "import socket; socket.getaddrinfo('example.org', 80)",
            timeout=600,
            output_hook=lambda message: None,
        )
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    assert reply["content"]["status"] == "error"
    assert reply["content"]["ename"] == "NetworkRefused"


@pytest.mark.skipif(
    str(GUARD) not in os.environ.get("PYTHONPATH", ""), reason="only make loads the guard into pytest itself"
)
def test_this_very_process_is_guarded():
    with pytest.raises(urllib.error.URLError, match="network refused"):
        urllib.request.urlopen("http://example.org", timeout=5)
