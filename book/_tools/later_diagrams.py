"""The diagrams of chapters 06 to 16, which `diagrams` writes. Marks of a class have its colour and its shape."""

from __future__ import annotations

import math

from shapes import CLASSES, FROZEN, GREY, IDLE, NOTE, TEST, TRAINED, WIDE, arrow, box, drawing, hill, line, mark

ALL = WIDE - 16  # the width of a box over the whole drawing
HALF = 196  # ... and of one in each of two columns, which begin at
COLUMNS = (8, 216)

# ---- 06: the scores of a head on two domains -------------------------------------------------------------------------

SCORES = {"source": ((-1.8, 0.9), (1.7, 2.4)), "target": ((1.5, 1.1), (2.4, 1.3))}
"""Mean and standard deviation of the scores of sound and of defective cells, drawn as normal curves: those of the chapter's
head from mono to poly cells, test cells, rounded means over its first three splits."""
DEFECTIVE = {"source": 0.34, "target": 0.29}
"""The share of defective cells among them."""


def centre(domain: str) -> float:
    """The mean score of a domain."""
    (sound, _), (defective, _) = SCORES[domain]
    return sound + DEFECTIVE[domain] * (defective - sound)


def domain_shift() -> str:
    lowest, highest, tall = -5.0, 8.0, 220

    def place(score: float) -> float:
        return 8 + (score - lowest) * ALL / (highest - lowest)

    def hills(domain: str, ground: float) -> list[str]:
        drawn = []
        for (mean, spread), (fill, _) in zip(SCORES[domain], CLASSES, strict=False):
            grid = [mean + spread * step / 10 for step in range(-30, 31)]
            rise = [tall / spread * math.exp(-0.5 * ((s - mean) / spread) ** 2) / math.sqrt(2 * math.pi) for s in grid]
            points = [(place(s), ground - h) for s, h in zip(grid, rise, strict=True) if lowest <= s <= highest]
            points = [(points[0][0], ground), *points, (points[-1][0], ground)]
            drawn.append(hill(points, fill, dashed=fill == TRAINED[0]))
        return drawn

    here, there = place(centre("source")), place(centre("target"))
    above, below, between, zero = 160, 352, 186, place(0)
    return drawing(
        "Scores of a head, on its source and on a target",
        "Two pairs of curves over one axis of scores. On the source, mono cells, nearly all sound cells lie below the "
        "threshold and most defective ones above it. On the target, poly cells, the mean of all scores is pushed to the "
        "right, by the weights times the difference of the domains' mean features, and nearly all cells lie above the "
        "threshold. What is left brings sound and defective cells closer: the curves overlap more, so the order of the "
        "cells is worse as well.",
        474,
        *hills("source", above),
        *hills("target", below),
        *(line((8, ground), (WIDE - 8, ground)) for ground in (above, below)),
        line((zero, 30), (zero, 366), dashed=True),
        line((154, 276), (182, 292), thick=1.2),
        line((here, above), (here, between)),
        arrow((here, between), (there, between), thick=4),
        line((there, between), (there, below)),
        box(zero - 44, 6, 88, "threshold", IDLE),
        box(256, 6, 156, "source: mono cells"),
        box(14, 60, 62, "sound", FROZEN),
        box(244, 92, 88, "defective", TRAINED),
        box(there + 14, 170, WIDE - 22 - there, "push: w · (target\nmean − source mean)", NOTE, 42),
        box(256, 230, 156, "target: poly cells"),
        box(92, 264, 62, "sound", FROZEN),
        box(288, 284, 88, "defective", TRAINED),
        box(8, 366, zero - 11, "called sound", IDLE),
        box(zero + 3, 366, WIDE - 11 - zero, "called defective", IDLE),
        box(8, 400, ALL, "The push on the mean takes most scores past the\nthreshold. What is left brings the curves "
            "closer:\nthe order of the cells (AUC) suffers, too.", NOTE, 68),
    )  # fmt: skip


# ---- 07: domain-adversarial training ---------------------------------------------------------------------------------


def dann() -> str:
    left, right = COLUMNS
    losses, heads, reversal, features, images = 6, 96, 210, 334, 424

    def way(column: float, top: float, bottom: float, said: str) -> list[str]:
        """Forward up, backward down, and what comes down."""
        return [
            arrow((column + 24, bottom), (column + 24, top)),
            arrow((column + 56, top), (column + 56, bottom), dashed=True),
            box(column + 72, (top + bottom) / 2 - 12, 124, said),
        ]

    return drawing(
        "Domain-adversarial training: forward and backward",
        "Images of source and target enter below and go through the features, which feed two heads. The label head "
        "learns the classes, from the source alone. Between features and domain head stands the gradient reversal: "
        "forward it passes values on as they are, backward it multiplies the gradient by minus lambda. So the domain "
        "head learns to tell the domains apart, and the features learn the classes and to make the domain head fail.",
        514,
        box(left, losses, HALF, "label loss:\nsource only", NOTE, 44),
        box(right, losses, HALF, "domain loss:\nsource and target", NOTE, 44),
        *way(left, losses + 44, heads, "gradient"),
        *way(right, losses + 44, heads, "gradient"),
        box(left, heads, HALF, "label head:\nlearns the classes", TRAINED, 62),
        box(right, heads, HALF, "domain head:\nlearns to tell\nthe domains apart", TRAINED, 62),
        *way(left, heads + 62, features, "gradient"),
        *way(right, heads + 62, reversal, "gradient"),
        box(right, reversal, HALF, "gradient reversal:\nforward: same values\nbackward: times −λ", IDLE, 68),
        *way(right, reversal + 68, features, "−λ · gradient"),
        box(left, features, ALL, "features:\nlearn the classes, and to make the domain head fail", TRAINED, 46),
        arrow((left + 24, images), (left + 24, features + 46)),
        arrow((right + 24, images), (right + 24, features + 46)),
        box(left, images, HALF, "source, with labels"),
        box(right, images, HALF, "target, without labels"),
        arrow((left + 8, 492), (left + 52, 492)),
        box(left + 60, 480, 136, "forward: values"),
        arrow((right + 44, 492), (right, 492), dashed=True),
        box(right + 52, 480, 144, "backward: gradient"),
    )


# ---- 08: alignment where the classes come in other proportions -------------------------------------------------------

SHOWN_SAMPLES = 10
SHARES = (0.5, 0.9)
"""Of positive samples, in the source and in the target."""


def matched() -> tuple[int, int]:
    """Negative and positive target samples on the negative side once both whole domains lie alike."""
    negative, wanted = (round(SHOWN_SAMPLES * (1 - share)) for share in reversed(SHARES))
    return negative, wanted - negative


def proportions() -> str:
    negative, moved = matched()
    half = SHOWN_SAMPLES - negative - moved
    middle, pitch = WIDE / 2, 32

    def crowd(side: int, ground: float, *classes: int) -> list[str]:
        """Samples of these classes on a side, in rows of five."""
        start = 42 + side * middle
        places = [(start + pitch * (n % 5), ground + 26 * (n // 5)) for n in range(len(classes))]
        return [mark(x, y, CLASSES[c][1], CLASSES[c][0], 8) for (x, y), c in zip(places, classes, strict=True)]

    target = SHOWN_SAMPLES - negative
    return drawing(
        "Alignment of whole domains with other proportions",
        f"Three rows of samples on two sides of a head's boundary, negative to the left and positive to the right. "
        f"Source: {half} negative and {half} positive samples, each on its side. Target before alignment: {negative} "
        f"negative, {target} positive, all on the right sides. Target after alignment: as many on each side as in the "
        f"source, so {moved} positive samples now lie on the negative side, and are called negative. With fewer the "
        f"domains would not be alike.",
        486,
        line((middle, 36), (middle, 396), dashed=True),
        box(8, 6, HALF, "negative side", FROZEN),
        box(216, 6, HALF, "positive side", TRAINED),
        box(8, 44, ALL, f"source: {half} negative, {half} positive"),
        *crowd(0, 90, *[0] * half),
        *crowd(1, 90, *[1] * half),
        box(8, 122, ALL, f"target, before alignment: {negative} negative, {target} positive"),
        *crowd(0, 168, *[0] * negative),
        *crowd(1, 168, *[1] * target),
        arrow((middle + 18, 222), (middle - 18, 222), thick=4),
        box(8, 210, 176, f"{moved} of {target} pulled over", NOTE),
        box(236, 210, 176, "to match the source", NOTE),
        box(8, 254, ALL, f"target, after: {half} on each side, as in the source"),
        *crowd(0, 300, *[0] * negative, *[1] * moved),
        *crowd(1, 300, *[1] * (target - moved)),
        box(8, 334, HALF, f"{moved} positive samples\nare called negative", IDLE, 44),
        box(216, 334, HALF, f"{target - moved} stay on their side", IDLE, 44),
        mark(22, 412, CLASSES[0][1], CLASSES[0][0], 8),
        box(38, 400, 166, "negative"),
        mark(230, 412, CLASSES[1][1], CLASSES[1][0], 8),
        box(246, 400, 166, "positive"),
        box(
            8,
            434,
            ALL,
            "The loss is low, the two domains look alike:\nno discriminator notices.",
            NOTE,
            46,
        ),
    )


# ---- 09: an episode --------------------------------------------------------------------------------------------------

SHOTS, ASKED = 2, 2
SUPPORT = (((62, 66), (118, 30)), ((284, 34), (364, 64)), ((170, 158), (262, 174)))
"""Where the support samples of each class lie in the embedding."""
QUERY = (284, 104)
"""... and one sample of the query set."""


def episode() -> str:
    ways, ground = len(SUPPORT), 226
    means = [tuple(sum(axis) / SHOTS for axis in zip(*points, strict=True)) for points in SUPPORT]
    nearest = min(range(ways), key=lambda number: math.dist(means[number], QUERY))
    parts = []
    for number, (points, mean) in enumerate(zip(SUPPORT, means, strict=True)):
        fill, shape = CLASSES[number]
        y = 58 + 32 * number
        parts.append(box(20, y - 12, 70, f"class {number}"))
        parts += [mark(120 + 34 * shot, y, shape, fill) for shot in range(SHOTS)]
        parts.append("".join(mark(264 + 34 * number + 17 * n, 74 + 32 * n, "diamond") for n in range(ASKED)))
        to = (mean[0], ground + mean[1])
        parts += [line(to, (x, ground + y)) for x, y in points]
        parts.append(
            line(to, (QUERY[0], ground + QUERY[1]), dashed=number != nearest, thick=4 if number == nearest else 2)
        )
        parts += [mark(x, ground + y, shape, fill) for x, y in points]
        parts.append(mark(*to, shape, fill, 12))
    boxes = ((8, 76), (352, 80), (186, 184))
    parts += [box(x, ground + y, 62, f"mean {number}") for number, (x, y) in enumerate(boxes)]
    return drawing(
        f"An episode, {ways}-way {SHOTS}-shot, and the nearest class mean",
        f"Above, the episode: a support set of {ways} classes with {SHOTS} labelled samples each, {ways}-way "
        f"{SHOTS}-shot, and a query set of {ways * ASKED} samples whose labels are to be found. Below, the same in the "
        f"embedding: each class's mean lies in the middle of its support samples; a query is joined to all three means, "
        f"and the nearest is that of class {nearest}, which is the answer.",
        480,
        box(8, 6, HALF, "support set: labelled"),
        box(216, 6, HALF, "query set: to answer"),
        *parts,
        mark(QUERY[0], ground + QUERY[1], "diamond", size=8),
        box(8, 148, HALF, f"{ways}-way {SHOTS}-shot:\n{ways} classes, {SHOTS} samples each", IDLE, 46),
        box(216, 148, HALF, "queries:\nsame classes, new samples", IDLE, 46),
        arrow((106, 194), (106, 214)),
        arrow((314, 194), (314, 214)),
        box(8, 216, ALL, "the embedding"),
        box(304, ground + QUERY[1] + 2, 62, "query", IDLE),
        box(8, 440, ALL, f"nearest mean: the answer is class {nearest}", CLASSES_LOOK[nearest], 34),
    )


CLASSES_LOOK = (FROZEN, TRAINED, TEST)


# ---- 10: inner and outer loop ----------------------------------------------------------------------------------------


def maml() -> str:
    top, inner, adapted, query, outer = 6, 82, 176, 250, 352
    parts = []
    for x, number in zip(COLUMNS, "₁₂", strict=True):
        middle = x + HALF / 2
        parts += [
            arrow((middle, top + 46), (middle, inner)),
            box(x, inner, HALF, f"inner step, task {'₁₂'.index(number) + 1}:\nS{number}: loss on its support set\n"
                f"θ′{number} = θ − α ∇S{number}(θ)", NOTE, 64),
            arrow((middle, inner + 64), (middle, adapted)),
            box(x, adapted, HALF, f"adapted weights θ′{number}", TRAINED, 34),
            arrow((middle, adapted + 34), (middle, query)),
            box(x, query, HALF, f"test loss:\non its query set:\nQ{number}(θ′{number})", TEST, 64),
            arrow((middle, query + 64), (middle, outer)),
        ]  # fmt: skip
    centre = WIDE / 2
    return drawing(
        "Inner and outer loop of MAML",
        "One start, theta, at the top. From it each of two tasks takes an inner step on its support set, to adapted "
        "weights of its own, with which its query set gives a test loss. The outer loss is the mean of both test "
        "losses; its gradient with respect to the start goes back through the inner steps, and moves the start. "
        "First-order MAML takes the inner gradient as a constant, so that the gradient at the adapted weights is used "
        "at the start.",
        530,
        box(8, top, ALL, "the start θ:\none for all tasks", TRAINED, 46),
        *parts,
        arrow((centre, outer), (centre, top + 46), thick=4, dashed=True),
        box(8, outer, ALL, "outer loss: the mean of Q₁(θ′₁) and Q₂(θ′₂)", TEST, 34),
        box(8, outer + 44, ALL, "outer step, along the thick dashed arrow:\nθ moves against the gradient of the outer loss\n"
            "with respect to θ, through the inner steps", NOTE, 64),
        box(8, outer + 116, ALL, "first order:\n∇S is taken as a constant: the gradient of Q at θ′\nstands for the one at θ",
            IDLE, 62),
    )  # fmt: skip


# ---- 11: images and names in one space -------------------------------------------------------------------------------

NAMES = {"cat": 62.0, "rocket": 148.0, "teapot": 322.0}
"""Names and their directions, in degrees."""
IMAGE = 84.0
"""That of an image of a cat."""


def joint_space() -> str:
    x, y, radius = WIDE / 2, 310, 104

    def on(angle: float, far: float = radius) -> tuple[float, float]:
        return x + far * math.cos(math.radians(angle)), y - far * math.sin(math.radians(angle))

    def apart(name: str) -> float:
        return math.cos(math.radians(NAMES[name] - IMAGE))

    answer = max(NAMES, key=apart)
    parts = [f'<circle cx="{x:g}" cy="{y:g}" r="{radius:g}" fill="none" stroke="{GREY}" stroke-width="2"/>']
    places = {"cat": (300, 206), "rocket": (36, 226), "teapot": (314, 380)}
    for name, angle in NAMES.items():
        parts.append(line((x, y), on(angle), thick=4 if name == answer else 2, dashed=name != answer))
        parts.append(mark(*on(angle), "square", TEST[0], 8))
        parts.append(box(*places[name], 76, f"“{name}”", TEST))
    return drawing(
        "Images and class names on one unit sphere",
        f"Two encoders. An image encoder takes an image, a text encoder the class names. Both end on the same unit "
        f"sphere, drawn as a circle: the image is a diamond, the names are squares. The name with the smallest angle to "
        f"the image, so the largest cosine, is the answer: {answer}. No labelled image of that class was needed.",
        512,
        box(8, 6, HALF, "an image", NOTE),
        box(216, 6, HALF, "class names", NOTE),
        arrow((106, 30), (106, 52)),
        arrow((314, 30), (314, 52)),
        box(8, 52, HALF, "image encoder:\nnetwork + learned map", TRAINED, 46),
        box(216, 52, HALF, "text encoder:\nfrozen", FROZEN, 46),
        arrow((106, 98), (106, 122)),
        arrow((314, 98), (314, 122)),
        box(8, 122, ALL, "one space; directions only: the unit sphere"),
        *parts,
        line((x, y), on(IMAGE), thick=4),
        mark(*on(IMAGE), "diamond", TRAINED[0], 9),
        box(136, 166, 124, "the image", TRAINED),
        box(8, 430, ALL, f"largest cosine = smallest angle: “{answer}”\nA new class needs a name, no label.", NOTE, 46),
    )


# ---- 12: what is kept, and what holds it -----------------------------------------------------------------------------


def retention() -> str:
    left, right = COLUMNS
    return drawing(
        "Fine-tuning, the old head, and what the remedies hold",
        "A network with two heads. The target's images go through the backbone, which is fine-tuned, to the new head: "
        "the target's loss. The old head is put back on the same backbone, and asked about source samples: that is "
        "retention. Four remedies hold on to something: frozen statistics to batch norm, L2-SP to the weights, "
        "distillation to the old head's answers about the target's images, and rehearsal to those about old samples.",
        506,
        box(left, 6, HALF, "accuracy on the target:\nwhat is learned", NOTE, 46),
        box(right, 6, HALF, "accuracy on the source:\nwhat is kept (retention)", NOTE, 46),
        arrow((106, 90), (106, 52)),
        arrow((314, 90), (314, 52)),
        box(left, 90, HALF, "new head: trained", TRAINED, 34),
        box(right, 90, HALF, "old head: put back", FROZEN, 34),
        arrow((106, 152), (106, 124)),
        arrow((314, 152), (314, 124)),
        box(
            left,
            152,
            ALL,
            "backbone: fine-tuned on the target,\nits features move, under the old head, too",
            TRAINED,
            46,
        ),
        arrow((106, 226), (106, 198)),
        arrow((314, 226), (314, 198)),
        box(left, 226, HALF, "target's images", NOTE),
        box(right, 226, HALF, "source's test samples", NOTE),
        box(left, 270, ALL, "remedies, and what each holds on to:", IDLE, 30),
        *(
            part
            for row, (name, held) in enumerate(REMEDIES)
            for part in (
                box(left, 308 + 48 * row, 146, name, IDLE, 40),
                line((154, 328 + 48 * row), (166, 328 + 48 * row)),
                box(166, 308 + 48 * row, 246, held, NOTE, 40),
            )
        ),
    )


REMEDIES = (
    ("frozen statistics", "batch norm's means and variances\nof the source"),
    ("L2-SP", "the weights: each is pulled back\nto where it started"),
    ("distillation", "the old head's answers\nabout the target's images"),
    ("rehearsal", "the old head's answers\nabout old samples"),
)


# ---- 13: three scenarios, and families of strategies -----------------------------------------------------------------

WAYS, PAIRS = 2, 5
TOLD = {"task": "the image,\nand its pair", "domain": "the image\nalone", "class": "the image\nalone"}
WANTED = {"task": "2 or 3?", "domain": "even or odd?", "class": f"which of\n0 to {WAYS * PAIRS - 1}?"}
ANSWERS = {"task": WAYS, "domain": WAYS, "class": WAYS * PAIRS}
"""How many answers a sample may get once all pairs were learned."""


def scenarios() -> str:
    pitch, pairs = 72, [f"{WAYS * n} {WAYS * n + 1}" for n in range(PAIRS)]
    columns = ((8, 132), (146, 128), (280, 132))
    parts = []
    for number, pair in enumerate(pairs):
        x = 8 + 82.5 * number
        parts.append(box(x, 38, 64, pair, TRAINED, 30))
        if number + 1 < PAIRS:
            parts.append(arrow((x + 64, 53), (x + 82.5, 53)))
    for (x, width), word in zip(columns, ("scenario", "given", "asked"), strict=True):
        parts.append(box(x, 112, width, word, IDLE, 28))
    for row, scenario in enumerate(TOLD):
        y = 148 + pitch * row
        texts = (f"{scenario}-\nincremental", TOLD[scenario], f"{WANTED[scenario]}\n{ANSWERS[scenario]} answers")
        for (x, width), text, look in zip(columns, texts, (FROZEN, NOTE, TEST), strict=True):
            parts.append(box(x, y, width, text, look, pitch - 8))
    told = {scenario: " ".join(text.split()) for scenario, text in TOLD.items()}
    wanted = {scenario: " ".join(text.split()) for scenario, text in WANTED.items()}
    rows = "; ".join(f"{name}-incremental: given {told[name]}, asked {wanted[name]}" for name in TOLD)
    return drawing(
        "The three scenarios of continual learning",
        f"A stream: five pairs of digits are learned one after the other. After that an image of a 3 comes, and the "
        f"scenarios differ in what is given with it, and in what is asked. {rows}.",
        372,
        box(8, 6, ALL, "training: five pairs of digits, one after the other"),
        *parts,
        box(8, 80, ALL, "test, after all pairs: an image of a 3"),
    )


FAMILIES = (
    ("replay:", "keeps some old samples ...", ("replay", "DER++", "iCaRL", "A-GEM", "GDumb")),
    ("", "... or makes some up", ("generative replay",)),
    ("regularisation:", "holds on to weights ...", ("EWC", "online EWC", "SI", "L2-SP")),
    ("", "... or to answers", ("LwF",)),
    ("architecture:", "new parts for new tasks", ("progressive",)),
    ("templates:", "class means, nothing trained", ("nearest mean", "streaming LDA")),
    ("loss:", "new classes compete alone", ("labels trick",)),
    ("bounds:", "lower and upper", ("naive", "joint")),
)
"""Families of strategies, what they do, and those that `tl_helpers.continual` has."""


def families() -> str:
    parts, y = [], 6.0
    told = []
    for family, what, names in FAMILIES:
        if family:
            y += 8 * bool(parts)
        text = f"{family}\n{what}" if family else what
        per = 1 if len(names) == 2 and family == "templates:" else 2
        lines = [", ".join(names[at : at + per]) + "," * (at + per < len(names)) for at in range(0, len(names), per)]
        height = max(46 if family else 30, 14 + 16 * len(lines))
        look = IDLE if family in ("bounds:",) else NOTE
        parts.append(box(8, y, 222, text, look, height))
        parts.append(line((230, y + height / 2), (242, y + height / 2)))
        parts.append(box(242, y, 170, "\n".join(lines), TRAINED if look is NOTE else TEST, height))
        y += height + 4
        told.append(f"{family.removesuffix(':')} {what}: {', '.join(names)}".strip())
    return drawing(
        "Families of strategies against forgetting",
        f"A list of families, each with what it does and the strategies of this book. {'; '.join(told)}.",
        y + 4,
        *parts,
    )


# ---- 16: from files to a test that can be trusted --------------------------------------------------------------------

STEPS = (
    ("every file is looked at:", "used, or left out with a reason", NOTE),
    ("copies are put into one group:", "by their pixels, whatever their names", NOTE),
    ("groups are divided, not files:", "training, validation, test", FROZEN),
    ("suspicious labels are shown:", "a person decides", IDLE),
    ("training and validation:", "learn, and choose", TRAINED),
    ("test:", "read once", TEST),
)


def own_data() -> str:
    height, gap, parts, y = 44, 20, [], 8
    for number, (what, how, look) in enumerate(STEPS):
        parts.append(box(8, y, ALL, f"{what}\n{how}", look, height))
        if number + 1 < len(STEPS):
            parts.append(arrow((WIDE / 2, y + height), (WIDE / 2, y + height + gap)))
        y += height + gap
    told = ". ".join(f"{what.removesuffix(':')}: {how}" for what, how, _ in STEPS)
    return drawing("From a folder of files to a test that can be trusted", f"Six steps. {told}.", y, *parts)


DRAWINGS = {
    "domain_shift": domain_shift,
    "dann": dann,
    "proportions": proportions,
    "episode": episode,
    "maml": maml,
    "joint_space": joint_space,
    "retention": retention,
    "scenarios": scenarios,
    "families": families,
    "own_data": own_data,
}
