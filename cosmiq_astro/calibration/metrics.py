"""
How right the probabilities are: Brier score, log-likelihood, calibration error.

Every function takes two arrays, or one `~astropy.table.Table` with the columns
``probability`` and ``label`` (and, if wanted, ``weight``), or a list of
detection results and a list of truth images. Pixels whose probability or label
is NaN or masked, or whose weight is zero, are left out.
"""

from __future__ import annotations

from ._input import Binning, Column, Labels, Pixels, as_sample
from ._scores import BrierParts, ClasswiseError, SampleScores

__all__ = [
    "brier_parts",
    "brier_score",
    "classwise_calibration_error",
    "expected_calibration_error",
    "maximum_calibration_error",
    "negative_log_likelihood",
    "rms_calibration_error",
]


def _scores(probability, label, weight, *, n_bins=1, threshold=0.5, image=None):
    """Return the scores of any accepted input."""
    sample = as_sample(probability, label, weight=weight, image=image)
    return SampleScores(sample, n_bins=n_bins, threshold=threshold)


def brier_score(
    probability: Pixels, label: Labels = None, *, weight: Column = None, non_trivial: bool = False
) -> float:
    """
    Mean squared error of the probability.

    ``mean (p - y)²``, in [0, 1]; lower is better, 0.25 for p = 0.5 everywhere.

    Parameters
    ----------
    probability : array-like, `~astropy.table.Table`, or list
        Probabilities in [0, 1], or one of the inputs named in the module.
    label : array-like or list, optional
        1 for cosmic ray, 0 for not; NaN or masked where it does not count.
    weight : array-like or str, optional
        Weight of each pixel, or the name of a column.
    non_trivial : bool, optional
        Use only pixels with p > 0.01 or label 1. Whole frames are nearly all
        sky that no model gets wrong; compare models with this set. As the
        label has a say in it, even the right probabilities have a
        calibration error here: that of the cosmic rays with p up to 0.01.

    Returns
    -------
    score : float
        NaN if no pixel is left.

    References
    ----------
    .. [1] Brier, G. W. 1950, Monthly Weather Review, 78, 1

    Examples
    --------
    >>> from cosmiq_astro.calibration import brier_score
    >>> brier_score([0.1, 0.8, 0.6], [0, 1, 0])
    0.13666666666666666
    """
    return _scores(probability, label, weight).brier_score(non_trivial=non_trivial)


def brier_parts(
    probability: Pixels, label: Labels = None, *, n_bins: int = 15, weight: Column = None
) -> BrierParts:
    """
    Brier score in parts: reliability - resolution + uncertainty + within-bin term.

    With confidence c, frequency f and share s of each bin, and base rate b:
    reliability = Σ s (c - f)² (lower is better), resolution = Σ s (f - b)²
    (higher is better), uncertainty = b (1 - b) (the data's own). What remains
    comes from the spread of p within bins and vanishes as bins get narrow.

    Parameters
    ----------
    probability, label : array-like
        As for `brier_score`.
    n_bins : int, optional
        Number of equal-width bins. Raise it with many pixels: the remainder
        shrinks, the noise of each bin grows.
    weight : array-like or str, optional
        As for `brier_score`.

    Returns
    -------
    parts : `~cosmiq_astro.calibration.BrierParts`
        A named tuple of four floats that add up to the Brier score.

    References
    ----------
    .. [1] Murphy, A. H. 1973, J. Appl. Meteorology, 12, 595
    .. [2] Stephenson, D. B., Coelho, C. A. S., & Jolliffe, I. T. 2008,
       Weather and Forecasting, 23, 752 (the within-bin terms)
    """
    return _scores(probability, label, weight, n_bins=n_bins).brier_parts()


def negative_log_likelihood(
    probability: Pixels, label: Labels = None, *, weight: Column = None, non_trivial: bool = False
) -> float:
    """
    Mean negative log-likelihood of the labels, in nats.

    ``-mean [y ln p + (1 - y) ln(1 - p)]``, p clipped to [1e-7, 1 - 1e-7]: an
    impossible label costs 16.1 nats instead of infinitely many. In [0, 16.1];
    lower is better.

    Parameters
    ----------
    probability, label, weight, non_trivial : array-like, bool
        As for `brier_score`.

    Returns
    -------
    score : float
        Nats per pixel; NaN if no pixel is left.

    References
    ----------
    .. [1] Good, I. J. 1952, J. R. Stat. Soc. B, 14, 107

    Examples
    --------
    >>> from cosmiq_astro.calibration import negative_log_likelihood
    >>> negative_log_likelihood([0.5, 0.5], [0, 1])
    0.6931471805599453
    """
    return _scores(probability, label, weight).negative_log_likelihood(non_trivial=non_trivial)


def expected_calibration_error(
    probability: Pixels,
    label: Labels = None,
    *,
    weight: Column = None,
    non_trivial: bool = False,
    n_bins: int = 15,
    binning: Binning = "width",
) -> float:
    """
    Mean distance between the probability stated and the frequency observed.

    ``Σ_k |B_k|/N · |mean p in B_k - fraction of cosmic rays in B_k|``, in
    [0, 1]; lower is better, but it is 0 as well for the base rate stated
    everywhere. Bins are closed below, the last one on both sides, so that
    p = 1 counts.

    Parameters
    ----------
    probability, label, weight, non_trivial : array-like, bool
        As for `brier_score`.
    n_bins : int, optional
        Number of bins. More bins see finer structure and take up more noise.
    binning : {'width', 'count'}, optional
        Equal widths, or equal numbers of pixels (adaptive; equal
        probabilities share a bin). With mostly sky, equal widths put nearly
        all pixels in one bin; prefer ``'count'`` with ``non_trivial``.

    Returns
    -------
    error : float
        NaN if no pixel is left.

    References
    ----------
    .. [1] Naeini, M. P., Cooper, G., & Hauskrecht, M. 2015, AAAI, 29, 2901
    .. [2] Nixon, J., et al. 2019, arXiv:1904.01685 (adaptive bins)

    Examples
    --------
    >>> from cosmiq_astro.calibration import expected_calibration_error
    >>> expected_calibration_error([1.0, 1.0, 0.0, 0.0], [1, 0, 0, 0])
    0.25
    """
    scores = _scores(probability, label, weight, n_bins=n_bins)
    return scores.expected_calibration_error(binning=binning, non_trivial=non_trivial)


def maximum_calibration_error(
    probability: Pixels,
    label: Labels = None,
    *,
    weight: Column = None,
    non_trivial: bool = False,
    n_bins: int = 15,
) -> float:
    """
    Largest distance between probability and frequency of any bin.

    ``max_k |mean p in B_k - fraction of cosmic rays in B_k|``, in [0, 1];
    lower is better. One bin with few pixels can decide it.

    Parameters
    ----------
    probability, label, weight, non_trivial : array-like, bool
        As for `brier_score`.
    n_bins : int, optional
        Number of equal-width bins. Lower it if bins are thinly filled.

    Returns
    -------
    error : float
        NaN if no pixel is left.

    References
    ----------
    .. [1] Naeini, M. P., Cooper, G., & Hauskrecht, M. 2015, AAAI, 29, 2901
    """
    scores = _scores(probability, label, weight, n_bins=n_bins)
    return scores.maximum_calibration_error(non_trivial=non_trivial)


def rms_calibration_error(
    probability: Pixels,
    label: Labels = None,
    *,
    weight: Column = None,
    non_trivial: bool = False,
    image: Column = None,
    n_bins: int = 15,
) -> float:
    """
    Root mean square distance between probability and frequency, free of noise.

    ``√ Σ_k |B_k|/N · (mean p in B_k - fraction of cosmic rays in B_k)²``, in
    [0, 1]; lower is better. The calibration errors of
    `expected_calibration_error` are never 0, even for the right
    probabilities: the noise of each bin only ever adds to them. Here only
    products of different images enter, in which the noise cancels on average.
    `score_table` gives it with an interval: if that begins at 0, the images
    do not show a calibration error.

    Parameters
    ----------
    probability, label, weight, non_trivial : array-like, bool
        As for `brier_score`.
    image : array-like or str, optional
        Image or block of each pixel
        (`~cosmiq_astro.calibration.block_index`), or a column of this name;
        a list of images numbers itself. Pixels of one image may share errors.
    n_bins : int, optional
        Number of equal-width bins.

    Returns
    -------
    error : float
        0 where noise would explain more than is seen; NaN for fewer than two
        images.

    References
    ----------
    .. [1] Kumar, A., Liang, P., & Ma, T. 2019, NeurIPS, arXiv:1909.10155
       (debiased for independent pixels; here for independent images)

    Examples
    --------
    >>> import numpy as np
    >>> from cosmiq_astro.calibration import rms_calibration_error
    >>> rng = np.random.default_rng(0)
    >>> p = [rng.random((64, 64)) for _ in range(20)]
    >>> y = [rng.random((64, 64)) < x - 0.05 for x in p]
    >>> round(rms_calibration_error(p, y), 3)
    0.049
    """
    scores = _scores(probability, label, weight, n_bins=n_bins, image=image)
    return scores.rms_calibration_error(non_trivial=non_trivial)


def classwise_calibration_error(
    probability: Pixels,
    label: Labels = None,
    *,
    weight: Column = None,
    n_bins: int = 15,
    threshold: float = 0.5,
) -> ClasswiseError:
    """
    Calibration error of the pixels called sky, and of those called cosmic ray.

    Each is normalised by its own number of pixels, so the few called cosmic
    ray do not drown. With two classes the error of p and that of 1 - p are
    one and the same; splitting by the call [1]_ is what tells classes apart.
    Both in [0, 1]; lower is better.

    Parameters
    ----------
    probability, label, weight : array-like
        As for `brier_score`.
    n_bins : int, optional
        Number of equal-width bins over [0, 1].
    threshold : float, optional
        Pixels with p at or above it are called cosmic ray.

    Returns
    -------
    errors : `~cosmiq_astro.calibration.ClasswiseError`
        Named tuple of ``sky`` and ``cosmic_ray``; NaN for a class never
        called.

    References
    ----------
    .. [1] Gupta, C., & Ramdas, A. 2022, ICLR, arXiv:2107.08353
    """
    scores = _scores(probability, label, weight, n_bins=n_bins, threshold=threshold)
    return scores.classwise_calibration_error()
