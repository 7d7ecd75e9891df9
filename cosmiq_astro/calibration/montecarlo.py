"""
How far T draws of the weights leave the probability and the entropy from their limit.

The spread of a pixel is the standard deviation of one draw's probability, as
it acts on the mean: after T draws the mean is off by spread / √T. Independent
draws have their plain standard deviation; antithetic pairs cancel part of it.
"""

from __future__ import annotations

import math

import numpy as np
from astropy.table import QTable
from numpy.typing import ArrayLike

from ._sums import CLIP, entropy
from ._tables import described

__all__ = ["draw_spread", "draws_needed", "monte_carlo_table"]


def draw_spread(draws: ArrayLike, *, antithetic: bool = False) -> np.ndarray:
    """
    Spread of one draw per pixel, estimated from draws.

    Parameters
    ----------
    draws : array-like
        Probabilities of each draw, shape ``(T, ...)``, T at least 2 (4 for
        antithetic).
    antithetic : bool, optional
        Whether each two draws have opposite noise. The pairs are then the
        independent units, and the spread returned is √2 times that of a
        pair's mean.

    Returns
    -------
    spread : `~numpy.ndarray`
        Standard deviation (ddof 1), of the shape of one draw. Estimated from
        n independent units it has a relative error of 1/√(2 (n - 1)) where
        draws of p are Gaussian, and of more where p is near 0 or 1 and the
        draws are skewed.

    References
    ----------
    .. [1] Hammersley, J. M., & Morton, K. W. 1956, Proc. Cambridge Phil.
       Soc., 52, 449 (antithetic variates)

    Examples
    --------
    >>> from cosmiq_astro.calibration import draw_spread
    >>> draw_spread([[0.2], [0.4], [0.25], [0.35]], antithetic=True)
    array([0.])
    """
    draws = np.asarray(draws, dtype=float)
    unit = 2 if antithetic else 1
    if len(draws) % unit or len(draws) < 2 * unit:
        kind = "antithetic draws" if antithetic else "draws"
        raise ValueError(
            f"{kind} must be a multiple of {unit}, {2 * unit} or more; T is {len(draws)}"
        )
    means = draws.reshape(-1, unit, *draws.shape[1:]).mean(axis=1)
    return np.sqrt(unit) * means.std(axis=0, ddof=1)


def draws_needed(
    spread: ArrayLike,
    *,
    error: float,
    quantile: float | None = None,
    antithetic: bool = False,
) -> int:
    """
    Number of draws T for which the probability is known to a stated error.

    Parameters
    ----------
    spread : array-like
        Spread per pixel, from `draw_spread`; or a map of the standard
        deviation over many independent draws. NaN pixels do not count. Give
        the pixels that matter: over whole frames the sky decides.
    error : float
        Monte Carlo standard error of the probability to reach.
    quantile : float, optional
        Fraction of the pixels that must reach it; by default it is to hold
        for the root mean square over the pixels.
    antithetic : bool, optional
        As for `draw_spread`: T is rounded up to whole pairs.

    Returns
    -------
    T : int
        At least 1 (2 for antithetic).

    Examples
    --------
    >>> from cosmiq_astro.calibration import draws_needed
    >>> draws_needed([0.04, 0.04], error=0.01)
    16
    """
    if not error > 0:
        raise ValueError(f"error must be positive, not {error}")
    spread = np.asarray(spread, dtype=float)
    spread = spread[np.isfinite(spread)]
    if not spread.size:
        raise ValueError("spread has no finite pixel")
    size = np.sqrt(np.mean(spread**2)) if quantile is None else np.quantile(spread, quantile)
    # The subtraction keeps a ratio that is whole but for rounding from going one up.
    T = max(math.ceil((size / error) ** 2 - 1e-9), 1)
    return T + T % 2 if antithetic else T


def monte_carlo_table(
    draws: ArrayLike, *, antithetic: bool = False, T=(1, 2, 4, 8, 16, 32, 64)
) -> QTable:
    """
    Error of the probability and of the entropy against the number of draws.

    For the probability ``s/√T`` with the spread s; for the entropy, to first
    order, ``|ln((1 - p)/p)| s/√T``, and to second order the bias
    ``-s²/(2 p (1 - p) T)``: few draws make a network look surer than it is.

    Parameters
    ----------
    draws, antithetic : array-like, bool
        As for `draw_spread`.
    T : sequence of int, optional
        Numbers of draws to tabulate.

    Returns
    -------
    table : `~astropy.table.QTable`
        ``T``; ``probability_error`` and ``entropy_error`` (nats), root mean
        squares over the pixels; ``entropy_bias``, its mean; and
        ``probability_error_95``, which 95 % of the pixels stay below.
    """
    draws = np.asarray(draws, dtype=float)
    spread = draw_spread(draws, antithetic=antithetic).ravel()
    p = np.clip(draws.mean(axis=0).ravel(), CLIP, 1 - CLIP)
    T = np.asarray(T)
    slope = np.log1p(-p) - np.log(p)
    columns = {
        "T": T,
        "probability_error": np.sqrt(np.mean(spread**2) / T),
        "probability_error_95": np.quantile(spread, 0.95) / np.sqrt(T),
        "entropy_error": np.sqrt(np.mean((slope * spread) ** 2) / T),
        "entropy_bias": -np.mean(spread**2 / (2 * p * (1 - p))) / T,
    }
    meta = {
        "N_DRAWS": len(draws),
        "ANTITHET": bool(antithetic),
        "N_PIXELS": p.size,
        "ENTROPY": float(entropy(p).mean()),
    }
    return described(QTable(columns, meta=meta), _DESCRIPTIONS)


_DESCRIPTIONS = {
    "T": "number of draws",
    "probability_error": "Monte Carlo error of p, root mean square over pixels",
    "probability_error_95": "Monte Carlo error of p that 95 % of the pixels stay below",
    "entropy_error": "Monte Carlo error of the entropy, nats, first order, root mean square",
    "entropy_bias": "bias of the entropy, nats, second order, mean over pixels",
}
