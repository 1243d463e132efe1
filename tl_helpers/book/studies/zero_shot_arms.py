"""Zero-shot, what chapters 11 and 11b run live: sentences in several wordings, seen and unseen names, the control's runs."""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.metrics import balanced_accuracy_score

from tl_helpers import zeroshot
from tl_helpers.book.studies import zero_shot as emoji
from tl_helpers.data import Samples, load_task

DOMAINS = {
    "tweets": "tweet",
    "film": "film review",
    "product": "product review",
    "editorial": "newspaper editorial",
}
"""The four domains of sentences, and what one of their texts is called."""

SENTENCES = 320
"""So many of each domain."""

WORDS = {
    "negative / positive": ("negative", "positive"),
    "bad / good": ("bad", "good"),
    "sad / happy": ("sad", "happy"),
    "a bad review / ...": ("a bad review", "a good review"),
    "it was terrible / ...": ("it was terrible", "it was great"),
    "I hate it / ...": ("I hate it", "I love it"),
    "I feel bad about it / ...": ("I feel bad about it", "I feel good about it"),
    "negative sentiment / ...": ("negative sentiment", "positive sentiment"),
    "this text is negative / ...": ("this text is negative", "this text is positive"),
    "... with a negative opinion / ...": ("a sentence with a negative opinion", "a sentence with a positive opinion"),
    "a negative (domain) / ...": ("a negative {}", "a positive {}"),
}
"""Eleven ways to write the same two labels; the braces stand for what a text of the domain is called."""

PAIRS = {
    "Twemoji → Twemoji": ("twemoji", ""),
    "OpenMoji → OpenMoji": ("openmoji", ""),
    "Twemoji → OpenMoji": ("twemoji", "across_"),
    "OpenMoji → Twemoji": ("openmoji", "across_"),
}
"""Whose drawings a map learned from and is tested with: the artist, and how the recorded columns begin."""


def sentences(seed: int) -> dict[str, Samples]:
    """Sentences of each domain, drawn from its test split without looking at labels; domain -> `SENTENCES` samples."""
    found, random = {}, np.random.default_rng(seed)
    for name in DOMAINS:
        test = load_task(name, seed=seed).samples("test")
        found[name] = test.take(random.permutation(len(test))[:SENTENCES])
    return found


def worded(samples: dict[str, Samples]) -> pd.DataFrame:
    """Balanced accuracy (%) of the nearest label: one row for each wording and domain.

    The columns are ``wording``, ``domain``, ``accuracy`` of all sentences, and ``one_half`` and ``other_half`` of every
    second one, so that a wording can be picked on one half and measured on the other.
    """
    rows = []
    for domain, some in samples.items():
        truth = some.labels.numpy()
        for wording, pair in WORDS.items():
            answers = zeroshot.nearest_text().predict(some, [label.replace("{}", DOMAINS[domain]) for label in pair])
            row: dict[str, object] = {"wording": wording, "domain": domain}
            for name, part in (
                ("accuracy", slice(None)),
                ("one_half", slice(0, None, 2)),
                ("other_half", slice(1, None, 2)),
            ):
                row[name] = 100 * balanced_accuracy_score(truth[part], answers[part])
            rows.append(row)
    return pd.DataFrame(rows)


def chosen_elsewhere(table: pd.DataFrame) -> pd.DataFrame:
    """What choosing a wording is worth, domain by domain, and no choice looks at the sentences that it is measured on.

    From `worded`: ``wording``, the best one on the *other* domains; ``accuracy``, what it gives here; ``mean``, that of all
    wordings here; ``worth``, from the worst to the best wording, both picked on one half of the sentences and measured on
    the other (mean of both ways round).
    """
    by_wording = table.pivot_table(index="wording", columns="domain", values="accuracy", sort=False)
    rows = []
    for domain in by_wording:
        best = by_wording.drop(columns=domain).mean(axis=1).idxmax()
        halves = table[table["domain"] == domain].set_index("wording")
        worth = [
            halves[there].loc[halves[here].idxmax()] - halves[there].loc[halves[here].idxmin()]
            for here, there in (("one_half", "other_half"), ("other_half", "one_half"))
        ]
        rows.append(
            {
                "domain": domain,
                "wording": best,
                "accuracy": by_wording.loc[best, domain],
                "mean": by_wording[domain].mean(),
                "worth": np.mean(worth),
            }
        )
    return pd.DataFrame(rows).set_index("domain")


def generalised_task(
    x: dict[str, np.ndarray], vectors: np.ndarray, train: np.ndarray, aside: np.ndarray, new: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Seen and unseen names compete for drawings by OpenMoji, an artist that the map knows.

    The map learns from both artists' drawings of the concepts in `train`, but without OpenMoji's drawings of those in
    `aside`. These and the drawings of the concepts in `new`, which are not in `train`, are the test.

    Parameters
    ----------
    x : dict
        Artist -> features of all drawings, float (1884, p).
    vectors : numpy.ndarray
        Embeddings of all names, float (1884, 384).
    train, aside, new : numpy.ndarray
        int, rows of the data set; `aside` is a part of `train`.

    Returns
    -------
    similarities, truth, seen : numpy.ndarray
        (N, L) for the drawings of `aside`, then `new`, and the names of `train`, then `new`; which name is right, int
        (N,); which names are seen, bool (L,).
    """
    drawn = np.setdiff1d(train, aside)
    learned = zeroshot.ridge_map(
        np.concatenate([x["twemoji"][train], x["openmoji"][drawn]]),
        np.concatenate([vectors[train], vectors[drawn]]),
        strength=0.1,
    )
    offered, tested = np.concatenate([train, new]), np.concatenate([aside, new])
    place = {row: k for k, row in enumerate(offered.tolist())}
    truth = np.array([place[row] for row in tested.tolist()])
    scores = zeroshot.cosine(learned(x["openmoji"][tested]), vectors[offered])
    return scores, truth, np.arange(len(offered)) < len(train)


def by_artists(grid: pd.DataFrame) -> pd.DataFrame:
    """The recorded grid ``zero_shot_emoji`` for the control: one row a run, with columns ``artists`` and ``offered``."""
    parts = []
    for words, (artist, start) in PAIRS.items():
        own = grid[grid["artist"] == artist]
        for offered in (*emoji.FEWER, emoji.UNSEEN):
            column = f"{start}accuracy" + ("" if offered == emoji.UNSEEN else f"_{offered}")
            some = own[["method", "seen", "seed", column]].rename(columns={column: "top-1 accuracy"})
            parts.append(some.assign(artists=words, offered=offered))
    return pd.concat(parts, ignore_index=True)


def name_now(grid: pd.DataFrame, seen: int, offered: int, artists: str, seed: int = 99) -> dict[str, float]:
    """One more split of a setting of the control, each method with its usual strength: method -> accuracy (%)."""
    artist, start = PAIRS[artists]
    split = emoji.split_concepts(seed, seen=seen)
    target = emoji.other_artist(artist) if start else artist
    some = split.unseen[:offered]
    usual = grid[grid["seen"] == emoji.SEEN[-1]].groupby("method")["setting"].median()
    found = {}
    for method in emoji.METHODS:
        scorer = emoji.make_scorer(
            method, artist, split.seen, usual[method], size=emoji.SIZE, layer=emoji.LAYERS[-1], seed=seed
        )
        found[method] = zeroshot.accuracy(scorer(target, some, some), np.arange(offered))
    return found


def relatives(vectors: np.ndarray, seen: np.ndarray, unseen: np.ndarray, each: int = 1) -> np.ndarray:
    """Of the seen concepts, those whose names lie nearest to an unseen name: bool, (seen,), `each` for every unseen one."""
    near = np.argsort(-(vectors[seen] @ vectors[unseen].T), axis=0, kind="stable")[:each]
    return np.isin(np.arange(len(seen)), near)


TEMPLATES = ("{}", "a photo of a {}", "a drawing of a {}", "an emoji of {}", "this is a {}", "{} (its category)")
"""Sentences that a concept's name is put into; the last one stands for the name and its category."""


def templates(x: np.ndarray, splits: dict[int, emoji.Split]) -> pd.DataFrame:
    """A ridge map for each of `TEMPLATES` and each split, from features of all drawings, float (1884, p).

    The columns are ``template``, ``seed``, ``validation_accuracy`` of a map learned without the validation concepts, and of
    one learned on all seen concepts ``accuracy`` (%) and ``skewness of N₁`` over the unseen ones.
    """
    known = emoji.concepts()
    some, kinds = list(known.names[known.chosen]), known.categories[known.chosen]
    rows = []
    for template in TEMPLATES:
        if "category" in template:
            texts = [f"{name} ({kind.lower()})" for name, kind in zip(some, kinds, strict=True)]
        else:
            texts = zeroshot.fill(template, some)
        vectors = np.full((len(known.names), 384), np.nan)
        vectors[known.chosen] = zeroshot.embed_texts(texts)
        for seed, split in splits.items():
            row: dict[str, object] = {"template": template, "seed": seed}
            for name, learned, tested in (
                ("validation_accuracy", split.train, split.validation),
                ("accuracy", split.seen, split.unseen),
            ):
                one = zeroshot.ridge_map(x[learned], vectors[learned], strength=0.1)
                scores = zeroshot.cosine(one(x[tested]), vectors[tested])
                row[name] = zeroshot.accuracy(scores, np.arange(len(tested)))
            rows.append(row | {"skewness of N₁": zeroshot.hubness(scores)})
    return pd.DataFrame(rows)


NAME_STRENGTHS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
"""ESZSL's second strength, on offer for embedded names."""

RIDGE_STRENGTHS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
"""As many for the ridge."""


def eszsl_on_names(x: np.ndarray, vectors: np.ndarray, splits: dict[int, emoji.Split]) -> pd.DataFrame:
    """ESZSL and ridge with embedded names as signatures, one strength of each chosen on validation concepts.

    From features of all drawings, float (1884, p), and embeddings of all names, (1884, 384). The columns are ``method``,
    ``seed``, ``setting``, and over the unseen concepts ``accuracy`` (%) and ``skewness of N₁``.
    """

    def scores(method: str, setting: float, learned: np.ndarray, tested: np.ndarray) -> np.ndarray:
        if method == "ridge":
            one = zeroshot.ridge_map(x[learned], vectors[learned], strength=setting)
        else:
            own = np.arange(len(learned))
            one = zeroshot.eszsl_map(x[learned], vectors[learned], own, strength=0.1, signature_strength=setting)
        return zeroshot.cosine(one(x[tested]), vectors[tested])

    rows = []
    for seed, split in splits.items():
        held_out = np.arange(len(split.validation))
        for method, settings in (("ridge", RIDGE_STRENGTHS), ("ESZSL", NAME_STRENGTHS)):
            tried = {
                setting: zeroshot.accuracy(scores(method, setting, split.train, split.validation), held_out)
                for setting in settings
            }
            best = max(tried, key=tried.__getitem__)
            found = scores(method, best, split.seen, split.unseen)
            row = {"method": method, "seed": seed, "setting": best}
            row["accuracy"] = zeroshot.accuracy(found, np.arange(len(split.unseen)))
            rows.append(row | {"skewness of N₁": zeroshot.hubness(found)})
    return pd.DataFrame(rows)


BETAS = (1.0, 3.0, 10.0, 30.0, 100.0)
"""Inverse temperatures of the inverted softmax, on offer to the choice on validation concepts."""

NEIGHBOURS = (3, 10, 30, 100, 200)
"""The k of CSLS, as many: 200 is all names."""


def tuned_corrections(x: np.ndarray, vectors: np.ndarray, split: emoji.Split) -> tuple[float, int]:
    """The beta of the inverted softmax and the k of CSLS that are best on validation concepts.

    From features of all drawings, float (1884, p), and embeddings of all names, (1884, 384). The map is learned without the
    validation concepts, and the sums run over its training drawings.
    """
    learned, tested = split.train, split.validation
    one = zeroshot.ridge_map(x[learned], vectors[learned], strength=0.1)
    scores, bank = (zeroshot.cosine(one(x[rows]), vectors[tested]) for rows in (tested, learned))
    truth = np.arange(len(tested))
    beta = max(BETAS, key=lambda beta: zeroshot.accuracy(zeroshot.inverted_softmax(scores, bank, beta=beta), truth))
    k = max(NEIGHBOURS, key=lambda k: zeroshot.accuracy(zeroshot.csls(scores, bank, k=k), truth))
    return beta, k
