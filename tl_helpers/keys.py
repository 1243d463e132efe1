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
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

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
        self.seen: dict[int, object] = {}  # the object too, so that no other one gets its number

    def say(self, *words: object) -> None:
        for word in words:
            self.digest.update(str(word).encode() + b"\0")

    def visit(self, thing: object) -> None:
        """A root, or what a global name stands for."""
        while hasattr(thing, "__wrapped__") and not _is_wrapper_of_ours(thing):
            thing = thing.__wrapped__
        if isinstance(thing, (types.FunctionType, type, types.ModuleType)):
            if id(thing) in self.seen:
                return self.say("again", getattr(thing, "__qualname__", thing.__name__))
            self.seen[id(thing)] = thing
        if isinstance(thing, types.FunctionType):
            self.function(thing)
        elif isinstance(thing, type):
            self.kind(thing)
        elif isinstance(thing, types.ModuleType):
            self.module(thing)
        elif isinstance(thing, types.MethodType):
            self.visit(thing.__func__)
            self.visit(thing.__self__)
        elif isinstance(thing, (staticmethod, classmethod)):
            self.visit(thing.__func__)
        elif isinstance(thing, property):
            for part in (thing.fget, thing.fset):
                if part is not None:
                    self.visit(part)
        elif isinstance(thing, functools.cached_property):
            self.visit(thing.func)
        elif isinstance(thing, functools.partial):
            self.visit(thing.func)
            self.visit([*thing.args, thing.keywords])
        elif isinstance(thing, Mapping):
            self.say("mapping", len(thing))
            for name, value in thing.items():
                self.visit(name)
                self.visit(value)
        elif isinstance(thing, (list, tuple)):
            self.say("sequence", len(thing))
            for value in thing:
                self.visit(value)
        elif isinstance(thing, (types.BuiltinFunctionType, np.ufunc)) or _is_foreign_callable(thing):
            self.say("library", getattr(thing, "__module__", ""), getattr(thing, "__qualname__", repr(type(thing))))
        else:
            self.say("value", fingerprint(thing))

    def function(self, function: types.FunctionType) -> None:
        self.say("function", function.__module__, function.__qualname__)
        if not is_ours(function.__module__):
            return
        self.code(function.__code__, function.__globals__)
        for value in (function.__defaults__, function.__kwdefaults__):
            self.visit(value or ())
        for cell in function.__closure__ or ():
            try:
                content = cell.cell_contents
            except ValueError:  # not filled yet: a function that calls itself
                continue
            if content is not function:
                self.visit(content)

    def kind(self, kind: type) -> None:
        self.say("class", kind.__module__, kind.__qualname__)
        if not is_ours(kind.__module__):
            return
        for base in kind.__bases__:
            self.visit(base)
        if dataclasses.is_dataclass(kind):
            for field in dataclasses.fields(kind):
                self.say("field", field.name)
                if field.default is not dataclasses.MISSING:
                    self.visit(field.default)
                if field.default_factory is not dataclasses.MISSING:
                    self.visit(field.default_factory)
        for name, value in sorted(vars(kind).items()):
            if not _is_bookkeeping(name, value):
                self.say("member", name)
                self.attempt(value, kind.__module__)

    def module(self, module: types.ModuleType) -> None:
        self.say("module", module.__name__)
        if not is_ours(module.__name__):
            return
        for name, value in sorted(vars(module).items()):
            here = getattr(value, "__module__", None) == module.__name__
            if here and isinstance(value, (types.FunctionType, type)):
                self.say("member", name)
                self.visit(value)

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


@dataclasses.dataclass(frozen=True)
class _Read:
    """What a code object says by itself, which never changes: read once.

    Attributes
    ----------
    code : types.CodeType
    said : bytes
        Instructions and constants.
    inner : tuple of types.CodeType
        Functions, lambdas and comprehensions inside.
    chains : tuple of tuple of str
        Global names, each with the attributes that follow: ``("views", "view")`` for ``views.view``.
    imports : tuple of (str, str)
        Module and name of each ``from module import name`` inside; ``import module`` has no name and counts whole.
    """

    code: types.CodeType
    said: bytes
    inner: tuple[types.CodeType, ...]
    chains: tuple[tuple[str, ...], ...]
    imports: tuple[tuple[str, str], ...]

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
        _READ[id(code)] = _Read(code, raw, tuple(inner), tuple(dict.fromkeys(chains)), tuple(imports))
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
        for kind in sorted({type(module) for module in part.modules()}, key=lambda kind: kind.__qualname__):
            if is_ours(kind.__module__):
                digest.update(code_name(kind).encode())
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
        if is_ours(type(part).__module__):
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
    elif isinstance(part, (complex, bytes, range, slice, PurePath, re.Pattern)):
        digest.update(f"{type(part).__name__} {part!r};".encode())
    elif isinstance(part, (np.integer, np.floating, np.bool_)):
        _feed(digest, part.item())
    elif isinstance(part, (torch.dtype, torch.device, np.dtype)):
        digest.update(str(part).encode() + b";")
    else:
        raise Unnameable(
            f"Cannot fingerprint a {type(part).__name__}: pass arrays, tensors, modules, frames, text or numbers."
        )
