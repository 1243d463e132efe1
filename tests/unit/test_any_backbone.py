"""Backbones of any library: stages that add up to its own embedding, the freeze contract, the frozen prefix, clear refusals."""

import copy
import functools

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
TEXT = {"vocab_size": len(WORDS) + 4, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 64}
DISTIL = {"vocab_size": len(WORDS) + 4, "dim": 32, "n_layers": 3, "n_heads": 2, "hidden_dim": 64}
HF_VIT = {"image_size": 32, "patch_size": 8, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 64}
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
    "EfficientNet": lambda: of_timm("efficientnet_b0", channel_multiplier=0.25),
    "ConvNeXt": lambda: of_timm("convnext_atto", depths=(1, 1, 1, 1), dims=(8, 16, 24, 32)),
    "ViT": lambda: of_timm("vit_tiny_patch16_224", **TINY),
    "ViT, averaged": lambda: of_timm("vit_tiny_patch16_224", global_pool="avg", **TINY),
    "DeiT": lambda: of_timm("deit_tiny_distilled_patch16_224", **TINY),
    "Swin": lambda: of_timm("swin_tiny_patch4_window7_224", **SWIN),
    "torchvision ResNet": lambda: of_torchvision("resnet18"),
    "torchvision MobileNetV3": lambda: of_torchvision("mobilenet_v3_small"),
    "torchvision EfficientNet": lambda: of_torchvision("efficientnet_b0"),
    "torchvision ShuffleNet": lambda: of_torchvision("shufflenet_v2_x0_5"),
    "transformers ViT": lambda: of_transformers("vit", **HF_VIT),
    "transformers DINOv2": lambda: of_transformers("dinov2", **{**HF_VIT, "mlp_ratio": 2}),
    "transformers Swin": lambda: of_transformers("swin", **HF_SWIN),
    "transformers ConvNeXt": lambda: of_transformers("convnext", depths=[1, 1], hidden_sizes=[8, 16], num_stages=2),
    "transformers ResNet": lambda: of_transformers("resnet", depths=[1, 1], hidden_sizes=[8, 16], embedding_size=8, layer_type="basic"),
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
        return network, backbone.eval(), encode_texts(SENTENCES * 3)
    network = IMAGES[kind]()
    backbone = load_backbone(network, preprocessing=preprocessing_of(network))
    pixels = torch.randint(0, 256, (9, 1, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
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
    assert tuple(want.shape) == (9, backbone.dim)
    assert backbone.depth >= 3
    parameters = {id(p) for p in backbone.parameters()}
    assert sum(len(list(stage.parameters())) for stage in backbone.stages.values()) == len(parameters)  # none in two

    samples = Samples("x/train", inputs, torch.arange(9) % 2, ("a", "b"), torch.arange(9).numpy())
    assert all(len(found) == 9 for found in features.extract_stages(backbone, samples).values())
    for depth in (1, backbone.depth // 2 + 1, backbone.depth):  # frozen prefix = plain path
        line = Line(backbone, depth, samples, views=1)
        for _ in range(2):
            cached = line(torch.arange(9))
            ours = outputs[backbone.stage_names[depth - 1]]
            torch.testing.assert_close(cached, pool_maps(ours) if depth == backbone.depth else ours, rtol=1e-5, atol=1e-5)
        model = Classifier(backbone, 2).eval()
        with torch.no_grad():
            torch.testing.assert_close(model.above(cached, depth), model(x), rtol=1e-5, atol=1e-5)

    again = copy.deepcopy(backbone)  # save and load
    for parameter in again.parameters():
        parameter.data.zero_()
    again.load_state_dict(backbone.state_dict())
    with torch.no_grad():
        assert torch.equal(again(x), backbone(x))

    for depth in sorted({0, 1, backbone.depth // 2, backbone.depth}):
        model = freeze(Classifier(copy.deepcopy(backbone), 2), depth)
        before = snapshot(model)
        optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
        model.train()
        below = list(model.backbone.stages.values())[:depth]
        assert not any(module.training for stage in below for module in stage.modules())
        (model(x) * torch.tensor([1.0, -2.0])).logsumexp(1).sum().backward()
        optimizer.step()
        assert_frozen(model, before)
