"""What to expect at each threshold: the curve that is stored with a model."""

import numpy as np

from cosmiq_astro.calibration._input import as_sample

__all__ = ["operating_curve"]

_THRESHOLDS = np.round(1 / (1 + np.exp(-np.linspace(-4.6, 4.6, 47))), 4)


def operating_curve(probability, label=None, *, weight=None, thresholds=_THRESHOLDS):
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
    weights = np.ones(sample.size) if sample.weight is None else sample.weight
    # As a detection compares them: float32 probabilities with a threshold of their precision.
    edges = thresholds.astype(np.asarray(sample.probability).dtype)
    level = np.searchsorted(edges, sample.probability, side="right")
    n = len(thresholds) + 1
    true = np.bincount(level, weights * sample.label, n)
    false = np.bincount(level, weights * ~sample.label, n)
    if not 0 < true.sum() < true.sum() + false.sum():
        raise ValueError("label must have both cosmic rays and other pixels")
    # From the highest level down: what is flagged at each threshold.
    flagged_true = np.cumsum(true[::-1])[::-1][1:]
    flagged_false = np.cumsum(false[::-1])[::-1][1:]
    flagged = flagged_true + flagged_false
    precision = np.divide(flagged_true, flagged, out=np.ones(n - 1), where=flagged > 0)
    return {
        "threshold": thresholds.tolist(),
        "precision": np.round(precision, 4).tolist(),
        "recall": np.round(flagged_true / true.sum(), 4).tolist(),
        "hit_fraction": float(f"{true.sum() / (true.sum() + false.sum()):.4g}"),
        "n_pixels": int(sample.size),
    }
