"""Encoders of images and texts of the library transformers: from a folder or the Hugging Face hub, as backbones."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import torch
import transformers
from huggingface_hub import ModelCard
from torch import nn

from tl_helpers import runtime
from tl_helpers.models.backbone import Backbone, Preprocessing
from tl_helpers.models.cut import REMEDY
from tl_helpers.models.hub import IMAGENET, hub_folder
from tl_helpers.models.text import LAYERS, TextBackbone, Tokenisation, encoder_stages
from tl_helpers.models.weights import WeightsError

LONGEST = 512
"""Tokens, where an encoder says nothing of its own."""

LOCAL = {"trust_remote_code": False, "local_files_only": True}


def hf_backbone(name: str, *, pretrained: bool, seed: int) -> Backbone:
    """``OWNER/NAME``, perhaps with ``@REVISION``, or the path of a folder that ``save_pretrained`` has written."""
    repository, _, revision = name.partition("@")
    folder, what = Path(name), f"The model hf:{name}"
    if not folder.is_dir():
        if repository.count("/") != 1 or repository.startswith((".", "/")):
            raise ValueError(
                f"hf:{name} is neither a folder nor OWNER/NAME, perhaps with @REVISION, of a model on the hub."
            )
        if repository.startswith("timm/"):
            raise ValueError(f"hf:{name} is a model of timm: say load_backbone('timm:{name.removeprefix('timm/')}').")
        weights = ["*.safetensors"] if pretrained else []
        folder = hub_folder(repository, revision, [*weights, "*.json", "README.md", "1_Pooling/*.json", "*.txt"], what)
        name = f"{repository}@{folder.name}"
    try:
        config = transformers.AutoConfig.from_pretrained(folder, **LOCAL)
        if pretrained:
            options = {"config": config, "use_safetensors": True, "dtype": torch.float32, **LOCAL}
            network = transformers.AutoModel.from_pretrained(folder, **options)
        else:
            with runtime.RandomNumbers(seed):
                network = transformers.AutoModel.from_config(config, trust_remote_code=False)
    except OSError as problem:
        raise WeightsError(
            f"{what}: it lacks a configuration or safetensors weights ({problem}). Choose another revision."
        ) from None
    except ValueError as problem:
        raise ValueError(
            f"{what} is not one of transformers' own, and code that a repository brings along is never run ({problem})."
        ) from None
    backbone = encoder_backbone(network, preprocessing_of(folder, config), pooling=_pooling(folder))
    backbone.name, backbone.licence = f"hf:{repository if revision else name}", _licence(folder)
    backbone.source = f"hf:{name}" if pretrained else "random weights"
    return backbone


def encoder_backbone(
    network: transformers.PreTrainedModel, preprocessing: Preprocessing | Tokenisation | None, *, pooling: str = "mean"
) -> Backbone:
    """An encoder of transformers as a backbone; it is shared, not copied.

    Of a text encoder the embedding is the mean over the tokens (or the first token, with ``pooling="cls"``); of a vision
    transformer the normalised first token; of other networks for images the pooled output.
    """
    kind = network.config.model_type
    if kind not in LAYERS and kind not in VISION:
        raise ValueError(
            f"{type(network).__name__} ({kind}) cannot be cut into stages yet; {', '.join([*LAYERS, *VISION])} can. {REMEDY}"
        )
    facts = {"name": type(network).__name__, "licence": "not stated", "source": "a network of one's own"}
    if kind in LAYERS:
        if not isinstance(preprocessing, Tokenisation):
            raise ValueError(
                f"{type(network).__name__} needs a tokeniser: preprocessing=Tokenisation(max_tokens, tokeniser), with its "
                "JSON (tokenizer.backend_tokenizer.to_str()); or load both from a folder."
            )
        network.set_attn_implementation("sdpa")
        stages = encoder_stages(network, pooling)
        backbone = TextBackbone(stages=stages, dim=network.config.hidden_size, preprocessing=preprocessing, **facts)
    else:
        channels = network.config.num_channels
        if preprocessing is None and channels == 3:
            size = getattr(network.config, "image_size", IMAGENET.size)
            preprocessing = Preprocessing(IMAGENET.mean, IMAGENET.std, size if isinstance(size, int) else size[0])
        if not isinstance(preprocessing, Preprocessing) or preprocessing.channels != channels:
            raise ValueError(
                f"{type(network).__name__} takes images of {channels} channel(s): give preprocessing=Preprocessing(...)."
            )
        stages, dim = VISION[kind](network)
        backbone = Backbone(stages=stages, dim=dim, preprocessing=preprocessing, **facts)
        backbone.to(memory_format=torch.channels_last)
    backbone.origin = {"config": network.config.to_dict(), "pooling": pooling}
    return backbone


def preprocessing_of(folder: Path, config: transformers.PreTrainedConfig) -> Preprocessing | Tokenisation | None:
    """What lies beside the weights about images or texts; None if nothing does."""
    if config.model_type in LAYERS:
        if not any(folder.glob("tokenizer*.json")) and not any(folder.glob("vocab.*")):
            raise WeightsError(f"{folder} holds no tokeniser: save it there too (tokenizer.save_pretrained).")
        tokeniser = transformers.AutoTokenizer.from_pretrained(folder, **LOCAL)
        said = _json(folder / "sentence_bert_config.json").get("max_seq_length") or tokeniser.model_max_length
        return Tokenisation(min(_room(config), said, LONGEST), tokeniser.backend_tokenizer.to_str())
    said = _json(folder / "preprocessor_config.json")
    if not said:
        return None
    size = said.get("crop_size") or said.get("size") or IMAGENET.size
    size = size if isinstance(size, int) else size.get("height") or size.get("shortest_edge")
    mean, std = said.get("image_mean", IMAGENET.mean), said.get("image_std", IMAGENET.std)
    if said.get("do_normalize") is False:
        mean, std = [0.0] * len(mean), [1.0] * len(std)
    return Preprocessing(tuple(mean), tuple(std), size)


def _room(config: transformers.PreTrainedConfig) -> int:
    """Tokens that an encoder knows places for; RoBERTa's begin after the number of its padding token."""
    begins = config.pad_token_id + 1 if config.model_type.endswith(("roberta", "camembert")) else 0
    return getattr(config, "max_position_embeddings", LONGEST) - begins


def _json(file: Path) -> dict:
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}


def _pooling(folder: Path) -> str:
    """What sentence-transformers says of the pooling: ``mean``, or ``cls`` for the first token."""
    return "cls" if _json(folder / "1_Pooling" / "config.json").get("pooling_mode_cls_token") else "mean"


def _licence(folder: Path) -> str:
    card = folder / "README.md"
    return (ModelCard(card.read_text(encoding="utf-8")).data.license if card.exists() else None) or "not stated"


class _Tokens(nn.Module):
    """A layer of a vision transformer on tokens that go from stage to stage as maps with one column, (N, D, T, 1).

    With the network's last norm: the first token's vector, (N, D).
    """

    def __init__(self, layer: nn.Module, norm: nn.Module | None = None) -> None:
        super().__init__()
        self.layer, self.norm = layer, norm

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = self.layer(x.squeeze(3).transpose(1, 2))
        return tokens.transpose(1, 2).unsqueeze(3) if self.norm is None else self.norm(tokens)[:, 0]


class _Patches(nn.Module):
    """Images to tokens, (N, D, T, 1)."""

    def __init__(self, embeddings: nn.Module) -> None:
        super().__init__()
        self.embeddings = embeddings

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.embeddings(x).transpose(1, 2).unsqueeze(3)


class _Windows(nn.Module):
    """A stage of a Swin transformer, or its patches: maps to maps; with the last norm, to vectors (N, D)."""

    def __init__(self, layer: nn.Module, norm: nn.Module | None = None, *, patches: bool = False) -> None:
        super().__init__()
        self.layer, self.norm, self.patches = layer, norm, patches

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.patches:
            tokens, (height, width) = self.layer(x)
        else:
            height, width = x.shape[2:]
            tokens = self.layer(x.flatten(2).transpose(1, 2), (height, width))[0]
            if self.layer.downsample is not None:
                height, width = (height + 1) // 2, (width + 1) // 2
        if self.norm is not None:
            return self.norm(tokens).mean(dim=1)
        return tokens.transpose(1, 2).unflatten(2, (height, width))


class _Averaged(nn.Module):
    """A last stage whose average over space is normalised: (N, D)."""

    def __init__(self, layer: nn.Module, norm: nn.Module) -> None:
        super().__init__()
        self.layer, self.norm = layer, norm

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.layer(x).mean(dim=(2, 3)))


def _vit(network: nn.Module) -> tuple[dict[str, nn.Module], int]:
    layers = network.encoder.layer if "dinov2" in network.config.model_type else network.layers
    stages: dict[str, nn.Module] = {"stem": _Patches(network.embeddings)}
    stages |= {f"stage{number}": _Tokens(layer) for number, layer in enumerate(layers, start=1)}
    stages[f"stage{len(layers)}"] = _Tokens(layers[-1], network.layernorm)
    return stages, network.config.hidden_size


def _swin(network: nn.Module) -> tuple[dict[str, nn.Module], int]:
    stages: dict[str, nn.Module] = {"stem": _Windows(network.embeddings, patches=True)}
    layers = network.encoder.layers
    stages |= {f"stage{number}": _Windows(layer) for number, layer in enumerate(layers, start=1)}
    stages[f"stage{len(layers)}"] = _Windows(layers[-1], network.layernorm)
    return stages, network.num_features


def _convnext(network: nn.Module) -> tuple[dict[str, nn.Module], int]:
    stages = {"stem": network.embeddings}
    stages |= {f"stage{number}": stage for number, stage in enumerate(network.encoder.stages, start=1)}
    stages[f"stage{len(stages) - 1}"] = _Averaged(network.encoder.stages[-1], network.layernorm)
    return stages, network.config.hidden_sizes[-1]


def _resnet(network: nn.Module) -> tuple[dict[str, nn.Module], int]:
    stages = {"stem": network.embedder}
    stages |= {f"stage{number}": stage for number, stage in enumerate(network.encoder.stages, start=1)}
    return stages, network.config.hidden_sizes[-1]


VISION: dict[str, Callable[[nn.Module], tuple[dict[str, nn.Module], int]]] = {
    **dict.fromkeys(("vit", "deit", "dinov2"), _vit),
    "swin": _swin,
    **dict.fromkeys(("convnext", "convnextv2"), _convnext),
    "resnet": _resnet,
}
"""Networks for images of transformers that are known here, by the ``model_type`` of their configuration."""
