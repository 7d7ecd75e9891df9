"""
A camera that does not exist, with the truth of each exposure, and with the traps of real ones.

Benchmarks and tests take repeated exposures and darks with it. `TUNED_ON` is the camera that
settings are chosen on, `SCORED_ON` another one, of which none of them knows anything.
"""

from dataclasses import dataclass, replace

import numpy as np
from astropy.io import fits
from scipy import ndimage

from cosmiq_astro.simulate import (
    add_noise,
    apply_saturation,
    cosmic_ray_footprints,
    flat_residual,
    hot_pixels,
    label_from_charge,
    moffat_psf,
)

MARGIN = 48


@dataclass(frozen=True)
class Camera:
    """
    What a camera is like.

    Attributes
    ----------
    shape : tuple of int
        Of its frames.
    gain : float
        Electron per adu.
    readnoise, full_well : float
        Electron.
    fwhm : float
        Of the usual seeing, pixels.
    sky, dark : float
        Electron per second and pixel.
    exposure_time : float
        Seconds.
    n_amplifiers : int
        Side by side, each with a bias of its own.
    thickness, pixel_size : float
        Of the silicon, micrometres.
    hit_rate : float
        Hits per second and square centimetre.
    stars : float
        Per thousand pixels.
    brightest : float
        Electron per second of the brightest star.
    seed : int
        Of what stays: bias, flat field and hot pixels.
    """

    shape: tuple = (512, 512)
    gain: float = 1.9
    readnoise: float = 5.0
    full_well: float = 110_000.0
    fwhm: float = 2.1
    sky: float = 5.0
    dark: float = 0.02
    exposure_time: float = 300.0
    n_amplifiers: int = 1
    thickness: float = 8.0
    pixel_size: float = 24.0
    hit_rate: float = 0.3
    stars: float = 200.0
    brightest: float = 3000.0
    seed: int = 7

    @property
    def satlevel(self):
        """Level that the user of this camera would state, electron."""
        return 0.95 * self.full_well

    def _fixed(self):
        rng = np.random.default_rng(self.seed)
        ny, nx = self.shape
        level = rng.normal(400, 15, self.n_amplifiers)[np.arange(nx) * self.n_amplifiers // nx]
        bias = level + 3 * ndimage.gaussian_filter1d(rng.standard_normal(nx), 4) * np.ones((ny, 1))
        hot = self.dark + hot_pixels(self.shape, rng, fraction=1e-3, rate=0.2)
        return bias, hot, flat_residual(self.shape, rng)

    def hits(self, seed, *, dark=False):
        """Return the charge of the hits of one exposure, electron."""
        rng = np.random.default_rng([self.seed, seed, 2])
        area = self.shape[0] * self.shape[1] * (self.pixel_size * 1e-4) ** 2
        n = rng.poisson(self.hit_rate * area * self.exposure_time * (4 if dark else 1))
        library = cosmic_ray_footprints(
            n, seed=rng, thickness=self.thickness, pixel_size=self.pixel_size, diffusion=6.0
        )
        return library.scatter(self.shape, rng)

    def field(self, seed):
        """Return a field: positions (pixels, a margin around the frame) and rates of its stars."""
        rng = np.random.default_rng([seed, 3])
        ny, nx = (n + 2 * MARGIN for n in self.shape)
        n = rng.poisson(self.stars * ny * nx / 1000)
        y, x = rng.uniform(-MARGIN, ny - MARGIN, n), rng.uniform(-MARGIN, nx - MARGIN, n)
        rate = 0.1 * (1 - rng.random(n)) ** (-1 / 0.65)
        return y, x, np.minimum(rate, self.brightest)

    def expose(self, field, seed, *, offset=(0.0, 0.0), fwhm=None, light=1.0, trap=None):
        """
        Take a reduced exposure: bias and dark current are off, the flat field is divided out.

        Parameters
        ----------
        field : tuple
            From `field`.
        seed : int
            Of noise and hits.
        offset : tuple of float, optional
            By which the sky is moved, pixels.
        fwhm, light : float, optional
            Seeing and transparency.
        trap : str, optional
            One of `TRAPS` that concern a single exposure.

        Returns
        -------
        image : ndarray of float32
            In adu.
        truth : dict
            ``label`` and ``ignore`` as `label_from_charge` gives them, ``charge`` of the hits,
            and ``hot``: pixels whose dark current exceeds three standard deviations, unhit.
        """
        rng = np.random.default_rng([self.seed, seed, 4])
        _, hot, flat = self._fixed()
        fwhm = self.fwhm if fwhm is None else fwhm
        psf = moffat_psf(8.0 if trap == "seeing" else fwhm)
        if trap == "drift":
            psf = psf.trailed(5.0, 35.0)
        y, x, rate = field
        stars = psf.render(self.shape, y + offset[0], x + offset[1], rate * light)
        expected = self.exposure_time * (stars + self.sky * rng.uniform(0.8, 1.3) + hot) * flat
        if trap == "satellite":
            expected = expected + _satellite(self.shape, psf, rng, 260.0)
        if trap == "faint satellite":
            expected = expected + _satellite(self.shape, psf, rng, 45.0)
        charge = self.hits(seed)
        together = apply_saturation(expected + charge, full_well=self.full_well)
        expected = apply_saturation(expected, full_well=self.full_well)
        if trap == "bleed":
            streak = _bleed(expected, rng)
            together, expected = together + streak, expected + streak
        if trap == "dark row":
            rows = rng.integers(60, self.shape[0] - 60, 2)
            sunk = np.zeros(self.shape, np.float32)
            sunk[rows] = -9 * np.sqrt(np.median(expected) + self.readnoise**2)
            together, expected = together + sunk, expected + sunk
        seen = np.maximum(together - expected, 0)
        noise = np.sqrt(np.maximum(expected, 0) + self.readnoise**2)
        label, ignore = label_from_charge(seen, noise)
        ignore |= (charge > 3 * noise) & ~label
        image = add_noise(np.maximum(expected, 0), self.readnoise, rng)
        image += np.minimum(expected, 0) + seen
        image = (image - self.exposure_time * self.dark) / flat
        counts = np.rint(image / self.gain).astype(np.float32)
        is_hot = (self.exposure_time * (hot - self.dark) > 3 * noise) & ~label
        return counts, {"label": label, "ignore": ignore, "charge": seen, "hot": is_hot}

    def visit(self, field, seed, n, *, trap=None, dither=4.0, spread=0.08):
        """
        Take repeated exposures of one field; a trap is set for the last but one of them.

        Returns
        -------
        exposures, truths : list
            As from `expose`.
        """
        rng = np.random.default_rng([seed, 5])
        exposures, truths = [], []
        for i in range(n):
            offset = rng.uniform(-dither, dither, 2) if i else np.zeros(2)
            fwhm = self.fwhm * rng.lognormal(0, spread)
            own, light = (trap if i == n - 2 else None), rng.uniform(0.85, 1.0)
            stars = self.field(10_000 + seed) if own == "other field" else field
            image, truth = self.expose(
                stars, 1000 * seed + i, offset=offset, fwhm=fwhm, light=light, trap=own
            )
            exposures.append(image)
            truths.append(truth)
        return exposures, truths

    def dark_frame(self, seed):
        """Return a raw dark frame, adu: bias, dark current, hot pixels, hits."""
        rng = np.random.default_rng([self.seed, seed, 6])
        bias, hot, _ = self._fixed()
        # One hot pixel in twenty comes and goes.
        hot = np.where(rng.random(hot.shape) < 0.05, self.dark, hot)
        expected = 4 * self.exposure_time * hot
        charge = self.hits(seed, dark=True)
        image = add_noise(expected, self.readnoise, rng) + charge
        drift = rng.normal(0, 1.5, self.n_amplifiers)
        drift = drift[np.arange(self.shape[1]) * self.n_amplifiers // self.shape[1]]
        return np.rint(image / self.gain + bias + drift).astype(np.float32)


TUNED_ON = Camera()
SCORED_ON = Camera(
    gain=1.3,
    readnoise=8.0,
    full_well=70_000.0,
    fwhm=1.6,
    sky=3.0,
    dark=0.005,
    exposure_time=600.0,
    n_amplifiers=2,
    thickness=12.0,
    pixel_size=13.5,
    stars=150.0,
    seed=11,
)

TRAPS = (
    "satellite",
    "faint satellite",
    "dark row",
    "drift",
    "seeing",
    "bleed",
    "other field",
)
"""What can be wrong with one of several exposures, by the names that `Camera.visit` takes."""


def small(camera, side=160):
    """Return a camera like another with a smaller chip: tests have no time."""
    return replace(camera, shape=(side, side))


def write(path, image):
    """Write an image in adu."""
    fits.writeto(path, image, fits.Header({"BUNIT": "ADU"}))


def _satellite(shape, psf, rng, level):
    angle = rng.uniform(0.3, 1.2)
    length = 1.5 * np.hypot(*shape)
    along = np.linspace(-length / 2, length / 2, int(length * 8))
    y = shape[0] * rng.uniform(0.35, 0.65) + along * np.sin(angle)
    x = shape[1] * rng.uniform(0.35, 0.65) + along * np.cos(angle)
    inside = (y > -12) & (y < shape[0] + 12) & (x > -12) & (x < shape[1] + 12)
    return psf.render(shape, y[inside], x[inside], np.full(inside.sum(), level / 2), cutoff=1e-4)


def _bleed(expected, rng):
    """Charge along the columns of the brightest stars, below saturation, in pieces."""
    streak = np.zeros(expected.shape, np.float32)
    bright = ndimage.maximum_filter(expected, 9) == expected
    places = np.argwhere(bright)
    for y, x in places[np.argsort(-expected[bright])][:5]:
        for sign in (-1, 1):
            rows = y + sign * np.arange(4, 4 + rng.integers(20, 110))
            rows = rows[(rows >= 0) & (rows < expected.shape[0])]
            level = rng.uniform(8, 40) * np.sqrt(np.median(expected))
            streak[rows, x] += level * (rng.random(rows.size) < 0.9)
    return streak
