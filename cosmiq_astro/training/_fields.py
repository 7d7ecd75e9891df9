"""Which frames show the same stars: those must not be on both sides of a split."""

import math

import numpy as np
from scipy import fft, ndimage

from cosmiq_astro.preprocess import estimate_statistics
from cosmiq_astro.training._siblings import compress

__all__ = ["group_fields"]

_LARGEST = 1024
# Correlation at the best shift: other stars reach a tenth, the same ones more than a half.
_SAME = 0.35
# Fewer bright pixels may all be hits, and one star is like any other.
_ENOUGH = 300


def group_fields(images):
    """
    Find out which frames show the same field.

    Parameters
    ----------
    images : list
        In electrons; anything that slices to an array.

    Returns
    -------
    fields : list of int or None
        Number of the field of each frame; None where there are too few stars
        to tell.
    offsets : list of int
        Rows by which each frame sees its field moved with respect to the first
        frame that shows it.
    """
    fields, offsets, references = [], [], []
    for image in images:
        thumbnail, factor = _thumbnail(image)
        if thumbnail is None:
            fields.append(None)
            offsets.append(0)
            continue
        for number, (shape, transform) in enumerate(references):
            if shape != thumbnail.shape:
                continue
            correlation, shift = _correlate(transform, thumbnail)
            if correlation > _SAME:
                fields.append(number)
                offsets.append(shift * factor)
                break
        else:
            fields.append(len(references))
            offsets.append(0)
            references.append((thumbnail.shape, fft.rfft2(thumbnail)))
    return fields, offsets


def _thumbnail(image):
    """Return a frame as seen from afar, its stars alike in brightness, and by what it shrank."""
    pixels = np.nan_to_num(np.asarray(image[:, :], dtype=np.float32))
    statistics = estimate_statistics(pixels, np.ones(pixels.shape, bool))
    stars = np.minimum(compress(pixels, statistics.sky, statistics.noise), 2)
    # A lone bright pixel is a hit, or hot.
    stars = np.minimum(stars, ndimage.maximum_filter(ndimage.median_filter(stars, 3), 3))
    if (stars > 0.3).sum() < _ENOUGH:
        return None, 1
    factor = math.ceil(max(stars.shape) / _LARGEST)
    stars = ndimage.gaussian_filter(stars, 1.5 * factor)[::factor, ::factor]
    stars -= stars.mean()
    return stars / math.sqrt(float((stars**2).sum())), factor


def _correlate(transform, thumbnail):
    surface = fft.irfft2(np.conj(transform) * fft.rfft2(thumbnail), thumbnail.shape)
    row = int(np.unravel_index(np.argmax(surface), surface.shape)[0])
    ny = thumbnail.shape[0]
    return float(surface.max()), row if row < ny / 2 else row - ny
