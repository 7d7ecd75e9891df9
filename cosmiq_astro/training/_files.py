"""Frames on disk, read square by square: FITS images and the layout of a training directory."""

import re
from pathlib import Path

import numpy as np
from astropy.io import fits

from cosmiq_astro.hst.headers import unit_of

__all__ = ["FitsImage", "find_pairs"]

_PLANE = re.compile(r"_(mask|ignore)\.(fits|npy)")
_SUFFIXES = (".fits", ".npy")


class FitsImage:
    """
    The first two-dimensional image of a FITS file.

    Only its header is kept. Each square is read when it is asked for, and the
    file is closed again: any number of files may be in use.

    Parameters
    ----------
    path : path-like
        The file; tile-compressed images are understood.

    Raises
    ------
    ValueError
        If it has no such image, or its ``BUNIT`` is not understood.
    """

    def __init__(self, path):
        self.path = Path(path)
        with fits.open(self.path) as hdus:
            shapes = [hdu.shape if hdu.is_image else () for hdu in hdus]
            images = [n for n, shape in enumerate(shapes) if len(shape) == 2]
            if not images:
                raise ValueError(f"{path} has no two-dimensional image; shapes seen: {shapes}")
            self._number = images[0]
            header = hdus[self._number].header
            time = header.get("EXPTIME", hdus[0].header.get("EXPTIME"))
        self.shape = shapes[self._number]
        self.unit = unit_of(header)
        self.meta = {"EXPTIME": time}

    def __getitem__(self, box):
        """Return a square of the image."""
        with fits.open(self.path) as hdus:
            return hdus[self._number].section[box]


def find_pairs(path):
    """
    List the exposures of a training directory.

    Parameters
    ----------
    path : path-like
        See `~cosmiq_astro.training.PairedDataset.from_directory`.

    Returns
    -------
    images, masks, ignore : list
        Arrays on disk, in the order of their names; ``ignore`` has None for
        an exposure without one.
    visits : list of str
        The subdirectory of each exposure, or its own name if it lies in
        ``path`` itself.

    Raises
    ------
    ValueError
        If there is no exposure or a mask is missing.
    """
    path = Path(path)
    files = [
        file
        for file in sorted([*path.glob("*"), *path.glob("*/*")])
        if file.suffix in _SUFFIXES and not _PLANE.search(file.name)
    ]
    if not files:
        raise ValueError(
            f"{path} holds no exposures: NAME.fits or NAME.npy, with NAME_mask.fits or "
            "NAME_mask.npy beside it"
        )
    images = [_open(file) for file in files]
    masks = [_plane(file, "mask", required=True) for file in files]
    ignore = [_plane(file, "ignore", required=False) for file in files]
    visits = [str(f.relative_to(path) if f.parent == path else f.parent.name) for f in files]
    return images, masks, ignore, visits


def _open(file):
    return FitsImage(file) if file.suffix == ".fits" else np.load(file, mmap_mode="r")


def _plane(file, kind, *, required):
    names = [file.with_name(f"{file.stem}_{kind}{suffix}") for suffix in _SUFFIXES]
    found = [name for name in names if name.is_file()]
    if not found and required:
        raise ValueError(f"{file} has no {names[0].name} or {names[1].name} beside it")
    return _open(found[0]) if found else None
