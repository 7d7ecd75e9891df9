"""Cosmic rays in a silicon detector: energy loss along tracks, secondaries, charge diffusion."""

from __future__ import annotations

import numpy as np
from scipy.special import erf

from cosmiq_astro.simulate._particles import electron_walks, primary_tracks
from cosmiq_astro.simulate.footprints import Footprints

__all__ = ["cosmic_ray_footprints", "simulate_cosmic_rays"]

_FAINTEST = 0.5  # electrons: fainter pixels of a cloud are far below any read noise
_BLOCK = 20_000  # track points deposited at a time
# Spread of charge, fitted to hits in STIS frames: the share of the silicon that is free of field,
# and the widths at the wells and of a halo, in units of ``diffusion``, with the halo's share
_FREE, _AT_WELLS = 0.58, 0.32
_HALO, _HALO_SHARE = 2.3, 0.045


def simulate_cosmic_rays(
    shape: tuple[int, int],
    exposure_time: float,
    *,
    seed: int | np.random.Generator | None = None,
    rate: float = 1.5,
    pixel_size: float = 15.0,
    thickness: float = 14.0,
    diffusion: float = 6.0,
    electron_fraction: float = 0.19,
) -> np.ndarray:
    """
    Charge that cosmic rays leave in one exposure.

    Parameters
    ----------
    shape : tuple of int
        Shape ``(ny, nx)`` of the image.
    exposure_time : float
        Exposure time in seconds, >= 0.
    seed : int or numpy.random.Generator, optional
        Seed; None draws a fresh one.
    rate : float, optional
        Hits per square centimetre and second, those of secondary particles
        included: 1.4-1.9 in masks of HST's darks in low orbit, where one is due
        to primaries; up to 1,100 in the South Atlantic Anomaly [1]_.
    pixel_size, thickness, diffusion, electron_fraction : float, optional
        As in `cosmic_ray_footprints`.

    Returns
    -------
    ndarray of float32
        Charge in electrons, without noise.

    Raises
    ------
    ValueError
        If ``exposure_time`` or ``rate`` is negative.

    References
    ----------
    .. [1] Miles, N. D., Deustua, S. E., Tancredi, G., et al. 2021, ApJ 918, 86.

    Examples
    --------
    >>> from cosmiq_astro.simulate import simulate_cosmic_rays
    >>> charge = simulate_cosmic_rays((512, 512), 1000, seed=1)
    >>> 0.01 < float((charge > 15).mean()) < 0.04
    True
    """
    if exposure_time < 0 or rate < 0:
        raise ValueError(
            f"exposure_time and rate must not be negative, got {exposure_time} and {rate}"
        )
    rng = np.random.default_rng(seed)
    area = shape[0] * shape[1] * (pixel_size * 1e-4) ** 2
    n = rng.poisson(rate * area * exposure_time)
    library = cosmic_ray_footprints(
        n,
        seed=rng,
        pixel_size=pixel_size,
        thickness=thickness,
        diffusion=diffusion,
        electron_fraction=electron_fraction,
    )
    return library.scatter(shape, rng)


def cosmic_ray_footprints(
    n: int,
    *,
    seed: int | np.random.Generator | None = None,
    pixel_size: float = 15.0,
    thickness: float = 14.0,
    diffusion: float = 6.0,
    electron_fraction: float = 0.19,
) -> Footprints:
    """
    Simulate a library of hits.

    Parameters
    ----------
    n : int
        Number of hits.
    seed : int or numpy.random.Generator, optional
        Seed; None draws a fresh one.
    pixel_size : float, optional
        Side of a pixel, in micrometres.
    thickness : float, optional
        Thickness of the sensitive silicon, in micrometres: 14 for thinned CCDs
        such as those of ACS, 100-300 for thick ones, whose hits are long.
    diffusion : float, optional
        Standard deviation of the spread of charge that is set free at the
        illuminated surface, in micrometres, > 0; raise it for fatter hits. Real
        cameras span 2 (fully depleted) to 13; STIS has 8.5.
    electron_fraction : float, optional
        Share of hits by electrons that photons set free in the silicon: short
        ones of one or two pixels, and a few that wander.

    Returns
    -------
    Footprints
        The hits, with pixels below 0.5 electrons left out.

    Raises
    ------
    ValueError
        If a size is not positive or ``electron_fraction`` is not in [0, 1].

    Notes
    -----
    Primaries come isotropically (a cosine law through the surface): protons, more
    than half of them of 534 +/- 117 MeV [1]_, 6 % slowed by the spacecraft, the
    rest up to 20 GeV; one in twenty is helium, one in a thousand heavier.
    Their energy loss follows the most probable value and width measured for
    thin silicon [2]_, scaled by stopping power, with knock-on electrons drawn
    from their 1/T^2 spectrum [3]_. Electrons are followed with multiple
    scattering [3]_ until they stop or leave; those of photons are born at any
    depth in any direction, with a spectrum 1/E from 0.2 to 700 keV. Charge is
    set free at 3.65 eV per electron, of which 71 % are collected. It spreads in
    the field-free layer, 58 % of the thickness, in proportion to the distance it
    has to cross [4]_, from ``diffusion`` at the illuminated surface down to 0.32
    of it at the wells; 4.5 % of it lies in a halo of 2.3 ``diffusion``. The share
    collected, that of the electrons, and the four numbers of the spread are
    fitted to sizes and charges of hits in dark-subtracted STIS frames.

    References
    ----------
    .. [1] Miles, N. D., Deustua, S. E., Tancredi, G., et al. 2021, ApJ 918, 86.
    .. [2] Bichsel, H. 1988, Rev. Mod. Phys. 60, 663.
    .. [3] Particle Data Group, Workman, R. L., et al. 2022, PTEP 2022, 083C01,
       ch. 34: energetic knock-on electrons, multiple scattering.
    .. [4] Janesick, J. R. 2001, Scientific Charge-Coupled Devices, ch. 4.

    Examples
    --------
    >>> import numpy as np
    >>> from cosmiq_astro.simulate import cosmic_ray_footprints
    >>> hits = cosmic_ray_footprints(2000, seed=3)
    >>> 800 < float(np.median(hits.total_charge)) < 2500
    True
    """
    sizes = {"pixel_size": pixel_size, "thickness": thickness, "diffusion": diffusion}
    for name, value in sizes.items():
        if value <= 0:
            raise ValueError(f"{name} must be positive, in micrometres, got {value}")
    if not 0 <= electron_fraction <= 1:
        raise ValueError(f"electron_fraction must be in [0, 1], got {electron_fraction}")
    rng = np.random.default_rng(seed)
    n_electrons = rng.binomial(n, electron_fraction)
    n_nuclei = n - n_electrons
    tracks, knock_on = primary_tracks(n_nuclei, rng, thickness)
    walks = electron_walks(knock_on, n_electrons, n_nuclei, rng, thickness)
    hit, x, y, z, charge = (np.concatenate(pair) for pair in zip(tracks, walks, strict=True))
    order, phase = rng.permutation(n), rng.random((2, n))
    x, y = x / pixel_size + phase[0, hit], y / pixel_size + phase[1, hit]
    free = np.clip(1 - z / (_FREE * thickness), 0, 1)  # share of the field-free layer to cross
    sigma = np.hypot(_AT_WELLS, np.sqrt(1 - _AT_WELLS**2) * free) * diffusion / pixel_size
    core = order[hit], x, y, (1 - _HALO_SHARE) * charge
    halo = _per_pixel(order[hit], x, y, _HALO_SHARE * charge)
    wide = np.full_like(halo[3], _HALO * diffusion / pixel_size)
    return _deposit((*core, sigma), (*halo, wide))


def _per_pixel(hit, x, y, charge):
    """Unite the points of a hit that lie in one pixel: wide clouds do not show the difference."""
    key = np.stack([hit, np.floor(y).astype(np.int64), np.floor(x).astype(np.int64)])
    key, inverse = np.unique(key, axis=1, return_inverse=True)
    total, mean_x, mean_y = (
        np.bincount(inverse.ravel(), charge * weight) for weight in (np.ones_like(x), x, y)
    )
    return key[0], mean_x / total, mean_y / total, total


def _deposit(*clouds):
    """Integrate clouds ``(hit, x, y, charge, sigma)``, lengths in pixels, over pixels."""
    parts = []
    for cloud in clouds:
        narrow_first = np.argsort(cloud[4])  # a block reaches as far as its widest cloud
        for start in range(0, narrow_first.size, _BLOCK):
            block = narrow_first[start : start + _BLOCK]
            parts.append(_over_pixels(*(column[block] for column in cloud)))
    if not parts:
        return Footprints.from_pixels([], [], [], [])
    hits = Footprints.from_pixels(*(np.concatenate(column) for column in zip(*parts, strict=True)))
    return hits.brighter_than(_FAINTEST)


def _over_pixels(hit, x, y, charge, sigma):
    """Integrate Gaussian clouds over the pixels around them: hit, y, x, charge of each pixel."""
    reach = int(np.ceil(4 * sigma.max()))
    edges = np.arange(-reach, reach + 2)
    iy, ix = np.floor(y).astype(np.int64), np.floor(x).astype(np.int64)
    share_y, share_x = (
        np.diff(0.5 * erf((i[:, None] + edges - v[:, None]) / (np.sqrt(2) * sigma[:, None])))
        for i, v in ((iy, y), (ix, x))
    )
    cloud = charge[:, None, None] * share_y[:, :, None] * share_x[:, None, :]
    point, row, column = np.nonzero(cloud > 0.02)
    return (
        hit[point],
        iy[point] + row - reach,
        ix[point] + column - reach,
        cloud[point, row, column],
    )
