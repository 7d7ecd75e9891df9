import numpy as np
import pytest
from numpy.testing import assert_allclose

from cosmiq_astro.calibration import (
    plot_entropy_error,
    plot_reliability,
    plot_risk_coverage,
    plot_roc,
    reliability_table,
    risk_coverage_table,
    roc_table,
)

figure = pytest.importorskip("matplotlib.figure")

CURVES = [
    (plot_reliability, reliability_table),
    (plot_risk_coverage, risk_coverage_table),
    (plot_roc, roc_table),
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
    for _ in range(2):
        plot_reliability(reliability_table(*pixels, n_bins=5), ax=ax)
    assert len(ax.figure.axes) == 2
    counts = ax.figure.axes[1].patches
    assert len(counts) == 2
    assert_allclose(counts[0].get_data().values, np.histogram(pixels[0], 5, (0, 1))[0])


@pytest.mark.parametrize(
    ("counts", "scale", "ticks"),
    [
        ((1000, 4000), "linear", [f"{n:,}" for n in range(0, 4001, 500)]),
        ((1_500_000, 1_500_001), "linear", [f"{n:,}" for n in range(0, 1_600_001, 200_000)]),
        ((100, 1000), "log", ["100", "200", "500", "1,000"]),
        ((10, 10**6), "log", [f"$\\mathdefault{{10^{{{n}}}}}$" for n in range(1, 7)]),
    ],
)
def test_counts_are_on_a_plain_axis(ax, counts, scale, ticks):
    table = reliability_table([0.1, 0.9], [0, 1], n_bins=2)
    table["n_pixels"] = counts
    plot_reliability(table, ax=ax)
    ax.figure.canvas.draw()
    axis = ax.figure.axes[1].yaxis
    assert axis.get_scale() == scale
    low, high = axis.get_view_interval()
    shown = zip(axis.get_majorticklocs(), axis.get_majorticklabels(), strict=True)
    assert [text.get_text() for at, text in shown if low <= at <= high] == ticks
    assert not any(text.get_text() for text in axis.get_minorticklabels())
    assert axis.get_offset_text().get_text() == ""


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


def test_no_axis_has_an_offset(ax):
    plot_risk_coverage(risk_coverage_table([0.9] * 4, [1] * 4), ax=ax)
    ax.set_ylim(1e6 + 1e-3, 1e6 + 2e-3)
    ax.figure.canvas.draw()
    assert ax.yaxis.get_offset_text().get_text() == ""
