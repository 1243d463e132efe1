"""Names of stored results: other numbers, other code, another name; the same, the same name. Nothing is named by half."""

from __future__ import annotations

import copy
import importlib
import os
import shutil
import subprocess
import sys
import textwrap
import threading
import types
import typing

import datasets
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import nn

from tests.unit.small import small_model, stripes
from tl_helpers import activations, features, fewshot, keys, runtime, store, training
from tl_helpers.data import images
from tl_helpers.keys import Unnameable, code_name, fingerprint
from tl_helpers.models import Backbone
from tl_helpers.store import StoreWarning
from tl_helpers.training import Recipe, fit, predict

# ---- values ----------------------------------------------------------------------------------------------------------


def test_fingerprint_tells_values_types_and_structure_apart():
    distinct = [
        1, 1.0, "1", True, None, [1], [[1]], {"a": 1}, {"b": 1}, np.array([1]), np.array([1.0]), np.array([[1]]),
        torch.tensor([1]), torch.tensor([1.0]), torch.float32, [1, 2], [2, 1], "", {1}, {2}, b"1", range(1), range(2),
        pd.Series([1], name="a"), pd.Series([1], name="b"), pd.DataFrame({"a": [1.0]}), pd.DataFrame({"a": [2.0]}),
    ]  # fmt: skip
    names = [fingerprint(part) for part in distinct]
    assert len(set(names)) == len(names)
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})


def test_fingerprint_follows_weights_and_architecture():
    torch.manual_seed(0)
    one = torch.nn.Linear(2, 2)
    torch.manual_seed(0)
    same = torch.nn.Linear(2, 2)
    assert fingerprint(one) == fingerprint(same)
    with torch.no_grad():
        same.bias[0] += 1e-7
    assert fingerprint(one) != fingerprint(same)


def test_fingerprint_refuses_what_it_cannot_name():
    with pytest.raises(Unnameable, match="Cannot fingerprint"):
        fingerprint(object())
    with pytest.raises(Unnameable, match="object array"):
        fingerprint(np.array([object()]))


# ---- code ------------------------------------------------------------------------------------------------------------

READER = '''
import functools
import math

import numpy as np
import pandas as pd

RATE = 0.1
UNUSED = 1
TABLE = pd.DataFrame({"a": [1.0, 2.0]})
CHOICES = {"how": ["one", "two"]}


def deep(x):
    return x * 2  # doubled


def helper(x):
    """Its docstring."""
    return deep(x) + 1


class Base:
    width = 3

    def scale(self, x):
        return x


class Method(Base):
    """A method."""

    def loss(self, x):
        return self.scale(helper(x)) * RATE + TABLE["a"].sum()

    @property
    def name(self):
        return "m" + CHOICES["how"][0]


def build(factor):
    def inner(x, power=2):
        return [factor * y**power for y in x if y in {1, 2, 3}]

    return inner


inner = build(5)
square = lambda x: "a" if x else "b"
part = functools.partial(deep, 3)


@functools.lru_cache
def cached(x):
    return math.sqrt(x) + square(x) + part()
'''
NAME = "a_readers_own_code"


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Executes a text as a file beside the notebook would be, and returns its namespace."""

    def loaded(text: str, name: str = NAME) -> types.SimpleNamespace:
        module = types.ModuleType(name)
        module.__file__ = str(tmp_path / f"{name}.py")
        monkeypatch.setitem(sys.modules, name, module)
        exec(compile(text, module.__file__, "exec"), module.__dict__)
        return types.SimpleNamespace(**vars(module))

    return loaded


def names_of(space: types.SimpleNamespace) -> dict[str, str]:
    return {name: code_name(getattr(space, name)) for name in ("Method", "inner", "cached", "helper")}


@pytest.mark.parametrize(
    ("before", "after", "changed"),
    [
        ("# doubled", "# twice", ""),
        ('"""Its docstring."""', '"""Another one,\n\n    longer."""', ""),
        ('    """Its docstring."""\n', "", ""),
        ('"""A method."""', '"""The method."""', ""),
        ("RATE = 0.1\n", "\n\nRATE = 0.1\n", ""),
        ("UNUSED = 1", "UNUSED = 2", ""),
        ("RATE = 0.1", "RATE = 0.2", "Method"),
        ("[1.0, 2.0]", "[1.0, 3.0]", "Method"),
        ('["one", "two"]', '["two", "one"]', "Method"),
        ("x * 2", "x * 3", "Method helper cached"),
        ("deep(x) + 1", "deep(x) + 2", "Method helper"),
        ("width = 3", "width = 4", "Method"),
        ("        return x\n", "        return -x\n", "Method"),
        ('"m" +', '"n" +', "Method"),
        ("    @property\n", "", "Method"),
        ("power=2", "power=3", "inner"),
        ("build(5)", "build(6)", "inner"),
        ("{1, 2, 3}", "{1, 2, 4}", "inner"),
        ("y**power", "y*power", "inner"),
        ('"a" if x', '"c" if x', "cached"),
        ("(deep, 3)", "(deep, 4)", "cached"),
        ("math.sqrt", "math.exp", "cached"),
    ],
)
def test_code_is_named_by_all_that_it_calls_and_by_nothing_else(load, before: str, after: str, changed: str):
    assert READER.count(before) == 1
    old, new = names_of(load(READER)), names_of(load(READER.replace(before, after)))
    assert {name for name in old if old[name] != new[name]} == set(changed.split())


def test_a_notebook_is_the_readers_own_code_too(load):
    assert keys.is_ours("__main__")
    assert names_of(load(READER, "__main__")) != names_of(load(READER.replace("x * 2", "x * 3"), "__main__"))


def test_libraries_and_what_changes_no_number_are_not_followed():
    assert not any(
        keys.is_ours(name) for name in ("torch.nn", "numpy", "math", "tl_helpers.plots", "tl_helpers.ledger")
    )
    assert keys.is_ours("tl_helpers.features")


@pytest.mark.parametrize("installed", [True, False])
def test_a_library_of_another_environment_is_a_library_too(tmp_path, monkeypatch, installed):
    """Where an environment borrows another one's packages; a folder of the reader's own is none."""
    monkeypatch.syspath_prepend(tmp_path)
    name = f"borrowed_{installed}".lower()
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").write_text("")
    (tmp_path / name / "inner.py").write_text("import typing\n\nT = typing.TypeVar('T')\n\ndef f():\n    return T\n")
    if installed:
        (tmp_path / f"{name}-1.0.dist-info").mkdir()
    inner = importlib.import_module(f"{name}.inner")
    assert keys.is_ours(inner.__name__) != installed
    if installed:
        assert code_name(inner.f)
    else:
        with pytest.raises(keys.Unnameable, match="TypeVar"):
            code_name(inner.f)


@pytest.mark.filterwarnings("default:.*not kept")
def test_a_network_whose_code_cannot_be_named_is_computed_and_nothing_of_it_is_kept(own_cache):
    """Everything that asks the store: features, activations at the freeze line, predictions, runs, episodes."""

    lock = threading.Lock()  # nobody can say what is in it

    class Nameless(nn.Module):
        def forward(self, x):
            return x if lock else -x

    model = small_model()
    model.backbone.stages["conv1"] = nn.Sequential(model.backbone.stages["conv1"], Nameless())
    samples = stripes(24, seed=1)
    expected = features.extract(small_model().backbone, samples)
    shutil.rmtree(own_cache, ignore_errors=True)
    with pytest.warns(StoreWarning, match="not kept"):
        assert np.array_equal(features.extract(model.backbone, samples), expected)
    with pytest.warns(StoreWarning, match="predictions are not kept"):
        predict(model, samples)
    with pytest.warns(StoreWarning, match="Activations at the freeze line are not kept"):
        fit(model, samples, None, Recipe(epochs=1, freeze_depth=1))
    with pytest.warns(StoreWarning, match="run is not kept"):
        fewshot.train_episodic(model.backbone, samples, None, ways=2, shots=1, queries=1, episodes=2)
    assert not list(own_cache.rglob("*.safetensors"))
    assert not list(own_cache.rglob("*.act"))


def test_another_version_of_a_library_computes_everything_anew(own_cache, monkeypatch):
    """Decoded pictures, features, activations at the freeze line, predictions, runs, episodes."""

    def everything() -> dict[str, int]:
        store.TALLY.clear()
        images._DECODED.clear()
        model = small_model()
        samples = stripes(24, seed=1)
        pictures = datasets.Dataset.from_dict({"image": [Image.new("L", (8, 8), shade) for shade in (0, 9)]})
        images.decode(pictures.cast_column("image", datasets.Image()), 8)
        features.extract(model.backbone, samples)
        fit(model, samples, None, Recipe(epochs=1, freeze_depth=1))
        predict(model, samples)
        fewshot.train_episodic(model.backbone, samples, None, ways=2, shots=1, queries=1, episodes=2)
        lines = len(list(own_cache.rglob("*.act")))
        return {kind: count for (kind, how), count in store.TALLY.items() if how == "computed"} | {"lines": lines}

    first, second = everything(), everything()
    lines = first.pop("lines")
    assert first == {"images": 1, "features": 1, "runs": 2, "predictions": 1}
    assert lines > 0
    assert second == {"lines": lines}
    now = runtime.versions() | {"transformers": "0"}
    monkeypatch.setattr(runtime, "versions", lambda: now)
    assert everything() == first | {"lines": 2 * lines}


def test_a_file_edited_under_a_running_kernel_keeps_the_name_of_what_runs(tmp_path, monkeypatch):
    """The old code's result under the new code's name would be wrong for good."""
    monkeypatch.syspath_prepend(tmp_path)
    file = tmp_path / "edited_while_it_runs.py"
    file.write_text("def f():\n    return 1\n")
    import edited_while_it_runs

    before = code_name(edited_while_it_runs.f)
    file.write_text("def f():\n    return 2  # no longer what is loaded\n")
    assert code_name(edited_while_it_runs.f) == before


@pytest.mark.parametrize("line", ["from a_neighbour import helper", "import a_neighbour as n; helper = n.helper"])
def test_what_a_function_imports_inside_itself_is_followed(load, line, tmp_path, monkeypatch):
    """Also where nobody has imported it yet."""
    monkeypatch.syspath_prepend(tmp_path)
    text = f"def f(x):\n    {line}\n    return helper(x)\n"
    names = []
    for source in (READER, READER, READER.replace("x * 2", "x * 3")):
        sys.modules.pop("a_neighbour", None)
        (tmp_path / "a_neighbour.py").write_text(source)
        shutil.rmtree(tmp_path / "__pycache__", ignore_errors=True)
        importlib.invalidate_caches()
        names.append(code_name(load(text).f))
    sys.modules.pop("a_neighbour", None)
    assert names[0] == names[1] != names[2]


def test_a_global_that_cannot_be_named_names_nothing(load):
    space = load("thing = object()\ndef f():\n    return thing\n")
    with pytest.raises(Unnameable):
        code_name(space.f)


def test_a_part_of_the_package_that_is_replaced_is_another_name(monkeypatch):
    """By a reader who tries something, or by a test; and the old name is back when it is."""
    from tl_helpers.data import views

    before = code_name(training.fitting.Batches)
    with monkeypatch.context() as patch:
        patch.setattr(views, "views_of", lambda pixels, turns: pixels)
        assert code_name(training.fitting.Batches) != before
    assert code_name(training.fitting.Batches) == before


WRAPPED = """
import functools, torch

def times(g):
    @functools.wraps(g)
    def more(x):
        return 2 * g(x)
    return more

@times
def f(x):
    return x + 1

teacher = torch.nn.Linear(2, 2)

def g(x):
    return teacher(x)
"""


def test_what_a_decorator_adds_is_part_of_the_name(load):
    text = textwrap.dedent(WRAPPED)
    found = {code_name(load(text.replace(*change)).f) for change in (("2 *", "3 *"), ("x + 1", "x + 2"), ("", ""))}
    assert len(found) == 3


def test_a_network_in_a_global_counts_with_its_weights_and_what_has_no_name_is_refused(load):
    space = load(WRAPPED)
    before = code_name(space.g)
    with torch.no_grad():
        space.teacher.weight[0, 0] += 1
    assert code_name(space.g) != before
    with pytest.raises(Unnameable):  # its settings are not to be seen from outside
        code_name(load(WRAPPED.replace("torch.nn.Linear(2, 2)", "functools.cmp_to_key(max)(1)")).g)


def test_functions_of_one_name_are_told_apart(load):
    text = """
def make(factor):
    def inner(x):
        return factor * x
    return inner

one, two = make(1), make(2)
steps = [one, two, one]

def f(x):
    return [step(x) for step in steps]
"""
    assert code_name(load(text).f) != code_name(load(text.replace("two, one]", "two, two]")).f)


KINDS = """
    import abc, dataclasses, enum

    class Base(abc.ABC):
        @abc.abstractmethod
        def f(self): ...

    @dataclasses.dataclass(frozen=True)
    class Kind(Base):
        size: int = 3
        def f(self): return self.size
        def __len__(self): return 1
"""


def test_what_python_keeps_on_a_class_later_is_no_part_of_its_name(load):
    """Copying and pickling write on the class itself (`copyreg`), and so does asking what an abstract class covers."""
    kind = load(textwrap.dedent(KINDS)).Kind
    before, members = code_name(kind), set(vars(kind))
    thing = kind()
    assert copy.deepcopy([thing]) == [thing]
    assert isinstance(thing, kind.__base__)
    assert not isinstance(3, kind.__base__)
    typing.get_type_hints(kind)
    assert set(vars(kind)) != members  # it did write
    assert code_name(kind) == before
    kind.__len__ = lambda self: 2
    assert code_name(kind) != before  # a method that has such a name is code


@pytest.mark.slow
def test_names_are_the_same_in_every_process():
    """Whatever the order of sets and whatever was imported before."""
    code = (
        "from tl_helpers import activations, continual, features, keys\nfrom tl_helpers.training import fitting, scoring\n"
        "print(keys.code_name(fitting._train, fitting.Batches), keys.code_name(features._run),"
        " keys.code_name(activations.Line),"
        " keys.code_name(continual.EWC), keys.fingerprint({'a', 'b', 'c'}))"
    )
    found = set()
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        found.add(done.stdout)
    assert len(found) == 1


def reached(*roots: object) -> set[str]:
    """Functions and classes whose code counts."""
    walk = keys._Walk()
    for root in roots:
        walk.visit(root)
    return {
        f"{thing.__module__}.{thing.__qualname__}" for _, thing in walk.seen.values() if keys.is_ours(thing.__module__)
    }


def test_keys_of_the_package_reach_what_their_numbers_depend_on():
    """The names that hand-kept lists had forgotten, and no furniture."""
    line = reached(activations.Prefix, activations.views_of, Backbone)
    assert {"tl_helpers.models.backbone.Backbone.prepare", "tl_helpers.data.views.view"} <= line
    assert "tl_helpers.models.backbone.pool_maps" in line
    run = reached(training.fitting._train, training.fitting.Trained, training.fitting.Batches, Backbone)
    assert line <= run
    assert {"tl_helpers.freezing.freeze", "tl_helpers.training.recipe.rate_at", "tl_helpers.activations.Line"} <= run
    assert "tl_helpers.models.backbone.pool_maps" in reached(features._run)
    episodic = reached(fewshot.networks._train)  # through a public table of functions
    assert {
        "tl_helpers.heads.nearest_centroid",
        "tl_helpers.heads.matching",
    } <= episodic
    assert not [name for name in run if name.startswith(tuple(f"tl_helpers.{quiet}." for quiet in keys.QUIET))]


def test_a_backbones_own_preparation_is_part_of_the_name_of_its_features(load):
    """A text backbone prepares its inputs in its own way; so may a reader's."""
    text = """
from tl_helpers.models.backbone import Backbone

class Own(Backbone):
    def prepare(self, x):
        return super().prepare(x) * SCALE

SCALE = 1.0
"""
    from tl_helpers.models import load_backbone

    names = []
    for scale in ("1.0", "2.0"):
        backbone = load_backbone("digit_cnn", pretrained=False)
        backbone.__class__ = load(text.replace("SCALE = 1.0", f"SCALE = {scale}")).Own
        names.append(fingerprint(backbone))
    assert names[0] != names[1]


def test_a_network_of_the_readers_own_counts_with_its_attributes(load):
    """What is no weight and stands in no `repr`; of a library's networks the `repr` says it."""
    space = load("from torch import nn\n\nclass Own(nn.Module):\n    pass\n")
    names = []
    for attributes in ({"power": 1}, {"power": 2}, {"_power": 2}, {"power": 2, "table": torch.ones(2)}):
        own = space.Own()
        vars(own).update(attributes)
        names += [fingerprint(own), fingerprint(nn.Sequential(own.eval()))]
        assert fingerprint(own) == fingerprint(copy.deepcopy(own).train()) == names[-2]
    assert len(set(names)) == len(names)
    own.thing = object()
    with pytest.raises(Unnameable, match="object"):
        fingerprint(own)
