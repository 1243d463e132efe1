"""Execute the chapters as other machines would, and print a table: executed, claims held.

    python book/_tools/elsewhere.py [--chapters 04,13] [--machines sse41,two-threads] [--jobs 2] [--table] [--pick]

Nothing that changes a number may depend on the machine; here that is tried. Each machine has a cold store of its own in
_build/elsewhere, since the names of stored results do not know the instruction set. What ran is remembered by chapter, by
package and by machine, so a second call goes on where the first one stopped. A claim that fails is recorded, and the
chapter goes on. `--pick` runs one chapter on one emulated machine, chosen by the commit (as `make test` does); `--table`
prints what is known and runs nothing. Exit code 1 if a chapter stopped or a claim failed.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field, fields
from pathlib import Path

import torch
from execute import ROOT, read
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from reach import reach

from tl_helpers import ledger, runtime

FOLDER = ROOT / "_build" / "elsewhere"
TIMEOUT = 3_000  # seconds for one cell: an emulated machine is slow

QUICK = ("08", "09", "10", "11", "13")
"""Chapters that a machine without AVX2 executes within minutes: the only ones that `--pick` gives to it."""


@dataclass(frozen=True)
class Machine:
    """What makes a process compute as another machine would.

    Attributes
    ----------
    name : str
    environment : dict of str to str
        Variables of the kernel.
    threads : int
    """

    name: str
    environment: dict[str, str] = field(default_factory=dict)
    threads: int = 1


MACHINES = (
    Machine("avx2", {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}),
    Machine("sse41", {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "TL_ENGINE": "torch"}),
    Machine("no-onnxruntime", {"TL_ENGINE": "torch"}),
    Machine("one-thread"),
    Machine("two-threads", threads=2),
    Machine("bfloat16", {"TL_PRECISION": "bfloat16"}),
    Machine("cuda", {"TL_DEVICE": "cuda"}),
)


@dataclass
class Outcome:
    """How one chapter went on one machine."""

    chapter: str
    machine: str
    code: str
    executed: bool
    held: int
    claims: int
    failed: list[str]
    error: str
    seconds: float

    def __str__(self) -> str:
        if not self.executed:
            return f"STOPPED {self.error}"
        return f"{self.held}/{self.claims} in {self.seconds:.0f} s" + (" CLAIM FAILED" if self.failed else "")


_TURN = asyncio.Lock()


def chapters() -> list[Path]:
    """The notebooks, in their order."""
    return sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))


def book() -> ledger.Ledger:
    """The file of outcomes: append-only, so that a killed process damages none before it."""
    return ledger.Ledger(FOLDER / "outcomes.jsonl")


def known() -> dict[tuple[str, str], Outcome]:
    """The newest outcome of each chapter on each machine."""
    names = [entry.name for entry in fields(Outcome)]
    found = (Outcome(**{name: record[name] for name in names}) for record in book().records("outcome"))
    return {(outcome.chapter, outcome.machine): outcome for outcome in found}


async def execute_with(path: Path, environment: dict[str, str], log: Path, *, go_on: bool = False) -> str:
    """Execute a chapter in such an environment; in a few words what stopped it, and the whole in `log`.

    With `go_on`, a cell that stops does not stop the chapter; only the death of its kernel does, or a cell out of time.
    """
    client = NotebookClient(
        read(path),
        timeout=TIMEOUT,
        kernel_name="python3",
        allow_errors=go_on,
        resources={"metadata": {"path": str(path.parent)}},
        extra_arguments=["--log-level=ERROR"],
    )
    try:
        await client.async_execute(env=environment)
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as problem:
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(str(problem), encoding="utf-8")
        lines = [line for line in str(problem).splitlines() if line.strip()]
        return lines[-1][:200] if lines else type(problem).__name__
    return ""


async def run(path: Path, machine: Machine, slots: asyncio.Semaphore) -> Outcome:
    """Execute one chapter as this machine would."""
    store = FOLDER / machine.name
    environment = {
        **os.environ,
        "TL_DEVICE": "cpu",
        **machine.environment,
        "TL_CACHE": str(store),
        "TL_CLAIMS": "record",
        "TL_FRESH": "0",
        "TL_PROGRESS": "0",
        "TL_THREADS": str(machine.threads),
        "OMP_NUM_THREADS": str(machine.threads),
    }
    for name in {"TL_PRECISION", "TL_ENGINE"} - set(machine.environment):
        environment.pop(name, None)
    async with _TURN:  # two that wait for two cores each must not hold one each
        for _ in range(machine.threads):
            await slots.acquire()
    print(f"executing {path.stem} on {machine.name}", flush=True)
    code = reach(path)
    start = time.monotonic()
    try:
        error = await execute_with(path, environment, FOLDER / f"{path.stem}-{machine.name}.log")
    finally:
        for _ in range(machine.threads):
            slots.release()
    claims = claims_of(store, path.stem) if not error else []
    outcome = Outcome(
        chapter=path.stem,
        machine=machine.name,
        code=code,
        executed=not error,
        held=sum(claim["held"] for claim in claims),
        claims=len(claims),
        failed=[f"{claim['statement']}: {claim['rule']}" for claim in claims if not claim["held"]],
        error=error,
        seconds=round(time.monotonic() - start, 1),
    )
    book().append("outcome", **vars(outcome))
    print(f"executed  {path.stem} on {machine.name}: {outcome}", flush=True)
    return outcome


def claims_of(store: Path, chapter: str) -> list[dict]:
    """The claims that the newest finished run of a chapter recorded in this store."""
    records = ledger.Ledger(store / "ledger.jsonl").records("chapter")
    return [record for record in records if record["chapter"] == chapter][-1]["claims"]


def native() -> str:
    """This machine's own instruction set, as PyTorch names it: DEFAULT, AVX2, AVX512."""
    return torch.backends.cpu.get_cpu_capability()


def usable(machine: Machine) -> str:
    """Empty where this machine can play that one; else why not."""
    if machine.name == "bfloat16" and not runtime.has_bfloat16(torch.device("cpu")):
        return "this CPU has no bfloat16; emulated, a chapter would take hours"
    if machine.name == "cuda" and not torch.cuda.is_available():
        return "torch sees no CUDA device here"
    if machine.threads > (os.cpu_count() or 1):
        return f"needs {machine.threads} cores"
    return ""


def picked() -> tuple[Path, Machine]:
    """One chapter and one machine that differs from this one, chosen by the commit."""
    asked = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    name = asked.stdout.strip() or "".join(reach(path) for path in chapters())  # a copy without git
    number = int(hashlib.sha256(name.encode()).hexdigest(), 16)
    avx2, sse41 = MACHINES[:2]
    choices = [(path, sse41) for path in chapters() if path.stem[:2] in QUICK]
    if native() not in ("AVX2", "DEFAULT"):  # else this machine is no other than itself
        choices += [(path, avx2) for path in chapters()]
    return choices[number % len(choices)]


def table(paths: list[Path], machines: list[Machine]) -> str:
    """Chapter by machine, as Markdown; a star marks what ran with other code than today's."""
    found = known()
    lines = ["| chapter | " + " | ".join(machine.name for machine in machines) + " |"]
    lines.append("|---" * (len(machines) + 1) + "|")
    for path in paths:
        cells = []
        for machine in machines:
            outcome = found.get((path.stem, machine.name))
            old = "" if outcome is None or outcome.code == reach(path) else " *"
            cells.append("not run" if outcome is None else f"{outcome}{old}")
        lines.append(f"| {path.stem} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


async def run_all(pairs: list[tuple[Path, Machine]], jobs: int) -> list[Outcome]:
    """Run what is not known yet, at most `jobs` threads at a time."""
    found = known()
    slots = asyncio.Semaphore(max(jobs, *(machine.threads for _, machine in pairs)))

    def is_known(path: Path, machine: Machine) -> bool:
        outcome = found.get((path.stem, machine.name))
        return outcome is not None and outcome.executed and outcome.code == reach(path)

    todo = [pair for pair in pairs if not is_known(*pair)]
    print(f"{len(pairs) - len(todo)} of {len(pairs)} are known, {len(todo)} to execute", flush=True)
    await asyncio.gather(*(run(path, machine, slots) for path, machine in todo))
    found = known()
    return [found[path.stem, machine.name] for path, machine in pairs]


def chosen(asked: str, names: list[str], what: str) -> list[str]:
    """The names that a comma-separated list asks for (beginnings count); all by default."""
    if not asked:
        return names
    wanted = [part.strip() for part in asked.split(",") if part.strip()]
    unknown = [part for part in wanted if not any(name.startswith(part) for name in names)]
    if unknown:
        sys.exit(f"no {what} {', '.join(unknown)}: there are {', '.join(names)}")
    return [name for name in names if any(name.startswith(part) for part in wanted)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chapters", default="", help="such as 04,13; all by default")
    parser.add_argument("--machines", default="", help=f"of {', '.join(m.name for m in MACHINES)}; all by default")
    parser.add_argument("--jobs", type=int, default=2, help="threads at a time")
    parser.add_argument("--table", action="store_true", help="print what is known, run nothing")
    parser.add_argument("--pick", action="store_true", help="one chapter on one machine, chosen by the commit")
    parser.add_argument("--fresh", action="store_true", help="forget the machines' stores and what ran")
    options = parser.parse_args()
    stems = chosen(options.chapters, [path.stem for path in chapters()], "chapter")
    names = chosen(options.machines, [machine.name for machine in MACHINES], "machine")
    paths = [path for path in chapters() if path.stem in stems]
    machines = [machine for machine in MACHINES if machine.name in names]
    if options.fresh:
        shutil.rmtree(FOLDER, ignore_errors=True)
    if options.table:
        print(table(paths, machines))
        return 0
    if options.pick:
        path, machine = picked()
        paths, machines, pairs = [path], [machine], [(path, machine)]
    else:
        for machine in machines:
            if reason := usable(machine):
                print(f"{machine.name}: left out: {reason}")
        machines = [machine for machine in machines if not usable(machine)]
        pairs = [(path, machine) for machine in machines for path in paths]
    outcomes = asyncio.run(run_all(pairs, options.jobs)) if pairs else []
    print(f"\nThis machine: {native()}\n\n{table(paths, machines)}")
    for outcome in outcomes:
        for statement in outcome.failed:
            print(f"{outcome.chapter} on {outcome.machine}: did not hold: {statement}")
    passed = sum(outcome.executed and not outcome.failed for outcome in outcomes)
    print(f"{passed} passed, {len(outcomes) - passed} failed")
    return int(passed < len(outcomes))


if __name__ == "__main__":
    sys.exit(main())
