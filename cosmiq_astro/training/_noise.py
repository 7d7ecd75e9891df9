"""The noise of a pixel without a hit, from the image that may hold one."""

import numpy as np
from scipy.ndimage import median_filter

__all__ = ["estimate_level"]


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
