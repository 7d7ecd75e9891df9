"""
What `cosmicray_vi` and `cosmicray_unet` are given: a CCDData, or an array taken for one.

An array needs no `astropy.nddata`, which takes longer to import than the array's detection takes:
what does is imported where a CCDData is at hand.
"""

import math
import sys
import warnings
from types import SimpleNamespace

import numpy as np
from astropy import units as u
from astropy.utils.exceptions import AstropyUserWarning

from cosmiq_astro._pixels import refuse_files
from cosmiq_astro.units import pixel_unit

__all__ = ["check_uncertainty", "coerce", "own_mask", "seconds_of"]


def seconds_of(exposure_time):
    """Return the exposure time; None where a header holds something that is not one."""
    try:
        seconds = u.Quantity(exposure_time, u.s).value
    except (TypeError, ValueError):
        return None
    return float(seconds) if np.ndim(seconds) == 0 and 0 < seconds < math.inf else None


def coerce(ccd, gain):
    """Return the input as it is if it is CCDData, else what it has of one; and which it was."""
    nddata = sys.modules.get("astropy.nddata")
    unit = pixel_unit(ccd, gain)
    if nddata is not None and isinstance(ccd, nddata.NDData):
        if not isinstance(ccd, nddata.CCDData):
            ccd = nddata.CCDData(ccd, unit=unit, meta=ccd.meta)
        return ccd, True
    refuse_files("ccd", ccd)
    mask = None
    if isinstance(ccd, np.ma.MaskedArray) or hasattr(ccd, "unmasked"):  # astropy.utils.masked
        mask = np.broadcast_to(ccd.mask, np.shape(ccd)).copy()
    if isinstance(ccd, u.Quantity):
        ccd = ccd.value
    data = np.array(ccd)
    if data.dtype.kind not in "fiu":
        raise TypeError(f"ccd must hold real numbers, got dtype {data.dtype}")
    return SimpleNamespace(data=data, mask=mask, unit=unit, meta={}), False


def own_mask(frame):
    """Return the mask of an exposure without the hits that an earlier detection put there."""
    hits = getattr(frame, "cr_mask", None)
    if hits is None and "CRVIMODL" not in frame.meta:
        return frame.mask
    if frame.meta.get("CRVICLN"):
        warnings.warn(
            "the hits of an earlier detection were replaced in these data (CRVICLN): few are left "
            "to be found; start from the original",
            AstropyUserWarning,
            stacklevel=6,
        )
    if frame.mask is None:
        return None
    if hits is None:
        warnings.warn(
            "the mask holds the hits of an earlier detection (CRVIMODL), which are not found "
            "again: read the file with CosmicRayCCDData.read, or give the mask from before",
            AstropyUserWarning,
            stacklevel=6,
        )
        return frame.mask
    # Masked pixels are never flagged: taking the hits off restores the mask as it was.
    return frame.mask.astype(bool) & ~hits


def check_uncertainty(ccd):
    """Refuse an uncertainty that cannot become that of a guess."""
    from astropy.nddata import UnknownUncertainty

    if isinstance(ccd.uncertainty, UnknownUncertainty):
        raise ValueError(
            "the kind of ccd.uncertainty is unknown: make it a StdDevUncertainty, or set it to None"
        )
