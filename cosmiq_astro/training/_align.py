"""Repeated exposures made alike: shifted or reprojected, seeing and light matched by a kernel."""

import numpy as np
from scipy import ndimage

from cosmiq_astro._scatter import MAD_TO_SIGMA

_WHOLE = 1e-3
_UPSAMPLING = 50
HALF_WIDTH = 3
"""Pixels that the kernel reaches to each side."""
_BRIGHT = 10.0
_SYSTEMATIC = 0.02
_CLIP = 4.0
_ROUNDS = 4
_PIXELS_PER_UNKNOWN = 20
_MOST_PIXELS = 20_000


def find_places(offsets, exposures, compressed):
    """
    Find out where each exposure lies from the ``offsets`` of `~.training.label_exposures`.

    Parameters
    ----------
    offsets : None, ``'measure'``, ``'wcs'`` or array-like
        As there.
    exposures : sequence
        The exposures; those with ``'wcs'`` need a ``wcs``.
    compressed : list of ndarray
        The same as `measure_offsets` takes them.

    Returns
    -------
    places : list
        Of each exposure, as `align` takes it: rows and columns from the first, or its WCS.

    Raises
    ------
    ValueError
        If they are none of these, or a WCS is missing.
    """
    n = len(exposures)
    if offsets is None:
        return list(np.zeros((n, 2)))
    if isinstance(offsets, str):
        if offsets == "measure":
            return list(measure_offsets(compressed))
        if offsets != "wcs":
            raise ValueError(f"offsets must be None, 'measure', 'wcs' or an array, got {offsets!r}")
        places = [getattr(exposure, "wcs", None) for exposure in exposures]
        missing = [i for i, wcs in enumerate(places) if wcs is None]
        if missing:
            raise ValueError(f"offsets='wcs', but exposures {missing} have no WCS")
        return places
    offsets = np.asarray(offsets, dtype=float)
    if offsets.shape != (n, 2) or not np.isfinite(offsets).all():
        raise ValueError(
            f"offsets must be finite, a (dy, dx) per exposure: shape ({n}, 2), got {offsets.shape}"
        )
    return list(offsets)


def measure_offsets(images):
    """
    Measure how far each image lies from the first, from the stars in both.

    The peak of the cross-correlation of the compressed images, to a fiftieth
    of a pixel (Guizar-Sicairos, Thurman & Fienup 2008, Opt. Lett. 33, 156).

    Parameters
    ----------
    images : sequence of ndarray
        Compressed (`~cosmiq_astro.training._siblings.compress`), of one shape.

    Returns
    -------
    offsets : ndarray of shape (n, 2)
        Rows and columns by which what is seen in the first image is moved in
        each.
    """
    from skimage.registration import phase_cross_correlation

    settings = {"upsample_factor": _UPSAMPLING, "normalization": None}
    shifts = [phase_cross_correlation(images[0], image, **settings)[0] for image in images]
    # The function gives what would move the second image onto the first.
    return 0.0 - np.array(shifts)


def align(image, hidden, own, other):
    """
    Put an image on the grid of another exposure.

    Parameters
    ----------
    image : ndarray
        Finite, shape ``(ny, nx)``.
    hidden : ndarray of bool
        Pixels that are not to be used.
    own, other : ndarray of shape (2,) or `~astropy.wcs.WCS`
        Places of this exposure and of the other, from `find_places`.

    Returns
    -------
    aligned : ndarray of float32
        Shape ``(ny, nx)``.
    hidden : ndarray of bool
        Pixels that nothing, or a hidden pixel, contributed to.
    """
    if not isinstance(own, np.ndarray):
        from reproject import reproject_interp

        settings = {"shape_out": image.shape, "return_footprint": False}
        aligned = reproject_interp((image, own), other, order="bicubic", **settings)
        touched = reproject_interp((hidden.astype(float), own), other, **settings)
        return np.nan_to_num(aligned).astype(np.float32), ~(touched < 0.05)
    shift = other - own
    whole = np.abs(shift - np.rint(shift)).max() < _WHOLE
    order = 0 if whole else 3
    shift = np.rint(shift) if whole else shift
    aligned = ndimage.shift(image, shift, order=order, mode="nearest")
    touched = ndimage.shift(hidden.astype(np.float32), shift, order=min(order, 1), cval=1.0)
    return aligned.astype(np.float32), touched > 0.05


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
    # Not where the kernel reaches over the border, or over a pixel that may not be used.
    usable = ndimage.binary_erosion(good, np.ones((2 * HALF_WIDTH + 1,) * 2))
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
        scatter = MAD_TO_SIGMA * np.median(np.abs(residual[kept]))
        kept = np.abs(residual) < _CLIP * max(scatter, 1.0)
    kernel = solution[:-1].reshape((2 * HALF_WIDTH + 1,) * 2)
    matched = ndimage.correlate(light, kernel, mode="nearest") + solution[-1] + sky
    return matched, float((kernel**2).sum())


def _some(chosen):
    """Return the positions of at most so many of the pixels, spread evenly."""
    positions = np.flatnonzero(chosen)
    step = -(-positions.size // _MOST_PIXELS) or 1
    return np.unravel_index(positions[::step], chosen.shape)
