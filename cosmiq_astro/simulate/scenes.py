"""Scenes before the detector: stars, galaxies, clusters, nebulae and trails."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from astropy.table import Table

from cosmiq_astro.simulate import _fields
from cosmiq_astro.simulate._fields import Canvas
from cosmiq_astro.simulate.optics import hst_psf

if TYPE_CHECKING:
    from cosmiq_astro._types import Field
    from cosmiq_astro.simulate.psf import PSF

__all__ = ["FIELDS", "Scene", "Sources", "draw_sources", "simulate_scene"]

#: Names of the fields that `simulate_scene` knows.
FIELDS = ("extragalactic", "globular", "galaxy", "nebula", "blend")


@dataclass(frozen=True, eq=False)
class Scene:
    """
    What the sky sends, seen through the optics.

    Attributes
    ----------
    rate : ndarray of float32, shape (ny, nx)
        Noise-free rate of the sources in electron / s per pixel, convolved
        with the PSF and the pixel; without the sky.
    stars : astropy.table.Table
        Stars drawn one by one: ``x``, ``y`` (pixels, from 0) and ``flux``
        (electron / s). The faint stars of a resolved galaxy are not listed.
    """

    rate: np.ndarray
    stars: Table

    def __repr__(self):
        ny, nx = self.rate.shape
        return f"<Scene: {ny} x {nx} pixels, {len(self.stars):,} stars>"


def simulate_scene(
    shape: tuple[int, int],
    field: Field = "extragalactic",
    psf: PSF | None = None,
    *,
    seed: int | np.random.Generator | None = None,
    density: float | None = None,
    brightness: float | None = None,
    galaxies: Table | Mapping | None = None,
    n_trails: int = 0,
) -> Scene:
    """
    Draw a random scene.

    Parameters
    ----------
    shape : tuple of int
        Shape ``(ny, nx)``; up to about 1024 on a side, as memory grows by 16
        points per pixel.
    field : {'extragalactic', 'globular', 'galaxy', 'nebula', 'blend'}, optional
        Galaxies and a few stars; a globular cluster; a nearby galaxy resolved
        into stars; a nebula with stars; or a mixture of two of these.
    psf : PSF, optional
        Point-spread function; default ``hst_psf(606)``. Give `PSF.trailed` for
        a guiding error.
    seed : int or numpy.random.Generator, optional
        Seed; None draws a fresh one.
    density : float, optional
        Number of sources relative to a typical field. None draws it: over a
        factor of 20 in clusters, 10 elsewhere.
    brightness : float, optional
        Factor on all fluxes (distance, filter). None draws it from 0.3 to 3.
    galaxies : Table or mapping, optional
        Sizes and fluxes of real galaxies to draw from: columns ``radius``
        (half-light, pixels) and ``flux`` (electron / s).
    n_trails : int, optional
        Trails of satellites and asteroids. They are sources, not cosmic rays.

    Returns
    -------
    Scene
        Rate and stars.

    Raises
    ------
    ValueError
        If ``field`` is not one of `FIELDS`.

    Examples
    --------
    >>> from cosmiq_astro.simulate import moffat_psf, simulate_scene
    >>> scene = simulate_scene((64, 64), "globular", moffat_psf(2.0), seed=1)
    >>> scene.rate.shape, scene.stars.colnames
    ((64, 64), ['x', 'y', 'flux'])
    """
    psf = hst_psf(606) if psf is None else psf
    sources = draw_sources(
        shape,
        field,
        seed=seed,
        density=density,
        brightness=brightness,
        galaxies=galaxies,
        n_trails=n_trails,
        margin=min(24, psf.radius),
    )
    rate = psf.render(shape, sources.y, sources.x, sources.flux)
    if sources.light.any():
        rate += sources.canvas.observe(sources.light, psf)
    rate += psf.render(shape, *sources.trails, cutoff=1e-4)
    y, x, flux = sources.y, sources.x, sources.flux
    keep = (y > -0.5) & (y < shape[0] - 0.5) & (x > -0.5) & (x < shape[1] - 0.5)
    table = Table(
        {"x": x[keep], "y": y[keep], "flux": flux[keep]},
        units={"x": "pix", "y": "pix", "flux": "electron / s"},
    )
    return Scene(rate, table)


@dataclass(frozen=True, eq=False)
class Sources:
    """
    What the sky sends, before any optics.

    Attributes
    ----------
    canvas : Canvas
        The fine grid of ``light``.
    light : ndarray of float32
        Extended light: rate per pixel (electron / s) at each point of the canvas.
    y, x, flux : ndarray
        Stars: positions (pixels of the image, from 0) and rates (electron / s).
    trails : tuple of ndarray
        ``y, x, flux`` of the points that trails of satellites and asteroids are made of.
    """

    canvas: Canvas
    light: np.ndarray
    y: np.ndarray
    x: np.ndarray
    flux: np.ndarray
    trails: tuple[np.ndarray, ...]

    def plane(self) -> np.ndarray:
        """
        Return all of it on the canvas, ready to be convolved with a PSF.

        Returns
        -------
        plane : ndarray of float32
            Rate per pixel (electron / s) at each point, stars at the nearest points.
        """
        k, margin = self.canvas.oversampling, self.canvas.margin
        plane = self.light.copy()
        for y, x, flux in ((self.y, self.x, self.flux), self.trails):
            row, column = (np.rint((v + margin) * k).astype(np.int64) for v in (y, x))
            inside = (row >= 0) & (row < plane.shape[0]) & (column >= 0) & (column < plane.shape[1])
            np.add.at(plane, (row[inside], column[inside]), k**2 * flux[inside])
        return plane


def draw_sources(
    shape: tuple[int, int],
    field: Field = "extragalactic",
    *,
    seed: int | np.random.Generator | None = None,
    density: float | None = None,
    brightness: float | None = None,
    galaxies: Table | Mapping | None = None,
    n_trails: int = 0,
    margin: int = 24,
) -> Sources:
    """
    Draw what a random scene is made of, before any optics.

    Parameters
    ----------
    shape, field, seed, density, brightness, galaxies, n_trails : optional
        As in `simulate_scene`.
    margin : int, optional
        Margin of the canvas around the image, in pixels: what lies there sheds light into the
        image by the wings of the PSF.

    Returns
    -------
    sources : Sources
        Stars, extended light and trails.

    Raises
    ------
    ValueError
        If ``field`` is not one of `FIELDS`.
    """
    if field not in FIELDS:
        raise ValueError(f"field must be one of {', '.join(FIELDS)}, got {field!r}")
    rng = np.random.default_rng(seed)
    if brightness is None:
        brightness = np.exp(rng.uniform(np.log(0.3), np.log(3)))
    parts, scales = (field,), (1.0,)
    if field == "blend":
        parts = rng.choice(FIELDS[:-1], 2, replace=False)
        scales = np.exp(rng.uniform(np.log(0.2), 0, 2))
    canvas = Canvas(tuple(shape), margin=margin)
    light = np.zeros(canvas.size, np.float32)
    stars = []
    for part, scale in zip(parts, scales, strict=True):
        spread = 20.0 if part == "globular" else 10.0
        drawn = np.exp(rng.uniform(-np.log(spread), np.log(spread)) / 2)
        drawn = drawn if density is None else density
        stars.append(_add_part(part, light, canvas, rng, drawn * scale, brightness, galaxies))
    y, x, flux = (np.concatenate(column) for column in zip(*stars, strict=True))
    trails = [_trail(shape, rng, brightness) for _ in range(n_trails)] or [np.zeros((3, 0))]
    return Sources(canvas, light, y, x, flux, tuple(np.concatenate(trails, axis=1)))


def _add_part(field, light, canvas, rng, density, brightness, catalog):
    """Add the extended light of one kind of field to ``light``; return its stars: y, x, flux."""
    shape = canvas.shape
    if field == "globular":
        return _fields.globular_stars(shape, rng, density, brightness)
    if field == "extragalactic":
        galaxies = _fields.field_galaxies(shape, rng, density, brightness, catalog)
        _fields.draw_galaxies(light, canvas, galaxies, rng)
        number = 8 * density
    elif field == "galaxy":
        light += _fields.resolved_galaxy(canvas, rng, density, brightness)
        number = 10
    else:
        light += _fields.nebula_light(canvas, rng, brightness)
        light += np.float32(0.02 * brightness) * _fields.smooth_gradient(canvas.size, rng)
        number = 150 * density
    # Stars in front, some of them saturated in any exposure.
    pad = 60
    n = rng.poisson(number * ((shape[0] + 2 * pad) * (shape[1] + 2 * pad) / 512**2))
    y, x = rng.uniform(-pad, shape[0] + pad, n), rng.uniform(-pad, shape[1] + pad, n)
    return y, x, _fields.power_law(n, 0.35, 0.3 * brightness, 2e4 * brightness, rng)


def _trail(shape, rng, brightness):
    """Points ``(y, x, flux)`` of one straight trail: of a satellite or, short, an asteroid."""
    ny, nx = shape
    angle = rng.uniform(0, np.pi)
    satellite = rng.random() < 0.6
    length = 2 * np.hypot(ny, nx) if satellite else np.exp(rng.uniform(np.log(5), np.log(80)))
    centre = rng.uniform(0, 1, 2) * (ny, nx)
    n = int(length * 12) + 2
    along = np.linspace(-length / 2, length / 2, n)
    y, x = centre[0] + along * np.sin(angle), centre[1] + along * np.cos(angle)
    level = brightness * np.exp(rng.uniform(np.log(0.05), np.log(20))) / 12
    width = rng.exponential(1.5) if satellite else 0.0  # satellites are out of focus
    y, x = y + rng.normal(0, width, n), x + rng.normal(0, width, n)
    inside = (y > -12) & (y < ny + 12) & (x > -12) & (x < nx + 12)
    return np.stack([y, x, np.full(n, level)])[:, inside]
