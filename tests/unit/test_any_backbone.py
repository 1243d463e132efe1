"""Backbones of any library: stages add up to its own embedding, freeze contract, frozen prefix, clear refusals."""

import copy

import pytest
import timm
import tokenizers
import torch
import torchvision
import transformers
from torch import nn

from tl_helpers import features, frozen
from tl_helpers.activations import Line
from tl_helpers.data import Samples
from tl_helpers.data.text import encode_texts
from tl_helpers.freezing import assert_frozen, freeze, snapshot
from tl_helpers.frozen import Prefix
from tl_helpers.models import Backbone, Classifier, Preprocessing, Tokenisation, WeightsError, load_backbone
from tl_helpers.models.backbone import pool_maps, provenance
from tl_helpers.training import Recipe, fit, predict

from .small import stripes

SENTENCES = ["a fine film", "no", "it was long and it was loud but i would not have missed it"]
WORDS = sorted({word for sentence in SENTENCES for word in sentence.split()})


def tokeniser() -> tokenizers.Tokenizer:
    """One word, one token."""
    vocabulary = {word: number for number, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS])}
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="[UNK]"))
    made.post_processor = tokenizers.processors.TemplateProcessing(
        "[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    return made


def of_timm(name, **options):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return timm.create_model(name, pretrained=False, num_classes=0, **options).eval()


def of_torchvision(name, **options):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = torchvision.models.get_model(name, weights=None, **options).eval()
    last = [path for path, module in network.named_modules() if isinstance(module, nn.Linear)][-1]
    network.set_submodule(last, nn.Identity())
    return network


def of_transformers(kind, **options):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return transformers.AutoModel.from_config(transformers.AutoConfig.for_model(kind, **options)).eval()


TINY = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 3, "num_heads": 2}
SWIN = {"img_size": 32, "patch_size": 2, "embed_dim": 16, "depths": (1, 2), "num_heads": (1, 2), "window_size": 4}
TEXT = {
    "vocab_size": len(WORDS) + 4,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 64,
}
DISTIL = {"vocab_size": len(WORDS) + 4, "dim": 32, "n_layers": 3, "n_heads": 2, "hidden_dim": 64}
HF_VIT = {
    "image_size": 32,
    "patch_size": 8,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 64,
}
HF_SWIN = {"image_size": 32, "patch_size": 2, "embed_dim": 16, "depths": [1, 2], "num_heads": [1, 2], "window_size": 4}

IMAGES = {
    "ResNet": lambda: of_timm("resnet10t"),
    "ResNet, group norm": lambda: of_timm("resnet18", norm_layer=lambda width, **_: nn.GroupNorm(8, width)),
    "ResNet, no norm": lambda: of_timm("resnet18", norm_layer=lambda width, **_: nn.Identity()),
    "ResNet, 1 channel": lambda: of_timm("resnet10t", in_chans=1),
    "ResNet, 4 channels": lambda: of_timm("resnet10t", in_chans=4),
    "MobileNetV3": lambda: of_timm("mobilenetv3_small_050"),
    "MobileNetV4": lambda: of_timm("mobilenetv4_conv_small_050"),
    "LCNet": lambda: of_timm("lcnet_035"),
    "GhostNet": lambda: of_timm("ghostnet_050"),
    "EfficientNet": lambda: of_timm("tinynet_e"),
    "ConvNeXt": lambda: of_timm("convnext_atto", depths=(1, 1, 1, 1), dims=(8, 16, 24, 32)),
    "ViT": lambda: of_timm("vit_tiny_patch16_224", **TINY),
    "ViT, averaged": lambda: of_timm("vit_tiny_patch16_224", global_pool="avg", **TINY),
    "EVA-02, rotary places": lambda: of_timm("eva02_tiny_patch14_224", **TINY),
    "DeiT": lambda: of_timm("deit_tiny_distilled_patch16_224", **TINY),
    "Swin": lambda: of_timm("swin_tiny_patch4_window7_224", **SWIN),
    "torchvision ResNet": lambda: of_torchvision("resnet18"),
    "torchvision MobileNetV3": lambda: of_torchvision("mobilenet_v3_small"),
    "torchvision ShuffleNet": lambda: of_torchvision("shufflenet_v2_x0_5"),
    "transformers ViT": lambda: of_transformers("vit", **HF_VIT),
    "transformers DINOv2": lambda: of_transformers("dinov2", **{**HF_VIT, "mlp_ratio": 2}),
    "transformers Swin": lambda: of_transformers("swin", **HF_SWIN),
    "transformers ConvNeXt": lambda: of_transformers("convnext", depths=[1, 1], hidden_sizes=[8, 16], num_stages=2),
    "transformers ResNet": lambda: of_transformers(
        "resnet", depths=[1, 1], hidden_sizes=[8, 16], embedding_size=8, layer_type="basic"
    ),
}
TEXTS = {
    "BERT": lambda: of_transformers("bert", **TEXT),
    "MiniLM": lambda: of_transformers("bert", **{**TEXT, "hidden_size": 24, "num_attention_heads": 12}),
    "DistilBERT": lambda: of_transformers("distilbert", **DISTIL),
    "RoBERTa": lambda: of_transformers("roberta", **{**TEXT, "pad_token_id": 1}),
}
EVERY = [*IMAGES, *TEXTS]


def made(kind: str) -> tuple[nn.Module, Backbone, torch.Tensor]:
    """The library's network, the backbone that shares its weights, and what goes in."""
    if kind in TEXTS:
        network = TEXTS[kind]()
        backbone = load_backbone(network, preprocessing=Tokenisation(16, tokeniser().to_str()))
        return network, backbone.eval(), encode_texts(SENTENCES * 2)
    network = IMAGES[kind]()
    backbone = load_backbone(network, preprocessing=preprocessing_of(network))
    pixels = torch.randint(0, 256, (6, 1, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return network, backbone.eval(), pixels


def preprocessing_of(network: nn.Module) -> Preprocessing:
    channels = next(m.in_channels for m in network.modules() if isinstance(m, nn.Conv2d))
    return Preprocessing((0.5,) * channels, (0.25,) * channels, 32)


def own_embedding(network: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """What the library itself computes."""
    if not isinstance(network, transformers.PreTrainedModel):
        return network(x)
    if x.dtype == torch.int64:
        said, mask = network(input_ids=x[:, 0], attention_mask=x[:, 1]).last_hidden_state, x[:, 1, :, None].float()
        return (said * mask).sum(1) / mask.sum(1)
    said = network(pixel_values=x)
    return said.last_hidden_state[:, 0] if network.config.model_type == "vit" else said.pooler_output.flatten(1)


@pytest.mark.parametrize("kind", EVERY)
def test_a_backbone_of_any_library_keeps_all_contracts(kind):
    network, backbone, inputs = made(kind)
    x = backbone.prepare(inputs)
    with torch.no_grad():
        want, outputs = own_embedding(network.eval(), x), backbone.stage_outputs(x)
        torch.testing.assert_close(backbone(x), want, rtol=1e-6, atol=1e-6)
    assert tuple(want.shape) == (len(inputs), backbone.dim)
    assert backbone.depth >= 3
    parameters = {id(p) for p in backbone.parameters()}
    assert sum(len(list(stage.parameters())) for stage in backbone.stages.values()) == len(parameters)  # none in two

    samples = Samples("x/train", inputs, torch.arange(6) % 2, ("a", "b"), torch.arange(6).numpy())
    assert all(len(found) == 6 for found in features.extract_stages(backbone, samples).values())
    for depth in (backbone.depth // 2, backbone.depth):  # frozen prefix = plain path
        line = Line(backbone, depth, samples, views=1)
        for _ in range(2):
            cached = line(torch.arange(6))
            ours = outputs[backbone.stage_names[depth - 1]]
            torch.testing.assert_close(
                cached, pool_maps(ours) if depth == backbone.depth else ours, rtol=1e-5, atol=1e-5
            )
        model = Classifier(backbone, 2).eval()
        with torch.no_grad():
            torch.testing.assert_close(model.above(cached, depth), model(x), rtol=1e-5, atol=1e-5)

    again = copy.deepcopy(backbone)  # save and load
    for parameter in again.parameters():
        parameter.data.zero_()
    again.load_state_dict(backbone.state_dict())
    with torch.no_grad():
        assert torch.equal(again(x), backbone(x))

    for depth in (0, backbone.depth // 2, backbone.depth):
        model = freeze(Classifier(copy.deepcopy(backbone), 2), depth)
        before = snapshot(model)
        optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
        model.train()
        below = list(model.backbone.stages.values())[:depth]
        assert not any(module.training for stage in below for module in stage.modules())
        (model(x) * torch.tensor([1.0, -2.0])).logsumexp(1).sum().backward()
        optimizer.step()
        assert_frozen(model, before)


@pytest.mark.parametrize("kind", ["MobileNetV3", "ConvNeXt", "ViT", "Swin", "DistilBERT"])
def test_as_loaded_stages_run_in_onnx_runtime_with_the_same_result(kind):
    pytest.importorskip("onnxruntime")
    _, backbone, inputs = made(kind)
    with torch.no_grad():
        want = backbone.stage_outputs(backbone.prepare(inputs))
    for stage in backbone.stages.values():
        stage.as_loaded = provenance(stage)
    prefix = Prefix(backbone, backbone.depth)
    assert set(prefix.engines) == {frozen.engine()} != {"torch"}
    stops = list(range(1, backbone.depth + 1))
    for stop, maps in prefix(inputs, 0, stops).items():
        ours = want[backbone.stage_names[stop - 1]]
        torch.testing.assert_close(maps, ours, rtol=1e-4, atol=1e-4 * float(ours.abs().max()))


def test_training_goes_on_a_vision_transformer_as_on_any_backbone():
    model = Classifier(load_backbone(IMAGES["ViT"](), preprocessing=Preprocessing((0.5,) * 3, (0.25,) * 3, 32)), 2)
    before = snapshot(freeze(model, 2))
    train, validation = stripes(48, size=32), stripes(24, size=32, seed=1, name="stripes/validation")
    run = fit(model, train, validation, Recipe(epochs=2, lr=1e-2, freeze_depth=2, augment="flips"))
    assert_frozen(model, before)
    again = Classifier(load_backbone(IMAGES["ViT"](), preprocessing=Preprocessing((0.5,) * 3, (0.25,) * 3, 32)), 2)
    assert fit(again, train, validation, Recipe(epochs=2, lr=1e-2, freeze_depth=2, augment="flips")).key == run.key
    assert (predict(again, validation) == predict(model, validation)).all()


def test_a_vision_transformer_takes_the_size_it_is_asked_for_and_no_other():
    backbone = load_backbone("timm:vit_tiny_patch16_224", pretrained=False, size=48).eval()
    assert backbone.preprocessing.size == 48
    with torch.no_grad():
        assert backbone(torch.zeros(1, 3, 48, 48)).shape == (1, 192)
        with pytest.raises(ValueError, match=r"doesn't match model .* load_backbone\(name, size=...\)"):
            backbone(torch.zeros(1, 3, 64, 64))


class Own(nn.Module):
    """A network of the reader's: a parameter beside its modules, a part that is a function, a side way within a stage."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))
        self.first, self.second = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.third = nn.Conv2d(4, 6, 3)

    def forward(self, x):
        x = nn.functional.relu(self.first(x * self.scale))
        x = x + self.second(x)
        return self.third(x).flatten(2).amax(2)


GREY = Preprocessing((0.5,), (0.5,), 16)
STAGES = [("first", "scale"), "second", "third"]


def test_a_network_of_ones_own_is_cut_at_its_list_of_stages():
    network = Own()
    backbone = load_backbone(network, stages=[("first", "scale"), "second", "third"], preprocessing=GREY).eval()
    assert backbone.stage_names == ("first", "second", "third")
    found = sorted(name for name, _ in backbone.stages["first"].named_parameters())
    assert found == ["parts.first.bias", "parts.first.weight", "scale"]
    x = torch.randn(3, 1, 16, 16)
    with torch.no_grad():
        assert torch.equal(backbone(x), network(x))


class Tangled(Own):
    def forward(self, x):
        one = self.first(x * self.scale)
        return self.third(self.second(one)) + one[..., 1:-1, 1:-1].mean(1, keepdim=True)


class Branching(Own):
    def forward(self, x):
        return self.third(self.second(self.first(x * self.scale))) if x.sum() > 0 else self.third(self.first(x))


class Twice(Own):
    def forward(self, x):
        x = self.second(self.first(x * self.scale))
        return self.third(x) + self.second(x)[..., 1:-1, 1:-1].mean(1, keepdim=True)


class Dropping(Own):
    def forward(self, x):
        x = nn.functional.dropout(self.first(x * self.scale), 0.5, training=self.training)
        return self.third(self.second(x))


def test_a_dropout_that_is_a_function_follows_the_stages_mode():
    backbone = load_backbone(Dropping(), stages=STAGES, preprocessing=GREY)
    x = torch.randn(3, 1, 16, 16)
    assert not torch.equal(backbone.train()(x), backbone(x))
    assert torch.equal(backbone.eval()(x), backbone(x))


class Two(Own):
    def forward(self, x):
        return self.first(x * self.scale), self.third(self.second(self.first(x)))


@pytest.mark.parametrize(
    ("network", "options", "says"),
    [
        (Own, {}, r"say which modules are its stages"),
        (Own, {"stages": ["first", "second"], "preprocessing": GREY}, "scale is in none of the stages first, second"),
        (Own, {"stages": [*STAGES, "fourth"], "preprocessing": GREY}, "fourth holds no parameters"),
        (Own, {"stages": STAGES}, r"takes images of 1 channel\(s\), its preprocessing has 3"),
        (
            Tangled,
            {"stages": STAGES, "preprocessing": GREY},
            r"from second to third is not one tensor but 2 .*; make them one stage",
        ),
        (
            Twice,
            {"stages": STAGES, "preprocessing": GREY},
            "second is used again in or after third; make them one stage",
        ),
        (Branching, {"stages": STAGES, "preprocessing": GREY}, r"cannot be followed .* Backbone\("),
        (Two, {"stages": STAGES, "preprocessing": GREY}, "more than one tensor|make them one stage"),
    ],
)
def test_networks_that_are_no_chain_of_stages(network, options, says):
    if "stages" not in options:
        options = options | {"preprocessing": GREY}
    elif options.get("preprocessing") is None:
        options = {"stages": STAGES}
    with pytest.raises(ValueError, match=says):
        load_backbone(network(), **options)


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("keras:resnet50", {}, "Unknown backbone 'keras:resnet50': use efficientnet_lite0, .* or timm:NAME"),
        ("timm:", {}, "Unknown backbone"),
        ("timm:resnet_5", {}, r"timm knows no model 'resnet_5'; timm.list_models"),
        ("timm:resnet18", {"pretrained": False, "stages": ["conv1"]}, "its stages and its preprocessing are known"),
        ("torchvision:resnet_5", {}, "torchvision knows no classification model 'resnet_5': it has alexnet"),
        ("torchvision:resnet18", {"channels": 4}, "only models of timm"),
        ("hf:nowhere", {}, "neither a folder nor OWNER/NAME"),
        ("hf:timm/resnet18.a1_in1k", {}, r"load_backbone\('timm:resnet18.a1_in1k'\)"),
        ("minilm", {"size": 32}, "only models of timm"),
        ("timm:xcit_nano_12_p16_224", {"pretrained": False}, "used again .* make them one stage"),
    ],
)
def test_names_that_nothing_answers_to(name, options, says):
    with pytest.raises(ValueError, match=says):
        load_backbone(name, **options)


@pytest.mark.parametrize("name", ["timm:resnet18.a1_in1k", "torchvision:resnet18", "hf:some/model@0123abc"])
@pytest.mark.parametrize("online", [False, True])
def test_offline_and_without_a_network_the_message_says_what_to_do(name, online, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    if online:
        monkeypatch.setenv("TL_ONLINE", "1")
        from tl_helpers import runtime

        runtime.current.cache_clear()
        monkeypatch.setattr("huggingface_hub.snapshot_download", _no_network)
        monkeypatch.setattr(torch.hub, "download_url_to_file", _no_network)
    with pytest.raises(RuntimeError, match=r"could not be fetched from .* network" if online else "TL_ONLINE=1"):
        load_backbone(name)


def _no_network(*args, **kwargs):
    raise OSError("Name or service not known")


def test_weights_of_timm_are_read_from_a_fetched_folder_and_its_commit_noted(tmp_path, monkeypatch):
    from safetensors.torch import save_file

    network = timm.create_model("lcnet_035", pretrained=False)
    folder = tmp_path / "0123abc"
    folder.mkdir()
    save_file(network.state_dict(), folder / "model.safetensors")
    asked = {}
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda **wanted: asked.update(wanted) or str(folder))
    monkeypatch.setattr(
        timm,
        "get_pretrained_cfg",
        lambda name: timm.models.PretrainedCfg(hf_hub_id=f"timm/{name}", license="apache-2.0"),
    )
    backbone = load_backbone("timm:lcnet_035@0123abc").eval()
    assert asked["revision"] == "0123abc"
    assert backbone.source == "timm:lcnet_035@0123abc"
    network.reset_classifier(0)
    x = torch.randn(1, 3, 64, 64).contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        torch.testing.assert_close(backbone(x), network.eval()(x), rtol=1e-5, atol=1e-6)
    (folder / "model.safetensors").unlink()
    with pytest.raises(RuntimeError, match="TL_ONLINE=1"):
        load_backbone("timm:lcnet_035@0123abc")


def test_weights_of_torchvision_are_checked_and_only_tensors_unpickled(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    weights = torchvision.models.ResNet18_Weights.DEFAULT
    file = tmp_path / "checkpoints" / weights.url.rpartition("/")[2]
    file.parent.mkdir()
    file.write_bytes(b"no weights")
    with pytest.raises(WeightsError, match=r"damaged: its SHA-256 .* Delete it"):
        load_backbone("torchvision:resnet18")


@pytest.fixture
def saved_encoder(tmp_path):
    """A folder as `save_pretrained` leaves it."""
    network = TEXTS["DistilBERT"]()
    network.save_pretrained(tmp_path / "model")
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokeniser(), pad_token="[PAD]", model_max_length=16)
    fast.save_pretrained(tmp_path / "model")
    (tmp_path / "model" / "README.md").write_text("---\nlicense: mit\n---\n# A model\n")
    return network, tmp_path / "model"


def test_a_folder_of_transformers_is_a_backbone_with_its_tokeniser_and_licence(saved_encoder):
    network, folder = saved_encoder
    backbone = load_backbone(f"hf:{folder}").eval()
    assert (backbone.licence, backbone.preprocessing.max_tokens, backbone.dim) == ("mit", 16, 32)
    inputs = encode_texts(SENTENCES)
    x = backbone.prepare(inputs)
    with torch.no_grad():
        torch.testing.assert_close(backbone(x), own_embedding(network, x), rtol=1e-6, atol=1e-6)
    assert not torch.equal(load_backbone(f"hf:{folder}", pretrained=False, seed=1).eval()(x), backbone(x))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": true}')
    with torch.no_grad():
        first = network(input_ids=x[:, 0], attention_mask=x[:, 1]).last_hidden_state[:, 0]
        torch.testing.assert_close(load_backbone(f"hf:{folder}").eval()(x), first, rtol=1e-6, atol=1e-6)


def test_a_folder_that_cannot_be_a_backbone_says_why(saved_encoder):
    _, folder = saved_encoder
    weights = folder / "model.safetensors"
    weights.rename(folder / "pytorch_model.bin")
    with pytest.raises(WeightsError, match="safetensors"):
        load_backbone(f"hf:{folder}")
    (folder / "pytorch_model.bin").rename(weights)
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").unlink()
    with pytest.raises(WeightsError, match="no tokeniser"):
        load_backbone(f"hf:{folder}")
    (folder / "config.json").write_text(
        '{"model_type": "mine", "auto_map": {"AutoConfig": "code.Evil", "AutoModel": "code.Evil"}}'
    )
    (folder / "code.py").write_text("raise SystemExit('code of the repository ran')")
    with pytest.raises(ValueError, match="never run"):
        load_backbone(f"hf:{folder}")


def test_encoders_that_are_not_known_are_refused_with_the_remedy():
    network = of_transformers(
        "albert", vocab_size=20, hidden_size=16, num_attention_heads=2, intermediate_size=16, embedding_size=8
    )
    with pytest.raises(ValueError, match=r"albert\) cannot be cut .* Backbone\("):
        load_backbone(network)
    with pytest.raises(ValueError, match="needs a tokeniser"):
        load_backbone(TEXTS["BERT"]())


def test_a_text_of_which_the_tokeniser_makes_nothing_has_an_embedding():
    plain = tokenizers.Tokenizer(tokenizers.models.WordLevel({"[PAD]": 0, "a": 1}, unk_token="[PAD]"))
    plain.pre_tokenizer = tokenizers.pre_tokenizers.Split(tokenizers.Regex(".*"), behavior="removed")
    backbone = load_backbone(TEXTS["BERT"](), preprocessing=Tokenisation(8, plain.to_str())).eval()
    with torch.no_grad():
        assert torch.isfinite(backbone(backbone.prepare(encode_texts(["??"])))).all()
