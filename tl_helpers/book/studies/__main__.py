"""The command line of `make results`: record what is missing of the book's studies.

python -m tl_helpers.book.studies freeze_grid --workers 2
python -m tl_helpers.book.studies freeze_grid --storage postgresql://user@host/studies   # on each machine
python -m tl_helpers.book.studies freeze_grid --folder mine    # where the book is installed, not checked out
TL_SEED_BASE=1000 python -m tl_helpers.book.studies freeze_grid    # with fresh seeds, the cells that claims cite
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from tl_helpers.book import replication, results, sharing
from tl_helpers.book.studies.catalogue import STUDIES


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line of `make results`."""
    parser = argparse.ArgumentParser(prog="python -m tl_helpers.book.studies", description="Record the book's studies.")
    parser.add_argument("names", nargs="*", help="studies to run; all by default")
    parser.add_argument("--storage", help="database URL that several machines share (default: a local file)")
    parser.add_argument("--workers", type=int, default=2, help="processes, one torch thread each (default: 2)")
    parser.add_argument("--limit", type=int, help="run at most so many cells of each study")
    parser.add_argument("--folder", type=Path, help="for the results (default: the book's, in a checkout)")
    parser.add_argument("--list", action="store_true", help="only say what there is")
    chosen = parser.parse_args(arguments)
    unknown = [name for name in chosen.names if name not in STUDIES]
    if unknown:
        parser.error(f"no study named {', '.join(unknown)}; there are {', '.join(STUDIES)}")
    asked = {name: results.asked_for(STUDIES[name]) for name in chosen.names or STUDIES}
    studies = [study for study in asked.values() if study is not None]
    for name in chosen.names:
        if asked[name] is None:
            print(f"{name}: no claim cites it; it needs no fresh seeds.")
    if chosen.list:
        for study in studies:
            done = len(results.recorded(study, folder=chosen.folder))
            print(f"{study.name}: {done} of {len(study.cells())} cells recorded. {study.title}")
        return 0
    with contextlib.suppress(ValueError):  # not in the main thread
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that a killed run takes its workers along
    command = f"TL_SEED_BASE={replication.base()} " if replication.base() else ""
    command += "make results" + (f" STUDIES={','.join(chosen.names)}" if chosen.names else "")
    failed = {}
    for study in studies:
        try:
            failed[study.name] = results.run_study(
                study,
                storage=chosen.storage,
                folder=chosen.folder,
                workers=chosen.workers,
                limit=chosen.limit,
                command=command,
            )
        except results.ResultsError as problem:
            sys.exit(str(problem))
        done = len(results.recorded(study, folder=chosen.folder))
        print(f"{study.name}: {done} of {len(study.cells())} cells recorded.")
        for cell in failed[study.name]:
            print(f"  failed {sharing.ATTEMPTS} times: {cell}", file=sys.stderr)
    return 1 if any(failed.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
