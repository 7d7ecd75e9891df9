"""
Two-dimensional spectra: lines eaten and hits found, with and without the spectrum's model.

Simulated long-slit frames (40 sky lines, three traces with emission lines, simulated cosmic rays)
and, with ``--stis``, the slit rows of real HST/STIS frames: the median of nine exposures with its
photon and read noise, as if the dark had been subtracted, and real hits from rows beside the slit.
astroscrappy has, of 48 settings, the one whose F1 is highest on as many frames of their own: other
scenes, of STIS other hits and another noise on the same scene. On those frames, too, a threshold
is chosen for each model that eats as little as astroscrappy does, for a comparison at equal cost.

    python benchmarks/spectra.py --stis stis_ccd_1999.fits --out docs/validation
"""

import argparse
import warnings
from itertools import product
from pathlib import Path

import numpy as np
from _files import write
from astropy.io import fits
from astropy.nddata import CCDData
from astropy.table import Table
from astropy.utils.exceptions import AstropyUserWarning
from scipy import ndimage

import cosmiq_astro as ca
from cosmiq_astro.simulate import simulate_cosmic_rays

SQUARE = np.ones((3, 3))
RING = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]], dtype=bool)
SLIT, STIS_NOISE, SIMULATED_NOISE = slice(400, 620), 6.6, 5.0
# Pixels of more electrons than this are the spectrum.
LINE = 60
# Of astroscrappy: profile of the fine structure, sigclip, objlim.
SETTINGS = list(product(("median", "gaussx", "gaussy"), (4.5, 8, 14, 25), (0.5, 2, 5, 15)))
# From the default ones up to p = .9999.
THRESHOLDS = 1 / (1 + np.exp(-np.arange(-0.6, 9.3, 0.1)))


def simulated(rng, shape=(384, 512)):
    """Return image, label, ignored pixels and pixels of the spectrum."""
    y, x = np.mgrid[: shape[0], : shape[1]].astype(float)
    scene = np.full(shape, 20.0)
    for _ in range(40):
        at = x - rng.uniform(0, shape[1]) - rng.normal(0, 0.004) * (y - shape[0] / 2)
        scene += 10 ** rng.uniform(1.5, 4.3) * np.exp(-0.5 * (at / rng.uniform(1.1, 1.8)) ** 2)
    for _ in range(3):
        at = y - rng.uniform(60, shape[0] - 60) - rng.normal(0, 0.004) * (x - shape[1] / 2)
        profile = np.exp(-0.5 * (at / rng.uniform(1.2, 2.2)) ** 2)
        light = 1 + 0.4 * np.sin(x / rng.uniform(60, 200))
        for _ in range(4):
            line = np.exp(-0.5 * ((x - rng.uniform(0, shape[1])) / rng.uniform(1.2, 2)) ** 2)
            light += rng.uniform(0.5, 4) * line
        scene += 10 ** rng.uniform(2, 3.7) * light * profile
    charge = simulate_cosmic_rays(shape, 1000, seed=rng)
    image = rng.poisson(scene + charge) + rng.normal(0, SIMULATED_NOISE, shape)
    label = charge > 3 * np.sqrt(scene + SIMULATED_NOISE**2)
    return image, label, (charge > 0.5) & ~label, scene > LINE


def observed(path, rng, number):
    """Return the same of STIS's slit rows, with the hits of other rows of a frame."""
    with fits.open(path) as hdus:
        rate = hdus["MEDRATE"].data.astype(float)
        exposure = hdus["SCI", number]
        level = rate * exposure.header["EXPTIME"]
        residual = exposure.data - level
    noise = np.sqrt(np.maximum(level, 0) + STIS_NOISE**2)
    hot = level > 30
    cores = (residual > 5 * noise) & ~hot
    hits = ndimage.binary_dilation(cores, SQUARE) & (residual > noise) & ~hot
    charge = np.where(hits, residual, 0)[100:320]
    scene = without_hot_pixels(np.maximum(level[SLIT], 0))
    image = rng.poisson(scene + charge) + rng.normal(0, STIS_NOISE, scene.shape)
    label = charge > 3 * np.sqrt(scene + STIS_NOISE**2)
    return image, label, (charge > 0) & ~label, ndimage.median_filter(scene, size=5) > LINE


def without_hot_pixels(level):
    """
    Return the level as a frame has it whose dark was subtracted.

    Two neighbours of a pixel on a line or a knot are bright as well, of a hot pixel and its
    charge-transfer trail only one is. Off the spectrum all that stands out is hot.
    """
    for _ in range(2):
        around = ndimage.median_filter(level, footprint=RING)
        excess = (level - around) / np.sqrt(around + STIS_NOISE**2)
        second = ndimage.rank_filter(excess, -2, footprint=RING)
        is_dark = ndimage.median_filter(level, size=5) <= LINE
        hot = (excess > 1.5) & (is_dark | (second < 0.4 * excess))
        level = np.where(hot, around, level)
    return level


def scores(mask, frame):
    """Return precision, recall and F1; of the spectrum's pixels, those eaten and the recall."""
    _, label, ignore, spectrum = frame
    valid, on = ~ignore, spectrum & ~ignore
    true, false = (mask & label & valid).sum(), (mask & ~label & valid).sum()
    missed = (~mask & label & valid).sum()
    return {
        "precision": true / max(true + false, 1),
        "recall": true / max(true + missed, 1),
        "F1": 2 * true / max(2 * true + false + missed, 1),
        "eaten": (mask & ~label & on).sum() / max((~label & on).sum(), 1),
        "recall_on_spectrum": (mask & label & on).sum() / max((label & on).sum(), 1),
    }


def astroscrappy_masks(frame, readnoise, settings):
    """Return its mask at each of some settings."""
    from astroscrappy import detect_cosmics

    image = frame[0].astype(np.float32)
    masks = {}
    for profile, sigclip, objlim in settings:
        model = {} if profile == "median" else {"fsmode": "convolve", "psfmodel": profile}
        masks[profile, sigclip, objlim], _ = detect_cosmics(
            image, sigclip=sigclip, objlim=objlim, gain=1, readnoise=readnoise, satlevel=1e9,
            psffwhm=3.0, **model,
        )  # fmt: skip
    return masks


def best_settings(frames, readnoise):
    """Return the settings of astroscrappy whose mean F1 on frames is the highest."""
    found = [astroscrappy_masks(frame, readnoise, SETTINGS) for frame in frames]
    pairs = list(zip(found, frames, strict=True))
    return max(SETTINGS, key=lambda key: sum(scores(m[key], f)["F1"] for m, f in pairs))


def means(masks, frames):
    """Return the mean of each score over frames."""
    found = [scores(*pair) for pair in zip(masks, frames, strict=True)]
    return {key: float(np.mean([row[key] for row in found])) for key in found[0]}


def threshold_that_eats(share, probabilities, frames):
    """Return the lowest threshold above the default that eats no more than a share of frames."""
    for threshold in THRESHOLDS:
        masks = [probability >= threshold for probability in probabilities]
        if means(masks, frames)["eaten"] <= share:
            return threshold
    return THRESHOLDS[-1]


def compare(tuning, frames, readnoise, models, T):
    """Yield a row of mean scores for each method; what is chosen is chosen on the first frames."""
    best = best_settings(tuning, readnoise)
    peer = [
        [astroscrappy_masks(frame, readnoise, [best])[best] for frame in some]
        for some in (tuning, frames)
    ]
    share = means(peer[0], tuning)["eaten"]
    for model in models:

        def detect(frame, spectrum, model=model):
            ccd = CCDData(frame[0], unit="electron")
            return ca.cosmicray_vi(
                ccd, T, model=model, readnoise=readnoise, seed=1, spectrum=spectrum
            )

        yield model, means([detect(frame, None).cr_mask for frame in frames], frames)
        found = [detect(frame, "x") for frame in frames]
        yield f"{model}, spectrum='x'", means([out.cr_mask for out in found], frames)
        tuned = [detect(frame, "x").cr_probability for frame in tuning]
        threshold = threshold_that_eats(share, tuned, tuning)
        masks = [out.cr_probability >= threshold for out in found]
        yield f"{model}, spectrum='x', threshold={threshold:.4g}", means(masks, frames)
    name = "astroscrappy, {}, sigclip={}, objlim={}".format(*best)
    yield name, means(peer[1], frames)


def main():
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--frames", type=int, default=2)
    parser.add_argument("--stis", metavar="FILE", help="stis_ccd_1999.fits")
    parser.add_argument("--models", nargs="+", default=["acs-wfc-vi"])
    parser.add_argument("-T", type=int, default=4)
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--out", type=Path, metavar="DIR", help="for spectra.ecsv")
    args = parser.parse_args()
    warnings.simplefilter("ignore", AstropyUserWarning)
    rng, n = np.random.default_rng(args.seed), args.frames
    sets = {"simulated": ([simulated(rng) for _ in range(2 * n)], SIMULATED_NOISE)}
    if args.stis:
        sets["STIS"] = [observed(args.stis, rng, 2 + k) for k in range(2 * n)], STIS_NOISE
    rows = []
    for name, (frames, readnoise) in sets.items():
        for method, found in compare(frames[:n], frames[n:], readnoise, args.models, args.T):
            rounded = {key: round(value, 4) for key, value in found.items()}
            rows.append({"frames": name, "method": method} | rounded)
            print("  ".join(f"{key} {value}" for key, value in rows[-1].items()), flush=True)
    if args.out:
        text = (
            f"Means over {n} frames. Eaten: share of the spectrum's pixels flagged without a hit."
        )
        title = "Two-dimensional spectra: what is found, and what is eaten"
        write(Table(rows=rows), args.out / "spectra.ecsv", title, text)


if __name__ == "__main__":
    main()
