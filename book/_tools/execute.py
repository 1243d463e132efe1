"""Execute the chapters in parallel into the cache that the book build reads, so that the build itself runs nothing.

    python book/_tools/execute.py [--jobs 2] [--timeout 1500] [notebooks/NN_name.ipynb ...]

A notebook is not run again while nothing that it reaches has changed (see reach.py). A failing notebook does not stop
the others; its traceback is printed at the end and the exit code is 1. Kernels start in notebooks/, with one thread
each.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import sys
import time
from pathlib import Path

import nbformat
from filelock import FileLock
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn, JupyterCacheAbstract
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from reach import reach

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / "_build" / ".jupyter_cache"


def alone() -> FileLock:
    """Only one process at a time reads or writes the cache, which knows no transactions."""
    CACHE.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(CACHE.with_suffix(".lock"))


def read(path: Path) -> nbformat.NotebookNode:
    """The notebook as the book build reads it (version 4, or its key in the cache would differ)."""
    return nbformat.read(path, as_version=4)


def is_cached(cache: JupyterCacheAbstract, path: Path, *, anew: bool = False) -> bool:
    """Whether the cache holds an execution of exactly these code cells, over code and data as they are now.

    With `anew`, only one that took no stored run (``TL_FRESH=1``) counts. One over other code is forgotten: the book build,
    which looks at the cells alone, would show it.
    """
    with alone():
        try:
            record = cache.match_cache_notebook(read(path))
        except KeyError:
            return False
        try:
            cache.get_cache_bundle(record.pk)
            whole = record.data.get("reach") == reach(path)
        except (KeyError, ValueError):  # killed while it was stored: a row without a file
            whole = False
        if not whole:
            with contextlib.suppress(KeyError):
                cache.remove_cache(record.pk)
            return False
        return bool(record.data.get("anew")) or not anew


def store(
    notebook: nbformat.NotebookNode,
    path: Path,
    seconds: float,
    reached: str,
    cache: JupyterCacheAbstract | None = None,
) -> None:
    """Put an executed notebook into the cache, under its code cells; `reached` is what it reached when it began."""
    data = {"execution_seconds": seconds, "reach": reached, "anew": os.environ.get("TL_FRESH") == "1"}
    bundle = CacheBundleIn(notebook, str(path), data=data)
    with alone():
        (cache or get_cache(CACHE)).cache_notebook_bundle(bundle, check_validity=False, overwrite=True)


async def execute(path: Path, cache: JupyterCacheAbstract, slots: asyncio.Semaphore, timeout: int) -> str | None:
    """Run one notebook and store it; return the text of its error, or None."""
    async with slots:
        notebook, reached, start = read(path), reach(path), time.monotonic()
        print(f"executing {path.name}", flush=True)
        client = NotebookClient(
            notebook,
            timeout=timeout,
            kernel_name="python3",
            resources={"metadata": {"path": str(path.parent)}},
            record_timing=False,  # times in the cells' metadata would change the key in the cache
            extra_arguments=["--log-level=ERROR"],  # the kernel would remark on loopback without encryption
        )
        try:
            await client.async_execute()
        except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
            print(f"FAILED    {path.name}", flush=True)
            return f"{'=' * 30} {path.name} {'=' * 30}\n{error}"
        seconds = time.monotonic() - start
        store(notebook, path, seconds, reached, cache)
        print(f"executed  {path.name} in {seconds:.1f} s", flush=True)
        return None


async def execute_all(paths: list[Path], jobs: int, timeout: int) -> list[str]:
    """Run those of `paths` that the cache lacks, `jobs` at a time; return the error texts."""
    cache = get_cache(CACHE)
    todo = [path for path in paths if not is_cached(cache, path)]
    print(
        f"{len(paths) - len(todo)} of {len(paths)} chapters are in the cache, {len(todo)} to execute",
        flush=True,
    )
    slots = asyncio.Semaphore(jobs)
    results = await asyncio.gather(*(execute(path, cache, slots, timeout) for path in todo))
    errors = [error for error in results if error]
    not_found = [path.name for path in paths if not errors and not is_cached(cache, path)]
    if not_found:
        errors.append(f"edited while it ran, so it has to run again: {', '.join(not_found)}")
    return errors


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebooks", nargs="*", type=Path)
    parser.add_argument("--jobs", type=int, default=2, help="kernels at a time")
    parser.add_argument("--timeout", type=int, default=1500, help="seconds for one cell")
    options = parser.parse_args()
    paths = [path.resolve() for path in options.notebooks] or sorted((ROOT / "notebooks").glob("*.ipynb"))
    os.environ.setdefault("TL_THREADS", "1")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("TL_PROGRESS", "0")
    errors = asyncio.run(execute_all(paths, options.jobs, options.timeout))
    if errors:
        print("\n".join(errors), file=sys.stderr)
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
