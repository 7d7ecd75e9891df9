"""What the HST cameras' headers and data-quality bits mean: one table."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from astropy import units as u

from cosmiq_astro.hst.headers import number

if TYPE_CHECKING:
    from astropy.io import fits

__all__ = ["INSTRUMENTS", "Instrument", "Readout", "identify", "readout"]

GAIN_CARDS = ("EGAIN", "GAIN")
"""Cards that hold the gain, electron/adu, of cameras not known here."""

_LARGEST_GAIN = 30  # of what is no setting of an amplifier
_CR_BITS = 4096 | 8192 | 16384
_AMPLIFIERS = {1: "AB", 2: "CD"}  # by CCDCHIP, ACS/WFC and WFC3/UVIS alike


@dataclass(frozen=True)
class Instrument:
    """
    What this package has to know of a camera.

    Attributes
    ----------
    name : str
        ``'ACS/WFC'`` and the like.
    unusable_bits : int
        Data-quality bits whose pixels are masked on input.
    settable_bits : tuple of int
        Bits that may be set on the pixels found here.
    default_bit : int or None
        The bit set if no other is asked for.
    hot_bits : int
        Bits that mark hot and warm pixels, which are no hits where they stand alone.
    pixel_size : `~astropy.units.Quantity` or None
        Side of an unbinned pixel, µm.
    full_well : float
        Electrons that a pixel holds.
    largest_count : float
        Last count of the analogue-to-digital converter that is used, DN.
    exposed : tuple of int or None
        Rows and columns that light falls on, of those of a raw frame; None if
        more than their place has to be known.
    """

    name: str
    unusable_bits: int
    settable_bits: tuple[int, ...] = (4096, 8192, 16384)
    default_bit: int | None = 16384
    hot_bits: int = 16 | 64
    pixel_size: u.Quantity | None = None
    full_well: float = math.inf
    largest_count: float = 65535
    exposed: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Readout:
    """
    How a chip was read out; None for what the headers do not tell.

    Attributes
    ----------
    gain : float or None
        Electron per DN.
    readnoise : float or None
        Read noise, electron.
    satlevel : float or None
        Saturation level, electron.
    """

    gain: float | None = None
    readnoise: float | None = None
    satlevel: float | None = None


# Lost, filled, bad, masked by the aperture, bias structure, bad reference. Saturated pixels (256,
# 2048) are seen: hidden, they leave holes in the cores of stars, whose rims look like hits.
_ACS_UNUSABLE = 1 | 2 | 4 | 8 | 128 | 512

# Data-quality bits: ACS and WFPC2 Data Handbooks (tables of data quality flags). Pixels, full wells
# and the last count: ACS Instrument Handbook, table 3.1 and section 4.3; WFC3 Instrument Handbook,
# table 5.1 (63,000 to 72,000 electrons); STIS Instrument Handbook, table 7.1; WFPC2 Instrument
# Handbook, chapter 4.
INSTRUMENTS = {
    row.name: row
    for row in (
        Instrument(
            "ACS/WFC", _ACS_UNUSABLE, pixel_size=15 * u.um, full_well=84700, exposed=(2048, 4096)
        ),
        Instrument(
            "ACS/HRC", _ACS_UNUSABLE, pixel_size=21 * u.um, full_well=155000, exposed=(1024, 1024)
        ),
        Instrument("WFC3/UVIS", _ACS_UNUSABLE, pixel_size=15 * u.um, full_well=72000),
        # Reed-Solomon, reference defect, camera defect, missing, bad, whole chip masked.
        Instrument(
            "WFPC2",
            1 | 2 | 4 | 16 | 32 | 2048,
            hot_bits=512 | 1024,  # warm, and warm but repaired
            pixel_size=15 * u.um,
            full_well=90000,
            largest_count=4095,
        ),
        # Lost, filled, bad, behind the occulting bar, overscan, bad reference.
        Instrument(
            "STIS/CCD",
            1 | 2 | 4 | 8 | 128 | 512,
            hot_bits=16,
            pixel_size=21 * u.um,
            full_well=128000,
            largest_count=33000,
            exposed=(1024, 1024),
        ),
    )
}
"""The cameras known here, by name."""

# Every bit but those that mark cosmic rays hides a pixel; none is set without being asked for.
_UNKNOWN = Instrument("unknown", 0x7FFF & ~_CR_BITS, default_bit=None, hot_bits=0)

# Gain (electron/DN) and read noise (electron) by chip and ATODGAIN (WFPC2 Instrument Handbook,
# table 4.2): the headers hold the nominal gain only.
_WFPC2_READOUT = {
    (1, 7): (7.12, 5.24),
    (2, 7): (7.12, 5.51),
    (3, 7): (6.90, 5.22),
    (4, 7): (7.10, 5.19),
    (1, 15): (13.99, 7.02),
    (2, 15): (14.50, 7.84),
    (3, 15): (13.95, 6.99),
    (4, 15): (13.95, 8.32),
}


def identify(header: fits.Header) -> Instrument:
    """
    Tell which camera made an exposure.

    Parameters
    ----------
    header : `~astropy.io.fits.Header`
        The primary header, or one merged with it.

    Returns
    -------
    instrument : `Instrument`
        A row of `INSTRUMENTS`; for any other camera, one named
        ``'unknown'``: every bit but the cosmic-ray ones hides a pixel, and
        none is set by default.

    Examples
    --------
    >>> from cosmiq_astro.hst import identify
    >>> identify({"INSTRUME": "ACS", "DETECTOR": "WFC"}).default_bit
    16384
    """
    instrument = str(header.get("INSTRUME", "")).strip().upper()
    detector = str(header.get("DETECTOR", "")).strip().upper()
    name = instrument if instrument == "WFPC2" else f"{instrument}/{detector}"
    return INSTRUMENTS.get(name, _UNKNOWN)


def readout(header: fits.Header) -> Readout:
    """
    Find gain, read noise and saturation level of a chip in its header.

    The calibrated values are taken where there are any, else the nominal
    gain. ACS and WFC3 give them by amplifier: the mean over those that read
    the chip. The read noise of a sum of ``NCOMBINE`` exposures grows with
    its square root; for raw and for drizzled frames it is left out, because
    their pixels' noise does not follow from their level. Of a camera not known
    here the gain is ``EGAIN`` or ``GAIN``, if that is at most 30, and nothing
    else is taken.

    Parameters
    ----------
    header : `~astropy.io.fits.Header`
        The chip's header merged with the primary header, as `read_chip`
        gives it in ``meta``.

    Returns
    -------
    readout : `Readout`
        What is known.
    """
    instrument = identify(header)
    if instrument is _UNKNOWN:
        gains = (header.get(name) for name in GAIN_CARDS)
        return Readout(gain=next((float(gain) for gain in gains if _is_gain(gain)), None))
    if instrument.name == "WFPC2":
        key = (header.get("DETECTOR"), round(number(header, "ATODGAIN", 0)))
        gain, readnoise = _WFPC2_READOUT.get(key, (None, None))
    elif instrument.name == "STIS/CCD":
        gain = number(header, "ATODGAIN") or number(header, "CCDGAIN")
        readnoise = number(header, "READNSE")
    else:
        amplifiers = _amplifiers(header)
        gain = _mean(header, "ATODGN", amplifiers) or number(header, "CCDGAIN")
        readnoise = _mean(header, "READNSE", amplifiers)
    if readnoise and not is_raw(header) and not is_drizzled(header):
        readnoise *= math.sqrt(max(number(header, "NCOMBINE", 1), 1))
    else:
        readnoise = None
    satlevel = instrument.full_well
    if gain:
        satlevel = min(satlevel, gain * instrument.largest_count)
    return Readout(gain or None, readnoise, satlevel)


def _is_gain(value):
    """Tell a gain from the setting of an amplifier, or from nonsense."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_number and 0 < value <= _LARGEST_GAIN


def overscan(header, shape):
    """
    Tell which pixels of a raw frame no light falls on: the step to them looks like a hit.

    Parameters
    ----------
    header : `~astropy.io.fits.Header`
        The merged header; ``LTV1`` and ``LTV2`` say where the detector begins.
    shape : tuple of int
        Of the image.

    Returns
    -------
    mask : ndarray of bool or None
        None if the frame is not raw, or it is not known where they are.
    """
    exposed = identify(header).exposed
    if not is_raw(header) or exposed is None or number(header, "LTM1_1", 1) != 1:
        return None
    mask = np.ones(shape, dtype=bool)
    first = (round(number(header, name, 0)) for name in ("LTV2", "LTV1"))
    # A negative one is that of a part of the detector.
    mask[tuple(slice(max(k, 0), max(k + n, 0)) for k, n in zip(first, exposed, strict=True))] = (
        False
    )
    return mask if mask.any() else None


def is_raw(header):
    """
    Tell whether the bias level is still in the pixels.

    Parameters
    ----------
    header : `~astropy.io.fits.Header`
        The merged header.

    Returns
    -------
    raw : bool
        True where ``BLEVCORR`` is there and not ``'COMPLETE'``.
    """
    return str(header.get("BLEVCORR", "COMPLETE")).strip().upper() != "COMPLETE"


def is_drizzled(header):
    """
    Tell whether AstroDrizzle has resampled the pixels.

    Parameters
    ----------
    header : `~astropy.io.fits.Header`
        The merged header.

    Returns
    -------
    drizzled : bool
        True where AstroDrizzle's ``NDRIZIM`` or ``D001DATA`` is there.
    """
    return "NDRIZIM" in header or "D001DATA" in header


def _amplifiers(header):
    used = str(header.get("CCDAMP", "")).strip().upper()
    chip = _AMPLIFIERS.get(header.get("CCDCHIP"), used)
    return [amplifier for amplifier in used if amplifier in chip] or list(used)


def _mean(header, stem, amplifiers):
    """Mean over the amplifiers of a keyword; amplifiers that were not used have 0."""
    values = [number(header, f"{stem}{amplifier}", 0) for amplifier in amplifiers]
    values = [value for value in values if value > 0]
    return sum(values) / len(values) if values else None
