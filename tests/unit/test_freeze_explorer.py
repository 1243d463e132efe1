"""widgets.FreezeExplorer: the map holds what was recorded, a live run adds a point, stops at once, and never breaks it."""

import itertools
import json
import re
import threading

import numpy as np
import pandas as pd
import pytest

from tl_helpers import store, training
from tl_helpers.book import widgets
from tl_helpers.book.widgets import FreezeExplorer
from tl_helpers.data import load_task
from tl_helpers.training import Recipe

from .small import small_model

RATES, LABELS = (1e-4, 1e-3, 1e-2), (20, 50, "all")


@pytest.fixture(scope="module")
def task():
    return load_task("optdigits").few_labels(60)


def frame(depths=range(4), seeds=range(3)):
    rng = np.random.default_rng(0)
    rows = [
        {"depth": d, "lr": lr, "labels": n, "seed": s, "validation_accuracy": 60 + 5 * d + rng.normal()}
        for d, lr, n, s in itertools.product(depths, RATES, LABELS, seeds)
    ]
    return pd.DataFrame(rows)


def explorer(task, **options):
    made = {
        "size": 16,
        "make_model": lambda seed: small_model(classes=10, seed=seed),
        "stages": ("conv1", "conv2", "conv3"),
        "recipe": Recipe(epochs=2, batch_size=16),
    }
    return FreezeExplorer(frame(), task, **(made | options))


def test_the_map_holds_the_recorded_means(task):
    shown = explorer(task)
    grid = shown.view.grid
    assert [c["values"] for c in grid["controls"][:3]] == [
        ["0", "1", "2", "3"],
        ["0.0001", "0.001", "0.01"],
        ["20", "50", "all"],
    ]
    want = frame().groupby(["labels", "depth", "lr"])["validation_accuracy"].agg(["mean", "std"])
    for k, (depth, rate, labels) in enumerate(itertools.product(range(4), RATES, LABELS)):
        assert grid["cells"][k] == [*map(pytest.approx, want.loc[labels, depth, rate], [1e-4] * 2), 3]
    notes = grid["controls"][0]["notes"]
    assert notes == ["nothing frozen", "conv1 frozen", "conv1 to conv2 frozen", "only the head trains"]


def test_missing_cells_and_the_table(task):
    some = frame().query("not (depth == 2 and lr == 1e-2)")
    shown = FreezeExplorer(some, task, stages=("a", "b", "c"))
    assert sum(cell is None for cell in shown.view.grid["cells"]) == len(LABELS)
    assert shown.table().shape == (9, 4)
    assert "±" in shown.table().loc[("20", "0.001"), "0"]
    assert "±" in shown._repr_mimebundle_()["text/plain"]


def test_the_state_of_a_full_grid_is_small(task):
    rng = np.random.default_rng(0)
    rows = [
        {"depth": d, "lr": 10.0**-r, "labels": n, "seed": s, "validation_accuracy": 100 * rng.random()}
        for d, r, n, s in itertools.product(range(10), range(6), (50, 300, "all"), range(3))
    ]
    view = FreezeExplorer(pd.DataFrame(rows), task).view
    assert len(json.dumps({name: view.get_state()[name] for name in ("grid", "live", "run")})) < 60_000


def test_a_live_run_adds_a_point_and_takes_the_next_seed(task):
    shown = explorer(task)
    shown.controls["depth"].index, shown.controls["lr"].index, shown.controls["labels"].index = 1, 2, 1
    shown.controls["epochs"].index = 1
    states = []
    shown.view.observe(lambda change: states.append(change["new"]["state"]), "run")
    shown.run().join(60)
    point = shown.view.live[0]
    assert point["at"] == [1, 2, 1]
    assert 0 <= point["values"]["validation accuracy"] <= 100
    assert "2 epochs" in point["note"]
    assert states[0] == "running"
    assert states[-1] == "done"
    assert len(shown.view.run["losses"]) == 8  # 2 epochs of 4 batches
    assert len(shown.view.run["accuracies"]) == 2
    assert shown.seed == 1
    shown.run([0, 0, 2, 0, 1]).join(60)
    assert [point["at"] for point in shown.view.live] == [[1, 2, 1], [0, 0, 2]]


def test_stop_works_within_a_step_and_keeps_nothing(task, own_cache):
    shown = explorer(task)
    seen = []

    def look(change):
        losses = change["new"].get("losses", [])
        seen.append(len(losses))
        if losses:
            shown.stop()

    shown.view.observe(look, "run")
    shown.run([0, 1, 2, 9, 1]).join(60)
    assert shown.view.run["state"] == "stopped"
    assert re.fullmatch(r"stopped after \d+\.\d s; nothing was kept", shown.view.run["text"])
    assert max(seen) <= 2  # at most the step in which the wish arrived
    assert shown.view.live == []
    assert not list((own_cache / "runs").glob(f"*{store.SUFFIX}"))
    shown.view.unobserve_all("run")
    shown.run([3, 1, 0, 0, 1]).join(60)
    assert shown.view.run["state"] == "done"


def test_a_failure_is_shown_and_the_next_run_works(task, monkeypatch):
    shown = explorer(task)
    fit = training.fit
    monkeypatch.setattr(training, "fit", lambda *_, **__: 1 / 0)
    shown.run().join(60)
    assert shown.view.run["state"] == "failed"
    assert "ZeroDivisionError" in shown.view.run["text"]
    monkeypatch.setattr(training, "fit", fit)
    shown.run([3, 1, 0, 0, 1]).join(60)
    assert shown.view.run["state"] == "done"


def test_divergence_is_told_in_plain_words(task):
    shown = explorer(task, recipe=Recipe(epochs=2, batch_size=16, warmup=0))
    shown._values["lr"][2] = 1e30
    shown.run([0, 2, 0, 1, 1]).join(60)
    assert shown.view.run["state"] == "failed"
    assert "learning rate" in shown.view.run["text"]


def test_one_run_at_a_time_and_stop_reaches_what_comes_before_the_first_step(task):
    at_work = threading.Event()

    def slow(seed):
        at_work.set()
        while True:
            pass

    shown = explorer(task, make_model=slow)
    thread = shown.run()
    assert at_work.wait(10)
    assert shown.run() is None
    shown.stop()
    thread.join(10)
    assert shown.view.run["state"] == "stopped"


def test_messages_of_the_browser(task):
    shown = explorer(task)
    sent, calls = [], []
    shown.view.send = sent.append
    shown.run = calls.append
    shown.stop = lambda: calls.append("stop")
    for n, message in enumerate([{"type": "ping"}, {"type": "run", "at": [0, 1, 2, 0, 0]}, {"type": "stop"}]):
        shown.view._handle_custom_msg(message | {"n": n}, [])
    shown.view._handle_custom_msg("nonsense", [])
    assert sent == [{"type": "pong", "n": n} for n in range(3)]
    assert calls == [[0, 1, 2, 0, 0], "stop"]


@pytest.mark.parametrize("at", [[0, 0, 0, 0], [4, 0, 0, 0, 0], [0, -1, 0, 0, 0]])
def test_indices_that_cannot_be(task, at):
    with pytest.raises(ValueError, match="5 indices"):
        explorer(task).run(at)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (frame().drop(columns="lr"), "lr"),
        (frame().assign(validation_accuracy=lambda f: f["validation_accuracy"] / 100), "percent"),
        (frame().assign(validation_accuracy=np.nan), "validation_accuracy"),
        (frame().iloc[:0], "empty|no row"),
    ],
)
def test_frames_that_cannot_be(task, wrong, says):
    with pytest.raises(ValueError, match=says):
        FreezeExplorer(wrong, task)


def test_every_control_is_linked_and_labelled(task):
    shown = explorer(task)
    assert len(shown._links) == 5
    assert {link.target[1] for link in shown._links} == {"i0", "i1", "i2", "i3", "i4"}
    assert all(control.description for control in shown.controls.values())
    assert widgets.FreezeExplorer is FreezeExplorer
