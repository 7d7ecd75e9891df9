import sys
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from cosmiq_astro.calibration import (
    explore_threshold,
    plot_entropy_error,
    plot_maps,
    plot_precision_recall,
    plot_reliability,
    plot_risk_coverage,
    plot_roc,
    precision_recall_table,
    reliability_table,
    risk_coverage_table,
    roc_table,
)

figure = pytest.importorskip("matplotlib.figure")

CURVES = [
    (plot_reliability, reliability_table),
    (plot_risk_coverage, risk_coverage_table),
    (plot_roc, roc_table),
    (plot_precision_recall, precision_recall_table),
]


@pytest.fixture
def ax():
    return figure.Figure().subplots()


@pytest.mark.parametrize(("plot", "make"), CURVES)
def test_tables_and_data_draw_the_same_on_the_axes_given(pixels, ax, plot, make):
    assert plot(make(*pixels), ax=ax, name="table") is ax
    assert plot(*pixels, ax=ax, name="data") is ax
    # Caps of error bars have no line, the diagonal is dashed.
    curves = [line for line in ax.lines if line.get_linestyle() == "-"]
    assert len(curves) == 2
    assert_allclose(*(line.get_ydata() for line in curves))
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["table", "data"]
    assert ax.get_xlabel()
    assert ax.get_ylabel()


def test_reliability_has_one_axis_of_counts_for_all_curves(pixels, ax):
    plot_reliability(*pixels, ax=ax, n_bins=5)
    plot_reliability(*pixels, ax=ax, n_bins=5)
    assert len(ax.figure.axes) == 2
    counts = ax.figure.axes[1].patches
    assert len(counts) == 2
    assert_allclose(counts[0].get_data().values, np.histogram(pixels[0], 5, (0, 1))[0])


def test_entropy_error_of_calibrated_pixels_follows_the_dashed_curve(ax):
    rng = np.random.default_rng(0)
    p = rng.random(100_000)
    plot_entropy_error(p, rng.random(p.size) < p, ax=ax)
    points, expected = ax.lines[0], ax.lines[-1]
    assert_allclose(
        points.get_ydata(),
        np.interp(points.get_xdata(), expected.get_xdata(), expected.get_ydata()),
        atol=0.02,
    )


def test_maps_have_a_row_for_each_result():
    rng = np.random.default_rng(0)
    p = rng.random((20, 30))
    results = [SimpleNamespace(probability=p), SimpleNamespace(cr_probability=p**2)]
    axes = figure.Figure().subplots(2, 4)
    out = plot_maps(rng.normal(size=p.shape), results, truth=p > 0.4, names=["a", "b"], axes=axes)
    assert out is axes
    mask = axes[0, 1].images[0].get_array()
    assert np.all(mask[p >= 0.5] == 0)
    missed = mask[(p > 0.4) & (p < 0.5)]
    assert_allclose(missed, np.broadcast_to((0.9, 0.1, 0.1), missed.shape))
    assert_allclose(axes[1, 2].images[0].get_array(), p**2)
    assert axes[0, 3].images[0].get_array().max() <= np.log(2)
    assert axes[0, 0].get_title() == "data"
    assert axes[1, 0].get_ylabel() == "b"


class FakeWidget:
    """Just what of ipywidgets is used, so that the explorer is tested without it."""

    def __init__(self, value=None, **traits):
        self.value, self.traits = value, traits

    def observe(self, handler, names):
        assert names == "value"
        self.handler = handler

    def slide(self, value):
        self.value = value
        self.handler({"new": value})


def test_explorer_follows_its_slider(monkeypatch):
    names = ("FloatSlider", "HTML", "Image", "VBox")
    fake = SimpleNamespace(**dict.fromkeys(names, FakeWidget))
    monkeypatch.setitem(sys.modules, "ipywidgets", fake)
    p = np.linspace(0, 1, 100).reshape(10, 10)
    slider, words, picture = explore_threshold(p, p, truth=p > 0.9).value
    assert words.value == "50 pixels flagged, 10 of 10 cosmic-ray pixels among them"
    before = picture.value
    assert before.startswith(b"\x89PNG")
    slider.slide(0.95)
    assert words.value == "5 pixels flagged, 5 of 10 cosmic-ray pixels among them"
    assert picture.value != before
