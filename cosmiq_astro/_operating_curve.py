"""What a model's operating curve must look like; needs none of the diagnostics that make one."""

import math

__all__ = ["check_operating_curve"]

_COLUMNS = ("threshold", "precision", "recall")


def check_operating_curve(name, curve):
    """
    Refuse an operating curve that is none.

    Parameters
    ----------
    name : str
        What to call it in messages.
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
            f"{name} must hold threshold (rising), precision and recall, lists of one length in "
            "[0, 1], and hit_fraction and n_pixels: what calibration.operating_curve returns"
        )
