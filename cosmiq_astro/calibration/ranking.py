"""
How well the probability ranks pixels, and the uncertainty ranks errors.

Inputs are those of `cosmiq_astro.calibration.brier_score`. The first group of
functions ranks pixels by probability; `aurc`, `augrc` and `error_auroc` rank
them by an uncertainty (by default the entropy of p) and ask whether the
errors, at a threshold, sit among the uncertain.
"""

from __future__ import annotations

from ._input import Column, Labels, Pixels, as_sample
from ._scores import SampleScores

__all__ = ["augrc", "aurc", "average_precision", "error_auroc", "roc_auc", "tpr_at_fpr"]


def _scores(probability, label, weight, uncertainty=None, threshold=0.5):
    """Return the scores of any accepted input."""
    sample = as_sample(probability, label, weight=weight, uncertainty=uncertainty)
    return SampleScores(sample, threshold=threshold)


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
        As for `~cosmiq_astro.calibration.brier_score`.
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
        As for `~cosmiq_astro.calibration.brier_score`.
    fpr : float
        Largest false-positive rate allowed, in [0, 1].

    Returns
    -------
    tpr : float
        NaN unless both classes are present.
    """
    return _scores(probability, label, weight).tpr_at_fpr(fpr=fpr)


def average_precision(probability: Pixels, label: Labels = None, *, weight: Column = None) -> float:
    """
    Precision averaged over the steps of recall.

    ``Σ_n (R_n - R_{n-1}) P_n`` over descending thresholds, in [0, 1]; higher
    is better, and a random score has the base rate.

    Parameters
    ----------
    probability, label, weight : array-like
        As for `~cosmiq_astro.calibration.brier_score`.

    Returns
    -------
    precision : float
        NaN without cosmic-ray pixels.

    References
    ----------
    .. [1] Davis, J., & Goadrich, M. 2006, ICML, 23, 233 (why no line is drawn
       between points)
    """
    return _scores(probability, label, weight).average_precision()


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
        As for `~cosmiq_astro.calibration.brier_score`.
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
    return _scores(probability, label, weight, uncertainty, threshold).aurc()


def augrc(
    probability: Pixels,
    label: Labels = None,
    *,
    weight: Column = None,
    uncertainty: Column = None,
    threshold: float = 0.5,
) -> float:
    """
    Area under the generalized risk-coverage curve.

    As `aurc`, with the errors kept counted as a fraction of all pixels, so
    that the most certain few do not dominate: the mean share of undetected
    errors over all coverages. In [0, 1/2]; lower is better, and an
    uncertainty that knows nothing gives half the error rate.

    Parameters
    ----------
    probability, label, weight, uncertainty, threshold : array-like, float
        As for `aurc`.

    Returns
    -------
    area : float
        NaN if no pixel is left.

    References
    ----------
    .. [1] Traub, J., et al. 2024, NeurIPS, arXiv:2407.01032
    """
    return _scores(probability, label, weight, uncertainty, threshold).augrc()


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
    return _scores(probability, label, weight, uncertainty, threshold).error_auroc()
