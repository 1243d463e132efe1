"""The command `tl`: from a folder of pictures, or a table of texts, to a model in a folder, its scores and its answers.

``tl fit pictures``, ``tl evaluate model pictures``, ``tl predict model new.png``. What is wrong with the data or a model is
said in a sentence, and the exit code is 1; a wrong use of the command ends with 2.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from tl_helpers.data import Task

Data = Annotated[
    str,
    typer.Argument(
        help="A folder with one sub-folder for each class, a CSV, Parquet, JSON or JSONL file, or a packaged task."
    ),
]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Leave out what cannot be used; it is named.")]
Label = Annotated[str | None, typer.Option(help="The column of labels, where a file's own names do not say.")]
Image = Annotated[str | None, typer.Option(help="The column of paths of images.")]
Text = Annotated[str | None, typer.Option(help="The column of texts.")]
Group = Annotated[str | None, typer.Option(help="A column whose values each stay in one split.")]

IN_PYTHON = {"skip_bad=True": "--skip-bad", "task.report": "the report"}
"""What messages call it, and what it is called here."""

app = typer.Typer(
    help="Transfer a pre-trained network to your own data: fit, evaluate, predict.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def main() -> None:
    """What the command `tl` runs."""
    warnings.showwarning = lambda message, *_: print(f"tl: {message}", file=sys.stderr)
    try:
        app()
    except (ValueError, RuntimeError, OSError) as problem:  # those of this package say what to do
        told = str(problem)
        for python, here in IN_PYTHON.items():
            told = told.replace(python, here)
        print(f"tl: {told}", file=sys.stderr)
        sys.exit(1)


@app.command()
def fit(
    data: Data,
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder to write the model to.")] = Path("model"),
    backbone: Annotated[
        str,
        typer.Option(
            help="Packaged, or timm:NAME, torchvision:NAME, hf:OWNER/NAME. By default one that fits the data."
        ),
    ] = "",
    depth: Annotated[
        int | None, typer.Option(help="How many stages are frozen. By default all: only a head is trained.")
    ] = None,
    size: Annotated[int, typer.Option(help="Height and width of the images, in pixels.")] = 96,
    epochs: Annotated[int, typer.Option(help="Times that training goes through the data.")] = 20,
    lr: Annotated[float, typer.Option(help="Learning rate of the head.")] = 1e-3,
    seed: Annotated[int, typer.Option(help="Of the split, the head and the order of the samples.")] = 0,
    onnx: Annotated[bool, typer.Option("--onnx", help="Write model.onnx, too.")] = False,
    skip_bad: SkipBad = False,
    label: Label = None,
    image: Image = None,
    text: Text = None,
    group: Group = None,
) -> None:
    """Train on DATA, choose the best epoch on its validation split, and save the model.

    What was found in the data is printed first. A run that was killed goes on where it was; one that is known is not
    computed again.
    """
    from tl_helpers import training
    from tl_helpers.models import Classifier, load_backbone
    from tl_helpers.saving import export_onnx, save_model

    task = _task(data, seed=seed, skip_bad=skip_bad, label=label, image=image, text=text, group=group)
    print(task.report, end="\n\n")
    pixels = None if task.modality == "text" else size
    body = load_backbone(backbone or ("efficientnet_lite0" if pixels else "minilm"))
    train, validation, test = (task.samples(split, pixels) for split in ("train", "validation", "test"))
    model = Classifier(body, len(task.classes), seed=seed)
    recipe = training.Recipe(epochs=epochs, lr=lr, freeze_depth=body.depth if depth is None else depth, keep="best")
    run = training.fit(model, train, validation, recipe, seed=seed, name="tl fit")
    scores = training.evaluate(model, test)
    save_model(model, out, train, task=task, run=run, scores=scores)
    if onnx:
        export_onnx(model, out / "model.onnx", train.inputs[:8])
    _print(scores)
    print(f"Saved in {out}: see {out / 'README.md'}.")


@app.command()
def evaluate(
    model: Annotated[Path, typer.Argument(help="A folder that tl fit or save_model has written.")],
    data: Data,
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "test",
    seed: Annotated[int, typer.Option(help="Of the split; the one that tl fit had.")] = 0,
    skip_bad: SkipBad = False,
    label: Label = None,
    image: Image = None,
    text: Text = None,
    group: Group = None,
) -> None:
    """Score MODEL on a split of DATA."""
    from tl_helpers import training
    from tl_helpers.saving import load_model

    saved = load_model(model)
    task = _task(data, seed=seed, skip_bad=skip_bad, label=label, image=image, text=text, group=group)
    if task.classes != saved.classes:
        raise ValueError(f"{model} knows the classes {', '.join(saved.classes)}; {data} has {', '.join(task.classes)}.")
    _print(training.evaluate(saved.model, task.samples(split, saved.config["size"])))


@app.command()
def predict(
    model: Annotated[Path, typer.Argument(help="A folder that tl fit or save_model has written.")],
    files: Annotated[list[str], typer.Argument(help="Images; for a model of texts, the texts themselves.")],
) -> None:
    """Print the class of each of FILES and its probability, as CSV."""
    from tl_helpers.saving import load_model

    load_model(model).predict(files).to_csv(sys.stdout, index=False, float_format="%.4f")


def _task(data: str, **how: object) -> Task:
    """The data as a task; its concerns are printed with its report, not as a warning in between."""
    from tl_helpers.data import DataWarning, load_task

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        return load_task(data, **how)


def _print(scores: dict[str, float]) -> None:
    print("\n".join(f"{name.replace('_', ' '):<20}{value:8.2f}" for name, value in scores.items()))
