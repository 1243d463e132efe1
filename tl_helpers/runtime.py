"""Where and how the book computes: device, precision, threads, seeds, the cache folder, offline by default.

Everything else asks `current()` and keeps no global state of its own. Every chapter uses it through the other modules.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import math
import json
import os
import platform
import random
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

Phase = Literal["inference", "training"]

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
from tqdm.auto import tqdm  # noqa: E402

T = TypeVar("T")

BF16_MUST_WIN_BY = 1.5
"""bfloat16 is used only where it measures this many times faster: a clear win, so that noise cannot flip the choice."""

PROBE_PIXELS = {"inference": 224, "training": 96}
"""Image sizes of the measurement: there the two precisions lie far apart, so that other load does not flip it either."""


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
    """

    device: torch.device
    threads: int
    cache_dir: Path
    online: bool = False
    fresh: bool = False

    def precision(self, phase: Phase) -> torch.dtype:
        """The dtype that is fastest here for a phase: float32, or bfloat16 where it wins clearly.

        Measured once per machine with a few steps of EfficientNet-Lite0 and kept in ``cache_dir/machine.json``.
        ``TL_PRECISION=float32`` (or ``bfloat16``) overrides the measurement.

        Parameters
        ----------
        phase : {"inference", "training"}
        """
        if phase not in PROBE_PIXELS:
            raise ValueError(f"Unknown phase {phase!r}: use 'inference' or 'training'.")
        forced = os.environ.get("TL_PRECISION")
        if forced:
            if forced not in ("float32", "bfloat16"):
                raise ValueError(f"TL_PRECISION={forced!r}: use float32 or bfloat16, or unset it.")
            return getattr(torch, forced)
        key = f"{_machine()}|{self.device.type}|{phase}"
        record = self.cache_dir / "machine.json"
        known = _read_json(record)
        if key not in known:
            ratio = _bf16_speedup(self.device, phase, PROBE_PIXELS[phase])
            known = _read_json(record) | {key: round(ratio, 2)}
            self.cache_dir.mkdir(parents=True, exist_ok=True)
            _write_json(record, known)
        return torch.bfloat16 if known[key] >= BF16_MUST_WIN_BY else torch.float32

    @contextlib.contextmanager
    def autocast(self, phase: Phase) -> Iterator[None]:
        """Run a block in `precision(phase)`."""
        dtype = self.precision(phase)
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=dtype is torch.bfloat16):
            yield

    def describe(self) -> dict[str, str]:
        """A row for tables: device, threads, cache folder, versions."""
        return {
            "device": str(self.device),
            "threads": str(self.threads),
            "cache": self.cache_dir.name,
            "hubs": "online" if self.online else "offline",
            **versions(),
        }


@functools.lru_cache(maxsize=1)
def current() -> Runtime:
    """The runtime of this process, read once from the environment.

    ``TL_DEVICE`` (cpu, cuda, mps), ``TL_THREADS``, ``TL_CACHE``, ``TL_ONLINE=1``, ``TL_FRESH=1``.

    Raises
    ------
    ValueError
        If a variable holds something unusable; the message says what to set instead.
    """
    threads = os.environ.get("TL_THREADS", str(_cores()))
    if not threads.isdigit() or int(threads) < 1:
        raise ValueError(f"TL_THREADS={threads!r}: use a whole number from 1 on, or unset it.")
    torch.set_num_threads(int(threads))
    folder = os.environ.get("TL_CACHE") or platformdirs.user_cache_dir("tl_helpers", appauthor=False)
    return Runtime(
        device=_device(os.environ.get("TL_DEVICE")),
        threads=int(threads),
        cache_dir=Path(folder).expanduser().resolve(),
        online=os.environ.get("TL_ONLINE", "0") == "1",
        fresh=os.environ.get("TL_FRESH", "0") == "1",
    )


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and torch (all devices), and ask torch for deterministic algorithms.

    This is the one place where the book touches global random state; code that can, takes a generator instead.

    Raises
    ------
    ValueError
        If the seed is not in [0, 2**32).
    """
    if not 0 <= int(seed) < 2**32:
        raise ValueError(f"seed={seed}: use a whole number from 0 to 2**32 - 1.")
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # only for hunting bugs, and it costs time
    torch.backends.cudnn.benchmark = False


def seed_worker(worker: int) -> None:
    """``worker_init_fn`` of a DataLoader: seed a worker's Python and NumPy from torch's own worker seed."""
    seed = torch.initial_seed() % 2**32
    random.seed(seed)
    np.random.seed(seed)


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
    names = ("torch", "timm", "scikit-learn", "numpy", "datasets", "accelerate", "pillow")
    return {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in names}


def _device(wanted: str | None) -> torch.device:
    have = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if wanted is None:
        return torch.device(next(name for name in ("cuda", "mps", "cpu") if have[name]))
    kind = wanted.split(":")[0]
    if kind not in have:
        raise ValueError(f"TL_DEVICE={wanted!r}: use one of {', '.join(have)}, or unset it.")
    if not have[kind]:
        usable = ", ".join(name for name, usable in have.items() if usable)
        raise ValueError(f"TL_DEVICE={wanted!r}: torch sees no such device here; usable: {usable}.")
    return torch.device(wanted)


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


def _machine() -> str:
    return f"{platform.machine()}-{torch.backends.cpu.get_cpu_capability()}-torch{torch.__version__}"


HOPELESS = 0.25
"""A first glance at bfloat16, as a share of float32's speed, below which it is not measured further."""


def _bf16_speedup(device: torch.device, phase: Phase, pixels: int) -> float:
    """Seconds in float32 over seconds in bfloat16 for one step of the network that most chapters use."""
    import timm  # here: it takes seconds to import, and a measured machine does not need it

    with torch.random.fork_rng(devices=[]):
        network = timm.create_model("tf_efficientnet_lite0", num_classes=2).train(phase == "training")
        batch = torch.rand(8, 3, pixels, pixels)
    network = network.to(device, memory_format=torch.channels_last)
    batch = batch.to(device, memory_format=torch.channels_last)

    def seconds(bf16: bool, batch: torch.Tensor = batch) -> float:
        start = time.perf_counter()
        with torch.set_grad_enabled(phase == "training"):
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16):
                loss = network(batch).float().sum()
            if phase == "training":
                network.zero_grad()
                loss.backward()
        loss.item()
        return time.perf_counter() - start

    def ratio(repeats: int, batch: torch.Tensor) -> float:
        pairs = [(seconds(False, batch), seconds(True, batch)) for _ in range(repeats + 1)][1:]  # in turn, so that
        return min(pair[0] for pair in pairs) / min(pair[1] for pair in pairs)  # other load hits both

    try:
        glance = ratio(1, batch[:2, :, :32, :32])
        # A CPU without bfloat16 emulates it, tens of times slower: the full measurement would take a minute to say so.
        return glance if glance < HOPELESS else ratio(4, batch)
    except RuntimeError:  # a device without bfloat16
        return 0.0


def _read_json(path: Path) -> dict[str, float]:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):  # absent, or damaged by a killed process: measure again
        return {}


def _write_json(path: Path, content: dict[str, float]) -> None:
    beside = path.with_name(f"{path.name}.{os.getpid()}")
    beside.write_text(json.dumps(content, indent=1, sort_keys=True))
    beside.replace(path)
