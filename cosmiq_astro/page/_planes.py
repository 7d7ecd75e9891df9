"""Planes of a detection as few bytes: quantised, cut into tiles, compressed."""

import base64
import math
import zlib

import numpy as np

__all__ = [
    "LEVELS",
    "TILE",
    "encode_tiles",
    "probability_levels",
    "quantise_image",
    "quantise_levels",
    "quantise_root",
]

TILE = 512
"""Side of a tile, pixels."""

LEVELS = 254
"""Steps of the probability above the lowest."""

_STEP = 0.25
# Stored values are shifted by this, so that those of the sky do not straddle two bytes.
_SHIFT = 128
_BLANK = 65535
_LOWEST = 0.005


def quantise_image(image, sky, noise, curvature):
    """
    Quantise pixel values in steps of a quarter of their own noise.

    With ``x = (image - sky) / noise`` and c the curvature, the Poisson noise of
    a pixel is ``sqrt(1 + x / c)``; the steps of ``u``, in
    ``x = u + u |u| / (4 c)``, grow as that does.

    Parameters
    ----------
    image : ndarray
        Pixel values, any unit.
    sky, noise : float
        Sky level and noise of a sky pixel, in that unit; ``noise`` positive.
    curvature : float
        The noise in electron, 1 or more.

    Returns
    -------
    stored : ndarray of uint16
        65535 where the image is not finite, else 128 and four times u.
    """
    x = (np.asarray(image, dtype=np.float32) - np.float32(sky)) / np.float32(noise)
    finite = np.isfinite(x)
    x = np.where(finite, np.clip(x, -1e9, 1e9), 0)
    u = np.copysign(2 * curvature * (np.sqrt(1 + np.abs(x) / curvature) - 1), x)
    stored = np.clip(np.rint(u / _STEP) + _SHIFT, 0, _BLANK - 1).astype(np.uint16)
    stored[~finite] = _BLANK
    return stored


def probability_levels(threshold):
    """
    Return the lowest probability of each level; one of them is the threshold.

    Parameters
    ----------
    threshold : float
        In (0, 1).

    Returns
    -------
    edges : ndarray of float32
        Of levels 1, 2, …, rising, evenly spread in log-odds from 0.005 to 0.995 or
        so; what is below the first is of level 0.
    """
    low, high = (math.log(p / (1 - p)) for p in (_LOWEST, 1 - _LOWEST))
    step = (high - low) / (LEVELS - 1)
    at = math.log(threshold / (1 - threshold))
    # The grid is moved to go through the threshold; beyond its ends the threshold is added.
    grid = low + step * np.arange(LEVELS)
    grid += (at - low) % step
    edges = (1 / (1 + np.exp(-grid))).astype(np.float32)
    nearest = int(np.argmin(np.abs(grid - at)))
    if abs(grid[nearest] - at) < step / 2:
        edges[nearest] = np.float32(threshold)
    else:
        edges = np.sort(np.append(edges, np.float32(threshold)))
    return edges


def quantise_levels(probability, edges):
    """
    Return the level of each probability: how many of the edges it reaches.

    Parameters
    ----------
    probability : ndarray
        In [0, 1]; NaN is of level 0.
    edges : ndarray
        From `probability_levels`.

    Returns
    -------
    levels : ndarray of uint8
        ``levels >= k + 1`` where ``probability >= edges[k]``, exactly.
    """
    known = np.nan_to_num(np.asarray(probability), nan=0.0)
    return np.searchsorted(edges, known, side="right").astype(np.uint8)


def quantise_root(plane, largest):
    """
    Quantise a plane of non-negative values in 255 steps of their square root.

    Parameters
    ----------
    plane : ndarray
        Values in [0, ``largest``]; NaN becomes 0, and so does what is below
        1.6e-4 of the largest.
    largest : float
        Becomes 255.

    Returns
    -------
    stored : ndarray of uint8
        ``(stored / 255)**2 * largest`` is the value.
    """
    scaled = np.clip(np.nan_to_num(np.asarray(plane, dtype=np.float32), nan=0.0) / largest, 0, 1)
    stored = np.rint(255 * np.sqrt(scaled)).astype(np.uint8)
    stored[stored < 4] = 0
    return stored


def encode_tiles(planes):
    """
    Cut planes of bytes into tiles, and compress each tile.

    Parameters
    ----------
    planes : sequence of ndarray of uint8 or uint16
        Of one shape; the bytes of 16 bits become two planes, the low one first.

    Returns
    -------
    tiles : list of str
        Base64 of what zlib made of a tile's planes, one after the other; tiles
        in rows from pixel (0, 0), `TILE` pixels wide and high or what is left.
    """
    flat = [
        (plane >> 8 * byte).astype(np.uint8) for plane in planes for byte in range(plane.itemsize)
    ]
    ny, nx = planes[0].shape
    return [
        base64.b64encode(
            zlib.compress(b"".join(p[y : y + TILE, x : x + TILE].tobytes() for p in flat), 6)
        ).decode()
        for y in range(0, ny, TILE)
        for x in range(0, nx, TILE)
    ]
