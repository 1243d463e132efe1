"""The frozen prefix: stages that need no gradient, run where they run fastest with the same result.

Stages whose weights are as they were loaded (packaged or from a hub) run in ONNX Runtime on a CPU in float32; all others,
and all on an accelerator, in PyTorch. Device, precision and weights decide, never a clock; the names of what is kept on the
disk say which it was. ``TL_ENGINE=torch`` takes PyTorch for all, as does a machine without the package onnxruntime.
"""

from __future__ import annotations

import contextlib
import io
import logging
import threading
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn.modules import module as hooks

from tl_helpers import keys, runtime, store
from tl_helpers.models import Backbone
from tl_helpers.models.backbone import pool_maps, provenance

if TYPE_CHECKING:
    from onnxruntime import InferenceSession as Session

LIBRARIES = ("torch.nn.", "timm.", "transformers.", "tl_helpers.models.")
"""Where the modules come from that are exported; a module of the reader's runs in PyTorch."""

SESSIONS = 4
"""Compiled graphs that a process holds ready: each keeps the memory of its largest batch."""

_SESSIONS: dict[tuple[str, int], Session] = {}
_LOCK = threading.Lock()


class Prefix:
    """The first stages of a backbone, in eval mode and without gradient.

    Parameters
    ----------
    backbone : Backbone
        Its first `depth` stages must not change while the prefix is in use (the freeze contract). The whole of it is moved
        to the device in use: a network in two places can do nothing more.
    depth : int
        How many stages may be asked for.

    Attributes
    ----------
    engines : list of str
        What runs each stage: see `engines`.

    Raises
    ------
    RuntimeError
        If one of these stages is in training mode, so not frozen.
    """

    def __init__(self, backbone: Backbone, depth: int) -> None:
        self.backbone, self.stages = backbone, list(backbone.stages.values())[:depth]
        self._check()
        backbone.to(runtime.current().device)
        self._names = _as_loaded(self.stages)
        self.engines = engines(backbone, depth)

    def __call__(self, x: torch.Tensor, start: int, stops: Sequence[int]) -> dict[int, torch.Tensor]:
        """Activations after each of some depths, in one pass.

        Parameters
        ----------
        x : torch.Tensor
            uint8 pixels (N, C, H, W) for ``start=0``, else activations after stage `start`.
        start : int
        stops : sequence of int
            Ascending, from `start` to the prefix's depth.

        Returns
        -------
        dict of int to torch.Tensor
            (N, C, H, W), for text (N, T, D + 1); float32, or bfloat16 where the runtime says so.
        """
        self._check()
        here = runtime.current()
        x = x.to(here.device)
        x = self.backbone.prepare(x) if start == 0 else x
        found = {start: x}
        reach = min(stops[-1], len(self._names))
        if start < reach:
            found |= self._compiled(x, start, sorted({*stops, reach} & set(range(start + 1, reach + 1))))
            x = found[reach]
        with torch.no_grad(), here.autocast():
            for number in range(max(start, reach), stops[-1]):
                x = self.stages[number](x)
                found |= {number + 1: x} if number + 1 in stops else {}
        return {stop: found[stop] for stop in stops}

    def to_line(self, x: torch.Tensor, start: int, stop: int) -> torch.Tensor:
        """What reaches the freeze line at depth `stop`: as calling the prefix; pooled, (N, dim), after the last stage."""
        return self.pool(self(x, start, [stop])[stop], stop)

    def pool(self, x: torch.Tensor, stop: int) -> torch.Tensor:
        """Activations after stage `stop` as they are; pooled after the last."""
        return pool_maps(x.float()) if stop == self.backbone.depth else x

    def _check(self) -> None:
        if any(module.training for stage in self.stages for module in stage.modules()):
            raise RuntimeError("A stage below the freeze line is in training mode: freeze(model, depth) comes first.")

    def _compiled(self, x: torch.Tensor, start: int, stops: Sequence[int]) -> dict[int, torch.Tensor]:
        """As `__call__`, for stages that run in ONNX Runtime."""
        last = stops[-1]
        places = [stop - start for stop in stops]
        session = _session(self.stages[start:last], self._names[start:last], x, places)
        outputs = map(torch.from_numpy, session.run(None, {"x": x.detach().contiguous().numpy()}))
        return {
            stop: part.contiguous(memory_format=torch.channels_last) if part.ndim == 4 else part
            for stop, part in zip(stops, outputs, strict=True)
        }


def engine() -> str:
    """What runs stages that are as they were loaded: ONNX Runtime with its version, or ``torch``."""
    here = runtime.current()
    if here.engine != "onnxruntime" or here.device.type != "cpu" or here.precision is not torch.float32:
        return "torch"
    try:
        import onnx  # noqa: F401  the exporter needs it
        import onnxruntime
    except ImportError:
        return "torch"
    return f"onnxruntime {onnxruntime.__version__}"


def engines(backbone: Backbone, depth: int) -> list[str]:
    """What runs each of the first stages, such as ``onnxruntime 1.32.0``: a part of the names of all that is kept."""
    count = len(_as_loaded(list(backbone.stages.values())[:depth]))
    return [engine()] * count + ["torch"] * (depth - count)


def _as_loaded(stages: Sequence[nn.Module]) -> list[str]:
    """Names of the leading stages that run in ONNX Runtime: as they were loaded, and made of a library's modules alone."""
    names: list[str] = []
    if engine() == "torch" or hooks._global_forward_hooks or hooks._global_forward_pre_hooks:
        return names
    with contextlib.suppress(keys.Unnameable):
        for stage in stages:
            name = getattr(stage, "as_loaded", None)
            if name is None or not all(map(_plain, stage.modules())) or provenance(stage) != name:
                break
            names.append(name)
    return names


def _plain(module: nn.Module) -> bool:
    """Whether a module does what its class says: no hook, no method of its own, no class of the reader's."""
    hooked = module._forward_hooks or module._forward_pre_hooks
    return not hooked and "forward" not in vars(module) and type(module).__module__.startswith(LIBRARIES)


class _Chain(nn.Module):
    """Stages one after the other; what comes out after some of them."""

    def __init__(self, stages: Sequence[nn.Module], places: Sequence[int]) -> None:
        super().__init__()
        self.stages, self.places = nn.ModuleList(stages), places

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        outputs = []
        for place, stage in enumerate(self.stages, start=1):
            x = stage(x)
            if place in self.places:
                outputs.append(x)
        return tuple(outputs)


def _session(stages: Sequence[nn.Module], names: Sequence[str], x: torch.Tensor, places: Sequence[int]) -> Session:
    """Stages compiled for inputs such as `x`: from this process's memory, from the store, or exported now."""
    size = list(x.shape[1:]) if x.ndim == 4 else x.ndim  # sentences are of any length
    code = keys.code_name(_export)
    key = keys.fingerprint("graph", engine(), runtime.versions(), code, list(names), list(places), size)
    place = key, runtime.current().threads

    def make() -> dict[str, torch.Tensor]:
        # In a thread of its own no mode of the caller's holds: autocast, inference, random numbers.
        with ThreadPoolExecutor(1) as fresh:
            return {"graph": fresh.submit(_export, stages, names, x, places).result()}

    with _LOCK:
        session, kept = _SESSIONS.pop(place, None), store.shared("graphs")
        if session is None:
            try:
                session = _started(kept.compute(key, make)["graph"])
            except Exception as problem:  # those of onnxruntime have no class in common
                if not type(problem).__module__.startswith("onnxruntime"):
                    raise
                store.warn(f"A compiled graph of the store is damaged ({problem}); making it again.")
                kept.drop(key)
                session = _started(kept.compute(key, make)["graph"])
        _SESSIONS[place] = session
        while len(_SESSIONS) > SESSIONS:
            del _SESSIONS[next(iter(_SESSIONS))]  # the least recently used
    return session


def _started(graph: torch.Tensor) -> Session:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = runtime.current().threads
    options.log_severity_level = 3  # errors; it warns of its own decisions
    return onnxruntime.InferenceSession(graph.numpy().tobytes(), options, providers=["CPUExecutionProvider"])


def _export(stages: Sequence[nn.Module], names: Sequence[str], x: torch.Tensor, places: Sequence[int]) -> torch.Tensor:
    """An ONNX graph, uint8 (bytes,), of stages for any number of inputs such as `x`, and sentences of any length.

    By torch's older exporter: the newer one takes minutes for what may vary. A RuntimeError if the graph does not do what
    the stages do, these are no longer what they were, or do what ONNX does not know.
    """
    if [provenance(stage) for stage in stages] != list(names):
        raise RuntimeError("Stages below the freeze line changed while they were in use: make the prefix anew.")
    names = [f"after{place}" for place in places]
    axes = {0: "N"} if x.ndim == 4 else {0: "N", x.ndim - 1 if x.dtype is torch.int64 else 1: "T"}
    varying = {"x": axes} | {name: {0: "N"} if x.ndim == 4 else {0: "N", 1: "T"} for name in names}
    chain, x = _Chain(stages, places).eval(), x[:2].detach().contiguous()
    logger, file = logging.getLogger("torch.onnx"), io.BytesIO()
    level = logger.level
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of deprecation, and that the tracer saw Python values
        logger.setLevel(logging.ERROR)
        try:
            torch.onnx.export(
                chain, (x,), file, dynamo=False, opset_version=18,
                input_names=["x"], output_names=names, dynamic_axes=varying,
            )  # fmt: skip
        except torch.onnx.errors.OnnxExporterError as problem:
            raise RuntimeError(
                f"ONNX has no name for what these stages do: set TL_ENGINE=torch before Python starts. ({problem})"
            ) from None
        finally:
            logger.setLevel(level)
        graph, want = torch.frombuffer(bytearray(file.getvalue()), dtype=torch.uint8), chain(x)
    for got, maps in zip(_started(graph).run(None, {"x": x.numpy()}), want, strict=True):
        if not torch.allclose(torch.from_numpy(got), maps, rtol=1e-3, atol=1e-3 * float(maps.abs().max())):
            raise RuntimeError(
                "ONNX Runtime does not agree with PyTorch on these stages: set TL_ENGINE=torch before Python starts, and "
                "tell us."
            )
    return graph
