"""
Plots of the diagnostics: a table or data in, the axes they were drawn on out.

Each function draws a finished table (from the function of the same name, or
from the accumulator) or makes the table from data first. They need matplotlib.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from astropy.table import Table

from ._input import Labels, Pixels, as_sample
from ._scores import Scores
from ._sums import entropy
from .tables import reliability_table, risk_coverage_table, roc_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "plot_entropy_error",
    "plot_reliability",
    "plot_risk_coverage",
    "plot_roc",
]


def _prepared(data, label, column, make, ax) -> tuple[Table, Axes]:
    """Return ``data`` if it is a finished table, otherwise one made of it; and axes."""
    if not (isinstance(data, Table) and column in data.colnames):
        data = make(data, label)
    if ax is None:
        import matplotlib.pyplot as plt

        ax = plt.subplots(figsize=(4.8, 4.2), layout="constrained")[1]
    return data, ax


def _error_bars(ax, x, y, low, high, name):
    """Draw points with their intervals."""
    x, y, low, high = map(np.asarray, (x, y, low, high))
    spread = np.clip([y - low, high - y], 0, None)
    return ax.errorbar(x, y, yerr=spread, fmt="o-", ms=4, lw=1, capsize=2, label=name)


def plot_reliability(
    table: Pixels, label: Labels = None, *, ax: Axes | None = None, name: str | None = None
) -> Axes:
    """
    Draw the observed fraction against the probability, with counts and intervals.

    The number of pixels per bin is drawn as steps on an axis of its own, to
    the right; it is logarithmic where the numbers differ tenfold or more.

    Parameters
    ----------
    table : `~astropy.table.Table` or array-like
        From `reliability_table`; or probabilities, or a table of them.
    label : array-like, optional
        Labels, if ``table`` is an array.
    ax : `~matplotlib.axes.Axes`, optional
        Where to draw; new axes by default.
    name : str, optional
        Name in the legend.

    Returns
    -------
    ax : `~matplotlib.axes.Axes`
        The axes.
    """
    rows, ax = _prepared(table, label, "observed_fraction", reliability_table, ax)
    full = rows[np.isfinite(rows["mean_probability"])]
    ends = full["fraction_low"], full["fraction_high"]
    points = _error_bars(ax, full["mean_probability"], full["observed_fraction"], *ends, name)
    counts_ax = _counts_axes(ax)
    edges = np.append(rows["p_low"], rows["p_high"][-1])
    counts = np.asarray(rows["n_pixels"], dtype=float)
    style = {"baseline": None, "color": points[0].get_color(), "alpha": 0.5}
    counts_ax.stairs(np.where(counts > 0, counts, np.nan), edges, **style)
    _scale_counts(counts_ax)
    ax.set(xlim=(0, 1), ylim=(0, 1), xlabel="probability", ylabel="observed fraction")
    return _named(ax, name, "upper left")


def _counts_axes(ax):
    """Return the twin axes of the counts, new ones (with the diagonal) at the first curve."""
    for twin in ax.get_shared_x_axes().get_siblings(ax):
        if twin.get_label() == "counts":
            return twin
    ax.plot([0, 1], [0, 1], color="0.6", lw=1, ls="--", zorder=0)
    twin = ax.twinx()
    twin.set(label="counts", ylabel="pixels per bin (steps)")
    ax.set_zorder(twin.get_zorder() + 1)  # points over steps
    ax.patch.set_visible(False)
    return twin


def _scale_counts(twin):
    """Choose scale and ticks for all the steps there are; each number is written whole."""
    from matplotlib import ticker

    counts = np.concatenate([steps.get_data().values for steps in twin.patches])
    counts = counts[np.isfinite(counts)]
    ratio = counts.max() / counts.min() if counts.size else 1
    twin.set_yscale("log" if ratio >= 10 else "linear")
    if ratio >= 10:
        # Over two decades and less, their ends alone would be too few.
        twin.yaxis.set_major_locator(ticker.LogLocator(subs=(1,) if ratio >= 1000 else (1, 2, 5)))
        twin.yaxis.set_minor_formatter(ticker.NullFormatter())
    else:
        twin.set_ylim(0, None if not counts.size else 1.1 * counts.max())
    plain = ticker.StrMethodFormatter("{x:,.0f}")
    twin.yaxis.set_major_formatter(ticker.LogFormatterMathtext() if ratio >= 1000 else plain)


def _named(ax, name, loc):
    """Add a legend once a curve has a name, and write numbers whole, not as offset and rest."""
    from matplotlib.ticker import ScalarFormatter

    if name is not None:
        ax.legend(frameon=False, loc=loc)
    for axis in (ax.xaxis, ax.yaxis):
        if isinstance(axis.get_major_formatter(), ScalarFormatter):
            axis.get_major_formatter().set_useOffset(False)
    return ax


def plot_risk_coverage(
    table: Pixels, label: Labels = None, *, ax: Axes | None = None, name: str | None = None
) -> Axes:
    """
    Draw the error rate of the pixels kept against the fraction kept.

    Parameters
    ----------
    table : `~astropy.table.Table` or array-like
        From `risk_coverage_table`; or probabilities, or a table of them.
    label : array-like, optional
        Labels, if ``table`` is an array.
    ax : `~matplotlib.axes.Axes`, optional
        Where to draw; new axes by default.
    name : str, optional
        Name in the legend.

    Returns
    -------
    ax : `~matplotlib.axes.Axes`
        The axes.
    """
    rows, ax = _prepared(table, label, "coverage", risk_coverage_table, ax)
    risk = np.asarray(rows["risk"])
    ax.plot(rows["coverage"], np.where(risk > 0, risk, np.nan), lw=1.5, label=name)
    if np.any(risk > 0):  # matplotlib has no logarithmic axis without anything positive
        ax.set_yscale("log")
    ax.set(xlim=(0, 1), xlabel="coverage", ylabel="error rate of the pixels kept")
    return _named(ax, name, "upper left")


def plot_roc(
    table: Pixels, label: Labels = None, *, ax: Axes | None = None, name: str | None = None
) -> Axes:
    """
    Draw the true-positive rate against the logarithm of the false-positive rate.

    Parameters
    ----------
    table : `~astropy.table.Table` or array-like
        From `roc_table`; or probabilities, or a table of them.
    label : array-like, optional
        Labels, if ``table`` is an array.
    ax : `~matplotlib.axes.Axes`, optional
        Where to draw; new axes by default.
    name : str, optional
        Name in the legend.

    Returns
    -------
    ax : `~matplotlib.axes.Axes`
        The axes.
    """
    rows, ax = _prepared(table, label, "fpr", roc_table, ax)
    some = rows[rows["fpr"] > 0]
    ax.plot(some["fpr"], some["tpr"], lw=1.5, label=name)
    if len(some):
        ax.set_xscale("log")
    ax.set(ylim=(0, 1.02), xlabel="false-positive rate", ylabel="true-positive rate")
    return _named(ax, name, "lower right")


def plot_entropy_error(
    table: Pixels, label: Labels = None, *, ax: Axes | None = None, name: str | None = None
) -> Axes:
    """
    Draw the error rate at p = 0.5 against the entropy of p.

    The dashed curve is what calibrated probabilities give: at the entropy of
    p, the smaller of p and 1 - p.

    Parameters
    ----------
    table : `~astropy.table.Table` or array-like
        The report's table ``'entropy_error'``; or probabilities, or a table
        of them.
    label : array-like, optional
        Labels, if ``table`` is an array.
    ax : `~matplotlib.axes.Axes`, optional
        Where to draw; new axes by default.
    name : str, optional
        Name in the legend.

    Returns
    -------
    ax : `~matplotlib.axes.Axes`
        The axes.
    """
    rows, ax = _prepared(
        table, label, "error_rate", lambda *data: Scores(as_sample(*data)).entropy_error_table(), ax
    )
    names = ("entropy", "error_rate", "error_rate_low", "error_rate_high")
    _error_bars(ax, *(rows[column] for column in names), name=name)
    grid = np.linspace(0, 0.5, 200)
    ax.plot(entropy(grid), grid, color="0.6", lw=1, ls="--", zorder=0)
    ax.set(xlim=(0, 0.7), xlabel="entropy of p (nats)", ylabel="error rate")
    ax.set_ylim(bottom=0)
    return _named(ax, name, "upper left")


FIGURES = {
    "reliability": (
        plot_reliability,
        "Reliability of all pixels, and of non-trivial pixels in equal-count bins. Pixels of "
        "p up to 0.01 are non-trivial only if they are cosmic rays, which lifts the lowest bins.",
    ),
    "roc": (plot_roc, "True- against false-positive rate"),
    "risk_coverage": (plot_risk_coverage, "Error rate of the pixels kept, most certain first"),
    "entropy_error": (plot_entropy_error, "Error rate against entropy; dashed: calibrated"),
}
"""What draws each figure of a report, and its caption."""


def figure_of(report, name):
    """
    Draw a figure of a report, with a curve for each model.

    Parameters
    ----------
    report : `~cosmiq_astro.calibration.CalibrationReport`
        The report.
    name : str
        One of `FIGURES`.

    Returns
    -------
    figure : `~matplotlib.figure.Figure`
        The figure.
    """
    from matplotlib.figure import Figure

    kinds = ["reliability", "reliability_non_trivial"] if name == "reliability" else [name]
    drawn = Figure(figsize=(5.4 * len(kinds), 4.2), layout="constrained")
    for ax, kind in zip(drawn.subplots(1, len(kinds), squeeze=False)[0], kinds, strict=True):
        table = report.tables[kind]
        for model in report.models:
            FIGURES[name][0](table[table["model"] == model], ax=ax, name=model)
        ax.set_title("non-trivial pixels" if kind.endswith("non_trivial") else "")
    return drawn
