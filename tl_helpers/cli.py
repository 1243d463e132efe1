"""The command `tl`: from a folder of pictures, or a table of texts, to a model in a folder, its scores and its answers.

``tl fit pictures``, ``tl evaluate model pictures``, ``tl predict model new.png``. What is wrong with the data or a model is
said in a sentence, and the exit code is 1; a wrong use of the command ends with 2.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="Transfer a pre-trained network to your own data: fit, evaluate, predict.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def main() -> None:
    """What the command `tl` runs."""
    try:
        app()
    except (ValueError, RuntimeError, OSError) as problem:  # those of this package say what to do
        print(f"tl: {problem}", file=sys.stderr)
        sys.exit(1)


@app.command()
def fit(
    data: Annotated[str, typer.Argument(help="A folder with one sub-folder for each class, or a packaged task.")],
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
) -> None:
    """Train on DATA, choose the best epoch on its validation split, and save the model.

    A run that was killed goes on where it was; one that is known is not computed again.
    """
    from tl_helpers import training
    from tl_helpers.data import load_task
    from tl_helpers.models import Classifier, load_backbone
    from tl_helpers.saving import export_onnx, save_model

    task = load_task(data, seed=seed)
    text = task.modality == "text"
    body = load_backbone(backbone or ("minilm" if text else "efficientnet_lite0"))
    train, validation, test = (task.samples(split, None if text else size) for split in ("train", "validation", "test"))
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
    data: Annotated[str, typer.Argument(help="A folder with one sub-folder for each class, or a packaged task.")],
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "test",
    seed: Annotated[int, typer.Option(help="Of the split; the one that tl fit had.")] = 0,
) -> None:
    """Score MODEL on a split of DATA."""
    from tl_helpers import training
    from tl_helpers.data import load_task
    from tl_helpers.saving import load_model

    saved, task = load_model(model), load_task(data, seed=seed)
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


def _print(scores: dict[str, float]) -> None:
    print("\n".join(f"{name.replace('_', ' '):<20}{value:8.2f}" for name, value in scores.items()))
