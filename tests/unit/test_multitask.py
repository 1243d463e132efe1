"""Several tasks from one network: heads, missing labels, weightings against slow direct formulas, and what helps what."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tests.unit.small import small_model, stripes
from tl_helpers import freezing, multitask
from tl_helpers.multitask import (
    MISSING,
    CrossStitch,
    GradNorm,
    HardSharing,
    Heads,
    MultiTaskClassifier,
    Observed,
    PCGrad,
    Target,
    Uncertainty,
    by_task,
    pool,
    score_tasks,
    with_labels,
    without_conflicts,
)
from tl_helpers.training import Recipe, Step, fit

KIND, PLACE, SIZE = Target("kind", ("columns", "rows")), Target("place", ("low", "middle", "high")), Target("size")
TARGETS = (KIND, PLACE, SIZE)
RECIPE = Recipe(epochs=2, batch_size=8, lr=1e-2)


def labelled(n: int = 24, seed: int = 0, *, missing: bool = True):
    """Stripes with three labels, of which about a third are missing, but never all three."""
    random = np.random.default_rng(seed)
    samples = stripes(n, seed=seed)
    kind, place = samples.labels.numpy().copy(), random.integers(0, 3, n)
    size = random.normal(size=n).astype(np.float32)
    if missing:
        gone = random.integers(0, 4, n)  # which one is missing; 3: none
        kind[gone == 0], place[gone == 1], size[gone == 2] = MISSING, MISSING, np.nan
    return with_labels(samples, kind=kind, place=place, size=size)


def model_of(targets=TARGETS, seed: int = 0, **kind) -> MultiTaskClassifier:
    return MultiTaskClassifier(small_model(seed=seed).backbone, targets, seed=seed, **kind)


def a_step(model, samples, method, rows=None, number=0) -> Step:
    """A step in double precision that went through the forward pass, and its losses."""
    rows = torch.arange(len(samples)) if rows is None else rows
    method.check(model, samples, 0.0)
    x = model.backbone.prepare(samples.inputs[rows]).to(next(model.parameters()).dtype)
    step = Step(model, 0, number, 0.0, rows, x, samples.labels[rows])
    return step, method.forward(step)


def flat_gradients(parameters) -> torch.Tensor:
    return torch.cat([p.grad.reshape(-1) for p in parameters])


# ---- heads -----------------------------------------------------------------------------------------------------------


def test_outputs_stand_side_by_side_and_come_apart_again():
    model = model_of()
    x = model.backbone.prepare(stripes(4).inputs)
    model.eval()
    parts = by_task(model(x), TARGETS)
    assert {name: tuple(part.shape) for name, part in parts.items()} == {
        "kind": (4, 2),
        "place": (4, 3),
        "size": (4, 1),
    }
    embedded = model.backbone(x)
    for head, part in zip(model.head[-1].linear, parts.values(), strict=True):
        assert torch.equal(head(embedded), part)


def test_a_head_begins_alike_whatever_else_is_learned():
    alone, joint, other = model_of((PLACE,)), model_of(), model_of(seed=1)
    assert torch.equal(alone.head[-1].linear[0].weight, joint.head[-1].linear[1].weight)
    assert not torch.equal(joint.head[-1].linear[1].weight, other.head[-1].linear[1].weight)
    renamed = dataclasses.replace(PLACE, name="elsewhere")
    assert not torch.equal(model_of((renamed,)).head[-1].linear[0].weight, alone.head[-1].linear[0].weight)


def test_cross_stitch_mixes_columns_and_each_head_sees_its_own():
    torch.manual_seed(0)
    stitch = CrossStitch([nn.Linear(5, 4), nn.Linear(5, 4)], own=0.8).double()
    x = torch.randn(3, 5).double()
    first, second = (column(x) for column in stitch.columns)
    mixed = torch.cat([0.8 * first + 0.2 * second, 0.2 * first + 0.8 * second], dim=1)
    torch.testing.assert_close(stitch(x), mixed, atol=1e-6, rtol=0)
    heads = Heads(8, (KIND, SIZE), columns=True).double()
    torch.testing.assert_close(heads(mixed)[:, :2], heads.linear[0](mixed[:, :4]))
    torch.testing.assert_close(heads(mixed)[:, 2:], heads.linear[1](mixed[:, 4:]))
    heads(stitch(x))[:, 0].sum().backward()
    assert stitch.mixture.grad[0].abs().min() > 0
    assert stitch.mixture.grad[1].abs().max() == 0


# ---- missing labels --------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(*[st.booleans()] * 3), min_size=1, max_size=6), st.integers(0, 99))
def test_a_missing_label_gives_exactly_no_gradient_and_the_others_theirs(there, seed):
    """Against the loss of the labelled samples alone, task by task."""
    torch.manual_seed(seed)
    there = torch.tensor(there)
    outputs = torch.randn(len(there), 6, dtype=torch.float64, requires_grad=True)
    labels = {
        "kind": torch.where(there[:, 0], torch.randint(0, 2, (len(there),)), MISSING),
        "place": torch.where(there[:, 1], torch.randint(0, 3, (len(there),)), MISSING),
        "size": torch.where(there[:, 2], torch.randn(len(there)).double(), torch.nan),
    }
    for k, (target, part) in enumerate(zip(TARGETS, by_task(outputs, TARGETS).values(), strict=True)):
        loss = target.loss(part, labels[target.name])
        if not there[:, k].any():
            assert loss is None
            continue
        (got,) = torch.autograd.grad(loss, outputs, retain_graph=True)
        want = torch.zeros_like(outputs)
        first, many = (0, 2, 5)[k], there[:, k].sum()
        for row in range(len(there)):
            if not there[row, k]:
                assert (got[row] == 0).all()  # exactly
            elif target.classes:
                p = outputs[row, first : first + target.outputs].detach().softmax(0)
                p[labels[target.name][row]] -= 1
                want[row, first : first + target.outputs] = p / many
            else:
                want[row, first] = 2 * (outputs[row, first].detach() - labels["size"][row]) / many
        torch.testing.assert_close(got, want, atol=1e-6, rtol=0)


def test_partly_labelled_batch_gives_the_network_the_gradient_of_what_is_present():
    """Batch norm in eval mode, so that a sample without a label does not act through the batch's statistics either."""
    samples, model = labelled(), model_of().double().eval()
    step, losses = a_step(model, samples, method := HardSharing(TARGETS, {"size": 0.5}))
    method.backward(step, losses)
    got = flat_gradients(model.parameters())
    model.zero_grad()
    total = 0
    for target, weight in zip(TARGETS, (1, 1, 0.5), strict=True):
        labels = target.labels(samples)
        rows = torch.tensor([k for k in range(len(samples)) if target.known(labels)[k]])
        outputs = by_task(model(model.backbone.prepare(samples.inputs[rows]).double()), TARGETS)[target.name]
        each = [
            -outputs[k].log_softmax(0)[labels[row]] if target.classes else (outputs[k, 0] - labels[row]) ** 2
            for k, row in enumerate(rows)
        ]
        total = total + weight * sum(each) / len(each)
    total.backward()
    torch.testing.assert_close(got, flat_gradients(model.parameters()), atol=1e-6, rtol=0)


def test_training_with_missing_labels_learns_and_scores_what_is_labelled():
    train = labelled(64)
    model = model_of()
    run = fit(model, train, labelled(32, seed=1), dataclasses.replace(RECIPE, epochs=6), method=HardSharing(TARGETS))
    found = score_tasks(model, labelled(32, seed=1))
    assert found["kind"]["accuracy"] > 90
    assert run.metrics["kind accuracy"] == pytest.approx(found["kind"]["accuracy"])
    assert {"explained", "mean_absolute_error"} == set(found["size"])
    bare = dataclasses.replace(train, extra=train.extra | {"size": np.full(64, np.nan)})
    assert "size" not in score_tasks(model, bare)


def test_other_labels_make_another_run():
    one, other = labelled(), labelled()
    other = with_labels(other, size=-other.extra["size"])
    keys = [fit(model_of(), each, None, RECIPE, method=HardSharing(TARGETS)).key for each in (one, one, other)]
    assert keys[0] == keys[1] != keys[2]


def test_pool_mixes_samples_that_know_one_task_each():
    one, other = stripes(20), stripes(30, classes=3, seed=1)
    mixed, targets = pool({"two": one, "three": other})
    assert [target.outputs for target in targets] == [2, 3]
    known = torch.stack([target.known(target.labels(mixed)) for target in targets])
    assert (known.sum(dim=0) == 1).all()
    assert known.sum(dim=1).tolist() == [20, 30]
    model = model_of(targets)
    fit(model, mixed, None, dataclasses.replace(RECIPE, epochs=6), method=HardSharing(targets))
    assert score_tasks(model, mixed)["three"]["accuracy"] > 60
    with pytest.raises(ValueError, match="differ in kind or size"):
        pool({"two": one, "small": stripes(4, size=14)})


# ---- weightings ------------------------------------------------------------------------------------------------------


def test_uncertainty_against_its_formula_and_its_slope():
    samples, model, method = labelled(), model_of().double().eval(), Uncertainty(TARGETS).double()
    with torch.no_grad():
        method.log_variance.copy_(torch.tensor([0.3, -0.7, 1.1]))
    step, losses = a_step(model, samples, method)
    plain = [float(loss.detach()) for loss in method.losses(step).values()]
    want, slopes = 0.0, []
    for target, loss, s in zip(TARGETS, plain, (0.3, -0.7, 1.1), strict=True):
        sigma = np.exp(s / 2)
        scale = 1 / sigma**2 if target.classes else 1 / (2 * sigma**2)  # Kendall et al., equations 10 and 7
        want += scale * loss + np.log(sigma)
        slopes.append(-scale * loss + 0.5)
    assert float(sum(losses.values()).detach()) == pytest.approx(want, abs=1e-6)
    method.backward(step, losses)
    np.testing.assert_allclose(method.log_variance.grad, slopes, atol=1e-6)


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.5])
def test_gradnorm_against_its_loss_differentiated_twice(alpha):
    """The slow way: the norm of the gradient as a graph, and the gradient of the L1 loss through it."""
    samples, model, method = labelled(), model_of().double().eval(), GradNorm(TARGETS, alpha).double()
    shared = multitask.last_shared(model)
    with torch.no_grad():
        method.balance.copy_(torch.tensor([0.5, 1.7, 0.8]))
        method.first.copy_(torch.tensor([0.9, 2.0, 0.7]))
    step, losses = a_step(model, samples, method)
    weights = method.balance.detach().clone().requires_grad_()
    plain = method.losses(step)
    norms, ratios = [], []
    for k, loss in enumerate(plain.values()):
        (slope,) = torch.autograd.grad(weights[k] * loss, shared, create_graph=True)
        norms.append((slope**2).sum().sqrt())
        ratios.append(float(loss.detach()) / (0.9, 2.0, 0.7)[k])
    mean = sum(float(norm.detach()) for norm in norms) / 3
    wanted = [mean * (ratio / (sum(ratios) / 3)) ** alpha for ratio in ratios]
    (want,) = torch.autograd.grad(sum((n - w).abs() for n, w in zip(norms, wanted, strict=True)), weights)
    expected = [w * plain[name].detach() for w, name in zip(weights.tolist(), plain, strict=True)]
    for name, value in zip(plain, expected, strict=True):
        assert float(losses[name].detach()) == pytest.approx(float(value), abs=1e-6)
    method.backward(step, losses)
    torch.testing.assert_close(method.balance.grad, want, atol=1e-6, rtol=0)
    method.after_step(step)
    assert float(method.balance.sum().detach()) == pytest.approx(3)


def test_gradnorm_takes_the_first_losses_and_no_weight_falls_through_zero():
    samples, model, method = labelled(), model_of().double().eval(), GradNorm(TARGETS).double()
    step, losses = a_step(model, samples, method)
    plain = [float(loss.detach()) for loss in method.losses(step).values()]
    method.backward(step, losses)
    np.testing.assert_allclose(method.first, plain)
    with torch.no_grad():
        method.balance.copy_(torch.tensor([-1.0, 2.0, 2.0]))
    method.after_step(step)
    assert method.balance.min() > 0


def slowly_projected(gradients: np.ndarray, orders) -> np.ndarray:
    """PCGrad as its paper's algorithm 1 says, number by number."""
    kept = gradients.copy()
    for i, order in enumerate(orders):
        for j in order:
            product = sum(a * b for a, b in zip(kept[i], gradients[j], strict=True))
            if product < 0:
                square = sum(b * b for b in gradients[j])
                kept[i] = [a - product / square * b for a, b in zip(kept[i], gradients[j], strict=True)]
    return kept


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 5), st.integers(1, 7), st.integers(0, 999))
def test_pcgrad_against_the_papers_algorithm(tasks, size, seed):
    random = np.random.default_rng(seed)
    gradients = random.normal(size=(tasks, size))
    orders = [[j for j in random.permutation(tasks).tolist() if j != i] for i in range(tasks)]
    found = without_conflicts(torch.from_numpy(gradients), orders).numpy()
    np.testing.assert_allclose(found, slowly_projected(gradients, orders), atol=1e-6)
    if tasks == 2:
        assert found[0] @ gradients[1] >= -1e-9
        assert found[1] @ gradients[0] >= -1e-9


def test_pcgrad_gives_the_trunk_the_projected_sum_and_the_heads_their_own():
    samples, model = labelled(), model_of((KIND, SIZE)).double().eval()
    shared = list(model.backbone.parameters())
    plain = HardSharing((KIND, SIZE))
    step, losses = a_step(model, samples, plain)
    gradients = multitask.gradients_of(losses, shared).numpy()
    plain.backward(step, losses)
    heads = flat_gradients(model.head.parameters())
    model.zero_grad()
    method = PCGrad((KIND, SIZE))
    step, losses = a_step(model, samples, method)
    method.backward(step, losses)  # of two tasks, the order is no choice
    want = slowly_projected(gradients, [[1], [0]]).sum(axis=0)
    np.testing.assert_allclose(flat_gradients(shared), want, atol=1e-6)
    torch.testing.assert_close(flat_gradients(model.head.parameters()), heads)
    assert float(method.facts["conflicts"]) in (0.0, 1.0)


def test_weights_of_zero_and_one_are_the_single_task():
    """With the other's weight at 0 and its head off the way, the shared trunk is that of one task, up to rounding."""
    samples = labelled(missing=False)
    one, both = model_of((KIND,)), model_of((KIND, SIZE))
    fit(one, samples, None, RECIPE, method=HardSharing((KIND,)))
    fit(both, samples, None, RECIPE, method=HardSharing((KIND, SIZE), {"size": 0.0}))
    for a, b in zip(one.backbone.parameters(), both.backbone.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=0)


@pytest.mark.parametrize("make", [HardSharing, Uncertainty, GradNorm, PCGrad, Observed])
def test_every_weighting_trains_through_fit_and_is_stored(make):
    samples = labelled(32)
    first, second = (model_of() for _ in range(2))
    run = fit(first, samples, None, RECIPE, method=make(TARGETS))
    again = fit(second, samples, None, RECIPE, method=make(TARGETS))
    assert again.reused
    assert run.history == again.history
    assert all(
        torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    )
    assert any(name.startswith("loss of") for name in run.history[0])


# ---- affinity --------------------------------------------------------------------------------------------------------


def test_observed_trains_as_hard_sharing_and_notes_the_cosines():
    samples = labelled(32)
    plain, watched = model_of(), model_of()
    fit(plain, samples, None, RECIPE, method=HardSharing(TARGETS))
    run = fit(watched, samples, None, RECIPE, method=Observed(TARGETS, every=2))
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), watched.parameters(), strict=True))
    assert {"cosine of kind and place", "cosine of kind and size", "cosine of place and size"} <= set(run.history[0])


def test_cosines_and_look_ahead_against_doing_it_step_by_step():
    samples, model = labelled(missing=False), model_of().double().eval()
    freezing.freeze(model, 1)
    labels = {target.name: target.labels(samples) for target in TARGETS}
    labels["size"] = labels["size"].double()
    x = model.backbone.split(1)[0](model.backbone.prepare(samples.inputs).double()).detach()
    before = [p.clone() for p in model.parameters()]
    found = multitask.lookahead_affinity(model, x, labels, 1, rate=0.05)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    shared = multitask.shared_of(model)

    def losses():
        outputs = by_task(model.above(x, 1), TARGETS)
        return [target.loss(outputs[target.name], labels[target.name]) for target in TARGETS]

    start, rows = losses(), []
    for i in range(3):
        slopes = torch.autograd.grad(losses()[i], shared)
        with torch.no_grad():
            for parameter, slope in zip(shared, slopes, strict=True):
                parameter -= 0.05 * slope
            rows.append([float(1 - after / now) for after, now in zip(losses(), start, strict=True)])
            for parameter, slope in zip(shared, slopes, strict=True):
                parameter += 0.05 * slope
    np.testing.assert_allclose(found, rows, atol=1e-6)
    assert found.diagonal().min() > 0
    cosines = multitask.gradient_cosines(torch.tensor([[3.0, 4.0], [4.0, -3.0], [-3.0, -4.0], [0.0, 0.0]]))
    np.testing.assert_allclose(cosines[0], [1, 0, -1, 0], atol=1e-6)


def test_affinity_matrix_is_the_gain_of_the_column_by_the_row():
    alone = {"a": 80.0, "b": 60.0}
    found = multitask.affinity_matrix(alone, {("a", "b"): 82.0, ("b", "a"): 57.0})
    np.testing.assert_allclose(found, [[np.nan, -3.0], [2.0, np.nan]])
    with pytest.raises(ValueError, match="two different tasks"):
        multitask.affinity_matrix(alone, {("a", "c"): 1.0})


# ---- errors ----------------------------------------------------------------------------------------------------------


def trained(model, samples, method, **recipe):
    return fit(model, samples, None, dataclasses.replace(RECIPE, **recipe), method=method)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: model_of((KIND, KIND)), "Two tasks are named kind"),
        (lambda: HardSharing((KIND, dataclasses.replace(SIZE, name="kind"))), "Two tasks are named kind"),
        (lambda: HardSharing(()), "No task"),
        (lambda: Target("kind", ("only",)), "no question"),
        (lambda: trained(small_model(), labelled(), HardSharing(TARGETS)), "MultiTaskClassifier"),
        (lambda: trained(model_of(), labelled(), HardSharing((KIND, PLACE))), "size: a head without a task"),
        (lambda: trained(model_of((KIND,)), labelled(), HardSharing((KIND, SIZE))), "size: a task without a head"),
        (lambda: trained(model_of((KIND, SIZE)), labelled(), HardSharing((SIZE, KIND))), "order"),
        (lambda: trained(model_of((KIND,)), stripes(8), HardSharing((KIND,))), "no labels of the task 'kind'"),
        (lambda: trained(model_of(), labelled(), HardSharing(TARGETS), label_smoothing=0.1), "label_smoothing"),
        (lambda: HardSharing(TARGETS, {"colour": 1.0}), "no task here"),
        (lambda: HardSharing(TARGETS, {"kind": -1.0}), "0 or more"),
        (lambda: GradNorm(TARGETS, alpha=-1), "alpha"),
        (lambda: Observed(TARGETS, every=0), "every"),
        (lambda: CrossStitch([nn.Linear(2, 2)]), "two columns"),
        (lambda: Heads(7, (KIND, SIZE), columns=True), "no 2 equal parts"),
        (lambda: with_labels(stripes(4), kind=np.zeros(3, int)), "for 4 samples"),
        (lambda: KIND.labels(with_labels(stripes(4), kind=np.full(4, 2))), "run from 2 to 2"),
        (lambda: KIND.labels(with_labels(stripes(4), kind=np.zeros(4))), "whole numbers"),
    ],
)
def test_errors_say_what_is_wrong(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_samples_and_batches_without_labels_are_refused():
    samples = labelled()
    bare = with_labels(samples, kind=np.full(24, MISSING))
    with pytest.raises(ValueError, match="not one sample has a label of kind"):
        trained(model_of(), bare, HardSharing(TARGETS))
    some = with_labels(samples, kind=np.where(np.arange(24) < 3, MISSING, samples.labels.numpy()))
    with pytest.raises(ValueError, match="3 samples have no label of any task"):
        trained(model_of((KIND,)), some, HardSharing((KIND,)))
    method, model = HardSharing((KIND,)), model_of((KIND,))
    method.labels = {"kind": KIND.labels(some)}
    x = model.backbone.prepare(some.inputs[:3])
    step = Step(model, 0, 0, 0.0, torch.arange(3), x, some.labels[:3])
    with pytest.raises(ValueError, match="A batch without labels"):
        method.forward(step)


def test_conflicts_need_something_shared():
    model = model_of()
    with pytest.raises(ValueError, match="share nothing"):
        trained(model, labelled(), PCGrad(TARGETS), freeze_depth=model.backbone.depth)
