"""tl_helpers.store: what comes out is what went in, or nothing."""

import os
import signal
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.unit.waiting import until
from tl_helpers.store import Store, StoreWarning

LOOSE = settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@LOOSE
@given(
    array=hnp.arrays(
        dtype=st.sampled_from([np.float32, np.int64, np.uint8]), shape=hnp.array_shapes(min_dims=1, max_side=5)
    )
)
def test_round_trip(tmp_path, array):
    store = Store(tmp_path)
    tensor = torch.from_numpy(array)
    store.put("k", {"x": tensor}, {"note": "ü", "n": 3})
    entry = store.get("k")
    assert entry.record == {"note": "ü", "n": 3}
    assert entry.tensors["x"].dtype == tensor.dtype
    assert entry.tensors["x"].numpy().tobytes() == array.tobytes()


def test_bfloat16_and_strided_tensors_survive(tmp_path):
    x = torch.arange(12).reshape(3, 4).to(torch.bfloat16).T
    Store(tmp_path).put("k", {"x": x})
    assert torch.equal(Store(tmp_path).get("k").tensors["x"], x)


@LOOSE
@given(where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_any_flipped_bit_is_noticed_and_recomputed(tmp_path, where, bit):
    store = Store(tmp_path)
    made = []

    def make():
        made.append(1)
        return {"x": torch.arange(50.0)}

    store.drop("k")
    store.compute("k", make)
    path = next(tmp_path.glob("*.safetensors"))
    raw = bytearray(path.read_bytes())
    raw[int(where * len(raw))] ^= 1 << bit
    path.write_bytes(raw)
    with pytest.warns(StoreWarning, match="damaged"):
        again = store.compute("k", make)
    assert torch.equal(again["x"], torch.arange(50.0))
    assert len(made) == 2
    assert store.get("k") is not None  # repaired


@pytest.mark.parametrize("keep", [0, 7, 40, 100])
def test_truncated_entry_is_noticed(tmp_path, keep):
    store = Store(tmp_path)
    store.put("k", {"x": torch.arange(50.0)})
    path = next(tmp_path.glob("*.safetensors"))
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.warns(StoreWarning, match="damaged"):
        assert store.get("k") is None


def test_least_recently_used_goes_first(tmp_path):
    one = 4000 + 200
    store = Store(tmp_path, limit_bytes=3 * one)
    for number, key in enumerate("abc"):
        store.put(key, {"x": torch.full((1000,), float(number))})
        os.utime(tmp_path / f"{key}.safetensors", (number, number))
    store.get("a")  # used just now
    store.put("d", {"x": torch.zeros(1000)})
    assert {path.stem for path in tmp_path.glob("*.safetensors")} == {"a", "c", "d"}
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= store.limit_bytes


def test_entry_over_the_limit_is_still_returned(tmp_path):
    store = Store(tmp_path, limit_bytes=10)
    assert torch.equal(store.compute("k", lambda: {"x": torch.ones(100)})["x"], torch.ones(100))
    assert store.compute("k", lambda: {"x": torch.zeros(100)})["x"].sum() == 100


def test_full_disk_keeps_the_result(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    store = Store(tmp_path)
    with pytest.warns(StoreWarning, match="No space left"):
        assert store.compute("k", lambda: {"x": torch.ones(3)})["x"].sum() == 3
    assert list(tmp_path.iterdir()) == []  # no rubbish left


def test_folder_that_is_a_file(tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.warns(StoreWarning, match="TL_CACHE"):
        Store(tmp_path / "taken").put("k", {"x": torch.ones(1)})


@pytest.mark.slow
def test_killed_while_writing_leaves_nothing_half(tmp_path):
    """A process is killed in the middle of endless writes; what is there afterwards is whole."""
    code = (
        "import sys, torch\nfrom pathlib import Path\nfrom tl_helpers.store import Store\n"
        "store = Store(Path(sys.argv[1]))\n"
        "for n in range(10**9):\n    store.put('k', {'x': torch.full((300_000,), float(n))})\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)])
    try:  # one entry is there, and the next is being written
        until(lambda: (tmp_path / "k.safetensors").exists() and list(tmp_path.glob("*.tmp")), process)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    with warnings.catch_warnings(action="error"):  # no StoreWarning: nothing is damaged
        entry = Store(tmp_path).get("k")
    assert entry.tensors["x"].unique().numel() == 1
    left = list(tmp_path.glob("*.tmp"))
    assert len(left) <= 1  # what a killed process left is swept up by a later write, an hour on
    old = (tmp_path / "k.safetensors").stat().st_mtime - 7200
    for path in [*left, tmp_path / "k.0.tmp"]:
        path.touch()
        os.utime(path, (old, old))
    Store(tmp_path).put("other", {"x": torch.ones(1)})
    assert not list(tmp_path.glob("*.tmp"))


def test_tensors_that_share_memory_are_kept(tmp_path):
    """Tied weights, and two parts of one tensor."""
    x = torch.arange(12.0).reshape(3, 4)
    tensors = {"one": x, "tied": x, "row": x[1], "turned": x.T}
    assert Store(tmp_path).put("k", tensors)
    found = Store(tmp_path).get("k").tensors
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())


def test_numbers_of_libraries_are_kept_as_pythons_own(tmp_path):
    record = {"seed": np.int64(3), "rate": np.float32(0.5), "each": [torch.tensor(2.0), np.arange(2)]}
    assert Store(tmp_path).put("k", {}, record)
    assert Store(tmp_path).get("k").record == {"seed": 3, "rate": 0.5, "each": [2.0, [0, 1]]}


@pytest.mark.parametrize(
    ("tensors", "record"), [({"x": torch.ones(2, dtype=torch.complex128)}, {}), ({"x": torch.ones(2)}, {"o": object()})]
)
def test_what_the_format_cannot_hold_is_used_and_not_kept(tmp_path, tensors, record):
    with pytest.warns(StoreWarning, match="Not kept"):
        assert not Store(tmp_path).put("k", tensors, record)
    assert list(tmp_path.iterdir()) == []


def test_entries_of_the_earlier_format_make_room(tmp_path):
    (tmp_path / "old.tlc").write_bytes(b"pickled")
    Store(tmp_path).put("k", {"x": torch.ones(1)})
    assert [path.name for path in tmp_path.iterdir()] == ["k.safetensors"]
