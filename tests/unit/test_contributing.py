"""The examples of the contributor page do what it says, in as few lines as they are."""

from __future__ import annotations

import copy
import re
from pathlib import Path

import pytest
import torch

from tests.unit.small import small_model, stripes
from tl_helpers import continual, heads
from tl_helpers.adaptation import Alignment
from tl_helpers.continual import Naive, Strategy, run_stream, split_stream
from tl_helpers.data import load_task, without_labels
from tl_helpers.models import Classifier, load_backbone
from tl_helpers.training import Recipe, fit

PAGE = Path(__file__).parents[2] / "book" / "contributing.md"
EXAMPLES = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def defined(name: str) -> object:
    """What the page's example of this name defines."""
    (code,) = [code for code in EXAMPLES if re.match(rf"(class|def) {name}\b", code)]
    known = {"Strategy": Strategy, "Alignment": Alignment, "copy": copy, "torch": torch}
    exec(compile(code, f"contributing.md, {name}", "exec"), known := known | vars(heads))
    return known[name]


def test_each_example_has_at_most_15_lines():
    assert len(EXAMPLES) == 3
    assert all(len(code.splitlines()) <= 15 for code in EXAMPLES)
    assert all(len(line) <= 79 for code in EXAMPLES for line in code.splitlines())  # so that no page cuts them


@pytest.mark.filterwarnings("ignore:This run is not kept")
def test_the_strategy_learns_as_the_naive_one_first_and_moves_less_afterwards():
    stream = split_stream(load_task("mnist5k").few_labels(200, 0), "task")

    def make(seed: int) -> Classifier:
        return Classifier(load_backbone("digit_mlp", pretrained=False, seed=seed), 10, seed=seed)

    def learned(strategy: Strategy) -> continual.Outcome:
        return run_stream(stream, strategy, make, Recipe(epochs=2, batch_size=16), seed=0, fresh=True)

    strategy = defined("KeepFeatures")()
    naive, kept = learned(Naive()), learned(strategy)
    assert strategy.name == "keep features"
    assert (kept.matrix[0] == naive.matrix[0]).all()  # there is nothing to keep yet
    assert (kept.matrix[1:] != naive.matrix[1:]).any()


@pytest.mark.filterwarnings("ignore:This run is not kept")
def test_the_alignment_brings_the_means_together():
    source, target = stripes(32, seed=1), without_labels(stripes(32, seed=2))
    darker = torch.full_like(target.inputs, 60)
    target = type(target)(**{**vars(target), "inputs": target.inputs - torch.minimum(target.inputs, darker)})
    gaps = []
    for strength in (0.0, 10.0):
        model = small_model()
        run = fit(model, source, None, Recipe(epochs=4, batch_size=16), method=defined("EqualMeans")(target, strength))
        gaps.append(run.history[-1]["alignment_loss"])
    assert gaps[1] < 0.5 * gaps[0]


def test_the_head_answers_as_its_nearest_neighbour_does():
    generator = torch.Generator().manual_seed(0)
    support, query = torch.randn(15, 4, generator=generator), torch.randn(20, 4, generator=generator)
    labels = torch.arange(15) % 3
    said = defined("nearest_neighbour")(support, labels, query)
    assert said.shape == (20, 3)
    assert torch.equal(said.argmax(dim=1), labels[torch.cdist(query, support).argmin(dim=1)])
