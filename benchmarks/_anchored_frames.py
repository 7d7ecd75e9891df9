"""Tiles like those of deepCR's test set: scenes, hits, and labels from repeated exposures."""

from dataclasses import dataclass, field
from functools import cache

import _transfer_hits as hits
import _transfer_optics as optics
import _transfer_scenes as scenes
import numpy as np
from _transfer_frames import CLEAN, HIT, IGNORED
from scipy.ndimage import binary_dilation, label

__all__ = ["Conditions", "Maker", "Tile", "drizzle_label", "label_shapes"]

_SIZE = 256  # pixels to a side, as in deepCR's test set
_SHAPE = (_SIZE, _SIZE)
_SQUARE = np.ones((3, 3), bool)
_READNOISE = 5.0
_FULL_WELL = 84_700


@dataclass(frozen=True)
class Tile:
    """
    An exposure (electron) with the label that a stack gives.

    ``truth`` and the stars, of which there are none, are what
    `_transfer_scores.count` asks for.
    """

    name: str
    image: np.ndarray
    truth: np.ndarray
    readnoise: float = _READNOISE
    y: np.ndarray = field(default_factory=lambda: np.zeros(0, int))
    x: np.ndarray = field(default_factory=lambda: np.zeros(0, int))


@dataclass(frozen=True)
class Conditions:
    """
    What of a field is fitted.

    Attributes
    ----------
    density, brightness : float
        Factors on the number of stars and galaxies, and on their light.
    seconds : tuple of float
        Lowest and highest exposure time.
    charge : float
        Factor on the charge of hits.
    fraction : tuple of float
        Lowest and highest share of pixels under hits.
    rim : float
        Standard deviations above the median from which a neighbour of a hit counts.
    others : int
        Exposures that the median is of, besides.
    breathing : float
        Share by which the stars of the median differ from the exposure's.
    """

    density: float = 1.0
    brightness: float = 1.0
    seconds: tuple = (400.0, 1200.0)
    charge: float = 1.0
    fraction: tuple = (0.022, 0.04)
    rim: float = 3.0
    others: int = 3
    breathing: float = 0.03


def drizzle_label(image, median, readnoise, *, snr=(3.5, 3.0), scale=(1.2, 0.7)):
    """
    Return what AstroDrizzle's comparison with a median calls cosmic rays.

    Its defaults: pixels that stand above the median by 3.5 standard deviations
    and 1.2 times its steepest slope, and their neighbours by 3 and 0.7.
    """
    padded = np.pad(median, 1, mode="edge")
    shifted = (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:])
    slope = np.max([np.abs(s - median) for s in shifted], axis=0)
    noise = np.sqrt(np.maximum(median, 0) + readnoise**2)
    rest = image - median
    first, second = (rest > k * slope + s * noise for s, k in zip(snr, scale, strict=True))
    return first | (second & binary_dilation(first, _SQUARE))


class Maker:
    """
    Makes tiles of a field under given conditions.

    Parameters
    ----------
    data, work : `~pathlib.Path`
        Folders of the real data, and of what is kept.
    seed : int
        Same seed and number, same draws, whatever the conditions.
    """

    def __init__(self, data, work, *, seed=0):
        self.seed = seed
        self._light = cache(self._new_light)
        rng = np.random.default_rng(seed)
        self._psf = optics.space("tinytim", None, data, rng, filters=("f606w",))
        self._galaxies = scenes.Galaxies(data)
        stis = hits.stis_library(data, work)
        uvis = hits.library(
            work / f"uvis_{seed}.npz",
            lambda: hits.uvis(
                data / "wfc3_uvis_dark_hits.fits", np.random.default_rng(seed), single=True
            ),
        )
        self._hits = hits.mixed(uvis, stis.sample(len(uvis) // 2, rng))

    def __call__(self, field, number, conditions):
        """Return one tile."""
        c = conditions
        rng = np.random.default_rng([self.seed, number, *field.encode()])
        seconds = rng.uniform(*c.seconds)
        sky = rng.uniform(0.06, 0.15)
        fraction = rng.uniform(*c.fraction)
        light = self._light(field, number, c.density) * c.brightness
        expected = (light + sky) * seconds
        noise = np.sqrt(expected + _READNOISE**2)
        charge, _ = self._hits.paste(_SHAPE, fraction, noise, rng, scale=c.charge)
        image = self._expose(expected, rng) + charge
        stack = [
            self._expose(expected * (1 + c.breathing * rng.normal() * light / (light + sky)), rng)
            for _ in range(c.others)
        ]
        hit = drizzle_label(image, np.median(stack, axis=0), _READNOISE, snr=(3.5, c.rim))
        truth = np.where(hit, HIT, CLEAN)
        truth[binary_dilation(image > _FULL_WELL, _SQUARE, 2)] = IGNORED
        image = np.minimum(image, _FULL_WELL).astype(np.float32)
        return Tile(f"{field}_{number}", image, truth)

    def _new_light(self, field, number, density):
        """Return the stars and galaxies, electron per second."""
        rng = np.random.default_rng([self.seed, number, *field.encode(), 1])
        options = {"density": density}
        if field == "EX":
            return scenes.empty_field(_SHAPE, self._psf, self._galaxies, rng, **options)[0]
        make = {"GC": scenes.globular, "GAL": scenes.disc}[field]
        return make(_SHAPE, self._psf, rng, **options)[0]

    @staticmethod
    def _expose(expected, rng):
        return rng.poisson(expected) + rng.normal(0, _READNOISE, expected.shape)


def label_shapes(tiles):
    """Return share of pixels, hits per Mpix, and quantiles and shares of pixels per hit."""
    sizes = []
    for tile in tiles:
        groups, _ = label(tile.truth == HIT, _SQUARE)
        sizes.append(np.bincount(groups.ravel())[1:])
    sizes = np.concatenate(sizes)
    pixels = len(tiles) * _SIZE**2
    row = {"pixels_hit": sizes.sum() / pixels, "hits_per_mpix": 1e6 * sizes.size / pixels}
    row |= {f"q{q}": float(np.percentile(sizes, q)) for q in (25, 50, 75, 95)}
    return row | {f"share_{n}": float(np.mean(sizes == n)) for n in range(1, 7)}
