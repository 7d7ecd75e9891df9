"""
How right the probabilities are, and how well they rank pixels.

Every function takes two arrays, or one `~astropy.table.Table` with the columns
``probability`` and ``label`` (and, if wanted, ``weight``), or a list of
detection results and a list of truth images. Pixels whose probability or label
is NaN or masked, or whose weight is zero, are left out. `roc_auc` and
`tpr_at_fpr` rank pixels by probability; `aurc` and `error_auroc` rank them by
an uncertainty (by default the entropy of p) and ask whether the errors, at a
threshold, sit among the uncertain.
"""

from __future__ import annotations

from ._input import Binning, Column, Labels, Pixels, as_sample
from ._scores import Scores

__all__ = [
    "aurc",
    "brier_score",
    "error_auroc",
    "expected_calibration_error",
    "negative_log_likelihood",
    "roc_auc",
    "tpr_at_fpr",
]


def _scores(probability, label, weight, *, uncertainty=None, n_bins=1, threshold=0.5):
    """Return the scores of any accepted input."""
    sample = as_sample(probability, label, weight=weight, uncertainty=uncertainty)
    return Scores(sample, n_bins=n_bins, threshold=threshold)


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


def roc_auc(
    probability: Pixels, label: Labels = None, *, weight: Column = None, max_fpr: float = 1.0
) -> float:
    """
    Mean true-positive rate over false-positive rates up to ``max_fpr``.

    For ``max_fpr=1`` the area under the ROC curve, the chance that a
    cosmic-ray pixel gets a higher p than another pixel (equal ones count
    half). In [0, 1]; higher is better. For less, the partial area divided by
    ``max_fpr``; a random score has ``max_fpr / 2``.

    Parameters
    ----------
    probability, label, weight : array-like
        As for `brier_score`.
    max_fpr : float, optional
        Largest false-positive rate of interest, in (0, 1]. An image has
        millions of sky pixels: only rates below about 0.005 are of use.

    Returns
    -------
    area : float
        NaN unless both classes are present.

    References
    ----------
    .. [1] Fawcett, T. 2006, Pattern Recognition Letters, 27, 861
    .. [2] McClish, D. K. 1989, Medical Decision Making, 9, 190; scikit-learn
       gives its standardised area, (1 + (A - A_min) / (A_max - A_min)) / 2 with
       A = ``area * max_fpr``, A_min = ``max_fpr**2 / 2``, A_max = ``max_fpr``.

    Examples
    --------
    >>> from cosmiq_astro.calibration import roc_auc
    >>> roc_auc([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1])
    0.75
    """
    return _scores(probability, label, weight).roc_auc(max_fpr=max_fpr)


def tpr_at_fpr(
    probability: Pixels, label: Labels = None, *, weight: Column = None, fpr: float
) -> float:
    """
    Largest true-positive rate that a threshold reaches within a false-positive rate.

    In [0, 1]; higher is better. Nothing is interpolated: some threshold has
    exactly this rate.

    Parameters
    ----------
    probability, label, weight : array-like
        As for `brier_score`.
    fpr : float
        Largest false-positive rate allowed, in [0, 1].

    Returns
    -------
    tpr : float
        NaN unless both classes are present.
    """
    return _scores(probability, label, weight).tpr_at_fpr(fpr=fpr)


def aurc(
    probability: Pixels,
    label: Labels = None,
    *,
    weight: Column = None,
    uncertainty: Column = None,
    threshold: float = 0.5,
) -> float:
    """
    Area under the risk-coverage curve.

    Pixels are kept in the order of their uncertainty; the risk r(c) is the
    error rate among the fraction c kept. ``∫ r dc``, in [0, 1]; lower is
    better, and an uncertainty that knows nothing gives the error rate. Errors
    of equal uncertainty are spread evenly.

    Parameters
    ----------
    probability, label, weight : array-like
        As for `brier_score`.
    uncertainty : array-like or str, optional
        Not negative, larger where less certain: entropy, standard deviation,
        mutual information; or the name of a column or of a plane of the
        results. Default: the entropy of p, small probabilities rounded as
        those near 1 are, so that p and 1 - p are equally uncertain.
    threshold : float, optional
        Pixels with p at or above it are called cosmic ray.

    Returns
    -------
    area : float
        NaN if no pixel is left.

    References
    ----------
    .. [1] Geifman, Y., Uziel, G., & El-Yaniv, R. 2019, ICLR, arXiv:1805.08206
    """
    scores = _scores(probability, label, weight, uncertainty=uncertainty, threshold=threshold)
    return scores.aurc()


def error_auroc(
    probability: Pixels,
    label: Labels = None,
    *,
    weight: Column = None,
    uncertainty: Column = None,
    threshold: float = 0.5,
) -> float:
    """
    Area under the ROC curve of the uncertainty as a detector of errors.

    The chance that a pixel called wrongly has a larger uncertainty than one
    called rightly. In [0, 1]; higher is better, 0.5 knows nothing.

    Parameters
    ----------
    probability, label, weight, uncertainty, threshold : array-like, float
        As for `aurc`.

    Returns
    -------
    area : float
        NaN unless some pixels are wrong and some are right.

    References
    ----------
    .. [1] Hendrycks, D., & Gimpel, K. 2017, ICLR, arXiv:1610.02136
    """
    scores = _scores(probability, label, weight, uncertainty=uncertainty, threshold=threshold)
    return scores.error_auroc()
