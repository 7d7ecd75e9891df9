"""
Maps from the network's probability to one that holds on validation data.

Fit on frames the network was not trained on, and judge on others again. Each
fit returns a small object: call it on probabilities, keep it with
``to_dict`` in a model's JSON, restore it with ``Recalibration.from_dict``.
"""

from __future__ import annotations

import abc
import math
from dataclasses import dataclass, fields
from typing import ClassVar

import numpy as np
import scipy  # its optimize is loaded when a map is fitted, not with every model
from scipy.special import expit, logit

from . import _sums
from ._input import Column, Labels, Pixels, as_sample
from ._sums import CLIP

__all__ = [
    "BetaCalibration",
    "IsotonicCalibration",
    "Recalibration",
    "TemperatureScaling",
    "fit_beta",
    "fit_isotonic",
    "fit_temperature",
]

_TEMPERATURES = (0.05, 20.0)


class Recalibration(abc.ABC):
    """A map of probabilities, as returned by the fits; call it to apply it."""

    _method: ClassVar[str]

    @abc.abstractmethod
    def __call__(self, probability: np.ndarray) -> np.ndarray:
        """Return the recalibrated probability; NaN stays NaN."""

    def to_dict(self) -> dict:
        """
        Return the map as JSON can hold it.

        Returns
        -------
        state : dict
            The name of the method and its numbers.
        """
        state = {k: list(v) if isinstance(v, tuple) else v for k, v in vars(self).items()}
        return {"method": self._method} | state

    @staticmethod
    def from_dict(state: dict) -> Recalibration:
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
        state = {k: tuple(v) if isinstance(v, list) else v for k, v in dict(state).items()}
        name = state.pop("method", None)
        classes: dict[str, type] = {cls._method: cls for cls in Recalibration.__subclasses__()}
        if name not in classes:
            raise ValueError(f"method must be one of {list(classes)}, not {name!r}")
        expected = {f.name for f in fields(classes[name])}
        if set(state) != expected:
            raise ValueError(f"{name} needs the numbers {sorted(expected)}, not {sorted(state)}")
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

    _method: ClassVar = "temperature"
    temperature: float

    def __post_init__(self):
        if not (self.temperature > 0 and math.isfinite(self.temperature)):
            raise ValueError(f"temperature must be positive and finite, not {self.temperature}")

    def __float__(self):
        return float(self.temperature)

    def __call__(self, probability: np.ndarray) -> np.ndarray:
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

    _method: ClassVar = "beta"
    a: float
    b: float
    c: float

    def __post_init__(self):
        if not (all(map(math.isfinite, (self.a, self.b, self.c))) and min(self.a, self.b) >= 0):
            raise ValueError(
                f"a and b must be 0 or more and all numbers finite, not a={self.a}, b={self.b}, "
                f"c={self.c}"
            )

    def __call__(self, probability: np.ndarray) -> np.ndarray:
        """Return the recalibrated probability; NaN stays NaN."""
        log_p, log_q = _clipped_logs(probability)
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

    _method: ClassVar = "isotonic"
    probability: tuple[float, ...]
    value: tuple[float, ...]

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

    def __call__(self, probability: np.ndarray) -> np.ndarray:
        """Return the recalibrated probability; constant outside the points, NaN stays NaN."""
        return np.interp(probability, self.probability, self.value)


def fit_temperature(
    probability: Pixels, label: Labels = None, *, from_logits: bool = False, weight: Column = None
) -> TemperatureScaling:
    """
    Find the temperature that makes the labels most likely.

    One number for all pixels: it cannot change which pixel ranks above which,
    only how sure the probabilities are. For a variational network it divides
    each draw's logits before they are averaged, so fit it on the draws.

    Parameters
    ----------
    probability : array-like, `~astropy.table.Table`, or list
        Probabilities as for `~cosmiq_astro.calibration.brier_score`; with
        ``from_logits``, an array of logits of the shape of ``label``, or of
        shape ``(T, ...)`` with the T draws in front.
    label : array-like, optional
        1 for cosmic ray, 0 for not; NaN or masked where it does not count.
    from_logits : bool, optional
        Whether logits are given. Prefer them: a float32 probability loses
        what lies beyond 1 - 6e-8.
    weight : array-like or str, optional
        Weight of each pixel.

    Returns
    -------
    scaling : `TemperatureScaling`
        ``float(scaling)`` is the temperature, within [0.05, 20]. A value at
        either end says that the data do not determine it.

    References
    ----------
    .. [1] Guo, C., et al. 2017, ICML, arXiv:1706.04599, section 4.2

    Examples
    --------
    >>> import numpy as np
    >>> from cosmiq_astro.calibration import fit_temperature
    >>> rng = np.random.default_rng(0)
    >>> true_logit = rng.normal(-1, 2, 20_000)
    >>> label = rng.random(20_000) < 1 / (1 + np.exp(-true_logit))
    >>> round(float(fit_temperature(3 * true_logit, label, from_logits=True)), 1)
    3.0
    """
    if from_logits:
        logits, sample = _draws(probability, label, weight)
    else:
        sample = _both_classes(probability, label, weight)
        logits = logit(sample.probability.astype(float))[np.newaxis]
    sign = np.where(sample.label, 1.0, -1.0)

    def loss(log_temperature):
        scaled = sign * logits / math.exp(log_temperature)  # (T, n_pixels)
        likelihood = np.clip(expit(scaled).mean(axis=0), CLIP, 1 - CLIP)
        return -np.average(np.log(likelihood), weights=sample.weight)

    limits = [math.log(temperature) for temperature in _TEMPERATURES]
    best = scipy.optimize.minimize_scalar(loss, bounds=limits, options={"xatol": 1e-6})
    return TemperatureScaling(math.exp(best.x))


def fit_beta(
    probability: Pixels, label: Labels = None, *, weight: Column = None
) -> BetaCalibration:
    """
    Fit a beta calibration: three numbers, different at both ends, monotone.

    Take it where the temperature leaves the reliability curve bent or
    shifted, with some 1000 cosmic-ray pixels or more.

    Parameters
    ----------
    probability, label, weight : array-like
        As for `~cosmiq_astro.calibration.brier_score`.

    Returns
    -------
    calibration : `BetaCalibration`
        The map.

    References
    ----------
    .. [1] Kull, M., Silva Filho, T., & Flach, P. 2017, AISTATS, 54, 623
    """
    sample = _both_classes(probability, label, weight)
    log_p, log_q = _clipped_logs(sample.probability.astype(float))
    features = np.stack([log_p, -log_q, np.ones_like(log_p)])  # (3, n_pixels)
    sign = np.where(sample.label, 1.0, -1.0)
    share = np.ones(sample.size) if sample.weight is None else sample.weight
    share = share / share.sum()

    def loss_and_slope(numbers):
        margin = sign * (numbers @ features)
        return share @ np.logaddexp(0, -margin), -(features @ (share * sign * expit(-margin)))

    bounds = [(0, None), (0, None), (None, None)]
    options = {"ftol": 1e-12, "gtol": 1e-9}
    start = np.array([1.0, 1.0, 0.0])
    best = scipy.optimize.minimize(loss_and_slope, start, jac=True, bounds=bounds, options=options)
    return BetaCalibration(*map(float, best.x))


def fit_isotonic(
    probability: Pixels, label: Labels = None, *, weight: Column = None
) -> IsotonicCalibration:
    """
    Fit the non-decreasing curve of least squared error.

    It can follow any monotone distortion and needs the most data: some 1000
    cosmic-ray pixels for each part of the curve that matters. The lowest
    block may state 0 and the highest 1, as certain as the data it saw.

    Parameters
    ----------
    probability, label, weight : array-like
        As for `~cosmiq_astro.calibration.brier_score`.

    Returns
    -------
    calibration : `IsotonicCalibration`
        The map, two points per block.

    References
    ----------
    .. [1] Zadrozny, B., & Elkan, C. 2002, KDD, 694
    .. [2] Barlow, R. E., et al. 1972, Statistical Inference under Order
       Restrictions (pooling adjacent violators)
    """
    sample = _both_classes(probability, label, weight)
    ranks = _sums.rank_sample(sample)
    total = ranks.event + ranks.other
    fit = scipy.optimize.isotonic_regression(ranks.event / total, weights=total)
    first = fit.blocks[:-1]
    ends = np.unique(np.concatenate([first, fit.blocks[1:] - 1]))
    return IsotonicCalibration(tuple(ranks.score[ends].tolist()), tuple(fit.x[ends].tolist()))


def _draws(logits, label, weight):
    """Return the logits ``(T, n_pixels)`` of the pixels that count, and their sample."""
    logits, shape = np.asarray(logits, dtype=float), np.shape(label)
    if logits.shape != shape and logits.shape[1:] != shape:
        raise ValueError(
            f"logits have the shape {logits.shape}; with a label of {shape} "
            f"they must have that shape, or {('T', *shape)}"
        )
    logits = logits.reshape(-1, math.prod(shape))
    sample = _both_classes(expit(logits.mean(axis=0)).reshape(shape), label, weight)
    return (logits[:, sample.keep] if sample.n_left_out else logits), sample


def _both_classes(probability, label, weight):
    """Return the sample to fit a map to; refuse one in which only one class would decide."""
    sample = as_sample(probability, label, weight=weight)
    n_positive = np.count_nonzero(sample.label)
    if n_positive in (0, sample.size):
        raise ValueError(
            f"label has {n_positive} cosmic-ray pixels of {sample.size}; "
            "a recalibration needs both classes"
        )
    return sample


def _clipped_logs(probability):
    """Return ln p and ln(1 - p) as the log-likelihood takes them."""
    p = np.clip(probability, CLIP, 1 - CLIP)
    return np.log(p), np.log1p(-p)
