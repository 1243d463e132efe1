"""Draw the diagrams of the chapters: book/_static/diagrams/*.svg, which chapters include as pictures.

    python book/_tools/diagrams.py

Here are those of chapters 01 to 05, in `later_diagrams` those of 06 to 13; `shapes` says how they are drawn. Blue boxes with
corners are frozen, orange boxes with round ends are trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import later_diagrams
from shapes import FROZEN, IDLE, NOTE, TEST, TRAINED, WIDE, arrow, box, drawing, line

FOLDER = Path(__file__).resolve().parents[1] / "_static" / "diagrams"

STAGES = ("stem", *(f"stage{number}" for number in range(1, 8)), "head_conv")
FEATURES = (32, 16, 24, 40, 80, 112, 192, 320, 1280)
"""What EfficientNet-Lite0 gives after each stage, for one image."""

PARAMETERS = (928, 896, 13_968, 39_712, 198_480, 446_784, 1_652_640, 605_440, 412_160)
"""How many parameters each stage has."""

HEAD = FEATURES[-1] * 2 + 2
"""Parameters of a head with two answers."""

DECAY = 0.7


# ---- the network, which returns in every chapter ---------------------------------------------------------------------

LEFT, WIDTH, HIGH, GAP = 8, 160, 24, 10
RIGHT = LEFT + WIDTH


class Stack:
    """The parts of a network from the top down, a picture below them, and the freeze line under the first `above` parts."""

    def __init__(self, parts: Sequence[str], above: int) -> None:
        self.parts, self.above = [*parts, "picture"], above
        self.height = self.top(len(parts)) + HIGH + 6
        self.line = self.top(above) - 17

    def top(self, row: int) -> float:
        """The upper edge of a row; the freeze line has a wider gap."""
        return 6 + (HIGH + GAP) * row + (34 - GAP * (self.above > 0) if row >= self.above else 0)

    def middle(self, row: int) -> float:
        return self.top(row) + HIGH / 2

    def draw(self, above: tuple[str, str] = TRAINED, below: tuple[str, str] = FROZEN, unused: str = "") -> list[str]:
        """The boxes, each joined to the next, and the dashed line."""
        x, last = LEFT + WIDTH / 2, len(self.parts) - 1
        drawn = [
            line((x, self.middle(0)), (x, self.middle(last))),
            line((2, self.line), (WIDE - 4, self.line), dashed=True),
        ]
        for row, part in enumerate(self.parts):
            look = NOTE if row == last else above if row < self.above else below
            drawn.append(box(LEFT, self.top(row), WIDTH, part + unused * (row < self.above), look))
        return drawn

    def label(self, text: str, x: float = 196, width: float = 216) -> str:
        """What stands on the freeze line."""
        return box(x, self.line - 12, width, text)


def frozen_features() -> str:
    used = STAGES.index("stage6") + 1
    stack = Stack(STAGES[::-1], above=len(STAGES) - used)
    read, stem = stack.above, len(STAGES) - 1
    side, center = RIGHT + 12, (stack.middle(read + 1) + stack.middle(stem)) / 2
    return drawing(
        "Frozen features for a logistic regression",
        "A stack of stages. A picture enters below and goes through stem and stage1 to stage6, which are frozen. There the "
        "network is read: 192 features of each cell go to a logistic regression, the only part that is trained. stage7 and "
        "head_conv above are not used. The freeze line runs over stage6.",
        stack.height,
        *stack.draw(above=IDLE, unused=" (not used)"),
        stack.label("freeze line", x=286, width=126),
        arrow((RIGHT, stack.middle(read)), (195, stack.middle(read))),
        arrow((240, stack.top(read)), (240, stack.top(0) + HIGH + 1)),
        box(196, stack.top(read), 216, "192 features of each cell"),
        box(196, stack.top(0), 216, "logistic regression: trained", TRAINED),
        line((side, stack.top(read + 1)), (side, stack.top(stem) + HIGH)),
        line((side, center), (196, center)),
        box(196, center - 40, 216, "frozen:\nweights from ImageNet,\nevaluation mode,\none pass a picture", FROZEN, 80),
    )


def late_stages() -> str:
    parts, depth = ["head", *STAGES[::-1]], 6
    stack = Stack(parts, above=len(parts) - depth)
    counts = [HEAD, *PARAMETERS[::-1]]
    trained, frozen = (f"{sum(part) / 1e6:.2f} million" for part in (counts[: stack.above], counts[stack.above :]))
    told = ", ".join(f"{part} {count:,}" for part, count in zip(parts[::-1], counts[::-1], strict=True))
    return drawing(
        "The late stages are trained",
        "The same stack with a head on top, and beside each part its number of parameters. The freeze line runs over "
        "stage5: the stages above it and the head are trained, the six below it are frozen. Most parameters are above it: "
        f"{trained} against {frozen}. From below: {told}.",
        stack.height,
        *stack.draw(),
        *(arrow((RIGHT, stack.middle(row)), (195, stack.middle(row))) for row in range(len(parts))),
        *(box(196, stack.top(row), 92, f"{count:,}", NOTE) for row, count in enumerate(counts)),
        stack.label("freeze line: depth 6", x=228, width=184),
        box(300, stack.top(1), 112, f"trained:\n{trained}\nparameters", TRAINED, 64),
        box(300, stack.top(stack.above + 2), 112, f"frozen:\n{frozen}\nparameters", FROZEN, 64),
    )


def taps() -> str:
    stack = Stack(STAGES[::-1], above=0)
    parts = []
    for row, features in enumerate(FEATURES[::-1]):
        y = stack.middle(row)
        parts += [
            arrow((RIGHT, y), (195, y)),
            box(196, stack.top(row), 122, f"{features} features"),
            arrow((318, y), (340, y)),
            box(341, stack.top(row), 71, "probe", TRAINED),
        ]
    sizes = ", ".join(f"{stage} {features}" for stage, features in zip(STAGES, FEATURES, strict=True))
    return drawing(
        "Features after every stage",
        "The same stack, all nine stages frozen; the freeze line runs over the last one. After each stage an arrow leads to "
        f"its features ({sizes}), and from there to a probe of its own, which is trained. One pass of a picture gives all "
        "nine sets of features.",
        stack.height,
        *stack.draw(),
        *parts,
        stack.label("freeze line: all frozen"),
        box(196, stack.top(len(STAGES)), 216, "one pass, nine sets"),
    )


def rates() -> str:
    stack = Stack(["head", *STAGES[::-1]], above=len(STAGES) + 1)
    parts = []
    for row in range(stack.above):
        share, y = DECAY**row, stack.middle(row)
        parts += [
            arrow((300, y), (RIGHT + 3, y), thick=max(1.2, 13 * share), colour=TRAINED[0]),
            box(312, stack.top(row), 100, f"{share:.2f} η" if row else "η"),
        ]
    return drawing(
        "Discriminative learning rates, from stem to head",
        "The same stack with a head on top; everything is trained, so the freeze line runs under the stem. Arrows show the "
        "learning rate of each part: they grow from bottom to top. The head trains at the peak rate, each part below at "
        f"{DECAY} times the rate of the part above it, the stem at {DECAY ** len(STAGES):.2f} times the peak rate.",
        stack.height,
        *stack.draw(),
        *parts,
        stack.label("freeze line: nothing frozen"),
        box(196, stack.top(stack.above), 216, "η: the peak learning rate"),
    )


def slider() -> str:
    parts, depth, rail = ["head", *STAGES[::-1]], 5, 198
    stack = Stack(parts, above=len(parts) - depth)
    places = [stack.top(len(parts) - frozen) - GAP / 2 for frozen in range(len(STAGES) + 1)]
    places[depth] = stack.line
    return drawing(
        "The freeze line as a slider",
        "The same stack with a head on top. The freeze line can be moved to any place between two stages, from freeze depth "
        "0, everything trained, to 9, only the head trained. Here it is at 5: stem and stage1 to stage4 are frozen, their "
        "output is computed once and kept; stage5 and all above, with the head, are trained in every step.",
        stack.height,
        *stack.draw(),
        line((rail, places[0]), (rail, places[-1]), thick=4),
        *(box(rail - 13, y - 11, 26, str(n), IDLE if n == depth else NOTE, 22) for n, y in enumerate(places)),
        arrow((320, stack.line), (320, stack.line - 32), thick=4),
        arrow((320, stack.line), (320, stack.line + 32), thick=4),
        stack.label("freeze line: depth 5", x=228, width=184),
        box(228, stack.top(1), 184, "trained:\ncomputed in every step", TRAINED, 46),
        box(228, stack.top(stack.above + 2), 184, "frozen:\ncomputed once,\nkept on disk", FROZEN, 62),
    )


# ---- what chapters 01, 02 and 03 need besides ------------------------------------------------------------------------


def workflow() -> str:
    steps = ["source task", "architecture", "target data", "strategy", "layers", "learning rates", "training", "test"]
    bands = (
        (0, 2, FROZEN, "source:\nwhat we take"),
        (2, 3, NOTE, "target:\nwhat we have"),
        (3, 7, TRAINED, "choices:\nmade on\ntraining and\nvalidation\ncells only"),
        (7, 8, TEST, "test cells:\nopened once"),
    )
    high, pitch, left, width = 40, 54, 44, 190
    x, parts = left + width / 2, []
    for start, end, look, what in bands:
        y, last = 6 + pitch * start, 6 + pitch * (end - 1) + high
        parts.append(box(256, y, 156, what, look, last - y))
        for step in range(start, end):
            at = 6 + pitch * step
            parts.append(box(left, at, width, f"{step + 1} {steps[step]}", look, high))
            parts.append(line((left + width, at + high / 2), (256, at + high / 2)))
            if step + 1 < len(steps):
                parts.append(arrow((x, at + high), (x, at + pitch)))
    fourth, seventh = (6 + pitch * step + high / 2 for step in (3, 6))
    return drawing(
        "The workflow in eight steps",
        "Eight boxes, one below the other. Source task and architecture are what we take; target data is what we have. "
        "Strategy, layers, learning rates and training are choices, made on training and validation cells only; an arrow "
        "leads from training back to strategy, for they are made more than once. The eighth step, the test, opens the test "
        "cells once; no arrow leads back from it.",
        6 + pitch * 7 + high + 6,
        *parts,
        arrow((left, seventh), (18, seventh), (18, fourth), (left, fourth)),
    )


def batch_norm() -> str:
    wide, high, a, b = 196, 50, 8, 216
    batch, statistics, normalise, running, note = 60, 114, 188, 262, 332
    left, right = a + wide / 2, b + wide / 2
    drifting = "after model.train(), even\nwhere no weight asks for\na gradient: the running\nstatistics drift"
    staying = "after freeze(), frozen\nstages stay in this\nmode, whatever train()\nis called later"
    return drawing(
        "Batch normalisation in training mode and in evaluation mode",
        "Two columns. In training mode the mean and variance of the batch normalise the batch, and they also move the "
        "running statistics. In evaluation mode the running statistics normalise the batch, and they stay what they are. "
        "Below: model.train() puts stages without gradients into the left column, and their statistics drift; freeze() "
        "keeps them in the right column.",
        note + 86,
        box(a, 6, wide, "training mode", TRAINED, 34),
        box(b, 6, wide, "evaluation mode", FROZEN, 34),
        box(a, batch, wide, "a batch", NOTE, 34),
        arrow((left, batch + 34), (left, statistics)),
        box(a, statistics, wide, "mean and variance\nof this batch", TRAINED, high),
        arrow((left + 18, statistics + high), (left + 18, normalise)),
        box(a + 36, normalise, wide - 36, "normalise", NOTE, high),
        arrow((a + 18, statistics + high), (a + 18, running)),
        box(a, running, wide, "running mean and\nvariance: they move", TRAINED, high),
        box(a, note, wide, drifting, IDLE, 80),
        box(b, batch, wide, "a batch", NOTE, 34),
        arrow((right, batch + 34), (right, normalise)),
        box(b, normalise, wide, "normalise", NOTE, high),
        arrow((right, running), (right, normalise + high)),
        box(b, running, wide, "running mean and\nvariance: they stay", FROZEN, high),
        box(b, note, wide, staying, IDLE, 80),
    )


HISTORY = (
    ("2014", "DeCAF", "Features of an ImageNet network", "serve other tasks."),
    ("2014", "Razavian et al.", "Off-the-shelf features and a linear", "SVM: a baseline hard to beat."),
    ("2014", "Yosinski et al.", "Transfer, layer by layer: general", "below, specific above."),
    ("2018", "ULMFiT", "A language model, fine-tuned gently:", "text classes from few labels."),
    ("2019", "BERT", "One pre-trained transformer,", "fine-tuned for eleven tasks."),
    ("2021", "CLIP", "Pictures and captions together: new", "classes by name, without a label."),
)


def history() -> str:
    pitch, parts = 84, [line((43, 20), (43, 84 * len(HISTORY) - 20), thick=4)]
    for number, (year, name, *words) in enumerate(HISTORY):
        y = 6 + pitch * number
        parts.append(box(8, y + 21, 70, year, IDLE, 30))
        parts.append(line((78, y + 36), (96, y + 36)))
        parts.append(box(96, y, 316, "\n".join([f"{name}:", *words]), NOTE, 72))
    told = " ".join(f"{year}, {name}: {' '.join(words)}" for year, name, *words in HISTORY)
    return drawing(
        "Six steps in the history of transfer learning",
        f"A line of time with six entries. {told}",
        pitch * len(HISTORY),
        *parts,
    )


DRAWINGS = {
    "freeze_line_01": frozen_features,
    "history": history,
    "workflow": workflow,
    "freeze_line_02": late_stages,
    "freeze_line_03": taps,
    "batch_norm": batch_norm,
    "freeze_line_04": rates,
    "freeze_line_05": slider,
    **later_diagrams.DRAWINGS,
}


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name, draw in DRAWINGS.items():
        (FOLDER / f"{name}.svg").write_text(draw(), encoding="utf-8")


if __name__ == "__main__":
    main()
