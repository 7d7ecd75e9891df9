"""The maps that the fits of `cosmiq_astro.calibration.recalibrate` return."""

import abc
import math
from dataclasses import dataclass, fields

import numpy as np
from scipy.special import expit, logit

from ._sums import CLIP

__all__ = [
    "BetaCalibration",
    "IsotonicCalibration",
    "Recalibration",
    "TemperatureScaling",
    "clipped_logs",
]


class Recalibration(abc.ABC):
    """A map of probabilities, as returned by the fits; call it to apply it."""

    @abc.abstractmethod
    def __call__(self, probability):
        """Return the recalibrated probability; NaN stays NaN."""

    def to_dict(self):
        """
        Return the map as JSON can hold it.

        Returns
        -------
        state : dict
            The name of the method and its numbers.
        """
        state = {f.name: getattr(self, f.name) for f in fields(self)}
        state = {k: list(v) if isinstance(v, tuple) else v for k, v in state.items()}
        return {"method": _NAMES[type(self)]} | state

    @staticmethod
    def from_dict(state):
        """
        Restore a map from what `to_dict` returned.

        Parameters
        ----------
        state : dict
            ``method`` and the numbers of that method.

        Returns
        -------
        recalibration : `Recalibration`
            The map.

        Raises
        ------
        ValueError
            If the method or its numbers are not known.
        """
        state = dict(state)
        name = state.pop("method", None)
        classes = {name: cls for cls, name in _NAMES.items()}
        if name not in classes:
            raise ValueError(f"method must be one of {list(classes)}, not {name!r}")
        expected = {f.name for f in fields(classes[name])}
        if set(state) != expected:
            raise ValueError(f"{name} needs the numbers {sorted(expected)}, not {sorted(state)}")
        state = {k: tuple(v) if isinstance(v, list) else v for k, v in state.items()}
        return classes[name](**state)


@dataclass(frozen=True)
class TemperatureScaling(Recalibration):
    """
    Divide logits by a temperature: above 1 softens, below 1 sharpens.

    Attributes
    ----------
    temperature : float
        Also ``float(scaling)``.
    """

    temperature: float

    def __post_init__(self):
        if not (self.temperature > 0 and math.isfinite(self.temperature)):
            raise ValueError(f"temperature must be positive and finite, not {self.temperature}")

    def __float__(self):
        return float(self.temperature)

    def __call__(self, probability):
        """Return ``expit(logit(p) / temperature)``."""
        return expit(logit(np.asarray(probability)) / self.temperature)


@dataclass(frozen=True)
class BetaCalibration(Recalibration):
    """
    ``expit(a ln p - b ln(1 - p) + c)``; the identity is a = b = 1, c = 0.

    Attributes
    ----------
    a, b : float
        Not negative: slopes towards p = 0 and p = 1.
    c : float
        Shift in logit.
    """

    a: float
    b: float
    c: float

    def __post_init__(self):
        if not (all(map(math.isfinite, (self.a, self.b, self.c))) and min(self.a, self.b) >= 0):
            raise ValueError(
                f"a and b must be 0 or more and all numbers finite, not a={self.a}, b={self.b}, "
                f"c={self.c}"
            )

    def __call__(self, probability):
        """Return the recalibrated probability; NaN stays NaN."""
        log_p, log_q = clipped_logs(probability)
        return expit(self.a * log_p - self.b * log_q + self.c)


@dataclass(frozen=True)
class IsotonicCalibration(Recalibration):
    """
    A non-decreasing curve through the given points, straight between them.

    Attributes
    ----------
    probability, value : tuple of float
        The points, in ascending order of probability.
    """

    probability: tuple
    value: tuple

    def __post_init__(self):
        for name in ("probability", "value"):
            points = np.asarray(getattr(self, name), dtype=float)
            # A comparison that NaN fails.
            within = ((points >= 0) & (points <= 1)).all() and (np.diff(points) >= 0).all()
            if points.ndim != 1 or not (points.size and within):
                raise ValueError(f"{name} must ascend within [0, 1] in one point or more")
        if len(self.probability) != len(self.value):
            raise ValueError(
                f"probability has {len(self.probability)} points, value has {len(self.value)}"
            )

    def __call__(self, probability):
        """Return the recalibrated probability; constant outside the points, NaN stays NaN."""
        return np.interp(probability, self.probability, self.value)


_NAMES = {
    TemperatureScaling: "temperature",
    BetaCalibration: "beta",
    IsotonicCalibration: "isotonic",
}


def clipped_logs(probability):
    """
    Return the logarithms that the log-likelihood is made of.

    Parameters
    ----------
    probability : ndarray
        Clipped as in `~cosmiq_astro.calibration.negative_log_likelihood`.

    Returns
    -------
    logs : tuple of ndarray
        ln p and ln(1 - p).
    """
    p = np.clip(probability, CLIP, 1 - CLIP)
    return np.log(p), np.log1p(-p)
