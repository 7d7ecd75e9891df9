"""
What `cosmicray_vi` and `cosmicray_unet` are given: a CCDData, or an array taken for one.

An array needs no `astropy.nddata`, which takes longer to import than the array's detection takes:
what does is imported where a CCDData is at hand.
"""

import sys
from dataclasses import dataclass, field

import numpy as np
from astropy import units as u

__all__ = ["check_uncertainty", "coerce", "seconds_of"]


def seconds_of(exposure_time):
    """Return the exposure time; None where a header holds something that is not one."""
    try:
        return u.Quantity(exposure_time, u.s).value
    except TypeError:
        return None


@dataclass
class _Frame:
    """What of a CCDData an array has."""

    data: np.ndarray
    mask: np.ndarray | None
    unit: u.UnitBase
    meta: dict = field(default_factory=dict)


def coerce(ccd, gain):
    """Return the input as it is if it is CCDData, else what it has of one; and which it was."""
    nddata = sys.modules.get("astropy.nddata")
    if nddata is not None and isinstance(ccd, nddata.CCDData):
        return ccd, True
    mask = None
    if isinstance(ccd, np.ma.MaskedArray) or hasattr(ccd, "unmasked"):  # astropy.utils.masked
        mask = np.broadcast_to(ccd.mask, np.shape(ccd)).copy()
    unit = u.electron if gain is None else u.adu
    if isinstance(ccd, u.Quantity):
        ccd, unit = ccd.value, ccd.unit
    data = np.array(ccd)
    if data.dtype.kind not in "fiu":
        raise TypeError(f"ccd must hold real numbers, got dtype {data.dtype}")
    return _Frame(data, mask, unit), False


def check_uncertainty(ccd):
    """Refuse an uncertainty that cannot become that of a guess."""
    from astropy.nddata import UnknownUncertainty

    if isinstance(ccd.uncertainty, UnknownUncertainty):
        raise ValueError(
            "the kind of ccd.uncertainty is unknown: make it a StdDevUncertainty, or set it to None"
        )
