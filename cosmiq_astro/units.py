"""From the units of pixels and levels to electrons: the one place where units are decided."""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from typing import Any

import numpy as np
from astropy import units as u

__all__ = ["electrons_per_unit", "needs_gain", "pixel_unit", "stated_time", "to_electrons"]

# More of anything is a mistake, and its products overflow.
_LARGEST = 1e12
# Whether a unit needs the gain, and whether it needs the exposure time, to become electron.
_UNITS = {
    u.electron: (False, False),
    u.adu: (True, False),
    u.count: (True, False),
    u.DN: (True, False),
    u.electron / u.s: (False, True),
    u.adu / u.s: (True, True),
    u.count / u.s: (True, True),
    u.DN / u.s: (True, True),
}
_SURFACE_BRIGHTNESS = u.MJy / u.sr
# Cards of what one adu per second is in that unit: of JWST and Roman, and of Spitzer.
_CONVERSIONS = ("PHOTMJSR", "FLUXCONV")
_TIMES = ("EXPTIME", "XPOSURE")


def needs_gain(unit: u.UnitBase) -> bool:
    """
    Tell whether a unit needs the gain to become electron.

    Parameters
    ----------
    unit : `~astropy.units.Unit`
        Unit of the pixels.

    Returns
    -------
    needed : bool
        True for adu and count, these per second, and MJy/sr.
    """
    return _UNITS.get(unit, (False,))[0] or unit.is_equivalent(_SURFACE_BRIGHTNESS)


def pixel_unit(pixels: object, gain: float | u.Quantity | None = None) -> u.UnitBase:
    """
    Tell the unit of pixels.

    Parameters
    ----------
    pixels : object
        An image, with a ``unit`` or without.
    gain : float or `~astropy.units.Quantity`, optional
        Electron per adu.

    Returns
    -------
    unit : `~astropy.units.Unit`
        That of the image. If it has none: adu where ``gain`` is given, else electron.
    """
    unit = getattr(pixels, "unit", None)
    if unit is None:
        return u.electron if gain is None else u.adu
    return unit


def electrons_per_unit(
    unit: u.UnitBase,
    *,
    gain: float | u.Quantity | None = None,
    exposure_time: float | u.Quantity | None = None,
    header: Mapping | None = None,
) -> float:
    """
    Return the number that turns pixel values into electrons.

    Parameters
    ----------
    unit : `~astropy.units.Unit`
        Unit of the pixels: electron, adu or count, or one of these per second;
        or MJy/sr.
    gain : float or `~astropy.units.Quantity`, optional
        Electron per adu; needed for adu, count and MJy/sr, refused otherwise
        (but for 1, which says nothing).
    exposure_time : float or `~astropy.units.Quantity`, optional
        Seconds; needed for rates and MJy/sr, ignored otherwise.
    header : mapping, optional
        Of the exposure: ``EXPTIME``, or ``XPOSURE``, if ``exposure_time`` is
        None, and for MJy/sr ``PHOTMJSR`` (JWST, Roman) or ``FLUXCONV``
        (Spitzer), the MJy/sr of one adu per second.

    Returns
    -------
    factor : float
        Electrons per unit of the pixels.

    Raises
    ------
    ValueError
        If the unit is none of these, or what it needs is missing or absurd.

    Examples
    --------
    >>> from astropy import units as u
    >>> from cosmiq_astro.units import electrons_per_unit
    >>> electrons_per_unit(u.adu / u.s, gain=2, exposure_time=1 * u.min)
    120.0
    """
    header, factor, counted = {} if header is None else header, 1.0, unit
    if unit.is_equivalent(_SURFACE_BRIGHTNESS):
        factor, counted = unit.to(_SURFACE_BRIGHTNESS) / _conversion(unit, header), u.adu / u.s
    elif unit not in _UNITS:
        known = ", ".join(str(known) for known in (*_UNITS, _SURFACE_BRIGHTNESS))
        raise ValueError(f"the data have unit {str(unit)!r}; it must be one of {known}")
    by_gain, by_time = _UNITS[counted]
    if by_gain and gain is None:
        raise ValueError(
            f"the data are in {unit}: give gain, the electrons per {u.adu}, "
            "or apply it with ccdproc.gain_correct first"
        )
    if gain is not None:
        factor *= _scalar("gain", gain, u.electron / u.adu, positive=True)
    if not by_gain and factor != 1:
        raise ValueError(f"the data are in {unit} already: leave gain out, got {gain!r}")
    if by_time:
        if exposure_time is None:
            exposure_time = stated_time(header)
        if exposure_time is None:
            raise ValueError(
                f"the data are in {unit} and their meta has no {_TIMES[0]}: give exposure_time (s)"
            )
        factor *= _scalar("exposure_time", exposure_time, u.s, positive=True)
    return factor


def stated_time(header: Mapping) -> object:
    """
    Return what a header says of the exposure time.

    Parameters
    ----------
    header : mapping
        Of the exposure.

    Returns
    -------
    exposure_time : object
        ``EXPTIME``, or ``XPOSURE``, as it stands there; None if there is neither.
    """
    times = (header.get(name) for name in _TIMES)
    # A Quantity has no truth value.
    return next((time for time in times if time is not None and str(time).strip()), None)


def _conversion(unit, header):
    for name in _CONVERSIONS:
        if header.get(name):
            return _scalar(name, header[name], _SURFACE_BRIGHTNESS / (u.adu / u.s), positive=True)
    raise ValueError(
        f"the data are in {unit} and their meta has neither {' nor '.join(_CONVERSIONS)}, which "
        "tells how much of it is one adu per second: convert them to adu / s or electron / s"
    )


def to_electrons(
    name: str, level: float | u.Quantity | None, *, gain: float | u.Quantity | None = None
) -> float | Any:
    """
    Return a level, such as a read noise, in electrons.

    Parameters
    ----------
    name : str
        Name of the level, for error messages.
    level : float, `~astropy.units.Quantity` or None
        The level; a number is in electrons.
    gain : float or `~astropy.units.Quantity`, optional
        Electron per adu, for a level in adu or count.

    Returns
    -------
    level : float or None
        In electrons; None stays None.

    Raises
    ------
    ValueError
        If the level is negative, not finite or in another unit.
    """
    if level is None:
        return None
    unit = getattr(level, "unit", None)
    if isinstance(level, u.Quantity) and unit in (u.adu, u.count, u.DN):
        if gain is None:
            raise ValueError(f"{name} is in {unit}: give gain too, or {name} in electron")
        level = u.Quantity(level).value
        return _scalar(name, level, u.electron) * _scalar("gain", gain, u.electron / u.adu)
    return _scalar(name, level, u.electron)


def _scalar(name, value, unit, *, positive=False):
    """Return a number or a Quantity as a float in a unit."""
    if isinstance(value, u.Quantity):
        # A gain per count, or per DN, is a gain per adu.
        synonyms = dict.fromkeys((u.electron / u.ct, u.electron / u.DN), u.electron / u.adu)
        try:
            value = (value.value * synonyms.get(value.unit, value.unit)).to_value(unit)
        except u.UnitConversionError as error:
            raise ValueError(f"{name} must be in {unit}, got {value.unit}") from error
    is_number = isinstance(value, (numbers.Real, np.ndarray)) and not isinstance(value, bool)
    # A comparison that NaN fails.
    right = is_number and np.ndim(value) == 0 and 0 <= value <= _LARGEST
    if not right or (positive and not value):
        kind = "positive" if positive else "not negative"
        raise ValueError(
            f"{name} must be one finite, {kind} number of {unit}, got {value!r}; the largest that "
            f"is believed is {_LARGEST:g}"
        )
    return float(value)
