"""A network cut into stages: its forward pass is traced (torch.fx) and divided where one stage's parameters end.

What belongs to which stage is declared: by timm's `group_matcher`, for torchvision by the names in its documentation, or
by the reader. Nothing is guessed, and that the stages add up to the network is checked on an example.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from timm.layers import get_notrace_functions
from torch import fx, nn
from torch.fx.node import map_aggregate

from tl_helpers.models.backbone import pool_maps

REMEDY = "Give its stages as modules that follow one another: Backbone(name, {'stem': ..., ...}, dim, preprocessing)."


@dataclass(frozen=True)
class Value:
    """What an earlier step of the same stage has computed."""

    name: str


class Stage(nn.Module):
    """Some steps of a network's forward pass: maps (N, C, H, W) to maps, or to vectors (N, D) at the end.

    Tokens (N, T, D) go from stage to stage as maps with one column, (N, D, T, 1), and maps whose channels come last as
    (N, C, H, W): all stages of all backbones look alike, and no number is moved in memory.

    Parameters
    ----------
    network : nn.Module
        Whose modules, parameters and buffers the steps use, and share.
    nodes : sequence of torch.fx.Node
    enters, leaves : torch.fx.Node
        What comes in, and what goes out.
    forms : pair of {"maps", "tokens", "NHWC"}
        How the network itself keeps these two.

    Attributes
    ----------
    copies : bool
        Whether a step would otherwise work in place on what came in.
    """

    def __init__(
        self, network: nn.Module, nodes: Sequence[fx.Node], enters: fx.Node, leaves: fx.Node, forms: tuple[str, str]
    ) -> None:
        super().__init__()
        self.parts, self.copies = nn.ModuleDict(), False
        self.enters, self.leaves, self.forms, steps = enters.name, leaves.name, forms, []
        for node in nodes:
            target = node.target
            if node.op == "call_module":
                self.parts[target := _plain(target)] = network.get_submodule(node.target)
            elif node.op == "get_attr":
                target = self._share(network, node.target)
            elif node.op == "call_function":
                target = fx.node._get_qualified_name(node.target)
            args, kwargs = map_aggregate(
                (node.args, dict(node.kwargs)), lambda one: Value(one.name) if isinstance(one, fx.Node) else one
            )
            steps.append((node.name, node.op, target, tuple(args), tuple(kwargs.items())))
        self.steps = tuple(steps)

    def _share(self, network: nn.Module, path: str) -> str:
        owner, _, name = path.rpartition(".")
        module, own = network.get_submodule(owner), _plain(path)
        tensor = getattr(module, name)
        if isinstance(tensor, nn.Parameter):
            self.register_parameter(own, tensor)
        else:
            self.register_buffer(own, tensor, persistent=name not in module._non_persistent_buffers_set)
        return own

    def extra_repr(self) -> str:
        return "\n".join(map(str, (self.enters, *self.steps, self.leaves, self.forms, self.copies)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        try:
            return self._run(x)
        except AssertionError as problem:  # how vision transformers refuse other images than those they were made for
            raise ValueError(
                f"{problem} Give the images that size, as in task.samples(split, size); or, for a model of timm, say "
                "load_backbone(name, size=...)."
            ) from None

    def _run(self, x: torch.Tensor) -> torch.Tensor:
        found = {self.enters: _from_maps(x.clone() if self.copies else x, self.forms[0])}

        def fill(one: object) -> object:
            return found[one.name] if isinstance(one, Value) else one

        for name, op, target, args, kwargs in self.steps:
            args, kwargs = map_aggregate((args, dict(kwargs)), fill)
            if op == "get_attr":
                found[name] = getattr(self, target)
            elif op == "call_module":
                found[name] = self.parts[target](*args, **kwargs)
            elif op == "call_method":
                found[name] = getattr(args[0], target)(*args[1:], **kwargs)
            else:
                mode = {"training": self.training} if "training" in kwargs else {}  # a dropout, traced in eval mode
                kwargs = dict(kwargs) | mode
                found[name] = _function(target)(*args, **kwargs)
        return _to_maps(found[self.leaves], self.forms[1])


def cut(
    network: nn.Module, belongs: Mapping[str, str], example: torch.Tensor, *, last: bool = False
) -> tuple[dict[str, nn.Module], int]:
    """The stages of a network, and the length of its embedding.

    Parameters
    ----------
    network : nn.Module
        From (N, C, H, W) to an embedding (N, D), maps (N, C', H', W') or tokens (N, T, D). Shared, not copied.
    belongs : mapping of str to str
        The stage of each parameter, by names; the stages in their order.
    example : torch.Tensor
        An input, float32 (N, C, H, W), to check the result with.
    last : bool
        Whether maps within the network are (N, H, W, C).

    Raises
    ------
    ValueError
        If the forward pass cannot be followed, or the stages are not a chain, each of one tensor from the one before.
    """
    what, names = type(network).__name__, list(dict.fromkeys(belongs.values()))
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        whole = _Whole(network)
        place = {id(tensor): names.index(belongs[name]) for name, tensor in network.named_parameters()}
        nodes = _followed(whole, place, what)
        parts, leaves = _divided(whole, nodes, place, names, what)
        with torch.no_grad():
            values, want = _values(whole, nodes, example), whole(example)
            want = pool_maps(_to_maps(want, _form(want, last)))
            leaves[-1] = _before_pooling(parts[-1], leaves[-1], values, want, place, whole, last)
            forms = ["maps", *(_form(values[node], last) for node in leaves)]
            stages = {
                name: Stage(whole, _needed(parts[number], leaf), enters, leaf, (forms[number], forms[number + 1]))
                for number, (name, enters, leaf) in enumerate(zip(names, [nodes[0], *leaves[:-1]], leaves, strict=True))
            }
            got = example
            for stage in stages.values():
                before, now, stage.training = got.clone(), got, False
                got = stage(now)
                stage.copies, stage.training = not torch.equal(now, before), modes[0][1]
            got = pool_maps(got)
    finally:
        for module, mode in modes:
            module.training = mode
    if not _alike(got, want):
        raise ValueError(f"{what}: its stages, one after the other, do not compute what it computes. {REMEDY}")
    return stages, want.shape[1]


class _Whole(nn.Module):
    """Calls the network with an input alone, so that all that its forward could also be given is at its default."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.network(x)


def _followed(whole: _Whole, place: Mapping[int, int], what: str) -> list[fx.Node]:
    """The steps of the forward pass; a module whose parameters belong to one stage is one step."""

    class Tracer(fx.Tracer):
        def is_leaf_module(self, module: nn.Module, name: str) -> bool:
            owners = {place[id(parameter)] for parameter in module.parameters()}
            return module is not whole.network and len(owners) <= 1

    try:
        graph = Tracer(autowrap_functions=tuple(get_notrace_functions())).trace(whole)
    except Exception as problem:  # whatever a forward raises that is given a stand-in for its input
        raise ValueError(
            f"{what}: its forward pass cannot be followed ({type(problem).__name__}: {problem}). {REMEDY}"
        ) from None
    nodes = list(graph.nodes)
    if not isinstance(nodes[-1].args[0], fx.Node):
        raise ValueError(
            f"{what} returns more than one tensor: only one, the embedding (N, D), can go to a head. {REMEDY}"
        )
    return nodes


def _divided(
    whole: _Whole, nodes: Sequence[fx.Node], place: Mapping[int, int], names: Sequence[str], what: str
) -> tuple[list[list[fx.Node]], list[fx.Node]]:
    """The steps of each stage, and what it hands on; a ValueError where that is not one value, to the next stage alone.

    What depends neither on the input nor on parameters, such as a table of sines, is a step of every stage.
    """
    parts: list[list[fx.Node]] = [[] for _ in names]
    leaves, now, home, fixed = [], 0, {nodes[0]: 0}, set()
    for node in nodes[1:-1]:
        owners = _owners(node, place, whole)
        if not owners and fixed.issuperset(node.all_input_nodes):
            fixed.add(node)
            for part in parts:
                part.append(node)
            continue
        for owner in owners:
            if owner < now:
                raise ValueError(f"{what}: {names[owner]} is used again in or after {names[now]}; make them one stage.")
            now = owner
        home[node] = now
        parts[now].append(node)
    for number in range(1, len(names)):
        over = [
            node for node, here in home.items() if here < number and any(home.get(u, now) >= number for u in node.users)
        ]
        if len(over) != 1 or home[over[0]] != number - 1:
            raise ValueError(
                f"{what}: what goes from {names[number - 1]} to {names[number]} is not one tensor but {len(over)} "
                f"({', '.join(node.name for node in over)}); make them one stage."
            )
        leaves += over
    return parts, [*leaves, nodes[-1].args[0]]


def _owners(node: fx.Node, place: Mapping[int, int], whole: _Whole) -> set[int]:
    """The stages whose parameters a step uses: one or none."""
    if node.op == "get_attr":
        owner, _, name = node.target.rpartition(".")
        tensor = getattr(whole.get_submodule(owner), name)
        return {place[id(tensor)]} if id(tensor) in place else set()
    if node.op != "call_module":
        return set()
    return {place[id(parameter)] for parameter in whole.get_submodule(node.target).parameters()}


def _before_pooling(
    part: Sequence[fx.Node],
    leaf: fx.Node,
    values: Mapping,
    want: torch.Tensor,
    place: Mapping,
    whole: _Whole,
    last: bool,
) -> fx.Node:
    """The maps whose average over space is the embedding, so that other ways of pooling can be tried; else the embedding."""
    first = max(number for number, node in enumerate(part) if _owners(node, place, whole))
    for node in part[first:]:
        value = values[node]
        if isinstance(value, torch.Tensor) and value.ndim == 4 and not last and _alike(pool_maps(value), want):
            return node
    return leaf


def _needed(part: Sequence[fx.Node], leaves: fx.Node) -> list[fx.Node]:
    """Of a stage's steps those that its result depends on."""
    wanted, found = {leaves}, []
    for node in reversed(part):
        if node in wanted or (not node.users and node.op == "call_function"):  # a check of the size has no users
            found.insert(0, node)
            wanted.update(node.all_input_nodes)
    return found


def _values(whole: _Whole, nodes: Sequence[fx.Node], example: torch.Tensor) -> dict[fx.Node, object]:
    """What each step computes of an example."""
    found: dict[fx.Node, object] = {}

    class Recorder(fx.Interpreter):
        def run_node(self, node: fx.Node) -> object:
            value = super().run_node(node)
            found[node] = value.clone() if isinstance(value, torch.Tensor) else value  # a later step may work in place
            return value

    Recorder(whole, graph=nodes[0].graph).run(example)
    return found


def _form(value: torch.Tensor, last: bool) -> str:
    return "tokens" if value.ndim == 3 else "NHWC" if value.ndim == 4 and last else "maps"


def _to_maps(x: torch.Tensor, form: str) -> torch.Tensor:
    """(N, T, D) or (N, H, W, C) as maps (N, C, H, W)."""
    return x.transpose(1, 2).unsqueeze(3) if form == "tokens" else x.permute(0, 3, 1, 2) if form == "NHWC" else x


def _from_maps(x: torch.Tensor, form: str) -> torch.Tensor:
    """The inverse."""
    return x.squeeze(3).transpose(1, 2) if form == "tokens" else x.permute(0, 2, 3, 1) if form == "NHWC" else x


def _alike(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.shape == b.shape and torch.allclose(a, b, rtol=1e-4, atol=1e-5 * float(b.abs().max()))


def _plain(path: str) -> str:
    """A name without dots, which PyTorch does not allow."""
    return path.removeprefix("network.").replace(".", "_")


@functools.cache
def _function(path: str) -> Callable:
    """A function by its full name; by name, so that a stage can be copied, compared and named like any other module."""
    module, _, name = path.rpartition(".")
    parts, found = module.split("."), importlib.import_module(module.split(".")[0] or "builtins")
    for part in parts[1:]:
        found = getattr(found, part, None) or importlib.import_module(f"{found.__name__}.{part}")
    return getattr(found, name)
