"""What a stored result is called: a name made of everything that its numbers depend on, code included.

`fingerprint` names values, `code_name` names code. Equal parts give equal names in every process; what cannot be named
surely raises `Unnameable`, and its result is then not kept. Code is named as it *runs*, not as it stands in a file: by the
instructions that Python has loaded, so that a module edited under a running kernel, a docstring or a comment make no
difference, and a changed constant in a helper of a helper does.
"""

from __future__ import annotations

import dataclasses
import dis
import enum
import functools
import hashlib
import importlib
import importlib.util
import itertools
import json
import re
import site
import sys
import sysconfig
import types
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch

QUIET = (
    *("book.chapter", "book.claims", "book.panel", "book.results", "book.widgets"),
    *("keys", "ledger", "plots", "store", "training.checkpoint"),
)
"""Modules of this package in which nothing changes a number: they are not followed."""

_FOREIGN = tuple(  # versions name what lies there
    Path(folder).resolve()
    for folder in (
        *(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")),
        *(*site.getsitepackages(), site.getusersitepackages()),
    )
)
_PACKAGE = __name__.partition(".")[0]
_MODULE = frozenset(vars(torch.nn.Module()))  # what torch keeps on every network
_HAS_DOCSTRING = 0x4000000  # a flag of code objects, from Python 3.13 on
_NO_DOCSTRING = ("<lambda>", "<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>")
_NOT_CODE = ("__annotate__", "__annotate_func__", "_abc_impl")  # members of a class without behaviour


class Unnameable(TypeError):
    """A value whose content cannot be named reliably, so that no stored result may depend on it."""


def fingerprint(*parts: object) -> str:
    """A short stable name for what a result depends on.

    Tensors and arrays count by dtype, shape and bytes; frames by their columns; modules by class, state, the code of what
    is not a library's, and those of the reader's own by all their attributes; dataclasses by their fields and code;
    functions and classes by their code (`code_name`); what has a ``fingerprint`` of its own, such as samples, by that.

    Raises
    ------
    Unnameable
        For a part whose content cannot be named reliably.
    """
    digest = hashlib.sha256()
    for part in parts:
        _feed(digest, part)
    return digest.hexdigest()[:32]


def code_name(*roots: object) -> str:
    """Names the code that these functions, classes and modules run, and all that it calls.

    Followed are functions, classes and constants of this package and of the reader's own notebook and files, through the
    names that their instructions use. Libraries are not: their versions are part of a key. What an *argument* brings along
    is not seen here; `fingerprint` names the classes of modules and dataclasses.

    Raises
    ------
    Unnameable
        If a notebook's code uses a global value that cannot be named.
    """
    walk = _Walk()
    for root in roots:
        walk.visit(root)
    return walk.digest.hexdigest()[:32]


def is_ours(module: str | None) -> bool:
    """Whether code of this module is followed: this package's (but for `QUIET`), the notebook's and the reader's own."""
    first, _, rest = (module or "").partition(".")
    if first == _PACKAGE:
        return not any(rest == name or rest.startswith(f"{name}.") for name in QUIET)
    if first == "__main__":
        return True
    file = getattr(sys.modules.get(module or ""), "__file__", None)
    return file is not None and not _lies_with_libraries(file)


def is_readers(module: str | None) -> bool:
    """Whether it is the reader's own: followed, and not this package's."""
    return is_ours(module) and str(module).partition(".")[0] != _PACKAGE


@functools.cache
def _lies_with_libraries(file: str) -> bool:
    """In a folder of this environment, or of another one that is on the path: where pip notes down what it installed."""
    path = Path(file).resolve()
    if any(path.is_relative_to(place) for place in _FOREIGN):
        return True
    return any(next(folder.glob("*.dist-info"), None) for folder in path.parents)


def _imported(module: str) -> types.ModuleType | None:
    """A module that a function imports when it is called, if it is one to follow."""
    if module not in sys.modules:
        found = importlib.util.find_spec(module.partition(".")[0])
        file = found.origin if found is not None else None
        if file is None or not Path(file).is_file() or _lies_with_libraries(file):
            return None
        importlib.import_module(module)  # as the function would
    return sys.modules[module] if is_ours(module) else None


class _Walk:
    """Visits each function, class and constant once, and feeds what it finds to one digest."""

    def __init__(self) -> None:
        self.digest = hashlib.sha256()
        self.seen: dict[int, tuple[int, object]] = {}  # the object too, so that no other one gets its id

    def say(self, *words: object) -> None:
        for word in words:
            self.digest.update(str(word).encode() + b"\0")

    def visit(self, thing: object) -> None:
        """A root, or what a global name stands for."""
        while hasattr(thing, "__wrapped__") and not _is_wrapper_of_ours(thing):  # static and class methods too
            self.say(type(thing).__name__)
            thing = thing.__wrapped__
        parts = _parts(thing)
        if parts is not None:
            self.say(type(thing).__name__, len(parts))
            for part in parts:
                self.visit(part)
        elif id(thing) in self.seen:
            self.say("again", self.seen[id(thing)][0])
        elif isinstance(thing, (types.FunctionType, type, types.ModuleType)):
            self.seen[id(thing)] = len(self.seen), thing
            home = thing.__name__ if isinstance(thing, types.ModuleType) else thing.__module__
            self.say("code", home, getattr(thing, "__qualname__", ""))
            if is_ours(home):
                self.follow(thing)
        elif isinstance(thing, (types.BuiltinFunctionType, np.ufunc)) or _is_foreign_callable(thing):
            self.say("library", getattr(thing, "__module__", ""), getattr(thing, "__qualname__", repr(type(thing))))
        else:
            self.say("value", fingerprint(thing))

    def follow(self, thing: types.FunctionType | type | types.ModuleType) -> None:
        if isinstance(thing, types.FunctionType):
            self.function(thing)
        elif isinstance(thing, type):
            self.kind(thing)
        else:
            for name, value in sorted(vars(thing).items()):
                here = getattr(value, "__module__", None) == thing.__name__
                if here and isinstance(value, (types.FunctionType, type)):
                    self.say("member", name)
                    self.visit(value)

    def function(self, function: types.FunctionType) -> None:
        self.code(function.__code__, function.__globals__)
        self.visit([function.__defaults__ or (), function.__kwdefaults__ or ()])
        for cell in function.__closure__ or ():
            try:
                content = cell.cell_contents
            except ValueError:  # not filled yet
                continue
            self.visit(content)

    def kind(self, kind: type) -> None:
        self.visit(kind.__bases__)
        if dataclasses.is_dataclass(kind):
            for field in dataclasses.fields(kind):
                self.say("field", field.name)
                for default in (field.default, field.default_factory):
                    if default is not dataclasses.MISSING:
                        self.visit(default)
        for name, value in sorted(vars(kind).items()):
            if not _is_bookkeeping(name, value):
                self.say("member", name)
                self.attempt(value, kind.__module__)

    def code(self, code: types.CodeType, names: dict[str, Any]) -> None:
        """Instructions, constants without the docstring, and what the global names stand for now."""
        read = _read(code)
        self.digest.update(read.said)
        for inner in read.inner:
            self.code(inner, names)
        for path, value in read.values(names):
            self.say("name", path)
            self.attempt(value, names.get("__name__"))

    def attempt(self, value: object, home: str | None) -> None:
        """Visit a value; of this package's own values, such as locks, some have no content and need none."""
        try:
            self.visit(value)
        except Unnameable:
            if str(home).partition(".")[0] != _PACKAGE:
                raise
            self.say("a", type(value).__qualname__)


def _parts(thing: object) -> Sequence[object] | None:
    """What makes up a container, and what else has no code of its own; None for all other things."""
    if isinstance(thing, types.MethodType):
        return [thing.__func__, thing.__self__]
    if isinstance(thing, property):
        return [thing.fget, thing.fset]
    if isinstance(thing, functools.cached_property):
        return [thing.func]
    if isinstance(thing, functools.partial):
        return [thing.func, *thing.args, thing.keywords]
    if isinstance(thing, Mapping):
        return [part for item in thing.items() for part in item]
    return thing if isinstance(thing, (list, tuple)) else None


def _is_bookkeeping(name: str, value: object) -> bool:
    """Of a class's members: what Python itself keeps there, some of it only later (copying sets ``__slotnames__``)."""
    if name in _NOT_CODE or isinstance(value, (types.MemberDescriptorType, types.GetSetDescriptorType)):
        return True
    if name.startswith("__") and name.endswith("__"):
        made = isinstance(value, types.FunctionType) and value.__code__.co_filename == "<string>"  # by dataclasses
        return made or not (callable(value) or hasattr(value, "__get__"))
    return False


def _is_wrapper_of_ours(thing: object) -> bool:
    """A function that a decorator made, which adds something of its own; `functools.wraps` gives it another's name."""
    return isinstance(thing, types.FunctionType) and is_ours(thing.__globals__.get("__name__"))


def _is_foreign_callable(thing: object) -> bool:
    """A function or class of a library; not an object with content, such as a network, that can be called."""
    return callable(thing) and hasattr(thing, "__name__") and not is_ours(getattr(type(thing), "__module__", None))


def _is_docstring(code: types.CodeType) -> bool:
    if not code.co_consts or not isinstance(code.co_consts[0], str):
        return False
    if sys.version_info >= (3, 13):
        return bool(code.co_flags & _HAS_DOCSTRING)
    return code.co_name not in _NO_DOCSTRING  # there None is the first constant of what has no docstring


def _constant(constant: object) -> str:
    """The same text in every process: the order of a set depends on its hashes."""
    if isinstance(constant, frozenset):
        return f"set{sorted(map(_constant, constant))}"
    if isinstance(constant, tuple):
        return f"({','.join(map(_constant, constant))})"
    return f"{type(constant).__name__} {constant!r}"


class _Read(NamedTuple):
    """What a code object says by itself, which never changes: read once."""

    code: types.CodeType
    said: bytes  # instructions and constants
    inner: list[types.CodeType]  # functions, lambdas and comprehensions inside
    chains: list[tuple[str, ...]]  # global names, each with the attributes that follow: ("views", "view")
    imports: list[tuple[str, str]]  # module and name of `from module import name`; `import module` counts whole

    def values(self, names: dict[str, Any]) -> list[tuple[str, object]]:
        """What the names stand for now; of `module.part`, the part.

        A private container of this package is filled as a program runs (``_SHAPES``), and so it is no constant.
        """
        found: dict[str, object] = {}
        for first, *further in self.chains:
            if first not in names:
                continue  # Python's own
            path, value, home = first, names[first], names.get("__name__")
            for attribute in further:
                if not isinstance(value, types.ModuleType):
                    break
                path, home = f"{path}.{attribute}", value.__name__
                value = getattr(value, attribute, None) if is_ours(home) else None
            if value is not None and not isinstance(value, types.ModuleType) and not _fills(path, value, home):
                found[path] = value
        for module, name in self.imports:
            home = _imported(module)
            if home is not None:
                found[f"import {module} {name}"] = getattr(home, name, home) if name else home
        return sorted(found.items(), key=lambda item: item[0])


_READ: dict[int, _Read] = {}


def _read(code: types.CodeType) -> _Read:
    if id(code) not in _READ:
        inner, said = [], [code.co_flags & ~_HAS_DOCSTRING, code.co_argcount, code.co_kwonlyargcount, code.co_names]
        for place, constant in enumerate(code.co_consts):
            if place == 0 and _is_docstring(code):
                said.append(_constant(None))  # as if it had none
            elif isinstance(constant, types.CodeType):
                inner.append(constant)
            else:
                said.append(_constant(constant))
        raw = "\0".join(map(str, said)).encode() + code.co_code + getattr(code, "co_exceptiontable", b"")
        chains, imports = [], []
        skipped = ("CACHE", "NOP", "POP_TOP", "PUSH_NULL", "STORE_FAST", "STORE_DEREF", "STORE_NAME")
        instructions = [one for one in dis.get_instructions(code) if one.opname not in skipped]
        for place, one in enumerate(instructions):
            following = instructions[place + 1 :]
            if one.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
                attributes = itertools.takewhile(lambda next: next.opname in ("LOAD_ATTR", "LOAD_METHOD"), following)
                chains.append((one.argval, *(attribute.argval for attribute in attributes)))
            elif one.opname == "IMPORT_NAME":
                parts = itertools.takewhile(lambda next: next.opname == "IMPORT_FROM", following)
                imports += [(one.argval, part.argval) for part in parts] or [(one.argval, "")]
        _READ[id(code)] = _Read(code, raw, inner, list(dict.fromkeys(chains)), imports)
    return _READ[id(code)]


def _fills(path: str, value: object, home: object) -> bool:
    private = path.rpartition(".")[2].startswith("_") and str(home).partition(".")[0] == _PACKAGE
    return private and isinstance(value, (dict, list, set))


def _feed(digest: hashlib._Hash, part: object) -> None:
    if isinstance(part, torch.Tensor):
        part = part.detach().cpu()
        digest.update(f"tensor{part.dtype}{tuple(part.shape)}".encode())
        if part.numel():
            digest.update(part.contiguous().view(-1).view(torch.uint8).numpy().data)
    elif isinstance(part, np.ndarray):
        if part.dtype == object:
            raise Unnameable("Cannot fingerprint an object array: convert it to numbers or strings.")
        digest.update(f"array{part.dtype}{part.shape}".encode())
        digest.update(np.ascontiguousarray(part).tobytes())
    elif isinstance(part, torch.nn.Module):
        digest.update(repr(part).encode())
        digest.update(code_name(*dict.fromkeys(map(type, part.modules()))).encode())
        for name, module in part.named_modules():
            for attribute, value in sorted(vars(module).items()):
                if isinstance(value, types.FunctionType) and is_ours(value.__module__):
                    digest.update(f"{name}.{attribute}{code_name(value)}".encode())
                elif is_readers(type(module).__module__) and attribute not in _MODULE:
                    digest.update(f"{name}.{attribute}".encode())
                    _feed(digest, value)
        for name, tensor in part.state_dict().items():
            digest.update(name.encode())
            _feed(digest, tensor)
    elif isinstance(getattr(part, "fingerprint", None), str):  # it knows its own name
        digest.update(part.fingerprint.encode())
    elif dataclasses.is_dataclass(part) and not isinstance(part, type):
        _feed(digest, {field.name: getattr(part, field.name) for field in dataclasses.fields(part)})
        digest.update(code_name(type(part)).encode())
    elif isinstance(part, Mapping):
        digest.update(b"{")
        for name in sorted(part):
            digest.update(str(name).encode())
            _feed(digest, part[name])
        digest.update(b"}")
    elif isinstance(part, (list, tuple)):
        digest.update(b"[")
        for item in part:
            _feed(digest, item)
        digest.update(b"]")
    elif isinstance(part, (set, frozenset)):
        digest.update(json.dumps(sorted(fingerprint(item) for item in part)).encode())
    elif isinstance(part, (types.FunctionType, functools.partial, type)):
        digest.update(code_name(part).encode())
    elif isinstance(part, (pd.DataFrame, pd.Series)):
        for name, column in part.items() if isinstance(part, pd.DataFrame) else [(part.name, part)]:
            _feed(digest, str(name))
            _feed(digest, column.tolist())
    elif isinstance(part, enum.Enum):
        _feed(digest, [type(part).__qualname__, part.name])
    elif part is None or isinstance(part, (str, int, float, bool)):
        digest.update(json.dumps(part).encode() + b";")
    elif isinstance(part, (complex, bytes, range, slice, PurePath, re.Pattern, torch.dtype, torch.device, np.dtype)):
        digest.update(f"{type(part).__name__} {part!r};".encode())
    elif isinstance(part, (np.integer, np.floating, np.bool_)):
        _feed(digest, part.item())
    else:
        raise Unnameable(
            f"Cannot fingerprint a {type(part).__name__}: pass arrays, tensors, modules, frames, text or numbers."
        )
