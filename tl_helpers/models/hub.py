"""Backbones of timm and torchvision, and networks of the reader's own; where their weights are fetched from.

Weights come as safetensors at a named revision, or as a file whose name holds the beginning of its checksum. What was
fetched once needs no network any more.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import huggingface_hub
import timm
import torch
import torchvision
from huggingface_hub.errors import HfHubHTTPError
from timm.models import group_parameters
from torch import nn

from tl_helpers import runtime
from tl_helpers.models.backbone import Backbone, Preprocessing
from tl_helpers.models.convolution import quicken
from tl_helpers.models.cut import cut
from tl_helpers.models.weights import WeightsError

IMAGENET = Preprocessing(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), size=224)
"""What most networks for photographs were trained with."""

TORCHVISION = re.compile(
    r"(layer\d+|features\.\d+|features\.(?:denseblock|transition)\d+|encoder\.layers\.encoder_layer_\d+"
    r"|trunk_output\.block\d+|blocks\.\d+|layers\.\d+|stage\d+)\."
)
"""Where stages lie in torchvision's classification models, by the names of their parameters."""


def timm_backbone(name: str, *, pretrained: bool, seed: int, channels: int, size: int | None) -> Backbone:
    """A model of timm, by its name and perhaps ``@REVISION`` of its repository on the hub."""
    name, _, revision = name.partition("@")
    if name.split(".")[0] not in timm.list_models():
        raise ValueError(f"timm knows no model {name!r}; timm.list_models('*resnet*') lists names.")
    facts = timm.get_pretrained_cfg(name)
    source, overlay = "random weights", None
    if pretrained:
        if facts is None or not facts.hf_hub_id:
            raise ValueError(f"timm:{name} has no weights on the hub: timm.list_pretrained() lists names that have.")
        folder = hub_folder(facts.hf_hub_id, revision, ["model.safetensors"], f"The pre-trained weights of timm:{name}")
        source, overlay = f"timm:{name}@{folder.name}", {"file": str(folder / "model.safetensors")}
    options = {"num_classes": 0, "in_chans": channels, "pretrained_cfg_overlay": overlay}
    if size is not None and facts is not None and facts.fixed_input_size:
        options["img_size"] = size
    with runtime.RandomNumbers(seed):
        network = quicken(timm.create_model(name, pretrained=pretrained, **options))
    preprocessing = _of_timm(network.pretrained_cfg, channels, size)
    backbone = network_backbone(network, name=f"timm:{name}", preprocessing=preprocessing)
    backbone.source, backbone.origin = source, {"name": f"timm:{name}", "channels": channels, "size": size}
    return backbone


def torchvision_backbone(name: str, *, pretrained: bool, seed: int) -> Backbone:
    """A classification model of torchvision without its last layer."""
    names = torchvision.models.list_models(module=torchvision.models)
    if name not in names:
        raise ValueError(f"torchvision knows no classification model {name!r}: it has {', '.join(names)}.")
    weights = torchvision.models.get_model_weights(name).DEFAULT
    with runtime.RandomNumbers(seed):
        network = torchvision.models.get_model(name, weights=None)
    if pretrained:
        network.load_state_dict(_torchvision_weights(weights.url, f"The weights of torchvision:{name}"))
    last = [path for path, module in network.named_modules() if getattr(module, "weight", None) is not None][-1]
    network.set_submodule(last, nn.Identity())
    preset = weights.transforms()
    backbone = network_backbone(
        quicken(network),
        name=f"torchvision:{name}",
        preprocessing=Preprocessing(tuple(preset.mean), tuple(preset.std), preset.crop_size[0]),
        licence=weights.meta.get("license", "BSD-3-Clause"),
    )
    backbone.source = f"torchvision:{name}, {weights}" if pretrained else "random weights"
    backbone.origin = {"name": f"torchvision:{name}"}
    return backbone


def network_backbone(
    network: nn.Module,
    *,
    stages: Sequence[str | Sequence[str]] | None = None,
    preprocessing: Preprocessing | None = None,
    name: str = "",
    licence: str = "",
) -> Backbone:
    """A network whose forward pass goes from prepared images to an embedding, cut into stages."""
    facts = getattr(network, "pretrained_cfg", None) or {}
    channels = next((m.in_channels for m in network.modules() if isinstance(m, nn.Conv2d)), None)
    if preprocessing is None:
        preprocessing = _of_timm(facts, channels) if facts else IMAGENET
    if channels not in (None, preprocessing.channels):
        raise ValueError(
            f"{name or type(network).__name__} takes images of {channels} channel(s), its preprocessing has "
            f"{preprocessing.channels}: give preprocessing=Preprocessing(mean, std, size) with {channels} value(s) each."
        )
    network = network.to(memory_format=torch.channels_last)
    device = next(network.parameters()).device
    example = torch.randn(
        (1, preprocessing.channels, preprocessing.size, preprocessing.size),
        generator=torch.Generator().manual_seed(0),
    ).to(device, memory_format=torch.channels_last)
    last = getattr(network, "output_fmt", None) == "NHWC" or isinstance(network, torchvision.models.SwinTransformer)
    parts, dim = cut(network, stages_of(network, stages), example, last=last)
    return Backbone(
        name=name or type(network).__name__,
        stages=parts,
        dim=dim,
        preprocessing=preprocessing,
        licence=licence or facts.get("license") or "not stated",
        source="a network of one's own",
    )


def stages_of(network: nn.Module, stages: Sequence[str | Sequence[str]] | None = None) -> dict[str, str]:
    """The stage of each parameter, stages in their order: as given, or as the network's library says."""
    parameters = [name for name, _ in network.named_parameters()]
    if stages is not None:
        places = {
            place: (each if isinstance(each, str) else each[0]).replace(".", "_")
            for each in stages
            for place in ([each] if isinstance(each, str) else each)
        }
        return _by_prefix(parameters, places, type(network).__name__)
    groups: dict[str, int | str] = {}
    if hasattr(network, "group_matcher"):  # timm's networks declare it
        groups = group_parameters(network, network.group_matcher(coarse=True), reverse=True)
    elif type(network).__module__.startswith("torchvision.models."):
        now = ""
        for name in parameters:
            found = TORCHVISION.match(name)
            now = groups[name] = found.group() if found else now
        order = list(dict.fromkeys(groups.values()))
        groups = {name: order.index(group) for name, group in groups.items()}
    if len(set(groups.values())) < 2:
        raise ValueError(
            f"{type(network).__name__} is no network of timm, torchvision or transformers that is known here: say which "
            "modules are its stages, from input to embedding, such as load_backbone(network, stages=['conv1', 'body'])."
        )
    ordered = sorted(groups, key=groups.__getitem__)
    return {name: f"stage{groups[name]}" if groups[name] else "stem" for name in ordered}


def _by_prefix(parameters: Sequence[str], places: Mapping[str, str], what: str) -> dict[str, str]:
    def of(parameter: str) -> str:
        held = [place for place in places if f"{parameter}.".startswith(f"{place}.")]
        if not held:
            raise ValueError(f"{what}: the parameter {parameter} is in none of the stages {', '.join(places)}.")
        return max(held, key=len)

    owners = {parameter: of(parameter) for parameter in parameters}
    if idle := set(places) - set(owners.values()):
        raise ValueError(f"{what}: {', '.join(sorted(idle))} holds no parameters, so it is no stage; name what does.")
    return {parameter: places[place] for place in places for parameter in parameters if owners[parameter] == place}


def _of_timm(facts: Mapping, channels: int, size: int | None = None) -> Preprocessing:
    mean, std = tuple(facts["mean"]), tuple(facts["std"])
    if channels != len(mean):  # timm adapts the weights; the values are those of a grey image
        mean, std = (sum(mean) / len(mean),) * channels, (sum(std) / len(std),) * channels
    return Preprocessing(mean, std, size or facts["input_size"][-1])


def hub_folder(repository: str, revision: str, patterns: Sequence[str], what: str) -> Path:
    """A folder with files of a repository on the Hugging Face hub, named by its commit: from the disk, or fetched.

    A RuntimeError where they are not on the disk and the book runs offline, or the network fails.
    """
    wanted = {"repo_id": repository, "revision": revision or None, "allow_patterns": list(patterns)}
    try:
        folder = Path(huggingface_hub.snapshot_download(**wanted, local_files_only=True))
        if all(any(folder.glob(pattern)) for pattern in patterns[:1]):
            return folder
    except (OSError, ValueError, HfHubHTTPError):
        pass
    runtime.require_online(what)
    try:
        folder = Path(huggingface_hub.snapshot_download(**wanted))
    except Exception as problem:  # httpx, urllib and the hub each have their own
        raise RuntimeError(
            f"{what} could not be fetched from {repository} ({type(problem).__name__}: {problem}). Check the name, the "
            "revision and the network; or fetch the files elsewhere into the Hugging Face cache (HF_HOME)."
        ) from None
    if not any(folder.glob(patterns[0])):
        raise WeightsError(f"{what}: {repository} holds no {patterns[0]}, and only that is read: try another revision.")
    return folder


def _torchvision_weights(url: str, what: str) -> dict[str, torch.Tensor]:
    """A state dict of torchvision's, kept where `torch.hub` keeps it, whose name holds the beginning of its SHA-256."""
    file = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    beginning = re.search(r"-([0-9a-f]{8,})\.", file.name).group(1)
    if not file.exists():
        runtime.require_online(what)
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(url, str(file), hash_prefix=beginning, progress=False)
        except (OSError, RuntimeError) as problem:
            raise RuntimeError(f"{what} could not be fetched from {url} ({problem}). Check the network.") from None
    raw = file.read_bytes()
    if not hashlib.sha256(raw).hexdigest().startswith(beginning):
        raise WeightsError(
            f"Weight file {file} is damaged: its SHA-256 is not {beginning}.... Delete it and try again."
        )
    return torch.load(io.BytesIO(raw), map_location="cpu", weights_only=True)
