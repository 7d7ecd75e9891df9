"""Skies of the transfer set: light in electron per second and pixel, before any noise."""

import numpy as np
from _transfer_optics import FINE
from astropy.io import fits
from astropy.table import Table
from scipy.ndimage import gaussian_filter, rotate, zoom

__all__ = ["Galaxies", "disc", "empty_field", "globular"]

_ZEROPOINT = 26.5  # AB magnitude of one electron per second, ACS F606W
_GALAXIES_PER_PIXEL = 3.5e-4  # about 500 per square arcmin to the survey's depth
_STAMP_SCALE = 0.35  # pixels to a pixel of the stamps: shrunk, as they hold their own PSF


class Galaxies:
    """Shapes and fluxes of galaxies: a survey's catalogue, and real stamps."""

    def __init__(self, data):
        rows = Table.read(data / "cosmos2020_sample.fits.gz")
        flux = np.asarray(rows["HSC_r_FLUX_AUTO"], float)
        major, minor = (np.asarray(rows[f"ACS_{c}_WORLD"], float) for c in "AB")
        good = np.isfinite(flux + major + minor) & (flux > 0.02) & (minor > 0)
        self._flux = 10 ** (0.4 * (_ZEROPOINT - 23.9)) * flux[good]
        self._size = major[good] * 3600 / 0.05  # pixels
        self._axes = minor[good] / major[good]
        with fits.open(data / "cosmos_acs_f814w_galaxies.fits.gz") as hdus:
            images = [np.asarray(hdu.data, float) for hdu in hdus]
        self._stamps = sorted(images, key=lambda v: -v.sum())[:40]

    def light(self, shape, rng, *, density=1.0, real=0.4):
        """Return a field of galaxies at `FINE` samples per pixel; ``real`` of them are stamps."""
        grid = np.zeros([n * FINE for n in shape])
        for _ in range(rng.poisson(density * _GALAXIES_PER_PIXEL * shape[0] * shape[1])):
            k = rng.integers(self._flux.size)
            turn = rng.uniform(0, 2 * np.pi)
            flux = self._flux[k]
            if rng.random() < real:
                flux *= rng.lognormal(0.8, 0.8)
                stamp = self._stamps[rng.integers(len(self._stamps))]
                stamp = zoom(rotate(stamp, np.degrees(turn), order=1), _STAMP_SCALE * FINE, order=1)
            else:
                size = np.clip(1.2 * self._size[k], 0.5, 15) * FINE
                n = rng.choice((1.0, 1.0, 1.5, 2.5, 4.0))
                stamp = _sersic(n, size, np.clip(self._axes[k], 0.2, 1), turn)
            _add(grid, np.maximum(stamp, 0) * (flux / stamp.sum()), rng.integers(0, grid.shape))
        return grid


def _sersic(n, size, axes, turn):
    """Return the profile of index ``n`` and half-light radius ``size`` on a stamp."""
    half = int(min(8 * size, 400))
    y, x = np.mgrid[-half : half + 1, -half : half + 1] + 0.0
    u = x * np.cos(turn) + y * np.sin(turn)
    v = (y * np.cos(turn) - x * np.sin(turn)) / axes
    return np.exp(-(2 * n - 0.33) * (np.hypot(np.hypot(u, v), 0.7) / size) ** (1 / n))


def _add(grid, stamp, at):
    """Add a stamp to a grid, centred on ``at``, as far as it lies inside."""
    to, cut = [], []
    for n, m, a in zip(grid.shape, stamp.shape, at, strict=True):
        low = a - m // 2
        to.append(slice(max(low, 0), min(low + m, n)))
        cut.append(slice(to[-1].start - low, to[-1].stop - low))
    grid[tuple(to)] += stamp[tuple(cut)]


def _power_law(n, slope, low, high, rng):
    """Return ``n`` fluxes of density flux ** -slope between ``low`` and ``high``."""
    power = 1 - slope
    return (low**power + rng.random(n) * (high**power - low**power)) ** (1 / power)


def empty_field(shape, optics, galaxies, rng, *, density=1.0):
    """Return galaxies and a few stars, with the stars' places and fluxes."""
    n = rng.poisson(density * rng.uniform(0.5e-4, 4e-4) * shape[0] * shape[1])
    y, x = (rng.uniform(0, s, n) for s in shape)
    flux = _power_law(n, 1.5, 0.3, 3000, rng)
    grid = galaxies.light(shape, rng, density=density)
    return optics.stars(shape, y, x, flux, grid=grid), (y, x, flux)


def globular(shape, optics, rng, *, density=1.0):
    """Return a crowded cluster, denser to one side, with its stars."""
    n = rng.poisson(density * rng.uniform(0.004, 0.015) * shape[0] * shape[1])
    core = rng.uniform(0.2, 1.2) * shape[0]
    centre = rng.uniform(-0.3, 1.3, 2) * shape
    y, x = (rng.uniform(0, s, 6 * n) for s in shape)
    weight = 1 / (1 + ((y - centre[0]) ** 2 + (x - centre[1]) ** 2) / core**2)
    chosen = rng.choice(6 * n, n, replace=False, p=weight / weight.sum())
    y, x = y[chosen], x[chosen]
    flux = _power_law(n, rng.uniform(1.5, 1.8), 0.05, 1000, rng)
    return optics.stars(shape, y, x, flux), (y, x, flux)


def _texture(shape, scale, rng):
    """Return smooth noise of unit spread; ``scale`` in pixels, per axis."""
    field = gaussian_filter(rng.normal(size=shape), scale, mode="wrap")
    return field / field.std()


def disc(shape, optics, rng, *, density=1.0):
    """
    Return part of a resolved spiral galaxy, with its brightest stars.

    Smooth light with arms and dust, stars down to where they blend, and
    clusters: swarms of stars spread over 0.3 to 4 pixels.
    """
    area = shape[0] * shape[1]
    y, x = np.mgrid[: shape[0], : shape[1]] / shape[0]
    level = 10 ** rng.uniform(-1.3, 0.2)  # electron per second and pixel
    slope, turn = rng.uniform(0, 2.5), rng.uniform(0, 2 * np.pi)
    smooth = level * np.exp(-slope * (np.cos(turn) * x + np.sin(turn) * y))
    dust = rotate(_texture([2 * n for n in shape], (3, 14), rng), rng.uniform(0, 180), order=1)
    cut = [(n - m) // 2 for n, m in zip(dust.shape, shape, strict=True)]
    dust = dust[cut[0] : cut[0] + shape[0], cut[1] : cut[1] + shape[1]]
    smooth = smooth * np.exp(0.5 * _texture(shape, 40, rng) - 0.5 * np.clip(dust - 1, 0, None))
    cells = smooth[::4, ::4]

    def scatter(n):
        cell = rng.choice(cells.size, n, p=cells.ravel() / cells.sum())
        return [4 * k + rng.uniform(0, 4, n) for k in np.divmod(cell, cells.shape[1])]

    n = rng.poisson(density * 10 ** rng.uniform(-1.8, -0.8) * area)
    faintest = 10 ** rng.uniform(-1.5, -0.8)
    flux = _power_law(n, rng.uniform(1.9, 2.5), faintest, 300, rng)
    sy, sx = scatter(n)
    n = rng.poisson(10 ** rng.uniform(-4.0, -3.0) * area)
    total, size = _power_law(n, 1.7, 3, 500, rng), rng.choice((0.3, 0.6, 1.2, 4.0), n)
    swarm = [np.repeat(v, 60) for v in (*scatter(n), size, total / 60)]
    cy, cx = (v + swarm[2] * rng.normal(size=v.size) for v in swarm[:2])
    light = swarm[3] * rng.exponential(size=swarm[3].size)
    image = optics.stars(shape, np.append(sy, cy), np.append(sx, cx), np.append(flux, light))
    return image + smooth, (sy, sx, flux)
