"""Wait for something that can be seen, instead of sleeping and hoping."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable

import pytest


def until(seen: Callable[[], object], *processes: subprocess.Popen, seconds: float = 1200) -> None:
    """Look again and again, until there is something to see.

    The test fails when nothing comes (a hanging test helps nobody), or when a process ends that should have shown it.
    """
    end = time.monotonic() + seconds
    while not seen():
        for process in processes:
            if process.poll() is not None:
                pytest.fail(f"the process ended too early, with {process.returncode}")
        if time.monotonic() > end:
            pytest.fail(f"nothing was seen in {seconds:.0f} s")
        time.sleep(0.001)
