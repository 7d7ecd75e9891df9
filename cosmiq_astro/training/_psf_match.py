"""One image made to look like another: seeing, guiding, sky and light matched by a kernel."""

import numpy as np
from scipy import ndimage

__all__ = ["HALF_WIDTH", "match_image"]

HALF_WIDTH = 3
"""Pixels that the kernel reaches to each side."""
_BRIGHT = 10.0
_SYSTEMATIC = 0.02
_CLIP = 4.0
_ROUNDS = 4
_PIXELS_PER_UNKNOWN = 20
_MOST_PIXELS = 20_000


def match_image(expected, image, good, sky, readnoise):
    """
    Convolve an image, and add a constant, so that it fits another best.

    The kernel has a free value per pixel (Bramich 2008, MNRAS 386, L77) and
    comes from weighted least squares on the stars, with outliers clipped.

    Parameters
    ----------
    expected, image : ndarray
        What is to be matched, and to what; electron, finite.
    good : ndarray of bool
        Pixels that may be used.
    sky, readnoise : float
        Sky level and read noise of both, electron.

    Returns
    -------
    matched : ndarray
        The convolved image; ``expected`` itself where there are too few stars.
    amplification : float
        Factor on the variance of the noise of ``expected``.
    """
    inside = np.zeros(image.shape, dtype=bool)
    inside[HALF_WIDTH:-HALF_WIDTH, HALF_WIDTH:-HALF_WIDTH] = True
    usable = inside & ~ndimage.binary_dilation(~good, np.ones((2 * HALF_WIDTH + 1,) * 2))
    light = expected - sky
    bright = usable & (light > _BRIGHT * np.sqrt(max(sky, 0) + readnoise**2))
    n_unknown = (2 * HALF_WIDTH + 1) ** 2 + 1
    if bright.sum() < _PIXELS_PER_UNKNOWN * n_unknown:
        return expected, 1.0
    # As many pixels of the sky, or its level would not be held.
    y, x = (np.concatenate(p) for p in zip(_some(bright), _some(usable & ~bright), strict=True))
    offsets = range(-HALF_WIDTH, HALF_WIDTH + 1)
    columns = [light[y + dy, x + dx] for dy in offsets for dx in offsets]
    design = np.stack([*columns, np.ones(y.size)], axis=1).astype(float)
    target = (image[y, x] - sky).astype(float)
    variance = np.maximum(expected[y, x], 0) + readnoise**2
    weight = 1 / np.sqrt(variance + (_SYSTEMATIC * light[y, x]) ** 2)
    kept = np.ones(y.size, dtype=bool)
    for _ in range(_ROUNDS):
        rows = design[kept] * weight[kept, None]
        # Of the normal equations: as many as unknowns, not as pixels.
        solution = np.linalg.lstsq(rows.T @ rows, rows.T @ (target * weight)[kept], rcond=1e-10)[0]
        residual = (target - design @ solution) * weight
        scatter = 1.4826 * np.median(np.abs(residual[kept]))
        kept = np.abs(residual) < _CLIP * max(scatter, 1.0)
    kernel = solution[:-1].reshape((2 * HALF_WIDTH + 1,) * 2)
    matched = ndimage.correlate(light, kernel, mode="nearest") + solution[-1] + sky
    return matched, float((kernel**2).sum())


def _some(chosen):
    """Return the positions of at most so many of the pixels, spread evenly."""
    positions = np.flatnonzero(chosen)
    step = -(-positions.size // _MOST_PIXELS) or 1
    return np.unravel_index(positions[::step], chosen.shape)
