"""Real frames for `accuracy.py`: HST/ACS HRC of 47 Tucanae, and a bulge field from the ground."""

from dataclasses import dataclass, field

import numpy as np
from _scores import STAR_ROOM, STAR_SNR, cores_flagged, upper_limit
from astropy.io import fits
from astropy.table import Table
from photutils.detection import DAOStarFinder
from scipy import fft
from scipy.ndimage import distance_transform_edt

from cosmiq_astro.preprocess import estimate_statistics

__all__ = ["RealFrame", "read_frames", "score_frame"]

_HRC_RAW = ("j8bt05njq", "j8bt06o6q")
_HRC_BIAS, _HRC_GAIN, _HRC_READNOISE, _HRC_FWHM = 1135, 2.0, 4.71, 2.6
_HRC_SATURATED = 120_000  # electron: the converter ends at 131,070
_SAAO = (82, 83, 84, 85, 86)
_SAAO_GAIN, _SAAO_READNOISE, _SAAO_FWHM = 1.9, 5.0, 6.4
_SATURATION_ROOM = 8  # pixels: stars nearer to saturated pixels do not count
_LEAST_CORRELATION = 0.9
_LISTED_STAR_RATE = 1e-3


@dataclass(frozen=True)
class RealFrame:
    """A real exposure (electron), stars that no hit touches, and hits by number (0: none)."""

    name: str
    image: np.ndarray
    readnoise: float
    star_y: np.ndarray
    star_x: np.ndarray
    hits: np.ndarray | None = field(default=None)


def read_frames(data, hrc):
    """Return the real frames; ``hrc`` is the path of the calibrated HRC frame, or None."""
    frames = saao_frames(data)
    for root in _HRC_RAW:
        raw = fits.getdata(data / f"acs_hrc_{root}_raw.fits.gz", "SCI")[:1024, 19:1043]
        image = (raw.astype(np.float32) - _HRC_BIAS) * _HRC_GAIN
        frames.append(_hrc_frame(f"HRC {root}", image, image > _HRC_SATURATED))
    if hrc is not None:
        with fits.open(hrc) as hdus:
            image = hdus["SCI"].data.astype(np.float32)
            saturated = (hdus["DQ"].data & (256 | 2048)) > 0
        table = Table.read(data / "acs_hrc_j8bt06nyq_hits.ecsv")
        hits = np.zeros(image.shape, int)
        hits[table["y"], table["x"]] = table["hit"]
        frames.append(_hrc_frame("HRC j8bt06nyq", image, saturated, hits))
    return frames


def _hrc_frame(name, image, saturated, hits=None):
    avoid = distance_transform_edt(~saturated) <= _SATURATION_ROOM
    if hits is not None:
        avoid |= distance_transform_edt(hits == 0) <= STAR_ROOM
    y, x = find_stars(image, _HRC_READNOISE, _HRC_FWHM, avoid)
    return RealFrame(name, image, _HRC_READNOISE, y, x, hits)


def saao_frames(data):
    """Return the five frames; a star counts if at least three of the others show it, too."""
    images, stars = [], []
    for number in _SAAO:
        raw = fits.getdata(data / f"saao_ste3_bulge_{number:04d}.fits.gz")
        saturated = distance_transform_edt(raw < 60_000) <= 2 * _SATURATION_ROOM
        images.append(raw.astype(np.float32) * np.float32(_SAAO_GAIN))
        stars.append(find_stars(images[-1], _SAAO_READNOISE, _SAAO_FWHM, saturated))
    frames = []
    for i, (image, (y, x)) in enumerate(zip(images, stars, strict=True)):
        seen = np.zeros(y.size, int)
        for other, positions in zip(images, stars, strict=True):
            if other is not image:
                seen += _within(y, x, positions, shift_of(image, other))
        kept = seen >= 3
        frames.append(RealFrame(f"SAAO {_SAAO[i]:04d}", image, _SAAO_READNOISE, y[kept], x[kept]))
    return frames


def _within(y, x, positions, shift):
    """Return which stars lie within 2 pixels of one of the other, shifted, positions."""
    dy, dx = (p[None, :] - s for p, s in zip(positions, shift, strict=True))
    return (np.hypot(y[:, None] - dy, x[:, None] - dx) <= 2).any(axis=1)


def shift_of(first, second):
    """Return by how many rows and columns the second image lies ahead of the first."""
    a, b = (np.arcsinh((i - np.median(i)) / 100) for i in (first, second))
    correlation = fft.irfft2(np.conj(fft.rfft2(a)) * fft.rfft2(b), a.shape)
    peak = np.unravel_index(correlation.argmax(), a.shape)
    return [(p + n // 2) % n - n // 2 for p, n in zip(peak, a.shape, strict=True)]


def find_stars(image, readnoise, fwhm, avoid):
    """
    Return the central pixels of stars: S/N above 30, and the profile of the others.

    The profile is what tells a star from a cosmic ray: a stamp must correlate
    with the median of all stamps.
    """
    noise = estimate_statistics(image, np.isfinite(image), readnoise=readnoise).noise
    found = DAOStarFinder(threshold=5 * noise, fwhm=fwhm)(image)
    y, x = (np.rint(np.asarray(found[n])).astype(int) for n in ("y_centroid", "x_centroid"))
    half = int(np.ceil(fwhm))
    ny, nx = image.shape
    inside = (y > half) & (y < ny - half - 1) & (x > half) & (x < nx - half - 1)
    inside[inside] &= ~avoid[y[inside], x[inside]]
    y, x = y[inside], x[inside]
    step = np.arange(-half, half + 1)
    stamps = image[y[:, None, None] + step[:, None], x[:, None, None] + step]
    light = stamps - np.quantile(stamps, 0.1, axis=(1, 2), keepdims=True)
    core = np.s_[:, half - 1 : half + 2, half - 1 : half + 2]
    variance = np.maximum(stamps[core], 0).sum((1, 2)) + 9 * readnoise**2
    bright = light[core].sum((1, 2)) > STAR_SNR * np.sqrt(variance)
    y, x, light = y[bright], x[bright], light[bright].reshape(np.count_nonzero(bright), -1)
    light -= light.mean(axis=1, keepdims=True)
    light /= np.linalg.norm(light, axis=1, keepdims=True)
    profile = np.median(light, axis=0)
    like = light @ profile > _LEAST_CORRELATION * np.linalg.norm(profile)
    return y[like], x[like]


def score_frame(frame, tool):
    """Return one row: what a tool flags of a real frame, its stars and its listed hits."""
    probability = np.nan_to_num(tool.run(frame)["probability"])
    flagged = probability >= tool.threshold
    n = frame.star_y.size
    k = int(np.count_nonzero(cores_flagged(flagged, frame.star_y, frame.star_x)))
    row = {
        "tool": tool.name,
        "frame": frame.name,
        "flagged": int(flagged.sum()),
        "stars": n,
        "stars_flagged": k,
        "stars_limit": upper_limit(k, n),
        "hits": 0,
        "hits_found": np.nan,
        "hit_pixels_found": np.nan,
        "hit_pixels_found_at_equal_star_rate": np.nan,
    }
    if frame.hits is None:
        return row
    on = frame.hits > 0
    numbers = np.unique(frame.hits[on])
    strict = probability > _star_threshold(probability, frame)
    return row | {
        "hits": numbers.size,
        "hits_found": np.isin(numbers, frame.hits[flagged]).mean(),
        "hit_pixels_found": flagged[on].mean(),
        "hit_pixels_found_at_equal_star_rate": strict[on].mean(),
    }


def _star_threshold(probability, frame):
    """Return the threshold above which one star in a thousand is flagged."""
    padded = np.pad(probability, 1)
    cores = [padded[frame.star_y + i, frame.star_x + j] for i in range(3) for j in range(3)]
    highest = np.sort(np.max(cores, axis=0))[::-1]
    return highest[int(_LISTED_STAR_RATE * highest.size)]
