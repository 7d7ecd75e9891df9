"""Images of any kind as electrons, read block by block, and their masks."""

from typing import Any

import numpy as np
from astropy import units as u
from astropy.nddata import NDData

from cosmiq_astro.units import electrons_per_unit, pixel_unit

_BLOCK = 2**22


class Pixels:
    """
    One image in electrons, converted square by square.

    Parameters
    ----------
    array : ndarray or `~cosmiq_astro.training._files.FitsImage`
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


def read_pixels(name, images, gain=None):
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

    Returns
    -------
    pixels : list of `Pixels`
        One per image.
    masks : list of ndarray or None
        The mask that came with each image.

    Raises
    ------
    ValueError
        If there is no image, one is not 2-D, or units differ or are unknown.
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
    return pixels, masks


def _split_mask(image):
    """Part an image from its mask, None if nothing is masked, and from its unit."""
    if isinstance(image, u.Quantity):
        return image.value, None
    if isinstance(image, NDData | np.ma.MaskedArray):
        mask = None if image.mask is None else np.broadcast_to(image.mask, image.shape)
        return image.data, mask if mask is None or mask.any() else None
    return (image if hasattr(image, "shape") else np.asarray(image)), None


def check_alike(name, images):
    """
    Refuse images whose shapes differ.

    Parameters
    ----------
    name : str
        Name of the argument, for error messages.
    images : list of `Pixels`
        One or more.

    Raises
    ------
    ValueError
        If one has another shape than the first.
    """
    shape = images[0].shape
    for i, image in enumerate(images):
        if image.shape != shape:
            raise ValueError(f"{name}[{i}] has shape {image.shape}, {name}[0] has {shape}")


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
    """
    Cut an image into blocks of rows, so that memory holds a few million pixels at a time.

    Parameters
    ----------
    shape : tuple of int
        Shape of the image.
    planes : int, optional
        How many such images are looked at together.

    Yields
    ------
    block : tuple of slice
        Whole rows.
    """
    n_rows = max(1, _BLOCK // max(shape[1] * planes, 1))
    for start in range(0, shape[0], n_rows):
        yield slice(start, min(start + n_rows, shape[0])), slice(0, shape[1])


class Either:
    """
    Two masks as one, read square by square.

    Parameters
    ----------
    one, two : array-like
        Masks of one shape, on disk or not.
    """

    def __init__(self, one, two):
        self.planes = one, two
        self.shape = np.shape(one)

    def __getitem__(self, box):
        """Return a square of bool, True where either mask is."""
        one, two = (np.asarray(plane[box], dtype=bool) for plane in self.planes)
        return one | two


class Part:
    """
    A part of an image, read square by square.

    Parameters
    ----------
    plane : array-like
        The image, on disk or not.
    box : tuple of slice
        Which part: rows and columns, with start and stop.
    """

    def __init__(self, plane, box):
        self.plane = plane
        self.start = tuple(part.start for part in box)
        self.shape = tuple(part.stop - part.start for part in box)

    def __getitem__(self, box):
        """Return a square of the part."""
        return self.plane[
            tuple(
                slice(first + (part.start or 0), first + (n if part.stop is None else part.stop))
                for part, first, n in zip(box, self.start, self.shape, strict=True)
            )
        ]


def combine_masks(one, two):
    """
    Combine two masks of which either may be None.

    Parameters
    ----------
    one, two : array-like or None
        Masks; one alone is returned as it is, on disk or not.

    Returns
    -------
    mask : array-like, `Either` or None
        True where either is.
    """
    if one is None or two is None:
        return two if one is None else one
    return Either(one, two)


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
    """
    Count the pixels that are finite and not ignored.

    Parameters
    ----------
    images : list of `Pixels`
        The frames.
    ignore : list of array-like or None
        Per frame, True where a pixel does not count; None if all do.

    Returns
    -------
    n_valid : list of int
        One number per frame.
    """
    return [
        sum(int(read_valid(image, plane, box)[2].sum()) for box in row_blocks(image.shape))
        for image, plane in zip(images, ignore, strict=True)
    ]
