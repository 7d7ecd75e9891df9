"""One exposure with its truth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from astropy import units as u
from astropy.nddata import CCDData

from cosmiq_astro.simulate import effects
from cosmiq_astro.simulate.cosmic_rays import simulate_cosmic_rays
from cosmiq_astro.simulate.scenes import simulate_scene
from cosmiq_astro.simulate.truth import ExposureTruth

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from cosmiq_astro._types import Field
    from cosmiq_astro.simulate.psf import PSF

__all__ = ["expose", "simulate_exposure"]

_FULL_WELL = 84_700.0  # electrons, of ACS/WFC


def expose(
    rate: ArrayLike,
    exposure_time: float,
    charge: ArrayLike,
    *,
    seed: int | np.random.Generator | None = None,
    sky_rate: float = 0.06,
    readnoise: float = 4.5,
    gain: float = 2.0,
    full_well: float = _FULL_WELL,
    cte: float = 0.0,
    defects: bool = True,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """
    Expose a detector to a scene and to cosmic rays.

    Parameters
    ----------
    rate : array_like, shape (ny, nx)
        Rate of the sources, in electron / s.
    exposure_time : float
        Exposure time in seconds.
    charge : array_like, shape (ny, nx)
        Cosmic-ray charge, in electrons.
    seed : int or numpy.random.Generator, optional
        Seed; None draws a fresh one.
    sky_rate : float, optional
        Sky and dark current, in electron / s per pixel.
    readnoise : float, optional
        Read noise in electrons.
    gain : float, optional
        Electrons per digital step, by which the result is rounded.
    full_well : float, optional
        Full well in electrons.
    cte : float, optional
        Strength of the charge-transfer trails, as in `cte_trails`.
    defects : bool, optional
        Whether to add hot and warm pixels, flat-field residue and bias steps.

    Returns
    -------
    image : ndarray of float32
        The exposure in electrons.
    expected : ndarray of float32
        Expected charge without cosmic rays.
    charge : ndarray of float32
        Cosmic-ray charge in the image, never negative.
    """
    rng = np.random.default_rng(seed)
    rate = np.asarray(rate, np.float32) + np.float32(sky_rate)
    rate, _, bias = _defective(rate, rng) if defects else (rate, None, np.float32(0))
    source = rate * np.float32(exposure_time)
    settings = {"readnoise": readnoise, "gain": gain, "full_well": full_well, "cte": cte}
    return _read_out(source, charge, bias, rng, **settings)


def _defective(rate, rng) -> tuple[np.ndarray, Any, Any]:
    """Return the rate that pixels see, the dark current of hot and warm ones, and the bias left."""
    flat = effects.flat_residual(rate.shape, rng)
    dark = effects.hot_pixels(rate.shape, rng) + effects.warm_pixels(rate.shape, rng)
    return rate * flat + dark, dark, effects.bias_steps(rate.shape, rng)


def _read_out(source, charge, bias, rng, *, readnoise, gain, full_well, cte):
    """Return what `expose` returns, of the charge that sources and cosmic rays set free."""

    def detect(electrons):
        held = effects.apply_saturation(electrons, full_well=full_well)
        return effects.cte_trails(held, cte, full_well=full_well)

    expected = detect(source)
    charge = np.maximum(detect(source + np.asarray(charge, np.float32)) - expected, 0)
    expected += bias
    image = effects.add_noise(expected, readnoise, rng) + charge
    return np.rint(image / gain) * np.float32(gain), expected, charge


def simulate_exposure(
    shape: tuple[int, int] = (512, 512),
    exposure_time: float = 500.0,
    *,
    field: Field = "extragalactic",
    seed: int | np.random.Generator | None = None,
    psf: PSF | None = None,
    sky_rate: float = 0.06,
    readnoise: float = 4.5,
    gain: float = 2.0,
    cosmic_ray_rate: float = 1.0,
    cte: float = 0.0,
    density: float | None = None,
    brightness: float | None = None,
) -> tuple[CCDData, ExposureTruth]:
    """
    Simulate one exposure of a CCD like those of HST ACS/WFC, and its truth.

    Parameters
    ----------
    shape : tuple of int, optional
        Shape ``(ny, nx)``.
    exposure_time : float, optional
        Exposure time in seconds, > 0.
    field : {'extragalactic', 'globular', 'galaxy', 'nebula', 'blend'}, optional
        Kind of scene; see `simulate_scene`.
    seed : int or numpy.random.Generator, optional
        Seed; the same one gives the same bytes. None draws a fresh one.
    psf : PSF, optional
        Point-spread function; default ``hst_psf(606)``.
    sky_rate : float, optional
        Sky and dark current, in electron / s per pixel: about 0.01 in the blue
        to 0.5 under a bright Earth limb.
    readnoise : float, optional
        Read noise in electrons.
    gain : float, optional
        Electrons per digital step, by which the image is rounded.
    cosmic_ray_rate : float, optional
        Hits per square centimetre and second, as ``rate`` of `simulate_cosmic_rays`.
    cte : float, optional
        Strength of the charge-transfer trails, as in `cte_trails`.
    density, brightness : float, optional
        As in `simulate_scene`.

    Returns
    -------
    ccd : astropy.nddata.CCDData
        The exposure in electrons; ``meta`` holds EXPTIME, GAIN, RDNOISE,
        SATURATE and FIELD.
    truth : ExposureTruth
        What it is made of.

    Raises
    ------
    ValueError
        If ``exposure_time`` is not positive or ``field`` is unknown.

    Examples
    --------
    >>> from cosmiq_astro.simulate import moffat_psf, simulate_exposure
    >>> ccd, truth = simulate_exposure((64, 64), 1000.0, seed=3, psf=moffat_psf(1.8))
    >>> ccd.unit, ccd.meta["EXPTIME"], truth.label.dtype.name
    (Unit("electron"), 1000.0, 'bool')
    """
    if exposure_time <= 0:
        raise ValueError(f"exposure_time must be positive, got {exposure_time}")
    rng = np.random.default_rng(seed)
    scene = simulate_scene(shape, field, psf, seed=rng, density=density, brightness=brightness)
    hits = simulate_cosmic_rays(shape, exposure_time, seed=rng, rate=cosmic_ray_rate)
    rate, dark, bias = _defective(scene.rate + np.float32(sky_rate), rng)
    source = rate * np.float32(exposure_time)
    settings = {"readnoise": readnoise, "gain": gain, "full_well": _FULL_WELL, "cte": cte}
    image, expected, charge = _read_out(source, hits, bias, rng, **settings)
    meta = {
        "EXPTIME": float(exposure_time),
        "GAIN": float(gain),
        "RDNOISE": float(readnoise),
        "SATURATE": _FULL_WELL,
        "FIELD": field,
    }
    ccd = CCDData(image, unit=u.electron, meta=meta)
    truth = ExposureTruth.of(charge, expected, readnoise, scene.stars)
    return ccd, truth.without(dark > 0)
