"""Point-spread functions of Hubble, of other telescopes, and from images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import fft, ndimage

from cosmiq_astro.simulate.psf import PSF

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = ["hst_psf", "moffat_psf", "psf_from_image"]

_OVERSAMPLING = 8
_BANDWIDTH = 0.25  # full width of the filter over its wavelength: smears the rings
_POLISH = 0.016  # waves at 547 nm in each set of polishing marks: sets the wings to TinyTim's


def _normalised(grid, oversampling):
    """Scale so that each phase sums to 1 on average."""
    grid = np.maximum(grid, 0).astype(np.float64)
    return PSF((grid * (oversampling**2 / grid.sum())).astype(np.float32), oversampling)


def _pupil(n, diameter, *, obscuration, strut, angle):
    """Pupil of a reflector with four struts, edges softened, (n, n), and its coordinates."""
    axis = (np.arange(n) - n // 2) * (2.0 / diameter)
    y, x = axis[:, None], axis[None, :]
    r = np.hypot(y, x)
    soft = 0.5 * diameter
    pupil = np.clip((1 - r) * soft + 0.5, 0, 1) * np.clip((r - obscuration) * soft + 0.5, 0, 1)
    for u in (np.cos(angle) * y - np.sin(angle) * x, np.cos(angle) * x + np.sin(angle) * y):
        pupil = pupil * np.clip((np.abs(u) - strut / 2) * soft + 0.5, 0, 1)
    return pupil.astype(np.float32), y, x, r


def hst_psf(
    wavelength: float,
    *,
    pixel_scale: float = 0.05,
    defocus: float = 0.02,
    astigmatism: float = 0.02,
    coma: float = 0.01,
    jitter: float = 0.006,
    charge_diffusion: float = 0.38,
    spike_angle: float = 0.0,
    radius: int = 80,
) -> PSF:
    """
    Point-spread function of a 2.4 m telescope with Hubble's obscuration and struts.

    Parameters
    ----------
    wavelength : float
        Effective wavelength, in nm (435, 606, 814 for F435W, F606W, F814W).
    pixel_scale : float, optional
        Pixel size, in arcsec (ACS/WFC 0.05, ACS/HRC 0.027).
    defocus, astigmatism, coma : float, optional
        RMS wavefront error of each term, in waves at 547 nm. Breathing moves
        the defocus of Hubble by a few hundredths of a wave.
    jitter : float, optional
        Standard deviation of the pointing, in arcsec.
    charge_diffusion : float, optional
        Standard deviation of the diffusion between pixels, in pixels: about
        0.44 for ACS/WFC in F814W by the kernel that goes with TinyTim, and
        more in the blue, which is absorbed far from the wells.
    spike_angle : float, optional
        Direction of the first of four diffraction spikes in radians, from x towards y: near 0 for
        ACS, near π / 4 for WFC3/UVIS, WFPC2 and STIS.
    radius : int, optional
        Largest stamp radius, in pixels. Lower it for speed where no star is
        bright enough to show its diffraction spikes.

    Returns
    -------
    PSF
        The PSF convolved with jitter, charge diffusion and the pixel.

    Notes
    -----
    Concentric polishing marks of the mirrors add light to the wings. The
    intensity is the squared Fourier transform of the pupil [1]_, summed
    over five wavelengths in the band.

    References
    ----------
    .. [1] Goodman, J. W. 2005, Introduction to Fourier Optics, 3rd ed.,
       ch. 6; obscuration and struts of HST after Krist, J. E., Hook, R. N., &
       Stoehr, F. 2011, Proc. SPIE 8127, 81270J.

    Examples
    --------
    >>> from cosmiq_astro.simulate import hst_psf
    >>> psf = hst_psf(814, radius=24)
    >>> image = psf.render((64, 64), [31.5], [32.0], [1000.0])
    >>> round(float(image.sum()), -1)
    1000.0
    """
    s = _OVERSAMPLING
    n = fft.next_fast_len(2 * s * (radius + 2), real=True)
    step = np.deg2rad(pixel_scale / 3600) / s
    intensity = np.zeros((n, n), np.float32)
    for colour in wavelength * 1e-9 * (1 + _BANDWIDTH * np.linspace(-0.4, 0.4, 5)):
        diameter = 2.4 * n * step / colour  # grid points across the aperture
        pupil, y, x, r = _pupil(n, diameter, obscuration=0.33, strut=0.022, angle=spike_angle)
        waves = (547e-9 / colour) * (
            defocus * np.sqrt(3) * (2 * r**2 - 1)
            + astigmatism * np.sqrt(6) * (x**2 - y**2)
            + coma * np.sqrt(8) * (3 * r**2 - 2) * x
            + _POLISH * sum(np.cos(2 * np.pi * cycles * r) for cycles in (4, 7, 11, 17))
        )
        field_ = pupil * np.exp(2j * np.pi * waves.astype(np.float32))
        intensity += np.abs(fft.fft2(field_.astype(np.complex64))) ** 2
    fy, fx = fft.fftfreq(n)[:, None], fft.rfftfreq(n)[None, :]
    sigma = s * np.hypot(charge_diffusion, jitter / pixel_scale)
    transfer = (
        np.exp(-2 * (np.pi * sigma) ** 2 * (fy**2 + fx**2)) * np.sinc(fy * s) * np.sinc(fx * s)
    )
    blurred = fft.irfft2(fft.rfft2(intensity) * transfer.astype(np.float32), (n, n))
    centred = fft.fftshift(blurred)
    half = s * (radius + 1)
    middle = slice(n // 2 - half, n // 2 + half + 1)
    return _normalised(centred[middle, middle], s)


def moffat_psf(
    fwhm: float,
    *,
    beta: float = 3.0,
    ellipticity: float = 0.0,
    angle: float = 0.0,
    radius: int | None = None,
) -> PSF:
    """
    Moffat profile, for ground-based images and other sampling.

    Parameters
    ----------
    fwhm : float
        Full width at half maximum before the pixel, in pixels, > 0.5.
    beta : float, optional
        Power of the wings, > 1: about 2.5-4 for seeing [1]_; above 10 nearly a
        Gaussian.
    ellipticity : float, optional
        ``1 - b/a`` of the profile, in [0, 0.8].
    angle : float, optional
        Direction of the major axis in radians, from x towards y.
    radius : int, optional
        Largest stamp radius in pixels; default: 12 times the FWHM, at least 16.

    Returns
    -------
    PSF
        The profile convolved with the pixel.

    Raises
    ------
    ValueError
        If ``fwhm`` or ``beta`` is out of range.

    References
    ----------
    .. [1] Trujillo, I., et al. 2001, MNRAS 328, 977.

    Examples
    --------
    >>> from cosmiq_astro.simulate import moffat_psf
    >>> 3.0 < moffat_psf(3.0).fwhm < 3.3
    True
    """
    if fwhm <= 0.5:
        raise ValueError(f"fwhm must exceed 0.5 pixels, got {fwhm}")
    if beta <= 1:
        raise ValueError(f"beta must exceed 1 for a finite flux, got {beta}")
    s = _OVERSAMPLING
    radius = radius or min(max(16, int(12 * fwhm)), 64)
    axis = np.arange(-s * (radius + 1), s * (radius + 1) + 1) / s
    y, x = axis[:, None], axis[None, :]
    major = x * np.cos(angle) + y * np.sin(angle)
    minor = (y * np.cos(angle) - x * np.sin(angle)) / (1 - ellipticity)
    alpha = fwhm / (2 * np.sqrt(2 ** (1 / beta) - 1))
    profile = (1 + (major**2 + minor**2) / alpha**2) ** -beta
    return _normalised(_box(profile, s), s)


def _box(profile, width):
    """Convolve with a square pixel ``width`` points wide (even widths stay centred)."""
    kernel = np.full(width + 1, 1.0 / width)
    kernel[[0, -1]] /= 2
    for axis in (0, 1):
        profile = ndimage.convolve1d(profile, kernel, axis=axis, mode="constant")
    return profile


def psf_from_image(
    image: ArrayLike,
    pixel_scale_in: float,
    *,
    pixel_scale: float = 0.05,
    charge_diffusion: float = 0.0,
) -> PSF:
    """
    Turn an image of a point source into a PSF.

    Parameters
    ----------
    image : array_like, shape (ny, nx)
        The PSF, integrated over pixels of ``pixel_scale_in``, centred near the
        middle. TinyTim's output serves; the finer it is sampled the better,
        as values between its pixels come from cubic splines.
    pixel_scale_in, pixel_scale : float
        Pixel size of ``image`` and of the detector, in the same unit.
    charge_diffusion : float, optional
        Standard deviation of the diffusion, in detector pixels. TinyTim leaves
        it out of its subsampled PSFs.

    Returns
    -------
    PSF
        The PSF, centred on its centroid and convolved with diffusion and with
        what the pixel adds to ``pixel_scale_in``.

    Examples
    --------
    >>> import numpy as np
    >>> from cosmiq_astro.simulate import psf_from_image
    >>> axis = np.arange(-40, 41)
    >>> image = np.exp(-0.5 * np.hypot.outer(axis, axis) ** 2 / 4**2)
    >>> psf = psf_from_image(image, 0.0125, pixel_scale=0.05)
    >>> 2.3 < psf.fwhm < 2.7
    True
    """
    image = np.asarray(image, np.float64)
    s = _OVERSAMPLING
    scale = pixel_scale / pixel_scale_in
    radius = int((min(image.shape) // 2 - 1) / scale) - 1
    peak = np.unravel_index(ndimage.gaussian_filter(image, scale).argmax(), image.shape)
    window = tuple(slice(max(p - int(4 * scale), 0), p + int(4 * scale) + 1) for p in peak)
    centre = np.add(ndimage.center_of_mass(image[window]), [w.start for w in window])
    offsets = np.arange(-s * (radius + 1), s * (radius + 1) + 1) * (scale / s)
    grid = ndimage.map_coordinates(
        image, np.meshgrid(centre[0] + offsets, centre[1] + offsets, indexing="ij"), order=3
    )
    width = s * np.sqrt(max(1 - 1 / scale**2, 0))
    grid = _box(grid, round(width)) if width >= 1 else grid
    return _normalised(ndimage.gaussian_filter(grid, charge_diffusion * s), s)
