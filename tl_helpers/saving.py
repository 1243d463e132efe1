"""A trained model as one folder that needs neither this book's store nor a network: to keep, to send, to push to a hub.

The folder holds ``model.safetensors``, ``config.json`` (architecture, classes, preprocessing, licences), ``tokenizer.json``
for texts, ``run.json`` (the ledger's record of the training) and ``README.md``, the model card. `export_onnx` makes a file
that runs without PyTorch.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import datasets
import numpy as np
import pandas as pd
import torch
import transformers
from safetensors.torch import load, save_file

from tl_helpers import runtime, store
from tl_helpers.data import Samples, Task
from tl_helpers.data.images import decode
from tl_helpers.data.text import encode_texts
from tl_helpers.ledger import Run
from tl_helpers.models import (
    Backbone,
    Classifier,
    Preprocessing,
    TextBackbone,
    Tokenisation,
    WeightsError,
    load_backbone,
)
from tl_helpers.models.huggingface import encoder_backbone
from tl_helpers.training.scoring import logits_of, softmax

LAYOUT = 1
"""Of a folder; one of another layout is refused."""

FORBIDS = {
    r"\bNC\b|non.?commercial|research": "It must not be used commercially.",
    r"\bND\b|no.?deriv": "What is made from it must not be shared.",
    r"\bSA\b|share.?alike|\bA?GPL\b": "What is made from it may be shared under the same licence only.",
    r"not stated|unknown|^other$|see ": "It is not known what it allows: ask before you use or share what is made from it.",
}
"""What a licence asks for, by the words that it is known by.

:meta hide-value:
"""


KNOWN = r"\b(MIT|Apache|BSD|ISC|CC0|CC.BY|MPL|Unlicense|public domain|OFL|Open Font)\b"
"""Licences that are widely known.

:meta hide-value:
"""


class LicenceWarning(UserWarning):
    """A licence of the weights or of the data restricts what may be done with the model."""


@dataclass(frozen=True)
class SavedModel:
    """A model from a folder.

    Attributes
    ----------
    model : Classifier
        In eval mode.
    classes : tuple of str
    config : dict
        All that ``config.json`` says.
    """

    model: Classifier
    classes: tuple[str, ...]
    config: dict

    def predict(self, files_or_texts: Sequence[str | Path]) -> pd.DataFrame:
        """One row for each image file or text: ``input``, ``class``, and the ``probability`` of that class, in [0, 1].

        Images are read just as the training images were. An UnreadableImageError names a file that is none.
        """
        said = [str(each) for each in files_or_texts]
        if self.config["modality"] == "text":
            inputs = encode_texts(said)
        else:
            table = datasets.Dataset.from_dict({"image": said}).cast_column("image", datasets.Image())
            inputs = decode(table, self.config["size"], margin=self.config["margin"])
        unknown = torch.zeros(len(said), dtype=torch.int64)
        samples = Samples("to predict", inputs, unknown, self.classes, np.arange(len(said)))
        probabilities = softmax(logits_of(self.model, samples, None).numpy())
        best = probabilities.argmax(axis=1)
        names = [self.classes[number] for number in best]
        return pd.DataFrame({"input": said, "class": names, "probability": probabilities.max(axis=1)})


def save_model(
    model: Classifier,
    folder: str | Path,
    samples: Samples,
    *,
    task: Task | None = None,
    run: Run | None = None,
    scores: dict[str, float] | None = None,
) -> Path:
    """Write a model to a folder; returns it.

    Parameters
    ----------
    model : Classifier
    folder : str or pathlib.Path
        Made if it is not there; a FileExistsError if it holds anything but a saved model.
    samples : Samples
        What it was trained on: classes, and the images' size.
    task : Task, optional
        Where they came from: licence, citation and counts go into the model card.
    run : Run, optional
        What `fit` returned.
    scores : dict of str to float, optional
        What `evaluate` said on the test split.

    Warns
    -----
    LicenceWarning
        Where the licence of weights or data forbids a use, or is not stated.
    """
    folder, backbone = Path(folder), model.backbone
    if folder.exists() and any(folder.iterdir()) and not (folder / "config.json").exists():
        raise FileExistsError(f"{folder} holds something else: name a new folder, or empty this one.")
    if model.head[1].out_features != len(samples.classes):
        raise ValueError(
            f"The model tells {model.head[1].out_features} classes apart, {samples.name} has {len(samples.classes)}."
        )
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in model.state_dict().items()}
    save_file(state, folder / "model.safetensors", {"format": "pt"})
    preprocessing = dataclasses.asdict(backbone.preprocessing)
    tokeniser = preprocessing.pop("tokeniser", "")
    if tokeniser:
        (folder / "tokenizer.json").write_text(tokeniser, encoding="utf-8")
    licences = {"weights": backbone.licence, "data": task.licence if task else "not stated"}
    config = {
        "layout": LAYOUT,
        "sha256": hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest(),
        "classes": list(samples.classes),
        "modality": samples.modality,
        "size": samples.inputs.shape[-1] if samples.modality == "image" else None,
        "margin": task.margin if task else 0,
        "preprocessing": preprocessing,
        "backbone": {
            "name": backbone.name,
            "origin": getattr(backbone, "origin", None),
            "source": backbone.source,
            "stages": list(backbone.stage_names),
            "frozen_depth": backbone.frozen_depth,
            "frozen_norm": backbone.frozen_norm,
        },
        "dropout": model.head[0].p,
        "licences": licences,
        "warnings": licence_warnings(licences),
        "versions": runtime.versions(),
    }
    _write(folder / "config.json", config)
    _write(folder / "run.json", dataclasses.asdict(run) if run else {})
    if report := getattr(task, "report", None):
        (folder / "data_report.txt").write_text(f"{report}\n", encoding="utf-8")
    (folder / "README.md").write_text(_card(config, task, run, scores, folder.name), encoding="utf-8")
    for text in config["warnings"]:
        warnings.warn(text, LicenceWarning, stacklevel=2)
    return folder


def load_model(folder: str | Path, *, backbone: Backbone | None = None) -> SavedModel:
    """The model that `save_model` has written, bit for bit; needs no network.

    Parameters
    ----------
    folder : str or pathlib.Path
    backbone : Backbone, optional
        For a network of one's own: the same architecture, with any weights. It takes on the saved ones.

    Raises
    ------
    WeightsError
        For a folder that is absent, damaged, or does not fit.
    """
    folder = Path(folder)
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        raw = (folder / "model.safetensors").read_bytes()
    except (OSError, ValueError) as problem:
        raise WeightsError(f"{folder} holds no whole saved model ({problem}). Save it again with save_model.") from None
    if config.get("layout") != LAYOUT:
        raise WeightsError(f"{folder} was not written by this version of save_model. Use the one that wrote it.")
    if hashlib.sha256(raw).hexdigest() != config["sha256"]:
        raise WeightsError(
            f"{folder / 'model.safetensors'} is damaged: its SHA-256 is not the noted one. Copy it again."
        )
    facts = config["backbone"]
    backbone = _rebuilt(folder, config) if backbone is None else backbone
    backbone.name, backbone.source, backbone.licence = facts["name"], facts["source"], config["licences"]["weights"]
    model = Classifier(backbone, len(config["classes"]), dropout=config["dropout"])
    try:
        model.load_state_dict(load(raw))
    except RuntimeError as problem:
        raise WeightsError(f"{folder}: the weights do not fit the backbone {backbone.name} ({problem}).") from None
    backbone.frozen_depth, backbone.frozen_norm = facts["frozen_depth"], facts["frozen_norm"]
    return SavedModel(model.eval(), tuple(config["classes"]), config)


def export_onnx(model: Classifier, file: str | Path, examples: torch.Tensor) -> Path:
    """Write a model as ONNX and check its answers; returns the file.

    Parameters
    ----------
    model : Classifier
    file : str or pathlib.Path
    examples : torch.Tensor
        Inputs as samples hold them, uint8 (N, C, H, W): two or more. The file's input ``x`` is the same for images of this
        size, in any number, preprocessing included; for texts it is the tokens, int64 (N, 2, T), of any number and length.
        Its output, ``logits``, is float32 (N, classes).

    Raises
    ------
    RuntimeError
        If what is exported does not answer as the model does, up to rounding; nothing is written then.
    """
    import onnxruntime

    if len(examples) < 2:
        raise ValueError(f"{len(examples)} example(s): give two or more, so that more than one batch size is tried.")
    model, file, texts = model.cpu().eval(), Path(file), isinstance(model.backbone, TextBackbone)
    inputs, whole = model.backbone.prepare(examples) if texts else examples, _FromInputs(model).eval()
    axes = {0: "N", 2: "T"} if texts else {0: "N"}
    beside, logger = file.with_suffix(".tmp"), logging.getLogger("torch.onnx")
    level = logger.level
    file.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of deprecation, and that the tracer saw Python values
        logger.setLevel(logging.ERROR)
        try:
            torch.onnx.export(
                whole, (inputs[:2],), str(beside), dynamo=False, opset_version=18,
                input_names=["x"], output_names=["logits"], dynamic_axes={"x": axes, "logits": {0: "N"}},
            )  # fmt: skip
            session = onnxruntime.InferenceSession(str(beside), providers=["CPUExecutionProvider"])
            for part in (inputs, inputs[:1]):
                want = whole(part).numpy()
                got = session.run(None, {"x": part.numpy()})[0]
                room = 1e-3 * float(np.abs(want).max())
                clear = np.diff(np.sort(want)[:, -2:])[:, 0] > 2 * room
                same = (got.argmax(1) == want.argmax(1)) | ~clear
                if not np.allclose(got, want, rtol=1e-3, atol=room) or not same.all():
                    raise RuntimeError("The exported model does not answer as the model does, so nothing was written.")
            beside.replace(file)
        except torch.onnx.errors.OnnxExporterError as problem:
            raise RuntimeError(f"ONNX has no name for what this model does: {problem}") from None
        finally:
            logger.setLevel(level)
            store.forget(beside)
    return file


class _FromInputs(torch.nn.Module):
    """From what the exported file takes to logits (N, classes)."""

    def __init__(self, model: Classifier) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.model(x if x.dtype == torch.int64 else self.model.backbone.prepare(x))


def licence_warnings(licences: dict[str, str]) -> list[str]:
    """What the licences of ``weights`` and ``data`` forbid, or leave open, a sentence each."""
    found = []
    for what, licence in licences.items():
        plain = licence.replace("-", " ").replace("_", " ")
        says = [text for words, text in FORBIDS.items() if re.search(words, plain, re.IGNORECASE)]
        if not says and not re.search(KNOWN, plain, re.IGNORECASE):
            says = ["It is none of the widely known ones: read it before you use or share what is made from it."]
        found += [f"The licence of the {what} is {licence!r}. {text}" for text in says]
    return found


def _rebuilt(folder: Path, config: dict) -> Backbone:
    """The backbone's architecture, with weights that are still to be filled in."""
    facts, how = config["backbone"], config["preprocessing"]
    if "max_tokens" in how:
        own = folder / "tokenizer.json"
        preprocessing = Tokenisation(how["max_tokens"], own.read_text(encoding="utf-8") if own.exists() else "")
    else:
        preprocessing = Preprocessing(tuple(how["mean"]), tuple(how["std"]), how["size"])
    origin = facts["origin"]
    if origin is None:
        raise WeightsError(
            f"{folder} holds a network of one's own ({facts['name']}): make it and say load_model(folder, backbone=...)."
        )
    if "config" in origin:
        network = transformers.AutoModel.from_config(transformers.AutoConfig.for_model(**origin["config"]))
        return encoder_backbone(network, preprocessing, pooling=origin["pooling"])
    backbone = load_backbone(**origin, pretrained=False)
    backbone.preprocessing = preprocessing
    return backbone


def _write(file: Path, record: dict) -> None:
    file.write_text(json.dumps(record, indent=1, default=store.plain, ensure_ascii=False) + "\n", encoding="utf-8")


def _card(config: dict, task: Task | None, run: Run | None, scores: dict | None, name: str) -> str:
    """The model card: front matter for the hub, then what a user of the model should know."""
    backbone, licences = config["backbone"], config["licences"]
    same = len({licence.lower() for licence in licences.values()}) == 1 and not config["warnings"]
    text = config["modality"] == "text"
    given = '["a text", "another"]' if text else '["a.jpg", "b.png"]'
    lines = [
        f"---\nlicense: {licences['weights'].lower() if same else 'other'}\n"
        f"pipeline_tag: {'text' if text else 'image'}-classification\ntags: [transfer-learning]\n---",
        f"# {name}",
        f"Tells {len(config['classes'])} classes apart: {', '.join(config['classes'])}. "
        f"Backbone: {backbone['name']} ({backbone['source']}), {backbone['frozen_depth']} of {len(backbone['stages'])} "
        "stages frozen.",
        "## Use",
        f"```python\nfrom tl_helpers.saving import load_model\n\nload_model({name!r}).predict({given})\n```",
        "Push it to a hub with `hf upload OWNER/NAME FOLDER`, or `huggingface_hub.upload_folder`.",
        "## Licences",
        f"- Weights: {licences['weights']}\n- Data: {licences['data']}",
        *(f"**Mind:** {text}" for text in config["warnings"]),
    ]
    if task is not None:
        counts = task.describe()
        rows = [["split", *map(str, counts.columns)], ["---"] * (len(counts.columns) + 1)]
        rows += [list(map(str, row)) for row in counts.itertuples()]
        about = [task.source, f"Labels: {task.label_rule}.", task.note, task.citation]
        lines += ["## Data", f"{task.name}. {' '.join(filter(None, about))}"]
        lines += ["\n".join(f"| {' | '.join(row)} |" for row in rows)]
    if scores or (run and run.metrics):
        lines += ["## Scores", f"On the {'test' if scores else 'validation'} split:"]
        lines += ["\n".join(f"- {key}: {value:.4g}" for key, value in (scores or run.metrics).items())]
    if run is not None:
        lines += ["## Training", f"`run.json` holds the record, {len(run.history)} epoch(s), {run.seconds:.0f} s:"]
        lines += [f"```json\n{json.dumps(run.config, default=store.plain)}\n```"]
    return "\n\n".join(lines) + "\n"
