"""
What tools flag of real frames: HST/ACS HRC of 47 Tucanae, and a bulge field from the ground.

python benchmarks/real_frames.py --data DIR [--models NAME,NAME] [--out docs/validation]

Nobody knows the truth of these frames. What is known: the core of a bright, unsaturated star is no
hit. Stars are found by their profile, and on the ground by their presence in other exposures, too.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from _files import write
from _peers import deepcr, model_tool
from astropy.io import fits
from astropy.table import Table
from photutils.detection import DAOStarFinder
from scipy import fft
from scipy.ndimage import distance_transform_edt
from scipy.stats import beta

from cosmiq_astro.preprocess import estimate_statistics

STAR_SNR = 30
HRC_RAW = ("j8bt05njq", "j8bt06o6q")
HRC_BIAS, HRC_GAIN, HRC_READNOISE, HRC_FWHM = 1135, 2.0, 4.71, 2.6
HRC_SATURATED = 120_000  # electron: the converter ends at 131,070
SAAO = (82, 83, 84, 85, 86)
SAAO_GAIN, SAAO_READNOISE, SAAO_FWHM = 1.9, 5.0, 6.4
SATURATION_ROOM = 8  # pixels: stars nearer to saturated pixels do not count
LEAST_CORRELATION = 0.9


@dataclass(frozen=True)
class RealFrame:
    """A real exposure (electron), and its stars."""

    name: str
    image: np.ndarray
    readnoise: float
    star_y: np.ndarray
    star_x: np.ndarray


def hrc_frames(data):
    """Return the two raw frames, bias subtracted."""
    frames = []
    for root in HRC_RAW:
        raw = fits.getdata(data / f"acs_hrc_{root}_raw.fits.gz", "SCI")[:1024, 19:1043]
        image = (raw.astype(np.float32) - HRC_BIAS) * HRC_GAIN
        saturated = distance_transform_edt(image <= HRC_SATURATED) <= SATURATION_ROOM
        y, x = find_stars(image, HRC_READNOISE, HRC_FWHM, saturated)
        frames.append(RealFrame(f"HRC {root}", image, HRC_READNOISE, y, x))
    return frames


def saao_frames(data):
    """Return the five frames; a star counts if at least three of the others show it, too."""
    images, stars = [], []
    for number in SAAO:
        raw = fits.getdata(data / f"saao_ste3_bulge_{number:04d}.fits.gz")
        saturated = distance_transform_edt(raw < 60_000) <= 2 * SATURATION_ROOM
        images.append(raw.astype(np.float32) * np.float32(SAAO_GAIN))
        stars.append(find_stars(images[-1], SAAO_READNOISE, SAAO_FWHM, saturated))
    frames = []
    for i, (image, (y, x)) in enumerate(zip(images, stars, strict=True)):
        seen = np.zeros(y.size, int)
        for other, positions in zip(images, stars, strict=True):
            if other is not image:
                seen += _within(y, x, positions, shift_of(image, other))
        kept = seen >= 3
        frames.append(RealFrame(f"SAAO {SAAO[i]:04d}", image, SAAO_READNOISE, y[kept], x[kept]))
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
    like = light @ profile > LEAST_CORRELATION * np.linalg.norm(profile)
    return y[like], x[like]


def score_frame(frame, name, threshold, probability):
    """Return one row: what a tool flags of a frame and of its stars."""
    flagged = probability >= threshold
    n = frame.star_y.size
    padded = np.pad(flagged, 1)
    cores = [padded[frame.star_y + i, frame.star_x + j] for i in range(3) for j in range(3)]
    k = int(np.count_nonzero(np.any(cores, axis=0)))
    return {
        "tool": name,
        "frame": frame.name,
        "flagged": int(flagged.sum()),
        "stars": n,
        "stars_flagged": k,
        # Clopper & Pearson (1934), one-sided, 95 %
        "stars_limit": float(beta.ppf(0.95, k + 1, n - k)) if k < n else 1.0,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--models", default="acs-wfc-unet,acs-wfc-vi")
    parser.add_argument("--out", type=Path, default=Path("docs/validation"))
    options = parser.parse_args()
    network = deepcr()
    tools = [("deepCR", 0.5, network)]
    for name in options.models.split(","):
        tool = model_tool(name, 16)
        tools.append((tool.name, tool.threshold, lambda f, tool=tool: tool.run(f).probability))
    frames = [*hrc_frames(options.data), *saao_frames(options.data)]
    rows = [
        score_frame(frame, name, threshold, np.nan_to_num(run(frame)))
        for name, threshold, run in tools
        for frame in frames
    ]
    table = Table(rows)
    write(
        table,
        options.out / "real_frames.ecsv",
        "Real frames",
        "Pixels flagged, and bright unsaturated stars with a flagged pixel among the 3 x 3 of "
        "their core (stars_limit: upper limit of their share, 95 %). HRC: 47 Tuc; SAAO: a crowded "
        "field on the ground, stars that three other exposures show.",
    )
    table.pprint_all()


if __name__ == "__main__":
    main()
