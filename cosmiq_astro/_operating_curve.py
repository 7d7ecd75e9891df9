"""What a model's operating curve must look like, and the points of it that have names."""

import math
from numbers import Real

__all__ = [
    "OPERATING_POINTS",
    "check_operating_curve",
    "check_threshold",
    "find_threshold",
    "largest_f",
]

OPERATING_POINTS = ("pure", "balanced", "complete")
"""Names of thresholds: where every star counts, the model's own, where every hit does."""
_BETA = {"pure": 0.25, "complete": 4.0}

_COLUMNS = ("threshold", "precision", "recall")


def check_operating_curve(curve):
    """
    Refuse an operating curve that is none.

    Parameters
    ----------
    curve : object
        What `~cosmiq_astro.calibration.operating_curve` returns, and perhaps
        ``frames``, on which it was measured.

    Raises
    ------
    ValueError
        If a column is missing, of another length, or has values outside [0, 1];
        or if the thresholds do not rise.
    """
    try:
        columns = [[float(value) for value in curve[column]] for column in _COLUMNS]
        right = (
            len({len(column) for column in columns}) == 1
            and all(0 <= value <= 1 for column in columns for value in column)
            and len(columns[0]) > 1
            and all(a < b for a, b in zip(columns[0], columns[0][1:], strict=False))
            and 0 < float(curve["hit_fraction"]) < 1
            and math.isfinite(float(curve["n_pixels"]))
            and isinstance(curve.get("frames", ""), str)
        )
    except (TypeError, ValueError, LookupError, OverflowError):
        right = False
    if not right:
        raise ValueError(
            "operating_curve must hold threshold (rising), precision and recall, lists of one "
            "length in [0, 1], and hit_fraction and n_pixels: what calibration.operating_curve "
            "returns"
        )


def check_threshold(threshold):
    """
    Refuse a threshold that is none.

    Parameters
    ----------
    threshold : object
        What a user gave.

    Raises
    ------
    ValueError
        If it is neither None, nor a name, nor a number in (0, 1).
    """
    named = isinstance(threshold, str) and threshold in OPERATING_POINTS
    if not (threshold is None or named or (isinstance(threshold, Real) and 0 < threshold < 1)):
        names = ", ".join(map(repr, OPERATING_POINTS))
        raise ValueError(f"threshold must be in (0, 1) or one of {names}, got {threshold!r}")


def find_threshold(model, threshold):
    """
    Turn what a user gave into the probability from which a pixel is flagged.

    ``'pure'`` and ``'complete'`` are where F0.25 and F4 of the model's operating curve are
    largest.

    Parameters
    ----------
    model : `~cosmiq_astro.models.model.Model`
        With an operating curve, if the threshold is a name.
    threshold : float, str or None
        A probability, a name in `OPERATING_POINTS`, or None for that of the model.

    Returns
    -------
    threshold : float
        In (0, 1).

    Raises
    ------
    ValueError
        If it is a name, and the model has no operating curve.
    """
    if threshold is None or threshold == "balanced":
        return model.threshold
    if not isinstance(threshold, str):
        return float(threshold)
    curve = model.operating_curve
    if curve is None:
        raise ValueError(
            f"threshold {threshold!r} needs the operating curve of a model, and {model.name!r} has "
            "none: give a number"
        )
    return largest_f(curve, _BETA[threshold])


def largest_f(curve, beta):
    """
    Return the threshold of an operating curve at which F_beta is largest.

    Parameters
    ----------
    curve : dict
        What `~cosmiq_astro.calibration.operating_curve` returns.
    beta : float
        How many times as much recall weighs as precision.

    Returns
    -------
    threshold : float
        In (0, 1).
    """

    def f_measure(point):
        _, precision, recall = point
        return precision * recall / max(beta**2 * precision + recall, 1e-12)

    points = zip(*(curve[column] for column in _COLUMNS), strict=True)
    return float(max((p for p in points if 0 < p[0] < 1), key=f_measure)[0])
