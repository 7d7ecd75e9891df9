"""
Diagnostics as tables: reliability, ROC, precision-recall, risk-coverage, scores.

All are `~astropy.table.QTable` with a description for each column, and write
to ECSV and FITS and back. Inputs are those of
`~cosmiq_astro.calibration.brier_score`. Metadata keys fit FITS cards:
``N_PIXELS``, ``N_LEFT`` (left out), ``N_IMAGES``, ``N_BINS``, ``THRESH`` and
``LEVEL``.
"""

from __future__ import annotations

import itertools
import math
from functools import partial

import numpy as np
from astropy.table import QTable
from numpy.typing import ArrayLike

from ._input import Binning, Column, Labels, Pixels, as_sample
from ._scores import Scores, stacked

__all__ = [
    "block_index",
    "precision_recall_table",
    "quantile_groups",
    "reliability_table",
    "risk_coverage_table",
    "roc_table",
    "score_table",
]


def _grouped(build, sample, *, n_bins=15, threshold=0.5):
    """Return the table that is built of `Scores`; with groups, a block of rows for each."""
    scores = Scores(sample, n_bins=n_bins, threshold=threshold)
    if sample.group is None:
        return build(scores)
    table = stacked({name: build(one) for name, one in scores.groups.items()}, "group")
    table.meta |= scores.meta
    return table


def reliability_table(
    probability: Pixels,
    label: Labels = None,
    *,
    weight: Column = None,
    n_bins: int = 15,
    binning: Binning = "width",
    non_trivial: bool = False,
    group: Column = None,
) -> QTable:
    """
    Probability stated against frequency observed, in bins.

    Parameters
    ----------
    probability, label, weight : array-like
        As for `~cosmiq_astro.calibration.brier_score`.
    n_bins : int, optional
        Number of bins.
    binning : {'width', 'count'}, optional
        Equal widths (empty bins stay, with NaN), or equal numbers of pixels;
        with weights, equal weights, and ``n_pixels`` is the rounded weight.
    non_trivial : bool, optional
        Use only pixels with p > 0.01 or label 1.
    group : array-like or str, optional
        Names of groups (field, filter, ...), or the name of a column: the
        table gets a block of rows for each.

    Returns
    -------
    table : `~astropy.table.QTable`
        ``p_low``, ``p_high``, ``n_pixels``, ``weight``, ``mean_probability``,
        ``observed_fraction``, ``fraction_low``, ``fraction_high``. The last two
        are the ends of Wilson's interval at 95 % [1]_. It takes pixels as
        independent; those of one hit are not, so read it as the least
        uncertainty there is.

    References
    ----------
    .. [1] Brown, L. D., Cai, T. T., & DasGupta, A. 2001, Statistical Science,
       16, 101 (Wilson's interval, eq. 4)

    Examples
    --------
    >>> from cosmiq_astro.calibration import reliability_table
    >>> table = reliability_table([0.1, 0.2, 0.7, 1.0], [0, 1, 1, 1], n_bins=2)
    >>> table["mean_probability"].round(2).tolist(), table["observed_fraction"].tolist()
    ([0.15, 0.85], [0.5, 1.0])
    """
    sample = as_sample(probability, label, weight=weight, group=group)
    build = partial(Scores.reliability_table, binning=binning, non_trivial=non_trivial)
    return _grouped(build, sample, n_bins=n_bins)


def roc_table(
    probability: Pixels,
    label: Labels = None,
    *,
    weight: Column = None,
    group: Column = None,
    n_points: int = 1000,
) -> QTable:
    """
    True- against false-positive rate for each threshold.

    Pixels that do not count are in neither rate: an ignored pixel is no true
    negative.

    Parameters
    ----------
    probability, label, weight : array-like
        As for `~cosmiq_astro.calibration.brier_score`.
    group : array-like or str, optional
        As for `reliability_table`.
    n_points : int, optional
        Largest number of rows for each group, spread evenly over the
        true-positive rate and over the logarithm of the false-positive rate.

    Returns
    -------
    table : `~astropy.table.QTable`
        ``threshold`` (descending, from infinity: nothing flagged), ``fpr``,
        ``tpr``, and the weights ``false_positive`` and ``true_positive``;
        the area in ``meta['AUROC']``.

    References
    ----------
    .. [1] Fawcett, T. 2006, Pattern Recognition Letters, 27, 861
    """
    sample = as_sample(probability, label, weight=weight, group=group)
    return _grouped(partial(Scores.roc_table, n_points=n_points), sample)


def precision_recall_table(
    probability: Pixels,
    label: Labels = None,
    *,
    weight: Column = None,
    group: Column = None,
    n_points: int = 1000,
) -> QTable:
    """
    Precision and recall for each threshold.

    Parameters
    ----------
    probability, label, weight : array-like
        As for `~cosmiq_astro.calibration.brier_score`.
    group, n_points : array-like, int
        As for `roc_table`.

    Returns
    -------
    table : `~astropy.table.QTable`
        ``threshold`` (descending), ``recall``, ``precision``; the average
        precision in ``meta['AP']``.
    """
    sample = as_sample(probability, label, weight=weight, group=group)
    return _grouped(partial(Scores.precision_recall_table, n_points=n_points), sample)


def risk_coverage_table(
    probability: Pixels,
    label: Labels = None,
    *,
    weight: Column = None,
    uncertainty: Column = None,
    threshold: float = 0.5,
    group: Column = None,
    n_points: int = 1000,
) -> QTable:
    """
    Error rate among the pixels kept, most certain first.

    Parameters
    ----------
    probability, label, weight, uncertainty, threshold : array-like, float
        As for `~cosmiq_astro.calibration.aurc`.
    group, n_points : array-like, int
        As for `roc_table`; the rows are spread evenly over coverage and over
        the errors.

    Returns
    -------
    table : `~astropy.table.QTable`
        ``coverage``, ``risk``, ``generalized_risk``, ``uncertainty``;
        ``meta['AURC']`` and ``meta['AUGRC']`` are the areas.
    """
    sample = as_sample(probability, label, weight=weight, group=group, uncertainty=uncertainty)
    build = partial(Scores.risk_coverage_table, n_points=n_points)
    return _grouped(build, sample, threshold=threshold)


def score_table(
    probability: Pixels,
    label: Labels = None,
    *,
    weight: Column = None,
    uncertainty: Column = None,
    threshold: float = 0.5,
    group: Column = None,
    image: Column = None,
    n_bins: int = 15,
    level: float | None = None,
) -> QTable:
    """
    Every score of this package, one row for all pixels and one per group.

    Parameters
    ----------
    probability, label, weight, uncertainty, threshold : array-like, float
        As for `~cosmiq_astro.calibration.aurc`.
    group : array-like or str, optional
        As for `reliability_table`; see `quantile_groups` for numbers such as
        the sky level or the distance to the nearest source.
    image : array-like or str, optional
        Image or block of each pixel
        (`~cosmiq_astro.calibration.block_index`), or a column of this name;
        a list of images numbers itself.
    n_bins : int, optional
        Number of bins of the calibration errors.
    level : float, optional
        Level of the intervals ``*_low`` and ``*_high``, such as 0.95; by
        default there are none.

    Returns
    -------
    table : `~astropy.table.QTable`
        The column descriptions say what each score is, and which way is
        better.

    Warns
    -----
    AstropyUserWarning
        If intervals rest on fewer than 20 images.

    Notes
    -----
    Pixels of an image are correlated, images are not. So the standard error
    of a score is that of the jackknife [1]_, each image left out in turn, and
    the interval is as wide as Student's t with one degree of freedom less
    than there are images. It is NaN for a single image. In simulations
    (``benchmarks/coverage.py``) intervals of 95 % hold the truth in 90 to
    97 % of the cases from 5 images on; those of the calibration error in 92
    to 100 %.

    Expected and maximum calibration errors have no interval: noise only ever
    adds to them, and no interval around them covers. That of
    ``rms_calibration_error``, ``√ Σ_k |B_k|/N · (mean p - fraction)²``, does: only
    products of different images enter it, in which the noise cancels on average
    [2]_. It is 0 where noise would explain more than is seen, and NaN for a
    single image.

    References
    ----------
    .. [1] Efron, B., & Tibshirani, R. J. 1993, An Introduction to the
       Bootstrap, chapter 11
    .. [2] Kumar, A., Liang, P., & Ma, T. 2019, NeurIPS, arXiv:1909.10155
       (debiased for independent pixels; here for independent images)
    """
    sample = as_sample(
        probability, label, weight=weight, group=group, uncertainty=uncertainty, image=image
    )
    return Scores(sample, n_bins=n_bins, threshold=threshold).score_table(level=level)


def quantile_groups(values: ArrayLike, *, n_groups: int = 5) -> np.ndarray:
    """
    Turn a number per pixel into names of groups of equal size.

    Parameters
    ----------
    values : array-like
        Such as the local brightness or the distance to the nearest source;
        NaN gives the group ``'unknown'``.
    n_groups : int, optional
        Number of groups.

    Returns
    -------
    groups : `~numpy.ndarray` of str
        Names like ``'2: 0.5 to 1.2'``, numbered in ascending order, of the
        shape of ``values``.

    Examples
    --------
    >>> from cosmiq_astro.calibration import quantile_groups
    >>> quantile_groups([1.0, 2.0, 3.0, 4.0], n_groups=2)
    array(['1: 1 to 2.5', '1: 1 to 2.5', '2: 2.5 to 4', '2: 2.5 to 4'], ...)
    """
    values = np.asarray(values, dtype=float)
    edges = np.unique(np.nanquantile(values, np.linspace(0, 1, n_groups + 1)))
    names = [
        f"{i}: {low:.4g} to {high:.4g}"
        for i, (low, high) in enumerate(itertools.pairwise(edges), start=1)
    ]
    names = [*(names or [f"1: {edges[0]:.4g}"]), "unknown"]
    number = np.searchsorted(edges[1:-1], values, side="right")
    return np.array(names)[np.where(np.isnan(values), -1, number)]


def block_index(shape: tuple[int, int], *, size: int) -> np.ndarray:
    """
    Number the square blocks of an image.

    Parameters
    ----------
    shape : tuple of int
        Shape of the image, ``(ny, nx)``.
    size : int
        Side of a block, pixels. Make it several times the length of a hit, so
        that blocks are nearly independent, and small enough for 20 blocks or
        more.

    Returns
    -------
    index : `~numpy.ndarray` of int
        Number of the block of each pixel, shape ``(ny, nx)``.

    Examples
    --------
    >>> from cosmiq_astro.calibration import block_index
    >>> block_index((2, 4), size=2)
    array([[0, 0, 1, 1],
           [0, 0, 1, 1]])
    """
    ny, nx = shape
    y, x = np.indices((ny, nx), sparse=True)
    return y // size * math.ceil(nx / size) + x // size
