"""Fisher diagonals, penalties, losses and buffers on a tiny network, each against a slow direct formula."""

from __future__ import annotations

import copy
import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import nn

from tl_helpers import freezing
from tl_helpers.continual import (
    AGEM,
    ESTIMATES,
    EWC,
    L2SP,
    SI,
    Buffer,
    DERPlusPlus,
    Experience,
    GenerativeReplay,
    ICaRL,
    LwF,
    OnlineEWC,
    Replay,
    Stream,
    correction,
    distillation_loss,
    fisher_diagonal,
    masked_cross_entropy,
    quadratic_penalty,
    together,
)
from tl_helpers.continual.strategies.generative import Autoencoder
from tl_helpers.continual.strategies.icarl import herd
from tl_helpers.data import Samples
from tl_helpers.models import Classifier
from tl_helpers.models.backbone import Backbone, Preprocessing
from tl_helpers.training import Recipe, Step


class Exact(Backbone):
    """Prepares its images in double precision."""

    def prepare(self, pixels):
        return super().prepare(pixels).double()


def tiny(classes=3, seed=0, dropout=0.0):
    """124 parameters with three classes: 4 x 4 pixels, five hidden units, an embedding of four."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        hidden, last = nn.Linear(16, 5), nn.Linear(5, 4)
    stages = {"flat": nn.Flatten(), "hidden": nn.Sequential(hidden, nn.Tanh()), "last": last}
    backbone = Exact("tiny", stages, 4, Preprocessing((0.5,), (0.25,), 4), "", "")
    model = Classifier(backbone, classes, dropout=dropout, seed=seed).double()
    with torch.no_grad():
        model.head[-1].weight.mul_(2)  # so that it is neither sure nor indifferent
    return model.eval()


def shaken(model, seed=1, by=0.2):
    """The model with other weights, in place."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(by * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype))
    return model


def drawn(n, seed=0):
    """Images, labels among three classes, and a mask for each that allows its label and some of the others."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, size=n)
    allowed = random.random((n, 3)) < 0.5
    allowed[np.arange(n), labels] = True
    return torch.from_numpy(random.normal(size=(n, 1, 4, 4))), torch.from_numpy(labels), torch.from_numpy(allowed)


def stream_of(scenario, each=12, seed=0):
    """Three experiences of two classes each: new ones, or in the domain scenario the same ones."""
    random, experiences = np.random.default_rng(seed), []
    names = tuple("ab" if scenario == "domain" else "abcdef")
    for number in range(3):
        first = 0 if scenario == "domain" else 2 * number
        parts = {}
        for split in ("train", "validation", "test"):
            labels = first + np.arange(each) % 2
            pixels = random.integers(0, 256, size=(each, 1, 4, 4))
            pixels[labels % 2 == 1, :, number] //= 4
            parts[split] = Samples(
                name=f"{number}/{split}",
                inputs=torch.from_numpy(pixels.astype(np.uint8)),
                labels=torch.from_numpy(labels),
                classes=names,
                rows=100 * number + np.arange(each),
                extra={"experience": np.full(each, number)},
            )
        experiences.append(Experience(str(number), **parts, classes=(first, first + 1)))
    return Stream("tiny stream", scenario, names, tuple(experiences))


def answers(scenario, now, of):
    """What may be answered after experience `now` on samples of experience `of`, written out."""
    if scenario == "domain":
        return [0, 1]
    return [2 * of, 2 * of + 1] if scenario == "task" else list(range(2 * now + 2))


def masks(scenario, now, of, classes):
    return torch.tensor([[label in answers(scenario, now, one) for label in range(classes)] for one in of])


def images(samples):
    """As the tiny network prepares them."""
    return (samples.inputs.double() / 255 - 0.5) / 0.25


def vector(tensors):
    return torch.cat([tensor.detach().reshape(-1) for tensor in tensors])


def step_of(model, x, targets, again_x=None, again_positions=None):
    logits = model(x)
    embedded = model.backbone(x)
    positions = torch.arange(len(x))
    step = Step(model, 0, 0, 0.0, positions, x, targets, second_x=again_x, second_positions=again_positions)
    step.logits, step.embedded = logits, embedded
    return step


def slow_cross_entropy(logits, labels, allowed):
    """Sample by sample, class by class."""
    total = 0.0
    for row, label, ok in zip(logits.tolist(), labels.tolist(), allowed.tolist(), strict=True):
        total += math.log(sum(math.exp(z) for z, may in zip(row, ok, strict=True) if may)) - row[label]
    return total / len(logits)


# ---- Fisher information ----------------------------------------------------------------------------------------------


def slow_gradient(network, parameters, one, y, ok):
    """Of log p(y | one), among the answers that are allowed; and p itself."""
    logits = network(one[None])[0]
    among = [logits[c] for c in range(len(ok)) if ok[c]]
    log_p = logits[y] - torch.log(sum(torch.exp(z) for z in among))
    return vector(torch.autograd.grad(log_p, parameters)), math.exp(log_p.item())


def slow_fisher(network, parameters, x, labels, allowed, estimate):
    total = torch.zeros(sum(p.numel() for p in parameters), dtype=torch.float64)
    if estimate == "batch":
        starts = range(0, len(x), 32)
        for start in starts:
            rows = range(start, min(start + 32, len(x)))
            each = [slow_gradient(network, parameters, x[i], int(labels[i]), allowed[i])[0] for i in rows]
            total += (sum(each) / len(each)) ** 2
        return total / len(starts)
    for i in range(len(x)):
        ys = [c for c in range(allowed.shape[1]) if allowed[i, c]] if estimate == "exact" else [int(labels[i])]
        for y in ys:
            gradient, p = slow_gradient(network, parameters, x[i], y, allowed[i])
            total += gradient**2 * (p if estimate == "exact" else 1.0)
    return total / len(x)


@pytest.mark.parametrize("depth", [0, 2])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("estimate", ["exact", "empirical", "batch"])
def test_fisher_diagonal_sample_by_sample(estimate, masked, depth):
    model = freezing.freeze(tiny(), depth)
    x, labels, allowed = drawn(40)  # more than one batch of 32
    allowed = allowed if masked else torch.ones_like(allowed)
    stages = model.backbone.stages
    network = model
    if depth:
        with torch.no_grad():
            x = stages["hidden"](stages["flat"](x))
        network = nn.Sequential(stages["last"], model.head)
    parameters = [p for p in network.parameters() if p.requires_grad]
    want = slow_fisher(network, parameters, x, labels, allowed, estimate)
    found = fisher_diagonal(model, x, labels, allowed, estimate=estimate)
    assert found.shape == ((39 if depth else 124),)
    assert (want > 1e-5).any()
    torch.testing.assert_close(found, want, atol=1e-9, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("masked", [False, True])
def test_sampled_fisher_is_right_on_average(masked):
    model, (x, labels, allowed) = tiny(), drawn(12)
    allowed = allowed if masked else torch.ones_like(allowed)
    exact = slow_fisher(model, list(model.parameters()), x, labels, allowed, "exact")
    many = torch.stack(
        [fisher_diagonal(model, x, labels, allowed, estimate="sampled", seed=seed) for seed in range(400)]
    )
    error = many.std(dim=0) / math.sqrt(len(many))
    assert ((many.mean(dim=0) - exact).abs() <= 4.5 * error + 1e-12).all()
    assert many.mean(dim=0).sum().item() == pytest.approx(exact.sum().item(), rel=0.05)
    assert not torch.equal(many[0], many[1])
    assert torch.equal(many[3], fisher_diagonal(model, x, labels, allowed, estimate="sampled", seed=3))
    other = (labels + 1) % 3
    assert torch.equal(many[3], fisher_diagonal(model, x, other, allowed, estimate="sampled", seed=3))


@pytest.mark.parametrize("estimate", ESTIMATES)
def test_one_possible_answer_tells_nothing(estimate):
    model, (x, labels, _) = tiny(), drawn(9)
    allowed = nn.functional.one_hot(labels, 3).bool()
    assert fisher_diagonal(model, x, labels, allowed, estimate=estimate).abs().max() < 1e-20


@pytest.mark.parametrize("estimate", ESTIMATES)
def test_fisher_diagonal_is_that_of_the_network_without_dropout_and_leaves_it_as_it_was(estimate):
    x, labels, allowed = drawn(9)
    model = tiny(dropout=0.5).train()
    before = vector(model.parameters())
    found = fisher_diagonal(model, x, labels, allowed, estimate=estimate)
    torch.testing.assert_close(found, fisher_diagonal(tiny(), x, labels, allowed, estimate=estimate))
    assert model.training
    assert model.head.training
    assert torch.equal(vector(model.parameters()), before)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_fisher_diagonals_that_cannot_be():
    model, (x, labels, allowed) = tiny(), drawn(4)
    with pytest.raises(ValueError, match="exact, sampled, empirical, batch"):
        fisher_diagonal(model, x, labels, allowed, estimate="true")
    with pytest.raises(ValueError, match="one or more"):
        fisher_diagonal(model, x[:0], labels[:0], allowed[:0])


# ---- EWC -------------------------------------------------------------------------------------------------------------


def slow_penalty(values, importance, anchors):
    """Half the sum over experiences and weights; `values` may be numbers or scalars that ask for a gradient."""
    total = 0.0
    for t in range(len(importance)):
        for i, value in enumerate(values):
            total = total + 0.5 * float(importance[t, i]) * (value - float(anchors[t, i])) ** 2
    return total


def sprung(strength, experiences=2):
    """EWC after some experiences, with drawn importances and anchors."""
    generator = torch.Generator().manual_seed(4)
    ewc = EWC(strength)
    ewc.importance = torch.rand(experiences, 124, generator=generator, dtype=torch.float64)
    ewc.anchors = torch.randn(experiences, 124, generator=generator, dtype=torch.float64)
    return ewc


def test_ewc_penalty_weight_by_weight():
    model, ewc = tiny(), sprung(7.0)
    values = vector(model.parameters()).tolist()
    want = slow_penalty(values, ewc.importance, ewc.anchors)
    assert quadratic_penalty(vector(model.parameters()), ewc.importance, ewc.anchors).item() == pytest.approx(want)
    assert ewc.penalty(model).item() == pytest.approx(7.0 * want, rel=1e-9)


def test_ewcs_loss_has_the_gradient_of_its_penalty():
    model, ewc = tiny(), sprung(7.0)
    x, labels, _ = drawn(8)
    step = step_of(model, x, labels)
    ewc.extra_loss(step).backward()
    added = vector([p.grad for p in model.parameters()])
    values = vector(model.parameters()).requires_grad_()
    (want,) = torch.autograd.grad(7.0 * slow_penalty(list(values), ewc.importance, ewc.anchors), values)
    torch.testing.assert_close(added, want, atol=1e-9, rtol=1e-9)


def test_ewc_pulls_all_weights_above_and_none_below_the_freeze_line():
    model, ewc = freezing.freeze(tiny(), 2), EWC(3.0)
    ewc.importance, ewc.anchors = torch.full((1, 39), 2.0).double(), torch.zeros(1, 39).double()
    x, labels, _ = drawn(4)
    ewc.extra_loss(step_of(model, x, labels)).backward()
    assert all(p.grad is None for p in model.backbone.stages["hidden"].parameters())
    for parameter in [*model.backbone.stages["last"].parameters(), *model.head.parameters()]:
        torch.testing.assert_close(parameter.grad, 6.0 * parameter.detach())


def test_before_the_second_experience_there_is_nothing_to_pull():
    model, (x, labels, _) = tiny(), drawn(4)
    for strategy in (EWC(5.0), OnlineEWC(5.0)):
        assert strategy.extra_loss(step_of(model, x, labels)) is None


@pytest.mark.parametrize("estimate", ["exact", "empirical"])
@pytest.mark.parametrize("scenario", ["task", "class", "domain"])
def test_what_ewc_and_online_ewc_keep_after_two_experiences(scenario, estimate):
    stream = stream_of(scenario)
    classes = len(stream.classes)
    model = tiny(classes)
    ewc, online = EWC(1.0, estimate=estimate), OnlineEWC(1.0, decay=0.3, estimate=estimate)
    slow, ends = [], []
    for strategy in (ewc, online):
        strategy.before_stream(stream, tiny, 0)
    for now in range(2):
        shaken(model, seed=now)
        train = stream[now].train
        allowed = masks(scenario, now, [now] * len(train), classes)
        slow.append(slow_fisher(model, list(model.parameters()), images(train), train.labels, allowed, estimate))
        ends.append(vector(model.parameters()))
        for strategy in (ewc, online):
            strategy.now = now
            strategy.after_experience(model)
    close = {"atol": 1e-6, "rtol": 1e-5}  # images are prepared in single precision
    torch.testing.assert_close(ewc.importance, torch.stack(slow), **close)
    assert torch.equal(ewc.anchors, torch.stack(ends))
    torch.testing.assert_close(online.importance, (0.3 * slow[0] + slow[1])[None], **close)
    assert torch.equal(online.anchors, ends[1][None])
    assert min(found.max() for found in slow) > 1e-3


# ---- synaptic intelligence -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strength", [0.0, 3.0])
def test_synaptic_intelligence_by_a_training_loop_written_out(strength):
    """Two experiences under `fit`, and the same steps by hand: gradient times movement, added up."""
    stream, damping = stream_of("class"), 0.05
    recipe = Recipe(
        epochs=6, lr=0.02, batch_size=12, weight_decay=0.1, schedule="constant", warmup=0.0
    )  # an epoch is one step
    fitted, strategy = tiny(6), SI(strength, damping=damping)
    strategy.before_stream(stream, tiny, 0)

    model = copy.deepcopy(fitted)
    parameters = list(model.parameters())
    importance, anchors = torch.zeros(139).double(), vector(parameters)
    for now in range(2):
        strategy.now = now
        strategy.learn(fitted, recipe, fresh=True)
        strategy.after_experience(fitted)

        matrices, others = [p for p in parameters if p.ndim > 1], [p for p in parameters if p.ndim == 1]
        optimizer = torch.optim.AdamW(
            [{"params": matrices, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}], lr=0.02
        )
        train, begun, shares = stream[now].train, vector(parameters), torch.zeros(139).double()
        for _ in range(6):
            optimizer.zero_grad()
            logits = model(images(train).float().double()).float()[:, : 2 * now + 2]
            nn.functional.cross_entropy(logits, train.labels).backward()
            gradient, before = vector([p.grad for p in parameters]), vector(parameters)
            values = torch.cat([p.reshape(-1) for p in parameters])
            (strength * (importance * (values - anchors) ** 2).sum()).backward()
            optimizer.step()
            shares -= gradient * (vector(parameters) - before)
        importance = importance + shares.clamp(min=0) / ((vector(parameters) - begun) ** 2 + damping)
        anchors = vector(parameters)
        torch.testing.assert_close(vector(fitted.parameters()), anchors, atol=1e-6, rtol=0)
        torch.testing.assert_close(strategy.importance, importance, atol=1e-6, rtol=0)
        torch.testing.assert_close(strategy.anchors, anchors, atol=1e-6, rtol=0)
    assert importance.max() > 0.01
    assert (importance >= 0).all()


def test_synaptic_intelligence_step_by_step_with_plain_descent():
    """With plain descent a share is rate x gradient x (gradient + pull): the pull moves weights but earns nothing."""
    stream, rate = stream_of("task"), 0.1
    model, strategy = tiny(6), SI(2.0)
    strategy.before_stream(stream, tiny, 0)
    strategy.now = 0
    train = stream[0].train
    x, begun = images(train), vector(model.parameters())
    strategy.before_training(model, train)
    strategy.importance = torch.rand(139, generator=torch.Generator().manual_seed(0)).double()
    strategy.anchors = strategy.anchors + 1.0
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    want = torch.zeros(139).double()
    for _ in range(3):
        optimizer.zero_grad()
        step = step_of(model, x, train.labels)
        nn.functional.cross_entropy(step.logits[:, :2], train.labels).backward()
        gradient, now = vector([p.grad for p in model.parameters()]), vector(model.parameters())
        strategy.after_backward(step)
        rows = zip(strategy.importance.tolist(), now.tolist(), strategy.anchors.tolist(), strict=True)
        pull = torch.tensor([2 * 2.0 * omega * (weight - anchor) for omega, weight, anchor in rows]).double()
        torch.testing.assert_close(vector([p.grad for p in model.parameters()]), gradient + pull, atol=1e-6, rtol=0)
        optimizer.step()
        strategy.after_step(step)
        want += rate * gradient * (gradient + pull)
    torch.testing.assert_close(strategy.shares, want, atol=1e-6, rtol=0)
    assert (want < -1e-4).any()  # where the pull won: such weights were no help, and gain nothing
    assert (want > 1e-4).any()
    known, way = strategy.importance.clone(), vector(model.parameters()) - begun
    strategy.after_experience(model)
    gained = torch.tensor([max(0.0, w) / (d**2 + 0.1) for w, d in zip(want.tolist(), way.tolist(), strict=True)])
    torch.testing.assert_close(strategy.importance, known + gained, atol=1e-6, rtol=0)
    assert torch.equal(strategy.anchors, vector(model.parameters()))


# ---- distillation ----------------------------------------------------------------------------------------------------


def slow_softened(row, temperature):
    """Softmax of logits divided by T."""
    powers = [math.exp(z / temperature) for z in row]
    return [power / sum(powers) for power in powers]


def slow_distillation(student, teacher, temperature):
    """Kullback-Leibler divergence, term by term, times T squared."""
    total = 0.0
    for said, wanted in zip(student, teacher, strict=True):
        q, p = slow_softened(said, temperature), slow_softened(wanted, temperature)
        total += sum(p[c] * math.log(p[c] / q[c]) for c in range(len(p)))
    return temperature**2 * total / len(student)


LOGITS = st.tuples(st.integers(1, 5), st.integers(2, 4)).flatmap(
    lambda shape: st.tuples(*(arrays(float, shape, elements=st.floats(-8, 8)) for _ in range(2)))
)


@settings(max_examples=100, deadline=None)
@given(both=LOGITS, temperature=st.floats(0.5, 10))
def test_distillation_loss_term_by_term(both, temperature):
    student, teacher = (torch.tensor(array, requires_grad=True) for array in both)
    loss = distillation_loss(student, teacher, temperature)
    assert loss.item() == pytest.approx(slow_distillation(*(a.tolist() for a in both), temperature), abs=1e-6)
    loss.backward()
    q, p = ([slow_softened(row, temperature) for row in array.tolist()] for array in both)
    want = temperature / len(student) * (torch.tensor(q) - torch.tensor(p)).double()
    torch.testing.assert_close(student.grad, want, atol=1e-5, rtol=0)
    assert teacher.grad is None


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0, 20.0])
def test_distillation_loss_of_equal_logits_is_nought(temperature):
    logits = torch.randn(7, 4, generator=torch.Generator().manual_seed(0)).double().requires_grad_()
    loss = distillation_loss(logits, logits.detach().clone() + 3.0, temperature)  # a common shift says nothing
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-12)
    assert logits.grad.abs().max() < 1e-12


def test_the_gradient_of_distillation_has_the_same_size_at_high_temperatures():
    """Hinton et al. 2015: in the limit, the difference of the centred logits over N times classes."""
    generator = torch.Generator().manual_seed(1)
    student, teacher = torch.randn(2, 6, 4, generator=generator).double()
    student.requires_grad_()
    gap = (student - student.mean(dim=1, keepdim=True) - teacher + teacher.mean(dim=1, keepdim=True)).detach()
    for temperature in (1e3, 1e4):
        (found,) = torch.autograd.grad(distillation_loss(student, teacher, temperature), student)
        torch.testing.assert_close(found, gap / (6 * 4), atol=2e-4, rtol=0)


@pytest.mark.parametrize(
    ("scenario", "now", "heads"),
    [
        ("task", 1, [[0, 1]]),
        ("task", 2, [[0, 1], [2, 3]]),
        ("class", 1, [[0, 1]]),
        ("class", 2, [[0, 1, 2, 3]]),
        ("domain", 2, [[0, 1]]),
    ],
)
def test_lwf_loss_sample_by_sample(scenario, now, heads):
    stream = stream_of(scenario)
    model, strategy = tiny(len(stream.classes)), LwF(0.7, temperature=3.0)
    strategy.before_stream(stream, tiny, 0)
    strategy.now = now
    train = stream[now].train
    x = images(train)
    with torch.no_grad():
        teacher = model(x).tolist()
    strategy.before_training(model, train)
    shaken(model, by=0.5)
    step = step_of(model, x, train.labels)
    student = step.logits.tolist()
    parts = [
        slow_distillation([[row[c] for c in head] for row in student], [[row[c] for c in head] for row in teacher], 3.0)
        for head in heads
    ]
    want = 0.7 * now * sum(parts) / len(parts)
    assert want > 0.01
    assert strategy.extra_loss(step).item() == pytest.approx(want, abs=1e-6)


def test_lwf_distils_nothing_in_the_first_experience_and_nought_from_an_unchanged_model():
    stream = stream_of("task")
    model, strategy = tiny(6), LwF()
    strategy.before_stream(stream, tiny, 0)
    for now in range(2):
        strategy.now = now
        strategy.before_training(model, stream[now].train)
        step = step_of(model, images(stream[now].train), stream[now].train.labels)
        if now == 0:
            assert strategy.extra_loss(step) is None
        else:
            assert strategy.extra_loss(step).item() == pytest.approx(
                0, abs=1e-6
            )  # the teacher answers in single precision


# ---- cross-entropy among some answers --------------------------------------------------------------------------------


@pytest.mark.parametrize("kept", [kept for n in (1, 2, 3, 4) for kept in itertools.combinations(range(4), n)])
def test_masked_cross_entropy_is_that_without_the_columns(kept):
    random = np.random.default_rng(sum(kept))
    logits = torch.tensor(random.normal(size=(9, 4)), requires_grad=True)
    places = torch.from_numpy(random.integers(0, len(kept), size=9))
    labels, allowed = torch.tensor(kept)[places], torch.tensor([[c in kept for c in range(4)]] * 9)
    loss = masked_cross_entropy(logits, labels, allowed)
    without = nn.functional.cross_entropy(logits[:, list(kept)], places)
    assert loss.item() == pytest.approx(without.item(), abs=1e-9)
    (found,), (want,) = torch.autograd.grad(loss, logits), torch.autograd.grad(without, logits)
    torch.testing.assert_close(found, want, atol=1e-9, rtol=0)
    assert (found[~allowed] == 0).all()


def test_masked_cross_entropy_with_a_mask_for_each_sample():
    _, labels, allowed = drawn(30, seed=2)
    logits = torch.randn(30, 3, generator=torch.Generator().manual_seed(2)).double()
    want = slow_cross_entropy(logits, labels, allowed)
    assert masked_cross_entropy(logits, labels, allowed).item() == pytest.approx(want, abs=1e-9)


# ---- A-GEM -----------------------------------------------------------------------------------------------------------


PAIRS = st.integers(1, 8).flatmap(
    lambda n: st.tuples(*(arrays(float, n, elements=st.integers(-50, 50).map(lambda k: k / 8)) for _ in range(2)))
)


@settings(max_examples=200, deadline=None)
@given(pair=PAIRS)
def test_agem_takes_out_what_points_against_the_reference(pair):
    g, r = pair
    found = torch.from_numpy(g) + correction(*map(torch.from_numpy, pair))
    along, size = sum(a * b for a, b in zip(g, r, strict=True)), sum(b * b for b in r)
    if along >= 0:
        assert torch.equal(found, torch.from_numpy(g))
        return
    want = [a - along / size * b for a, b in zip(g, r, strict=True)]
    assert found.tolist() == pytest.approx(want, abs=1e-6)
    assert float(found @ torch.from_numpy(r)) == pytest.approx(0, abs=1e-9)
    assert float(found @ found) <= float(g @ g) + 1e-9


@pytest.mark.parametrize("conflict", [True, False])
def test_agem_corrects_the_gradient_of_a_step(conflict):
    stream = stream_of("domain")
    model, strategy = tiny(2), AGEM(12)
    strategy.before_stream(stream, tiny, 0)
    strategy.now = 0
    strategy.after_experience(model)
    strategy.now = 1
    strategy.before_training(model, stream[1].train)
    again = strategy.second
    positions = torch.tensor([7, 2, 2, 11, 5])
    x, old = images(again)[positions], again.labels[positions]
    targets = 1 - old if conflict else old  # the same images, called the other class
    parameters = list(model.parameters())
    reference = vector(torch.autograd.grad(nn.functional.cross_entropy(model(x), old), parameters))
    step = step_of(model, x, targets, x, positions)
    nn.functional.cross_entropy(step.logits, targets).backward()
    before = vector([p.grad for p in parameters])
    assert strategy.extra_loss(step) is None
    strategy.after_backward(step)
    after = vector([p.grad for p in parameters])
    assert (float(before @ reference) < 0) == conflict
    if not conflict:
        assert torch.equal(after, before)
        return
    want = before - (before @ reference) / (reference @ reference) * reference
    torch.testing.assert_close(after, want, atol=1e-6, rtol=0)
    assert float(after @ reference) == pytest.approx(0, abs=1e-6)


# ---- replay ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scenario", ["task", "class", "domain"])
@pytest.mark.parametrize("now", [1, 2])
def test_replay_loss_sample_by_sample(scenario, now):
    stream = stream_of(scenario)
    classes = len(stream.classes)
    model, strategy = tiny(classes), Replay(15)
    strategy.before_stream(stream, tiny, 0)
    for earlier in range(now):
        strategy.now = earlier
        strategy.after_experience(model)
    strategy.now = now
    train = stream[now].train
    strategy.before_training(model, train)
    again = strategy.second
    assert len(again) == (12 if now == 1 else 15)
    positions = torch.tensor([3, 0, 9, 11, 4, 3])
    x, labels = images(again)[positions], again.labels[positions]
    truth = {}
    for experience in stream.experiences:
        truth |= dict(zip(experience.train.rows, experience.train.labels.tolist(), strict=True))
    came_from = [int(row) // 100 for row in again.rows[positions]]
    assert labels.tolist() == [truth[row] for row in again.rows[positions]]
    allowed = masks(scenario, now, came_from, classes)
    want = now * slow_cross_entropy(model(x), labels, allowed)
    step = step_of(model, images(train), train.labels, x, positions)
    assert strategy.extra_loss(step).item() == pytest.approx(want, abs=1e-6)
    assert strategy.extra_loss(step_of(model, images(train), train.labels)) is None


# ---- dark experience replay ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scenario", ["task", "class", "domain"])
@pytest.mark.parametrize("now", [1, 2])
def test_derpp_loss_sample_by_sample(scenario, now):
    stream = stream_of(scenario)
    classes = len(stream.classes)
    model, strategy = tiny(classes), DERPlusPlus(15, strength=0.3, again=0.8)
    strategy.before_stream(stream, tiny, 0)
    said = {}
    for earlier in range(now):
        strategy.now = earlier
        shaken(model, seed=earlier)
        train = stream[earlier].train
        with torch.no_grad():
            said |= dict(zip(train.rows.tolist(), model(images(train)).tolist(), strict=True))
        strategy.after_experience(model)
    shaken(model, seed=7, by=0.5)
    strategy.now = now
    strategy.before_training(model, stream[now].train)
    again, positions = strategy.second, torch.tensor([3, 0, 9, 11, 4, 3])
    x, labels = images(again)[positions], again.labels[positions]
    rows = again.rows[positions].tolist()
    logits = model(x).tolist()
    dark = sum((logits[i][c] - said[rows[i]][c]) ** 2 for i in range(6) for c in range(classes)) / (6 * classes)
    allowed = masks(scenario, now, [row // 100 for row in rows], classes)
    want = now * (0.3 * dark + 0.8 * slow_cross_entropy(model(x), labels, allowed))
    step = step_of(model, images(stream[now].train), stream[now].train.labels, x, positions)
    assert strategy.extra_loss(step).item() == pytest.approx(want, rel=1e-6, abs=1e-6)
    assert strategy.extra_loss(step_of(model, images(stream[now].train), stream[now].train.labels)) is None
    assert strategy.memory() == strategy.buffer.nbytes() + len(again) * classes * 4


def test_derpp_without_logits_is_replay():
    stream, losses = stream_of("class"), []
    for strategy in (Replay(15), DERPlusPlus(15, strength=0.0)):
        model = tiny(6)
        strategy.before_stream(stream, tiny, 0)
        strategy.now = 0
        strategy.after_experience(model)
        strategy.now = 1
        strategy.before_training(model, stream[1].train)
        positions = torch.arange(6)
        x = images(strategy.second)[positions]
        step = step_of(model, images(stream[1].train), stream[1].train.labels, x, positions)
        losses.append(strategy.extra_loss(step).item())
    assert losses[0] == pytest.approx(losses[1], abs=1e-9)


def test_l2sp_keeps_a_copy_of_the_backbone():
    stream, model, strategy = stream_of("domain"), tiny(2), L2SP()
    strategy.before_stream(stream, tiny, 0)
    strategy.now = 1
    strategy.before_training(model, stream[1].train)
    assert strategy.memory() == sum(8 * parameter.numel() for parameter in model.backbone.parameters())


def test_derpp_that_cannot_be():
    with pytest.raises(ValueError, match="again"):
        DERPlusPlus(again=-1.0)
    with pytest.raises(ValueError, match="strength"):
        DERPlusPlus(strength=-1.0)


# ---- iCaRL -----------------------------------------------------------------------------------------------------------


@given(arrays(np.float64, (9, 3), elements=st.floats(-2, 2)), st.integers(1, 12))
@settings(deadline=None, max_examples=40)
def test_herding_takes_the_one_that_brings_the_mean_nearest(x, count):
    chosen = herd(torch.from_numpy(x), count).tolist()
    assert len(chosen) == len(set(chosen)) == min(count, 9)
    for number, one in enumerate(chosen):
        rest = [other for other in range(9) if other not in chosen[:number]]
        apart = {other: np.linalg.norm(x.mean(axis=0) - x[[*chosen[:number], other]].mean(axis=0)) for other in rest}
        assert apart[one] <= min(apart.values()) + 1e-7


def slow_bce(score, wanted):
    p = 1 / (1 + math.exp(-score))
    return -wanted * math.log(p) - (1 - wanted) * math.log(1 - p)


@pytest.mark.parametrize("now", [0, 1, 2])
def test_icarl_loss_sample_by_sample_and_answers_exemplar_by_exemplar(now):
    stream = stream_of("class")
    model, strategy = tiny(6), ICaRL(9)
    strategy.before_stream(stream, tiny, 0)
    for strategy.now in range(now):
        shaken(model, seed=strategy.now)
        strategy.after_experience(model)
    strategy.now = now
    train = strategy.samples()
    room = 9 // (2 * now) if now else 0
    assert len(train) == 12 + min(6, room) * 2 * now  # as many of each class as there is room for
    before = model(images(train)).tolist()
    strategy.before_training(model, train)
    shaken(model, seed=7, by=0.5)
    x, total = images(train), 0.0
    after = model(x).tolist()
    for i, label in enumerate(train.labels.tolist()):
        for c in range(2 * now + 2):
            wanted = 1 / (1 + math.exp(-before[i][c])) if c < 2 * now else float(c == label)
            total += slow_bce(after[i][c], wanted)
    step = step_of(model, x, train.labels)
    assert strategy.task_loss(step).item() == pytest.approx(total / len(train), rel=1e-6)

    strategy.after_experience(model)
    kept = together(list(strategy._exemplars.values()), "kept")
    assert kept.labels.unique().tolist() == list(range(2 * now + 2))
    assert len(kept) <= 9
    assert strategy.memory() == kept.inputs.nbytes + kept.labels.nbytes
    found = strategy.logits(model, stream[0].test, 0)
    for i, image in enumerate(images(stream[0].test)):
        for c in range(6):
            if c >= 2 * now + 2:
                assert found[i, c] == pytest.approx(-1e9)
                continue
            own = [vector for vector, label in zip(unit(model, kept), kept.labels, strict=True) if label == c]
            mean = sum(own) / len(own)
            query = model.backbone(image[None])[0]
            apart = query / query.norm() - mean / mean.norm()
            assert found[i, c] == pytest.approx(-float((apart @ apart).detach()), abs=1e-5)


def unit(model, samples):
    x = model.backbone(images(samples)).detach()
    return x / x.norm(dim=1, keepdim=True)


def test_icarl_refuses_what_it_cannot_learn():
    with pytest.raises(ValueError, match="one exemplar"):
        ICaRL(0)
    for scenario in ("task", "domain"):
        with pytest.raises(ValueError, match="class scenario"):
            ICaRL().before_stream(stream_of(scenario), tiny, 0)


# ---- generative replay -----------------------------------------------------------------------------------------------


def test_the_autoencoders_loss_pixel_by_pixel():
    random = torch.Generator().manual_seed(0)
    maker = Autoencoder((1, 4, 4), hidden=5, code=2).double()
    x = torch.rand(3, 1, 4, 4, generator=random, dtype=torch.float64)
    noise = torch.randn(3, 2, generator=random, dtype=torch.float64)
    found = 0.0
    for image, eps in zip(x, noise, strict=True):
        code = maker.encoder(image[None])[0].tolist()
        mean, deviation = code[:2], [math.exp(value / 2) for value in code[2:]]
        z = [m + d * e for m, d, e in zip(mean, deviation, eps.tolist(), strict=True)]
        said = maker.decoder(torch.tensor([z], dtype=torch.float64))[0].tolist()
        found += sum(slow_bce(score, pixel) for score, pixel in zip(said, image.flatten().tolist(), strict=True))
        for m, d in zip(mean, deviation, strict=True):
            posterior, prior = torch.distributions.Normal(m, d), torch.distributions.Normal(0.0, 1.0)
            found += torch.distributions.kl_divergence(posterior, prior).item()
    assert maker.loss(x, noise).item() == pytest.approx(found / 3, rel=1e-6)


@pytest.mark.parametrize("scenario", ["class", "domain"])
def test_made_up_images_are_rehearsed_as_replay_would(scenario):
    stream = stream_of(scenario)
    classes = len(stream.classes)
    model, strategy = tiny(classes), GenerativeReplay(epochs=3)
    strategy.before_stream(stream, tiny, 0)
    strategy.now = 0
    before = torch.random.get_rng_state()
    strategy.after_experience(model)
    assert torch.equal(before, torch.random.get_rng_state())
    made = strategy.second
    assert len(made) == 12
    assert len(made.inputs.unique(dim=0)) > 1
    may = torch.tensor(answers(scenario, 0, 0))
    assert made.labels.tolist() == may[model(images(made))[:, may].argmax(dim=1)].tolist()
    strategy.now = 1
    strategy.before_training(model, stream[1].train)
    shaken(model, seed=3)
    positions = torch.tensor([2, 7, 7, 0])
    x, labels = images(made)[positions], made.labels[positions]
    want = slow_cross_entropy(model(x), labels, masks(scenario, 1, [0] * 4, classes))
    step = step_of(model, images(stream[1].train), stream[1].train.labels, x, positions)
    assert strategy.extra_loss(step).item() == pytest.approx(want, abs=1e-6)
    first = strategy.memory()
    strategy.after_experience(model)
    assert len(strategy.second) == 24
    assert strategy.memory() == first  # one autoencoder, however long the stream
    strategy.now, last = 2, strategy.second
    strategy.after_experience(model)
    assert strategy.second is last  # nothing comes that it could be rehearsed with


def test_generative_replay_refuses_what_it_cannot_learn():
    with pytest.raises(ValueError, match="one or more"):
        GenerativeReplay(0)
    with pytest.raises(ValueError, match="which task"):
        GenerativeReplay().before_stream(stream_of("task"), tiny, 0)


# ---- buffers ---------------------------------------------------------------------------------------------------------


def one_class_after_the_other(start, count, classes, number):
    """Samples whose rows count on from `start`, the classes sorted."""
    return Samples(
        name="rows",
        inputs=torch.zeros(count, 1, 4, 4, dtype=torch.uint8),
        labels=torch.arange(count) * len(classes) // count + classes[0],
        classes=tuple("abcd"),
        rows=np.arange(start, start + count),
        extra={"experience": np.full(count, number)},
    )


@pytest.mark.parametrize("parts", [[40], [25, 15], [4, 30, 6]])
def test_a_reservoir_keeps_every_sample_with_the_same_probability(parts):
    kept, seeds = np.zeros(40), 400
    for seed in range(seeds):
        buffer, start = Buffer(10, "reservoir", seed), 0
        for number, count in enumerate(parts):
            buffer.add(one_class_after_the_other(start, count, [0, 1], number))
            start += count
        assert len(buffer) == 10
        assert buffer.seen == 40
        kept[buffer.samples.rows] += 1
    error = math.sqrt(seeds * 10 / 40 * 30 / 40)
    assert kept.sum() == 10 * seeds
    assert np.abs(kept - seeds * 10 / 40).max() <= 4 * error


def test_a_reservoir_of_one_keeps_any_of_three_that_come_one_by_one():
    kept, seeds = np.zeros(3), 400
    for seed in range(seeds):
        buffer = Buffer(1, "reservoir", seed)
        for number in range(3):
            buffer.add(one_class_after_the_other(number, 1, [0], number))
        kept[buffer.samples.rows] += 1
    assert np.abs(kept - seeds / 3).max() <= 4 * math.sqrt(seeds * 2 / 9)


def test_a_balanced_buffer_keeps_as_many_of_each_class_and_any_of_them():
    kept, seeds = np.zeros(40), 400
    for seed in range(seeds):
        buffer = Buffer(10, "balanced", seed)
        buffer.add(one_class_after_the_other(0, 20, [0, 1], 0))
        assert np.bincount(buffer.samples.labels).tolist() == [5, 5]
        buffer.add(one_class_after_the_other(20, 20, [2, 3], 1))
        counts = np.bincount(buffer.samples.labels, minlength=4)
        assert sorted(counts) == [2, 2, 3, 3]
        kept[buffer.samples.rows] += 1
    for number in range(4):
        own = kept[10 * number : 10 * number + 10]
        share = counts[number] / 10
        assert own.sum() == seeds * counts[number]
        assert np.abs(own - seeds * share).max() <= 4 * math.sqrt(seeds * share * (1 - share))


def test_a_balanced_buffer_leaves_room_where_a_class_has_few():
    buffer = Buffer(12, "balanced", 0)
    buffer.add(one_class_after_the_other(0, 2, [0, 1], 0))  # one of each
    buffer.add(one_class_after_the_other(2, 20, [2, 3], 1))
    assert np.bincount(buffer.samples.labels).tolist() == [1, 1, 3, 3]
