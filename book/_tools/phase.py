"""Run one phase of the build, show its output, and remember how long it took.

    python book/_tools/phase.py run NAME -- COMMAND ...   run; output also to _build/logs, time to _build/phases.tsv
    python book/_tools/phase.py summary NAME ...          latest time of each phase, then each pytest's last line

Standard library only: the first phase (installation) runs before the virtual environment exists.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

BUILD = Path(__file__).resolve().parents[2] / "_build"
TABLE = BUILD / "phases.tsv"
LOGS = BUILD / "logs"
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
PYTEST_LAST_LINE = re.compile(r"^=+ .*\b(passed|failed|error|skipped|no tests ran)\b.* in [\d.]+s.*=+$")


def run(name: str, command: list[str]) -> int:
    """Run `command`, copying its output to the screen and to a log file; return its exit code."""
    LOGS.mkdir(parents=True, exist_ok=True)
    print(f"--- {name}: {' '.join(command)}", flush=True)
    start = time.monotonic()
    with (
        (LOGS / f"{name}.log").open("wb") as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process,
    ):
        assert process.stdout is not None
        while chunk := process.stdout.read1(8192):
            sys.stdout.buffer.write(chunk)
            sys.stdout.buffer.flush()
            log.write(chunk)
    seconds = time.monotonic() - start
    stamp = datetime.now(UTC).isoformat(timespec="seconds")
    with TABLE.open("a", encoding="utf-8") as table:
        table.write(f"{name}\t{seconds:.1f}\t{process.returncode}\t{stamp}\n")
    print(f"--- {name}: {seconds:.1f} s" + ("" if process.returncode == 0 else " FAILED"), flush=True)
    return process.returncode


def latest() -> dict[str, tuple[str, str, str]]:
    """The last row of each phase: name -> (seconds, exit code, time)."""
    if not TABLE.exists():
        return {}
    rows = (line.split("\t") for line in TABLE.read_text(encoding="utf-8").splitlines())
    return {name: (seconds, code, when) for name, seconds, code, when in rows}


def pytest_line(name: str) -> str | None:
    """The summary line that pytest ended with in this phase's log, or None."""
    log = LOGS / f"{name}.log"
    if not log.exists():
        return None
    lines = COLOUR.sub("", log.read_text(encoding="utf-8", errors="replace")).splitlines()
    return next((line for line in reversed(lines) if PYTEST_LAST_LINE.match(line)), None)


def summary(names: list[str]) -> None:
    """Print the seconds of each phase, and how each pytest among them ended."""
    rows = latest()
    print("\nphase            seconds   measured (UTC)")
    for name in names:
        seconds, code, when = rows.get(name, ("-", "0", "not run on this machine"))
        print(f"{name:<16} {seconds:>7}   {when}" + ("" if code == "0" else "  FAILED"))
    print()
    for name in names:
        if line := pytest_line(name):
            print(f"{name}:\n{line}")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["run", name, "--", *command] if command:
            sys.exit(run(name, command))
        case ["summary", *names]:
            summary(names)
        case _:
            sys.exit(__doc__)
