"""Files to train on: exposures, the planes beside them, and images of any directory."""

import os
import re
from collections import ChainMap
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.io import fits

from cosmiq_astro._io import readable
from cosmiq_astro.hst.headers import unit_of
from cosmiq_astro.review.corrected import read_corrected
from cosmiq_astro.training._pixels import read_pixels
from cosmiq_astro.units import stated_time

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
        with readable(self.path), fits.open(self.path) as hdus:
            shapes = [hdu.shape if hdu.is_image else () for hdu in hdus]
            images = [n for n, shape in enumerate(shapes) if len(shape) == 2]
            if not images:
                raise ValueError(f"{path} has no two-dimensional image; shapes seen: {shapes}")
            self._number = images[0]
            header = hdus[self._number].header
            time = stated_time(ChainMap(header, hdus[0].header))
        self.shape = shapes[self._number]
        self.unit = unit_of(header)
        self.meta = {"EXPTIME": time}

    def __getitem__(self, box):
        """Return a square of the image."""
        with fits.open(self.path) as hdus:
            return hdus[self._number].section[box]


def find_exposures(paths, *, gain=None, need_masks=True):
    """
    List the exposures of training directories.

    Parameters
    ----------
    paths : path-like or sequence of path-like
        Directories and edits files, see `~cosmiq_astro.training.PairedDataset.from_directory`.
    gain : float or `~astropy.units.Quantity`, optional
        Electron per adu.
    need_masks : bool, optional
        Whether each exposure must have a mask beside it.

    Returns
    -------
    images, masks, ignore : list
        Arrays on disk, the first in electrons, in the order of their names; None for an exposure
        without a mask, or without pixels to ignore.
    files : list of `~pathlib.Path`
        Of the exposures.

    Raises
    ------
    ValueError
        If there is no exposure or a mask is missing, or edits are of another exposure.
    """
    files, frames = [], []
    for path in map(Path, [paths] if isinstance(paths, str | os.PathLike) else paths):
        if path.suffix == ".json":
            frames.append(read_corrected(path))
            continue
        own = _image_files(path)
        if not own:
            beside = ", with NAME_mask.fits or NAME_mask.npy beside it" if need_masks else ""
            raise ValueError(f"{path} holds no exposures: NAME.fits or NAME.npy{beside}")
        files += own
    for file in files:
        mask, ignore = _plane(file, "mask", required=need_masks), _plane(file, "ignore")
        frames.append((_open(file), mask, ignore, file))
    images, masks, ignore, files = map(list, zip(*frames, strict=True))
    # Each in its own unit: labelled exposures are in electrons, others in adu.
    images = [_in_electrons(*pair, gain) for pair in zip(images, files, strict=True)]
    return images, masks, ignore, files


def _in_electrons(image, file, gain):
    is_known = u.electron in getattr(image, "unit", u.adu).bases
    return read_pixels(str(file), [image], None if is_known else gain)[0][0]


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


def _plane(file, kind, *, required=False):
    names = [file.with_name(f"{file.stem}_{kind}{suffix}") for suffix in _SUFFIXES]
    found = [name for name in names if name.is_file()]
    if not found and required:
        raise ValueError(f"{file} has no {names[0].name} or {names[1].name} beside it")
    return _open(found[0]) if found else None
