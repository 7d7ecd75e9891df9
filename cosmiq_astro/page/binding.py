"""What binds edits to a page: format, digest of the exposure, pixels that cannot be flagged."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from astropy.nddata import CCDData

__all__ = ["FORMAT", "bad_pixels", "exposure_digest"]

FORMAT = "cosmiq_astro edits 1"
"""First entry of an edits file: what it is, and of which version."""


def exposure_digest(array: np.ndarray) -> str:
    """
    Return what an exposure, or a mask, is known by.

    Parameters
    ----------
    array : ndarray
        Pixel values of any real type and byte order, or a mask.

    Returns
    -------
    digest : str
        SHA-256 of the shape and of the values in single precision, every NaN
        alike; 32 hexadecimal digits.

    Examples
    --------
    >>> import numpy as np
    >>> from cosmiq_astro.review import exposure_digest
    >>> image = np.arange(6.0).reshape(2, 3)
    >>> exposure_digest(image) == exposure_digest(image.astype(">f4"))
    True
    """
    array = np.asarray(array)
    with np.errstate(over="ignore"):
        values = np.packbits(array) if array.dtype == bool else array.astype("<f4")
    if values.dtype.kind == "f":
        values[np.isnan(values)] = np.nan
    head = f"{array.shape} ".encode()
    return hashlib.sha256(head + values.tobytes()).hexdigest()[:32]


def bad_pixels(ccd: CCDData) -> np.ndarray:
    """
    Return the pixels of a detection that cannot be flagged.

    Parameters
    ----------
    ccd : `~cosmiq_astro.CosmicRayCCDData`
        The detection.

    Returns
    -------
    bad : ndarray of bool
        Those that are not finite, or were masked before the detection.
    """
    bad = ~np.isfinite(ccd.data)
    return bad if ccd.mask is None else bad | (ccd.mask & ~ccd.cr_mask)
