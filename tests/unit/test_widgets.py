"""Live controls, the Python side: what is embedded, what is linked, what a click does. The page is tested elsewhere."""

from __future__ import annotations

import json
import threading

import ipywidgets
import numpy as np
import pandas as pd
import pytest

from tl_helpers.book import widgets

LABELS = {"labels": "labelled cells"}


@pytest.fixture
def runs():
    """Two methods x three label counts x two rates x two seeds; one combination missing."""
    rows = [
        {"method": m, "labels": n, "rate": rate, "seed": s, "accuracy": base + 2.0 * k + 2.0 * s, "head": head}
        for m, base in (("frozen features", 80.0), ("from scratch", 60.0))
        for k, n in enumerate((20, 100, 1000))
        for rate, head in ((1e-3, "linear"), (1e-5, "kNN"))
        for s in range(2)
        if not (m == "from scratch" and n == 20)
    ]
    return pd.DataFrame(rows)


def _wait(thread):
    assert thread is not None, "no run was started"
    thread.join(timeout=5)
    assert not thread.is_alive()


def test_seeds_are_averaged_and_missing_combinations_are_null(runs):
    grid = widgets.explore(runs, LABELS).view.grid
    assert grid["controls"] == [{"label": "labelled cells", "values": ["20", "100", "1000"], "key": "labels"}]
    assert [s["name"] for s in grid["series"]] == ["frozen features", "from scratch"]
    assert grid["cells"][1] is None  # from scratch at 20 labels
    mean, spread, n = grid["cells"][0]
    values = runs.query("method == 'frozen features' and labels == 20").accuracy
    assert (mean, n) == (pytest.approx(values.mean()), 4)
    assert spread == pytest.approx(values.std(), rel=1e-4)
    assert grid["spread"] == "standard deviation over runs"


def test_interval_is_named_and_single_runs_have_no_spread(runs):
    grid = widgets.explore(runs, LABELS, spread="95").view.grid
    assert grid["spread"] == "95 % interval of the mean"
    single = widgets.explore(runs[(runs.seed == 0) & (runs["head"] == "kNN")], LABELS).view.grid
    assert all(cell[1:] == [None, 1] for cell in single["cells"] if cell)


def test_every_control_has_a_name_and_is_linked_in_the_browser(runs):
    explorer = widgets.explore(runs, {"labels": "labelled cells", "rate": "learning rate", "head": "head"})
    kinds = [type(c) for c in explorer.controls.values()]
    assert kinds == [ipywidgets.SelectionSlider, ipywidgets.SelectionSlider, ipywidgets.Dropdown]
    assert [c.description for c in explorer.controls.values()] == ["labelled cells", "learning rate", "head"]
    assert [label for label, _ in explorer.controls["rate"].options] == ["0.00001", "0.001"]
    for k, (link, control) in enumerate(zip(explorer._links, explorer.controls.values(), strict=True)):
        assert link._model_name == "LinkModel"  # a jslink: works without a kernel
        assert link.source == (control, "index")
        assert link.target == (explorer.view, f"i{k}")
    assert list(explorer.children) == [*explorer.controls.values(), explorer.view]


def test_view_and_controls_start_at_the_same_place(runs):
    explorer = widgets.explore(runs, {"labels": "labelled cells", "head": "head"}, start={"labels": 1000})
    assert explorer.setting == {"labels": 1000, "head": "kNN"}
    assert (explorer.view.i0, explorer.view.i1) == (2, 1)
    with pytest.raises(ValueError, match="not recorded"):
        widgets.explore(runs, LABELS, start={"labels": 21})


def test_embedded_state_is_small_and_valid_json(runs):
    view = widgets.explore(runs, {"labels": "labelled cells", "rate": "learning rate"}).view
    state = {k: v for k, v in view.get_state().items() if k not in ("layout",)}
    text = json.dumps(state, allow_nan=False)
    assert len(text) < 40_000
    assert "export default" in state["_esm"]
    assert ".tl-view" in state["_css"]


def test_missing_values_do_not_reach_the_page(runs):
    frame = runs.assign(accuracy=runs.accuracy.where(runs.labels != 100))
    grid = widgets.explore(frame, LABELS).view.grid
    assert grid["controls"][0]["values"] == ["20", "1000"]
    partly = runs.assign(accuracy=runs.accuracy.where((runs.labels != 100) | (runs.method == "from scratch")))
    assert widgets.explore(partly, LABELS).view.grid["cells"][2] is None


def test_curves_need_numbers_on_the_axis(runs):
    grid = widgets.explore(runs, {"head": "head", "labels": "labelled cells"}, kind="curves", x="labels").view.grid
    assert grid["x"] == {"control": 1, "at": [20.0, 100.0, 1000.0]}
    with pytest.raises(ValueError, match="holds names"):
        widgets.explore(runs, {"head": "head"}, kind="curves")


def test_one_series_and_values_without_unit(runs):
    grid = widgets.explore(runs, LABELS, series=None, value="rate", unit="").view.grid
    assert [s["name"] for s in grid["series"]] == ["rate"]
    assert grid["cells"][0][0] == pytest.approx(runs.query("labels == 20").rate.mean(), rel=1e-4)
    assert len(grid["cells"]) == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"frame": pd.DataFrame({"labels": [], "method": [], "accuracy": []})}, "no rows"),
        ({"controls": {"label": "labels"}}, "no column 'label'"),
        ({"controls": {}}, "between 1 and 3"),
        ({"controls": dict.fromkeys(["labels", "rate", "head", "seed"], "x")}, "between 1 and 3"),
        ({"kind": "pie"}, "'bars' or 'curves'"),
        ({"value": "f1"}, "no column 'f1'"),
        ({"spread": "se"}, "interval is"),
        ({"x": "rate", "kind": "curves"}, "not one of the controls"),
    ],
)
def test_mistakes_are_told_in_plain_words(runs, change, message):
    arguments = {"frame": runs, "controls": LABELS} | change
    with pytest.raises(ValueError, match=message):
        widgets.explore(arguments.pop("frame"), arguments.pop("controls"), **arguments)


def test_only_missing_values_and_fractions_are_refused(runs):
    with pytest.raises(ValueError, match="nothing to show"):
        widgets.explore(runs.assign(accuracy=np.nan), LABELS)
    with pytest.raises(ValueError, match="looks like fractions"):
        widgets.explore(runs.assign(accuracy=runs.accuracy / 100), LABELS)


# ---- live runs


def _sent(explorer, monkeypatch):
    messages = []
    monkeypatch.setattr(explorer.view, "send", messages.append)
    return messages


def test_a_ping_is_answered_only_where_there_is_something_to_run(runs, monkeypatch):
    with_live = widgets.explore(runs, LABELS, live=lambda labels: 50.0)
    without = widgets.explore(runs, LABELS)
    for explorer, expected in ((with_live, [{"type": "pong", "n": 7}]), (without, [])):
        messages = _sent(explorer, monkeypatch)
        explorer.view._handle_custom_msg({"type": "ping", "n": 7}, [])
        explorer.view._handle_custom_msg("nonsense", [])
        assert messages == expected
    assert (with_live.view.run["state"], without.view.run["state"]) == ("idle", "recorded")
    assert without.run() is None
    without.stop()  # nothing to stop, and no error


def test_a_live_result_is_stored_with_its_setting(runs):
    calls = []

    def live(labels, progress):
        calls.append(labels)
        progress("epoch 1 of 1")
        return {"frozen features": 87.5}

    explorer = widgets.explore(runs, LABELS, live=live)
    _wait(explorer.run())
    (result,) = explorer.view.live
    assert calls == [100]
    assert (result["at"], result["values"]) == ([1], {"frozen features": 87.5})
    assert explorer.view.run["state"] == "done"
    assert explorer.view.run["seconds"] >= 0
    _wait(explorer.run())
    assert len(explorer.view.live) == 1  # a repeated setting replaces its result


def test_a_click_runs_the_setting_that_it_saw(runs):
    calls = []
    explorer = widgets.explore(runs, LABELS, live=lambda labels: calls.append(labels) or 50.0)
    explorer.view._handle_custom_msg({"type": "run", "at": [2]}, [])
    for thread in threading.enumerate():
        if thread.name == "tl-live-run":
            thread.join(timeout=5)
    assert calls == [1000]
    assert explorer.view.live[0]["values"] == {"live": 50.0}  # a bare number among several series stands alone


def test_a_second_click_while_one_runs_is_ignored_and_the_kernel_stays_free(runs):
    go = threading.Event()
    explorer = widgets.explore(runs, LABELS, live=lambda labels: go.wait(5) and 50.0)
    first = explorer.run()
    assert explorer.view.run["state"] == "running"
    assert explorer.run() is None
    go.set()
    _wait(first)
    assert explorer.view.run["state"] == "done"
    _wait(explorer.run())


def test_stop_ends_a_live_function_that_knows_nothing_of_stopping(runs):
    at_work, left = threading.Event(), threading.Event()

    def live(labels):
        try:
            at_work.set()
            while True:
                pass
        finally:
            left.set()

    explorer = widgets.explore(runs, LABELS, live=live)
    thread = explorer.run()
    assert at_work.wait(5)
    explorer.view._handle_custom_msg({"type": "stop", "n": 2}, [])
    _wait(thread)
    assert left.is_set()
    assert explorer.view.run["state"] == "stopped"
    assert explorer.view.run["text"] == f"stopped after {explorer.view.run['seconds']:.1f} s; nothing was kept"
    assert explorer.view.live == []
    explorer._live = lambda labels: 50.0
    _wait(explorer.run())
    assert explorer.view.run["state"] == "done"


def test_an_exception_is_shown_with_what_to_do_and_the_next_run_works(runs):
    fail = [True]

    def live(labels):
        if fail.pop():
            raise RuntimeError("no such features on disk")
        return 50.0

    explorer = widgets.explore(runs, LABELS, live=live)
    _wait(explorer.run())
    text = explorer.view.run["text"]
    assert explorer.view.run["state"] == "failed"
    assert "RuntimeError: no such features on disk" in text
    assert "press the button again" in text
    assert explorer.view.live == []
    fail.append(False)
    _wait(explorer.run())
    assert explorer.view.run["state"] == "done"


@pytest.mark.parametrize("result", [float("nan"), "high", None, {}, {"frozen features": float("inf")}])
def test_a_live_result_that_cannot_be_drawn_is_told(runs, result):
    explorer = widgets.explore(runs, LABELS, live=lambda labels: result)
    _wait(explorer.run())
    assert explorer.view.run["state"] == "failed"
    assert "the live function returned" in explorer.view.run["text"]


def test_a_live_fraction_is_not_drawn_as_a_percentage(runs):
    explorer = widgets.explore(runs, LABELS, live=lambda labels: 0.875)
    _wait(explorer.run())
    assert explorer.view.run["state"] == "failed"
    assert "looks like fractions: multiply by 100" in explorer.view.run["text"]
    assert explorer.view.live == []


def test_viewers_without_widgets_see_a_table(runs):
    text = widgets.explore(runs, LABELS)._repr_mimebundle_()["text/plain"]
    assert "not recorded" in text
    assert "frozen features" in text
