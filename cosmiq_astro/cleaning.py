"""
Replacing the pixels that a cosmic ray has hit.

Only the flagged pixels are visited, in blocks: a large image takes little memory beyond its copy.
"""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING

import numpy as np
import scipy
from astropy.utils.exceptions import AstropyUserWarning

from cosmiq_astro._pixels import refuse_files
from cosmiq_astro._windows import MAX_REACH, masked_mean, masked_median, masked_variance, windows

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from cosmiq_astro._types import Cleaning

__all__ = ["CLEAN_METHODS", "clean_pixels", "cleaned_variance", "grow_mask"]

CLEAN_METHODS = ("median", "medmask", "meanmask", "idw", "maskfill")
"""Ways to replace a pixel, see `clean_pixels`."""


def clean_pixels(
    data: ArrayLike,
    cr_mask: ArrayLike,
    *,
    method: Cleaning = "medmask",
    mask: ArrayLike | None = None,
    size: int = 5,
) -> np.ndarray:
    """
    Replace the pixels flagged as cosmic rays by what their neighbours suggest.

    Parameters
    ----------
    data : array_like
        Image, shape ``(ny, nx)``, of any real type, unit and byte order.
    cr_mask : array_like of bool
        True for the pixels to replace, same shape.
    method : {'medmask', 'meanmask', 'idw', 'median', 'maskfill'}, optional
        * ``'medmask'``: median of the good pixels in the window. The choice
          for most images: the smallest typical error in sky, crowded fields
          and galaxies alike.
        * ``'meanmask'``: mean of the good pixels in the window. Less noise in
          a flat sky, more bias from undetected wings of hits and from stars.
        * ``'idw'``: mean weighted with one over the distance. Somewhat better
          than ``'meanmask'`` on slopes.
        * ``'median'``: median of all finite pixels in the window, the
          flagged ones and the pixel itself included. Only for hits of few
          pixels, to compare with older work.
        * ``'maskfill'``: works inwards from the edge of each hit, then
          smooths [2]_. Needs the package maskfill, takes a Python loop per
          pixel; give ``size=3`` for the published algorithm.

        A good pixel is finite, neither in ``cr_mask`` nor in ``mask``.
    mask : array_like of bool, optional
        True for pixels that must neither be used nor changed. A pixel that
        is in both masks stays as it is. Default: none.
    size : int, optional
        Width of the square window, pixel, odd, at least 3. Raise it where the
        sky is smooth and the hits are wide; lower it in crowded fields.

    Returns
    -------
    cleaned : ndarray
        A new array of the shape and type of ``data``, different from it at
        flagged pixels only. Integers are rounded to the nearest.

    Raises
    ------
    TypeError
        If ``data`` is the name of a file.
    ValueError
        If a parameter is outside the values given above or the shapes differ.
    ImportError
        If ``method='maskfill'`` and that package is not installed.

    Warns
    -----
    AstropyUserWarning
        If flagged pixels were left unchanged, with their number: those farther than 50 pixels from
        every good pixel (for ``'maskfill'``, only if the image has none at all).

    Notes
    -----
    Windows are cut off at the edge of the image. A window without a good pixel is enlarged, ring by
    ring, until it holds one; it then uses the good pixels of that ring. The names and weights are
    those of astroscrappy [1]_, which instead writes one background level for the whole image, takes
    the lower of two middle values for a median, and skips the two outer rows and columns.

    References
    ----------
    .. [1] McCully, C. et al. 2018, astropy/astroscrappy v1.0.5,
       doi:10.5281/zenodo.1482019 (``cleantype``); after van Dokkum, P. G.
       2001, PASP 113, 1420, section 3.
    .. [2] van Dokkum, P. & Pasha, I. 2024, PASP 136, 034503.

    Examples
    --------
    >>> import numpy as np
    >>> from cosmiq_astro.cleaning import clean_pixels
    >>> image = np.full((5, 5), 10.0)
    >>> image[2, 2] = 900.0
    >>> clean_pixels(image, image > 100)[2]
    array([10., 10., 10., 10., 10.])
    """
    data, good, targets = _checked(data, cr_mask, mask, method, size)
    rows, columns = targets
    cleaned, n_left = data.copy(), rows.size
    fill = _maskfill if method == "maskfill" else _fill
    for chosen, values in fill(data, good, targets, method, size):
        if np.issubdtype(data.dtype, np.integer):
            values = np.rint(values)
        cleaned[rows[chosen], columns[chosen]] = values
        n_left -= values.size
    if n_left:
        warnings.warn(
            f"{n_left} of {rows.size} flagged pixels were left unchanged: no good pixel within "
            f"{MAX_REACH} pixels of them. Look at cr_mask, mask and pixels that are not finite.",
            AstropyUserWarning,
            stacklevel=2,
        )
    return cleaned


def cleaned_variance(
    variance: ArrayLike,
    cr_mask: ArrayLike,
    *,
    data: ArrayLike,
    method: Cleaning = "medmask",
    mask: ArrayLike | None = None,
    size: int = 5,
) -> np.ndarray:
    r"""
    Give the pixels that `clean_pixels` replaces a variance that covers the guess.

    Parameters
    ----------
    variance : array_like of float
        Variance of the pixels of ``data``, in its unit squared, same shape.
    cr_mask : array_like of bool
        As given to `clean_pixels`.
    data : array_like
        The image **before** cleaning, as given to `clean_pixels`.
    method, mask, size : optional
        As given to `clean_pixels`.

    Returns
    -------
    variance : ndarray
        A new array of the type of ``variance``, different from it at the
        replaced pixels only. NaN at a replaced pixel with one good neighbour
        whose variance is not finite.

    Raises
    ------
    ValueError
        As `clean_pixels`.

    Notes
    -----
    Let the pixel, had it not been hit, and its :math:`n` good neighbours be draws from one
    distribution: the scene scatters by :math:`\tau^2` between these pixels, and the noise adds
    :math:`\bar v`. The sample variance :math:`s^2` of the neighbours (``n - 1`` in the denominator)
    estimates :math:`\tau^2 + \bar v`, and the guess :math:`\hat x`, independent of the pixel,
    misses it by

    .. math::
        \mathrm{E}(\hat x - x)^2 = (\tau^2 + \bar v)\,(1 + c), \qquad
        c = \frac{\sum w_i^2}{(\sum w_i)^2}

    for weights :math:`w_i`, so :math:`c = 1/n` for a mean; for a median
    :math:`c = \pi / (2 (n - 1) + \pi)`, exact for :math:`n = 1` and, with
    normal noise, for large :math:`n`. Hence the variance written is

    .. math::
        V = \max(s^2, \bar v)\,(1 + c)

    with :math:`\bar v` the mean variance of the neighbours. A replaced pixel is therefore never
    taken for more precise than the measured ones about it. In a flat sky the maximum makes *V*
    about 12 % too large for 24 neighbours. Two limits: the values of replaced pixels are correlated
    with their neighbours, which a variance cannot express; and beside a star's core, where the
    scene is no draw from its surroundings, *V* is a scale rather than a standard error. The same
    is used for ``'median'`` and ``'maskfill'``, from the good neighbours in the window.

    Examples
    --------
    >>> import numpy as np
    >>> from cosmiq_astro.cleaning import cleaned_variance
    >>> image, variance = np.full((5, 5), 10.0), np.full((5, 5), 4.0)
    >>> image[2, 2] = 900.0
    >>> cleaned_variance(variance, image > 100, data=image, method='meanmask')[2, 1:3]
    array([4.        , 4.16666667])
    """
    data, good, targets = _checked(data, cr_mask, mask, method, size)
    result = np.array(variance)
    _require_same_shape("variance", result, data.shape)
    rows, columns = targets
    for chosen, window, valid, distance in windows(good, targets, size):
        scatter, n_good = masked_variance(data[window], valid)
        noise = result[window].astype(np.float64)
        noise, _ = masked_mean(noise, valid & np.isfinite(noise))
        if method in ("meanmask", "idw"):
            weight = _weights(method, distance, valid)
            share = (weight**2).sum(axis=1) / weight.sum(axis=1) ** 2
        else:
            share = math.pi / (2 * (n_good - 1) + math.pi)
        result[rows[chosen], columns[chosen]] = np.fmax(scatter, noise) * (1 + share)
    return result


def grow_mask(cr_mask: ArrayLike, radius: float, *, mask: ArrayLike | None = None) -> np.ndarray:
    """
    Grow flagged regions by a disk, never into masked pixels.

    Parameters
    ----------
    cr_mask : array_like of bool
        Flagged pixels, shape ``(ny, nx)``.
    radius : float
        Radius of the disk, pixel: pixels whose centres are at most this far
        from that of a flagged pixel are added. 0 adds none, 1 the four
        neighbours, 1.5 all eight. Raise it to cover the faint wings of hits
        where completeness counts more than lost sky.
    mask : array_like of bool, optional
        True for pixels that must not be flagged. Default: none.

    Returns
    -------
    grown : ndarray of bool
        A new array; contains ``cr_mask``.

    Raises
    ------
    ValueError
        If ``radius`` is negative or not finite, or the shapes differ.

    Examples
    --------
    >>> import numpy as np
    >>> from cosmiq_astro.cleaning import grow_mask
    >>> hit = np.zeros((3, 3), dtype=bool)
    >>> hit[1, 1] = True
    >>> grow_mask(hit, 1).astype(int)
    array([[0, 1, 0],
           [1, 1, 1],
           [0, 1, 0]])
    """
    cr_mask = np.asarray(cr_mask, dtype=bool)
    if not (math.isfinite(radius) and radius >= 0):
        raise ValueError(f"radius={radius!r} is not a finite number of pixels ≥ 0")
    _require_same_shape("mask", mask, cr_mask.shape)
    reach = int(radius)
    if reach == 0:
        return cr_mask.copy()
    dy, dx = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    grown = scipy.ndimage.binary_dilation(cr_mask, structure=dy**2 + dx**2 <= radius**2)
    if mask is not None:
        grown &= cr_mask | ~np.asarray(mask, dtype=bool)
    return grown


def scene_under(image, hits, invalid):
    """
    Return what is under hits, from the pixels around them.

    Parameters
    ----------
    image, hits, invalid : ndarray
        Pixel values; pixels of hits; pixels that tell nothing.

    Returns
    -------
    scene : ndarray of float
        The image with hits replaced; NaN in those without a good pixel near.
    """
    # The rim of a hit is fainter than can be told.
    rim = grow_mask(hits, 1.5, mask=invalid)
    return clean_pixels(np.where(hits, np.nan, image), rim, mask=invalid, size=7)


def _checked(data, cr_mask, mask, method, size) -> tuple[np.ndarray, np.ndarray, tuple]:
    """Return the image, its good pixels, and rows and columns to replace; check all parameters."""
    if method not in CLEAN_METHODS:
        raise ValueError(f"method={method!r} is unknown: choose one of {CLEAN_METHODS}")
    if not (isinstance(size, (int, np.integer)) and size >= 3 and size % 2 == 1):
        raise ValueError(f"size={size!r} is not an odd integer ≥ 3")
    refuse_files("data", data)
    data = np.asarray(data)
    if data.ndim != 2 or data.dtype.kind not in "iuf":
        raise ValueError(
            f"data is {data.ndim}-dimensional of type {data.dtype}: give a 2-dimensional image "
            "of integers or floats"
        )
    _require_same_shape("cr_mask", cr_mask, data.shape)
    _require_same_shape("mask", mask, data.shape)
    hit = np.asarray(cr_mask, dtype=bool)
    free = True if mask is None else ~np.asarray(mask, dtype=bool)
    return data, np.isfinite(data) & ~hit & free, np.nonzero(hit & free)


def _require_same_shape(name, mask, shape):
    if mask is not None and np.shape(mask) != shape:
        raise ValueError(f"{name} has the shape {np.shape(mask)}, the image {shape}: give one")


def _fill(data, good, targets, method, size):
    """Yield indices into the targets and the values found for them, block by block."""
    usable = np.isfinite(data) if method == "median" else good
    dtype = np.result_type(data.dtype, np.float32)
    for chosen, window, valid, distance in windows(usable, targets, size):
        neighbours = data[window].astype(dtype)
        if method in ("median", "medmask"):
            yield chosen, masked_median(neighbours, valid)
        else:
            weight = _weights(method, distance, valid)
            known = np.where(valid, neighbours, 0)
            yield chosen, np.average(known, axis=1, weights=weight).astype(dtype)


def _weights(method, distance, valid):
    """Weights ``(n, k)`` of the pixels of windows, 0 where not valid, as the centre never is."""
    weight = 1.0 if method == "meanmask" else 1 / np.maximum(distance, 1)
    return np.where(valid, weight, 0.0)


def _maskfill(data, good, targets, method, size):
    """Fill with the package maskfill; yields what `_fill` does, all at once."""
    try:
        from maskfill import maskfill  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ImportError(
            f"method={method!r} needs the package maskfill: pip install maskfill, or choose "
            f"another of {CLEAN_METHODS}"
        ) from error
    # Without a good pixel maskfill never returns.
    if good.any() and targets[0].size:
        image = np.where(good, data, np.nan)
        image = image.astype(np.result_type(image.dtype.newbyteorder("="), np.float32))
        smoothed, _ = maskfill(image, ~good, size=int(size))
        yield slice(None), smoothed[targets]
