"""Light of galaxies on a fine canvas: field galaxies and one resolved galaxy; electron / s."""

from math import gamma

import numpy as np
from scipy.ndimage import gaussian_filter

from cosmiq_astro.simulate._fields import fractal, star_light

_ZERO_POINT = 25.9  # AB magnitude of 1 electron / s through F814W on ACS/WFC


def field_galaxies(shape, rng, density, brightness, catalog=None):
    """
    Draw a field's galaxies: dict of arrays y, x (pixels), flux, radius (half light, pixels).

    Counts rise as 10^(0.35 m) to 400 per square arcmin at 27.5th magnitude and sizes fall by 0.09
    dex per magnitude, as in HST deep fields; or rows of ``catalog`` (columns
    radius in pixels, flux in electron / s) are drawn.
    """
    ny, nx = shape
    pad = 30
    area = (ny + 2 * pad) * (nx + 2 * pad) * (0.05 / 60) ** 2  # square arcmin
    n = rng.poisson(400 * density * area)
    if catalog is None:
        magnitude = np.maximum(27.5 + np.log10(1 - rng.random(n)) / 0.35, 17)
        flux = 10 ** (0.4 * (_ZERO_POINT - magnitude))
        radius = 10 ** (-0.2 - 0.09 * (magnitude - 20) + rng.normal(0, 0.2, n)) / 0.05
    else:
        row = rng.integers(0, len(catalog["flux"]), n)
        flux, radius = np.asarray(catalog["flux"])[row], np.asarray(catalog["radius"])[row]
    y, x = rng.uniform(-pad, ny + pad, n), rng.uniform(-pad, nx + pad, n)
    bright = rng.random(n) < rng.choice([0, 2 / max(n, 1)])  # nearby ones, now and then
    flux = np.where(bright, flux * 10 ** rng.uniform(1.5, 3.5, n), flux)
    radius = np.where(bright, radius * 10 ** rng.uniform(0.4, 1.2, n), radius)
    if rng.random() < 0.4:  # a group or cluster
        members = rng.random(n) < 0.4
        where = rng.uniform(0, 1, 2) * (ny, nx)
        y[members] = where[0] + rng.normal(0, 0.12 * ny, members.sum())
        x[members] = where[1] + rng.normal(0, 0.12 * nx, members.sum())
    return {"y": y, "x": x, "flux": flux * brightness, "radius": np.clip(radius, 0.3, 0.25 * nx)}


def draw_galaxies(light, canvas, galaxies, rng):
    """Add bulge and disk, with clumps in large disks, of each galaxy to ``light``."""
    for y, x, flux, radius in zip(
        *(galaxies[k] for k in ("y", "x", "flux", "radius")), strict=True
    ):
        bulge = rng.beta(0.6, 1.6)
        angle = rng.uniform(0, np.pi)
        axis_ratio = rng.uniform(0.15, 1.0)
        disk = _sersic(canvas, y, x, radius, axis_ratio, angle, rng.uniform(0.5, 1.5))
        round_ratio = axis_ratio ** rng.uniform(0.2, 0.6)
        core = _sersic(
            canvas, y, x, radius * rng.uniform(0.2, 0.8), round_ratio, angle, rng.uniform(1.5, 4.0)
        )
        if radius > 3 and disk[1].size:
            where, profile = disk
            ragged = profile * np.exp(rng.uniform(0, 0.9) * fractal(profile.shape, rng, power=2.4))
            disk = where, ragged * (profile.sum() / max(ragged.sum(), 1e-30))
        nucleus = _nucleus(canvas, y, x) if rng.random() < 0.15 else core
        for share, (where, profile) in (
            (1 - bulge, disk),
            (0.7 * bulge, core),
            (0.3 * bulge, nucleus),
        ):
            if profile.size:
                light[where] += np.float32(share * flux) * profile
    return light


def _nucleus(canvas, y, x):
    """Point source of unit flux on the nearest canvas point: a window and its value."""
    k = canvas.oversampling
    point = [int(np.rint((centre + canvas.margin) * k)) for centre in (y, x)]
    window = tuple(slice(max(p, 0), max(p + 1, 0)) for p in point)
    inside = all(0 <= p < n for p, n in zip(point, canvas.size, strict=True))
    return window, np.full((1, 1) if inside else (0, 0), k**2, np.float32)


def _sersic(canvas, y, x, radius, axis_ratio, angle, n):
    """Sersic profile of unit flux (rate per pixel): a window of the canvas and the values in it."""
    k = canvas.oversampling
    reach = int(k * min(radius * (5 + 2.5 * n), 60 + 4 * radius)) + 2 * k
    window, axes = [], []
    for centre, points in zip((y, x), canvas.size, strict=True):
        middle = int(np.rint((centre + canvas.margin) * k))
        part = slice(min(max(middle - reach, 0), points), max(min(middle + reach + 1, points), 0))
        window.append(part)
        axes.append(np.arange(part.start, part.stop, dtype=np.float32) / k - canvas.margin - centre)
    dy, dx = axes[0][:, None], axes[1][None, :]
    major = dx * np.cos(angle) + dy * np.sin(angle)
    minor = (dy * np.cos(angle) - dx * np.sin(angle)) / axis_ratio
    soft = 0.1 / axis_ratio
    r2 = (major**2 + minor**2 + soft**2) / np.float32(radius**2 / axis_ratio)
    b = 2 * n - 1 / 3 + 0.009876 / n  # Ciotti & Bertin 1999, eq. 18, first terms
    profile = np.exp(-b * (r2 ** np.float32(0.5 / n) - 1))
    full = 2 * np.pi * n * np.exp(b) * b ** (-2 * n) * gamma(2 * n) * radius**2
    return tuple(window), (profile / full).astype(np.float32)


def resolved_galaxy(canvas, rng, density, brightness):
    """
    Light of one nearby galaxy that fills the frame: rate per pixel on the canvas.

    Disk with spiral arms or a spheroid, made of stars (surface-brightness
    fluctuations), with dust lanes, star-forming knots and star clusters.
    """
    y, x = canvas.coordinates()
    ny, nx = canvas.shape
    centre = rng.normal(0.5, 0.5, 2) * (ny, nx)
    axis_ratio, angle = rng.uniform(0.25, 1.0), rng.uniform(0, np.pi)
    dy, dx = y - centre[0], x - centre[1]
    major = dx * np.cos(angle) + dy * np.sin(angle)
    minor = (dy * np.cos(angle) - dx * np.sin(angle)) / axis_ratio
    r = np.hypot(major, minor) + 0.3
    scale = nx * np.exp(rng.uniform(np.log(0.15), np.log(1.0)))
    smooth = np.exp(-r / scale)
    theta = np.arctan2(minor, major)
    spiral = rng.random() < 0.7
    wave = np.cos(rng.integers(2, 5) * (theta - np.log(r / scale) / rng.uniform(0.15, 0.5)))
    arms = np.exp(rng.uniform(0.2, 0.9) * spiral * wave)
    texture = fractal(canvas.size, rng, power=2.8)
    dust = np.exp(-rng.uniform(0, 1.5) * np.clip(texture - 0.3 * wave - rng.uniform(0, 1), 0, None))
    surface = brightness * np.exp(rng.uniform(np.log(0.1), np.log(4.0)))  # at the centre, per pixel
    disk = (smooth * arms).astype(np.float32)
    stars = star_light(
        disk,
        canvas,
        rng,
        total=surface * disk.sum() / canvas.oversampling**2,
        faintest=3e-3 * brightness,
        brightest=30 * brightness * np.sqrt(density),
        slope=rng.uniform(0.7, 1.2),
    )
    light = stars * rng.uniform(0.3, 0.9) + surface * disk * rng.uniform(0.1, 0.7)
    young = disk * np.exp(2 * spiral * wave + fractal(canvas.size, rng, power=2.2))
    light += _knots(young, canvas, rng, 60 * density, brightness)
    light *= dust
    bulge_radius = scale * rng.uniform(0.03, 0.25)
    bulge = np.exp(-6 * (r / bulge_radius) ** 0.4) * surface * rng.uniform(5, 200)
    return np.maximum(light + bulge, 0).astype(np.float32)


def _knots(weight, canvas, rng, number, brightness):
    """Compact clusters and ragged HII knots, placed by ``weight``: rate per pixel."""
    k = canvas.oversampling
    total = np.zeros(weight.shape, np.float32)
    cumulative = np.cumsum(weight.ravel(), dtype=np.float64)
    ragged = np.exp(fractal(weight.shape, rng, power=2.4))
    for radius in (0.3, 0.7, 1.6, 5.0):  # pixels
        n = rng.poisson(number / 4)
        points = np.zeros(weight.size, np.float32)
        where = np.searchsorted(cumulative, rng.random(n) * cumulative[-1])
        flux = brightness * np.exp(rng.normal(2.0, 1.5, n))
        np.add.at(points, np.minimum(where, weight.size - 1), flux.astype(np.float32))
        knots = gaussian_filter(points.reshape(weight.shape), radius * k, truncate=3) * k**2
        total += knots * (ragged if radius > 1 else 1)
    return total
