"""Streams, buffers and strategies on small data: each learns what it should, keeps what it should, and says no in time."""

from __future__ import annotations

import copy
import dataclasses

import datasets
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tl_helpers import continual, freezing, store, training
from tl_helpers.activations import Line
from tl_helpers.continual import (
    AGEM,
    EWC,
    L2SP,
    SCENARIOS,
    SI,
    Buffer,
    GDumb,
    Joint,
    LwF,
    Naive,
    OnlineEWC,
    Replay,
    domain_stream,
    permuted_stream,
    rotated_stream,
    run_stream,
    split_stream,
    together,
)
from tl_helpers.data import TaskError, task_from
from tl_helpers.models import Classifier, load_backbone
from tl_helpers.training import Recipe

RECIPE = Recipe(epochs=4, lr=3e-3, batch_size=16, weight_decay=0.0, schedule="constant", warmup=0.0)


@pytest.fixture(scope="module")
def blobs():
    """Six classes: a bright spot in one of six places on noise; 40 images of each."""
    random, labels = np.random.default_rng(0), np.arange(240) % 6
    images = random.integers(0, 90, size=(240, 28, 28))
    for image, label in zip(images, labels, strict=True):
        row, column = 4 + 10 * (label // 3), 2 + 9 * (label % 3)
        image[row : row + 6, column : column + 6] += 150
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=list("abcdef"))})
    table = datasets.Dataset.from_dict({"image": list(images.astype(np.uint8)), "label": labels}, features=features)
    return task_from(table, name="blobs")


def model_for(stream):
    def make(seed):
        return Classifier(load_backbone("digit_mlp", pretrained=False, seed=seed), len(stream.classes), seed=seed)

    return make


def run(stream, strategy, **options):
    return run_stream(stream, strategy, model_for(stream), options.pop("recipe", RECIPE), fresh=True, **options)


# ---- streams ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_split_stream_deals_out_every_sample_once(blobs, scenario):
    stream = split_stream(blobs, scenario)
    assert len(stream) == 3
    for split in ("train", "validation", "test"):
        rows = np.concatenate([experience.split(split).rows for experience in stream.experiences])
        assert sorted(rows) == sorted(blobs.rows(split))
    for number, experience in enumerate(stream.experiences):
        assert set(experience.train.labels.tolist()) == set(experience.classes)
        assert (experience.test.extra["experience"] == number).all()
    assert len(stream.classes) == (2 if scenario == "domain" else 6)


def test_what_is_allowed_and_what_there_is_to_forget(blobs):
    def masks(scenario, now):
        stream = split_stream(blobs, scenario)
        return ["".join("x" if one else "." for one in row) for row in stream.allowed(now, [0, 1, 2])]

    assert masks("task", 1) == ["xx....", "..xx..", "....xx"]
    assert masks("class", 1) == ["xxxx.."] * 3
    assert masks("domain", 0) == ["xx"] * 3
    heads = {scenario: split_stream(blobs, scenario).heads(2) for scenario in SCENARIOS}
    assert heads == {"task": [[0, 1], [2, 3]], "domain": [[0, 1]], "class": [[0, 1, 2, 3]]}
    assert split_stream(blobs, "class").heads(0) == []


def test_permuted_and_rotated_streams_change_pixels_only(blobs):
    plain = blobs.samples("test")
    permuted = permuted_stream(blobs, 3, seed=1)
    assert torch.equal(permuted[0].test.inputs, plain.inputs)
    for experience in permuted.experiences[1:]:
        assert torch.equal(experience.test.labels, plain.labels)
        assert not torch.equal(experience.test.inputs, plain.inputs)
        assert torch.equal(experience.test.inputs.flatten(1).sort(1).values, plain.inputs.flatten(1).sort(1).values)
    again = permuted_stream(blobs, 3, seed=1)
    assert torch.equal(again[2].train.inputs, permuted[2].train.inputs)
    assert not torch.equal(permuted_stream(blobs, 3, seed=2)[2].train.inputs, permuted[2].train.inputs)
    rotated = rotated_stream(blobs, [0, 180])
    assert torch.equal(rotated[0].test.inputs, plain.inputs)
    assert torch.equal(rotated[1].test.inputs, plain.inputs.flip(-1, -2))


def test_domain_streams_take_at_most_so_many(blobs):
    other = dataclasses.replace(blobs, name="others", domain="other")
    stream = domain_stream([blobs, other], most=20, seed=3)
    assert [len(experience.train) for experience in stream.experiences] == [20, 20]
    assert [experience.name for experience in stream.experiences] == ["blobs", "other"]
    assert stream.scenario == "domain"


def test_streams_that_cannot_be(blobs):
    with pytest.raises(ValueError, match="divisor"):
        split_stream(blobs, "class", ways=4)
    with pytest.raises(ValueError, match="scenario"):
        split_stream(blobs, "time")
    with pytest.raises(TaskError, match="other classes"):
        domain_stream([blobs, dataclasses.replace(blobs, classes=tuple("uvwxyz"))])
    with pytest.raises(TaskError, match="one experience"):
        continual.Stream("none", "class", ("a", "b"), ())
    with pytest.raises(KeyError, match="no split"):
        split_stream(blobs, "class")[0].split("held out")


# ---- buffers ----------------------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(size=st.integers(1, 120), kind=st.sampled_from(["reservoir", "balanced"]), seed=st.integers(0, 99))
def test_a_buffer_never_overflows_and_holds_what_came_by(size, kind, seed):
    stream, buffer = _STREAM[0], Buffer(size, kind, seed)
    for number, experience in enumerate(stream.experiences):
        buffer.add(experience.train)
        came = together([e.train for e in stream.experiences[: number + 1]], "all")
        assert len(buffer) <= size
        assert len(set(buffer.samples.rows)) == len(buffer)
        assert set(buffer.samples.rows) <= set(came.rows)
        if kind == "reservoir":
            assert len(buffer) == min(size, len(came))
    if kind == "balanced" and size >= 6:
        counts = np.bincount(buffer.samples.labels, minlength=6)
        assert counts.max() - counts.min() <= 1 or counts.max() == 24  # 24 images of each class in all


_STREAM: list = []


@pytest.fixture(autouse=True)
def one_stream(blobs):
    """For the property test, which can take no fixture of a function."""
    _STREAM[:] = [split_stream(blobs, "class")]


def test_buffers_that_cannot_be():
    with pytest.raises(ValueError, match="one sample or more"):
        Buffer(0)
    with pytest.raises(ValueError, match="reservoir"):
        Buffer(5, "ring")


# ---- strategies -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_naive_forgets_and_replay_and_joint_do_not(blobs):
    stream = split_stream(blobs, "class")
    naive, replay, joint = (run(stream, strategy) for strategy in (Naive(), Replay(30, kind="balanced"), Joint()))
    assert naive.average_accuracy == pytest.approx(100 / 3, abs=1)
    assert naive.matrix[2, :2].max() == 0
    assert replay.average_accuracy > 85
    assert joint.average_accuracy > 95
    assert naive.forgetting > 90 > 20 > replay.forgetting
    assert (naive.within[:2] > 0).all()  # told the experience, it still knows something
    assert naive.within[2] == naive.matrix[2, 2]
    assert naive.memory == 0
    assert replay.memory == 30 * (28 * 28 + 8)
    assert joint.memory == len(blobs.rows("train")) * (28 * 28 + 8)


def test_told_the_task_naive_forgets_little(blobs):
    outcome = run(split_stream(blobs, "task"), Naive())
    assert outcome.average_accuracy > 80
    assert outcome.matrix.shape == (3, 3)
    assert outcome.baseline.shape == (3,)
    np.testing.assert_array_equal(outcome.within, outcome.matrix[-1])


@pytest.mark.slow
@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize(
    "make",
    [
        lambda: EWC(100.0),
        lambda: OnlineEWC(100.0, decay=0.9),
        lambda: SI(1.0),
        lambda: LwF(),
        lambda: L2SP(0.1),
        lambda: AGEM(12),
        lambda: GDumb(12),
    ],
)
def test_every_strategy_learns_every_scenario_and_the_same_seed_gives_the_same(blobs, scenario, make):
    stream = split_stream(blobs, scenario)
    recipe = dataclasses.replace(RECIPE, epochs=2)
    one, other = run(stream, make(), recipe=recipe, seed=3), run(stream, make(), recipe=recipe, seed=3)
    np.testing.assert_array_equal(one.matrix, other.matrix)
    assert one.matrix[0, 0] > 80
    assert one.matrix.diagonal().mean() > 60
    assert one.row()["accuracy"] == pytest.approx(one.average_accuracy, abs=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("make", [lambda s: EWC(s), lambda s: SI(s), lambda s: LwF(s), lambda s: L2SP(s)])
def test_strength_nought_is_naive_bit_for_bit_and_a_great_one_holds_the_weights(blobs, make):
    stream = split_stream(blobs, "task")
    ends = {}
    for name, strategy in (("naive", Naive()), ("nought", make(0.0)), ("great", make(1e4))):
        models = []

        def keeping(seed, models=models):
            models.append(model_for(stream)(seed))
            return models[-1]

        run_stream(stream, strategy, keeping, RECIPE, fresh=True)
        ends[name] = models[0]
    naive, nought, great = (torch.nn.utils.parameters_to_vector(m.parameters()) for m in ends.values())
    assert torch.equal(naive, nought)
    assert not torch.equal(naive, great)


def test_ewc_holds_what_mattered(blobs):
    """On the second experience, weights with much importance move less than under naive training."""
    stream = split_stream(blobs, "task")
    gently = dataclasses.replace(RECIPE, epochs=1, lr=5e-4)  # a network that is sure of all has no Fisher information

    def moved(strategy):
        strategy.before_stream(stream, model_for(stream), 0)
        model, ends = model_for(stream)(0), []
        for now in range(2):
            strategy.now = now
            strategy.learn(model, gently, fresh=True)
            strategy.after_experience(model)
            ends.append(torch.nn.utils.parameters_to_vector(model.parameters()).detach().clone())
        return (ends[1] - ends[0]).abs()

    strategy = EWC(1e4)
    with_springs, without = moved(strategy), moved(Naive())
    important = strategy.importance[0] > strategy.importance[0].quantile(0.99)
    assert with_springs[important].mean() < 0.5 * without[important].mean()
    assert strategy.importance.shape == strategy.anchors.shape == (2, len(without))


@pytest.mark.slow
def test_online_ewc_keeps_one_set_whatever_the_streams_length(blobs):
    stream = split_stream(blobs, "class")
    separate, online = EWC(10.0), OnlineEWC(10.0)
    run(stream, separate, recipe=dataclasses.replace(RECIPE, epochs=1))
    run(stream, online, recipe=dataclasses.replace(RECIPE, epochs=1))
    assert len(separate.importance) == 3
    assert len(online.importance) == 1
    assert separate.memory() == 3 * online.memory()


def test_a_stream_that_was_learned_is_read_back(blobs):
    """SI gathers its importances during training: a stored run brings them back, so that the stream goes on the same."""
    stream = split_stream(blobs, "class")
    first = run_stream(stream, SI(5.0), model_for(stream), RECIPE)
    again = SI(5.0)
    second = run_stream(stream, again, model_for(stream), RECIPE)
    np.testing.assert_array_equal(first.matrix, second.matrix)
    assert again.importance.abs().sum() > 0


class OwnSI(SI):
    """A reader's: all its attributes count in the names of its runs."""

    def after_step(self, step):
        super().after_step(step)
        self.facts = {"shares": self.shares.sum()}


@pytest.mark.parametrize(
    "make", [Naive, lambda: Replay(12), lambda: AGEM(12), lambda: GDumb(12), Joint, LwF, L2SP, OwnSI]
)
def test_every_stream_that_was_learned_is_read_back(blobs, make):
    stream, recipe = split_stream(blobs, "task"), dataclasses.replace(RECIPE, epochs=1)
    for expected in ("computed", "reused"):
        store.TALLY.clear()
        run_stream(stream, make(), model_for(stream), recipe)
        assert store.TALLY["runs", expected] == 3


def test_what_is_in_the_buffer_is_part_of_a_runs_name(blobs):
    train = split_stream(blobs, "class")[0].train
    one, same, other = Buffer(12, seed=1), Buffer(12, seed=1), Buffer(12, seed=2)
    names = [buffer.fingerprint for buffer in (one, Buffer(13, seed=1))]
    for buffer in (one, same, other):
        buffer.add(train)
    assert one.fingerprint == same.fingerprint
    assert len({*names, one.fingerprint, other.fingerprint}) == 4


def test_strategies_that_go_together_add_up(blobs):
    """What each adds to the loss, keeps after an experience and counts as memory."""
    stream = split_stream(blobs, "class")
    found = {}
    for name, base in (
        ("replay", (Replay,)),
        ("LwF", (LwF,)),
        ("EWC", (EWC,)),
        ("all", (Replay, LwF, EWC)),
        ("turned", (EWC, LwF, Replay)),
    ):

        class Combined(*base):
            def __init__(self):
                training.Method.__init__(self)
                vars(self).update(strength=10.0, temperature=2.0, estimate="exact", most=20, size=12, kind="reservoir")
                for buffer in ("importance", "anchors"):
                    self.register_buffer(buffer, torch.zeros(0, 0))

        strategy, model = Combined(), model_for(stream)(0)
        strategy.before_stream(stream, model_for(stream), 0)
        for strategy.now in range(2):
            train = stream[strategy.now].train
            strategy.before_training(model, train)
            if strategy.now == 0:
                strategy.after_experience(model)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(1.1)
        x = model.backbone.prepare(train.inputs[:8])
        step = training.Step(model, 0, 0, 0.0, torch.arange(8), x, train.labels[:8])
        step.logits = model.above(x, 0)
        if strategy.second is not None:
            step.second_positions = torch.arange(8)
            step.second_x = model.backbone.prepare(strategy.second.inputs[:8])
        found[name] = strategy.extra_loss(step).item(), strategy.memory()
    assert all(loss > 0 and memory > 0 for loss, memory in found.values())
    both = found.pop("all"), found.pop("turned")
    for *totals, one, two, three in zip(*both, *found.values(), strict=True):
        assert totals == pytest.approx([one + two + three] * 2, rel=1e-5)


def test_scenarios_do_not_share_stored_runs(blobs):
    rows = {}
    for scenario in ("task", "class"):
        stream = split_stream(blobs, scenario)
        rows[scenario] = run_stream(stream, Naive(), model_for(stream), RECIPE).matrix[-1]
    assert rows["class"][0] == 0
    assert rows["task"][0] > 50


def test_lwf_keeps_the_old_answers_on_the_new_images(blobs):
    """After the second experience, the first one's outputs on the second's images are nearer to what they were."""
    stream = split_stream(blobs, "task")
    new = stream[1].train

    def drift(strategy):
        strategy.before_stream(stream, model_for(stream), 0)
        model, said = model_for(stream)(0), []
        for now in range(2):
            strategy.now = now
            strategy.learn(model, RECIPE, fresh=True)
            said.append(torch.from_numpy(strategy.logits(model, new, 1))[:, [0, 1]].softmax(dim=1))
        return (said[1] - said[0]).abs().mean()

    assert drift(LwF(1.0)) < 0.5 * drift(Naive())


def test_frozen_stages_stay_as_they_are(blobs):
    stream = split_stream(blobs, "class")
    models = []

    def make(seed):
        models.append(model_for(stream)(seed))
        return models[-1]

    before = copy.deepcopy(make(0)).state_dict()
    run_stream(stream, EWC(1.0), make, dataclasses.replace(RECIPE, freeze_depth=1), fresh=True)
    after = models[-1].state_dict()
    frozen = [name for name in before if name.startswith("backbone.stages.hidden1")]
    assert frozen
    assert all(torch.equal(before[name], after[name]) for name in frozen)
    assert not torch.equal(before["head.1.weight"], after["head.1.weight"])


def test_balanced_accuracy_and_the_validation_split(blobs):
    stream = split_stream(blobs, "domain")
    seen = []
    outcome = run(
        stream, Naive(), split="validation", metric="balanced_accuracy", on_experience=lambda n, r: seen.append(n)
    )
    assert outcome.matrix.shape == (3, 3)
    assert seen == [0, 1, 2]


def test_refusals(blobs):
    stream = split_stream(blobs, "class")
    with pytest.raises(ValueError, match="outputs"):
        run_stream(stream, Naive(), model_for(split_stream(blobs, "domain")), RECIPE)
    with pytest.raises(ValueError, match="metric"):
        run(stream, Naive(), metric="f1")
    with pytest.raises(ValueError, match="freeze line"):
        run(stream, Naive(), recipe=dataclasses.replace(RECIPE, unfreeze="gradual"))
    with pytest.raises(ValueError, match="use run_stream"):
        training.fit(model_for(stream)(0), stream[0].train, None, RECIPE, method=EWC())
    for make in (EWC, SI, LwF):
        with pytest.raises(ValueError, match="strength"):
            make(-1.0)
    with pytest.raises(ValueError, match="decay"):
        OnlineEWC(1.0, decay=1.5)
    with pytest.raises(ValueError, match="damping"):
        SI(1.0, damping=0.0)
    with pytest.raises(ValueError, match="temperature"):
        continual.distillation_loss(torch.zeros(2, 2), torch.zeros(2, 2), 0.0)
    with pytest.raises(ValueError, match="shape"):
        continual.distillation_loss(torch.zeros(2, 2), torch.zeros(2, 3))


def test_samples_of_two_data_sets_do_not_share_places_in_the_cache(blobs):
    """Rows number the samples of one data set: two of them would write over each other's activations."""
    one = blobs.samples("train")
    other = dataclasses.replace(one, inputs=255 - one.inputs, table="another")
    assert together([one, one.take([0])], "same").table == one.table
    both = together([one, other], "both")
    assert both.table == ""
    model = model_for(split_stream(blobs, "class"))(0)
    freezing.freeze(model, 1)
    line = Line(model.backbone, 1, both, views=1)
    found = line(range(len(both)))
    assert line.fill(range(len(both))) == 0  # all of them are kept
    torch.testing.assert_close(found, model.backbone.stages["hidden1"](model.backbone.prepare(both.inputs)))
