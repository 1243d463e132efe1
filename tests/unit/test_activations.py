"""tl_helpers.activations: each activation is computed once, is what the prefix says, and survives damage and kills."""

import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tl_helpers import activations, freezing, runtime, store
from tl_helpers.activations import Line
from tl_helpers.data.views import VIEWS, view, views_of
from tl_helpers.frozen import Prefix
from tl_helpers.models import Classifier, load_backbone
from tl_helpers.training import Recipe, Watcher, evaluate, fit

from .small import small_model, stripes

DATA = dataclasses.replace(stripes(40), table="stripes")
EXACT = {"rtol": 0, "atol": 1e-5}


def frozen(depth: int):
    return freezing.freeze(small_model(), depth).eval()


def forget_lines():
    shutil.rmtree(activations.folder(), ignore_errors=True)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_a_line_holds_what_the_prefix_says(depth):
    model = frozen(depth)
    line = Line(model.backbone, depth, DATA)
    positions, turns = torch.tensor([5, 0, 39, 5]), torch.tensor([0, 3, 7, 4])
    got = line(positions, turns)
    want = Prefix(model.backbone, depth).to_line(views_of(DATA.inputs[positions], turns), 0, depth).float()
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, want, **EXACT)
    assert line.computed == 4
    again = Line(model.backbone, depth, DATA)
    assert torch.equal(again(positions, turns), got)
    assert (again.computed, again.reused) == (0, 4)


def test_two_backbones_of_one_name_and_different_width_do_not_share_shapes():
    """As two adapters of a reader's own, tried one after the other in one process."""
    from tl_helpers.models import Backbone

    def adapter(width: int) -> Backbone:
        known = load_backbone("digit_cnn", pretrained=False)
        stages = {"first": torch.nn.Conv2d(1, width, 3, 2), "second": torch.nn.Conv2d(width, 4, 3, 2)}
        return Backbone("own", stages, 4, known.preprocessing, "MIT", "a test")

    for width in (5, 9):
        torch.manual_seed(0)
        model = freezing.freeze(Classifier(adapter(width), 2), 1).eval()
        assert Line(model.backbone, 1, DATA)([0, 1]).shape[1] == width


def test_bits_do_not_depend_on_company_or_order():
    model = frozen(2)
    together = Line(model.backbone, 2, DATA)(torch.arange(40))
    forget_lines()
    line = Line(model.backbone, 2, DATA)
    for position in (7, 39, 0):
        assert torch.equal(line([position])[0], together[position])


@pytest.mark.slow
def test_the_same_for_the_pretrained_network_at_every_depth():
    """Deeper lines go on from shallower ones, with the bits that a pass from the pixels gives."""
    samples = stripes(20, size=64)
    backbone = freezing.freeze(Classifier(load_backbone(), 2), 9).backbone.eval()
    from_pixels = {}
    for depth in range(1, 10):
        forget_lines()
        from_pixels[depth] = Line(backbone, depth, samples)(torch.arange(20))
    forget_lines()
    for depth in range(1, 10):
        line = Line(backbone, depth, samples)
        assert torch.equal(line(torch.arange(20)), from_pixels[depth]), depth
        assert line.computed == 20
    assert from_pixels[9].shape == (20, 1280)


def test_a_deeper_line_goes_on_from_a_shallower_one(monkeypatch):
    model = frozen(3)
    Line(model.backbone, 1, DATA)(torch.arange(40))
    deeper = Line(model.backbone, 3, DATA)
    monkeypatch.setattr(model.backbone, "prepare", lambda _: pytest.fail("went back to the pixels"))
    assert deeper(torch.arange(40)).shape == (40, 128)


def test_other_weights_images_or_stages_have_other_lines():
    first = Line(frozen(1).backbone, 1, DATA)
    first(torch.arange(4))
    changed = frozen(1)
    with torch.no_grad():
        changed.backbone.stages["conv1"][1].running_mean += 1e-3
    deeper = frozen(1)
    with torch.no_grad():
        deeper.backbone.stages["conv3"][0].weight += 1
    other_pixels = dataclasses.replace(DATA, inputs=255 - DATA.inputs)
    fills = [
        Line(changed.backbone, 1, DATA).fill(torch.arange(4)),
        Line(deeper.backbone, 1, DATA).fill(torch.arange(4)),
        Line(frozen(1).backbone, 1, other_pixels).fill(torch.arange(4)),
    ]
    assert fills == [4, 0, 4]  # what is above the line does not matter
    want = Prefix(frozen(1).backbone, 1).to_line(other_pixels.inputs[:4], 0, 1)
    torch.testing.assert_close(Line(frozen(1).backbone, 1, other_pixels)(torch.arange(4)), want, **EXACT)


@pytest.mark.parametrize("harm", ["flip a bit", "cut the data", "cut the index", "empty the data", "delete the index"])
def test_damage_is_noticed_and_repaired(harm):
    backbone = frozen(2).backbone
    whole = Line(backbone, 2, DATA)(torch.arange(40))
    data, index = (next(activations.folder().glob(ending)) for ending in ("*.act", "*.idx"))
    if harm == "flip a bit":
        raw = bytearray(data.read_bytes())
        raw[len(raw) // 2 // 4096 * 4096 + 17] ^= 4
        slot = torch.tensor([0])
        raw[int(slot) + 3] ^= 1
        data.write_bytes(raw)
    elif harm == "cut the data":
        os.truncate(data, data.stat().st_size // 2 + 3)
    elif harm == "empty the data":
        os.truncate(data, 0)
    elif harm == "cut the index":
        os.truncate(index, index.stat().st_size // 2 + 5)
    else:
        index.unlink()
    line = Line(backbone, 2, DATA)
    if harm == "flip a bit":
        with pytest.warns(store.StoreWarning, match="damaged"):
            again = line(torch.arange(40))
    else:
        again = line(torch.arange(40))
        assert line.computed > 0
    assert torch.equal(again, whole)
    last = Line(backbone, 2, DATA)
    assert torch.equal(last(torch.arange(40)), whole)
    assert last.computed == 0


KILLED = """
    import os, signal, sys
    from tests.unit.test_activations import DATA, frozen
    from tl_helpers import activations
    import torch
    writes, put = [0], activations._put
    def counted(*arguments):
        writes[0] += 1
        if writes[0] == int(sys.argv[1]):
            os.kill(os.getpid(), signal.SIGKILL)
        return put(*arguments)
    activations._put = counted
    activations.Line(frozen(2).backbone, 2, DATA)(torch.arange(40))
"""


@pytest.mark.slow
@pytest.mark.parametrize("at", [5, 16, 20, 40])
def test_killed_while_filling(at):
    """Killed between slots (5), before the index (16), within it (20), in the second batch (40)."""
    want = Line(frozen(2).backbone, 2, DATA, keep=False)(torch.arange(40))
    root = Path(__file__).parents[2]
    killed = subprocess.run([sys.executable, "-c", textwrap.dedent(KILLED), str(at)], cwd=root, check=False)
    assert killed.returncode == -signal.SIGKILL
    line = Line(frozen(2).backbone, 2, DATA)
    torch.testing.assert_close(line(torch.arange(40)), want, **EXACT)
    assert 0 < line.computed <= 40


def test_full_disk_costs_only_the_cache(monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(activations, "_put", full)
    backbone = frozen(1).backbone
    with pytest.warns(store.StoreWarning, match="No space left"):
        got = Line(backbone, 1, DATA)(torch.arange(4))
    torch.testing.assert_close(got, Prefix(backbone, 1).to_line(DATA.inputs[:4], 0, 1), **EXACT)


def test_what_is_damaged_is_computed_where_nothing_can_be_written_too(monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    backbone = frozen(2).backbone
    Line(backbone, 2, DATA)(torch.arange(20))
    data = next(activations.folder().glob("*.act"))
    raw = bytearray(data.read_bytes())
    raw[3] ^= 1
    data.write_bytes(raw)
    monkeypatch.setattr(activations, "_put", full)
    with pytest.warns(store.StoreWarning):
        found = Line(backbone, 2, DATA)(torch.arange(40))
    assert torch.equal(found, Line(backbone, 2, DATA, keep=False)(torch.arange(40)))


def test_space_is_bounded_and_the_oldest_line_goes(monkeypatch):
    backbone = frozen(3).backbone
    for depth in (1, 2):
        Line(backbone, depth, DATA)(torch.arange(40))
        file = max(activations.folder().glob("*.act"), key=lambda path: path.stat().st_mtime_ns)
        os.utime(file, (depth, depth))
    sizes = {path: path.stat().st_blocks * 512 for path in activations.folder().glob("*.act")}
    monkeypatch.setattr(activations, "LIMIT_BYTES", min(sizes.values()) + 40_000)
    Line(backbone, 3, DATA)(torch.arange(40))
    left = list(activations.folder().glob("*.act"))
    assert max(sizes, key=sizes.get) not in left
    assert sum(path.stat().st_blocks * 512 for path in left) <= activations.LIMIT_BYTES


def test_a_line_that_would_be_too_large_is_not_kept(monkeypatch):
    monkeypatch.setattr(activations, "LINE_LIMIT_BYTES", 1000)
    line = Line(frozen(1).backbone, 1, DATA)
    assert not line.kept
    assert line.fill(torch.arange(4)) == 0
    assert line(torch.arange(4)).shape == (4, 32, 14, 14)
    assert not activations.folder().exists()


def test_an_evicted_file_is_not_read_as_zeros():
    """Another process evicts the file and begins it anew while this one still believes in its entries."""
    backbone = frozen(1).backbone
    line = Line(backbone, 1, DATA)
    whole = line(torch.arange(40))
    line._files[1].map = None
    for path in activations.folder().glob("*.act"):
        path.unlink()
        path.write_bytes(bytes(40 * VIEWS * line._files[1].size))
    with pytest.warns(store.StoreWarning, match="damaged"):
        assert torch.equal(line(torch.arange(40)), whole)


@pytest.mark.parametrize("depth", [0, 4, -1])
def test_lines_that_cannot_be(depth):
    with pytest.raises(ValueError, match=r"nothing is frozen|out of range"):
        Line(small_model().backbone, depth, DATA)


def test_a_prefix_in_training_mode_is_refused():
    with pytest.raises(RuntimeError, match="freeze"):
        Line(small_model().train().backbone, 1, DATA)


@pytest.mark.slow
@pytest.mark.parametrize("batch_norm", ["train", "frozen"])
@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("augment", ["none", "flips"])
def test_training_on_the_line_is_training(depth, augment, batch_norm):
    """The freeze contract in the cached path as in the plain one, and the same suffix up to rounding (1e-4)."""
    recipe = Recipe(epochs=3, lr=3e-3, batch_size=16, freeze_depth=depth, augment=augment, batch_norm=batch_norm)
    validation = stripes(16, seed=1, name="stripes/validation")
    models, runs = [small_model(), small_model()], []
    for model, cached in zip(models, (True, False), strict=True):
        before = freezing.snapshot(freezing.freeze(model, depth))
        runs.append(fit(model, DATA, validation, recipe, seed=2, cached=cached))
        freezing.assert_frozen(model, before)
    for name, tensor in models[0].state_dict().items():
        torch.testing.assert_close(tensor, models[1].state_dict()[name], rtol=0, atol=1e-4, msg=name)
    losses = [[epoch["train_loss"] for epoch in run.history] for run in runs]
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)
    assert runs[0].key != runs[1].key


@pytest.mark.slow
@pytest.mark.parametrize("depth", [4, 8, 9])
def test_training_on_the_line_is_training_for_the_pretrained_network(depth):
    recipe = Recipe(epochs=2, lr=1e-3, batch_size=16, freeze_depth=depth, augment="flips")
    samples = stripes(32, size=64)
    models = [Classifier(load_backbone(), 2, dropout=0.2, seed=1) for _ in range(2)]
    for model, cached in zip(models, (True, False), strict=True):
        before = freezing.snapshot(freezing.freeze(model, depth))
        fit(model, samples, None, recipe, seed=2, cached=cached)
        freezing.assert_frozen(model, before)
    for (name, one), other in zip(models[0].state_dict().items(), models[1].state_dict().values(), strict=True):
        torch.testing.assert_close(one.float(), other.float(), rtol=1e-3, atol=2e-3, msg=name)


@pytest.mark.parametrize("unfreeze", ["head_first", "gradual"])
def test_unfreezing_moves_the_line_and_keeps_the_contract(unfreeze):
    model = small_model()
    before = freezing.snapshot(freezing.freeze(model, 1))
    recipe = Recipe(epochs=3, lr=3e-3, batch_size=16, freeze_depth=1, unfreeze=unfreeze, batch_norm="train")
    changed = []

    def look(_):
        now = model.state_dict()
        changed.append([
            any(not torch.equal(now[n], before.state[n]) for n in now if n.startswith(f"backbone.stages.conv{k}."))
            for k in (1, 2, 3)
        ])  # fmt: skip

    fit(model, DATA, stripes(16, seed=1, name="v"), recipe, watch=Watcher(each_epoch=look))
    want = {"head_first": [[False] * 3, [False, True, True]], "gradual": [[False] * 3, [False, False, True]]}
    assert changed[:2] == want[unfreeze]
    assert changed[2] == [False, True, True]
    freezing.assert_frozen(model, before)
    assert model.backbone.frozen_depth == 1


def test_evaluation_from_the_line_is_evaluation():
    model = small_model()
    fit(model, DATA, None, Recipe(epochs=2, lr=1e-2, batch_size=16, freeze_depth=2))
    from_line = evaluate(model, stripes(32, seed=5))
    freezing.freeze(model, 0)
    plain = evaluate(model, stripes(32, seed=5))
    assert from_line == pytest.approx(plain, abs=1e-4)


def test_eight_views_are_averaged():
    model = small_model()
    samples = stripes(16, seed=5)
    got = evaluate(model, samples, views=8)["loss"]
    model.eval()
    with torch.inference_mode():
        parts = [model(model.backbone.prepare(view(samples.inputs, k))).softmax(1) for k in range(VIEWS)]
    want = torch.nn.functional.nll_loss(torch.stack(parts).mean(0).log(), samples.labels)
    assert got == pytest.approx(float(want), abs=1e-5)


@settings(max_examples=25, deadline=None)
@given(
    wanted=st.lists(st.tuples(st.integers(0, 39), st.integers(0, 7)), min_size=1, max_size=50),
    known=st.lists(st.tuples(st.integers(0, 39), st.integers(0, 7)), max_size=20),
)
def test_any_order_any_repeats(wanted, known):
    backbone = frozen(1).backbone
    forget_lines()
    line = Line(backbone, 1, DATA)
    if known:
        line(*map(torch.tensor, zip(*known, strict=True)))
    positions, turns = map(torch.tensor, zip(*wanted, strict=True))
    before = line.computed
    got = line(positions, turns)
    torch.testing.assert_close(got, Prefix(backbone, 1).to_line(views_of(DATA.inputs[positions], turns), 0, 1), **EXACT)
    assert line.computed - before == len(set(wanted) - set(known))


def test_views_are_the_eight_symmetries():
    image = torch.from_numpy(np.arange(9, dtype=np.uint8)).reshape(1, 1, 3, 3)
    seen = {view(image, number).numpy().tobytes() for number in range(VIEWS)}
    assert len(seen) == VIEWS
    assert torch.equal(view(image, 0), image)
    with pytest.raises(ValueError, match="square"):
        view(image[..., :2], 1)
    with pytest.raises(ValueError, match="numbered 0 to 7"):
        view(image, 8)


def test_bfloat16_lines_are_kept_without_loss(monkeypatch):
    monkeypatch.setenv("TL_PRECISION", "bfloat16")
    runtime.current.cache_clear()
    backbone = frozen(2).backbone
    first = Line(backbone, 2, DATA)
    got = first(torch.arange(8))
    assert first._files[2].dtype == torch.bfloat16
    assert torch.equal(got, Line(backbone, 2, DATA)(torch.arange(8)))
