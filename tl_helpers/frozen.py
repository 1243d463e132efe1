"""The frozen prefix: stages that need no gradient, run where they run fastest with the same result.

Stages whose weights are as they were loaded (packaged or from a hub) run in ONNX Runtime on a CPU in float32; all others,
and all on an accelerator, in PyTorch. Device, precision and weights decide, never a clock; the names of what is kept on the
disk say which it was. ``TL_ENGINE=torch`` takes PyTorch for all, as does a machine without the package onnxruntime.
"""

from __future__ import annotations

import importlib.util
import io
import logging
import threading
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import nn

from tl_helpers import keys, runtime, store
from tl_helpers.models import Backbone
from tl_helpers.models.backbone import pool_maps

if TYPE_CHECKING:
    from onnxruntime import InferenceSession as Session

LIBRARIES = ("torch.nn.", "timm.", "transformers.", "tl_helpers.models.")
"""Where the modules come from that are exported; a module of the reader's runs in PyTorch."""

SESSIONS = 16
"""Compiled graphs that a process holds ready."""

_SESSIONS: dict[tuple[str, int], Session] = {}
_LOCK = threading.Lock()


class Prefix:
    """The first stages of a backbone, in eval mode and without gradient.

    Parameters
    ----------
    backbone : Backbone
        Its first `depth` stages must not change while the prefix is in use (the freeze contract). They are moved to the
        device in use.
    depth : int
        How many stages may be asked for.

    Attributes
    ----------
    engines : tuple of str
        What runs each stage, such as ``onnxruntime 1.23`` or ``torch``: a part of every name that results are kept under.

    Raises
    ------
    RuntimeError
        If one of these stages is in training mode, so not frozen.
    """

    def __init__(self, backbone: Backbone, depth: int) -> None:
        self.backbone, self.stages = backbone, list(backbone.stages.values())[:depth]
        self._check()
        for stage in self.stages:
            stage.to(runtime.current().device)
        engine = _engine()
        self._names = _as_loaded(self.stages) if engine else []
        self.engines = tuple([engine] * len(self._names) + ["torch"] * (depth - len(self._names)))

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
        if any(stage.training for stage in self.stages):
            raise RuntimeError("A stage below the freeze line is in training mode: freeze(model, depth) comes first.")

    def _compiled(self, x: torch.Tensor, start: int, stops: Sequence[int]) -> dict[int, torch.Tensor]:
        """As `__call__`, for stages that run in ONNX Runtime."""
        last = stops[-1]
        places = [stop - start for stop in stops]
        session = _session(self.stages[start:last], self._names[start:last], x, places)
        outputs = map(torch.from_numpy, session.run(None, {"x": x.contiguous().numpy()}))
        return {
            stop: part.contiguous(memory_format=torch.channels_last) if part.ndim == 4 else part
            for stop, part in zip(stops, outputs, strict=True)
        }


def _engine() -> str | None:
    """What runs stages as they were loaded: ONNX Runtime with its version, or None where PyTorch runs all."""
    here = runtime.current()
    asked = here.engine == "onnxruntime"
    if not asked or here.device.type != "cpu" or here.precision is not torch.float32:
        return None
    if importlib.util.find_spec("onnxruntime") is None:
        return None
    import onnxruntime

    return f"onnxruntime {onnxruntime.__version__}"


def _as_loaded(stages: Sequence[nn.Module]) -> list[str]:
    """Names of the leading stages that are as they were loaded, and made of a library's modules alone."""
    names = []
    for stage in stages:
        name = getattr(stage, "as_loaded", None)
        if name is None or not all(map(_plain, stage.modules())) or keys.fingerprint(stage) != name:
            break
        names.append(name)
    return names


def _plain(module: nn.Module) -> bool:
    """Whether a module does what its class says: no hook, no method of its own, no class of the reader's."""
    hooks = module._forward_hooks or module._forward_pre_hooks
    return not hooks and "forward" not in vars(module) and type(module).__module__.startswith(LIBRARIES)


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
    key = keys.fingerprint("graph", runtime.versions(), keys.code_name(_export), list(names), list(places), size)
    with _LOCK:
        session = _SESSIONS.pop((key, runtime.current().threads), None)
        if session is None:
            kept = store.shared("graphs")
            graph = kept.compute(key, lambda: {"graph": _export(stages, x, places)})["graph"]
            try:
                session = _started(graph)
            except Exception as problem:  # what it raises has no common class of its own
                text = f"A compiled graph of the store is damaged ({problem}); exporting it again."
                warnings.warn(text, store.StoreWarning, 2)
                kept.drop(key)
                session = _started(kept.compute(key, lambda: {"graph": _export(stages, x, places)})["graph"])
        _SESSIONS[key, runtime.current().threads] = session
        while len(_SESSIONS) > SESSIONS:
            del _SESSIONS[next(iter(_SESSIONS))]  # the least recently used
    return session


def _started(graph: torch.Tensor) -> Session:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = runtime.current().threads
    options.log_severity_level = 3  # errors; it warns of its own decisions
    return onnxruntime.InferenceSession(graph.numpy().tobytes(), options, providers=["CPUExecutionProvider"])


def _export(stages: Sequence[nn.Module], x: torch.Tensor, places: Sequence[int]) -> torch.Tensor:
    """An ONNX graph, uint8 (bytes,), of stages for any number of inputs such as `x`, and sentences of any length.

    By torch's older exporter: the newer one takes minutes for what may vary.
    """
    names = [f"after{place}" for place in places]
    axes = {0: "N"} if x.ndim == 4 else {0: "N", x.ndim - 1 if x.dtype is torch.int64 else 1: "T"}
    varying = {"x": axes} | {name: {0: "N"} if x.ndim == 4 else {0: "N", 1: "T"} for name in names}
    logger, file = logging.getLogger("torch.onnx"), io.BytesIO()
    level = logger.level
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of deprecation, and that the tracer saw Python values
        logger.setLevel(logging.ERROR)
        try:
            torch.onnx.export(
                _Chain(stages, places).eval(), (x[:2],), file, dynamo=False, opset_version=18,
                input_names=["x"], output_names=names, dynamic_axes=varying,
            )  # fmt: skip
        finally:
            logger.setLevel(level)
    return torch.frombuffer(bytearray(file.getvalue()), dtype=torch.uint8)
