"""Execute the chapters once more with fresh seeds, and say claim by claim what held.

    python book/_tools/replicate.py [--chapters 04,13] [--jobs 2] [--table]

Seeds start at 1000; chapters were written on seeds from 0 on and tuned on 100. A claim that fails is written down, and the
chapter goes on. So it does after a cell that stops: one that reads a recorded grid whose fresh seeds are not there yet, or
that builds on such a cell. What would have come of it counts as not replicated yet; `TL_SEED_BASE=1000 make results` records
fresh seeds. All goes into tl_helpers/book/results/replication.json, chapter by chapter; a second call executes only
what has changed since. Exit code 1 if a chapter could not be executed to its end.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import elsewhere
from filelock import FileLock
from reach import reach

from tl_helpers import ledger
from tl_helpers.book import replication

LOGS = elsewhere.ROOT / "_build" / "replicate"
KEPT = ("statement", "held", "difference", "low", "high", "unit", "rule", "seeds", "cell", "number")


def known(path: Path) -> bool:
    """Whether the file has this chapter as it is now."""
    return replication.load().get(path.stem, {}).get("reach") == reach(path)


def write(chapter: str, entry: dict) -> None:
    """Put one chapter into the file, which another process may be writing, too."""
    LOGS.mkdir(parents=True, exist_ok=True)
    with FileLock(LOGS / "lock"):
        found = replication.load() | {chapter: entry}
        beside = replication.FILE.with_name(f".{replication.FILE.name}.{os.getpid()}")
        beside.write_text(
            json.dumps(dict(sorted(found.items())), indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
        )
        beside.replace(replication.FILE)


async def run(path: Path, slots: asyncio.Semaphore) -> str:
    """Replicate one chapter and write down what it claimed; what stopped it, if anything did."""
    async with slots:
        print(f"executing {path.stem} with seeds from {replication.base()} on", flush=True)
        reached, commit, start, before = reach(path), _commit(), time.monotonic(), len(_records(path.stem))
        environment = os.environ | {"TL_THREADS": "1", "OMP_NUM_THREADS": "1", "TL_PROGRESS": "0"}
        error = await elsewhere.execute_with(path, environment, LOGS / f"{path.stem}.log", go_on=True)
    records = _records(path.stem)[before:]
    if error or not records or records[-1]["kind"] != "chapter":
        print(f"STOPPED   {path.stem}: {error or 'it did not finish'}", flush=True)
        return error or "it did not finish"
    claims = [{name: claim[name] for name in KEPT} for claim in records[-1]["claims"]]
    entry = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "commit": commit,
        "reach": reached,
        "first_seed": replication.base(),
        "seconds": round(time.monotonic() - start, 1),
        "stopped_cells": [record["error"] for record in records if record["kind"] == "stopped chapter"],
        "claims": claims,
    }
    write(path.stem, entry)
    print(f"executed  {path.stem}: {words(entry)}", flush=True)
    return ""


def words(entry: dict) -> str:
    """How many claims held, how many did not, and how many cells stopped."""
    held = sum(claim["held"] for claim in entry["claims"])
    stopped = len(entry["stopped_cells"])
    said = f"{held} of {len(entry['claims'])} claims held again"
    return said + (f", {stopped} cells stopped: what rests on them is not replicated yet" if stopped else "")


def told(paths: list[Path]) -> str:
    """Claim by claim, what is known of these chapters."""
    found, lines = replication.load(), []
    for path in paths:
        entry = found.get(path.stem)
        if entry is None:
            lines.append(f"{path.stem}: {replication.NOT_YET}")
            continue
        old = "" if known(path) else " (of other code than today's)"
        lines.append(f"{path.stem}, {entry['date']}: {words(entry)}{old}")
        for claim in entry["claims"]:
            lines.append(f"  {replication.HELD if claim['held'] else replication.FAILED}: {claim['statement']}")
        lines += [f"  a cell stopped: {error}" for error in dict.fromkeys(entry["stopped_cells"])]
    return "\n".join(lines)


async def run_all(paths: list[Path], jobs: int) -> list[str]:
    """Replicate what the file does not have as it is now; what stopped chapters."""
    todo = [path for path in paths if not known(path)]
    print(f"{len(paths) - len(todo)} of {len(paths)} are known, {len(todo)} to execute", flush=True)
    slots = asyncio.Semaphore(jobs)
    found = await asyncio.gather(*(run(path, slots) for path in todo))
    return [f"{path.stem}: {error}" for path, error in zip(todo, found, strict=True) if error]


def _records(chapter: str) -> list[dict]:
    """How this chapter ended with these seeds, in the ledger that it shares with every other run; oldest first."""
    kinds = ("chapter", "stopped chapter")
    wanted = chapter, replication.base()
    every = (record for record in ledger.default().records() if record["kind"] in kinds)
    return [record for record in every if (record["chapter"], record.get("seed_base", 0)) == wanted]


def _commit() -> str:
    """The commit, with a plus for what was changed since."""

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=elsewhere.ROOT, capture_output=True, text=True, check=False)
        return done.stdout.strip()

    changed = git("status", "--porcelain", "--", "tl_helpers", "notebooks", ":!tl_helpers/book/results")
    return git("rev-parse", "HEAD") + ("+" if changed else "")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chapters", default="", help="such as 04,13; all by default")
    parser.add_argument("--jobs", type=int, default=2, help="kernels at a time")
    parser.add_argument("--table", action="store_true", help="say what is known, run nothing")
    options = parser.parse_args()
    os.environ |= {"TL_SEED_BASE": str(replication.FRESH), "TL_CLAIMS": "record"}
    stems = elsewhere.chosen(options.chapters, [path.stem for path in elsewhere.chapters()], "chapter")
    paths = [path for path in elsewhere.chapters() if path.stem in stems]
    stopped = [] if options.table else asyncio.run(run_all(paths, options.jobs))
    print(f"\n{told(paths)}")
    if stopped:
        print("not executed to the end: " + "; ".join(stopped), file=sys.stderr)
    return int(bool(stopped))


if __name__ == "__main__":
    sys.exit(main())
