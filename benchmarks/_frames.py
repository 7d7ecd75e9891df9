"""Frames with a known truth for `accuracy.py`: what they are, made once, kept as .npz files."""

import hashlib
import re
import sys
from dataclasses import astuple, dataclass
from functools import cache
from pathlib import Path

import numpy as np
from _files import kept
from astropy.io import fits
from scipy.ndimage import distance_transform_edt

from cosmiq_astro.simulate import (
    bias_steps,
    cosmic_ray_footprints,
    expose,
    flat_residual,
    label_from_charge,
    moffat_psf,
    psf_from_image,
    simulate_scene,
)

sys.path.append(str(Path(__file__).parents[1] / "recipes"))
import real_hits

__all__ = ["FIELDS", "Frame", "Frames", "Spec", "specs_of"]

FIELDS = ("extragalactic", "globular", "galaxy")
FILTERS = ("f435w", "f606w", "f814w")
# Electron per second and pixel: zodiacal and earth light, and dark current.
SKY = {"f435w": 0.04, "f606w": 0.13, "f814w": 0.11}
TIMES = (100, 500, 1500)
# Of set e, with how many frames there are of each: short exposures have few hits.
CONDITION_TIMES = {10: 20, 100: 6, 1000: 4, 2000: 4}
READNOISE = 4.5
HIT_RATE = 2.25e-6  # one per second and cm2, on pixels of 15 um
TINYTIM_SCALE = 0.0495  # arcsec


@dataclass(frozen=True)
class Spec:
    """
    What makes one frame; ``key`` names its file, and seeds it.

    ``kind`` is the cell's name in sets d and e; ``psf`` a TinyTim filter,
    ``'trailed'``, or the FWHM of a Moffat profile in pixels; ``rate`` a factor
    on the rate of hits.
    """

    part: str
    field: str
    exptime: float
    psf: str = "f606w"
    hits: str = "stis"
    rate: float = 1.0
    sky: float | None = None
    kind: str = ""
    index: int = 0
    size: int = 512

    @property
    def key(self):
        """File name without its ending."""
        parts = (str(value) for value in astuple(self) if value not in (None, ""))
        return re.sub("[ ,]+", "-", "_".join(parts))

    @property
    def cell(self):
        """Name of the cell of the table that the frame belongs to."""
        return self.kind or f"{self.field} {self.psf.upper()} {self.exptime:g} s"

    @property
    def groups(self):
        """Names of all rows that the frame counts in."""
        if self.part == "d":
            return ("all", self.cell)
        if self.part == "e":
            return ("all", f"{self.exptime:g} s", f"sky {self.sky:g}", self.cell)
        return ("all", self.field, self.psf.upper(), f"{self.exptime:g} s", self.cell)

    @property
    def seed(self):
        """A seed of its own: 64 bits, none of those that the recipes use."""
        return int.from_bytes(hashlib.sha256(self.key.encode()).digest()[:8])


@dataclass(frozen=True)
class Frame:
    """An exposure with its truth; images in electron, stars as integer pixels and S/N."""

    name: str
    image: np.ndarray
    expected: np.ndarray
    charge: np.ndarray
    star_y: np.ndarray
    star_x: np.ndarray
    star_snr: np.ndarray
    readnoise: float = READNOISE

    def truth(self):
        """Return noise (electron), label and ignored pixels."""
        noise = np.sqrt(np.maximum(self.expected, 0) + np.float32(self.readnoise) ** 2)
        return noise, *label_from_charge(self.charge, noise)

    def distance(self):
        """Return the distance of each pixel from the nearest hit, pixels."""
        _, label, ignore = self.truth()
        return distance_transform_edt(~(label | ignore))


def specs_of(part, n, size):
    """Return the specs of set ``part``: ``n`` frames of each cell and field; set e has its own."""
    grid = [(field, i) for i in range(n) for field in FIELDS]
    if part in ("a", "b", "tuning"):
        hits = "simulated" if part == "b" else "stis"
        return [
            Spec(part, field, time, psf, hits, index=i, size=size)
            for psf in FILTERS
            for time in TIMES
            for field, i in grid
        ]
    if part == "d":
        kinds = {
            "thick CCD": {"hits": "thick"},
            "FWHM 1.2": {"psf": "1.2"},
            "FWHM 2.5": {"psf": "2.5"},
            "FWHM 5": {"psf": "5"},
            "trailed": {"psf": "trailed"},
            "SAA": {"rate": 30.0},
        }
        return [
            Spec(part, field, 500, kind=kind, index=i, size=size, **options)
            for kind, options in kinds.items()
            for field, i in grid
        ]
    return [
        Spec(part, field, time, sky=sky, kind=f"{time} s, sky {sky}", index=i, size=size)
        for time, n_frames in CONDITION_TIMES.items()
        for sky in (0.01, 0.06, 0.5)
        for i in range(n_frames)
        for field in FIELDS
    ]


class Frames:
    """
    Frames by their spec, read from ``work`` or made and written there.

    Parameters
    ----------
    data, work : `~pathlib.Path`
        Folder of the real hits and PSFs, and of the frames.
    """

    def __init__(self, data, work):
        self.data, self.work = data, work / "frames"
        self._library, self._psf = cache(self._read_library), cache(self._read_psf)

    def __call__(self, spec):
        """Return the frame of a spec."""
        return Frame(spec.key, **kept(self.work / f"{spec.key}.npz", lambda: self._make(spec)))

    def _read_library(self, hits):
        if hits == "stis":
            return real_hits.stis_hits(self.data / "stis_ccd_1999.fits", real_hits.STIS_VALIDATION)
        if hits == "thick":
            return real_hits.itl_hits(self.data / "itl_cosmic_rays_2017.fits.gz", "validation")
        return cosmic_ray_footprints(20_000, seed=int.from_bytes(b"accuracy"))

    def _read_psf(self, name):
        if name == "trailed":
            return self._read_psf("f606w").trailed(5.0, 0.6)
        if name not in FILTERS:
            return moffat_psf(float(name))
        path = self.data / "tinytim_acs_wfc" / f"acs_wfc_{name}.fits.gz"
        image, header = fits.getdata(path, header=True)
        return psf_from_image(
            image, TINYTIM_SCALE, pixel_scale=0.05, charge_diffusion=diffusion_of(header)
        )

    def _make(self, spec):
        """Return the arrays of a new frame, dark-subtracted as a pipeline leaves it."""
        rng = np.random.default_rng(spec.seed)
        shape, psf = (spec.size, spec.size), self._psf(spec.psf)
        scene = simulate_scene(shape, spec.field, psf, seed=rng)
        n = rng.poisson(HIT_RATE * spec.rate * spec.exptime * spec.size**2)
        hits = self._library(spec.hits).paste(shape, n, rng)
        sky = SKY.get(spec.psf, SKY["f606w"]) if spec.sky is None else spec.sky
        image, expected, charge = expose(
            scene.rate * flat_residual(shape, rng),
            spec.exptime,
            hits,
            seed=rng,
            sky_rate=sky,
            readnoise=READNOISE,
            defects=False,
        )
        steps = bias_steps(shape, rng)
        frame = {"image": image + steps, "expected": expected + steps, "charge": charge}
        return frame | star_cores(scene.stars, psf, spec.exptime, frame["expected"])


def diffusion_of(header):
    """Return the standard deviation (pixels) of the charge diffusion that TinyTim leaves out."""
    rows = [line.split() for line in header["COMMENT"]]
    kernel = np.array([row for row in rows if len(row) == 3 and row[0].startswith("0.")], float)
    return np.sqrt(kernel[[0, 2]].sum() / kernel.sum())


def star_cores(stars, psf, exptime, expected):
    """
    Return the central pixels of the stars with their S/N in 3 x 3 pixels, each pixel once.

    The noise is that of all light in these pixels and of reading them.
    """
    y, x = (np.rint(stars[name]).astype(np.int32) for name in ("y", "x"))
    ny, nx = expected.shape
    whole = (y > 3) & (y < ny - 4) & (x > 3) & (x < nx - 4)
    y, x, flux = y[whole], x[whole], np.asarray(stars["flux"])[whole] * exptime
    kernel = psf.kernel()
    share = kernel[tuple(slice(n // 2 - 1, n // 2 + 2) for n in kernel.shape)].sum()
    step = np.arange(-1, 2)
    core = expected[y[:, None, None] + step[:, None], x[:, None, None] + step]
    variance = np.maximum(core, 0).sum((1, 2)) + 9 * READNOISE**2
    snr = flux * share / np.sqrt(variance)
    order = np.argsort(-snr)
    _, first = np.unique(y[order] * nx + x[order], return_index=True)
    chosen = order[first]
    return {"star_y": y[chosen], "star_x": x[chosen], "star_snr": snr[chosen].astype(np.float32)}
