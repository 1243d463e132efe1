"""tl_helpers.frozen: ONNX Runtime and PyTorch agree, and who runs what follows from weights, modules and device alone."""

import itertools
import subprocess
import sys
import textwrap
import warnings

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from tl_helpers import activations, features, freezing, frozen, runtime, store
from tl_helpers.book.studies import with_adapter
from tl_helpers.data.text import encode_texts
from tl_helpers.frozen import Prefix
from tl_helpers.models import Backbone, Classifier, hub, load_backbone
from tl_helpers.models.backbone import provenance
from tl_helpers.training import Recipe, predict, run_key

from .small import stripes

pytest.importorskip("onnxruntime")
TOLERANCE = {"rtol": 1e-4, "atol": 1e-4}  # of maps whose values go from 0 to 6 and more
SENTENCES = ["A fine film.", "No.", "It was long, and it was loud, but I would not have missed it for anything."] * 3


@pytest.fixture(autouse=True)
def no_session_of_another_test():
    frozen._SESSIONS.clear()


def inputs_of(backbone: Backbone, size: int = 64, count: int = 5) -> torch.Tensor:
    if backbone.name == "minilm":
        return encode_texts(SENTENCES[:count])
    return torch.randint(0, 256, (count, 1, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def by_torch(backbone: Backbone, x: torch.Tensor) -> dict[int, torch.Tensor]:
    with torch.no_grad():
        return dict(enumerate(backbone.eval().stage_outputs(backbone.prepare(x)).values(), start=1))


@pytest.mark.parametrize("name", ["efficientnet_lite0", "minilm"])
def test_every_depth_agrees_with_pytorch(name):
    backbone = load_backbone(name).eval()
    prefix = Prefix(backbone, backbone.depth)
    assert all(engine.startswith("onnxruntime ") for engine in prefix.engines)
    x = inputs_of(backbone)
    want = by_torch(backbone, x)
    together = prefix(x, 0, sorted(want))
    for depth, maps in want.items():
        torch.testing.assert_close(together[depth], maps, **TOLERANCE)
        torch.testing.assert_close(prefix(x, 0, [depth])[depth], maps, **TOLERANCE)
        further = prefix(maps, depth, [backbone.depth])[backbone.depth]
        torch.testing.assert_close(further, want[backbone.depth], **TOLERANCE)
    torch.testing.assert_close(prefix.to_line(x, 0, backbone.depth), backbone(backbone.prepare(x)), **TOLERANCE)


@pytest.mark.parametrize("size", [64, 96, 113, 224])
def test_sizes(size):
    backbone = load_backbone().eval()
    x = inputs_of(backbone, size, 2)
    got = Prefix(backbone, 9)(x, 0, [9])[9]
    torch.testing.assert_close(got, by_torch(backbone, x)[9], **TOLERANCE)


@pytest.mark.parametrize("name", ["resnet18", "efficientnet_b0", "mobilenetv3_small_100"])
def test_backbones_of_the_hub_are_exported_too(name, monkeypatch, tmp_path):
    weights, fetched = tmp_path / "0123abc" / "model.safetensors", timm.create_model(name).state_dict()
    weights.parent.mkdir()
    save_file(fetched, weights)
    monkeypatch.setattr(hub, "hub_folder", lambda *_: weights.parent)
    backbone = load_backbone(f"timm/{name}").eval()
    prefix = Prefix(backbone, backbone.depth)
    assert set(prefix.engines) == {frozen.engine()}
    x = inputs_of(backbone)
    torch.testing.assert_close(
        prefix(x, 0, [backbone.depth])[backbone.depth], by_torch(backbone, x)[backbone.depth], **TOLERANCE
    )


def test_the_same_bits_whatever_the_batch():
    backbone = load_backbone().eval()
    prefix, x = Prefix(backbone, 9), inputs_of(backbone, 96, 17)
    whole = prefix(x, 0, [6, 9])
    for batch in (1, 7, 16):
        parts = [prefix(part, 0, [6, 9]) for part in x.split(batch)]
        for stop in (6, 9):
            assert torch.equal(torch.cat([part[stop] for part in parts]), whole[stop])


def test_what_was_loaded_runs_in_onnxruntime_and_the_rest_in_pytorch():
    backbone = with_adapter(load_backbone(), after="stage3").eval()
    assert [engine.split()[0] for engine in Prefix(backbone, 6).engines] == ["onnxruntime"] * 4 + ["torch"] * 2
    x = inputs_of(backbone)
    want = by_torch(backbone, x)
    for depth, maps in Prefix(backbone, 6)(x, 0, [2, 4, 5, 6]).items():
        torch.testing.assert_close(maps, want[depth], **TOLERANCE)
    torch.testing.assert_close(Prefix(backbone, 6)(want[5], 5, [6])[6], want[6], **TOLERANCE)


def changed_weight(backbone: Backbone) -> None:
    with torch.no_grad():
        backbone.stages["stage2"][0].conv_dw.weight[0, 0, 0, 0] += 1


def changed_statistics(backbone: Backbone) -> None:
    backbone.stages["stage2"][0].bn1.running_mean += 1


def hooked(backbone: Backbone) -> None:
    backbone.stages["stage2"].register_forward_hook(lambda *_: None)


def own_forward(backbone: Backbone) -> None:
    backbone.stages["stage2"].forward = lambda x: x[:, :1].expand(-1, 24, -1, -1)


class Louder(nn.Identity):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * x


def no_name(backbone: Backbone) -> None:
    thing = object()
    backbone.stages["stage2"].note = lambda: thing


def own_module(backbone: Backbone) -> None:
    backbone.stages["stage2"].append(Louder().eval())


@pytest.mark.parametrize("change", [changed_weight, changed_statistics, hooked, own_forward, own_module, no_name])
def test_stages_that_changed_run_in_pytorch(change):
    backbone = load_backbone().eval()
    change(backbone)
    prefix = Prefix(backbone, 4)
    assert [engine.split()[0] for engine in prefix.engines] == ["onnxruntime"] * 2 + ["torch"] * 2
    x = inputs_of(backbone)
    torch.testing.assert_close(prefix(x, 0, [4])[4], by_torch(backbone, x)[4], **TOLERANCE)


def test_a_flag_beside_the_weights_counts():
    backbone = load_backbone().eval()
    backbone.stages["stage2"][1].has_skip = False
    assert Prefix(backbone, 4).engines[2:] == ["torch"] * 2
    x = inputs_of(backbone)
    torch.testing.assert_close(Prefix(backbone, 4)(x, 0, [4])[4], by_torch(backbone, x)[4], **TOLERANCE)


def test_hooks_on_all_modules_are_called():
    backbone, called = load_backbone().eval(), []
    hook = nn.modules.module.register_module_forward_hook(lambda module, *_: called.append(module))
    try:
        Prefix(backbone, 3)(inputs_of(backbone), 0, [3])
    finally:
        hook.remove()
    assert len(called) > 3
    assert Prefix(backbone, 3).engines[0] != "torch"


def modes() -> dict[str, object]:
    return {
        "autocast to half": torch.autocast("cpu", torch.float16),
        "autocast": torch.autocast("cpu", torch.bfloat16),
        "inference": torch.inference_mode(),
        "a run's random numbers": runtime.RandomNumbers(0),
    }


@pytest.mark.parametrize("mode", modes())
@pytest.mark.parametrize("name", ["efficientnet_lite0", "minilm"])
def test_the_callers_modes_do_not_enter_the_graph(name, mode):
    backbone = load_backbone(name).eval()
    x = inputs_of(backbone)
    want = by_torch(backbone, x)[3]
    with modes()[mode]:
        torch.testing.assert_close(Prefix(backbone, 3)(x, 0, [3])[3], want, **TOLERANCE)
    torch.testing.assert_close(Prefix(backbone, 3)(x, 0, [3])[3], want, **TOLERANCE)


def test_stages_that_change_under_a_prefix_are_not_kept_under_their_old_name():
    backbone = load_backbone().eval()
    prefix = Prefix(backbone, 3)
    changed_weight(backbone)
    with pytest.raises(RuntimeError, match="changed while they were in use"):
        prefix(inputs_of(backbone), 0, [3])


def test_a_graph_that_does_something_else_is_refused(monkeypatch):
    def another(chain: nn.Module, inputs: tuple, file: object, **options: object) -> None:
        with torch.no_grad():
            next(chain.parameters()).mul_(1.1)
        export(chain, inputs, file, **options)
        with torch.no_grad():
            next(chain.parameters()).div_(1.1)

    export = torch.onnx.export
    monkeypatch.setattr(torch.onnx, "export", another)
    backbone = load_backbone().eval()
    with pytest.raises(RuntimeError, match="does not agree with PyTorch"):
        Prefix(backbone, 3)(inputs_of(backbone), 0, [3])


def test_what_onnx_does_not_know_is_said():
    """Here: averages over parts of unequal size."""
    backbone = load_backbone().eval()
    backbone.stages["stem"].append(nn.AdaptiveAvgPool2d(5).eval())
    backbone.stages["stem"].as_loaded = provenance(backbone.stages["stem"])
    with pytest.raises(RuntimeError, match="ONNX has no name for what these stages do: set TL_ENGINE=torch"):
        Prefix(backbone, 1)(inputs_of(backbone), 0, [1])


def test_inputs_that_ask_for_a_gradient():
    backbone = load_backbone().eval()
    maps = by_torch(backbone, inputs_of(backbone))[2].requires_grad_()
    assert not Prefix(backbone, 3)(maps, 2, [3])[3].requires_grad


@pytest.mark.parametrize("name", ["digit_cnn", "efficientnet_lite0"])
def test_random_weights_run_in_pytorch(name):
    assert set(Prefix(load_backbone(name, pretrained=False).eval(), 3).engines) == {"torch"}


@pytest.mark.parametrize(
    "setting", [("TL_ENGINE", "torch"), ("TL_PRECISION", "bfloat16"), ("absent", "onnx"), ("absent", "onnxruntime")]
)
def test_where_pytorch_runs_all(setting, monkeypatch):
    if setting[0] == "absent":
        monkeypatch.setitem(sys.modules, setting[1], None)
    else:
        monkeypatch.setenv(*setting)
        runtime.current.cache_clear()
    assert set(Prefix(load_backbone().eval(), 9).engines) == {"torch"}


def test_training_mode_is_no_prefix():
    backbone = load_backbone().eval()
    prefix = Prefix(backbone, 3)
    backbone.stages["stage1"].train()
    with pytest.raises(RuntimeError, match="training mode"):
        prefix(inputs_of(backbone), 0, [3])
    with pytest.raises(RuntimeError, match="training mode"):
        Prefix(backbone, 3)


def test_names_say_what_ran(monkeypatch):
    """Else numbers of one engine would be served for the other's."""
    found = []
    for engine in runtime.ENGINES:
        monkeypatch.setenv("TL_ENGINE", engine)
        runtime.current.cache_clear()
        prefix = Prefix(load_backbone().eval(), 9)
        lines = activations._line_names(prefix, stripes(4))
        model = Classifier(prefix.backbone, 2)
        run = run_key(model, stripes(4), None, Recipe(freeze_depth=3))
        freezing.freeze(model, 3)
        predict(model, stripes(4))
        predictions = {path.stem for path in store.shared("predictions").folder.iterdir()} - {*itertools.chain(*found)}
        assert len(predictions) == 1
        found.append({features.feature_key(prefix, stripes(4), ["head_conv"], "avg"), *lines, run, *predictions})
    assert not found[0] & found[1]


def test_no_warning_reaches_the_reader():
    code = """
        import torch
        from tl_helpers.frozen import Prefix
        from tl_helpers.models import load_backbone
        from tl_helpers.data.text import encode_texts
        Prefix(load_backbone().eval(), 9)(torch.zeros((2, 1, 64, 64), dtype=torch.uint8), 0, [9])
        Prefix(load_backbone("minilm").eval(), 7)(encode_texts(["one", "two three"]), 0, [7])
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    assert done.stdout + done.stderr == ""


def no_export(*_: object) -> None:
    raise AssertionError("exported again")


def test_a_graph_is_exported_once(monkeypatch):
    backbone = load_backbone().eval()
    x = inputs_of(backbone)
    first = Prefix(backbone, 9)(x, 0, [9])[9]
    frozen._SESSIONS.clear()  # another process
    monkeypatch.setattr(torch.onnx, "export", no_export)
    assert torch.equal(Prefix(load_backbone().eval(), 9)(x, 0, [9])[9], first)


@pytest.mark.parametrize("damage", ["a flipped byte", "half of it", "no graph"])
def test_a_damaged_graph_is_exported_again(damage, own_cache):
    backbone = load_backbone().eval()
    x = inputs_of(backbone)
    first = Prefix(backbone, 3)(x, 0, [3])[3]
    (path,) = (own_cache / "graphs").glob("*.safetensors")
    raw = bytearray(path.read_bytes())
    if damage == "a flipped byte":
        raw[-1000] ^= 1
        path.write_bytes(raw)
    elif damage == "half of it":
        path.write_bytes(raw[: len(raw) // 2])
    else:
        store.shared("graphs").put(path.stem, {"graph": torch.zeros(100, dtype=torch.uint8)})
    frozen._SESSIONS.clear()
    with pytest.warns(store.StoreWarning, match="damaged"):
        assert torch.equal(Prefix(backbone, 3)(x, 0, [3])[3], first)
    frozen._SESSIONS.clear()
    with warnings.catch_warnings(action="error"):
        assert torch.equal(Prefix(backbone, 3)(x, 0, [3])[3], first)


def test_a_full_disk_costs_only_the_kept_graph(monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store, "save_file", full)
    backbone = load_backbone().eval()
    x = inputs_of(backbone)
    with pytest.warns(store.StoreWarning, match="No space left"):
        got = Prefix(backbone, 3)(x, 0, [3])[3]
    torch.testing.assert_close(got, by_torch(backbone, x)[3], **TOLERANCE)


def test_two_processes_compile_at_once(own_cache):
    code = """
        import sys, hashlib, torch
        from tl_helpers.frozen import Prefix
        from tl_helpers.models import load_backbone
        found = Prefix(load_backbone().eval(), 9)(torch.full((2, 1, 64, 64), 7, dtype=torch.uint8), 0, [9])[9]
        open(sys.argv[1], "w").write(hashlib.sha256(found.contiguous().numpy().tobytes()).hexdigest())
    """
    said = [own_cache.parent / name for name in ("one", "other")]
    both = [
        subprocess.Popen(
            [sys.executable, "-W", "error::tl_helpers.store.StoreWarning", "-c", textwrap.dedent(code), path]
        )
        for path in said
    ]
    assert [process.wait() for process in both] == [0, 0]
    assert said[0].read_text() == said[1].read_text()
    assert len(list((own_cache / "graphs").iterdir())) == 1


def test_threads_of_one_process_share_a_session():
    import concurrent.futures

    backbone = load_backbone().eval()
    x = inputs_of(backbone)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: Prefix(backbone, 3)(x, 0, [3])[3], range(8)))
    assert all(torch.equal(found[0], other) for other in found)
    assert len(frozen._SESSIONS) == 1


def test_sessions_are_bounded(monkeypatch):
    monkeypatch.setattr(frozen, "SESSIONS", 2)
    backbone = load_backbone().eval()
    for depth in (1, 2, 3):
        Prefix(backbone, depth)(inputs_of(backbone), 0, [depth])
    assert len(frozen._SESSIONS) == 2


def test_provenance_is_the_weights_fingerprint():
    backbone = load_backbone()
    assert all(stage.as_loaded == provenance(stage) for stage in backbone.stages.values())
    assert not any(hasattr(stage, "as_loaded") for stage in load_backbone(pretrained=False).stages.values())
