"""Light of each kind of field on a fine canvas, and its stars; rates in electron / s."""

from dataclasses import dataclass

import numpy as np
from scipy import fft
from scipy.ndimage import gaussian_filter


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

    shape: tuple
    oversampling: int = 4
    margin: int = 24

    @property
    def size(self):
        """Shape of the canvas in points."""
        return tuple((n + 2 * self.margin) * self.oversampling for n in self.shape)

    def coordinates(self):
        """Return positions of the points in pixels of the image: arrays (ny, 1) and (1, nx)."""
        y, x = (np.arange(n) / self.oversampling - self.margin for n in self.size)
        return y[:, None].astype(np.float32), x[None, :].astype(np.float32)

    def observe(self, light, psf):
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


def _power_law(n, slope, low, high, rng):
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
    flux = _power_law(n, 0.45, 2e-3 * turn_off, turn_off, rng)
    giants = kind < 0.03
    flux[giants] = _power_law(giants.sum(), 0.7, turn_off, 300 * turn_off, rng)
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
