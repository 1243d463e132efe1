"""Where and how the book computes: device, precision, threads, seeds, the cache folder, offline by default.

Everything else asks `current()` and keeps no global state of its own. Every chapter uses it through the other modules.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib.metadata
import math
import os
import platform
import random
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

OFFLINE_SWITCHES = {
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
}

if os.environ.get("TL_ONLINE", "0") != "1":  # the hub libraries read these once, at their own import
    for _name, _value in OFFLINE_SWITCHES.items():
        os.environ.setdefault(_name, _value)

if os.environ.get("TL_THREADS", "").isdigit():  # for BLAS and OpenMP too, which read this once, when they are loaded
    os.environ.setdefault("OMP_NUM_THREADS", os.environ["TL_THREADS"])

import numpy as np  # noqa: E402
import platformdirs  # noqa: E402
import torch  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402
from tqdm.auto import tqdm  # noqa: E402

T = TypeVar("T")

PRECISIONS = ("float32", "bfloat16")
"""What ``TL_PRECISION`` may say."""

ENGINES = ("onnxruntime", "torch")
"""What ``TL_ENGINE`` may say: what runs frozen stages on a CPU (see `tl_helpers.frozen`)."""

_EXACT: ContextVar[bool] = ContextVar("exact", default=False)


@dataclass(frozen=True)
class Runtime:
    """One machine as the book sees it. Made by `current()`; tests make their own.

    Attributes
    ----------
    device : torch.device
        ``cuda``, ``mps`` or ``cpu``.
    threads : int
        Threads of one process.
    cache_dir : pathlib.Path
        Decoded images, features, stored runs and the ledger live here.
    online : bool
        May hub models and data sets be fetched? Off by default.
    fresh : bool
        Recompute runs even if they are stored.
    asked : torch.dtype
        The precision that was asked for: float32, or bfloat16 with ``TL_PRECISION=bfloat16``.
    engine : str
        What runs frozen stages on a CPU, if it is installed: ``onnxruntime``, or ``torch`` with ``TL_ENGINE=torch``.
    """

    device: torch.device
    threads: int
    cache_dir: Path
    online: bool = False
    fresh: bool = False
    asked: torch.dtype = torch.float32
    engine: str = "onnxruntime"

    @property
    def precision(self) -> torch.dtype:
        """What networks compute in: float32 unless ``TL_PRECISION=bfloat16`` asks for the faster one, and in `exact` blocks.

        Never chosen by a measurement: the same book gives the same numbers on a fast machine and on a slow one.
        """
        return torch.float32 if _EXACT.get() else self.asked

    def autocast(self) -> torch.autocast:
        """Run a block in `precision`."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision is torch.bfloat16)


@functools.lru_cache(maxsize=1)
def current() -> Runtime:
    """The runtime of this process, read once from the environment.

    ``TL_DEVICE`` (cpu, cuda, mps), ``TL_THREADS``, ``TL_CACHE``, ``TL_ONLINE=1``, ``TL_FRESH=1``, ``TL_PRECISION``
    (float32, the default on every device and then without TF32, or bfloat16), ``TL_ENGINE`` (onnxruntime, torch).

    Raises
    ------
    ValueError
        If a variable holds something unusable; the message says what to set instead.
    """
    threads = os.environ.get("TL_THREADS", str(_cores()))
    if not threads.isdigit() or int(threads) < 1:
        raise ValueError(f"TL_THREADS={threads!r}: use a whole number from 1 on, or unset it.")
    torch.set_num_threads(int(threads))
    asked = _one_of("TL_PRECISION", PRECISIONS)
    engine = _one_of("TL_ENGINE", ENGINES)
    torch.set_float32_matmul_precision("highest")  # float32 means float32: no TF32 in products ...
    torch.backends.cudnn.allow_tf32 = False  # ... nor in convolutions, where it is CUDA's default
    _keep_memory()
    folder = os.environ.get("TL_CACHE") or platformdirs.user_cache_dir("tl_helpers", appauthor=False)
    return Runtime(
        device=_device(os.environ.get("TL_DEVICE")),
        threads=int(threads),
        cache_dir=Path(folder).expanduser().resolve(),
        online=os.environ.get("TL_ONLINE", "0") == "1",
        fresh=os.environ.get("TL_FRESH", "0") == "1",
        asked=getattr(torch, asked),
        engine=engine,
    )


@contextlib.contextmanager
def exact() -> Iterator[None]:
    """In this block networks compute in float32, whatever ``TL_PRECISION`` says.

    For comparisons with something written out by hand: that two formulas agree to 1e-6 can be seen in float32 only.
    What is computed in other threads at the same time is not touched.

    Examples
    --------
    >>> with runtime.exact():                                                  # doctest: +SKIP
    ...     difference = abs(by_hand(model, x) - packaged(model, x)).max()
    """
    token = _EXACT.set(True)
    try:
        with torch.autocast(current().device.type, enabled=False):
            yield
    finally:
        _EXACT.reset(token)


def has_bfloat16(device: torch.device | None = None) -> bool:
    """Whether a device (by default the one in use) computes in bfloat16 by itself.

    Elsewhere it is emulated, many times slower than float32.
    """
    device = device or current().device
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu":
        return False  # not known before it is tried
    flags = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return any(flags.get(name, False) for name in ("avx512_bf16", "amx_bf16", "amx_tile", "arm_bf16", "bf16"))


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and torch (all devices), and ask torch for deterministic algorithms.

    For a notebook's first cell. The package itself draws from generators of its own; see `RandomNumbers`.

    Raises
    ------
    ValueError
        If the seed is not in [0, 2**32).
    """
    np.random.seed(seed)  # first: it checks the range
    random.seed(seed)
    torch.manual_seed(seed)
    deterministic()


def deterministic() -> None:
    """Ask torch for algorithms that give the same bits each time."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # only for hunting bugs, and it costs time
    torch.backends.cudnn.benchmark = False


class RandomNumbers(TorchDispatchMode):
    """Random numbers that belong to one piece of work, whatever else the process draws or seeds meanwhile.

    Inside ``with``, and in this thread only, what torch would draw from its global generator (dropout, initial weights)
    comes from here; the global one is left alone. Costs some microseconds for each operation of torch. Two limits: the few
    operations that take no generator, such as a GPU's dropout, borrow the global one for a moment, in which other threads
    should not draw; and `torch.utils.checkpoint` cannot repeat a dropout that was drawn here.

    Parameters
    ----------
    seed : int

    Attributes
    ----------
    drawn : bool
        Whether anything was drawn since this was last set to False.

    Raises
    ------
    ValueError
        If the seed is not in [0, 2**32).
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        if not 0 <= int(seed) < 2**32:
            raise ValueError(f"seed={seed}: use a whole number from 0 to 2**32 - 1.")
        kinds = {"cpu", current().device.type} & {"cpu", "cuda", "mps"}
        self.generators = {kind: torch.Generator(kind).manual_seed(int(seed)) for kind in sorted(kinds)}
        self.drawn = False

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        asked = kwargs.get("generator")  # wrapped anew in each call: only the address tells which one it is
        given = asked is not None and asked._cdata != _global_generator(asked.device.type)._cdata
        if torch.Tag.nondeterministic_seeded not in func.tags or given or _without_dropout(func, args, kwargs):
            return func(*args, **kwargs)
        self.drawn = True
        where = next((value.device for value in args if isinstance(value, torch.Tensor)), kwargs.get("device"))
        kind = torch.device(where or "cpu").type
        if kind not in self.generators:  # no numbers to draw, as on the device "meta"
            return func(*args, **kwargs)
        if (same := _with_generator(func)) is not None:
            return same(*args, **kwargs | {"generator": self.generators[kind]})
        return self._lend(kind, func, args, kwargs)

    def _lend(self, kind: str, func, args, kwargs):
        """An operation that takes no generator (a GPU's dropout) gets the global one, in our state, for that moment."""
        ours, theirs = self.generators[kind], _global_generator(kind)
        with _LENDING:
            kept = theirs.get_state()
            theirs.set_state(ours.get_state())
            try:
                return func(*args, **kwargs)
            finally:
                ours.set_state(theirs.get_state())
                theirs.set_state(kept)

    def state(self) -> dict[str, torch.Tensor]:
        """Where the generators are, by kind of device; for a checkpoint."""
        return {kind: generator.get_state() for kind, generator in self.generators.items()}

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        """Go on from there."""
        for kind, generator in self.generators.items():
            generator.set_state(state[kind])


_LENDING = threading.RLock()


def _without_dropout(func: torch._ops.OpOverload, args: tuple, kwargs: dict) -> bool:
    """Attention whose dropout is 0 is tagged as random, and draws nothing."""
    for place, argument in enumerate(func._schema.arguments):
        if argument.name == "dropout_p":
            return (args[place] if place < len(args) else kwargs.get("dropout_p", argument.default_value)) == 0
    return False


@functools.cache
def _with_generator(func: torch._ops.OpOverload) -> torch._ops.OpOverload | None:
    """The operation in the form that takes a generator: ``rand.generator`` for ``rand``; None where there is none."""
    if any(argument.name == "generator" for argument in func._schema.arguments):
        return func
    name = func._overloadname
    return getattr(func.overloadpacket, "generator" if name == "default" else f"{name}_generator", None)


def _global_generator(kind: str) -> torch.Generator:
    if kind == "cuda":
        return torch.cuda.default_generators[torch.cuda.current_device()]
    return torch.mps._get_default_mps_generator() if kind == "mps" else torch.default_generator


def require_online(what: str) -> None:
    """Raise a clear error where `what` needs a network and the runtime is offline.

    Raises
    ------
    RuntimeError
        Unless ``TL_ONLINE=1``.
    """
    if not current().online:
        raise RuntimeError(
            f"{what} must be fetched from a hub, and the book runs offline by default. With a network: set the "
            "environment variable TL_ONLINE=1 before Python starts, then run this again."
        )


def progress(items: Iterable[T], total: int, what: str) -> Iterable[T]:
    """A progress bar around a long loop, gone when it is done; ``TL_PROGRESS=0`` (as in the built book) shows none."""
    hidden = os.environ.get("TL_PROGRESS", "1") == "0"
    return tqdm(items, total=total, desc=what, delay=1, leave=False, disable=hidden)


@functools.lru_cache(maxsize=1)
def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that can change a number."""
    names = (
        *("torch", "torchvision", "timm", "transformers", "scikit-learn", "scipy", "numpy", "datasets", "accelerate"),
        *("pillow", "matplotlib"),
    )
    return {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in names}


def _one_of(variable: str, choices: Sequence[str]) -> str:
    """What an environment variable says, the first choice by default; a ValueError for none of them."""
    said = os.environ.get(variable) or choices[0]
    if said not in choices:
        raise ValueError(f"{variable}={said!r}: use {' or '.join(choices)}, or unset it.")
    return said


def _device(wanted: str | None) -> torch.device:
    have = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    usable = [name for name, there in have.items() if there]
    wanted = usable[0] if wanted is None else wanted
    if wanted not in have:
        raise ValueError(
            f"TL_DEVICE={wanted!r}: use one of {', '.join(have)}, or unset it (CUDA_VISIBLE_DEVICES chooses among GPUs)."
        )
    if wanted not in usable:
        raise ValueError(f"TL_DEVICE={wanted!r}: torch sees no such device here; usable: {', '.join(usable)}.")
    return torch.device(wanted)


def _keep_memory() -> None:
    """Have glibc keep the memory of large tensors for the next step; else the system clears new pages for each of them."""
    with contextlib.suppress(OSError, AttributeError):  # another C library
        libc = ctypes.CDLL("libc.so.6")
        for threshold in (-1, -3):  # above which free memory goes back, and above which it never is the heap's
            libc.mallopt(threshold, 2**30)


def _cores() -> int:
    """Cores for this process: those it may run on, and no more than a container's or a service's quota pays for.

    Of 2.5 cores it takes 2: threads of one computation wait for each other, so one that is paused holds up all.
    """
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS and Windows
        cores = os.cpu_count() or 1
    return max(1, int(min(cores, _quota())))


def _quota(system: Path = Path("/")) -> float:
    """The least quota of CPU time, in cores, of this process's control group and those above it; infinite without one.

    joblib.cpu_count() reads the topmost group only: enough in a container, but not under systemd or JupyterHub.
    """
    least = math.inf
    with contextlib.suppress(OSError):  # no such file: not Linux
        for line in (system / "proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers:
                mounted, files = "sys/fs/cgroup", ["cpu.max"]
            elif "cpu" in controllers.split(","):  # version 1
                mounted, files = "sys/fs/cgroup/cpu", ["cpu.cfs_quota_us", "cpu.cfs_period_us"]
            else:
                continue
            here = Path(path.lstrip("/"))
            for group in (here, *here.parents):
                with contextlib.suppress(OSError, ValueError, ZeroDivisionError):  # no file, or it says "max" or -1
                    quota, period = " ".join((system / mounted / group / file).read_text() for file in files).split()
                    least = min(least, int(quota) / int(period)) if int(quota) > 0 else least
    return least
