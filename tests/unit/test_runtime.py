"""tl_helpers.runtime: environment, seeds, precision, offline by default."""

import os
import random
import subprocess
import sys

import numpy as np
import pytest
import torch

from tl_helpers import runtime


def test_environment_is_read(monkeypatch, tmp_path):
    monkeypatch.setenv("TL_CACHE", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("TL_FRESH", "1")
    runtime.current.cache_clear()
    here = runtime.current()
    assert here.cache_dir == (tmp_path / "elsewhere").resolve()
    assert here.fresh
    assert here.threads == 1 == torch.get_num_threads()
    assert here.device.type == "cpu"


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [("TL_THREADS", "0", "whole number"), ("TL_THREADS", "two", "whole number"), ("TL_DEVICE", "tpu", "use one of")],
)
def test_unusable_settings_are_explained(monkeypatch, name, value, says):
    monkeypatch.setenv(name, value)
    runtime.current.cache_clear()
    with pytest.raises(ValueError, match=says):
        runtime.current()


def test_absent_device_is_explained(monkeypatch):
    if torch.cuda.is_available():
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("TL_DEVICE", "cuda")
    runtime.current.cache_clear()
    with pytest.raises(ValueError, match="no such device"):
        runtime.current()


def test_one_seed_seeds_everything():
    def draw():
        runtime.seed_everything(7)
        return random.random(), np.random.rand(), torch.rand(1).item(), torch.randint(0, 1000, (3,)).tolist()

    assert draw() == draw()
    runtime.seed_everything(8)
    assert random.random() != draw()[0]


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_seed_out_of_range(seed):
    with pytest.raises(ValueError, match=r"2\*\*32"):
        runtime.seed_everything(seed)


def test_workers_differ_but_repeat():
    torch.manual_seed(3)
    runtime.seed_worker(0)
    first = np.random.rand()
    runtime.seed_worker(0)
    assert np.random.rand() == first
    torch.manual_seed(4)
    runtime.seed_worker(0)
    assert np.random.rand() != first


def test_precision_is_measured_once_and_kept(monkeypatch, own_cache):
    monkeypatch.delenv("TL_PRECISION")
    calls = []
    monkeypatch.setattr(runtime, "_bf16_speedup", lambda device, phase, pixels: calls.append(pixels) or 2.0)
    here = runtime.current()
    assert here.precision("inference") is torch.bfloat16
    assert here.precision("inference") is torch.bfloat16
    assert calls == [runtime.PROBE_PIXELS["inference"]]
    (own_cache / "machine.json").write_text("{ half a fi")  # a killed process cannot do this, a full disk might
    assert here.precision("inference") is torch.bfloat16
    assert len(calls) == 2


def test_precision_needs_a_clear_win(monkeypatch):
    monkeypatch.delenv("TL_PRECISION")
    monkeypatch.setattr(runtime, "_bf16_speedup", lambda *_: runtime.BF16_MUST_WIN_BY - 0.1)
    assert runtime.current().precision("training") is torch.float32


def test_precision_measures_a_real_network(monkeypatch):
    monkeypatch.delenv("TL_PRECISION")
    assert 0.05 < runtime._bf16_speedup(torch.device("cpu"), "inference", 32) < 50


@pytest.mark.parametrize(("slower", "full"), [(100, False), (0.5, True)])
def test_hopeless_bfloat16_costs_only_a_glance(monkeypatch, slower, full):
    """The clock is the network's: a step takes 1, in bfloat16 `slower`."""
    now, shapes = [0.0], []

    class Network(torch.nn.Module):
        def forward(self, x):
            shapes.append(tuple(x.shape))
            now[0] += slower if torch.is_autocast_enabled("cpu") else 1
            return x.mean(dim=(1, 2, 3))

    monkeypatch.setattr("timm.create_model", lambda *_, **__: Network())
    monkeypatch.setattr(runtime.time, "perf_counter", lambda: now[0])
    assert runtime._bf16_speedup(torch.device("cpu"), "inference", 64) == pytest.approx(1 / slower)
    assert ((8, 3, 64, 64) in shapes) is full


@pytest.mark.parametrize("phase", ["train", ""])
def test_unknown_phase(phase):
    with pytest.raises(ValueError, match="inference"):
        runtime.current().precision(phase)


def test_unknown_precision(monkeypatch):
    monkeypatch.setenv("TL_PRECISION", "int8")
    with pytest.raises(ValueError, match="TL_PRECISION"):
        runtime.current().precision("inference")


def test_autocast_follows_precision(monkeypatch):
    monkeypatch.setenv("TL_PRECISION", "bfloat16")
    one = torch.ones(2, 2)
    with runtime.current().autocast("inference"):
        assert (one @ one).dtype is torch.bfloat16
    monkeypatch.setenv("TL_PRECISION", "float32")
    with runtime.current().autocast("inference"):
        assert (one @ one).dtype is torch.float32


@pytest.mark.slow
def test_hubs_are_offline_by_default():
    code = "import tl_helpers, huggingface_hub.constants as c; print(c.HF_HUB_OFFLINE)"
    clean = {key: value for key, value in os.environ.items() if key not in runtime.OFFLINE_SWITCHES}
    answers = [
        subprocess.run(
            [sys.executable, "-c", code], env=clean | extra, capture_output=True, text=True, check=True
        ).stdout.strip()
        for extra in ({}, {"TL_ONLINE": "1"})
    ]
    assert answers == ["True", "False"]


def test_hub_without_network_is_explained():
    with pytest.raises(RuntimeError, match="TL_ONLINE=1"):
        runtime.require_online("A model")


def test_describe_names_versions():
    facts = runtime.current().describe()
    assert facts["torch"] == torch.__version__.split("+")[0] or facts["torch"] == torch.__version__
    assert facts["hubs"] == "offline"
