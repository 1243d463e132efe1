"""The data report: what was found, what is used, and what a careful reader would look at before training on it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd


@dataclass(frozen=True, repr=False)
class DataReport:
    """What became of the data: ``task.report``. Printed, it is a summary; `to_frame` lists every file and row.

    Attributes
    ----------
    name : str
    rows : pandas.DataFrame
        One row for each sample, in the order of the task's table: ``file``, ``split``, ``class``, ``content`` (equal for
        copies); of images also ``width``, ``height``, ``mode``, ``orientation`` (EXIF) and ``converted``; of texts
        ``characters`` and ``words``.
    classes : tuple of str
    left_out : pandas.DataFrame
        ``what`` (a file, row or column) and ``reason``.
    decisions : tuple of str
        How the data were read, in sentences.
    """

    name: str
    rows: pd.DataFrame
    classes: tuple[str, ...]
    left_out: pd.DataFrame
    decisions: tuple[str, ...] = ()

    def to_frame(self) -> pd.DataFrame:
        """Everything that was found, used or not: the columns of `rows`, and ``used`` and ``reason``."""
        out = self.left_out.rename(columns={"what": "file"}).assign(used=False)
        return pd.concat([self.rows.assign(used=True, reason=""), out], ignore_index=True)

    @property
    def counts(self) -> pd.DataFrame:
        """Samples of each class in each split."""
        order = [split for split in ("train", "validation", "test", "") if (self.rows["split"] == split).any()]
        table = pd.crosstab(self.rows["split"], self.rows["class"])
        return table.reindex(index=order, columns=list(self.classes), fill_value=0).rename(index={"": "in no split"})

    @property
    def copies(self) -> pd.DataFrame:
        """Samples whose content occurs more than once: ``copy`` numbers the content, and whether splits or classes differ.

        Images are the same if their pixels are, whatever the format; texts if they differ in case and blanks only.
        """
        found = self.rows[self.rows.duplicated("content", keep=False)][["file", "split", "class", "content"]]
        by = found.groupby("content", sort=False)
        return found.assign(
            copy=by.ngroup(),
            across_splits=by["split"].transform("nunique") > 1,
            across_classes=by["class"].transform("nunique") > 1,
        ).drop(columns="content")

    @property
    def alike(self) -> list[tuple[str, ...]]:
        """Names of classes that differ in case, blanks, dashes or underscores only, and may be meant as one."""
        names = pd.Series(self.classes)
        plain = names.str.normalize("NFKC").str.casefold().str.replace(r"[\s_-]+", "", regex=True)
        return [tuple(group) for _, group in names.groupby(plain.values) if len(group) > 1]

    def near_copies(self, features: np.ndarray, at_least: float = 0.98) -> pd.DataFrame:
        """Pairs of samples that look alike to a backbone, most alike first.

        Parameters
        ----------
        features : array, shape (N, D)
            Of every sample: ``features.extract(backbone, task.all_samples(224))``.
        at_least : float
            The cosine of their features, centred on the mean of all, from which on a pair is listed.

        Returns
        -------
        pandas.DataFrame
            ``file``, ``other``, their splits and classes, ``cosine``, and ``copy``: whether they are exactly the same.
        """
        x = self._checked(features)
        x = x - x.mean(axis=0)
        x /= np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
        pairs = []
        for start in range(0, len(x), 256):
            cosine = x[start : start + 256] @ x.T
            first, second = np.nonzero(cosine >= at_least)
            after = second > first + start
            pairs += zip(first[after] + start, second[after], cosine[first, second][after], strict=True)
        one, two = (self.rows.iloc[[pair[side] for pair in pairs]].reset_index() for side in (0, 1))
        return pd.DataFrame(
            {
                **{"file": one["file"], "other": two["file"]},
                **{"split": one["split"], "other_split": two["split"]},
                **{"class": one["class"], "other_class": two["class"]},
                **{"cosine": [float(pair[2]) for pair in pairs], "copy": one["content"] == two["content"]},
            }
        ).sort_values("cosine", ascending=False, ignore_index=True)

    def suspicious_labels(self, features: np.ndarray, *, folds: int = 5, seed: int = 0) -> pd.DataFrame:
        """Samples that a classifier trained on the others would call something else, the surest first.

        Logistic regression on frozen features, cross-validated over all samples (copies in one fold). The margin is the
        log-odds of the given class against the best other one, a simple form of confident learning (Northcutt et al.
        2021). A low margin is a reason to look, not a proof.

        Parameters
        ----------
        features : array, shape (N, D)
            Of every sample, as for `near_copies`.

        Returns
        -------
        pandas.DataFrame
            ``file``, ``split``, ``class``, ``suggested`` and ``margin``, where the margin is below 0.
        """
        from sklearn.linear_model import LogisticRegression
        from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        x, labels = self._checked(features), self.rows["class"].to_numpy(dtype=str)
        names, y = np.unique(labels, return_inverse=True)
        cut = StratifiedGroupKFold(max(2, min(folds, np.bincount(y).min())), shuffle=True, random_state=seed)
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))
        groups = self.rows["content"].to_numpy()
        scores = cross_val_predict(model, x, y, cv=cut, groups=groups, method="predict_log_proba")
        own = scores[np.arange(len(y)), y]
        others = scores.copy()
        others[np.arange(len(y)), y] = -np.inf
        margin = own - others.max(axis=1)
        found = self.rows[["file", "split", "class"]].assign(suggested=names[others.argmax(axis=1)], margin=margin)
        return found[margin < 0].sort_values("margin", ignore_index=True)

    def _checked(self, features: np.ndarray) -> np.ndarray:
        x = np.asarray(features, dtype=np.float64)
        if x.ndim != 2 or len(x) != len(self.rows) or not np.isfinite(x).all():
            raise ValueError(
                f"features of shape {x.shape} for {len(self.rows)} samples: give one finite row each, of all of them: "
                "features.extract(backbone, task.all_samples(224))."
            )
        return x

    @property
    def concerns(self) -> list[str]:
        """What to look at, in sentences; empty if nothing was noticed."""
        found, copies = [], self.copies
        if len(self.left_out):
            reasons = self.left_out["reason"].value_counts()
            told = "; ".join(f"{count} x {reason}" for reason, count in reasons.head(4).items())
            more = f"; and {len(reasons) - 4} other reasons" if len(reasons) > 4 else ""
            found.append(f"{len(self.left_out)} left out: {told}{more}")
        if len(copies):
            across = copies["copy"][copies["across_classes"]].nunique()
            other = f", {across} of them with different labels" if across else ""
            leaks = copies["copy"][copies["across_splits"]].nunique()
            other += f", {leaks} of them in several splits" if leaks else ""
            found.append(
                f"{len(copies)} samples are copies of one another ({copies['copy'].nunique()} contents{other})"
            )
        found += [f"classes with nearly the same name: {', '.join(names)}" for names in self.alike]
        return found

    def __repr__(self) -> str:
        lines = [f"{self.name}: {len(self.rows)} samples used, {len(self.left_out)} files, rows or columns left out"]
        lines += [self.counts.to_string()]
        if "width" in self.rows:
            sizes = (self.rows["width"].astype(str) + " x " + self.rows["height"].astype(str)).value_counts()
            told = ", ".join(f"{size} ({count})" for size, count in sizes.head(3).items())
            lines.append(
                f"sizes (width x height): {told}" + (f" and {len(sizes) - 3} others" if len(sizes) > 3 else "")
            )
            lines.append("modes: " + _told(self.rows["mode"]))
            lines.append("converted: " + (_told(self.rows["converted"]) or "nothing"))
        else:
            words = self.rows["words"]
            lines.append(f"words in a text: {words.median():.0f} (median), {words.max()} (most)")
        lines += ["", *(f"- {line}" for line in (*self.decisions, *self.concerns))]
        lines += [f"  left out: {what}: {reason}" for what, reason in self.left_out.head(8).itertuples(index=False)]
        if len(self.left_out) > 8:
            lines.append(f"  ... and {len(self.left_out) - 8} more, see report.left_out")
        return "\n".join(lines).rstrip()


def _told(column: pd.Series) -> str:
    return ", ".join(f"{value} ({count})" for value, count in column.value_counts().items() if value)
