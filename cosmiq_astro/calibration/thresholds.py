"""The probability from which a pixel is called a cosmic ray, and what each threshold does."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from . import _sums
from ._input import Column, Labels, Pixels, as_sample

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = ["ThresholdChoice", "choose_threshold", "operating_curve"]

_THRESHOLDS = np.round(1 / (1 + np.exp(-np.linspace(-4.6, 4.6, 47))), 4)


@dataclass(frozen=True)
class ThresholdChoice:
    """
    A threshold and what it does to the pixels it was chosen on.

    ``float(choice)`` is the threshold.

    Attributes
    ----------
    threshold : float
        Pixels with p at or above it are called cosmic ray.
    criterion : {'fpr', 'f_beta', 'cost', 'conformal_fnr'}
        What it was chosen by.
    target : float
        The value asked for: a rate, β, a price, or α.
    tpr, fpr, precision : float
        Over all pixels, at the threshold.
    n_images : int
        Images the guarantee rests on, for ``'conformal_fnr'``; otherwise 0.
    """

    threshold: float
    criterion: str
    target: float
    tpr: float
    fpr: float
    precision: float
    n_images: int = 0

    def __float__(self):
        return self.threshold


def choose_threshold(
    probability: Pixels,
    label: Labels = None,
    *,
    weight: Column = None,
    fpr: float | None = None,
    f_beta: float | None = None,
    cost: float | None = None,
    conformal_fnr: float | None = None,
    image: Column = None,
) -> ThresholdChoice:
    """
    Choose a threshold by exactly one criterion.

    Parameters
    ----------
    probability, label, weight : array-like
        As for `~cosmiq_astro.calibration.brier_score`.
    fpr : float, optional
        Largest fraction of clean pixels that may be flagged; the lowest
        threshold within it is taken. 5e-4 is usual for photometry, 5e-3 for
        drizzling many exposures.
    f_beta : float, optional
        Maximise F_β, which weighs recall β times as much as precision. 1
        weighs both alike; raise it to miss less.
    cost : float, optional
        Price of a clean pixel flagged (a star lost) in units of the price of
        a cosmic-ray pixel missed; the mean price is minimised. For calibrated
        probabilities this is the threshold ``cost / (1 + cost)``.
    conformal_fnr : float, optional
        α: choose so that in a new image, exchangeable with these, the
        expected fraction of cosmic-ray pixels missed is at most α, whatever
        the model. Needs ``image`` (or lists of images) and at least
        ``1/α - 1`` images that have cosmic rays.
    image : array-like or str, optional
        Image of each pixel, for ``conformal_fnr``.

    Returns
    -------
    choice : `ThresholdChoice`
        ``float(choice)`` is the threshold.

    Raises
    ------
    ValueError
        If not exactly one criterion is given, a class is missing, no
        threshold meets the rate, or there are too few images for α.

    Notes
    -----
    Conformal risk control [1]_ takes the largest threshold τ with
    ``(Σ_i FNR_i(τ) + 1) / (n + 1) <= α`` over n images. The promise is on the
    average over calibration sets and new images, for images as those used:
    the same instrument, exposure time and kind of field. Images without
    cosmic rays have nothing to miss and do not count.

    References
    ----------
    .. [1] Angelopoulos, A. N., et al. 2022, arXiv:2208.02814, eq. 4 and
       theorem 1

    Examples
    --------
    >>> from cosmiq_astro.calibration import choose_threshold
    >>> p, y = [0.1, 0.2, 0.6, 0.7, 0.9], [0, 0, 1, 0, 1]
    >>> choose_threshold(p, y, fpr=0.0).threshold
    0.9
    >>> choose_threshold(p, y, f_beta=2).threshold
    0.6
    """
    criteria = {"fpr": fpr, "f_beta": f_beta, "cost": cost, "conformal_fnr": conformal_fnr}
    given = {name: value for name, value in criteria.items() if value is not None}
    if len(given) != 1:
        raise ValueError(f"give exactly one of {', '.join(criteria)}; got {list(given) or 'none'}")
    ((criterion, target),) = given.items()
    sample = as_sample(probability, label, weight=weight, image=image)
    threshold, true, false = (x[1:] for x in _sums.roc_curve(_sums.rank_sample(sample)))
    if not (true.size and true[-1] > 0 and false[-1] > 0):
        raise ValueError("label must have pixels of both classes to choose a threshold")

    n_images = 0
    if criterion == "conformal_fnr":
        value, n_images = _conformal(sample, target)
        row = np.flatnonzero(threshold == value)[0]
    else:
        row = _chosen_row(criterion, target, true, false)
    chosen, tp, fp = threshold[row], true[row], false[row]
    rates = map(float, (tp / true[-1], fp / false[-1], tp / (tp + fp)))
    return ThresholdChoice(float(chosen), criterion, float(target), *rates, n_images=n_images)


def _chosen_row(criterion, target, true, false):
    """Return the row of the lowest threshold within a rate, of the best F_β, or least price."""
    if criterion == "fpr":
        if not 0 <= target <= 1:
            raise ValueError(f"fpr must lie in [0, 1], not {target}")
        within = np.flatnonzero(false <= target * false[-1])
        if not within.size:
            raise ValueError(
                f"no threshold reaches fpr={target}: the pixels of the highest probability "
                f"already have {false[0] / false[-1]:.3g}; allow more, or recalibrate"
            )
        return within[-1]
    if not target > 0:
        raise ValueError(f"{criterion} must be positive, not {target}")
    if criterion == "cost":
        return np.argmin(target * false - true)
    return np.argmax((1 + target**2) * true / (target**2 * true[-1] + true + false))


def _conformal(sample, alpha):
    """Return the threshold of conformal risk control, and the number of images."""
    if not 0 < alpha < 1:
        raise ValueError(f"conformal_fnr must lie in (0, 1), not {alpha}")
    if sample.image is None:
        raise ValueError("conformal_fnr needs image=, or lists of results and truths")
    p = sample.probability[sample.label].astype(float)
    weight = np.ones(p.size) if sample.weight is None else sample.weight[sample.label]
    names, number = np.unique(sample.image[sample.label], return_inverse=True)
    n = names.size
    # 1e-9 absorbs the rounding of 1/alpha, so that alpha = 1/(n + 1) is accepted.
    needed = math.ceil(1 / alpha - 1 - 1e-9)
    if n < needed:
        raise ValueError(
            f"conformal_fnr={alpha} is below 1/(n + 1) = {1 / (n + 1):.3g} for the n={n} images "
            f"with cosmic rays; it needs {needed} images"
        )
    loss = weight / np.bincount(number, weight)[number]
    value, row = np.unique(p, return_inverse=True)
    # A threshold at a pixel's own value keeps that pixel, so the loss is of those below it.
    missed = np.append(0.0, np.cumsum(np.bincount(row, loss))[:-1])
    allowed = (missed + 1) / (n + 1) <= alpha * (1 + 1e-9)
    return value[np.flatnonzero(allowed)[-1]], n


def operating_curve(
    probability: Pixels,
    label: Labels = None,
    *,
    weight: Column = None,
    thresholds: ArrayLike = _THRESHOLDS,
) -> dict:
    """
    Return precision and recall at thresholds, in what JSON can hold.

    Parameters
    ----------
    probability, label, weight : array-like
        As for `~cosmiq_astro.calibration.brier_score`; from frames that nothing
        was fitted on, and with as many hits as real ones have: the precision
        holds for this share of pixels hit alone.
    thresholds : array-like, optional
        Rising, in (0, 1); 47 from 0.01 to 0.99, evenly in log-odds, by default.

    Returns
    -------
    curve : dict
        ``threshold``, ``precision`` and ``recall`` (lists; a pixel is flagged
        where its probability reaches the threshold; the precision of no flag
        at all is 1), ``hit_fraction`` (share of pixels with label 1) and
        ``n_pixels``.

    Raises
    ------
    ValueError
        If the thresholds do not rise in (0, 1), or no pixel or every pixel is a
        cosmic ray.

    Examples
    --------
    >>> from cosmiq_astro.calibration import operating_curve
    >>> curve = operating_curve([0.1, 0.4, 0.6, 0.9], [0, 1, 0, 1], thresholds=[0.3, 0.5])
    >>> curve["precision"], curve["recall"]
    ([0.6667, 0.5], [1.0, 0.5])
    """
    thresholds = np.asarray(thresholds, dtype=np.float64)
    inside = (thresholds > 0) & (thresholds < 1)
    if thresholds.ndim != 1 or len(thresholds) < 2 or not inside.all():
        raise ValueError(f"thresholds must be two or more, in (0, 1), got {thresholds}")
    if (np.diff(thresholds) <= 0).any():
        raise ValueError(f"thresholds must rise, got {thresholds}")
    sample = as_sample(probability, label, weight=weight)
    # From the lowest probability, all flagged, to infinity, none.
    score, *flagged = (x[::-1] for x in _sums.roc_curve(_sums.rank_sample(sample)))
    n_true, n_false = (weight[0] for weight in flagged)
    if not (n_true > 0 and n_false > 0):
        raise ValueError("label must have both cosmic rays and other pixels")
    # As a detection compares them: float32 probabilities with a threshold of their precision.
    first = np.searchsorted(score, thresholds.astype(sample.probability.dtype))
    true, false = (weight[first] for weight in flagged)
    precision = np.divide(true, true + false, out=np.ones(first.size), where=true + false > 0)
    return {
        "threshold": thresholds.tolist(),
        "precision": np.round(precision, 4).tolist(),
        "recall": np.round(true / n_true, 4).tolist(),
        "hit_fraction": float(f"{n_true / (n_true + n_false):.4g}"),
        "n_pixels": int(sample.size),
    }
