"""Light of each kind of field on a fine canvas, and its stars; rates in electron / s."""

from __future__ import annotations

from dataclasses import dataclass
from math import gamma
from typing import TYPE_CHECKING

import numpy as np
from scipy import fft
from scipy.ndimage import gaussian_filter

if TYPE_CHECKING:
    from cosmiq_astro.simulate.psf import PSF

_ZERO_POINT = 25.9  # AB magnitude of 1 electron / s through F814W on ACS/WFC


@dataclass(frozen=True, eq=False)
class Canvas:
    """
    A grid finer than the image, with a margin, on which light falls before the PSF.

    Parameters
    ----------
    shape : tuple of int
        Shape of the image in pixels.
    oversampling : int
        Canvas points per pixel.
    margin : int
        Margin around the image, in pixels.
    """

    shape: tuple[int, ...]
    oversampling: int = 4
    margin: int = 24

    @property
    def size(self) -> tuple[int, ...]:
        """Shape of the canvas in points."""
        return tuple((n + 2 * self.margin) * self.oversampling for n in self.shape)

    def coordinates(self) -> tuple[np.ndarray, np.ndarray]:
        """Return positions of the points in pixels of the image: arrays (ny, 1) and (1, nx)."""
        y, x = (np.arange(n) / self.oversampling - self.margin for n in self.size)
        return y[:, None].astype(np.float32), x[None, :].astype(np.float32)

    def observe(self, light: np.ndarray, psf: PSF) -> np.ndarray:
        """Convolve ``light`` (rate per pixel at each point) with the PSF and sample the pixels."""
        k = self.oversampling
        kernel = psf.kernel(k, radius=self.margin)
        size = [fft.next_fast_len(n, real=True) for n in self.size]
        transfer = fft.rfft2(kernel, size)
        image = fft.irfft2(fft.rfft2(light.astype(np.float32), size) * transfer, size)
        half = kernel.shape[0] // 2
        rows, columns = (slice(self.margin * k + half, None, k) for _ in size)
        return np.maximum(image[rows, columns][: self.shape[0], : self.shape[1]], 0)


def fractal(shape, rng, *, power=2.8, floor=0.0):
    """
    Gaussian random field with a power-law spectrum: zero mean, unit variance.

    ``power`` is that of the spectrum in two dimensions; ``floor`` the smallest
    wavelength, in points.
    """
    size = [fft.next_fast_len(n + n // 8, real=True) for n in shape]
    fy, fx = fft.fftfreq(size[0])[:, None], fft.rfftfreq(size[1])[None, :]
    k = np.hypot(fy, fx)
    k[0, 0] = 1.0
    amplitude = k ** (-power / 2) * np.exp(-((k * floor) ** 2))
    amplitude[0, 0] = 0.0
    noise = fft.rfft2(rng.standard_normal(size, np.float32))
    field = fft.irfft2(noise * amplitude.astype(np.float32), size)[: shape[0], : shape[1]]
    return (field - field.mean()) / max(field.std(), 1e-12)


def smooth_gradient(shape, rng, *, strength=0.5):
    """Return a plane with gentle curvature, mean 1, within about 1 +/- ``strength``."""
    y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    a = rng.normal(0, 0.5, 5)
    surface = a[0] * x + a[1] * y + 0.5 * (a[2] * x * y + a[3] * x**2 + a[4] * y**2)
    return np.maximum(1 + strength * surface, 0.05).astype(np.float32)


def power_law(n, slope, low, high, rng):
    """Draw fluxes with N(>f) ~ f^-slope between ``low`` and ``high``."""
    u = rng.random(n)
    return (low**-slope * (1 - u) + high**-slope * u) ** (-1 / slope)


def globular_stars(shape, rng, density, brightness):
    """
    Stars of a globular cluster: positions and fluxes.

    A King-like surface density around a centre in or beyond the frame; a main
    sequence that steepens at the turn-off, a giant branch, a clump and a few
    stars to deep saturation.
    """
    ny, nx = shape
    n = rng.poisson(20_000 * density * ny * nx / 512**2)
    size = np.hypot(ny, nx)
    centre = rng.normal(0.5, 0.6, 2) * (ny, nx)
    core = size * np.exp(rng.uniform(np.log(0.08), np.log(2.0)))
    pad = 40
    y, x = rng.uniform(-pad, ny + pad, 6 * n), rng.uniform(-pad, nx + pad, 6 * n)
    weight = 1 / (1 + ((y - centre[0]) ** 2 + (x - centre[1]) ** 2) / core**2)
    chosen = rng.random(6 * n) < weight / max(weight.max(), 1e-12)
    y, x = y[chosen][:n], x[chosen][:n]
    n = y.size
    turn_off = 30 * brightness
    kind = rng.random(n)
    flux = power_law(n, 0.45, 2e-3 * turn_off, turn_off, rng)
    giants = kind < 0.03
    flux[giants] = power_law(giants.sum(), 0.7, turn_off, 300 * turn_off, rng)
    clump = kind > 0.997
    flux[clump] = 15 * turn_off * np.exp(rng.normal(0, 0.15, clump.sum()))
    return y, x, flux


def star_light(density, canvas, rng, *, total, faintest, brightest, slope):
    """
    Light of stars too many to draw one by one: Poisson numbers in bins of flux.

    ``density`` (canvas points, any scale) says where the stars are, ``total``
    is their summed rate; fluxes run from ``faintest`` to ``brightest`` with
    N(>f) ~ f^-slope. Returns rate per pixel on the canvas.
    """
    share = density / max(density.sum(), 1e-30)
    edges = np.geomspace(faintest, brightest, max(3, int(2 * np.log10(brightest / faintest)) + 1))
    number = -np.diff(edges**-slope)
    flux = np.sqrt(edges[1:] * edges[:-1])
    number *= total / (number * flux).sum()
    light = np.zeros_like(share)
    for n, f in zip(number, flux, strict=True):
        light += f * _scatter_stars(share, n, rng)
    return light * canvas.oversampling**2


def _scatter_stars(share, n, rng):
    """Numbers of stars per point; a Gaussian stands for Poisson where stars are plenty."""
    mean = share * np.float32(n)
    if n > 20 * share.size:
        noise = rng.standard_normal(share.shape, np.float32)
        return np.maximum(mean + np.sqrt(mean) * noise, 0)
    cumulative = np.cumsum(share.ravel(), dtype=np.float64)
    drawn = rng.poisson(n)
    if drawn > share.size // 4:
        return rng.poisson(mean).astype(np.float32)
    index = np.searchsorted(cumulative, rng.random(drawn) * cumulative[-1])
    index = np.minimum(index, share.size - 1)
    return np.bincount(index, minlength=share.size).reshape(share.shape).astype(np.float32)


def nebula_light(canvas, rng, brightness):
    """Emission of a nebula: log-normal clouds, filaments and dark dust, rate per pixel."""
    size = canvas.size
    k = canvas.oversampling
    clouds = np.exp(rng.uniform(0.5, 1.2) * fractal(size, rng, power=rng.uniform(2.6, 3.6)))
    ridge = np.abs(fractal(size, rng, power=rng.uniform(2.6, 3.4), floor=k))
    filaments = np.exp(-ridge * rng.uniform(6, 20)) * rng.uniform(0, 3)
    dust = np.clip(fractal(size, rng, power=2.8) - rng.uniform(0, 2), 0, None)
    light = (clouds + filaments) * np.exp(-dust * rng.uniform(0, 3))
    light = gaussian_filter(light, 0.3 * k) * smooth_gradient(size, rng, strength=0.7)
    level = brightness * np.exp(rng.uniform(np.log(0.01), np.log(1.0)))
    return (light * (level / light.mean())).astype(np.float32)


def field_galaxies(shape, rng, density, brightness, catalog=None):
    """
    Draw a field's galaxies: arrays y, x (pixels), flux, radius (half light, pixels).

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
    return y, x, flux * brightness, np.clip(radius, 0.3, 0.25 * nx)


def draw_galaxies(light, canvas, galaxies, rng):
    """Add bulge and disk, with clumps in large disks, of each galaxy to ``light``."""
    for y, x, flux, radius in zip(*galaxies, strict=True):
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
        parts = ((1 - bulge, disk), (0.7 * bulge, core), (0.3 * bulge, nucleus))
        for share, (where, profile) in parts:
            light[where] += np.float32(share * flux) * profile


def _nucleus(canvas, y, x):
    """Point source of unit flux on the nearest canvas point: a window, empty outside, its value."""
    k = canvas.oversampling
    point = [int(np.rint((centre + canvas.margin) * k)) for centre in (y, x)]
    return tuple(slice(max(p, 0), max(p + 1, 0)) for p in point), np.float32(k**2)


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
