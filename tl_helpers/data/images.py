"""Pictures as files to pictures as numbers: one stated scale, 0 to 255, grey or colour, upright, on white.

`decode` makes the pixels that samples hold, `look` says what is in each file and what is done to it. Both read and shrink
one picture at a time in a small pool of threads, so memory does not grow with the size of the files.
"""

from __future__ import annotations

import functools
import hashlib
import io
import math
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import datasets
import numpy as np
import pandas as pd
import torch
import torchvision.transforms.v2.functional as tvf
from PIL import Image, UnidentifiedImageError

from tl_helpers import keys, runtime, store
from tl_helpers.data.errors import TaskError, UnreadableImageError

BACKGROUND = "white"
"""What shows through where a picture is transparent."""

FOREIGN = (
    *(".heic", ".heif", ".svg", ".pdf", ".dcm", ".nii", ".npy", ".npz"),
    *(".nef", ".cr2", ".cr3", ".arw", ".dng", ".raf", ".orf", ".rw2"),
    *(".eps", ".ps", ".wmf", ".emf", ".h5", ".hdf", ".mpg", ".mpeg", ".bufr", ".grib"),
)
"""Endings of pictures that Pillow does not read: not passed over like other files, but refused by name."""

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_BLOCK = 16  # pictures on their way at a time
T = TypeVar("T")


def is_picture(name: str) -> bool:
    """Whether Pillow reads files with this ending."""
    ending = Path(name).suffix.lower()
    return ending not in FOREIGN and Image.registered_extensions().get(ending) in Image.OPEN


def decode(table: datasets.Dataset, size: int | None = None, what: str = "images", *, margin: int = 0) -> torch.Tensor:
    """Pixels of a table's ``image`` column: uint8, shape (N, C, size, size); cached by the encoded bytes.

    C is 1 if every picture is grey, else 3. Pictures are turned as their EXIF orientation says, transparent ones laid on
    white, palettes and CMYK made RGB. Those of more than 8 bits share one scale in the whole table: the fewest bits that
    hold its largest value; numbers with a point run from 0 to 1, or to 255. `margin` pixels are cut off each side before
    the resizing. An UnreadableImageError or TaskError names the file.
    """
    content = _each(table, _content, f"reading {what}")
    known = (keys.fingerprint(content), size, margin)
    if known in _DECODED:
        return _DECODED[known]
    key = keys.fingerprint("pixels", runtime.versions(), keys.code_name(_decode_all), content, size, margin)
    pixels = store.shared("images").compute(key, lambda: {"pixels": _decode_all(table, size, what, margin)})["pixels"]
    while len(_DECODED) >= 4:
        _DECODED.pop(next(iter(_DECODED)))
    _DECODED[known] = pixels
    return pixels


_DECODED: dict[tuple[str, int | None, int], torch.Tensor] = {}
"""This process's last pools: six splits are decoded once."""


def look(table: datasets.Dataset, what: str = "images") -> pd.DataFrame:
    """What each picture of a table is: a frame with one row each, from a full decoding that the store remembers.

    Columns: ``width``, ``height`` (upright, in pixels), ``mode`` (Pillow's), ``orientation`` (EXIF; 1 is upright),
    ``converted`` (what `decode` does to it, in words), ``content`` (names the pixels, whatever the format of the file) and
    ``problem`` (why it cannot be read, without its name; empty if it can).
    """
    content = _each(table, _content, f"reading {what}", missing="absent")
    key = keys.fingerprint("looks", runtime.versions(), keys.code_name(_look), content)
    entry = store.shared("images").get(key) if "absent" not in content else None
    if entry is not None:
        frame = pd.DataFrame(entry.record["looks"])
        _LOOKED.update(zip(content, frame.to_dict("records"), strict=True))
        return frame
    new = [number for number, name in enumerate(content) if name not in _LOOKED]
    found = dict(zip(new, _each(table.select(new), _look, f"looking at {what}", missing=""), strict=True))
    _LOOKED.update({content[number]: facts for number, facts in found.items() if not facts["problem"]})
    looks = [found.get(number) or _LOOKED[name] for number, name in enumerate(content)]
    frame = pd.DataFrame(looks, columns=list(_NOTHING))
    if len(new) and not any(frame["problem"]):
        store.shared("images").put(key, {}, {"looks": frame.to_dict("list")})
    return frame


_LOOKED: dict[str, dict[str, object]] = {}
"""What this process has seen, by content: splits one by one, then the whole."""

_NOTHING = dict(width=0, height=0, mode="", orientation=1, converted="", content="", problem="")


def _each(table: datasets.Dataset, do: Callable[[bytes, str], T], what: str, *, missing: str | None = None) -> list[T]:
    """`do(bytes, name)` for each picture, in order; for one that cannot be read `missing`, its problem if that is empty."""
    return list(runtime.progress(_stream(table, do, missing), total=len(table), what=what))


def _stream(table: datasets.Dataset, do: Callable[[bytes, str], T], missing: str | None = None) -> Iterator[T]:
    encoded = table.select_columns("image").cast_column("image", datasets.Image(decode=False))

    def one(item: dict | None, number: int) -> T:
        name = (item or {}).get("path") or f"image {number}"
        try:
            return do(_read_bytes(item, name), name)
        except UnreadableImageError as error:
            if missing is None:
                raise
            return missing or _NOTHING | {"problem": str(error).removeprefix(name).lstrip(": ")}

    pool = ThreadPoolExecutor(min(runtime.current().threads, 4))
    with warnings.catch_warnings():  # Pillow's do not say which file; what they are about is said by `look`
        warnings.simplefilter("ignore")
        try:
            for start in range(0, len(encoded), _BLOCK):
                items = encoded[start : start + _BLOCK]["image"]
                yield from pool.map(one, items, range(start, start + len(items)))
        finally:
            pool.shutdown(cancel_futures=True)  # after an error the rest is not waited for


def _content(raw: bytes, name: str) -> str:
    return hashlib.sha256(raw).hexdigest()


def _read_bytes(item: dict | None, name: str) -> bytes:
    if item is None:
        raise UnreadableImageError(f"{name} is missing. Fill it in, or drop the row.")
    if item["bytes"] is not None:
        return item["bytes"]
    try:
        return Path(item["path"]).read_bytes()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise UnreadableImageError(f"{name}: {why}. Was the folder moved, or may it not be read?") from None


def _look(raw: bytes, name: str) -> dict[str, object]:
    pixels, facts = open_image(raw, name)
    digest = hashlib.sha256(str((pixels.dtype, pixels.shape)).encode())
    digest.update(np.ascontiguousarray(pixels.permute(1, 2, 0).numpy()))  # the order in memory, so no copy
    return facts | {"content": digest.hexdigest()[:32], "problem": ""}


def _decode_all(table: datasets.Dataset, size: int | None, what: str, margin: int) -> torch.Tensor:
    """All pictures, each shrunk as soon as it is read; deep ones wait for the scale that holds them all."""
    pixels, deep, shape = torch.empty(0), {}, None
    tops = {"whole": 0.0, "real": 0.0}
    images = _stream(table, functools.partial(_decode_one, size=size, margin=margin))
    for number, (image, kind, top) in enumerate(runtime.progress(images, total=len(table), what=f"decoding {what}")):
        if shape is None:
            shape = image.shape[1:]
            pixels = torch.empty((len(table), len(image), *shape), dtype=torch.uint8)
        if image.shape[1:] != shape:
            raise TaskError(f"{what}: the images differ in size, so give one: samples(split, size=224).")
        if len(image) > pixels.shape[1]:
            pixels = pixels.expand(-1, len(image), -1, -1).clone()
        if kind:
            deep[number], tops[kind] = (image, kind), max(tops[kind], top)
        else:
            pixels[number] = image
    scales = {kind: 255 / _full(kind, top) for kind, top in tops.items()}
    for number, (image, kind) in deep.items():
        pixels[number] = (image * scales[kind]).round().clamp(0, 255).to(torch.uint8)
    return pixels


def _full(kind: str, top: float) -> float:
    """What becomes 255 if the largest value of the table is `top`: all of its bits, or 1.0 or 255.0."""
    if kind == "whole":
        return 2.0 ** max(8, math.ceil(math.log2(top + 1))) - 1
    return 1.0 if top <= 1 else 255.0


def _decode_one(raw: bytes, name: str, *, size: int | None, margin: int) -> tuple[torch.Tensor, str, float]:
    """One picture, (C, height, width): uint8, or float32 as it is in the file, with its kind and its largest value."""
    pixels, facts = open_image(raw, name)
    kind = "" if pixels.dtype == torch.uint8 else "real" if facts["mode"] == "F" else "whole"
    top = float(pixels.max()) if kind else 0.0
    height, width = pixels.shape[1:]
    if 2 * margin >= min(height, width):
        raise TaskError(f"{name}: a margin of {margin} leaves nothing of {height} x {width}.")
    pixels = pixels[:, margin : height - margin, margin : width - margin]
    return (tvf.resize(pixels, [size, size], antialias=True) if size else pixels), kind, top


def open_image(raw: bytes, name: str) -> tuple[torch.Tensor, dict[str, object]]:
    """One picture upright: uint8 (C, H, W), or float32 in the file's own scale where it has more than 8 bits; and its facts.

    The facts are those of `look`. An UnreadableImageError says what is wrong with the file called `name`, and what to do.
    """
    try:
        with Image.open(io.BytesIO(raw)) as image:
            frames, mode = getattr(image, "n_frames", 1), image.mode
            image.seek(0)
            image.load()
            how = [f"first of {frames} pictures in the file"] if frames > 1 else []
            orientation, damaged = _orientation(image)
            if damaged:
                how.append("EXIF damaged, taken as upright")
            if orientation != 1:
                image, how = image.transpose(_TURNS[orientation]), [*how, "turned upright"]
            if image.info.get("icc_profile") and image.mode in ("CMYK", "LAB"):
                how.append("colour profile not applied")
            pixels, change = _plain(image)
    except Image.DecompressionBombError:
        most = 2 * Image.MAX_IMAGE_PIXELS // 10**6
        raise UnreadableImageError(
            f"{name} has more than {most} megapixels, which may be an attack (a decompression bomb). Save it smaller, or, "
            "if you trust it, raise PIL.Image.MAX_IMAGE_PIXELS first."
        ) from None
    except Exception as error:  # damaged files make Pillow raise nearly anything
        raise UnreadableImageError(
            f"{name} cannot be read as an image ({_why(raw, error)}). Repair it, or remove it from the folder."
        ) from None
    height, width = pixels.shape[1:]
    how += [change] if change else []
    facts = dict(width=width, height=height, mode=mode, orientation=orientation, converted=", ".join(how))
    return pixels, facts


def _why(raw: bytes, error: Exception) -> str:
    if not raw:
        return "the file is empty"
    if raw.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer: fetch the pictures with git lfs pull"
    if isinstance(error, UnidentifiedImageError):
        return f"no format that Pillow knows; it begins with {raw[:12]!r}"
    return str(error) or type(error).__name__


def _orientation(image: Image.Image) -> tuple[int, bool]:
    """The EXIF orientation, 1 to 8, and whether there is an EXIF block that cannot be read."""
    try:
        exif = image.getexif()
        found = exif.get(0x0112, 1)
        damaged = bool(image.info.get("exif")) and not len(exif)
    except Exception:
        return 1, True
    return (found, damaged) if found in range(1, 9) else (1, True)


def _plain(image: Image.Image) -> tuple[torch.Tensor, str]:
    """Grey or RGB, and in words what was done."""
    mode = image.mode
    if mode.startswith("I") or mode == "F":
        values = np.asarray(image).astype(np.float32)
        if not np.isfinite(values).all() or values.min() < 0 or (mode == "F" and values.max() > 255):
            raise ValueError(
                f"its numbers run from {values.min():g} to {values.max():g}; the scale can be 0 to 255, 0 to 1, or whole "
                "numbers from 0 on"
            )
        return torch.from_numpy(values)[None], "more than 8 bits, to 0 ... 255 by one scale for all"
    if mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        if mode in ("La", "RGBa"):
            image = image.convert({"La": "LA", "RGBa": "RGBA"}[mode])
        front = image.convert("RGBA")
        flat = Image.alpha_composite(Image.new("RGBA", front.size, BACKGROUND), front)
        grey = mode in ("1", "L", "LA", "La")
        return tvf.pil_to_tensor(flat.convert("RGB").convert("L") if grey else flat.convert("RGB")), f"on {BACKGROUND}"
    if mode in ("L", "RGB"):
        return tvf.pil_to_tensor(image), ""
    if mode == "LAB":  # Pillow would convert it wrongly
        raise ValueError("LAB colours: save it as RGB")
    return tvf.pil_to_tensor(image.convert("L" if mode == "1" else "RGB")), f"from {mode}"
