"""
How right the probabilities are: Brier score, log-likelihood, calibration error.

Every function takes two arrays, or one `~astropy.table.Table` with the columns
``probability`` and ``label`` (and, if wanted, ``weight``), or a list of
detection results and a list of truth images. Pixels whose probability or label
is NaN or masked, or whose weight is zero, are left out.
"""

from typing import NamedTuple

from . import _ranks, _sums
from ._input import as_sample

__all__ = [
    "BrierParts",
    "ClasswiseError",
    "brier_parts",
    "brier_score",
    "classwise_calibration_error",
    "expected_calibration_error",
    "maximum_calibration_error",
    "negative_log_likelihood",
]


class BrierParts(NamedTuple):
    """The parts of the Brier score: reliability - resolution + uncertainty + within_bin."""

    reliability: float
    resolution: float
    uncertainty: float
    within_bin: float


class ClasswiseError(NamedTuple):
    """The calibration error of the pixels called sky, and of those called cosmic ray."""

    sky: float
    cosmic_ray: float


def _bins(probability, label, weight, *, n_bins=1, non_trivial=False):
    """Return the sums per bin of any accepted input."""
    sample = as_sample(probability, label, weight=weight)
    sums = _sums.sample_sums(sample, n_bins=n_bins).sum(0)
    return _sums.bin_sums(sums, non_trivial=non_trivial)


def brier_score(probability, label=None, *, weight=None, non_trivial=False):
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
    return float(_sums.brier(_bins(probability, label, weight, non_trivial=non_trivial)))


def brier_parts(probability, label=None, *, n_bins=15, weight=None):
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
    parts : `BrierParts`
        A named tuple of four floats that add up to the Brier score.

    References
    ----------
    .. [1] Murphy, A. H. 1973, J. Appl. Meteorology, 12, 595
    .. [2] Stephenson, D. B., Coelho, C. A. S., & Jolliffe, I. T. 2008,
       Weather and Forecasting, 23, 752 (the within-bin terms)
    """
    return BrierParts(
        *map(float, _sums.brier_terms(_bins(probability, label, weight, n_bins=n_bins)))
    )


def negative_log_likelihood(probability, label=None, *, weight=None, non_trivial=False):
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
    bins = _bins(probability, label, weight, non_trivial=non_trivial)
    return float(_sums.log_likelihood_loss(bins))


def expected_calibration_error(
    probability, label=None, *, weight=None, non_trivial=False, n_bins=15, binning="width"
):
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
    if binning == "count":
        sample = as_sample(probability, label, weight=weight)
        ranks = _ranks.rank_pixels(sample.probability, sample.label, sample.weight)
        ranks = ranks.non_trivial().occupied() if non_trivial else ranks
        return _ranks.calibration_error_of(ranks, n_bins=n_bins)
    if binning != "width":
        raise ValueError(f"binning must be 'width' or 'count', not {binning!r}")
    bins = _bins(probability, label, weight, n_bins=n_bins, non_trivial=non_trivial)
    return float(_sums.calibration_error(bins)[0])


def maximum_calibration_error(
    probability, label=None, *, weight=None, non_trivial=False, n_bins=15
):
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
    bins = _bins(probability, label, weight, n_bins=n_bins, non_trivial=non_trivial)
    return float(_sums.calibration_error(bins)[1])


def classwise_calibration_error(probability, label=None, *, weight=None, n_bins=15, threshold=0.5):
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
    errors : `ClasswiseError`
        Named tuple of ``sky`` and ``cosmic_ray``; NaN for a class never
        called.

    References
    ----------
    .. [1] Gupta, C., & Ramdas, A. 2022, ICLR, arXiv:2107.08353
    """
    sample = as_sample(probability, label, weight=weight)
    sums = _sums.sample_sums(sample, n_bins=n_bins, threshold=threshold).sum(0)
    return ClasswiseError(*map(float, _sums.class_calibration_errors(sums)))
