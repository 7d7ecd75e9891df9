"""
How far T draws of the weights leave the probability from its limit.

The spread of a pixel is the standard deviation of one draw's probability, as
it acts on the mean: after T draws the mean is off by spread / √T. Independent
draws have their plain standard deviation; antithetic pairs cancel part of it.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["draw_spread", "draws_needed"]


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
