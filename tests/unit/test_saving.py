"""A model to take home: loaded back bit for bit, exported with equal answers, with the licences of what it is made of."""

import dataclasses
import json
import re
from pathlib import Path

import datasets
import numpy as np
import pytest
import timm
import torch
from PIL import Image

from tl_helpers import cli
from tl_helpers.data import Samples, Task
from tl_helpers.data.text import encode_texts
from tl_helpers.freezing import freeze
from tl_helpers.models import Classifier, WeightsError, load_backbone
from tl_helpers.saving import LicenceWarning, export_onnx, licence_warnings, load_model, save_model
from tl_helpers.training import Recipe, evaluate, fit, predict

from .small import small_model, stripes
from .test_any_backbone import IMAGES, SENTENCES, TEXTS, Tokenisation, preprocessing_of, tokeniser

TEXT_SAMPLES = Samples(
    "t/train", encode_texts(SENTENCES * 2), torch.arange(6) % 2, ("bad", "good"), np.arange(6), modality="text"
)


pytestmark = pytest.mark.filterwarnings("ignore::tl_helpers.saving.LicenceWarning")


def random_backbone(kind):
    if kind in TEXTS:
        return load_backbone(TEXTS[kind](), preprocessing=Tokenisation(16, tokeniser().to_str()))
    if kind in IMAGES:
        network = IMAGES[kind]()
        return load_backbone(network, preprocessing=preprocessing_of(network))
    channels = {"channels": 4} if kind.endswith("_4") else {"size": 32} if "vit_" in kind else {}
    return load_backbone(kind.removesuffix("_4"), pretrained=False, **channels)


def samples_for(backbone):
    return TEXT_SAMPLES if "max_tokens" in vars(backbone.preprocessing) else stripes(6, size=32)


SAVED = [
    "digit_cnn",
    pytest.param("minilm", marks=pytest.mark.slow),
    "timm:lcnet_035",
    "timm:lcnet_035_4",
    "timm:vit_tiny_patch16_224",
    "torchvision:shufflenet_v2_x0_5",
]
SAVED += ["transformers ViT", "transformers Swin", "transformers ConvNeXt", "transformers ResNet", *TEXTS]


@pytest.mark.parametrize("kind", SAVED)
def test_a_saved_model_comes_back_bit_for_bit(kind, tmp_path):
    backbone = random_backbone(kind)
    samples = samples_for(backbone)
    model = freeze(Classifier(backbone, 2, dropout=0.2, seed=3), 1, batch_norm="frozen").eval()
    folder = save_model(model, tmp_path / "model", samples)
    again = load_model(folder)
    assert again.classes == samples.classes
    back, state = again.model, model.state_dict()
    assert list(state) == list(back.state_dict())
    assert all(torch.equal(tensor, back.state_dict()[name]) for name, tensor in state.items())
    assert back.backbone.preprocessing == backbone.preprocessing
    assert (back.backbone.frozen_depth, back.backbone.frozen_norm, back.head[0].p) == (1, True, 0.2)
    x = backbone.prepare(samples.inputs)
    with torch.inference_mode():
        assert torch.equal(back(x), model(x))
    assert (predict(back, samples) == predict(model, samples)).all()


def test_a_network_of_ones_own_is_loaded_into_a_new_one(tmp_path):
    make = lambda seed: load_backbone(timm.create_model("lcnet_035", num_classes=0))  # noqa: E731
    model = Classifier(make(0), 2).eval()
    folder = save_model(model, tmp_path / "model", stripes(6, size=32))
    with pytest.raises(WeightsError, match=r"load_model\(folder, backbone=...\)"):
        load_model(folder)
    back = load_model(folder, backbone=make(1)).model
    x = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        assert torch.equal(back(x), model(x))
    with pytest.raises(WeightsError, match="do not fit"):
        load_model(folder, backbone=load_backbone("digit_cnn", pretrained=False))


def pictures(folder, split, count=6):
    for label, name in enumerate(("cat", "dog")):
        for number in range(count):
            file = folder / split / name / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.random.default_rng(number).integers(0, 90, (20, 20)) + 160 * label
            Image.fromarray(pixels.astype(np.uint8)).save(file)
    return datasets.load_dataset("imagefolder", data_dir=str(folder / split), split="train")


@pytest.fixture
def task(tmp_path):
    """Twelve pictures, non-commercial."""
    parts = {split: pictures(tmp_path / "pictures", split) for split in ("train", "validation", "test")}
    for number, (split, part) in enumerate(parts.items()):
        rows = range(number * len(part), (number + 1) * len(part))
        parts[split] = part.add_column("row", list(rows)).add_column("group", list(map(str, rows)))
    table = datasets.concatenate_datasets(list(parts.values()))
    return Task(
        "pets", "image", ("cat", "dog"), "home", datasets.DatasetDict(parts), table,
        licence="CC BY-NC-SA 4.0", citation="Somebody (2020)",
    )  # fmt: skip


def test_from_a_folder_of_pictures_to_a_model_that_others_can_use(task, tmp_path):
    train, validation, test = (task.samples(split, 28) for split in ("train", "validation", "test"))
    model = small_model()
    run = fit(model, train, validation, Recipe(epochs=2, lr=1e-2))
    with pytest.warns(LicenceWarning, match="must not be used commercially"):
        folder = save_model(model, tmp_path / "pets", train, task=task, run=run, scores=evaluate(model, test))
    card = (folder / "README.md").read_text()
    for said in (
        "license: other",
        "cat, dog",
        "CC BY-NC-SA 4.0",
        "used commercially",
        "Somebody (2020)",
        "| train | 6 | 6 |",
        "accuracy",
    ):
        assert said in card
    assert json.loads((folder / "run.json").read_text())["key"] == run.key
    logits = predict(model, test)
    rows = [
        str(item["path"]) for item in task.splits["test"].cast_column("image", datasets.Image(decode=False))["image"]
    ]
    found = load_model(folder).predict(rows)
    assert list(found["class"]) == [task.classes[number] for number in logits.argmax(1)]
    for damaged in ("model.safetensors", "config.json"):
        raw = (folder / damaged).read_bytes()
        (folder / damaged).write_bytes(raw[:-8])
        with pytest.raises(WeightsError, match=r"damaged|no whole saved model"):
            load_model(folder)
        (folder / damaged).write_bytes(raw)
    with pytest.raises(WeightsError, match="no whole saved model"):
        load_model(tmp_path / "nowhere")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.doc").touch()
    with pytest.raises(FileExistsError, match="something else"):
        save_model(model, tmp_path / "other", train)
    with pytest.raises(ValueError, match="tells 2 classes apart"):
        save_model(model, tmp_path / "three", dataclasses.replace(train, classes=("a", "b", "c")))


@pytest.mark.parametrize("kind", ["digit_cnn", "MobileNetV3", "ConvNeXt", "ViT", "Swin", "DistilBERT", "BERT"])
def test_what_onnx_answers_is_what_the_model_answers(kind, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    backbone = random_backbone(kind)
    samples = samples_for(backbone)
    model = Classifier(backbone, 2).eval()
    file = export_onnx(model, tmp_path / "out" / "model.onnx", samples.inputs)
    inputs = samples.inputs[1:6]
    given = backbone.prepare(inputs) if samples.modality == "text" else inputs
    got = onnxruntime.InferenceSession(str(file)).run(None, {"x": given.numpy()})[0]
    with torch.inference_mode():
        np.testing.assert_allclose(got, model(backbone.prepare(inputs)).numpy(), rtol=1e-3, atol=1e-3)
    assert [path.name for path in file.parent.iterdir()] == ["model.onnx"]


def test_an_export_that_answers_otherwise_is_not_written(tmp_path, monkeypatch):
    onnxruntime = pytest.importorskip("onnxruntime")
    run = onnxruntime.InferenceSession.run
    monkeypatch.setattr(onnxruntime.InferenceSession, "run", lambda *args: [-run(*args)[0]])
    with pytest.raises(RuntimeError, match="nothing was written"):
        export_onnx(small_model().eval(), tmp_path / "model.onnx", stripes(4).inputs)
    assert not list(tmp_path.glob("model*"))
    with pytest.raises(ValueError, match="two or more"):
        export_onnx(small_model(), tmp_path / "model.onnx", stripes(1).inputs)


@pytest.mark.parametrize(
    ("licence", "says"),
    [
        ("MIT", []),
        ("Apache-2.0", []),
        ("CC BY 4.0", []),
        ("CC BY-NC 4.0", ["commercially"]),
        ("cc-by-nc-sa-4.0", ["commercially", "same licence"]),
        ("CC BY-ND 4.0", ["not be shared"]),
        ("research only", ["commercially"]),
        ("other", ["not known"]),
        ("fastvit-license", ["read it"]),
        ("not stated", ["not known"]),
        ("BBC: non-commercial use", ["commercially"]),
    ],
)
def test_what_licences_forbid(licence, says):
    found = licence_warnings({"data": licence})
    assert len(found) == len(says)
    assert all(any(words in text for text in found) for words in says)


def test_the_readme_goes_from_a_folder_of_pictures_to_a_prediction(tmp_path, monkeypatch, capsys):
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    code = next(block for block in re.findall(r"```python\n(.*?)```", readme, re.DOTALL) if "save_model" in block)
    pictures(tmp_path, "pictures", 10)
    Image.new("L", (20, 20), 200).save(tmp_path / "new.png")
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(compile(code, "README.md", "exec"), names)
    assert "new.png" in capsys.readouterr().out
    model = load_model("my_model").model
    assert torch.equal(model.head[1].weight, names["model"].head[1].weight)
    assert all(torch.isfinite(tensor).all() for tensor in model.state_dict().values() if tensor.is_floating_point())


def test_the_command_goes_the_same_way(tmp_path, monkeypatch, capsys):
    pictures(tmp_path, "pictures", 10)
    folder, model = str(tmp_path / "pictures"), str(tmp_path / "model")

    def tl(*arguments):
        monkeypatch.setattr("sys.argv", ["tl", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return ended.value.code, *capsys.readouterr()

    monkeypatch.setattr("tl_helpers.models.load_backbone", lambda name: random_backbone("digit_cnn"))
    code, out, _ = tl("fit", folder, "-o", model, "--backbone", "digit_cnn", "--size", "28", "--epochs", "2", "--onnx")
    assert code == 0
    assert "balanced accuracy" in out
    assert (tmp_path / "model" / "model.onnx").exists()
    code, again, _ = tl("evaluate", model, folder)
    assert code == 0
    assert out.startswith("pictures: 20 samples used, 0 files, rows or columns left out")
    assert out.splitlines()[-1 - len(again.splitlines()) : -1] == again.splitlines()
    code, out, _ = tl("predict", model, str(tmp_path / "pictures" / "dog" / "0.png"))
    assert code == 0
    assert out.splitlines()[0] == "input,class,probability"
    assert tl("predict", str(tmp_path / "nowhere"), "a.png")[0::2] == (
        1,
        f"tl: {tmp_path / 'nowhere'} holds no whole saved model ([Errno 2] No such file or directory: "
        f"'{tmp_path / 'nowhere' / 'config.json'}'). Save it again with save_model.\n",
    )
    code, _, says = tl("predict", model, str(tmp_path / "nothing.png"))
    assert code == 1
    assert "nothing.png" in says
    assert tl("fit")[0] == 2
    assert "Train on DATA" in tl("fit", "--help")[1]
    (tmp_path / "pictures" / "cat" / "broken.png").write_bytes(b"no")
    code, _, says = tl("evaluate", model, folder)
    assert code == 1
    assert "cat/broken.png" in says
    assert "with --skip-bad they are left out, and listed in the report" in says
    assert tl("evaluate", model, folder, "--skip-bad")[0] == 0
