"""The noise of a pixel without a hit, from the image that may hold one."""

import numpy as np
from scipy.ndimage import median_filter

from cosmiq_astro.training._frames import log_uniform

__all__ = ["estimate_level", "observe_anew"]


def estimate_level(image, readnoise):
    """
    Estimate the charge that source and sky are expected to leave in each pixel.

    The median of the 3 x 3 neighbourhood, which hardly scatters, where the
    pixel agrees with it within three standard deviations; else the pixel
    itself, since the light of a star's core is not that of its neighbours.

    Parameters
    ----------
    image : ndarray
        Electron, finite, shape ``(ny, nx)``.
    readnoise : float
        Electron.

    Returns
    -------
    level : ndarray of float32
        Electron, not negative: its noise is ``sqrt(level + readnoise**2)``.
    """
    image = np.asarray(image, dtype=np.float32)
    smooth = np.maximum(median_filter(image, 3, mode="mirror"), 0)
    # The scatter of a pixel about the median of nine is 1.2 times its own.
    near = (image - smooth) ** 2 <= 9 * 1.2**2 * (smooth + readnoise**2)
    return np.where(near, smooth, np.maximum(image, 0))


def observe_anew(image, level, readnoise, rng, *, exposure_scale, extra_sky):
    """
    Turn a frame into a shorter exposure under a brighter sky, with the noise that this would have.

    Parameters
    ----------
    image, level : ndarray
        The frame and its expected charge, electron, shape ``(ny, nx)``.
    readnoise : float
        Electron.
    rng : `~numpy.random.Generator`
        Source of all randomness.
    exposure_scale, extra_sky : tuple of float
        Between which two the factor on the light is drawn (log-uniform, at
        most 1), and the sky added (uniform, electron).

    Returns
    -------
    image, level : ndarray of float32
        As observed, and expected.
    factor, sky : float
        As drawn.
    """
    factor = log_uniform(rng, exposure_scale)
    if factor < 1:
        # Scaling scales the noise too far down; this is the variance that is then missing.
        missing = level * factor * (1 - factor) + readnoise**2 * (1 - factor**2)
        image = factor * image + rng.normal(0, np.sqrt(missing))
        level = factor * level
    sky = rng.uniform(*extra_sky)
    if sky > 0:
        image = image + rng.poisson(sky, image.shape)
        level = level + sky
    return image.astype(np.float32), level, factor, sky
