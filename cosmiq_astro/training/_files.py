"""Frames on disk, read square by square: FITS images and the layout of a training directory."""

import re
from pathlib import Path

import numpy as np
from astropy.io import fits

from cosmiq_astro.hst.headers import unit_of

__all__ = ["FitsImage", "find_exposures", "find_images"]

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


def find_exposures(path, *, need_masks=True):
    """
    List the exposures of a training directory.

    Parameters
    ----------
    path : path-like
        See `~cosmiq_astro.training.PairedDataset.from_directory`.
    need_masks : bool, optional
        Whether each exposure must have a mask beside it.

    Returns
    -------
    images, masks, ignore : list
        Arrays on disk, in the order of their names; None for an exposure
        without a mask, or without pixels to ignore.
    visits : list of str
        The subdirectory of each exposure, or its own name if it lies in
        ``path`` itself.

    Raises
    ------
    ValueError
        If there is no exposure or a mask is missing.
    """
    path = Path(path)
    files = _image_files(path)
    if not files:
        beside = ", with NAME_mask.fits or NAME_mask.npy beside it" if need_masks else ""
        raise ValueError(f"{path} holds no exposures: NAME.fits or NAME.npy{beside}")
    images = [_open(file) for file in files]
    masks = [_plane(file, "mask", required=need_masks) for file in files]
    ignore = [_plane(file, "ignore", required=False) for file in files]
    visits = [str(f.relative_to(path) if f.parent == path else f.parent.name) for f in files]
    return images, masks, ignore, visits


def find_images(path):
    """
    List the images of a file or a directory.

    Parameters
    ----------
    path : path-like
        A FITS or ``.npy`` file, or a directory of them.

    Returns
    -------
    images : list
        Arrays on disk, in the order of their names.

    Raises
    ------
    ValueError
        If there is none.
    """
    path = Path(path)
    files = [path] if path.suffix in _SUFFIXES and path.is_file() else _image_files(path)
    if not files:
        raise ValueError(f"{path} is neither a .fits or .npy image nor a directory of them")
    return [_open(file) for file in files]


def _image_files(path):
    return [
        file
        for file in sorted([*path.glob("*"), *path.glob("*/*")])
        if file.suffix in _SUFFIXES and not _PLANE.search(file.name)
    ]


def _open(file):
    return FitsImage(file) if file.suffix == ".fits" else np.load(file, mmap_mode="r")


def _plane(file, kind, *, required):
    names = [file.with_name(f"{file.stem}_{kind}{suffix}") for suffix in _SUFFIXES]
    found = [name for name in names if name.is_file()]
    if not found and required:
        raise ValueError(f"{file} has no {names[0].name} or {names[1].name} beside it")
    return _open(found[0]) if found else None
