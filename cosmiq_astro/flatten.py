"""An image made flat by a background and a noise that are given, not estimated."""

import math

import numpy as np
from scipy import ndimage

from cosmiq_astro._windows import block_medians
from cosmiq_astro.preprocess import SUBTRACTED, estimate_statistics

__all__ = ["flatten", "noise_variance"]

_BLOCK = 16


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
    else:
        # Of a sky that was subtracted before, the noise is there still.
        told = math.sqrt(float(np.median(level)) + readnoise**2)
        seen = estimate_statistics(source, usable, readnoise=told).noise
        if seen > SUBTRACTED * told:
            readnoise = math.sqrt(readnoise**2 + seen**2 - told**2)
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
    pixels : ndarray of float32
        Of the median noise of the image, electron. Their sky is the square of it,
        so that a detector that is told of no read noise finds it for itself.
    """
    image = np.asarray(image, dtype=np.float64)
    if satlevel is not None:
        image = np.minimum(image, satlevel)
    noise = math.sqrt(float(np.median(variance[usable]))) if usable.any() else 1.0
    with np.errstate(invalid="ignore"):
        pixels = (image - background) * (noise / np.sqrt(variance)) + noise**2
    return pixels.astype(np.float32)


def _block_medians(values):
    """Return medians over blocks, spread over the pixels smoothly; NaN is left out."""
    n_blocks = tuple(max(1, round(n / _BLOCK)) for n in values.shape)
    coarse, _, _ = block_medians(values, n_blocks)
    known = np.isfinite(coarse)
    if not known.any():
        return np.ones(values.shape)
    coarse = np.where(known, coarse, np.median(coarse[known]))
    size = np.divide(values.shape, n_blocks)
    return ndimage.zoom(coarse, size, order=1, mode="nearest", grid_mode=True)
