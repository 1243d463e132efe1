"""tl_helpers.models: packaged weights are what they say, stages add up to the network."""

import numpy as np
import pytest
import timm
import torch

from tl_helpers.book.studies import with_adapter
from tl_helpers.models import Classifier, WeightsError, load_backbone, load_imagenet_classifier, zoo
from tl_helpers.models.backbone import pool_maps

from .small import small_model


@pytest.fixture(scope="module")
def lite0():
    return load_backbone("efficientnet_lite0")


def test_stages_compute_what_timm_computes(lite0):
    network = timm.create_model("tf_efficientnet_lite0", num_classes=0).eval().to(memory_format=torch.channels_last)
    weights = zoo.read_weights(zoo.lite0_weight_file(), zoo.LITE0_SHA256)
    names = [name for name in zoo._lite0_network(False, 0).state_dict()]
    state = dict(zip(names, weights.values(), strict=True))
    network.load_state_dict({name: state[name] for name in network.state_dict()})
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    x = x.to(memory_format=torch.channels_last)
    with torch.inference_mode():
        ours = lite0.eval()(x)
        torch.testing.assert_close(ours, network(x), rtol=1e-5, atol=1e-6)
        assert ours.shape == (2, lite0.dim) == (2, 1280)
        maps = lite0.stage_outputs(x)
        torch.testing.assert_close(pool_maps(maps["head_conv"]), ours)
    assert tuple(maps) == lite0.stage_names
    assert lite0.depth == 9


def test_the_source_head_knows_imagenet():
    """Weights in the wrong order would load (shapes repeat) and answer nonsense: ask for something it must know."""
    network = load_imagenet_classifier()
    stripes = torch.zeros(1, 3, 224, 224)
    with torch.inference_mode():
        logits = network((stripes - 0.5) / 0.5)
    assert logits.shape == (1, 1000)
    assert logits.softmax(1).max() > 0.01
    assert not network.training


def test_random_weights_follow_the_seed(lite0):
    same = [load_backbone("efficientnet_lite0", pretrained=False, seed=s).state_dict() for s in (1, 1, 2)]
    name = "stages.stage3.0.conv_pw.weight"
    assert torch.equal(same[0][name], same[1][name])
    assert not torch.equal(same[0][name], same[2][name])
    assert set(same[0]) == set(lite0.state_dict())


def test_loading_leaves_the_global_random_state_alone():
    torch.manual_seed(5)
    want = torch.rand(1)
    torch.manual_seed(5)
    load_backbone("digit_cnn", pretrained=False)
    Classifier(load_backbone("digit_cnn", pretrained=False), 3)
    assert torch.equal(torch.rand(1), want)


@pytest.mark.parametrize("where", [0, 1000, -1])
def test_one_flipped_byte_in_the_weights_is_refused(tmp_path, monkeypatch, where):
    raw = bytearray(zoo.lite0_weight_file().read_bytes())
    raw[where] ^= 1
    damaged = tmp_path / "weights.pth"
    damaged.write_bytes(raw)
    monkeypatch.setattr(zoo, "lite0_weight_file", lambda: damaged)
    with pytest.raises(WeightsError, match=r"SHA-256 .* Install its package again"):
        load_backbone("efficientnet_lite0")


def test_missing_weights_are_explained(tmp_path):
    with pytest.raises(WeightsError, match="Install its package again"):
        zoo.read_weights(tmp_path / "absent.pth", zoo.LITE0_SHA256)


def test_nothing_but_tensors_is_unpickled(tmp_path):
    import hashlib
    import pickle

    class Evil:
        def __reduce__(self):
            return (pytest.fail, ("code from a weight file ran",))

    path = tmp_path / "evil.pth"
    torch.save({"x": Evil()}, path, pickle_module=pickle)
    with pytest.raises(WeightsError, match="no plain state dict"):
        zoo.read_weights(path, hashlib.sha256(path.read_bytes()).hexdigest())


def test_prepare_repeats_grey_and_normalises(lite0):
    pixels = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 1, 8, 8)
    x = lite0.prepare(pixels)
    assert x.shape == (2, 3, 8, 8)
    assert x.dtype == torch.float32
    np.testing.assert_allclose(x[:, :, 0, 0].numpy(), [[-1] * 3, [1] * 3])


@pytest.mark.parametrize(
    ("pixels", "says"),
    [
        (torch.zeros(1, 1, 8, 8), "uint8"),
        (torch.zeros(1, 2, 8, 8, dtype=torch.uint8), "1 or 3"),
        (torch.zeros(8, 8, dtype=torch.uint8), "1 or 3"),
    ],
)
def test_prepare_refuses(lite0, pixels, says):
    with pytest.raises(ValueError, match=says):
        lite0.prepare(pixels)


def test_split_is_the_whole(lite0):
    x = torch.randn(1, 3, 32, 32)
    lite0.eval()
    with torch.inference_mode():
        for depth in (0, 4, 9):
            below, above = lite0.split(depth)
            torch.testing.assert_close(pool_maps(above(below(x))), lite0(x))


@pytest.mark.parametrize("depth", [-1, 10, 1.5, True, "3"])
def test_freeze_depth_out_of_range_names_the_stages(lite0, depth):
    with pytest.raises(ValueError, match="stem, stage1"):
        lite0.check_depth(depth)


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("resnet", {}, "Unknown backbone"),
        ("digit_cnn", {}, "no pre-trained weights"),
        ("digit_lenet", {}, "no pre-trained weights"),
        ("timm/resnet18.a1_in1k", {}, None),
        ("timm/no_such_model", {"pretrained": False}, "knows no model"),
    ],
)
def test_backbones_that_cannot_be_had(name, options, says):
    if says is None:
        with pytest.raises(RuntimeError, match="TL_ONLINE=1"):
            load_backbone(name, **options)
    else:
        with pytest.raises(ValueError, match=says):
            load_backbone(name, **options)


@pytest.mark.parametrize("name", ["timm/resnet18", "timm/mobilenetv2_050"])
def test_hub_architectures_are_cut_like_the_packaged_ones(name):
    backbone = load_backbone(name, pretrained=False).eval()
    torch.manual_seed(0)
    network = timm.create_model(name.removeprefix("timm/"), num_classes=0).eval()
    network.load_state_dict(load_state(backbone, network))
    x = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(backbone(x), network(x), rtol=1e-4, atol=1e-5)


def load_state(backbone, network):
    """The backbone's tensors under the network's names: both list them in the same order."""
    ours = list(backbone.state_dict().values())
    names = [name for name in network.state_dict() if not name.startswith(("fc.", "classifier."))]
    return dict(zip(names, ours, strict=True))


@pytest.mark.parametrize(("how", "width"), [("avg", 4), ("max", 4), ("avg+max", 8), ("flat", 36)])
def test_pooling(how, width):
    maps = torch.arange(72.0).reshape(2, 4, 3, 3)
    assert pool_maps(maps, how).shape == (2, width)
    assert pool_maps(maps, "avg")[0, 0] == 4
    assert pool_maps(maps, "max")[0, 0] == 8


def test_unknown_pooling():
    with pytest.raises(ValueError, match="avg, max"):
        pool_maps(torch.zeros(1, 1, 2, 2), "median")


@pytest.mark.parametrize(("classes", "dropout"), [(1, 0.0), (2, 1.0), (2, -0.1)])
def test_heads_that_cannot_be(classes, dropout):
    with pytest.raises(ValueError, match=r"use 0|2 classes"):
        small_model(classes=classes, dropout=dropout)


def test_an_adapter_sits_on_the_pooled_features():
    base = load_backbone("digit_cnn", pretrained=False).eval()
    grown = with_adapter(base, 16, seed=3).eval()
    assert grown.stage_names == (*base.stage_names, "pool", "adapter")
    x = torch.rand(4, 1, 28, 28)
    assert grown(x).shape == (4, 16)
    assert torch.equal(grown.stage_outputs(x)["conv3"], base.stage_outputs(x)["conv3"])
    again = with_adapter(load_backbone("digit_cnn", pretrained=False), 16, seed=3).eval()
    assert torch.equal(grown(x), again(x))


def test_an_adapter_can_sit_on_a_stage_in_the_middle():
    base = load_backbone("digit_cnn", pretrained=False).eval()
    cut = with_adapter(base, 16, after="conv2").eval()
    assert cut.stage_names == ("conv1", "conv2", "pool", "adapter")
    x = torch.rand(4, 1, 28, 28)
    assert torch.equal(cut.stage_outputs(x)["conv2"], base.stage_outputs(x)["conv2"])
    assert cut(x).shape == (4, 16)
    with pytest.raises(ValueError, match="no stage 'conv9'"):
        with_adapter(base, after="conv9")


def test_digit_lenet_takes_other_sizes_too():
    backbone = load_backbone("digit_lenet", pretrained=False).eval()
    assert backbone(torch.rand(2, 1, 28, 28)).shape == backbone(torch.rand(2, 1, 32, 32)).shape == (2, 128)
