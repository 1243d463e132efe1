"""What the diagrams of chapters 06 to 13 say is what the package does."""

from __future__ import annotations

import math
import re
from statistics import NormalDist
from xml.etree import ElementTree

import later_diagrams as drawn
import numpy as np
import pytest
import torch
from shapes import CLASSES, GREY
from sklearn.linear_model import LogisticRegression
from torch.func import functional_call, grad

from tl_helpers import continual, features, heads
from tl_helpers.adaptation import DANN
from tl_helpers.adaptation.methods import reverse_gradient
from tl_helpers.book.studies import transfer
from tl_helpers.book.studies.continual import split_mnist
from tl_helpers.continual import SCENARIOS, Strategy
from tl_helpers.data import Unlabelled, load_task
from tl_helpers.fewshot import meta
from tl_helpers.fewshot.episodes import EpisodeSampler
from tl_helpers.models import load_backbone
from tl_helpers.zeroshot.scores import cosine

SVG = "{http://www.w3.org/2000/svg}"


def words(svg: str) -> list[str]:
    """The texts of a drawing's boxes, each in one line."""
    return [" ".join(text.text for text in group[1:]) for group in ElementTree.fromstring(svg).findall(f"{SVG}g")]


def samples(svg: str) -> list[tuple[str, str]]:
    """Shape and fill of each mark, in order."""
    elements = [e for e in ElementTree.fromstring(svg) if e.tag in (f"{SVG}circle", f"{SVG}path")]
    sides = {2: "triangle", 3: "square"}
    return [
        ("circle" if e.tag == f"{SVG}circle" else sides[e.attrib["d"].count("L")], e.attrib["fill"]) for e in elements
    ]


@pytest.mark.parametrize("name", drawn.DRAWINGS)
def test_marks_and_curves_have_an_outline_that_shows(name):
    root = ElementTree.fromstring(drawn.DRAWINGS[name]())
    for element in [*root.iter(f"{SVG}path"), *root.iter(f"{SVG}circle")]:
        assert element.attrib["stroke"] == GREY
        assert float(element.attrib["stroke-width"]) >= 1.5


def test_classes_differ_in_colour_and_in_shape():
    assert len({fill for fill, _ in CLASSES}) == len({shape for _, shape in CLASSES}) == len(CLASSES)
    assert drawn.domain_shift().count('stroke-dasharray="7 4"') == 2  # two curves of each domain, one of them dashed


# ---- 06 --------------------------------------------------------------------------------------------------------------


def beyond(mean: float, spread: float) -> float:
    """The share of a normal curve above the threshold."""
    return 1 - NormalDist(mean, spread).cdf(0)


def area_under_curve(domain: str) -> float:
    (sound, s0), (defective, s1) = drawn.SCORES[domain]
    return NormalDist().cdf((defective - sound) / math.hypot(s0, s1))


def test_the_push_crosses_the_threshold_and_the_order_suffers():
    sound, defective = drawn.SCORES["source"]
    assert beyond(*sound) < 0.1
    assert beyond(*defective) > 0.7
    assert all(beyond(*curve) > 0.9 for curve in drawn.SCORES["target"])
    assert drawn.centre("source") < 0 < drawn.centre("target")
    moved = [b[0] - a[0] for a, b in zip(drawn.SCORES["source"], drawn.SCORES["target"], strict=True)]
    push = drawn.centre("target") - drawn.centre("source")
    assert moved[0] > push > moved[1] > 0  # beside the common push there is one that differs between the classes
    assert area_under_curve("source") > 0.9 > 0.75 > area_under_curve("target") > 0.5


@pytest.mark.slow
def test_scores_are_those_of_the_chapter():
    cells = load_task("elpv", seed=0)
    backbone = load_backbone("efficientnet_lite0")
    raw = features.extract_stages(backbone, cells.all_samples(128), stages=("stage5",))["stage5"]
    x = (raw - raw.mean(axis=0)) / (raw.std(axis=0) + 1e-6)
    found, shares = [], []
    for seed in range(3):
        tasks = [load_task("elpv", seed=seed).only(domain=domain) for domain in ("mono", "poly")]
        head = LogisticRegression(C=0.01, max_iter=2000).fit(x[tasks[0].rows("train")], tasks[0].labels("train"))
        for task in tasks:
            y, scores = task.labels("test"), head.decision_function(x[task.rows("test")])
            found.append([(scores[y == label].mean(), scores[y == label].std()) for label in (0, 1)])
            shares.append(y.mean())
    measured = np.reshape(found, (3, 2, 2, 2)).mean(axis=0)
    np.testing.assert_allclose(measured, [drawn.SCORES["source"], drawn.SCORES["target"]], atol=0.15)
    np.testing.assert_allclose(np.reshape(shares, (3, 2)).mean(axis=0), list(drawn.DEFECTIVE.values()), atol=0.01)


# ---- 07 --------------------------------------------------------------------------------------------------------------


def test_gradient_reversal_does_what_the_drawing_says():
    said = words(drawn.dann())
    assert "gradient reversal forward: same values backward: times −λ" in said
    assert "−λ · gradient" in said
    x = torch.randn(4, 3, requires_grad=True)
    y = reverse_gradient(x, 0.3)
    assert torch.equal(y, x)
    (gradient,) = torch.autograd.grad((y**2).sum(), x)
    torch.testing.assert_close(gradient, -0.3 * 2 * x.detach())


def test_domain_head_learns_at_full_rate_whatever_lambda_is():
    """Its own gradient comes from above the reversal; only that of the features is turned and weighted."""
    target = Unlabelled("four", torch.zeros(4, 1, 2, 2), ("one", "other"), np.arange(4))
    found = {}
    for strength in (0.5, 1.0):
        method = DANN(target, strength, dim=3)
        x = torch.linspace(-1, 1, 18).reshape(6, 3).requires_grad_()
        method.loss(x, torch.zeros(6, 2), 3, 0.5).backward()
        found[strength] = method.discriminator[0].weight.grad, x.grad
    torch.testing.assert_close(found[0.5][0], found[1.0][0])
    torch.testing.assert_close(2 * found[0.5][1], found[1.0][1])


# ---- 08 --------------------------------------------------------------------------------------------------------------


def test_matching_moves_no_more_than_it_must():
    """As many samples as the two domains' shares differ by; the shares are those of the chapter's study."""
    shares = next(study for study in transfer.STUDIES if study.name == "proportions").grid["share"]
    assert drawn.SHARES == (min(shares), max(shares)) == (0.5, max(shares))
    negative, moved = drawn.matched()
    assert moved == round((drawn.SHARES[1] - drawn.SHARES[0]) * drawn.SHOWN_SAMPLES)
    assert negative == round((1 - drawn.SHARES[1]) * drawn.SHOWN_SAMPLES)
    sound, other = CLASSES[0][::-1], CLASSES[1][::-1]
    source = [sound] * 5 + [other] * 5
    assert samples(drawn.proportions()) == [
        *source, *[sound] * negative, *[other] * (10 - negative),
        *[sound] * negative, *[other] * moved, *[other] * 5, sound, other,
    ]  # fmt: skip
    assert f"{moved} of {10 - negative} pulled over" in words(drawn.proportions())


# ---- 09 --------------------------------------------------------------------------------------------------------------


def test_episode_and_answer_are_those_of_the_package():
    support = torch.tensor(drawn.SUPPORT, dtype=torch.float)
    ways, shots = support.shape[:2]
    sampler = EpisodeSampler(np.repeat(range(5), 9), ways=ways, shots=shots, queries=drawn.ASKED)
    one, svg = sampler[0], drawn.episode()
    assert f"{one.ways}-way {shots}-shot {one.ways} classes, {len(one.support) // one.ways} samples each" in words(svg)
    labels = torch.as_tensor(one.support_labels)
    means = heads.class_means(support.flatten(0, 1), labels)
    marks = [f"{x:g}" for x in means[:, 0].tolist()]
    assert f'cx="{marks[0]}"' in svg
    answer = heads.nearest_centroid(
        support.flatten(0, 1), labels, torch.tensor([drawn.QUERY], dtype=torch.float)
    ).argmax()
    assert f"nearest mean: the answer is class {answer}" in words(svg)
    diamonds = re.findall(r'<path d="[^"]*" fill="none"', svg)
    assert len(diamonds) == len(one.query) + 1  # and the one in the embedding


# ---- 10 --------------------------------------------------------------------------------------------------------------


def test_inner_step_outer_loss_and_first_order_are_those_of_the_package():
    """Two tasks, one inner step: the mean query loss, with the inner gradient in the graph and as a constant."""
    rate, model = 0.1, meta.mlp(hidden=(3,), seed=1).double()
    x, shift = torch.linspace(-2, 2, 6, dtype=torch.double), torch.tensor([[0.3], [1.1]], dtype=torch.double)
    y = torch.sin(x + shift)[..., None]
    xs = x.expand(2, 6)[..., None]
    batch = meta.EpisodeBatch(xs[:, ::2], y[:, ::2], xs[:, 1::2], y[:, 1::2])
    start = meta.weights_of(model)

    def loss(weights, inputs, wanted):
        return meta.loss_of(functional_call(model, weights, inputs), wanted)

    def outer(theta, inner):
        total = 0.0
        for sx, sy, qx, qy in zip(*batch, strict=True):
            slope = inner(theta, sx, sy)
            total += loss({name: w - rate * slope[name] for name, w in theta.items()}, qx, qy)
        return total / len(batch)

    def constant(theta, sx, sy):
        return {name: slope.detach() for name, slope in grad(loss)(theta, sx, sy).items()}

    found = {}
    for method, inner in (("MAML", grad(loss)), ("first order", constant)):
        found[method], _ = meta.meta_gradient(model, start, batch, method=method, steps=1, rate=rate)
        theta = {name: w.clone().requires_grad_() for name, w in start.items()}
        by_hand = torch.autograd.grad(outer(theta, inner), list(theta.values()))
        for name, slope in zip(theta, by_hand, strict=True):
            torch.testing.assert_close(found[method][name], slope)
    assert any(not torch.allclose(found["MAML"][name], found["first order"][name]) for name in start)
    said = " ".join(words(drawn.maml()))
    assert "outer loss: the mean of Q₁(θ′₁) and Q₂(θ′₂)" in said
    assert "θ′₁ = θ − α ∇S₁(θ)" in said
    assert "∇S is taken as a constant: the gradient of Q at θ′ stands for the one at θ" in said


# ---- 11 --------------------------------------------------------------------------------------------------------------


def test_the_answer_is_the_name_of_the_largest_cosine():
    def on(*angles: float) -> np.ndarray:
        return np.array([[math.cos(math.radians(a)), math.sin(math.radians(a))] for a in angles])

    scores = cosine(3.7 * on(drawn.IMAGE), on(*drawn.NAMES.values()))  # its length does not count
    answer = list(drawn.NAMES)[scores.argmax()]
    assert f"largest cosine = smallest angle: “{answer}”" in " ".join(words(drawn.joint_space()))
    np.testing.assert_allclose(scores, on(drawn.IMAGE) @ on(*drawn.NAMES.values()).T)


# ---- 12 --------------------------------------------------------------------------------------------------------------


def test_remedies_are_those_of_the_package():
    """Who is asked is what `KeepAnswers` notes of itself."""
    held = dict(drawn.REMEDIES)
    said = {name: " ".join(text.split()) for name, text in held.items()}
    head = torch.nn.Linear(2, 3)
    assert said["distillation"] == f"the old head's answers about {continual.KeepAnswers(head).settings['asked']}"
    assert said["rehearsal"] == "the old head's answers about old samples"
    assert list(held) == ["frozen statistics", "L2-SP", "distillation", "rehearsal"]


# ---- 13 --------------------------------------------------------------------------------------------------------------


def test_scenarios_give_and_ask_what_the_package_does():
    assert tuple(drawn.TOLD) == tuple(drawn.WANTED) == tuple(drawn.ANSWERS) == SCENARIOS
    for scenario in SCENARIOS:
        stream = split_mnist(scenario, 0)
        assert len(stream) == drawn.PAIRS
        last = len(stream) - 1
        allowed = [stream.allowed(last, [pair])[0] for pair in range(len(stream))]
        assert int(allowed[1].sum()) == drawn.ANSWERS[scenario]
        knows = any(not torch.equal(mask, allowed[0]) for mask in allowed)  # the answers depend on the pair
        assert knows == ("pair" in drawn.TOLD[scenario])
    three = "task- incremental the image, and its pair 2 or 3? 2 answers"
    assert three in " ".join(words(drawn.scenarios()))


def test_each_strategy_of_the_package_is_in_one_family():
    strategies = [item for item in vars(continual).values() if isinstance(item, type) and issubclass(item, Strategy)]
    names = {strategy.name for strategy in strategies if strategy is not Strategy}
    shown = [name for _, _, members in drawn.FAMILIES for name in members]
    assert sorted(shown) == sorted(names)
    said = " ".join(words(drawn.families()))
    assert [name for name in names if name not in said] == []


def test_families_keep_what_they_say():
    """What has a buffer is replay; what adds columns is the architecture's."""
    of = {item.name: item for item in vars(continual).values() if isinstance(item, type) and issubclass(item, Strategy)}
    members, last = {}, ""
    for family, _, names in drawn.FAMILIES:
        last = family.removesuffix(":") or last  # a row without a name goes on with the family above
        members[last] = (*members.get(last, ()), *names)
    assert {name for name, kind in of.items() if issubclass(kind, continual.Replay)} <= set(members["replay"])
    assert issubclass(of["streaming LDA"], continual.NearestMean)
    assert set(members["regularisation"]) >= {n for n, k in of.items() if issubclass(k, (continual.EWC, continual.SI))}


# ---- 16 --------------------------------------------------------------------------------------------------------------


def test_groups_are_divided_before_labels_are_looked_for_and_the_test_comes_last():
    said = words(drawn.own_data())
    assert len(said) == len(drawn.STEPS)
    assert ["divided" in text for text in said].index(True) < ["suspicious" in text for text in said].index(True)
    assert said[-1].startswith("test")
