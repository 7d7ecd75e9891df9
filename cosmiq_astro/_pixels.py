"""Pixels that users give."""

import os
import sys

__all__ = ["refuse_files"]

_CURE = (
    "CCDData.read (cosmiq_astro.hst.read_chip for a chip of HST), or run cosmiq-astro detect FILE"
)


def refuse_files(name, given):
    """
    Say how to read what is not read yet.

    Parameters
    ----------
    name : str
        Of the parameter.
    given : object
        What was given for an image.

    Raises
    ------
    TypeError
        If it is the name of a file, or an HDU.
    """
    if isinstance(given, (str, bytes, os.PathLike)):
        raise TypeError(
            f"{name} must hold real numbers, got a file name, {given!r}: read it with {_CURE}"
        )
    fits = sys.modules.get("astropy.io.fits")
    if fits is not None and isinstance(given, (fits.HDUList, fits.PrimaryHDU, fits.ImageHDU)):
        raise TypeError(
            f"{name} must hold real numbers, got {type(given).__name__}: give hdu.data, or read "
            f"the file with {_CURE}"
        )
