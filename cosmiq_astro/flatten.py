"""An image made flat by a background and a noise that are given, not estimated."""

import math

import numpy as np
from scipy import ndimage

from cosmiq_astro.preprocess import estimate_statistics

__all__ = ["FlatImage", "flatten", "noise_variance"]

_BLOCK = 16


class FlatImage:
    """
    An image of one sky level and one noise, as a detector expects it.

    Parameters
    ----------
    pixels : ndarray of float32
        Pixel values, electron.
    noise : float
        Noise of a sky pixel, electron.

    Attributes
    ----------
    pixels, noise
        As given.
    readnoise : float
        0: the sky level put in is the square of the noise, which a detector
        thus finds for itself.
    """

    readnoise = 0.0

    def __init__(self, pixels, noise):
        self.pixels, self.noise = pixels, noise


def noise_variance(image, usable, background, *, variance=None, readnoise=None):
    """
    Return the variance that each pixel has without sources and cosmic rays.

    Parameters
    ----------
    image : ndarray
        Pixel values, electron.
    usable : ndarray of bool
        Pixels that count.
    background : ndarray or float
        What is in the pixels beside sources and cosmic rays, electron; 0 where
        it was subtracted already.
    variance : ndarray, optional
        Of each pixel, electron², as pipelines give it. Poisson noise of sources
        and of cosmic rays in it is taken off again, block by block of 16 × 16
        pixels, as the network knows that.
    readnoise : float, optional
        Electron. Without ``variance`` the noise is that of the background and
        this; without both, the scatter of neighbouring pixels decides.

    Returns
    -------
    variance : ndarray of float64
        Positive.
    """
    source = image - background
    if variance is not None:
        bare = np.where(usable, variance - np.maximum(source, 0), np.nan)
        return np.maximum(_block_medians(bare), 1e-6)
    level = np.broadcast_to(np.maximum(background, 0), image.shape).astype(np.float64)
    if readnoise is None:
        measured = estimate_statistics(source, usable).noise ** 2
        # The scatter is taken where it is low; so is the level that it is compared with.
        readnoise = math.sqrt(max(measured - float(np.quantile(level, 0.25)), 1.0))
    return np.maximum(level + readnoise**2, 1e-6)


def flatten(image, usable, background, *, variance, satlevel=None):
    """
    Subtract a background, and bring all pixels to one noise.

    Parameters
    ----------
    image : ndarray
        Pixel values, electron.
    usable : ndarray of bool
        Pixels that count.
    background : ndarray or float
        Electron.
    variance : ndarray
        From `noise_variance`, electron².
    satlevel : float, optional
        Electron; pixels above are put there first.

    Returns
    -------
    flat : `FlatImage`
        With the median noise of the image.
    """
    image = np.asarray(image, dtype=np.float64)
    if satlevel is not None:
        image = np.minimum(image, satlevel)
    noise = math.sqrt(float(np.median(variance[usable]))) if usable.any() else 1.0
    with np.errstate(invalid="ignore"):
        pixels = (image - background) * (noise / np.sqrt(variance)) + noise**2
    return FlatImage(pixels.astype(np.float32), noise)


def _block_medians(values):
    """Return medians over blocks, spread over the pixels smoothly; NaN is left out."""
    ny, nx = values.shape
    rows, columns = (max(1, round(n / _BLOCK)) for n in (ny, nx))
    edges_y = np.linspace(0, ny, rows + 1).astype(int)
    edges_x = np.linspace(0, nx, columns + 1).astype(int)
    coarse = np.full((rows, columns), np.nan)
    for j in range(rows):
        for i in range(columns):
            block = values[edges_y[j] : edges_y[j + 1], edges_x[i] : edges_x[i + 1]]
            block = block[np.isfinite(block)]
            if block.size:
                coarse[j, i] = np.median(block)
    known = np.isfinite(coarse)
    if not known.any():
        return np.ones(values.shape)
    coarse = np.where(known, coarse, np.median(coarse[known]))
    y = (np.arange(ny) + 0.5) * rows / ny - 0.5
    x = (np.arange(nx) + 0.5) * columns / nx - 0.5
    grid = np.meshgrid(y, x, indexing="ij")
    return ndimage.map_coordinates(coarse, grid, order=1, mode="nearest")
