"""How pictures show an image: its stretch, the colour of hits, and a small one for notebooks."""

import io
import math

import numpy as np

__all__ = ["RED", "stretch", "thumbnail"]

RED = (0.9, 0.1, 0.1, 1)


def stretch(data):
    """
    Scale pixels by the arcsinh of their values above the sky.

    Parameters
    ----------
    data : ndarray
        The image.

    Returns
    -------
    stretched : ndarray
        The scaled pixels.
    low, high : float
        Limits to show them in.
    """
    finite = data[np.isfinite(data)]
    if finite.size == 0:
        return data, 0, 1
    low, sky, high = np.percentile(finite, [1, 50, 99.5])
    scale = max(sky - low, 1e-3 * (high - low), 1e-9)
    stretched = np.arcsinh((data - sky) / scale)
    limits = np.arcsinh((np.array([low, high]) - sky) / scale)
    return stretched, *limits


def thumbnail(data, hits, *, size=256):
    """
    Draw a small image with its hits in red.

    Parameters
    ----------
    data : ndarray
        The image, shape ``(ny, nx)``, not empty; pixels that are not finite are white.
    hits : ndarray of bool
        The pixels flagged.
    size : int, optional
        Most pixels of a side. Larger images are averaged in blocks; one with a hit is red.

    Returns
    -------
    png : bytes
        The picture.
    shape : tuple of int
        Its height and width, pixels.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    """
    from matplotlib.image import imsave

    step = math.ceil(max(data.shape) / size)
    finite = np.isfinite(data)
    with np.errstate(all="ignore"):
        mean = _block_sum(np.where(finite, data, 0), step) / _block_sum(finite, step)
        stretched, low, high = stretch(mean)
        gray = 1 - np.clip((stretched - low) / (high - low), 0, 1)
    # Few grays make a small file.
    gray = np.round(31 * gray) / 31
    colours = np.repeat(np.nan_to_num(gray, nan=1.0)[..., None], 3, axis=2)
    colours[_block_sum(hits, step) > 0] = RED[:3]
    png = io.BytesIO()
    imsave(png, colours, format="png", origin="lower")
    return png.getvalue(), gray.shape


def _block_sum(pixels, step):
    """Sum blocks of ``step`` times ``step`` pixels, fewer at the end of a row or column."""
    for axis, length in enumerate(pixels.shape):
        pixels = np.add.reduceat(pixels, np.arange(0, length, step), axis=axis, dtype=float)
    return pixels
