"""Hot pixels, told from hits by their data-quality bits."""

from dataclasses import replace

import numpy as np
from scipy import ndimage

__all__ = ["without_hot_pixels"]


def without_hot_pixels(found, flags, bits):
    """
    Take groups of flagged pixels off a detection that are hot pixels and nothing else.

    A network cannot tell a hot pixel from a hit of one pixel; the bits can. A hot
    pixel in a group with others, which a hit passed over, stays.

    Parameters
    ----------
    found : `~cosmiq_astro._detection.Detection`
        What was found.
    flags : ndarray of int or None
        Data-quality bits; None if there are none.
    bits : int
        Those of hot and warm pixels.

    Returns
    -------
    found : `~cosmiq_astro._detection.Detection`
        With mask and number of hits corrected; probabilities are as they were.
    """
    if flags is None:
        return found
    groups, n = ndimage.label(found.cr_mask, np.ones((3, 3)))
    # What a mask was grown by says nothing of what it grew from.
    seen = found.cr_mask & (found.maps.probability >= found.threshold) & ((flags & bits) == 0)
    is_hit = np.zeros(n + 1, bool)
    is_hit[groups[seen]] = True
    return replace(found, cr_mask=is_hit[groups], n_hits=int(is_hit.sum()))
