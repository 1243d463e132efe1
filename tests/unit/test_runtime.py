"""tl_helpers.runtime: environment, seeds, precision, offline by default."""

import concurrent.futures
import os
import pathlib
import random
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from tests.unit.small import meddling, stripes
from tl_helpers import features, runtime
from tl_helpers.frozen import Prefix
from tl_helpers.models import load_backbone


@pytest.fixture
def bfloat16(monkeypatch):
    """A runtime that was asked for bfloat16."""
    monkeypatch.setenv("TL_PRECISION", "bfloat16")
    runtime.current.cache_clear()
    return runtime.current()


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
    [
        ("TL_THREADS", "0", "whole number"),
        ("TL_THREADS", "two", "whole number"),
        ("TL_DEVICE", "tpu", "use one of"),
        ("TL_DEVICE", "cuda:1", "CUDA_VISIBLE_DEVICES"),
        ("TL_PRECISION", "int8", "float32 or bfloat16"),
        ("TL_ENGINE", "openvino", "onnxruntime or torch"),
    ],
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


# ---- random numbers of one piece of work -------------------------------------------------------------------------


def draw(rounds=40):
    """Dropout, a draw, an initial weight and a permutation, again and again."""
    found = []
    for _ in range(rounds):
        found += [nn.functional.dropout(torch.ones(8), 0.5), torch.rand(3), nn.Linear(3, 2).weight.detach().clone()]
        found += [torch.randperm(9), torch.randint(3, 90, (4,)), torch.randn_like(found[0]), torch.zeros(3).normal_()]
    return found


def alike(one, other):
    return all(torch.equal(p, q) for p, q in zip(one, other, strict=True))


def test_random_numbers_follow_from_the_seed_and_leave_the_global_ones_alone():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    with runtime.RandomNumbers(7) as numbers:
        one = draw()
    assert numbers.drawn
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(7)
    assert alike(one, draw())  # what a process that is seeded and alone would draw
    with runtime.RandomNumbers(8):
        assert not alike(one, draw())


def test_nothing_else_draws_from_them_or_reseeds_them():
    with runtime.RandomNumbers(7):
        expected = draw(200)
    with meddling(), runtime.RandomNumbers(7):
        assert alike(expected, draw(200))


def test_two_threads_have_their_own():
    def work(seed):
        with runtime.RandomNumbers(seed):
            return draw(100)

    alone = [work(seed) for seed in (1, 2)]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        together = list(pool.map(work, (1, 2)))
    assert all(map(alike, alone, together))


def test_a_generator_that_is_given_is_used_and_random_numbers_go_on_from_a_state():
    with runtime.RandomNumbers(7) as numbers:
        given = torch.rand(3, generator=torch.Generator().manual_seed(1))
        assert not numbers.drawn
        torch.rand(3)
        state = numbers.state()
        rest = torch.rand(3)
    assert torch.equal(given, torch.rand(3, generator=torch.Generator().manual_seed(1)))
    again = runtime.RandomNumbers(0)
    again.restore(state)
    with again:
        assert torch.equal(rest, torch.rand(3))


def test_an_operation_that_takes_no_generator_gets_the_numbers_too():
    """A GPU's dropout is one of these."""
    x, before = torch.ones(64), torch.get_rng_state()
    with runtime.RandomNumbers(7) as numbers:
        found = [torch.ops.aten.native_dropout(x, 0.5, True)[0] for _ in range(2)]
    assert numbers.drawn
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(7)
    assert alike(found, [torch.ops.aten.native_dropout(x, 0.5, True)[0] for _ in range(2)])
    with pytest.raises(ValueError, match="seed=-1"):
        runtime.RandomNumbers(-1)


def test_float32_unless_asked_otherwise(own_cache):
    """No clock has a say, whatever the machine can do: nothing is measured, nothing is kept about the machine."""
    here = runtime.current()
    one = torch.ones(2, 2)
    with here.autocast():
        assert (one @ one).dtype is here.precision is torch.float32
    assert list(own_cache.parent.glob("**/machine.json")) == []


def test_bfloat16_where_it_is_asked_for(bfloat16):
    one = torch.ones(2, 2)
    with bfloat16.autocast():
        assert (one @ one).dtype is bfloat16.precision is torch.bfloat16


def test_exact_blocks_compute_in_float32_whatever_is_asked(bfloat16):
    one = torch.ones(2, 2)
    with bfloat16.autocast(), runtime.exact():  # also inside another block, and nested
        assert (one @ one).dtype is torch.float32
        with runtime.exact(), bfloat16.autocast():
            assert (one @ one).dtype is bfloat16.precision is torch.float32
        assert bfloat16.precision is torch.float32
    assert bfloat16.precision is torch.bfloat16


def test_exact_ends_with_an_error_too(bfloat16):
    with pytest.raises(ZeroDivisionError), runtime.exact():
        _ = 1 / 0
    assert bfloat16.precision is torch.bfloat16


def test_exact_leaves_other_threads_alone(bfloat16):
    with runtime.exact(), concurrent.futures.ThreadPoolExecutor(1) as pool:
        assert pool.submit(lambda: bfloat16.precision).result() is torch.bfloat16


def test_what_is_computed_in_another_precision_has_another_name(bfloat16):
    prefix = Prefix(load_backbone("digit_cnn", pretrained=False).eval(), 3)
    names = [features.feature_key(prefix, stripes(8), ["conv3"], "avg")]
    with runtime.exact():
        names.append(features.feature_key(prefix, stripes(8), ["conv3"], "avg"))
    assert names[0] != names[1]


def test_float32_on_cuda_is_not_tf32(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    torch.set_float32_matmul_precision("high")
    runtime.current.cache_clear()
    runtime.current()
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32
    assert torch.get_float32_matmul_precision() == "highest"


def test_bfloat16_of_this_machine_is_known():
    """PyTorch's own list of instructions says so, and agrees with the kernel's where there is one."""
    cpuinfo = pathlib.Path("/proc/cpuinfo")
    flags = cpuinfo.read_text().split() if cpuinfo.exists() else []
    if flags and runtime.platform.machine() == "x86_64":
        assert runtime.has_bfloat16() is ("avx512_bf16" in flags or "amx_bf16" in flags)
    else:
        assert runtime.has_bfloat16() in (True, False)


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


def test_the_global_generator_is_not_drawn_from_where_it_is_named_either():
    before = torch.get_rng_state()
    with runtime.RandomNumbers(7):
        found = torch.rand(3, generator=torch.default_generator)
    with runtime.RandomNumbers(7):
        assert torch.equal(found, torch.rand(3))
    assert torch.equal(before, torch.get_rng_state())


def test_attention_without_dropout_draws_nothing():
    x = torch.ones(1, 1, 4, 8)
    with runtime.RandomNumbers(7) as numbers:
        nn.functional.scaled_dot_product_attention(x, x, x)
        torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(x, x, x)
        assert not numbers.drawn
        nn.functional.scaled_dot_product_attention(x, x, x, dropout_p=0.5)
        assert numbers.drawn


def test_two_threads_that_borrow_the_global_numbers_do_so_one_after_the_other():
    def work(seed):
        with runtime.RandomNumbers(seed):
            return [torch.ops.aten.native_dropout(torch.ones(64), 0.5, True)[0] for _ in range(300)]

    alone = [work(seed) for seed in (1, 2)]
    often = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            together = list(pool.map(work, (1, 2)))
    finally:
        sys.setswitchinterval(often)
    assert all(map(alike, alone, together))
