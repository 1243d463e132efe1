"""tl_helpers.features: right numbers, computed once, and computed anew when anything changes."""

import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch

from tl_helpers import features, runtime, store
from tl_helpers.features import extract, extract_stages
from tl_helpers.models import load_backbone

from .small import stripes

ROOT = Path(__file__).parents[2]


@pytest.fixture
def backbone():
    return load_backbone("digit_cnn", pretrained=False)


def test_features_are_the_backbones_own(backbone):
    samples = stripes(70)  # more than two batches, the last one short
    got = extract(backbone, samples)
    with torch.inference_mode():
        want = backbone.eval()(backbone.prepare(samples.inputs)).numpy()
    assert got.shape == (70, 128)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_stages_come_from_one_pass_and_equal_single_ones(backbone):
    samples = stripes(40)
    every = extract_stages(backbone, samples, pooling="max")
    assert {name: x.shape[1] for name, x in every.items()} == {"conv1": 32, "conv2": 64, "conv3": 128}
    single = extract_stages(backbone, samples, stages=["conv2"], pooling="max")
    np.testing.assert_array_equal(single["conv2"], every["conv2"])


def test_second_time_reads_the_cache(backbone):
    first = extract(backbone, stripes(20))
    before = store.TALLY["features", "computed"], store.TALLY["features", "reused"]
    again = extract(load_backbone("digit_cnn", pretrained=False), stripes(20, name="another name"))
    assert (store.TALLY["features", "computed"], store.TALLY["features", "reused"]) == (before[0], before[1] + 1)
    np.testing.assert_array_equal(first, again)


@pytest.mark.parametrize("change", ["weights", "buffer", "pixels", "pooling"])
def test_any_change_is_a_new_entry(backbone, change):
    samples, options = stripes(20), {}
    first = extract(backbone, samples)
    if change == "weights":
        with torch.no_grad():
            backbone.stages["conv1"][0].weight += 0.01
    elif change == "buffer":
        backbone.stages["conv1"][1].running_mean += 0.1
    elif change == "pixels":
        samples.inputs[0, 0, 0, 0] ^= 255
    else:
        options["pooling"] = "max"
    assert not np.array_equal(extract(backbone, samples, **options), first)


def test_model_is_left_as_it_was(backbone):
    backbone.train()
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    extract(backbone, stripes(20))
    assert backbone.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in backbone.state_dict().items())


def test_damaged_entry_is_recomputed(backbone, own_cache):
    first = extract(backbone, stripes(20))
    path = next((own_cache / "features").glob("*.safetensors"))
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 4
    path.write_bytes(raw)
    with pytest.warns(store.StoreWarning, match="damaged"):
        np.testing.assert_array_equal(extract(backbone, stripes(20)), first)


def test_bad_requests_are_explained(backbone):
    with pytest.raises(ValueError, match="conv1, conv2, conv3"):
        extract_stages(backbone, stripes(4), stages=["conv9"])
    with pytest.raises(ValueError, match="no samples"):
        extract(backbone, stripes(4).take([]))
    with pytest.raises(ValueError, match="Unknown pooling"):
        extract(backbone, stripes(4), pooling="median")


def test_bfloat16_features_stay_close(monkeypatch):
    monkeypatch.setenv("TL_PRECISION", "bfloat16")
    runtime.current.cache_clear()
    backbone, samples = load_backbone("efficientnet_lite0"), stripes(8, size=64)
    with runtime.exact():
        exact = extract(backbone, samples)
    fast = extract(backbone, samples)
    cosine = (exact * fast).sum(1) / np.linalg.norm(exact, axis=1) / np.linalg.norm(fast, axis=1)
    assert cosine.min() > 0.99
    assert not np.array_equal(exact, fast)  # really another entry


KILLED = """
    import os, signal
    from tests.unit.small import stripes
    from tl_helpers import features
    from tl_helpers.models import load_backbone
    prepare, calls = features.Backbone.prepare, []
    def prepare_and_die(self, pixels):
        calls.append(1)
        if len(calls) == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return prepare(self, pixels)
    backbone = load_backbone("digit_cnn", pretrained=False)
    backbone.prepare = prepare_and_die.__get__(backbone)
    features.extract(backbone, stripes(200))
"""


@pytest.mark.slow
def test_killed_in_the_middle_and_started_again(backbone, own_cache):
    root = Path(__file__).parents[2]
    killed = subprocess.run([sys.executable, "-c", textwrap.dedent(KILLED)], cwd=root, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not list((own_cache / "features").glob("*.safetensors"))  # nothing half done is taken for done
    restarted = extract(backbone, stripes(200))
    with torch.inference_mode():
        parts = stripes(200).inputs.split(features.BATCH)
        whole = torch.cat([backbone.eval()(backbone.prepare(part)) for part in parts])
    np.testing.assert_array_equal(restarted, whole.numpy())


@pytest.mark.skipif(sys.platform == "win32", reason="Windows tells no peak of memory this way")
def test_memory_holds_the_features_once_however_many_images(own_cache):
    """What comes on top of the images: the features themselves, and one batch."""
    code = """
        import resource, sys
        from tests.unit.small import stripes
        from tl_helpers.features import extract_stages
        from tl_helpers.models import load_backbone

        def peak():
            most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            return most / (2**20 if sys.platform == "darwin" else 2**10)

        backbone, many = load_backbone(), stripes(6_000)
        extract_stages(backbone, stripes(96), stages=["stem"], pooling="flat")
        before = peak()
        found = extract_stages(backbone, many, stages=["stem"], pooling="flat")["stem"]
        print(peak() - before, found.nbytes / 2**20)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True, cwd=ROOT
    )
    more, features_alone = map(float, done.stdout.split())
    assert features_alone > 100
    assert more < 1.3 * features_alone + 30
