"""The hit rate: one definition, of a detector and of a file, just measured or out of headers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from astropy import units as u

if TYPE_CHECKING:
    from astropy.io import fits

__all__ = ["RATE", "mean_rate", "rate_of", "stated_rate"]

RATE = u.cm**-2 / u.s
"""Unit of the rates."""


def rate_of(n_hits: float | np.number, area: u.Quantity, exposure_time: u.Quantity) -> u.Quantity:
    """
    Return the rate of hits per area and time.

    Parameters
    ----------
    n_hits : float
        Number of hits.
    area, exposure_time : `~astropy.units.Quantity`
        Of the detector that was searched, and how long it was exposed.

    Returns
    -------
    rate : `~astropy.units.Quantity`
        In the unit of the rates.
    """
    return (n_hits / (area * exposure_time)).to(RATE)


def mean_rate(rates: Sequence[float | None], n_pixels: Sequence[int]) -> float:
    """
    Return the hit rate of a file: the mean over its chips, weighted by the pixels searched.

    Parameters
    ----------
    rates : sequence of float or None
        Rate of each chip; None, or NaN, where it is unknown.
    n_pixels : sequence of int
        Pixels searched on each. A chip without any does not count.

    Returns
    -------
    rate : float
        In the unit of the rates; NaN if that of a chip is unknown, or nothing was searched.
    """
    per_chip, weights = np.array(rates, dtype=float), np.array(n_pixels)
    searched = weights > 0
    if not searched.any():
        return math.nan
    return float(np.average(per_chip[searched], weights=weights[searched]))


def stated_rate(headers: Sequence[fits.Header]) -> float:
    """
    Return the hit rate of a file that a detection has written.

    Parameters
    ----------
    headers : sequence of `~astropy.io.fits.Header`
        Of the images that were searched, with ``CRVIRATE`` and ``CRVINUSE``.

    Returns
    -------
    rate : float
        As of `mean_rate`, cm⁻² s⁻¹.
    """
    rates = [header.get("CRVIRATE") for header in headers]
    return mean_rate(rates, [header.get("CRVINUSE", 0) for header in headers])
