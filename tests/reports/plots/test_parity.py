"""Figures of predictions show every sample, the scores of the report, and names as they are."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import matplotlib
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from rhonet.core.predictions import Predictions
from rhonet.core.properties import PROPERTIES, Property
from rhonet.evaluation.metrics import evaluate
from rhonet.reports.plots.history import history_figure
from rhonet.reports.plots.parity import figure_to_image, overview_figure, property_figure, save_figures
from rhonet.reports.wording import significant, with_interval

MODULUS = PROPERTIES["bulk_modulus"]
GAP = PROPERTIES["band_gap"]
METAL = PROPERTIES["is_metal"]
SYSTEM = Property("system", kind="multiclass", classes=3)
ALL = (MODULUS, GAP, METAL, SYSTEM)


def simulate(n: int = 40, *, seed: int = 0) -> Predictions:
    rng = np.random.default_rng(seed)
    raw = rng.random((n, 3)) + 0.01
    labels = {
        "bulk_modulus": rng.lognormal(4, 1, n),
        "band_gap": rng.random(n) * 5,
        "is_metal": (rng.random(n) < 0.5).astype(float),
        "system": rng.integers(0, 3, n).astype(float),
    }
    values = {
        "bulk_modulus": labels["bulk_modulus"] * rng.lognormal(0, 0.2, n),
        "band_gap": labels["band_gap"] + 0.2 * rng.normal(size=n),
        # One decimal: some samples tie.
        "is_metal": (0.4 * labels["is_metal"] + 0.6 * rng.random(n)).round(1),
        "system": raw / raw.sum(axis=1, keepdims=True),
    }
    return Predictions(ALL, tuple(f"crystal-{at}" for at in range(n)), labels, values)


def panel(predictions: Predictions, name: str, *, resamples: int = 50, **others: Predictions) -> Axes:
    evaluation = evaluate(predictions, resamples=resamples)
    return property_figure(predictions, evaluation, name=name, others=others).axes[0]


def texts(axes: Axes) -> str:
    return "\n".join(text.get_text() for text in axes.texts)


def test_parity_axes_are_equal_and_hold_every_point_of_every_split():
    train = simulate(seed=1)
    train.labels["band_gap"][0], train.values["band_gap"][0] = 40, -30
    axes = panel(simulate(), "band_gap", train=train)
    assert axes.get_xlim() == axes.get_ylim()
    low, high = axes.get_xlim()
    assert low < -30
    assert high > 40
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["train", "test"]


def test_parity_of_a_property_learned_in_its_logarithm_is_logarithmic_where_it_can_be():
    predictions = simulate()
    assert panel(predictions, "bulk_modulus").get_xscale() == "log"
    assert panel(predictions, "band_gap").get_xscale() == "linear"
    predictions.values["bulk_modulus"][3] = -1
    assert panel(predictions, "bulk_modulus").get_xscale() == "linear"


def test_parity_shows_scores_with_intervals_only_where_there_are_some():
    predictions = simulate()
    r2 = evaluate(predictions, resamples=50).regression[1].r2
    assert f"R² = {r2.value:.2f} [{r2.lower:.2f}, {r2.upper:.2f}]" in texts(panel(predictions, "band_gap"))
    assert f"R² = {r2.value:.2f}\n" in texts(panel(predictions, "band_gap", resamples=0))
    assert "R² (log) = " in texts(panel(predictions, "bulk_modulus"))
    assert "n = 40" in texts(panel(predictions, "bulk_modulus"))


def test_scores_in_figures_are_those_of_the_report():
    predictions = simulate()
    predictions.labels["band_gap"][:] = 0
    predictions.labels["band_gap"][:5] = 2.0, 2.1, 2.2, 2.3, 2.4
    predictions.values["band_gap"][:5] = 9.0, -4.0, 2.0, 9.0, -4.0
    shown = texts(panel(predictions, "band_gap"))
    (gap,) = [item for item in evaluate(predictions, resamples=50).regression if item.target == GAP]
    assert gap.where_not_zero is not None
    assert gap.where_not_zero.r2.value < -10
    assert "where not zero: R² = <−10 [<−10, <−10]" in shown
    assert f"MAE = {with_interval(gap.mae, significant)} eV\n".replace("-", "−") in shown
    assert "where not zero" not in texts(panel(simulate(), "band_gap"))


def test_parity_names_the_worst_errors():
    predictions = simulate()
    predictions.values["band_gap"][[7, 11, 13]] += [30, -20, 10]
    assert {text.get_text() for text in panel(predictions, "band_gap").texts[1:]} == {
        "crystal-7",
        "crystal-11",
        "crystal-13",
    }


def test_the_area_under_the_drawn_roc_curve_is_the_auc():
    predictions = simulate()
    axes = panel(predictions, "is_metal")
    false, true = (np.asarray(line, dtype=float) for line in axes.lines[1].get_data())
    # Rounding of a sum of 40 trapezia.
    assert np.trapezoid(true, false) == pytest.approx(
        evaluate(predictions, resamples=0).classes[0].auc.value, rel=1e-12
    )
    assert "AUC = " in texts(axes)


def test_the_confusion_matrix_counts_every_sample_once():
    predictions = simulate()
    axes = panel(predictions, "system")
    counts = np.array([int(text.get_text()) for text in axes.texts]).reshape(3, 3)
    hits = predictions.values["system"].argmax(axis=1) == predictions.labels["system"]
    assert counts.sum() == 40
    assert np.trace(counts) == hits.sum()
    assert counts.sum(axis=1).tolist() == [np.count_nonzero(predictions.labels["system"] == at) for at in range(3)]


def test_classes_carry_their_names_as_they_are():
    named = dataclasses.replace(SYSTEM, class_names=("close-packed", r"$\bad$", "other"))
    predictions = simulate()
    renamed = Predictions(
        (named,), predictions.ids, {"system": predictions.labels["system"]}, {"system": predictions.values["system"]}
    )
    axes = panel(renamed, "system")
    assert [text.get_text() for text in axes.get_yticklabels()] == list(named.class_names)
    assert figure_to_image(axes.figure.get_figure(root=True)).std() > 0


@pytest.mark.parametrize("name", [item.name for item in ALL])
def test_a_property_without_labels_says_so(name):
    predictions = simulate()
    predictions.labels[name][:] = np.nan
    assert "no labels" in texts(panel(predictions, name))


def test_undefined_scores_and_failed_predictions_are_named():
    predictions = simulate()
    predictions.labels["band_gap"][:] = 1
    predictions.labels["is_metal"][:] = 1
    assert "R² = n/a (all labels are equal)" in texts(panel(predictions, "band_gap"))
    assert "labels of one class only" in texts(panel(predictions, "is_metal"))
    predictions.values["bulk_modulus"][:] = np.nan
    assert "40 of 40 predictions are not finite" in texts(panel(predictions, "bulk_modulus"))


@pytest.mark.parametrize("n", [0, 1, 2])
def test_the_smallest_sets_can_be_drawn(n):
    predictions = simulate(n)
    overview_figure(predictions, evaluate(predictions, resamples=5))


def test_an_unknown_property_is_refused():
    with pytest.raises(ValueError, match="no predictions of 'hardness'; there are bulk_modulus, band_gap"):
        panel(simulate(), "hardness")


def test_names_with_special_characters_of_formulas_are_drawn_as_they_are():
    odd = dataclasses.replace(GAP, name="my_gap", symbol="", unit="$/eV^2_x")
    predictions = simulate()
    renamed = Predictions(
        (odd,), predictions.ids, {"my_gap": predictions.labels["band_gap"]}, {"my_gap": predictions.values["band_gap"]}
    )
    axes = panel(renamed, "my_gap")
    assert axes.get_xlabel() == r"reference my gap (\$/eV^2_x)"
    assert figure_to_image(axes.figure.get_figure(root=True)).std() > 0


def test_the_overview_has_a_panel_per_property_and_one_legend():
    predictions = simulate()
    figure = overview_figure(predictions, evaluate(predictions, resamples=5), others={"train": simulate(seed=1)})
    assert [axes.get_title() for axes in figure.axes] == ["Bulk modulus", "Band gap", "Is metal", "System"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["train", "test"]


def test_an_image_is_rgb_bytes_and_the_same_every_time():
    predictions = simulate()
    first, second = (
        figure_to_image(property_figure(predictions, evaluate(predictions, resamples=5), name="band_gap"))
        for _ in range(2)
    )
    assert first.dtype == np.uint8
    assert first.shape[2] == 3
    assert min(first.shape[:2]) > 200
    np.testing.assert_array_equal(first, second)
    assert first.min() < 50 < 250 < first.max()


def test_the_figures_of_a_folder_are_one_per_property_and_an_overview(tmp_path):
    predictions = simulate(10)
    paths = save_figures(tmp_path / "new" / "folder", predictions, evaluate(predictions, resamples=5))
    assert [path.name for path in paths] == ["overview.png", *(f"{item.name}.png" for item in ALL)]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)


def test_the_history_marks_the_epoch_of_the_lowest_validation_loss():
    axes = history_figure([3, 2, 1, 0.5], [np.nan, 2.5, 2, 2.2]).axes[0]
    assert axes.lines[2].get_xdata() == [3]
    assert axes.get_yscale() == "log"
    with_r2 = history_figure([3, -2], [np.nan, np.nan], validation_r2={"band_gap": [-300, 0.5]})
    assert with_r2.axes[0].get_yscale() == "linear"
    assert with_r2.axes[1].get_ylim()[0] == -0.5
    assert isinstance(history_figure([], []), Figure)


def test_drawing_changes_no_global_state_of_matplotlib():
    before = matplotlib.rcParams.copy()
    predictions = simulate(10)
    overview_figure(predictions, evaluate(predictions, resamples=0))
    assert matplotlib.rcParams == before
    code = "import sys, rhonet.reports.plots.parity; sys.exit('matplotlib.pyplot' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_intervals_are_bars_and_those_that_miss_stand_out():
    predictions = simulate()
    labels, values = predictions.labels["band_gap"], predictions.values["band_gap"]
    labels[3], labels[7] = np.nan, 4.9
    values[7] = 0.1
    half = np.full(len(labels), 0.5)
    bounded = dataclasses.replace(predictions, lower={"band_gap": values - half}, upper={"band_gap": values + half})
    outside = (~np.isnan(labels) & (np.abs(values - labels) > 0.5)).sum()
    bars = [one for one in panel(bounded, "band_gap").collections if isinstance(one, LineCollection)]
    assert [len(one.get_segments()) for one in bars] == [len(labels) - 1 - outside, outside]
    assert outside >= 1
    assert not [one for one in panel(bounded, "bulk_modulus").collections if isinstance(one, LineCollection)]


def test_ids_are_never_read_as_formulas():
    predictions = dataclasses.replace(simulate(), ids=tuple(f"$\\bad{at}$ \udcff" for at in range(40)))
    figure = property_figure(predictions, evaluate(predictions, resamples=5), name="band_gap")
    figure_to_image(figure)
    assert r"$\bad" in texts(figure.axes[0])
