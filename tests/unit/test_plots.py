"""Figures: what is drawn is what the frame holds; mistakes are told in plain words."""

from __future__ import annotations

from dataclasses import dataclass, field

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import torch

from tl_helpers import plots
from tl_helpers.training import calibration_error

mpl.use("agg")
import matplotlib.pyplot as plt  # the backend comes first


@pytest.fixture(autouse=True)
def close_figures():
    with mpl.rc_context():
        plots.use_style()
        yield
    plt.close("all")


@pytest.fixture
def runs():
    """Two methods, three label counts, three seeds; accuracy in percent."""
    rows = [
        {"method": m, "labels": n, "seed": s, "accuracy": base + 2.0 * k + s, "seconds": 10.0 * n + s}
        for m, base in (("frozen features", 80.0), ("from scratch", 60.0))
        for k, n in enumerate((20, 100, 1000))
        for s in range(3)
    ]
    return pd.DataFrame(rows)


def _complete(ax):
    return bool(ax.get_title(loc="left") or ax.get_title()) and bool(ax.get_xlabel()) and bool(ax.get_ylabel())


def test_a_method_keeps_its_colour_whatever_stands_beside_it():
    alone = plots.colours(["frozen features"])["frozen features"]
    assert plots.colours(["new", "from scratch", "frozen features"])["frozen features"] == alone
    assert plots.colours(["Fine-Tuning"])["Fine-Tuning"] == plots.colours(["fine tuning"])["fine tuning"]


def test_unknown_methods_get_distinct_colours_that_the_known_ones_do_not_use():
    got = plots.colours(["a", "fine-tuning", "b", "frozen features", "c"])
    assert len(set(got.values())) == 5
    assert got == plots.colours(["a", "fine-tuning", "b", "frozen features", "c"])


@pytest.mark.parametrize(
    ("value", "text"),
    [(1e-3, "0.001"), (1e-05, "0.00001"), (100, "100"), (1574.0, "1574"), (26240, "26,240"), ("all", "all")],
)
def test_numbers_are_written_for_people(value, text):
    assert plots.number(value) == text


def test_aggregate_leaves_missing_values_out_and_a_single_run_has_no_spread():
    frame = pd.DataFrame({"m": ["a", "a", "a", "b"], "v": [1.0, 3.0, np.nan, 5.0]})
    table = plots.aggregate(frame, ["m"], "v").set_index("m")
    assert table.loc["a", "mean"] == 2
    assert table.loc["a", "n"] == 2
    assert table.loc["a", "spread"] == pytest.approx(np.sqrt(2))
    assert np.isnan(table.loc["b", "spread"])


def test_95_interval_uses_the_t_quantile():
    frame = pd.DataFrame({"m": ["a"] * 3, "v": [1.0, 2.0, 3.0]})
    assert plots.aggregate(frame, ["m"], "v", "95")["spread"][0] == pytest.approx(4.30265 / np.sqrt(3), rel=1e-4)


def test_learning_curves_draw_means_in_percent_with_labels_and_units(runs):
    ax = plots.learning_curves(runs, references={"majority": 68.7})
    lines = {line.get_label(): line for line in ax.lines}
    assert lines["frozen features"].get_ydata() == pytest.approx([81, 83, 85])
    assert list(lines["from scratch"].get_xdata()) == [20, 100, 1000]
    assert ax.get_xscale() == "log"
    assert [t.get_text() for t in ax.get_xticklabels()] == ["20", "100", "1000"]
    assert ax.get_ylabel() == "accuracy (%)"
    assert "majority 68.7" in [t.get_text().strip() for t in ax.texts]
    assert _complete(ax)


def test_a_trade_off_goes_through_the_means_from_the_lowest_knob(runs):
    runs = runs.assign(kept=100 - runs["accuracy"])
    ax = plots.trade_off(
        runs, "accuracy", "kept", "labels", "method", title="t", x_label="a", y_label="k", faint=["from scratch"]
    )
    means = [line for line in ax.lines if not line.get_label().startswith("_")]
    assert [line.get_label() for line in means] == ["frozen features", "from scratch"]
    np.testing.assert_allclose(means[0].get_xdata(), [81.0, 83.0, 85.0])
    np.testing.assert_allclose(means[0].get_ydata(), [19.0, 17.0, 15.0])
    assert means[1].get_color() == plots.OKABE_ITO["grey"] != means[0].get_color()


def test_a_trade_off_of_fractions_is_refused(runs):
    runs = runs.assign(kept=runs["accuracy"] / 100)
    with pytest.raises(ValueError, match="fractions"):
        plots.trade_off(runs, "accuracy", "kept", "labels", "method", title="t", x_label="a", y_label="k")


def test_bars_draw_mean_spread_and_reference(runs):
    ax = plots.bars(runs[runs.labels == 20], references={"published": 82.44})
    assert [patch.get_width() for patch in ax.patches] == pytest.approx([81, 61])
    assert [t.get_text() for t in ax.get_yticklabels()] == ["frozen features", "from scratch"]
    texts = [t.get_text().strip() for t in ax.texts]
    assert "81.0 ± 1.0" in texts
    assert "published 82.44" in texts


def test_bars_that_do_not_begin_at_zero_become_dots(runs):
    assert not plots.bars(runs, low=50).patches


def test_stage_curve_keeps_the_order_of_the_stages():
    frame = pd.DataFrame({"stage": ["stem", "block 1", "head"] * 2, "accuracy": [70.0, 80.0, 75.0] * 2})
    ax = plots.stage_curve(frame)
    assert [t.get_text() for t in ax.get_xticklabels()] == ["stem", "block 1", "head"]
    assert _complete(ax)


@dataclass
class _Run:
    name: str
    seed: int = 0
    history: list = field(default_factory=list)


def test_history_shows_training_and_validation_of_each_metric():
    records = [
        {"epoch": e, "train_loss": 1 / e, "validation_loss": 2 / e, "validation_accuracy": 50.0 + 10 * e}
        for e in (1, 2)
    ]
    loss, accuracy = plots.history(_Run("probe", history=records))
    assert [line.get_label() for line in loss.lines] == ["train", "validation"]
    assert accuracy.lines[0].get_ydata() == pytest.approx([60, 70])
    assert accuracy.get_ylabel() == "accuracy (%)"


def test_history_without_epochs_or_metrics_is_refused():
    with pytest.raises(ValueError, match="no epoch records"):
        plots.history(_Run("probe"))
    with pytest.raises(ValueError, match="the records have epoch"):
        plots.history(_Run("probe", history=[{"epoch": 1}]))


def test_confusion_counts():
    ax = plots.confusion([0, 0, 1, 1], [0, 1, 1, 1], ["ok", "defect"])
    assert [t.get_text() for t in ax.texts] == ["1\n50%", "1\n50%", "0\n0%", "2\n100%"]
    with pytest.raises(ValueError, match="outside"):
        plots.confusion([0, 2], [0, 1], ["ok", "defect"])


@pytest.mark.parametrize("cmap", ["cividis", "PuOr", "Blues"])
def test_numbers_on_a_heat_map_can_be_read_on_every_cell(cmap):
    """Contrast 4.5 : 1 at least, by the definition of WCAG 2.2."""
    table = pd.DataFrame(np.linspace(-1, 1, 60).reshape(6, 10))
    picture = plots.heat_map(table, "+.1f", cmap=cmap, limits=(-1, 1), title="t", xlabel="x", ylabel="y")
    assert len(picture.axes.texts) == 60

    def luminance(rgb):
        rgb = np.asarray(rgb)
        linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    for text, value in zip(picture.axes.texts, table.to_numpy().ravel(), strict=True):
        assert text.get_text() == f"{value:+z.1f}"
        light = sorted(luminance(mpl.colors.to_rgb(c)) for c in (text.get_color(), picture.to_rgba(value)[:3]))
        assert (light[1] + 0.05) / (light[0] + 0.05) >= 4.5


@pytest.mark.parametrize(("spec", "expected"), [(".0f", ["0", "-1"]), ("+.0f", ["+0", "-1"])])
def test_what_rounds_to_nought_has_no_minus_on_a_heat_map(spec, expected):
    ax = plots.heat_map(pd.DataFrame([[-0.3, -1.0]]), spec).axes
    assert [text.get_text() for text in ax.texts] == expected


def test_a_heat_map_names_its_rows_and_leaves_what_is_missing_empty():
    table = pd.DataFrame([[1.0, np.nan], [3.0, 4.0]], index=["a", "b"], columns=["c", "d"])
    ax = plots.heat_map(table, [["one", "-"], ["three", "four"]]).axes
    assert [t.get_text() for t in ax.texts] == ["one", "three", "four"]
    assert [t.get_text() for t in ax.get_xticklabels()] == ["c", "d"]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["a", "b"]


@pytest.mark.parametrize("classes", [2, 5])
def test_a_reliability_diagram_and_a_table_name_the_same_error(classes):
    """Also where a confidence lies on the edge of a bin."""
    rng = np.random.default_rng(classes)
    probabilities = rng.dirichlet(np.full(classes, 0.5), size=300)
    probabilities[:30] = np.eye(classes)[rng.integers(0, classes, 30)] * 0.6 + 0.4 / classes
    probabilities[30:40] = np.full(classes, 1 / classes)
    labels = rng.integers(0, classes, size=300)
    ax = plots.reliability(labels, probabilities)
    assert f"{100 * calibration_error(labels, probabilities):.1f} points" in ax.get_title(loc="left")


def test_reliability_names_the_calibration_error():
    # 100 samples at 90 % confidence, 80 of them right: the gap is 10 points.
    ax = plots.reliability(np.r_[np.ones(80), np.zeros(20)], np.full(100, 0.9))
    assert "10.0 points" in ax.get_title(loc="left")
    with pytest.raises(ValueError, match="not logits"):
        plots.reliability([0, 1], [-2.0, 3.0])


def test_pictures_feature_maps_and_filters():
    axes = plots.image_grid(torch.zeros(5, 1, 8, 8, dtype=torch.uint8), list("abcde"), columns=3)
    assert axes.shape == (2, 3)
    assert [ax.get_title() for ax in axes.flat] == ["a", "b", "c", "d", "e", ""]
    assert sum(len(ax.images) for ax in plots.feature_maps(torch.rand(20, 4, 4), most=6).flat) == 6
    assert sum(len(ax.images) for ax in plots.filters(torch.randn(10, 3, 3, 3)).flat) == 10
    with pytest.raises(ValueError, match="uint8"):
        plots.image_grid(torch.randn(2, 3, 4, 4) * 3)
    with pytest.raises(ValueError, match="shape"):
        plots.image_grid(torch.zeros(8, 8))


def test_result_table_prints_as_many_digits_as_the_noise_allows(runs):
    table = plots.result_table(runs, by=["method", "labels"], metrics=["accuracy", "seconds"])
    assert table.loc[("frozen features", 20), "accuracy (%)"] == "81.0 ± 1.0 (3)"
    assert table.loc[("frozen features", 20), "seconds"] == "201.0 ± 1.0 (3)"
    assert plots.mean_text(84.123, 12.3, 5) == "84 ± 12 (5)"
    assert plots.mean_text(84.123, 0.042, 5) == "84.12 ± 0.04 (5)"
    assert plots.mean_text(84.123, float("nan"), 1) == "84.1 (1)"
    assert plots.mean_text(-0.02, 0.8, 5) == "0.0 ± 0.8 (5)"
    assert plots.mean_text(float("nan"), float("nan"), 0) == "not recorded"
    assert plots.mean_text(3_373_570.0, 0.0, 3) == "3,373,570 (3)"
    assert plots.mean_text(100.0, 0.0, 3) == "100.0 ± 0.0 (3)"


@pytest.mark.parametrize(
    ("column", "text"),
    [
        ("accuracy", "accuracy (%)"),
        ("test.balanced_accuracy", "balanced accuracy (%)"),
        ("validation.accuracy", "validation accuracy (%)"),
        ("validation_auc", "validation AUC (%)"),
        ("top_5_accuracy", "top-5 accuracy (%)"),
        ("train_seconds", "training seconds"),
        ("lr", "learning rate"),
        ("trainable", "trainable parameters"),
        ("memory_kb", "memory kB"),
        ("skewness of N_1", "skewness of N_1"),  # written for people
        ("digits (%)", "digits (%)"),
        ("mobilenet_v3.5", "mobilenet v3.5"),
        (0.001, "0.001"),
    ],
)
def test_column_names_are_said_in_words(column, text):
    assert plots.words(column) == text


def test_headers_and_labels_are_words(runs):
    """No machine name where a reader looks: header, name of the index, axis, title."""
    frame = runs.assign(source_target=runs["method"], **{"test.auc": runs["accuracy"]})
    table = plots.result_table(frame, by=["source_target", "labels"], metrics=["accuracy", "test.auc"])
    assert list(table.columns) == ["accuracy (%)", "AUC (%)"]
    assert table.index.names == ["source target", "labels"]
    assert plots.result_table(frame, by=["source_target"]).index.name == "source target"
    ax = plots.learning_curves(frame, y="test.auc", series="source_target")
    assert ax.get_ylabel() == "AUC (%)"
    assert ax.get_title(loc="left") == "AUC over labels"


def test_two_metrics_with_the_same_words_are_refused(runs):
    with pytest.raises(ValueError, match="same name in words"):
        plots.result_table(runs.assign(**{"test.accuracy": 50.0}), metrics=["accuracy", "test.accuracy"])


@pytest.mark.parametrize("draw", [plots.learning_curves, plots.bars, plots.stage_curve, plots.result_table])
def test_empty_frame_and_missing_column_are_told(draw, runs):
    with pytest.raises(ValueError, match="no column"):
        draw(runs.drop(columns="accuracy"))
    with pytest.raises(ValueError, match="no rows"):
        draw(runs.assign(stage=1).iloc[:0])


@pytest.mark.parametrize("draw", [plots.learning_curves, plots.bars, plots.stage_curve, plots.result_table])
def test_fractions_are_not_shown_as_percentages(draw, runs):
    with pytest.raises(ValueError, match="looks like fractions: multiply by 100"):
        draw(runs.assign(stage="stem", accuracy=runs.accuracy / 100))


def test_fractions_in_a_history_are_refused():
    with pytest.raises(ValueError, match="looks like fractions"):
        plots.history(_Run("probe", history=[{"epoch": 1, "validation_accuracy": 0.5}]))


def test_small_numbers_that_are_no_fractions_pass(runs):
    """A calibration error below one point, and values with another unit than %."""
    small = runs.assign(calibration_error=0.5, gap=0.01 * runs.accuracy)
    assert plots.result_table(small, metrics=["calibration_error"]).iloc[0, 0] == "0.5 ± 0.0 (9)"
    ax = plots.learning_curves(small, y="gap", unit="")
    assert max(ax.lines[1].get_ydata()) == pytest.approx(0.85)


def test_embedding_map_draws_each_sample_once_along_the_direction_that_varies_most():
    rng = np.random.default_rng(0)
    common = rng.normal(size=40)
    x = np.stack([common, common, common, rng.normal(size=40)], axis=1) + 0.01 * rng.normal(size=(40, 4))
    labels = (common > 0).astype(int)
    axes = plots.embedding_map({"one": x, "two": 5 * x + 3}, labels, ("below", "above"))
    assert len(axes) == 2
    assert all(map(_complete, axes))
    drawn = [np.concatenate([line.get_xydata() for line in ax.lines]) for ax in axes]
    assert drawn[0].shape == (40, 2)
    assert np.allclose(*drawn)  # scaling each feature takes scale and shift out
    order = np.concatenate([common[labels == 0], common[labels == 1]])
    assert abs(np.corrcoef(order, drawn[0][:, 0])[0, 1]) > 0.99
    with pytest.raises(ValueError, match="as many as there are labels"):
        plots.embedding_map({"one": x}, labels[:3], ("below", "above"))
