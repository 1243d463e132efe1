"""A plugin of pytest: a test file that passed is not run again while nothing that it reaches has changed (see reach.py).

    PYTHONPATH=book/_tools python -m pytest -p passed tests/unit

Files are remembered in _build/passed.json: those of which all tests ran, and none failed. `make clean` forgets them, and a
fresh clone, such as that of continuous integration, remembers nothing.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import reach

MEMORY = Path("_build") / "passed.json"  # below the root


def remembered() -> dict[str, str]:
    """By test file, relative to the root: what it reached when it passed."""
    try:
        return json.loads((reach.ROOT / MEMORY).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}


class Memory:
    """What is known before the tests run, and what they say.

    Attributes
    ----------
    now : dict of str to str
        What each test file reaches, as the session began.
    done : set of str
        Files that need not run.
    ran, failed : set of str
        Files of which a test ran, and of which one failed.
    """

    def __init__(self) -> None:
        files = sorted((reach.ROOT / "tests").rglob("test_*.py"))
        self.now = {file.relative_to(reach.ROOT).as_posix(): reach.reach(file) for file in files}
        self.done = {name for name, reached in remembered().items() if self.now.get(name) == reached}
        self.ran: set[str] = set()
        self.failed: set[str] = set()

    def pytest_report_header(self) -> str:
        return f"passed: {len(self.done)} of {len(self.now)} test files have passed as they are now"

    def pytest_ignore_collect(self, collection_path: Path) -> bool | None:
        inside = (
            collection_path.is_relative_to(reach.ROOT)
            and collection_path.relative_to(reach.ROOT).as_posix() in self.done
        )
        return True if inside else None

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.failed.add(report.nodeid.partition("::")[0])

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        name = report.nodeid.partition("::")[0]
        self.ran.add(name)
        if report.failed:
            self.failed.add(name)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Remember what has passed; that nothing is left to run is no failure."""
        options = session.config.option
        if hasattr(session.config, "workerinput"):
            return  # with several workers, the one that hears them all remembers
        if exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED and self.done:
            session.exitstatus = pytest.ExitCode.OK
        parts = options.keyword or options.markexpr or any("::" in argument for argument in session.config.args)
        if parts or exitstatus not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
            return  # not all tests of a file have run
        passed = {name: self.now[name] for name in self.ran - self.failed if name in self.now}
        kept = {name: reached for name, reached in remembered().items() if name in self.now and name not in self.failed}
        file = reach.ROOT / MEMORY
        file.parent.mkdir(parents=True, exist_ok=True)
        beside = file.with_suffix(".part")
        beside.write_text(json.dumps(kept | passed, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        beside.replace(file)


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Memory(), "memory of what has passed")
