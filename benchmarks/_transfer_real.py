"""Real pixels as backgrounds of the transfer set: HRC, SAAO, DECam, their own hits set aside."""

import warnings
from dataclasses import dataclass

import numpy as np
from astropy.io import fits
from scipy import fft, ndimage

__all__ = ["Background", "decam", "hrc", "saao"]

_SQUARE = np.ones((3, 3), bool)


@dataclass(frozen=True)
class Background:
    """
    A real exposure, electron.

    Attributes
    ----------
    image : ndarray
        The pixels, noise included.
    noise : ndarray
        Standard deviation of a pixel.
    ignore : ndarray of bool
        The exposure's own hits, saturated pixels, and where it could not be compared.
    y, x : ndarray of int
        Stars' central pixels.
    readnoise, seconds : float
        Electron; exposure time.
    """

    image: np.ndarray
    noise: np.ndarray
    ignore: np.ndarray
    y: np.ndarray
    x: np.ndarray
    readnoise: float
    seconds: float


def _spread(image):
    return 1.4826 * np.median(np.abs(image - np.median(image)))


def _shift(first, second):
    """Return by how many pixels ``second`` must be moved to lie on ``first``, to a tenth."""
    a, b = (np.arcsinh((v - np.median(v)) / (3 * _spread(v))) for v in (first, second))
    peak = fft.irfft2(fft.rfft2(a) * np.conj(fft.rfft2(b)), a.shape)
    at = np.unravel_index(peak.argmax(), peak.shape)
    shift = []
    for axis, (k, n) in enumerate(zip(at, peak.shape, strict=True)):
        line = np.take(peak, [k - 1, k, k + 1], axis=axis, mode="wrap")
        low, top, high = np.take(line, at[1 - axis], axis=1 - axis)
        part = 0.5 * (low - high) / (low - 2 * top + high)
        shift.append((k + n // 2) % n - n // 2 + part)
    return shift


def _of_stack(images, readnoise, sky, saturation, seconds):
    """Return each exposure with what the others do not show set aside."""
    parts = []
    for i, image in enumerate(images):
        others = []
        for other in images[:i] + images[i + 1 :]:
            shift = _shift(image, other)
            moved = ndimage.shift(other - np.median(other), shift, order=1, cval=np.nan)
            others.append(moved)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # corners that no other covers
            template = np.nanmedian(others, axis=0)
        covered = np.isfinite(others).sum(axis=0) >= 3
        rest = image - np.median(image)
        noise = np.sqrt(np.maximum(rest, 0) + sky + readnoise**2)
        highest = ndimage.maximum_filter(np.nan_to_num(template), 3)
        own = rest - 1.3 * np.maximum(highest, 0) > 5 * noise
        full = ndimage.binary_dilation(image > saturation, _SQUARE, 8)
        ignore = ndimage.binary_dilation(own, _SQUARE, 2) | full | ~covered
        smooth = ndimage.gaussian_filter(np.nan_to_num(template), 1)
        top = (smooth == ndimage.maximum_filter(smooth, 7)) & (smooth > 10 * noise) & ~ignore
        parts.append(Background(image, noise, ignore, *np.nonzero(top), float(readnoise), seconds))
    return parts


def saao(data):
    """Return five exposures of a crowded bulge field from the ground."""
    images = [
        fits.getdata(data / f"saao_ste3_bulge_{k:04d}.fits.gz").astype(np.float32) * 1.9
        for k in range(82, 87)
    ]
    sky = float(np.median(images[0]))
    return _of_stack(images, 5.0, sky, 60_000 * 1.9, 300.0)


def decam(data):
    """Return five sky-subtracted exposures, electron."""
    images, noises = [], []
    with fits.open(data / "decam_obs04_i.fits.gz") as hdus:
        for hdu in hdus[1:]:
            images.append(np.nan_to_num(hdu.data.astype(np.float32)) * hdu.header["GAIN"])
            noises.append(hdu.header["RDNOISE"] * hdu.header["GAIN"])
            limit = 0.8 * hdu.header["SATURATE"] * hdu.header["GAIN"]
    readnoise = hdus[1].header["RDNOISE"]
    sky = max(np.mean([_spread(v) for v in images]) ** 2 - readnoise**2, 0)
    return _of_stack(images, readnoise, sky, limit, 330.0)


def hrc(data):
    """
    Return two HRC exposures of 47 Tucanae, electron.

    They do not overlap; their own hits are what is sharper than these
    well-sampled optics: pixels above three times the mean of their neighbours.
    """
    parts = []
    for root in ("j8bt05njq", "j8bt06o6q"):
        raw = fits.getdata(data / f"acs_hrc_{root}_raw.fits.gz", "SCI")[:1024, 19:1043]
        image = (raw.astype(np.float32) - 1135) * 2
        noise = np.sqrt(np.maximum(image, 0) + 4.7**2)
        light = image - ndimage.percentile_filter(image, 20, 9)
        around = (9 * ndimage.uniform_filter(light, 3) - light) / 8
        own = (light > 6 * noise) & (light > 3 * around)
        full = ndimage.binary_dilation(image > 120_000, _SQUARE, 8)
        ignore = ndimage.binary_dilation(own, _SQUARE, 2) | full
        smooth = ndimage.gaussian_filter(image, 0.7)
        top = (smooth == ndimage.maximum_filter(smooth, 5)) & (smooth > 15 * noise) & ~ignore
        parts.append(Background(image, noise, ignore, *np.nonzero(top), 4.7, 60.0))
    return parts
