"""One chapter executes, and its claims hold, as on another machine: which chapter and which machine, the commit decides."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


def test_a_chapter_on_an_emulated_machine():
    done = subprocess.run(
        [sys.executable, str(ROOT / "book" / "_tools" / "elsewhere.py"), "--pick"],
        env={name: value for name, value in os.environ.items() if not name.startswith("PYTEST")},
        capture_output=True,
        text=True,
        check=False,
    )
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
