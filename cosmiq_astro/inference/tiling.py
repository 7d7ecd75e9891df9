"""Tiles of an image: pure geometry, no network and no pixels."""

import math
from dataclasses import dataclass

import numpy as np

__all__ = ["Tile", "plan_tiles", "reflect_indices"]


@dataclass(frozen=True)
class Tile:
    """
    One tile of an image.

    Attributes
    ----------
    rows, columns : ndarray of int
        Indices of the image rows and columns to read, halo included; beyond
        the edges of the image they are reflected back into it.
    write : tuple of slice
        Where in the image the result goes.
    crop : tuple of slice
        Which part of the network's output that is.
    """

    rows: np.ndarray
    columns: np.ndarray
    write: tuple[slice, slice]
    crop: tuple[slice, slice]

    def read(self, image):
        """
        Return the tile's pixels.

        Parameters
        ----------
        image : ndarray
            Shape ``(ny, nx)``.

        Returns
        -------
        pixels : ndarray
            A copy, shape ``(rows.size, columns.size)``.
        """
        return image[np.ix_(self.rows, self.columns)]


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
    rows = _cut_axis(shape[0], tile_size, halo, grid)
    columns = _cut_axis(shape[1], tile_size, halo, grid)
    return [
        Tile(rows=iy, columns=ix, write=(wy, wx), crop=(cy, cx))
        for iy, wy, cy in rows
        for ix, wx, cx in columns
    ]


def _cut_axis(n, tile_size, halo, grid):
    n_tiles = math.ceil(n / (math.ceil(tile_size / grid) * grid))
    size = math.ceil(n / (n_tiles * grid)) * grid
    cuts = []
    for start in range(0, n, size):
        stop = min(start + size, n)
        indices = reflect_indices(start - halo, start + size + halo, n)
        cuts.append((indices, slice(start, stop), slice(halo, halo + stop - start)))
    return cuts
