"""What stands out of an exposure and is no cosmic ray: trails, bleeds, and what is too large."""

from typing import NamedTuple

import numpy as np
from scipy import ndimage

from cosmiq_astro._windows import TOUCHING

# Of a hit, in pixels: the longest tracks are ignored with what is no track.
_MOST_PIXELS, _LONGEST = 400, 100
# A trail crosses the frame, or much of it; more lines than this are something else.
_TRAIL_LENGTH, _TRAIL_PIXELS, _MOST_TRAILS = 100, 40, 6
_BIN, _NEAR, _WIDEST = 16, 2.0, 15
# A bleed runs along a row or a column, towards a bright star unless it is this long.
_BLEED_LENGTH, _BLEED_ALONE, _GAP, _TO_STAR, _GROWTH = 8, 30, 5, 60, 12


class NotHits(NamedTuple):
    """
    Pixels that must get no label, and what they are.

    Attributes
    ----------
    pixels : ndarray of bool
        To be ignored.
    n : int
        How many trails, bleeds or groups.
    """

    pixels: np.ndarray
    n: int


def find_trails(stands_out):
    """
    Find straight trails of satellites and aeroplanes, in pieces or not.

    The lines that most pixels lie on (Hough transform) are trails where the
    pixels are spread along at least 100 of their pixels.

    Parameters
    ----------
    stands_out : ndarray of bool
        Pixels brighter than expected, 3 standard deviations or so.

    Returns
    -------
    trails : `NotHits`
        Each over the whole frame, and as wide as it stands out.
    """
    from skimage.transform import hough_line, hough_line_peaks

    left = stands_out.copy()
    found, n = np.zeros_like(left), 0
    angles = np.linspace(-np.pi / 2, np.pi / 2, 720, endpoint=False)
    y, x = np.indices(left.shape)
    while n < _MOST_TRAILS:
        space, theta, distance = hough_line(left, angles)
        if space.max() < _TRAIL_PIXELS:
            break
        _, (angle,), (offset,) = hough_line_peaks(space, theta, distance, num_peaks=1)
        across = x * np.cos(angle) + y * np.sin(angle) - offset
        along = y * np.cos(angle) - x * np.sin(angle)
        near = np.abs(across) < _NEAR
        if not _is_spread(along[near & left], along[near]):
            break
        width = _width_of(left, np.abs(across))
        found |= np.abs(across) < width
        left &= ~(np.abs(across) < width + 1)
        n += 1
    return NotHits(found, n)


def _is_spread(positions, all_positions):
    """Tell whether pixels lie along much of a line rather than at one place of it."""
    chord = np.ptp(all_positions)
    edges = np.arange(all_positions.min(), all_positions.max() + _BIN, _BIN)
    full = np.histogram(positions, edges)[0] >= 2
    # The longest stretch most of which is there.
    filled = ndimage.binary_closing(np.pad(full, 2), np.ones(3))[2:-2]
    groups, _ = ndimage.label(filled)
    longest = max(np.bincount(groups)[1:], default=0) * _BIN
    return longest >= min(_TRAIL_LENGTH, 0.6 * chord)


def _width_of(stands_out, across):
    """Return how far from a line pixels stand out more than elsewhere."""
    usual = max(4 * stands_out[across > 2 * _WIDEST].mean(), 0.03)
    for width in range(2, _WIDEST):
        ring = (across >= width) & (across < width + 1)
        if stands_out[ring].mean() < usual:
            break
    return width + 2


def find_bleeds(stands_out, bright):
    """
    Find charge that has run along rows or columns.

    Parameters
    ----------
    stands_out : ndarray of bool
        Pixels brighter than expected.
    bright : ndarray of bool
        The brightest stars, from which charge runs.

    Returns
    -------
    bleeds : `NotHits`
        Grown along their row or column, and by a pixel to both sides.
    """
    found, n = np.zeros_like(stands_out), 0
    for axis in (0, 1):
        runs = _along(ndimage.binary_closing, np.pad(stands_out, _GAP), axis, _GAP)
        runs = runs[_GAP:-_GAP, _GAP:-_GAP]
        runs = _along(ndimage.binary_opening, runs, axis, _BLEED_LENGTH)
        # What is as wide as it is long is a star.
        runs &= ~_along(ndimage.binary_opening, runs, 1 - axis, _BLEED_LENGTH)
        to_star = _grown(bright, axis, 2 * _TO_STAR + 1, 5)
        groups, _ = ndimage.label(runs, TOUCHING)
        boxes = ndimage.find_objects(groups)
        for number, box in enumerate(boxes, start=1):
            length = box[axis].stop - box[axis].start
            own = groups[box] == number
            narrow = own.sum(axis=1 - axis).max(initial=0) <= max(3, length / 6)
            if narrow and (length >= _BLEED_ALONE or to_star[box][own].any()):
                bleed = np.zeros_like(found)
                bleed[box] = own
                found |= _grown(bleed, axis, 2 * _GROWTH + 1, 3)
                n += 1
    return NotHits(found, n)


def _along(operation, mask, axis, length):
    shape = [1, 1]
    shape[axis] = length
    return operation(mask, np.ones(shape, dtype=bool))


def _grown(mask, axis, along, across):
    """Dilate a mask by a rectangle of so many pixels; a filter does so one axis at a time."""
    size = [across, across]
    size[axis] = along
    return ndimage.maximum_filter(mask, size, mode="constant")


def find_large(groups, is_hit):
    """
    Find groups of pixels that are too large, or too long, for a hit.

    Parameters
    ----------
    groups : ndarray of int
        As `scipy.ndimage.label` numbers them.
    is_hit : ndarray of bool
        Which groups are taken for hits, by their number.

    Returns
    -------
    large : `NotHits`
        All of their pixels.
    """
    too_large = np.zeros_like(is_hit)
    n_pixels = np.bincount(groups.ravel(), minlength=is_hit.size)
    for number, box in enumerate(ndimage.find_objects(groups), start=1):
        if box is not None and is_hit[number]:
            extent = max(part.stop - part.start for part in box)
            too_large[number] = n_pixels[number] > _MOST_PIXELS or extent > _LONGEST
    return NotHits(too_large[groups], int(too_large.sum()))
