"""Real cosmic-ray hits, cut out of frames."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from cosmiq_astro._windows import TOUCHING
from cosmiq_astro.simulate.footprints import Footprints

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = ["extract_footprints"]

# Of the border around a core, pixels: how wide it is, and from how many times the noise it counts.
_BORDER, _WING = 2, 1.5


def extract_footprints(
    frame: ArrayLike,
    noise: float | ArrayLike,
    *,
    mask: ArrayLike | None = None,
    threshold: float = 5.0,
    max_pixels: int = 400,
    min_charge: float = 250.0,
    rim: bool = False,
) -> Footprints:
    """
    Cut the hits out of a frame that holds cosmic rays and noise only.

    Parameters
    ----------
    frame : array_like, shape (ny, nx)
        Dark-subtracted frame, in electrons, zero where nothing hit.
    noise : float or array_like
        Standard deviation of the frame without hits, in electrons.
    mask : array_like of bool, optional
        True for pixels not to be trusted; hits that touch one are left out.
    threshold : float, optional
        A hit needs a pixel above this many ``noise``; neighbours above 0.6
        times it belong to its core. Lower it only for frames free of warm pixels.
    max_pixels : int, optional
        Hits with a larger core are left out: chance groups and residues.
    min_charge : float, optional
        Hits with less charge in their core are left out, in electrons. Thinned
        silicon sees hardly any particle below 500, but warm pixels abound there.
    rim : bool, optional
        Add the pixels that touch the core, whatever they hold, and mark all that
        are not of the core as unknown: the hit reaches there, but how much
        charge it left is lost in the noise. Give it for training, where such
        pixels must not count as clean.

    Returns
    -------
    Footprints
        Hits in the order of their first pixel. Hits touching the edge of the
        frame are left out.

    Raises
    ------
    ValueError
        If ``noise`` is not positive.

    Notes
    -----
    Core pixels keep their value. Those within two pixels of it are shrunk by the
    non-negative garrote [1]_, ``c * max(0, 1 - (1.5 * noise / c)**2)``, and kept only where
    they still touch the hit, so hardly any pure noise is pasted.

    References
    ----------
    .. [1] Gao, H.-Y. 1998, J. Comput. Graph. Stat. 7, 469.

    Examples
    --------
    >>> import numpy as np
    >>> from cosmiq_astro.simulate import extract_footprints
    >>> frame = np.random.default_rng(0).normal(0, 5, (64, 64))
    >>> frame[30, 30:34] += [200, 900, 700, 100]
    >>> hits = extract_footprints(frame, 5.0, threshold=6)
    >>> len(hits), bool(abs(hits.total_charge[0] - 1900) < 40)
    (1, True)
    """
    frame = np.asarray(frame, np.float64)
    noise = np.broadcast_to(np.asarray(noise, np.float64), frame.shape)
    if not np.all(noise > 0):
        raise ValueError("noise must be positive in every pixel")
    ratio = frame / noise
    groups, _ = ndimage.label(ratio > 0.6 * threshold, TOUCHING)
    n_core = np.bincount(groups.ravel())
    peak = ndimage.maximum(ratio, groups, np.arange(n_core.size))
    core_charge = np.bincount(groups.ravel(), frame.ravel())
    good = (np.asarray(peak) > threshold) & (n_core <= max_pixels) & (core_charge >= min_charge)
    good[0] = False
    border = np.ones(frame.shape, bool)
    border[1:-1, 1:-1] = False
    bad = border if mask is None else border | np.asarray(mask, bool)
    good[np.unique(groups[ndimage.binary_dilation(bad, TOUCHING)])] = False
    owner = np.where(good[groups], groups, 0)
    core = owner > 0
    shrunk = frame * np.maximum(1 - (_WING / np.maximum(ratio, _WING)) ** 2, 0)
    value = np.where(core, frame, np.where(groups == 0, shrunk, 0))
    reached = owner
    for _ in range(_BORDER):
        free = (reached == 0) & (value > 0)
        reached = np.where(free, ndimage.maximum_filter(reached, 3), reached)
    if rim:
        touching = np.where(groups == 0, ndimage.maximum_filter(owner, 3), 0)
        reached = np.where(reached > 0, reached, touching)
    y, x = np.nonzero(reached)
    unknown = ~core[y, x] if rim else None
    return Footprints.from_pixels(reached[y, x], y, x, value[y, x], unknown)
