"""Tiles of an image: pure geometry, no network and no pixels."""

import math
from dataclasses import dataclass

import numpy as np

__all__ = ["Tile", "bordered", "plan_tiles", "reflect_border", "reflect_indices"]


@dataclass(frozen=True)
class Tile:
    """
    One tile of an image.

    Attributes
    ----------
    read : tuple of slice
        Where in the image with its border (`bordered`) the tile is, halo included.
    crop : tuple of slice
        Where its core is: all but the halo.
    write : tuple of slice
        Where in the image the core is, up to the image's edge.
    """

    read: tuple[slice, slice]
    crop: tuple[slice, slice]
    write: tuple[slice, slice]


def reflect_indices(start, stop, n):
    """
    Indices from ``start`` to ``stop``, reflected at the ends of an axis of length ``n``.

    The edge pixel is repeated, as by ``numpy.pad`` with ``mode='symmetric'``, and the reflection
    goes on as often as it takes. Not repeated, a hit on the edge would look like half a star, and
    the models, trained on patches padded alike, miss more of them.

    Parameters
    ----------
    start, stop : int
        First index and the one after the last; may lie outside the axis.
    n : int
        Length of the axis, 1 or more.

    Returns
    -------
    indices : ndarray of int
        Values in ``[0, n)``, ``stop - start`` of them.

    Examples
    --------
    >>> from cosmiq_astro.inference.tiling import reflect_indices
    >>> reflect_indices(-2, 6, 4)
    array([1, 0, 0, 1, 2, 3, 3, 2])
    """
    folded = np.arange(start, stop) % (2 * n)
    return np.minimum(folded, 2 * n - 1 - folded)


def plan_tiles(shape, tile_size, *, halo, grid):
    """
    Cut an image into tiles of equal shape whose cores cover it exactly once.

    Tile origins are multiples of ``grid`` and every tile reads at least
    ``halo`` pixels beyond its core on each side, so a network whose
    receptive radius is at most ``halo`` gives the same result for any tile
    size.

    Parameters
    ----------
    shape : tuple of int
        ``(ny, nx)`` of the image, both 1 or more.
    tile_size : int
        Largest side of a tile's core, pixels.
    halo : int
        Pixels to read around the core; rounded up to a multiple of ``grid``.
    grid : int
        Pixels between points of the network's coarsest level.

    Returns
    -------
    tiles : list of `Tile`
        In reading order.

    Raises
    ------
    ValueError
        If ``tile_size`` is less than 1.
    """
    if tile_size < 1:
        raise ValueError(f"tile_size must be at least 1 pixel, got {tile_size}")
    halo = math.ceil(halo / grid) * grid
    rows, columns = (_cut_axis(n, tile_size, halo, grid) for n in shape)
    return [Tile(*zip(row, column, strict=True)) for row in rows for column in columns]


def _cut_axis(n, tile_size, halo, grid):
    """Return slices of each tile along an axis: what it reads, crops and writes."""
    n_tiles = math.ceil(n / (math.ceil(tile_size / grid) * grid))
    size = math.ceil(n / (n_tiles * grid)) * grid
    cuts = []
    for start in range(0, n, size):
        stop = min(start + size, n)
        read = slice(start, start + size + 2 * halo)
        cuts.append((read, slice(halo, halo + size), slice(start, stop)))
    return cuts


def bordered(pixels, tiles):
    """
    Make room for the tiles of an image, and for what they read beyond its edges.

    Parameters
    ----------
    pixels : tuple of int
        ``(ny, nx)`` of the image.
    tiles : list of `Tile`
        From `plan_tiles`.

    Returns
    -------
    inside : tuple of slice
        Where the image is.
    shape : tuple of int
        Of the image with its border.
    """
    inside = tuple(
        slice(crop.start, crop.start + n) for crop, n in zip(tiles[0].crop, pixels, strict=True)
    )
    return inside, tuple(read.stop for read in tiles[-1].read)


def reflect_border(image, inside):
    """
    Fill the border of an image with its reflection, in place.

    Parameters
    ----------
    image : Tensor or ndarray
        The image with its border.
    inside : tuple of slice
        Where the image itself is.
    """
    (rows, columns), (n_rows, n_columns) = inside, image.shape
    for part in (slice(0, columns.start), slice(columns.stop, n_columns)):
        image[rows, part] = image[rows, _source(part, columns)]
    for part in (slice(0, rows.start), slice(rows.stop, n_rows)):
        image[part] = image[_source(part, rows)]


def _source(part, inside):
    """Return the indices of which a part of the border is the reflection."""
    n = inside.stop - inside.start
    return reflect_indices(part.start - inside.start, part.stop - inside.start, n) + inside.start
