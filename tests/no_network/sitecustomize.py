"""Refuse every socket that leaves this machine: put this folder on PYTHONPATH and Python imports this file at start-up.

The tests and the book's execution run under it, including pytest-xdist's workers and Jupyter's kernels (which inherit
PYTHONPATH), so a chapter that would fetch something fails here and not on a reader's train. Loopback and Unix sockets
work as always. It guards Python's sockets: native code with its own network stack is outside its reach, and the browser
tests block the network with Chromium's own flags.
"""

import ipaddress
import socket

_connect = socket.socket.connect
_connect_ex = socket.socket.connect_ex
_sendto = socket.socket.sendto
_getaddrinfo = socket.getaddrinfo
_gethostbyname = socket.gethostbyname
_gethostbyname_ex = socket.gethostbyname_ex


class NetworkRefused(socket.gaierror):
    """Raised in place of a connection that would leave this machine (an OSError, like a missing network)."""


def _is_local(host) -> bool:
    """Whether `host` names this machine's loopback interface (None and "" mean "any of my own addresses")."""
    if isinstance(host, bytes):
        host = host.decode("ascii", "replace")
    if host in (None, "", "localhost", "localhost.localdomain"):
        return True
    try:
        return ipaddress.ip_address(str(host).partition("%")[0]).is_loopback
    except ValueError:
        return False


def _refuse_unless_local(host) -> None:
    if not _is_local(host):
        raise NetworkRefused(
            socket.EAI_FAIL,
            f"network refused: {host!r} is not on this machine, and tests and chapters must run without a network",
        )


def _check_address(sock, address) -> None:
    if sock.family in (socket.AF_INET, socket.AF_INET6):
        _refuse_unless_local(address[0])


def connect(self, address):
    _check_address(self, address)
    return _connect(self, address)


def connect_ex(self, address):
    _check_address(self, address)
    return _connect_ex(self, address)


def sendto(self, data, *flags_and_address):
    _check_address(self, flags_and_address[-1])
    return _sendto(self, data, *flags_and_address)


def getaddrinfo(host, *args, **kwargs):
    _refuse_unless_local(host)
    return _getaddrinfo(host, *args, **kwargs)


def gethostbyname(hostname):
    _refuse_unless_local(hostname)
    return _gethostbyname(hostname)


def gethostbyname_ex(hostname):
    _refuse_unless_local(hostname)
    return _gethostbyname_ex(hostname)


socket.socket.connect = connect
socket.socket.connect_ex = connect_ex
socket.socket.sendto = sendto
socket.getaddrinfo = getaddrinfo
socket.gethostbyname = gethostbyname
socket.gethostbyname_ex = gethostbyname_ex
