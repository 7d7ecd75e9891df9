"""Two-dimensional spectra: what is smooth along or across the dispersion is no cosmic ray."""

from __future__ import annotations

from typing import Literal

import numpy as np
from scipy import ndimage

__all__ = ["AXES", "spectrum_model"]

AXES = {"x": 1, "y": 0}
"""Axis of the array that the dispersion runs along, by name."""
# Lengths of the medians, pixels, odd. A line should move by less than a third of its width over the
# length across, and no trace be wider than a third of it.
_ALONG, _ACROSS = 101, 51


def spectrum_model(
    image: np.ndarray, usable: np.ndarray, dispersion: Literal["x", "y"] = "x"
) -> np.ndarray:
    """
    Model a spectrum by running medians: sky lines across, continuum along the dispersion.

    What is smooth across the dispersion (sky lines, the light of an extended
    source) is the running median in that direction; what then is smooth along
    it (the trace of a star) is the running median of the rest, over 51 and 101
    pixels; means over half that length take the noise off the medians. Both are found twice, each
    without the other. Cosmic rays, smooth in neither direction,
    stay out of it; so do emission lines that are short in both.

    Parameters
    ----------
    image : ndarray
        Pixel values, any unit, shape ``(ny, nx)``.
    usable : ndarray of bool
        Pixels that count; the others get the median of their surroundings.
    dispersion : {'x', 'y'}, optional
        The axis along which the wavelength changes.

    Returns
    -------
    model : ndarray of float32
        In the unit of the image.

    Raises
    ------
    ValueError
        If ``dispersion`` is neither 'x' nor 'y'.

    Examples
    --------
    >>> import numpy as np
    >>> from cosmiq_astro.spectra import spectrum_model
    >>> image = np.zeros((60, 80)) + np.arange(80) % 40
    >>> image[30] += 500.0
    >>> image[10, 20] += 900.0
    >>> left = image - spectrum_model(image, np.ones(image.shape, dtype=bool))
    >>> float(left[10, 20]), float(abs(left[30, 5:75]).max()) < 1
    (900.0, True)
    """
    if dispersion not in AXES:
        raise ValueError(f"dispersion must be 'x' or 'y', got {dispersion!r}")
    axis = AXES[dispersion]
    pixels = _filled(np.asarray(image, dtype=np.float32), usable)
    trace = np.zeros((), np.float32)
    for _ in range(2):
        sky = _running_median(pixels - trace, _ACROSS, 1 - axis)
        trace = _running_median(pixels - sky, _ALONG, axis)
    return sky + trace


def _filled(pixels, usable):
    if usable.all():
        return pixels
    if not usable.any():
        return np.zeros_like(pixels)
    # The nearest good pixel: a median over many more has nothing against it.
    nearest = ndimage.distance_transform_edt(~usable, return_distances=False, return_indices=True)
    return pixels[tuple(nearest)]


def _running_median(pixels, length, axis):
    size = [1, 1]
    size[axis] = min(length, 2 * (pixels.shape[axis] // 2) + 1)
    # Reflected at the border: a median over many copies of the last pixel would be that pixel.
    medians = ndimage.median_filter(pixels, size=tuple(size), mode="reflect")
    return ndimage.uniform_filter1d(medians, length // 2 | 1, axis=axis, mode="reflect")
