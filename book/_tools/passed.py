"""A plugin of pytest: a test file that passed is not run again while nothing that it reaches has changed (see reach.py).

    PYTHONPATH=book/_tools python -m pytest -p passed tests/unit

Files are remembered in _build/passed.json: those of which all tests ran, and none failed or was skipped. `make clean`
forgets them, and a fresh clone, such as that of continuous integration, remembers nothing.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import reach

MEMORY = Path("_build") / "passed.json"  # below the root


def remembered() -> dict[str, str]:
    """By test file, relative to the root: what it reached when it passed."""
    try:
        found = json.loads((reach.ROOT / MEMORY).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


class Memory:
    """What is known before the tests run, and what they say.

    Attributes
    ----------
    now : dict of str to str
        What each test file reaches, as the session began.
    done : set of str
        Files that need not run.
    asked, told : set of str
        Tests that are to run, and those that have.
    tainted : set of str
        Files of which a test failed, or was skipped: what let it be skipped may change.
    """

    def __init__(self, config: pytest.Config) -> None:
        self.now: dict[str, str] = {}
        self.asked: set[str] = set()
        self.told: set[str] = set()
        self.tainted: set[str] = set()
        if hasattr(config, "workerinput"):  # the process that hands out the tests decides, so that all collect the same
            self.done = set(config.workerinput["done tests"])
            return
        for file in sorted((reach.ROOT / "tests").rglob("test_*.py")):
            self.now[file.relative_to(reach.ROOT).as_posix()] = reach.reach(file)
        self.done = {name for name, reached in remembered().items() if self.now.get(name) == reached}

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node) -> None:
        node.workerinput["done tests"] = sorted(self.done)

    def pytest_report_header(self) -> str:
        return f"passed: {len(self.done)} of {len(self.now)} test files have passed as they are now"

    def pytest_ignore_collect(self, collection_path: Path) -> bool | None:
        inside = collection_path.is_relative_to(reach.ROOT)
        return True if inside and collection_path.relative_to(reach.ROOT).as_posix() in self.done else None

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.tainted.add(report.nodeid.partition("::")[0])

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.asked |= {item.nodeid for item in session.items}

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node, ids: list[str]) -> None:
        self.asked |= set(ids)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "teardown":
            self.told.add(report.nodeid)
        if not report.passed:
            self.tainted.add(report.nodeid.partition("::")[0])

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Remember what has passed; that nothing is left to run is no failure."""
        config, options = session.config, session.config.option
        if hasattr(config, "workerinput"):
            return
        if exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED and self.done:
            session.exitstatus = pytest.ExitCode.OK
        chosen = [
            options.keyword,
            options.markexpr,
            options.deselect,
            getattr(options, "lf", False),
            options.collectonly,
        ]
        if any(chosen) or any("::" in argument for argument in config.args):
            return  # not all tests of a file were asked for
        ran = {test.partition("::")[0] for test in self.told}
        cut = {test.partition("::")[0] for test in self.asked - self.told}
        whole = {name for name in ran - cut - self.tainted if name in self.now}
        passed = {name: self.now[name] for name in whole if reach.reach(reach.ROOT / name) == self.now[name]}
        kept = {
            name: reached for name, reached in remembered().items() if name in self.now and name not in self.tainted
        }
        file = reach.ROOT / MEMORY
        file.parent.mkdir(parents=True, exist_ok=True)
        beside = file.with_suffix(f".{os.getpid()}")
        beside.write_text(json.dumps(kept | passed, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        beside.replace(file)


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Memory(config), "memory of what has passed")
