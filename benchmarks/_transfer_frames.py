"""Frames of the transfer set: independent of the package's simulator, kept as .npz files."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import _transfer_hits as hits
import _transfer_optics as optics
import _transfer_real as real
import _transfer_scenes as scenes
import numpy as np
from _files import kept
from scipy.ndimage import binary_dilation

__all__ = ["CLEAN", "FIELDS", "GROUPS", "HIT", "IGNORED", "SPIKE", "Frame", "Frames", "labelled"]

GROUPS = ("realistic", "sharp", "coarse", "soft", "faint", "ground", "trailed")
FIELDS = ("EX", "GC", "GAL")
CLEAN, HIT, IGNORED, SPIKE = range(4)
_PEAK = {
    "realistic": 0.21,
    "sharp": 0.30,
    "coarse": 0.30,
    "soft": 0.14,
    "faint": 0.27,
    "trailed": 0.21,
}
# A narrow core on wide wings (TinyTim's, shrunk), or a sharp one on large pixels.
_ONLY = {
    "sharp": ("tinytim",),
    "coarse": ("optical", "cosmos"),
    "faint": ("tinytim", "optical", "tinytim"),
}
_FWHM = (2.0, 3.0, 4.5, 6.0)
_SQUARE = np.ones((3, 3), bool)
_FULL_WELL = 84_700
_SPIKES = 6e-4  # of pixels


@dataclass(frozen=True)
class Frame:
    """
    An exposure with its truth.

    Attributes
    ----------
    name : str
        Group, field, number.
    image : ndarray of float32
        Electron.
    truth : ndarray of uint8
        `CLEAN`, `HIT` (charge above 3 standard deviations of the noise without
        it), `IGNORED` (less, rims of hits, saturated, not known) or `SPIKE` (one
        pixel of 8 or more, away from bright stars; scored apart).
    charge, noise : ndarray of float32
        What the hits left, without spikes, and the standard deviation without it; electron.
    y, x : ndarray of int32
        Stars' central pixels.
    peak, seconds, readnoise : float
        Share of a star's light in its peak pixel; exposure time; electron.
    """

    name: str
    image: np.ndarray
    truth: np.ndarray
    charge: np.ndarray
    noise: np.ndarray
    y: np.ndarray
    x: np.ndarray
    peak: float
    seconds: float
    readnoise: float

    @property
    def group(self):
        """Name of the optics."""
        return self.name.split("_")[0]

    @property
    def field(self):
        """Kind of sky."""
        return self.name.split("_")[1]


def labelled(name, image, truth):
    """Return a frame of which no more is known."""
    unknown, nowhere = np.full(truth.shape, np.nan, np.float32), np.empty(0, int)
    return Frame(name, image, truth, unknown, unknown, nowhere, nowhere, *[np.nan] * 3)


class Frames:
    """
    Frames by group, field and number, read from ``work`` or made and kept there.

    Parameters
    ----------
    data, work : `~pathlib.Path`
        Folders of the real data, and of what is kept.
    seed : int
        Of the whole set.
    size : int
        Pixels to a side.
    """

    def __init__(self, data, work, *, seed=0, size=512):
        self.data, self.size, self.seed = Path(data), size, seed
        self.work = Path(work) / f"frames_{seed}_{size}"

    def __call__(self, group, field, index):
        """Return one frame."""
        name = f"{group}_{field}_{index}"
        key = list(hashlib.sha256(f"{self.seed} {name}".encode()).digest())
        arrays = kept(
            self.work / f"{name}.npz",
            lambda: self._make(group, field, index, np.random.default_rng(key)),
        )
        numbers = {k: float(arrays.pop(k)) for k in ("peak", "seconds", "readnoise")}
        return Frame(name, **arrays, **numbers)

    @cached_property
    def _galaxies(self):
        return scenes.Galaxies(self.data)

    @cached_property
    def _libraries(self):
        """Hits by kind of frame; small and faint ones only where it says so."""
        names = ("faint", "ground", "other")
        made = {}

        def make(name):
            if not made:
                made.update(self._new_libraries())
            return made[name]

        return {n: hits.library(self.work / f"hits_{n}.npz", lambda n=n: make(n)) for n in names}

    def _new_libraries(self):
        rng = np.random.default_rng(self.seed)
        shapes = self.data / "wfc3_uvis_dark_hits.fits"
        stis = hits.stis_library(self.data, self.work.parent)
        itl = hits.itl(self.data / "itl_cosmic_rays_2017.fits.gz")
        faint = hits.uvis(shapes, rng, single=True, scale=0.6)
        solid = hits.uvis(shapes, rng, single=False)
        whole, n = stis.where(lambda n, total: n >= 2), len(stis)
        whole = hits.mixed(whole, solid.sample(n // 2, rng))
        return {
            "faint": hits.mixed(faint, stis.sample(len(faint) // 3, rng)),
            "ground": hits.mixed(whole, itl.sample(n, rng)),
            "other": hits.mixed(whole, itl.sample(n // 100, rng)),
        }

    def _make(self, group, field, index, rng):
        base = self._background(group, field, index, rng) or self._scene(group, field, index, rng)
        shape = base["image"].shape
        noise = base["noise"]
        # Of pixels hit: 1.5 to 4 % in 1,000 s; from the ground as many as needed to count.
        fraction = np.exp(rng.uniform(np.log(1.5e-5), np.log(4e-5))) * base["seconds"]
        if group == "ground":
            fraction = rng.uniform(0.005, 0.02)
        library = self._libraries.get(group, self._libraries["other"])
        charge, rim = library.paste(shape, fraction, noise, rng)
        truth = np.where(charge > 3 * noise, HIT, np.where(charge > 0, IGNORED, CLEAN))
        truth[rim] = IGNORED
        truth[base["ignore"]] = IGNORED
        image = base["image"] + charge
        spikes = np.zeros(shape, bool)
        places = rng.integers(0, shape, (rng.poisson(_SPIKES * image.size), 2))
        spikes[tuple(places.T)] = True
        spikes &= ~binary_dilation(truth != CLEAN, _SQUARE, 2) & (noise < 2 * np.median(noise))
        n = np.count_nonzero(spikes)
        image[spikes] += np.maximum(rng.lognormal(np.log(700), 1.1, n), 8 * noise[spikes])
        truth[binary_dilation(spikes, _SQUARE) & (truth == CLEAN)] = IGNORED
        truth[spikes] = SPIKE
        image = np.minimum(image, base["limit"])
        truth[image >= base["limit"]] = IGNORED
        y, x = self._lone_stars(base["y"], base["x"], truth)
        return {
            "image": image.astype(np.float32),
            "truth": truth.astype(np.uint8),
            "charge": charge.astype(np.float32),
            "noise": noise.astype(np.float32),
            "y": y.astype(np.int32),
            "x": x.astype(np.int32),
            **{k: base[k] for k in ("peak", "seconds", "readnoise")},
        }

    @staticmethod
    def _lone_stars(y, x, truth):
        """Return the stars more than 3 pixels from anything that is not clean."""
        near = binary_dilation(np.pad(truth, 1) != CLEAN, _SQUARE, 3)[1:-1, 1:-1]
        inside = (y > 3) & (y < truth.shape[0] - 4) & (x > 3) & (x < truth.shape[1] - 4)
        y, x = y[inside], x[inside]
        return y[~near[y, x]], x[~near[y, x]]

    def _background(self, group, field, index, rng):
        """Return real pixels where the cell has some, or None."""
        if group == "ground" and field == "GC":
            part = real.saao(self.data)[index % 5]
        elif group == "ground" and field == "EX" and index % 2 == 0:
            part = real.decam(self.data)[index // 2 % 5]
        elif group == "soft" and field == "GC" and index % 2 == 0:
            part = real.hrc(self.data)[index // 2 % 2]
        else:
            return None
        corner = [rng.integers(0, max(n - self.size, 0) + 1) for n in part.image.shape]
        cut = tuple(slice(c, c + self.size) for c in corner)
        y, x = part.y - corner[0], part.x - corner[1]
        seconds = part.seconds
        if field == "GC" and group == "soft":
            seconds = 500.0  # of hits: 60 s would have few
        return {
            "image": part.image[cut],
            "noise": part.noise[cut],
            "ignore": part.ignore[cut],
            "y": y,
            "x": x,
            "peak": np.nan,
            "seconds": seconds,
            "readnoise": part.readnoise,
            "limit": np.inf,
        }

    def _scene(self, group, field, index, rng):
        """Return a simulated exposure without hits, bias and dark current subtracted."""
        shape = (self.size, self.size)
        if group == "ground":
            psf = optics.ground(_FWHM[index % len(_FWHM)] * rng.uniform(0.95, 1.05), rng)
        else:
            families = _ONLY.get(group, optics.FAMILIES)
            family = families[(index + FIELDS.index(field)) % len(families)]
            psf = optics.space(family, _PEAK[group] * rng.uniform(0.95, 1.05), self.data, rng)
            psf = optics.trailed(psf, rng) if group == "trailed" else psf
        if field == "EX":
            light, stars = scenes.empty_field(shape, psf, self._galaxies, rng)
        else:
            light, stars = {"GC": scenes.globular, "GAL": scenes.disc}[field](shape, psf, rng)
        seconds = float(np.exp(rng.uniform(np.log(100), np.log(1500))))
        readnoise = float(rng.uniform(3.5, 5.5))
        sky = rng.uniform(0.03, 0.15)
        if group == "ground":
            light, sky = light * 3, 10 ** rng.uniform(-0.3, 1)
            readnoise *= 1.5
        expected = (light + sky) * seconds * rng.normal(1, 0.004, shape)
        dark = 0.01 * seconds
        noise = np.sqrt(expected + dark + readnoise**2)
        image = rng.poisson(expected + dark) - dark + rng.normal(0, readnoise, shape)
        y, x = (np.rint(v).astype(int) for v in stars[:2])
        flux = stars[2] * seconds * (3 if group == "ground" else 1)
        return {
            "image": image,
            "noise": noise,
            "ignore": binary_dilation(image > _FULL_WELL, _SQUARE, 2),
            **self._bright_stars(y, x, flux * psf.peak, noise),
            "peak": psf.peak,
            "seconds": seconds,
            "readnoise": readnoise,
            "limit": _FULL_WELL,
        }

    @staticmethod
    def _bright_stars(y, x, peak, noise):
        """Return each pixel with a star whose peak is above 8 standard deviations, once."""
        inside = (y >= 0) & (y < noise.shape[0]) & (x >= 0) & (x < noise.shape[1])
        y, x, peak = y[inside], x[inside], peak[inside]
        bright = peak > 8 * noise[y, x]
        y, x = np.unique(np.stack([y[bright], x[bright]]), axis=1)
        return {"y": y, "x": x}
