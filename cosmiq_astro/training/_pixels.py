"""Images to train on, of any kind and from files: electrons and masks, read square by square."""

import os
import re
from collections import ChainMap
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.nddata import NDData

from cosmiq_astro._io import readable
from cosmiq_astro.hst.headers import unit_of
from cosmiq_astro.review.corrected import read_corrected
from cosmiq_astro.units import electrons_per_unit, pixel_unit, stated_time

_BLOCK = 2**22
_PLANE = re.compile(r"_(mask|ignore)\.(fits|npy)")
_SUFFIXES = (".fits", ".npy")


class Pixels:
    """
    One image in electrons, converted square by square.

    Parameters
    ----------
    array : ndarray or `FitsImage`
        Anything with ``shape`` that slices to an array; memory-mapped is fine.
    factor : float
        Electrons per unit of the pixels.
    """

    unit = u.electron

    def __init__(self, array, factor):
        self.array = array
        self.factor = factor
        self.shape = np.shape(array)

    def __getitem__(self, box):
        """Return a square in electrons, float32."""
        pixels = np.asarray(self.array[box], dtype=np.float32)
        return pixels if self.factor == 1 else pixels * np.float32(self.factor)


class AnyOf:
    """Masks of one shape as one, on disk or not."""

    def __init__(self, masks):
        self.masks = masks
        self.shape = np.shape(masks[0])

    def __getitem__(self, box):
        """Return a square of bool, True where any of the masks is."""
        return np.logical_or.reduce([np.asarray(mask[box], dtype=bool) for mask in self.masks])


class Part:
    """A part of an image, on disk or not: the rows and columns of ``box``."""

    def __init__(self, plane, box):
        self.plane = plane
        self.places = [range(part.start, part.stop) for part in box]
        self.shape = tuple(map(len, self.places))

    def __getitem__(self, box):
        """Return a square of the part."""
        y, x = (places[part] for places, part in zip(self.places, box, strict=True))
        return self.plane[y.start : y.stop, x.start : x.stop]


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


def read_pixels(name, images, gain=None, *, alike=False):
    """
    Take images of any kind as `Pixels`.

    Parameters
    ----------
    name : str
        Name of the argument, for error messages.
    images : sequence
        Arrays (electron, or adu if ``gain`` is given), masked arrays,
        Quantities, `~astropy.nddata.CCDData` or FITS images.
    gain : float or `~astropy.units.Quantity`, optional
        Electron per adu.
    alike : bool, optional
        Whether all must be of one shape.

    Returns
    -------
    pixels : list of `Pixels`
        One per image.
    masks : list of ndarray or None
        The mask that came with each image.

    Raises
    ------
    ValueError
        If there is no image, one is not 2-D, units differ or are unknown, or
        shapes differ and must not.
    """
    images = list(images)
    if not images:
        raise ValueError(f"{name} is empty; give at least one frame")
    units = [pixel_unit(image, gain) for image in images]
    if len(set(units)) > 1:
        seen = ", ".join(sorted({str(unit) for unit in units}))
        raise ValueError(f"{name} have units that differ ({seen}); convert them to one unit")
    pixels, masks = [], []
    for i, (image, unit) in enumerate(zip(images, units, strict=True)):
        if len(getattr(image, "shape", np.shape(image))) != 2:
            raise ValueError(f"{name}[{i}] must have two dimensions, got shape {np.shape(image)}")
        factor = electrons_per_unit(unit, gain=gain, header=getattr(image, "meta", None))
        array, mask = _split_mask(image)
        pixels.append(Pixels(array, factor))
        masks.append(mask)
        if alike and pixels[i].shape != (first := pixels[0].shape):
            raise ValueError(f"{name}[{i}] has shape {pixels[i].shape}, {name}[0] has {first}")
    return pixels, masks


def _split_mask(image):
    """Part an image from its mask, None if nothing is masked, and from its unit."""
    if isinstance(image, u.Quantity):
        return image.value, None
    if isinstance(image, NDData | np.ma.MaskedArray):
        mask = None if image.mask is None else np.broadcast_to(image.mask, image.shape)
        return image.data, mask if mask is None or mask.any() else None
    return (image if hasattr(image, "shape") else np.asarray(image)), None


def check_frames(name, arrays, shapes) -> list | Any:
    """
    Check planes against the images they belong to.

    Parameters
    ----------
    name : str
        Name of the argument, for error messages.
    arrays : sequence of array-like or None
        The planes; a frame without one has None.
    shapes : list of tuple
        Shapes of the images.

    Returns
    -------
    arrays : list
        The planes; None where there is none.

    Raises
    ------
    ValueError
        If their number or a shape differs.
    """
    arrays = [None] * len(shapes) if arrays is None else list(arrays)
    if len(arrays) != len(shapes):
        raise ValueError(f"{name} has {len(arrays)} frames, images has {len(shapes)}")
    for i, (array, shape) in enumerate(zip(arrays, shapes, strict=True)):
        if array is not None and np.shape(array) != shape:
            raise ValueError(f"{name}[{i}] has shape {np.shape(array)}, images[{i}] has {shape}")
    return [a if a is None or hasattr(a, "shape") else np.asarray(a) for a in arrays]


def row_blocks(shape, *, planes=1):
    """Yield slices of whole rows, so that so many planes hold a few million pixels at a time."""
    n_rows = max(1, _BLOCK // max(shape[1] * planes, 1))
    for start in range(0, shape[0], n_rows):
        yield slice(start, min(start + n_rows, shape[0])), slice(0, shape[1])


def combine_masks(*masks):
    """Return masks of which some are None as one, or None."""
    masks = [mask for mask in masks if mask is not None]
    return AnyOf(masks) if masks else None


def read_valid(image, ignore, box):
    """
    Read a square of an image, and which of its pixels count.

    Parameters
    ----------
    image : `Pixels`
        The image.
    ignore : array-like or None
        True where a pixel does not count; None if all do.
    box : tuple of slice
        The square.

    Returns
    -------
    pixels : ndarray of float32
        Electron.
    finite, valid : ndarray of bool
        Which are finite, and which of these are not ignored.
    """
    pixels = image[box]
    finite = np.isfinite(pixels)
    valid = finite if ignore is None else finite & ~np.asarray(ignore[box], dtype=bool)
    return pixels, finite, valid


def count_valid(images, ignore):
    """Return the number of pixels of each image that are finite and not ignored."""
    return [
        sum(int(read_valid(image, plane, box)[2].sum()) for box in row_blocks(image.shape))
        for image, plane in zip(images, ignore, strict=True)
    ]


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
    for path in list_paths(paths):
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
    for i, (image, file) in enumerate(zip(images, files, strict=True)):
        # Each in its own unit: labelled exposures are in electrons, others in adu.
        is_known = u.electron in getattr(image, "unit", u.adu).bases
        ((images[i],), _) = read_pixels(str(file), [image], None if is_known else gain)
    return images, masks, ignore, files


def list_paths(paths):
    """Return one path, or several, as a list of `~pathlib.Path`."""
    return list(map(Path, [paths] if isinstance(paths, str | os.PathLike) else paths))


def find_images(path):
    """Return the images, on disk, of a file or of a directory in the order of their names."""
    path = Path(path)
    files = [path] if path.suffix in _SUFFIXES and path.is_file() else _image_files(path)
    if not files:
        raise ValueError(f"{path} is neither a .fits or .npy image nor a directory of them")
    return [_open(file) for file in files]


def _image_files(path):
    files = sorted([*path.glob("*"), *path.glob("*/*")])
    return [f for f in files if f.suffix in _SUFFIXES and not _PLANE.search(f.name)]


def _open(file):
    return FitsImage(file) if file.suffix == ".fits" else np.load(file, mmap_mode="r")


def _plane(file, kind, *, required=False):
    names = [file.with_name(f"{file.stem}_{kind}{suffix}") for suffix in _SUFFIXES]
    found = [name for name in names if name.is_file()]
    if not found and required:
        raise ValueError(f"{file} has no {names[0].name} or {names[1].name} beside it")
    return _open(found[0]) if found else None
