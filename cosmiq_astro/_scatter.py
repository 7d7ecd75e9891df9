"""The noise of an image without a known read noise: how neighbouring pixels differ."""

import math

import numpy as np

LARGEST = 1e9
"""Electron; beyond any detector's full well. Pixels are taken as no more: float32 stays finite."""
MAX_SAMPLES = 2**16
"""Pixels of an image that are looked at, about."""
_BLOCK = 32
# 5 × 5 equal pixels are no coincidence, unless nearly all of an image are equal.
_BLANK_REACH = 2
# Differences that are 0, in a block; 1 in 10 are where the noise is three steps.
_MANY_EQUAL = 0.1
# Electrons come whole, and no converter takes more of them to a count.
_LEAST_STEP, _LARGEST_STEP = 1.0, 100.0
# Standard deviation of Gaussian values over their median absolute deviation.
_MAD_TO_SIGMA = 1.482602218505602


def scatter_about_zero(values, axis=None):
    """
    Return the standard deviation that the median of the absolute values tells; NaN do not count.

    `astropy.stats.mad_std` looks for the median of the values first. Here it is known to be 0, as
    that of residuals and differences, and looking for it once more takes half as long again.
    """
    return _MAD_TO_SIGMA * np.nanmedian(np.abs(values), axis=axis)


def block_scatter(image, valid):
    """Return the noise in blocks, of those where it shows, and whether one has constant parts."""
    height, width = (min(_BLOCK, n) for n in image.shape)
    # Blocks on a regular grid, of about as many pixels as the sky sample has.
    n_blocks = max(1, math.isqrt(MAX_SAMPLES // (height * width)))
    scatter, has_gaps = [], False
    for y in np.unique(np.linspace(0, image.shape[0] - height, n_blocks).astype(int)):
        for x in np.unique(np.linspace(0, image.shape[1] - width, n_blocks).astype(int)):
            box = np.s_[y : y + height, x : x + width]
            difference = _differences(image[box], valid[box])
            if np.count_nonzero(difference == 0) > _MANY_EQUAL * difference.size:
                blank = is_blank(image[box], valid[box], np.arange(height), np.arange(width))
                has_gaps |= bool(blank.any())
                difference = _differences(image[box], valid[box] & ~blank)
            noise = _scatter_of(difference) if difference.size else 0.0
            if noise > 0:
                scatter.append(noise)
    return scatter, has_gaps


def _differences(pixels, valid):
    """Return the absolute differences of neighbours along a row, or along a single column."""
    values = np.clip(pixels.astype(np.float64), -LARGEST, LARGEST)
    values = np.where(valid, values, np.nan)
    difference = np.abs(np.diff(values, axis=1 if values.shape[1] > 1 else 0))
    return difference[np.isfinite(difference)]


def _scatter_of(difference):
    """Return the standard deviation of pixels from such differences; 0 if they do not show it."""
    scatter = scatter_about_zero(difference)
    if scatter > 0:
        return scatter / math.sqrt(2)
    steps = difference[(difference > 0) & (difference < _LARGEST_STEP)]
    if steps.size == 0:
        return 0.0
    step = np.median(steps)
    # Larger differences are of stars and hits.
    mean_square = np.mean(np.minimum(difference, step) ** 2)
    return max(math.sqrt(mean_square / 2), step / math.sqrt(12), _LEAST_STEP)


def is_blank(image, valid, rows, columns):
    """Tell which pixels in some rows and columns have the value of all valid ones around them."""
    reach = np.arange(-_BLANK_REACH, _BLANK_REACH + 1)
    y, x = (
        np.clip(index[:, None] + reach, 0, n - 1)
        for index, n in zip((rows, columns), image.shape, strict=True)
    )
    window = np.ix_(y.ravel(), x.ravel())
    shape = (rows.size, reach.size, columns.size, reach.size)
    centre = image[np.ix_(rows, columns)][:, None, :, None]
    equal = (image[window].reshape(shape) == centre) | ~valid[window].reshape(shape)
    return equal.all((1, 3))
