"""Effective PSFs of the transfer set, by what share of a star's light its peak pixel holds."""

from dataclasses import dataclass

import galsim
import numpy as np
from astropy.io import fits
from scipy.optimize import brentq
from scipy.signal import fftconvolve

__all__ = ["FAMILIES", "FINE", "Optics", "ground", "space", "trailed"]

FINE = 5  # samples per pixel, odd: a star on a pixel's centre has a sample there
_HALF = 60  # pixels to each side
_TINYTIM = ("f435w", "f555w", "f606w", "f775w", "f814w")
FAMILIES = ("tinytim", "optical", "cosmos")


@dataclass(frozen=True)
class Optics:
    """
    A PSF that includes the pixel, in units of a pixel.

    Attributes
    ----------
    profile : `galsim.GSObject`
        Of unit flux.
    fine : ndarray
        Share of the light in a pixel, by place in fifths of a pixel.
    """

    profile: galsim.GSObject
    fine: np.ndarray

    @property
    def peak(self):
        """Share of the light in the pixel that a star is centred on."""
        return float(self.fine.max())

    def stars(self, shape, y, x, flux, *, grid=None):
        """Return the image of stars at ``y``, ``x`` (pixels) of ``flux``, and of ``grid``."""
        grid = np.zeros([n * FINE for n in shape]) if grid is None else grid
        # Pixel k covers samples FINE k ... FINE k + 4: its centre is sample FINE k + 2.
        at = [np.rint(np.asarray(v) * FINE).astype(int) + FINE // 2 for v in (y, x)]
        inside = np.all([(a >= 0) & (a < n) for a, n in zip(at, grid.shape, strict=True)], axis=0)
        np.add.at(grid, tuple(a[inside] for a in at), np.asarray(flux)[inside])
        whole = fftconvolve(grid, self.fine, mode="same")
        return np.maximum(whole[FINE // 2 :: FINE, FINE // 2 :: FINE], 0)


def _optics(profile):
    n = 2 * _HALF * FINE + 1
    image = profile.drawImage(nx=n, ny=n, scale=1 / FINE, method="no_pixel").array
    return Optics(profile, np.maximum(image.astype(float), 0) * FINE**2)


def _centred(image):
    """Return a star's image as a profile of unit flux about its core."""
    image = galsim.Image(np.asarray(image, float), scale=1.0)
    offset = image.FindAdaptiveMom().moments_centroid - image.true_center
    return galsim.InterpolatedImage(image, x_interpolant="lanczos5", flux=1.0).shift(-offset)


def _drawn_peak(profile):
    image = profile.drawImage(nx=3, ny=3, scale=1 / FINE, method="no_pixel").array
    return float(image[1, 1]) * FINE**2


def _to_peak(make, peak, low, high):
    """Return ``make(x)`` with the wanted peak; or the nearer end if none has it."""
    ends = [_drawn_peak(make(v)) - peak for v in (low, high)]
    if ends[0] * ends[1] > 0:
        return make((low, high)[int(np.argmin(np.abs(ends)))])
    return make(brentq(lambda v: _drawn_peak(make(v)) - peak, low, high, xtol=1e-3))


def space(family, peak, data, rng, *, filters=_TINYTIM):
    """
    Return the optics of a space telescope with a given peak.

    Parameters
    ----------
    family : str
        ``'tinytim'``: TinyTim's ACS images with their charge diffusion,
        magnified or shrunk; ``'optical'``: an obscured, slightly aberrated
        aperture on pixels of .05 to .1 arcsec, with Gaussian charge diffusion;
        ``'cosmos'``: star images of the COSMOS survey, likewise magnified.
    peak : float or None
        Share of the light in the peak pixel; None for TinyTim's as they are.
    data : `~pathlib.Path`
        Folder of the star images.
    rng : `~numpy.random.Generator`
        Chooses filter, pixel, aberrations.
    filters : tuple of str
        TinyTim's.
    """
    pixel = galsim.Pixel(1.0)
    if family == "tinytim":
        path = data / "tinytim_acs_wfc" / f"acs_wfc_{rng.choice(filters)}.fits.gz"
        image, header = fits.getdata(path, header=True)
        rows = [line.split() for line in header["COMMENT"]]
        kernel = np.array([r for r in rows if len(r) == 3 and r[0].startswith("0.")], float)
        image = fftconvolve(image, kernel / kernel.sum(), mode="same")
        sampled = _centred(image)
        return _optics(sampled if peak is None else _to_peak(sampled.dilate, peak, 0.5, 2.0))
    if family == "cosmos":
        with fits.open(data / "cosmos_acs_f814w_psfs.fits.gz") as hdus:
            sampled = _centred(hdus[int(rng.integers(1, len(hdus)))].data)
        return _optics(
            _to_peak(lambda s: galsim.Convolve(sampled.dilate(s), pixel), peak, 0.15, 1.0)
        )
    scale = rng.uniform(0.05, 0.1) if peak > 0.25 else rng.uniform(0.04, 0.05)
    aberrations = [0, 0, 0, 0, *rng.normal(0, 0.02, 6), rng.normal(0, 0.01)]
    aperture = galsim.OpticalPSF(
        lam=float(rng.uniform(435, 814)),
        diam=2.4,
        obscuration=0.33,
        nstruts=4,
        strut_thick=0.02,
        strut_angle=float(rng.uniform(0, 90)) * galsim.degrees,
        aberrations=aberrations,
        scale_unit=galsim.arcsec,
    )
    aperture = galsim.InterpolatedImage(
        aperture.drawImage(nx=255, ny=255, scale=0.02, method="no_pixel"), flux=1.0
    ).dilate(1 / scale)
    return _optics(
        _to_peak(
            lambda s: galsim.Convolve(aperture, galsim.Gaussian(sigma=s), pixel), peak, 0.05, 1.5
        )
    )


def ground(fwhm, rng):
    """Return Kolmogorov or Moffat seeing of ``fwhm`` pixels, slightly elongated."""
    if rng.random() < 0.5:
        seeing = galsim.Kolmogorov(fwhm=fwhm)
    else:
        seeing = galsim.Moffat(beta=float(rng.uniform(2.5, 4.5)), fwhm=fwhm, trunc=12 * fwhm)
    seeing = seeing.shear(g=float(rng.uniform(0, 0.06)), beta=rng.uniform(0, 180) * galsim.degrees)
    return _optics(galsim.Convolve(seeing, galsim.Pixel(1.0)))


def trailed(optics, rng):
    """Return optics that drifted by 3 to 10 pixels while guiding was lost."""
    drift = galsim.Box(float(rng.uniform(3, 10)), 0.2)
    drift = drift.rotate(float(rng.uniform(0, 180)) * galsim.degrees)
    return _optics(galsim.Convolve(optics.profile, drift))
