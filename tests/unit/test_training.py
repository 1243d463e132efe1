"""tl_helpers.training: learns, repeats bit for bit, resumes after a kill, refuses nonsense."""

import contextlib
import dataclasses
import json
import math
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
import types
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn import metrics as sk

from tl_helpers import adaptation, freezing, ledger, runtime, store, training
from tl_helpers.data import without_labels
from tl_helpers.data.views import views_of
from tl_helpers.training import (
    Recipe,
    TrainingDiverged,
    Watcher,
    calibration_error,
    checkpoint,
    embed,
    evaluate,
    fit,
    fitting,
    inputs,
    loop,
    predict,
    rate_at,
    score,
    softmax,
)

from .small import meddling, small_model, stripes

TRAIN = stripes(64)
VALIDATION = stripes(32, seed=1, name="stripes/validation")
SHORT = Recipe(epochs=2, lr=3e-3, batch_size=16)


def weights(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("depth", [0, 2, 3])
def test_embeddings_are_what_the_head_sees(depth):
    """With and without a freeze line, and without touching the model."""
    model = small_model()
    freezing.freeze(model, depth)
    found = embed(model, VALIDATION)
    with torch.no_grad():
        want = model.backbone.eval()(model.backbone.prepare(VALIDATION.inputs)).numpy()
    np.testing.assert_allclose(found, want, atol=1e-5)
    with torch.no_grad():
        logits = model.head.eval()(torch.from_numpy(found)).numpy()
    np.testing.assert_allclose(logits, predict(model, VALIDATION), atol=1e-4)


def test_it_learns():
    model = small_model()
    before = evaluate(model, VALIDATION)["accuracy"]
    run = fit(model, TRAIN, VALIDATION, Recipe(epochs=8, lr=1e-2, batch_size=16))
    assert evaluate(model, VALIDATION)["accuracy"] >= max(95, before + 20)
    assert run.metrics["accuracy"] == pytest.approx(evaluate(model, VALIDATION)["accuracy"])
    assert [epoch["epoch"] for epoch in run.history] == list(range(1, 9))
    assert run.history[-1]["train_loss"] < run.history[0]["train_loss"]
    assert run.seconds == run.history[-1]["seconds"] > 0
    assert not model.training


@pytest.mark.slow
@pytest.mark.parametrize("change", [{}, {"augment": "flips"}, {"schedule": "step", "layer_decay": 0.5}])
def test_same_seed_same_bits(change):
    recipe = dataclasses.replace(SHORT, **change)
    models = [small_model(dropout=0.2) for _ in range(3)]
    runs = [
        fit(model, TRAIN, VALIDATION, recipe, seed=seed, fresh=True)
        for model, seed in zip(models, (4, 4, 5), strict=True)
    ]
    assert same(weights(models[0]), weights(models[1]))
    assert not same(weights(models[0]), weights(models[2]))
    drop = [[{k: v for k, v in epoch.items() if k != "seconds"} for epoch in run.history] for run in runs]
    assert drop[0] == drop[1] != drop[2]
    assert runs[0].key == runs[1].key != runs[2].key


def test_an_identical_run_is_not_computed_twice(monkeypatch):
    first = small_model()
    run = fit(first, TRAIN, VALIDATION, SHORT, name="one")
    monkeypatch.setattr(fitting, "_train", lambda *_: pytest.fail("trained again"))
    monkeypatch.setattr(fitting, "run_key", lambda *_, **__: run.key)  # the patch above is a change of code
    again = small_model()
    reused = fit(again, TRAIN, VALIDATION, SHORT, name="two")
    assert (run.reused, reused.reused) == (False, True)
    assert same(weights(first), weights(again))
    assert reused.history == run.history
    assert reused.name == "two"


@pytest.mark.parametrize("how", ["argument", "environment"])
def test_fresh_computes_anyway(how, monkeypatch):
    fit(small_model(), TRAIN, VALIDATION, SHORT)
    if how == "environment":
        monkeypatch.setenv("TL_FRESH", "1")
        runtime.current.cache_clear()
        fitting._COMPUTED.clear()  # as in a new process
    again = [
        fit(small_model(), TRAIN, VALIDATION, SHORT, fresh=True if how == "argument" else None).reused for _ in range(2)
    ]
    assert again == [False, how == "environment"]  # the environment asks for each run once a process


def test_the_key_follows_code_data_recipe_seed_and_weights(monkeypatch):
    other_weights = small_model()
    with torch.no_grad():
        other_weights.head[1].bias += 1e-6
    keys = [
        training.run_key(small_model(), TRAIN, VALIDATION, SHORT),
        training.run_key(small_model(), TRAIN, VALIDATION, SHORT, seed=1),
        training.run_key(small_model(), TRAIN, None, SHORT),
        training.run_key(small_model(), stripes(64, seed=9), VALIDATION, SHORT),
        training.run_key(small_model(), TRAIN, VALIDATION, dataclasses.replace(SHORT, lr=1e-4)),
        training.run_key(other_weights, TRAIN, VALIDATION, SHORT),
        training.run_key(small_model(dropout=0.1), TRAIN, VALIDATION, SHORT),
    ]
    monkeypatch.setattr(fitting.keys, "code_name", lambda *_: "other code")
    keys.append(training.run_key(small_model(), TRAIN, VALIDATION, SHORT))
    assert len(set(keys)) == len(keys)


def test_damaged_stored_run_is_computed_again(own_cache):
    model = small_model()
    fit(model, TRAIN, VALIDATION, SHORT)
    path = next((own_cache / "runs").glob("*.safetensors"))
    raw = bytearray(path.read_bytes())
    raw[-3] ^= 16
    path.write_bytes(raw)
    again = small_model()
    with pytest.warns(store.StoreWarning, match="damaged"):
        run = fit(again, TRAIN, VALIDATION, SHORT)
    assert not run.reused
    assert same(weights(model), weights(again))


KILLED = """
    import os, signal, sys
    from tests.unit.small import small_model, stripes
    from tl_helpers import training
    from tl_helpers.training import checkpoint
    checkpoint.EVERY = 0.0
    stop = int(sys.argv[1])
    def on_epoch(record):
        if record["epoch"] == stop + 1:  # the checkpoint of epoch `stop` is on the disk
            os.kill(os.getpid(), signal.SIGKILL)
    model = small_model(dropout=0.3)
    training.fit(model, stripes(64), stripes(32, seed=1, name="v"), training.Recipe(
        epochs=5, lr=3e-3, batch_size=16, augment="flips", keep=sys.argv[2]),
        watch=training.Watcher(each_epoch=on_epoch), seed=3)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("stop", "keep"), [(1, "last"), (3, "best")])
def test_killed_and_restarted_ends_with_the_same_bits(own_cache, stop, keep):
    recipe = Recipe(epochs=5, lr=3e-3, batch_size=16, augment="flips", keep=keep)
    validation = stripes(32, seed=1, name="v")
    whole = small_model(dropout=0.3)
    run = fit(whole, TRAIN, validation, recipe, seed=3)
    store.shared("runs").drop(run.key)

    root = Path(__file__).parents[2]
    code = textwrap.dedent(KILLED)
    killed = subprocess.run([sys.executable, "-c", code, str(stop), keep], cwd=root, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert len(list((own_cache / "checkpoints").glob("*.safetensors"))) == 1

    epochs = []
    resumed = small_model(dropout=0.3)
    rerun = fit(
        resumed,
        TRAIN,
        validation,
        recipe,
        seed=3,
        watch=Watcher(each_epoch=lambda epoch: epochs.append(epoch["epoch"])),
    )
    assert epochs == list(range(stop + 1, 6))  # it did go on, not start again
    assert same(weights(whole), weights(resumed))
    assert [e["train_loss"] for e in rerun.history] == [e["train_loss"] for e in run.history]
    assert rerun.metrics == run.metrics
    assert not list((own_cache / "checkpoints").glob("*.safetensors"))


KILLS = 10
LONG = Recipe(epochs=12, lr=3e-3, batch_size=16, augment="flips", freeze_depth=1, keep="best")


def train_and_tell(store, steps, result):
    """In a process of its own: train, telling each step, and send the weights."""
    os.environ |= {"TL_CACHE": str(store), "TL_THREADS": "1"}
    runtime.current.cache_clear()
    checkpoint.EVERY = 0.0
    model = small_model(dropout=0.3)
    fit(
        model,
        TRAIN,
        VALIDATION,
        LONG,
        seed=3,
        watch=Watcher(each_step=lambda step: steps.send(step["step"] + 4 * step["epoch"] - 4)),
    )
    steps.close()
    result.send({name: tensor.numpy() for name, tensor in model.state_dict().items()})


@pytest.mark.slow
def test_ten_kills_at_random_moments_change_no_bit(own_cache):
    """Each process is killed some steps and some microseconds after the one before was: between steps, while the
    checkpoint is written, while the result is."""
    whole = small_model(dropout=0.3)
    run = fit(whole, TRAIN, VALIDATION, LONG, seed=3)
    store.shared("runs").drop(run.key)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    random = np.random.default_rng()
    begun = []
    for kill in range(KILLS + 1):
        heard, tells = context.Pipe(duplex=False)
        got, gives = context.Pipe(duplex=False)
        process = context.Process(target=train_and_tell, args=(own_cache, tells, gives))
        process.start()
        tells.close()
        gives.close()
        left = int(random.integers(1, 9)) if kill < KILLS else -1
        with contextlib.suppress(EOFError):  # it has come to its end, or to that of a stored run
            begun.append(heard.recv())
            while left := left - 1:
                heard.recv()
        if kill < KILLS:
            time.sleep(random.uniform(0, 0.02))
            process.kill()
        else:
            resumed = got.recv()
        process.join()
    assert any(step > 1 for step in begun)  # some did go on
    assert all(np.array_equal(resumed[name], tensor.numpy()) for name, tensor in whole.state_dict().items())


def test_a_run_owns_its_random_numbers():
    """Whatever a notebook draws or seeds while a control trains in another thread, the weights have the same bits."""
    recipe = Recipe(epochs=3, lr=3e-3, batch_size=8, augment="crops")
    torch.manual_seed(5)
    quiet, loud, before = small_model(dropout=0.5), small_model(dropout=0.5), torch.get_rng_state()
    fit(quiet, TRAIN, None, recipe, seed=3, fresh=True)
    assert torch.equal(before, torch.get_rng_state())
    with meddling():
        fit(loud, TRAIN, None, recipe, seed=3, fresh=True)
    assert same(weights(quiet), weights(loud))


def interrupted(recipe, *, step=None, epoch=3):
    """A run that ends in the middle, with a checkpoint of each epoch before."""

    def interrupt(record):
        if record["epoch"] == epoch and record.get("step") == step:
            raise KeyboardInterrupt

    watch = Watcher(**{"each_step" if step else "each_epoch": interrupt})
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(checkpoint, "EVERY", 0.0)
        with pytest.raises(KeyboardInterrupt):
            fit(small_model(), TRAIN, VALIDATION, recipe, watch=watch)


def epochs_of(model, recipe, **options):
    """The epochs that are trained."""
    epochs = []
    fit(
        model,
        TRAIN,
        VALIDATION,
        recipe,
        watch=Watcher(each_epoch=lambda epoch: epochs.append(epoch["epoch"])),
        **options,
    )
    return epochs


@pytest.mark.parametrize(("step", "epochs"), [(None, 3), (10, 2)], ids=["after an epoch", "within an epoch"])
def test_interrupt_is_noted_and_the_next_run_goes_on(step, epochs):
    recipe = dataclasses.replace(SHORT, epochs=4)
    interrupted(recipe, step=step)
    note = ledger.default().records("unfinished run")[-1]
    assert note["why"] == "KeyboardInterrupt"
    assert len(note["history"]) == epochs
    resumed, whole = small_model(), small_model()
    fit(resumed, TRAIN, VALIDATION, recipe)
    fit(whole, TRAIN, VALIDATION, recipe, fresh=True)
    assert same(weights(resumed), weights(whole))


def test_a_kill_between_ledger_and_store_leaves_one_line(monkeypatch):
    class Killed(BaseException):
        pass

    def kill(*_):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(store.Store, "put", kill)
        with pytest.raises(Killed):
            fit(small_model(), TRAIN, VALIDATION, SHORT)
    for fresh, lines in ((None, 1), (None, 1), (True, 2)):
        run = fit(small_model(), TRAIN, VALIDATION, SHORT, fresh=fresh)
        assert [record["key"] for record in ledger.default().records("run")] == [run.key] * lines


def test_a_run_that_is_asked_to_be_fresh_begins_at_its_beginning(monkeypatch):
    """Also where the checkpoint cannot be deleted."""
    recipe = dataclasses.replace(SHORT, epochs=4)
    interrupted(recipe)
    monkeypatch.setattr(store, "forget", lambda path: None)
    assert epochs_of(small_model(), recipe, fresh=True) == [1, 2, 3, 4]


@pytest.mark.parametrize("harm", ["a bit", "cut", "an earlier layout"])
def test_a_checkpoint_that_cannot_be_used_is_not(own_cache, harm, monkeypatch):
    recipe, whole, model = dataclasses.replace(SHORT, epochs=4), small_model(), small_model()
    fit(whole, TRAIN, VALIDATION, recipe, fresh=True)
    shutil.rmtree(own_cache / "runs")
    interrupted(recipe)
    (path,) = (own_cache / "checkpoints").glob("*.safetensors")
    raw = bytearray(path.read_bytes())
    raw[-3] ^= 16
    if harm == "an earlier layout":
        monkeypatch.setattr(checkpoint, "LAYOUT", checkpoint.LAYOUT + 1)
        assert epochs_of(model, recipe) == [1, 2, 3, 4]
    else:
        path.write_bytes(raw if harm == "a bit" else raw[: len(raw) // 2])
        with pytest.warns(store.StoreWarning, match="damaged"):
            assert epochs_of(model, recipe) == [1, 2, 3, 4]
    assert same(weights(whole), weights(model))


def test_numbers_of_numpy_may_be_given():
    recipe = Recipe(epochs=np.int64(2), lr=np.float32(3e-3), batch_size=np.int64(16))
    run = fit(small_model(), TRAIN, VALIDATION, recipe, seed=np.arange(3)[1])
    assert fit(small_model(), TRAIN, VALIDATION, recipe, seed=1).reused
    assert run.seed == 1
    assert ledger.default().records("run")[-1]["config"]["epochs"] == 2


def test_only_false_stops_a_run_also_numpys():
    for answer, steps in ((None, 8), (0, 8), ("", 8), (True, 8), (False, 1), (np.False_, 1)):
        seen = []
        watch = Watcher(each_step=lambda record, seen=seen, answer=answer: seen.append(record) or answer)
        fit(small_model(), TRAIN, None, SHORT, watch=watch, fresh=True)
        assert len(seen) == steps
    run = fit(small_model(), TRAIN, None, SHORT, watch=Watcher(each_epoch=lambda record: np.False_), fresh=True)
    assert len(run.history) == 1


def test_the_loop_can_be_called_by_itself():
    """With the names that a reader imports; what `fit` adds is around it."""
    model, other, history = small_model(), small_model(), []
    trained = training.Trained(model, training.Method())
    batches, optimizer = training.Batches(model, TRAIN, SHORT, seed=3), training.optimizer_of(trained, SHORT)
    epochs = training.train(trained, batches, optimizer, SHORT, runtime.RandomNumbers(3), history)
    losses = [record["train_loss"] for record in epochs]
    assert losses == [record["train_loss"] for record in history]
    assert losses == [record["train_loss"] for record in fit(other, TRAIN, None, SHORT, seed=3).history]
    assert same(weights(model), weights(other))


def test_a_run_that_is_stopped_within_an_epoch_tells_its_seconds():
    records = []

    def stop(record):
        records.append(record)
        return record["step"] < 6

    run = fit(small_model(), TRAIN, VALIDATION, SHORT, watch=Watcher(each_step=stop))
    assert run.seconds == records[-1]["seconds"] > run.history[-1]["seconds"] > 0


# ---- several processes, as one of them sees it ------------------------------------------------------------------------


def one_of(monkeypatch, *modules, rank=0, many=2):
    for module in modules:
        state = types.SimpleNamespace(num_processes=many, process_index=rank, is_main_process=rank == 0)
        monkeypatch.setattr(module, "processes", lambda state=state: state)


def test_a_method_goes_right_in_several_processes_only_where_it_says_so(monkeypatch):
    class Goes(Exception):
        pass

    class Own(training.Method):
        pass

    def named(*_, **__):
        raise Goes

    one_of(monkeypatch, fitting)
    monkeypatch.setattr(fitting, "run_key", named)
    with pytest.raises(ValueError, match="one process only"):
        fit(small_model(), TRAIN, None, SHORT, method=Own())
    for method in (None, training.Method(), training.L2SP(), adaptation.DAN(without_labels(VALIDATION))):
        with pytest.raises(Goes):
            fit(small_model(), TRAIN, None, SHORT, method=method)


def test_of_several_processes_one_writes_and_all_know_what_was_computed(own_cache, monkeypatch):
    monkeypatch.setattr(checkpoint, "EVERY", 0.0)
    one_of(monkeypatch, fitting, rank=1, many=1)
    run = fit(small_model(), TRAIN, VALIDATION, SHORT)
    assert run.key in fitting._COMPUTED
    assert not list(own_cache.rglob("*.safetensors"))
    assert ledger.default().records() == []


def test_a_run_in_several_processes_is_another_run(monkeypatch):
    names = []
    for many in (1, 2, 2):
        one_of(monkeypatch, fitting, many=many)
        names.append(training.run_key(small_model(), TRAIN, None, SHORT))
    assert names[0] != names[1] == names[2]


def test_each_of_several_processes_draws_numbers_of_its_own(monkeypatch):
    ends, one_batch = [], dataclasses.replace(SHORT, batch_size=len(TRAIN))
    for rank in range(2):
        with monkeypatch.context() as patch:
            one_of(patch, inputs, rank=rank, many=1)
            ends.append(small_model(dropout=0.5))
            fit(ends[-1], TRAIN, None, one_batch, seed=2**32 - 1, fresh=True)
    assert not same(*map(weights, ends))


@pytest.mark.parametrize("moment", [loop, fitting], ids=["after a step", "after an epoch"])
def test_where_one_of_several_processes_stops_all_do(moment, monkeypatch):
    """`any_says` asks the others."""
    asked = []
    monkeypatch.setattr(moment, "any_says", lambda wish: asked.append(wish) or len(asked) == 1)
    run = fit(small_model(), TRAIN, None, SHORT, watch=Watcher(each_step=lambda record: None))
    assert (asked, len(run.history)) == ([False], 0 if moment is loop else 1)


def test_a_run_whose_code_cannot_be_named_is_computed_and_not_kept(own_cache):
    thing = object()

    class Nameless(training.Method):
        def loss(self, step):
            return step.logits.sum() * 0 if thing else None

    with pytest.warns(store.StoreWarning, match="not kept"):
        run = fit(small_model(), TRAIN, VALIDATION, SHORT, method=Nameless())
    assert (run.key, len(run.history)) == ("", SHORT.epochs)
    assert not list((own_cache / "runs").glob("*.safetensors"))


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["before", "during"])
def test_a_cache_folder_that_cannot_be_used_makes_the_book_slower_and_stops_nothing(own_cache, moment, monkeypatch):
    """A file in its place, from the beginning or from the second epoch on: the same numbers, and a warning."""
    whole, model = small_model(), small_model()
    recipe = dataclasses.replace(SHORT, epochs=4, freeze_depth=1)
    fit(whole, TRAIN, VALIDATION, recipe)
    monkeypatch.setattr(checkpoint, "EVERY", 0.0)

    def spoil(epoch=None):
        if epoch is None or epoch["epoch"] == 2:
            shutil.rmtree(own_cache)
            own_cache.write_text("no folder")

    if moment == "before":
        spoil()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run = fit(
            model,
            TRAIN,
            VALIDATION,
            recipe,
            fresh=True,
            watch=Watcher(each_epoch=spoil if moment == "during" else None),
        )
        predict(model, VALIDATION)
        embed(model, VALIDATION)
    assert len(run.history) == 4
    assert same(weights(whole), weights(model))
    assert any("Not kept" in str(one.message) for one in caught)
    assert ledger.default().records() == []


def test_stop_from_outside_is_not_stored(own_cache):
    run = fit(small_model(), TRAIN, VALIDATION, SHORT, watch=Watcher(each_epoch=lambda epoch: False))
    assert len(run.history) == 1
    assert not list((own_cache / "runs").glob("*.safetensors"))


def test_full_disk_loses_nothing(monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    model = small_model()
    with pytest.warns(UserWarning, match="No space left"):
        run = fit(model, TRAIN, VALIDATION, SHORT)
    assert len(run.history) == 2


def test_divergence_names_the_rate():
    with pytest.raises(TrainingDiverged, match="1e\\+30"):
        fit(small_model(), TRAIN, VALIDATION, Recipe(epochs=2, lr=1e30, warmup=0))
    assert ledger.default().records("unfinished run")[-1]["why"] == "TrainingDiverged"


@pytest.mark.slow
def test_early_stopping_keeps_the_best_epoch():
    model = small_model()
    recipe = Recipe(epochs=30, lr=1e-2, batch_size=16, schedule="constant", patience=2, keep="best")
    run = fit(model, TRAIN, VALIDATION, recipe)
    accuracies = [epoch["validation_accuracy"] for epoch in run.history]
    assert len(accuracies) < 30
    assert run.metrics["accuracy"] == max(accuracies)
    assert evaluate(model, VALIDATION)["accuracy"] == pytest.approx(max(accuracies))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("epochs", 0), ("lr", 0.0), ("lr", math.nan), ("lr", math.inf), ("batch_size", 1), ("weight_decay", -1.0),
        ("schedule", "linear"), ("warmup", 1.0), ("layer_decay", 0.0), ("label_smoothing", 1.0),
        ("augment", "mixup"), ("patience", 0), ("keep", "first"),
    ],
)  # fmt: skip
def test_recipes_that_cannot_be(field, value):
    with pytest.raises(ValueError, match=f"Recipe: {field}"):
        Recipe(**{field: value})


def test_fits_that_cannot_be():
    with pytest.raises(ValueError, match="head has 3 outputs"):
        fit(small_model(classes=3), TRAIN, VALIDATION, SHORT)
    with pytest.raises(ValueError, match="out of range"):
        fit(small_model(), TRAIN, VALIDATION, dataclasses.replace(SHORT, freeze_depth=9))
    with pytest.raises(ValueError, match="one class"):
        fit(small_model(), TRAIN.take(range(0, 20, 2)), VALIDATION, SHORT)
    with pytest.raises(ValueError, match="two or more"):
        fit(small_model(), TRAIN.take([0]), VALIDATION, SHORT)
    with pytest.raises(ValueError, match="validation"):
        fit(small_model(), TRAIN, None, dataclasses.replace(SHORT, keep="best"))
    for watch in (print, [Watcher(), print]):
        with pytest.raises(TypeError, match="Watcher\\(each_epoch=function\\)"):
            fit(small_model(), TRAIN, VALIDATION, SHORT, watch=watch)
    retention = training.Retention(VALIDATION, small_model().head)
    with pytest.raises(ValueError, match="Two watchers that measure"):
        fit(small_model(), TRAIN, VALIDATION, SHORT, watch=[retention, retention])
    broken = small_model()
    broken.head[1].bias.data[0] = math.nan
    with pytest.raises(ValueError, match="NaN"):
        fit(broken, TRAIN, VALIDATION, SHORT)


def test_shared_rows_are_leakage():
    table = {"table": "p"}
    with pytest.raises(ValueError, match="leakage"):
        fit(small_model(), dataclasses.replace(TRAIN, **table), dataclasses.replace(VALIDATION, **table), SHORT)


def test_odd_last_batch_of_one_is_dropped():
    run = fit(small_model(), stripes(33), None, Recipe(epochs=1, batch_size=16))
    assert math.isfinite(run.history[0]["train_loss"])


def test_flips_are_the_eight_exact_views():
    image = torch.arange(16, dtype=torch.uint8).reshape(1, 1, 4, 4)
    views = views_of(image.expand(400, -1, -1, -1), inputs.turns_of(400, "flips", seed=0, epoch=0))
    want = {torch.rot90(flip, k, (2, 3)).numpy().tobytes() for flip in (image, image.flip(3)) for k in range(4)}
    assert {view.numpy().tobytes() for view in views} == want


@pytest.mark.parametrize("schedule", ["constant", "cosine", "step"])
def test_rates_warm_up_and_stay_in_range(schedule):
    recipe = Recipe(schedule=schedule, warmup=0.2)
    rates = [rate_at(step, 100, recipe) for step in range(100)]
    assert rates[:20] == sorted(rates[:20])
    assert rates[20] == max(rates) == 1.0
    assert all(0 < rate <= 1 for rate in rates)
    assert rates[20:] == sorted(rates[20:], reverse=True)
    assert rates[-1] == pytest.approx({"constant": 1, "cosine": 0, "step": 0.1}[schedule], abs=1e-3)


def test_cosine_equals_torchs():
    recipe = Recipe(warmup=0.0, lr=1.0)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=50)
    for step in range(50):
        assert rate_at(step, 50, recipe) == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-6)
        optimizer.step()
        scheduler.step()


def test_predictions_are_kept_by_weights(own_cache):
    model = small_model()
    first = predict(model, VALIDATION)
    assert first.shape == (32, 2)
    assert np.array_equal(predict(model, VALIDATION), first)
    with torch.no_grad():
        model.head[1].bias += 1
    assert not np.array_equal(predict(model, VALIDATION), first)
    assert len(list((own_cache / "predictions").glob("*.safetensors"))) == 2


probabilities = hnp.arrays(float, st.tuples(st.integers(4, 40), st.integers(2, 4)), elements=st.floats(-5, 5)).map(
    softmax
)


@settings(max_examples=60, deadline=None)
@given(p=probabilities, data=st.data())
def test_score_agrees_with_scikit_learn(p, data):
    n, classes = p.shape
    labels = np.array(data.draw(st.lists(st.integers(0, classes - 1), min_size=n, max_size=n)))
    got = score(labels, p)
    assert got["accuracy"] == pytest.approx(100 * (p.argmax(1) == labels).mean())
    assert 0 <= got["calibration_error"] <= 100
    if len(np.unique(labels)) == classes:
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert got["balanced_accuracy"] == pytest.approx(100 * sk.balanced_accuracy_score(labels, p.argmax(1)))
        assert 0 <= got["auc"] <= 100


def test_calibration_error_by_hand():
    p = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [0.35, 0.65]])
    labels = np.array([0, 1, 1, 1])
    # bins of a tenth: (0.8, 0.9] holds two, half right; (0.5, 0.6] one, right; (0.6, 0.7] one, right
    want = 0.5 * abs(0.5 - 0.9) + 0.25 * abs(1 - 0.6) + 0.25 * abs(1 - 0.65)
    assert calibration_error(labels, p, bins=10) == pytest.approx(want)


@pytest.mark.parametrize(
    ("labels", "p", "says"),
    [
        ([], np.zeros((0, 2)), "0 labels"),
        ([0], np.array([0.5]), "shape"),
        ([0, 1], np.array([[0.5, 0.5], [math.nan, 0.5]]), "NaN"),
        ([0, 2], np.full((2, 2), 0.5), "2 classes"),
    ],
)
def test_scores_that_cannot_be(labels, p, says):
    with pytest.raises(ValueError, match=says):
        score(np.array(labels, dtype=int), p)


def test_one_class_among_the_labels_has_no_auc():
    assert math.isnan(score(np.array([1, 1]), np.array([[0.2, 0.8], [0.6, 0.4]]))["auc"])


def test_ledger_holds_the_run():
    run = fit(small_model(), TRAIN, VALIDATION, SHORT, name="kept")
    row = ledger.default().frame("run").iloc[-1]
    assert row["name"] == "kept"
    assert row["metrics.accuracy"] == run.metrics["accuracy"]
    assert row["config.lr"] == SHORT.lr


def told_by_two(own_cache, code):
    """What each of two processes has `told`, by rank: under torchrun, which `accelerate launch` calls."""
    root, script = Path(__file__).parents[2], own_cache.parent / "together.py"
    script.write_text(
        "import json, os, sys\n"
        "from pathlib import Path\n"
        "from tests.unit.small import small_model, stripes\n"
        "from tl_helpers.training import Recipe, Watcher, checkpoint, fit\n"
        "rank = int(os.environ['RANK'])\n"
        + textwrap.dedent(code)
        + "\nPath(sys.argv[1], f'rank{rank}.json').write_text(json.dumps(told))\n"
    )
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", str(script)]
    command.append(str(script.parent))
    here = os.environ | {"PYTHONPATH": f"{root}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    here |= {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=root, env=here, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    # Each process has a file of its own: what two of them print into one pipe may run together.
    return [json.loads((script.parent / f"rank{rank}.json").read_text()) for rank in range(2)]


@pytest.mark.slow
@pytest.mark.parametrize("unfreeze", ["at_once", "gradual"])
def test_two_processes_train_together(own_cache, unfreeze):
    """Both finish, or stop where one says so; one record."""
    code = f"""
        recipe = Recipe(epochs=6, lr=1e-2, batch_size=8, unfreeze={unfreeze!r})
        run = fit(small_model(), stripes(64), stripes(32, seed=1, name="v"), recipe)
        def stop(record):
            return rank == 0 or record["epoch"] < 2
        stopped = [len(fit(small_model(), stripes(64), None, recipe, watch=Watcher(**{{when: stop}})).history)
                   for when in ("each_step", "each_epoch")]
        told = [run.metrics["accuracy"], stopped]
    """
    first, second = told_by_two(own_cache, code)
    assert first == second == [first[0], [1, 2]]
    assert first[0] > 80
    assert len(ledger.default().records("run")) == 1


@pytest.mark.slow
def test_each_of_two_processes_goes_on_with_its_own_random_numbers(own_cache):
    code = """
        checkpoint.EVERY = 0.0
        def trained(watch=(), fresh=None):
            model = small_model(dropout=0.5)
            fit(model, stripes(64), None, Recipe(epochs=4, batch_size=16), watch=watch, fresh=fresh)
            return [parameter.tolist() for parameter in model.parameters()]
        def kill(record):
            if record["epoch"] == 3:
                raise KeyboardInterrupt
        try:
            trained(Watcher(each_epoch=kill))
        except KeyboardInterrupt:
            epochs = []
        resumed = trained(Watcher(each_epoch=lambda record: epochs.append(record["epoch"])))
        told = [epochs, resumed == trained(fresh=True)]
    """
    assert told_by_two(own_cache, code) == [[[3, 4], True]] * 2
