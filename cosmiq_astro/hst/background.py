"""A background for files: one image, or one for each chip, from a FITS file."""

import hashlib
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path

import numpy as np
from astropy.io import fits

from cosmiq_astro._io import readable

__all__ = ["Background", "read_background"]


@dataclass(frozen=True)
class Background:
    """
    What is in the pixels beside sources and cosmic rays.

    Attributes
    ----------
    planes : dict of ndarray
        By number of the chip; that of None serves any.
    key : str
        Digest of it all; also its text, so that it can be a setting of a run.
    """

    planes: dict = field(repr=False)
    key: str

    def __str__(self):
        return self.key

    def on(self, extver, shape):
        """
        Return the background of a chip.

        Parameters
        ----------
        extver : int
            Its number.
        shape : tuple of int
            Of its image.

        Returns
        -------
        background : ndarray
            In the unit of the image.

        Raises
        ------
        ValueError
            If there is none, or the shapes differ.
        """
        plane = self.planes.get(extver, self.planes.get(None))
        if plane is None:
            raise ValueError(f"background has no SCI,{extver}; it has {sorted(self.planes)}")
        if plane.shape not in ((), tuple(shape)):
            raise ValueError(f"background has shape {plane.shape}, the image has {tuple(shape)}")
        return plane


def read_background(background):
    """
    Understand what a user gives as ``background`` of a file, before any work.

    Parameters
    ----------
    background : None, float, array-like, path-like or `Background`
        In the unit of the exposure: a number, an array for each chip searched,
        or a FITS file with a ``SCI`` for each chip, or with one image for all.

    Returns
    -------
    background : `Background` or None
        None for None.

    Raises
    ------
    ValueError
        If the file has no two-dimensional image, or more than one but no SCI.
    """
    if background is None or isinstance(background, Background):
        return background
    if isinstance(background, (str, PathLike)):
        planes = _read_file(Path(background))
    else:
        planes = {None: np.asarray(background)}
    digest = hashlib.sha256()
    for extver, plane in planes.items():
        if plane.dtype.kind not in "fiu":
            raise ValueError(f"background must hold real numbers, got dtype {plane.dtype}")
        digest.update(f"{extver} {plane.shape} {plane.dtype.str}".encode())
        digest.update(np.ascontiguousarray(plane).tobytes())
    return Background(planes, digest.hexdigest()[:16])


def _read_file(path):
    with readable(path), fits.open(path) as hdus:
        images = [hdu for hdu in hdus if hdu.is_image and len(hdu.shape) == 2]
        planes = {hdu.ver: np.array(hdu.data) for hdu in images if hdu.name == "SCI"}
        if planes:
            return planes
        if len(images) != 1:
            raise ValueError(
                f"{path} has {len(images)} two-dimensional images; a background is one, or has the "
                "name SCI and the EXTVER of the chip"
            )
        return {None: np.array(images[0].data)}
