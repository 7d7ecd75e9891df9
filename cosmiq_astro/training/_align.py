"""Repeated exposures on one grid: offsets measured, images shifted or reprojected."""

import numpy as np
from scipy import ndimage

__all__ = ["align", "measure_offsets", "read_offsets"]

_WHOLE = 1e-3
_UPSAMPLING = 50


def read_offsets(offsets, exposures):
    """
    Turn the ``offsets`` of `~cosmiq_astro.training.label_exposures` into numbers.

    Parameters
    ----------
    offsets : None, ``'measure'``, ``'wcs'`` or array-like
        As there.
    exposures : sequence
        The exposures; those with ``'wcs'`` need a ``wcs``.

    Returns
    -------
    offsets : ndarray of shape (n, 2) or None
        Rows and columns; None for ``'measure'`` and ``'wcs'``.

    Raises
    ------
    ValueError
        If they are none of these, or a WCS is missing.
    """
    n = len(exposures)
    if offsets is None:
        return np.zeros((n, 2))
    if isinstance(offsets, str):
        if offsets not in ("measure", "wcs"):
            raise ValueError(f"offsets must be None, 'measure', 'wcs' or an array, got {offsets!r}")
        if offsets == "wcs":
            missing = [i for i, e in enumerate(exposures) if getattr(e, "wcs", None) is None]
            if missing:
                raise ValueError(f"offsets='wcs', but exposures {missing} have no WCS")
        return None
    offsets = np.asarray(offsets, dtype=float)
    if offsets.shape != (n, 2) or not np.isfinite(offsets).all():
        raise ValueError(
            f"offsets must be finite, a (dy, dx) per exposure: shape ({n}, 2), got {offsets.shape}"
        )
    return offsets


def measure_offsets(images):
    """
    Measure how far each image lies from the first, from the stars in both.

    The peak of the cross-correlation of the compressed images, to a fiftieth
    of a pixel (Guizar-Sicairos, Thurman & Fienup 2008, Opt. Lett. 33, 156).

    Parameters
    ----------
    images : sequence of ndarray
        Sky-subtracted, in units of the noise, finite, of one shape.

    Returns
    -------
    offsets : ndarray of shape (n, 2)
        Rows and columns by which what is seen in the first image is moved in
        each.
    """
    from skimage.registration import phase_cross_correlation

    # A star must not count by its brightest pixel, nor a hit at all that is brighter yet.
    images = [np.arcsinh(np.maximum(image - 2, 0) / 10) for image in images]
    shifts = [
        phase_cross_correlation(images[0], image, upsample_factor=_UPSAMPLING, normalization=None)[
            0
        ]
        for image in images
    ]
    # The function gives what would move the second image onto the first.
    return 0.0 - np.array(shifts)


def align(image, hidden, *, shift=None, wcs=None):
    """
    Put an image on the grid of another exposure.

    Parameters
    ----------
    image : ndarray
        Finite, shape ``(ny, nx)``.
    hidden : ndarray of bool
        Pixels that are not to be used.
    shift : ndarray of shape (2,), optional
        Rows and columns to move the image by.
    wcs : tuple, optional
        WCS of this exposure and of the other, instead of a shift.

    Returns
    -------
    aligned : ndarray of float32
        Shape ``(ny, nx)``.
    hidden : ndarray of bool
        Pixels that nothing, or a hidden pixel, contributed to.
    """
    if wcs is not None:
        from reproject import reproject_interp

        own, other = wcs
        settings = {"shape_out": image.shape, "return_footprint": False}
        aligned = reproject_interp((image, own), other, order="bicubic", **settings)
        touched = reproject_interp((hidden.astype(float), own), other, **settings)
        aligned, hidden = np.nan_to_num(aligned), ~(touched < 0.05)
        return aligned.astype(np.float32), hidden
    whole = np.abs(shift - np.rint(shift)).max() < _WHOLE
    order = 0 if whole else 3
    shift = np.rint(shift) if whole else shift
    aligned = ndimage.shift(image, shift, order=order, mode="nearest")
    touched = ndimage.shift(hidden.astype(np.float32), shift, order=min(order, 1), cval=1.0)
    return aligned.astype(np.float32), touched > 0.05
