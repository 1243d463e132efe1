"""`Method` and `Watcher` in the common `fit`: where they act, what is stored, and that a killed run goes on."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from tests.unit.small import small_model, stripes
from tl_helpers import runtime, store
from tl_helpers.continual import masked_cross_entropy
from tl_helpers.training import (
    L2SP,
    Method,
    Recipe,
    Retention,
    Watcher,
    checkpoint,
    cross_entropy,
    fit,
    processes,
    run_key,
)

RECIPE = Recipe(epochs=2, batch_size=8, weight_decay=0.0)


class Diary(Method):
    """Writes down when it is called, and counts steps in a buffer."""

    def __init__(self, second=None) -> None:
        super().__init__()
        self.second, self.lines = second, []
        self.register_buffer("steps", torch.zeros(1))

    def before_training(self, model, train):
        self.lines.append("before training")

    def extra_loss(self, step):
        self.lines.append(("extra loss", tuple(step.x.shape[:1]), step.logits.dtype))
        self.again = step.second_positions

    def backward(self, step, losses):
        self.lines.append(("backward", *losses))
        super().backward(step, losses)

    def after_backward(self, step):
        self.lines.append("after backward")
        self.gradient = step.model.head[-1].weight.grad.clone()
        self.weights = step.model.head[-1].weight.detach().clone()

    def after_step(self, step):
        self.lines.append("after step")
        self.moved = not torch.equal(self.weights, step.model.head[-1].weight)
        self.steps += 1


def test_a_method_acts_in_order_and_in_every_step():
    diary = Diary()
    fit(small_model(), stripes(24, seed=1), None, RECIPE, method=diary, fresh=True)
    assert diary.lines[0] == "before training"
    assert diary.lines[1:] == [
        ("extra loss", (8,), torch.float32), ("backward", "task"), "after backward", "after step"
    ] * 6  # fmt: skip
    assert diary.moved
    assert diary.gradient.abs().sum() > 0
    assert int(diary.steps) == 6


def test_on_the_cpu_accelerate_is_told_so_from_its_first_word(monkeypatch):
    """Its state is one for the whole process: asked without, it takes a GPU wherever there is one, and keeps it."""
    asked, real = [], processes.accelerate.PartialState
    monkeypatch.setattr(processes.accelerate, "PartialState", lambda **how: (asked.append(how), real(**how))[1])
    fit(small_model(), stripes(24, seed=1), None, RECIPE, method=Diary(), fresh=True)
    assert asked
    assert all(how == {"cpu": runtime.current().device.type == "cpu"} for how in asked)


def test_a_method_that_does_nothing_changes_nothing():
    plain, watched = small_model(), small_model()
    fit(plain, stripes(24, seed=1), None, RECIPE, fresh=True)
    fit(watched, stripes(24, seed=1), None, RECIPE, method=Diary(), fresh=True)
    assert all(torch.equal(p, q) for p, q in zip(plain.parameters(), watched.parameters(), strict=True))


def test_a_stored_run_brings_the_methods_state_back():
    first, second = Diary(), Diary()
    fit(small_model(), stripes(24, seed=1), None, RECIPE, method=first)
    run = fit(small_model(), stripes(24, seed=1), None, RECIPE, method=second)
    assert run.reused
    assert int(second.steps) == 6
    assert second.lines == ["before training"]


def test_another_state_or_setting_is_another_run():
    one, other = Diary(), Diary()
    other.steps += 1
    train, model = stripes(24, seed=1), small_model()
    keys = {run_key(model, train, None, RECIPE, method=method) for method in (None, one, other)}
    assert len(keys) == 3
    keys.add(run_key(model, train, None, RECIPE, method=Diary(second=stripes(6, seed=3))))
    assert len(keys) == 4


def test_the_second_samples_come_round_in_every_step_and_evenly():
    diary, seen = Diary(second=stripes(12, seed=2)), []

    def note(record):
        seen.append(diary.again.numpy())

    fit(small_model(), stripes(24, seed=1), None, RECIPE, method=diary, watch=Watcher(each_step=note), fresh=True)
    counts = np.bincount(np.concatenate(seen), minlength=12)
    assert len(seen) == 6
    assert counts.min() == counts.max() == 3  # six steps of 8 and 4 out of 12


class Settings(Method):
    """Whose settings are plain attributes, and another method."""

    def __init__(self, margin=0.1, *, private=0, strength=0.1, power=1) -> None:
        super().__init__()
        self.margin, self._private, self.pull = margin, private, L2SP(strength)
        self.bend = lambda x: x**power

    def extra_loss(self, step):
        return RATE * self.bend(step.logits).square().mean() * self.margin


RATE = 0.5


def test_all_that_a_readers_method_is_made_with_is_in_a_runs_name(monkeypatch):
    train, model = stripes(24, seed=1), small_model()
    ways = [{}, {"margin": 0.2}, {"private": 1}, {"strength": 0.2}, {"power": 2}]
    names = [run_key(model, train, None, RECIPE, method=Settings(**how)) for how in (*ways, *ways)]
    assert names[: len(ways)] == names[len(ways) :]
    monkeypatch.setitem(globals(), "RATE", 0.6)  # as where a reader runs that cell again
    names.append(run_key(model, train, None, RECIPE, method=Settings()))
    assert len(set(names)) == len(ways) + 1


def test_a_package_methods_plain_attributes_are_in_its_name_too():
    one, other = L2SP(0.1), L2SP(0.1)
    other.further = 2
    assert one.key() == L2SP(0.1).key() != other.key()


def test_what_is_measured_and_how_is_part_of_a_runs_name():
    class Every(Watcher):
        measures = True

        def __init__(self, many) -> None:
            super().__init__()
            self.many = many

        def after_epoch(self, model, record):
            self.measured.append({"epoch": record["epoch"], "many": np.float32(self.many)})

    train, model = stripes(24, seed=1), small_model()
    names = [
        run_key(model, train, None, RECIPE, watch=watch) for watch in ((), Watcher(), Every(2), Every(3), [Every(3)])
    ]
    assert names[0] == names[1]
    assert names[3] == names[4]
    assert len(set(names)) == 3
    watch = Every(2)
    for seed in range(2):  # the same one looks on again
        run = fit(small_model(), train, None, RECIPE, watch=watch, seed=seed)
        assert [record["epoch"] for record in run.measured] == [1, 2]


def test_what_looks_on_at_a_stored_run():
    """One that measures gets what was measured; another one hears of the beginning and of each epoch."""

    class Notes(Watcher):
        def before_training(self, model):
            self.measured.append({"epoch": 0})

        def after_epoch(self, model, record):
            self.measured.append({"epoch": record["epoch"]})

    class Measures(Notes):
        measures, heard = True, 0

        def after_epoch(self, model, record):
            super().after_epoch(model, record)
            self.heard += 1

    train = stripes(24, seed=1)
    for reused in (False, True):
        notes, measures = Notes(), Measures()
        run = fit(small_model(), train, None, RECIPE, watch=[notes, measures])
        assert run.reused == reused
        assert notes.measured == measures.measured == run.measured == [{"epoch": number} for number in range(3)]
        assert measures.heard == (0 if reused else 2)


def test_facts_are_those_of_a_step_and_leave_the_record_itself_alone():
    class Facts(Method):
        def extra_loss(self, step):
            if step.number % 3 == 1:
                self.facts["now and then"] = float(step.number)
            self.facts["epoch"] = self.facts["seconds"] = torch.tensor(-1.0)

        def scores(self, model, validation, line):
            return super().scores(model, validation, line) | {"other": np.float32(0.5), "third": torch.tensor(0.5)}

    run = fit(small_model(), stripes(24, seed=1), stripes(8, seed=2), RECIPE, method=Facts())
    assert [record["now and then"] for record in run.history] == [1.0, 4.0]
    assert [record["epoch"] for record in run.history] == [1, 2]
    assert run.seconds == run.history[-1]["seconds"] > 0
    assert run.metrics["other"] == run.metrics["third"] == 0.5
    assert {type(value) for record in run.history for value in record.values()} == {float, int}
    assert fit(small_model(), stripes(24, seed=1), stripes(8, seed=2), RECIPE, method=Facts()).history == run.history


def test_what_a_method_makes_before_training_follows_from_the_runs_seed():
    class Makes(Method):
        def before_training(self, model, train):
            self.other = nn.Linear(model.backbone.dim, 2)

        def extra_loss(self, step):
            return cross_entropy(self.other(step.embedded), 1 - step.targets)

    methods = [Makes() for _ in range(3)]
    for number, (method, seed) in enumerate(zip(methods, (1, 1, 2), strict=True)):
        torch.manual_seed(number)
        fit(small_model(), stripes(24, seed=1), None, RECIPE, method=method, seed=seed, fresh=True)
    one, same, other = (method.other.weight for method in methods)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


class Late(Method):
    """Draws from the third step on."""

    def extra_loss(self, step):
        return 0.0 if step.number < 2 else torch.rand(()) * step.logits.square().mean()


class LateStage(nn.Module):
    def __init__(self, stage) -> None:
        super().__init__()
        self.stage, self.calls = stage, 0

    def forward(self, x):
        self.calls += 1
        return self.stage(x) * (1 if self.calls < 3 else torch.rand(()))


@pytest.mark.parametrize("own", ["method", "stage"])
def test_what_is_a_readers_own_may_draw_at_any_time(own):
    ends = []
    for seed in range(2):
        torch.manual_seed(seed)
        ends.append(small_model())
        if own == "stage":
            ends[-1].backbone.stages["conv3"] = LateStage(ends[-1].backbone.stages["conv3"])
        method = Late() if own == "method" else None
        fit(ends[-1], stripes(24, seed=1), None, RECIPE, method=method, fresh=True)
    assert all(torch.equal(p, q) for p, q in zip(*(end.parameters() for end in ends), strict=True))


class Draws(Method):
    """Scores that are drawn."""

    def scores(self, model, validation, line):
        return super().scores(model, validation, line) | {"drawn": torch.rand(())}


def test_what_a_readers_method_draws_for_its_scores_is_the_runs_own(monkeypatch):
    """Also where a killed run goes on."""
    monkeypatch.setattr(checkpoint, "EVERY", 0.0)
    train, validation, found = stripes(24, seed=1), stripes(8, seed=2), []

    def trained(watch=(), fresh=None):
        torch.manual_seed(len(found))
        before = torch.get_rng_state()
        run = fit(small_model(), train, validation, RECIPE, method=Draws(), watch=watch, fresh=fresh)
        assert torch.equal(before, torch.get_rng_state())
        found.append([record["validation_drawn"] for record in run.history])
        return run

    def kill(record):
        if record["epoch"] == 2:
            raise KeyboardInterrupt

    trained(fresh=True)
    run = trained(fresh=True)
    with pytest.raises(KeyboardInterrupt):
        trained(Watcher(each_epoch=kill), fresh=True)
    store.shared("runs").drop(run.key)
    epochs = []
    trained(Watcher(each_epoch=lambda record: epochs.append(record["epoch"])))
    assert epochs == [2]
    assert found[0] == found[1] == found[2]
    assert len(set(found[0])) == RECIPE.epochs


def test_answers_that_are_not_allowed_get_no_gradient():
    class Two(Method):
        def task_loss(self, step):
            return masked_cross_entropy(step.logits, step.targets, torch.tensor([True, True, False]).expand(8, 3))

    model = small_model(classes=3)
    before = model.head[-1].weight.detach().clone()
    fit(
        model, dataclasses.replace(stripes(24, seed=1), classes=("a", "b", "c")), None, RECIPE, method=Two(), fresh=True
    )
    after = model.head[-1].weight.detach()
    assert torch.equal(before[2], after[2])
    assert not torch.equal(before[:2], after[:2])


def test_refusals():
    train = stripes(24, seed=1)
    with pytest.raises(ValueError, match="same size"):
        fit(small_model(), train, None, RECIPE, method=Diary(second=stripes(8, size=32)))
    with pytest.raises(ValueError, match="no samples for the second batch"):
        fit(small_model(), train, None, RECIPE, method=Diary(second=stripes(8).take([])))
    with pytest.raises(ValueError, match="no samples of the source"):
        Retention(stripes(8).take([]), nn.Linear(2, 2))
    with pytest.raises(ValueError, match="outputs"):
        Retention(stripes(8), nn.Linear(2, 2), classes=[0])
    with pytest.raises(ValueError, match="strength=-1"):
        L2SP(-1.0)


# ---- what the protocol can carry ------------------------------------------------------------------------------------


def shaded(samples):
    """Some images darker than others."""
    factors = torch.linspace(0.5, 1, len(samples))[
        torch.randperm(len(samples), generator=torch.Generator().manual_seed(0))
    ]
    return dataclasses.replace(samples, inputs=(samples.inputs * factors[:, None, None, None]).to(torch.uint8))


class TwoTasks(Method):
    """Two heads on one backbone: the class, where its label is known, and how bright the image is."""

    def __init__(self, train, dim, *, project=False) -> None:
        super().__init__()
        self.known = torch.arange(len(train)) % 3 > 0  # a third of the labels is missing
        bright = train.inputs.float().mean(dim=(1, 2, 3))
        self.brightness = (bright - bright.mean()) / bright.std()
        self.regressor = nn.Linear(dim, 1)
        self.project, self.cosines = project, []

    def forward(self, step):
        losses = super().forward(step)
        said = self.regressor(step.embedded)[:, 0]
        return losses | {"brightness": nn.functional.mse_loss(said, self.brightness[step.positions])}

    def task_loss(self, step):
        return cross_entropy(step.logits, step.targets, self.known[step.positions].float())

    def backward(self, step, losses):
        """PCGrad (Yu et al. 2020): where two tasks' gradients point against each other, each drops the other's part."""
        if not self.project:
            super().backward(step, losses)
            return
        shared = list(step.model.backbone.parameters())
        grads = [
            torch.cat([g.reshape(-1) for g in torch.autograd.grad(loss, shared, retain_graph=True)])
            for loss in losses.values()
        ]
        super().backward(step, losses)
        one, other = grads
        self.cosines.append(float(torch.cosine_similarity(one, other, dim=0)))
        if one @ other < 0:
            one, other = one - (one @ other) / (other @ other) * other, other - (other @ one) / (one @ one) * one
        nn.utils.vector_to_parameters(one + other, [p.grad for p in shared])


def test_several_heads_missing_labels_a_regression_target_and_validation_scores_of_its_own():
    class Scored(TwoTasks):
        def scores(self, model, validation, line):
            bright = validation.inputs.float().mean(dim=(1, 2, 3))
            with torch.inference_mode():
                said = self.regressor(model.eval().backbone(model.backbone.prepare(validation.inputs)))[:, 0]
            return super().scores(model, validation, line) | {"correlation": float(np.corrcoef(said, bright)[0, 1])}

    train, validation = (shaded(stripes(count, seed=seed)) for count, seed in ((48, 1), (40, 2)))
    model = small_model()
    method = Scored(train, model.backbone.dim)
    before = copy.deepcopy(method.regressor.state_dict())
    recipe = Recipe(epochs=12, batch_size=16, lr=1e-2)
    run = fit(model, train, validation, recipe, method=method, fresh=True)
    assert run.metrics["accuracy"] > 90
    assert run.metrics["correlation"] > 0.8
    assert not torch.equal(before["weight"], method.regressor.weight)
    again = Scored(train, model.backbone.dim)
    again.load_state_dict({"regressor.weight": before["weight"], "regressor.bias": before["bias"]})
    restored = fit(small_model(), train, validation, recipe, method=again)
    assert restored.reused
    assert torch.equal(again.regressor.weight, method.regressor.weight)  # what a method trains comes back, too


def test_a_label_that_is_missing_teaches_nothing():
    train = stripes(24, seed=1)
    known = torch.arange(24) % 3 > 0
    wrong = dataclasses.replace(train, labels=torch.where(known, train.labels, 1 - train.labels))
    ends = []
    for samples in (train, wrong):
        model = small_model()
        torch.manual_seed(0)
        fit(model, samples, None, RECIPE, method=TwoTasks(train, model.backbone.dim), fresh=True)
        ends.append(model)
    assert all(torch.equal(p, q) for p, q in zip(*(end.parameters() for end in ends), strict=True))


def test_a_method_may_take_each_tasks_gradient_by_itself():
    train, model = stripes(24, seed=1), small_model()
    method = TwoTasks(train, model.backbone.dim, project=True)
    fit(model, train, None, RECIPE, method=method, fresh=True)
    assert len(method.cosines) == 6
    assert min(method.cosines) < 0 < max(method.cosines)


def test_l2_sp_is_its_formula_on_the_backbone_alone():
    """Strength / 2 * sum (w - w0)^2, its gradient to 1e-6; the head is free."""
    model, method = small_model(), L2SP(0.3)
    method.before_training(model, stripes(8))
    start = [p.detach().clone() for p in model.backbone.parameters()]
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=torch.Generator().manual_seed(p.numel())))
    loss = method.extra_loss(None)
    by_hand = sum(
        float(((p.detach().double() - w) ** 2).sum()) for p, w in zip(model.backbone.parameters(), start, strict=True)
    )
    assert loss.item() == pytest.approx(0.3 / 2 * by_hand, rel=1e-6)
    loss.backward()
    for p, w in zip(model.backbone.parameters(), start, strict=True):
        torch.testing.assert_close(p.grad, 0.3 * (p.detach() - w), rtol=1e-6, atol=1e-6)
    assert all(p.grad is None for p in model.head.parameters())


def test_l2_sp_has_nothing_to_pull_where_the_head_alone_is_trained():
    plain, pulled = small_model(), small_model()
    recipe = dataclasses.replace(RECIPE, freeze_depth=plain.backbone.depth)
    fit(plain, stripes(24, seed=1), None, recipe, fresh=True)
    fit(pulled, stripes(24, seed=1), None, recipe, method=L2SP(0.3), fresh=True)
    assert all(torch.equal(p, q) for p, q in zip(plain.parameters(), pulled.parameters(), strict=True))


def test_l2_sp_keeps_weights_near_where_they_started_also_under_gradual_unfreezing():
    start, moved = small_model(), {}
    recipe = Recipe(epochs=4, batch_size=8, lr=3e-3, unfreeze="gradual", unfreeze_step=2)
    for strength in (0.0, 1.0):
        model = small_model()
        fit(model, stripes(24, seed=1), None, recipe, method=L2SP(strength), fresh=True)
        pairs = zip(model.backbone.parameters(), start.backbone.parameters(), strict=True)
        moved[strength] = sum(float(((one - other).detach() ** 2).sum()) for one, other in pairs)
    assert moved[1.0] < 0.8 * moved[0.0]


def test_retention_is_measured_at_powers_of_two_and_at_the_end_of_each_epoch():
    source, model = stripes(20, seed=5), small_model()
    fit(model, stripes(40, seed=4), None, Recipe(epochs=6, batch_size=8), fresh=True)
    head = copy.deepcopy(model.head)
    retention = Retention(source, head)
    before = retention.accuracy(model)
    train = stripes(48, seed=6)
    turned = type(train)(train.name, train.inputs, 1 - train.labels, train.classes, train.rows)
    recipe = Recipe(epochs=4, batch_size=8, lr=1e-2)
    run = fit(model, turned, None, recipe, watch=retention, fresh=True)
    assert [m["step"] for m in run.measured] == [0, 1, 2, 4, 6, 8, 12, 16, 18, 24]
    assert run.measured[0]["accuracy"] == before
    assert run.measured[-1] == {"step": 24, "epoch": 4.0, "accuracy": retention.accuracy(model)}
    assert model.training is False
    assert all(torch.equal(p, q) for p, q in zip(head.parameters(), retention.head.parameters(), strict=True))


def test_retention_is_stored_and_does_not_change_the_run():
    retention = Retention(stripes(20, seed=5), small_model(seed=3).head)
    plain, measured = small_model(), small_model()
    fit(plain, stripes(24, seed=1), None, RECIPE, fresh=True)
    first = fit(measured, stripes(24, seed=1), None, RECIPE, watch=retention)
    again = fit(small_model(), stripes(24, seed=1), None, RECIPE, watch=retention)
    assert all(torch.equal(p, q) for p, q in zip(plain.parameters(), measured.parameters(), strict=True))
    assert again.reused
    assert again.measured == first.measured


def test_retention_among_some_outputs():
    model = small_model()
    head = nn.Linear(model.backbone.dim, 10)
    samples = stripes(20, seed=5)
    with torch.no_grad():
        head.weight.zero_()
        head.bias.copy_(torch.arange(10.0))
    assert Retention(samples, head, classes=[7, 3]).accuracy(model) == pytest.approx(50)  # always says "7": class 0
    assert Retention(samples, head).accuracy(model) == 0  # output 9 wins, which is no label here


class DiaryOfTwo(Diary):
    """With a second batch, which counts."""

    def __init__(self) -> None:
        super().__init__(second=stripes(12, seed=2))

    def extra_loss(self, step):
        super().extra_loss(step)
        return step.model.above(step.second_x, step.depth).square().mean()


class Grows(Method):
    """Two heads, and buffers that grow, get a content, or come into being, as it learns."""

    def __init__(self, dim) -> None:
        super().__init__()
        with runtime.RandomNumbers(5):
            self.second_head = nn.Linear(dim, 2)
        self.register_buffer("losses", torch.zeros(0))
        self.register_buffer("last", None)

    def extra_loss(self, step):
        loss = cross_entropy(self.second_head(step.embedded), 1 - step.targets)
        if self.last is not None:
            loss = loss * self.last / self.late
        self.losses = torch.cat([self.losses, loss.detach()[None]])
        return loss

    def after_step(self, step):
        self.last = self.losses[-1:].mean()
        if not hasattr(self, "late"):
            self.register_buffer("late", torch.ones(()))
        self.late += 1

    def scores(self, model, validation, line):
        return {"accuracy": -abs(len(self.losses) - 6)}  # best after the second epoch, of 3 steps each


@pytest.mark.parametrize("keep", ["last", "best"])
def test_what_a_method_learns_comes_back_with_a_killed_run_and_a_stored_one(keep, monkeypatch):
    monkeypatch.setattr(checkpoint, "EVERY", 0.0)
    recipe = Recipe(epochs=4, batch_size=8, lr=0.1, keep=keep)
    train, validation = stripes(24, seed=1), stripes(24, seed=2)

    def learned(**options):
        model = small_model()
        method = Grows(model.backbone.dim)
        run = fit(model, train, validation, recipe, method=method, **options)
        assert len(method.losses) == (6 if keep == "best" else 12)
        return run, model.state_dict() | method.state_dict()

    def kill(record):
        if record["epoch"] == 3:
            raise KeyboardInterrupt

    _, whole = learned(fresh=True)
    stored, again = learned()
    assert stored.reused
    store.shared("runs").drop(stored.key)
    with pytest.raises(KeyboardInterrupt):
        learned(watch=Watcher(each_epoch=kill))
    epochs = []
    _, resumed = learned(watch=Watcher(each_epoch=lambda record: epochs.append(record["epoch"])))
    assert epochs == [3, 4]
    for other in (again, resumed):
        assert whole.keys() == other.keys()
        assert all(torch.equal(tensor, other[name]) for name, tensor in whole.items())


@pytest.mark.parametrize("change", [{}, {"unfreeze": "gradual", "unfreeze_step": 1, "augment": "flips"}])
def test_a_killed_run_goes_on_with_its_method(change, monkeypatch):
    monkeypatch.setattr(checkpoint, "EVERY", 0.0)
    recipe = Recipe(epochs=4, batch_size=8, **change)
    retention = Retention(stripes(20, seed=5), small_model(seed=3).head)
    train, whole = stripes(24, seed=1), small_model()
    expected = fit(whole, train, None, recipe, method=DiaryOfTwo(), watch=retention, fresh=True)

    def kill(record):
        if record["epoch"] == 3:
            raise KeyboardInterrupt

    watch = [retention, Watcher(each_epoch=kill)]
    with pytest.raises(KeyboardInterrupt):
        fit(small_model(), train, None, recipe, method=DiaryOfTwo(), watch=watch, fresh=True)
    store.shared("runs").drop(expected.key)
    resumed, diary = small_model(), DiaryOfTwo()
    run = fit(resumed, train, None, recipe, method=diary, watch=retention)
    assert len([line for line in diary.lines if line == "after step"]) < 12
    assert int(diary.steps) == 12
    assert run.measured == expected.measured
    assert all(torch.equal(p, q) for p, q in zip(whole.parameters(), resumed.parameters(), strict=True))
