"""
Two-dimensional spectra: lines eaten and hits found, with and without the spectrum's model.

Simulated long-slit frames (40 sky lines, three traces with emission lines, simulated cosmic rays)
and, with ``--stis``, the slit rows of real HST/STIS frames: the median of nine exposures with its
photon and read noise, and real hits from rows beside the slit. Hot pixels are left out there.
astroscrappy has, of 60 settings, the one whose F1 is highest on the frames themselves.

    python benchmarks/spectra.py --frames 3 --stis stis_ccd_1999.fits
"""

import argparse

import numpy as np
from astropy.io import fits
from astropy.nddata import CCDData
from scipy import ndimage

import cosmiq_astro as ca
from cosmiq_astro.simulate import simulate_cosmic_rays

SQUARE = np.ones((3, 3))
SLIT, STIS_NOISE, SIMULATED_NOISE = slice(400, 620), 6.6, 5.0


def simulated(rng, shape=(512, 768)):
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
    return image, label, (charge > 0.5) & ~label, scene > 60


def observed(path, rng, number):
    """Return the same of STIS's slit rows, with the hits of other rows of a frame."""
    with fits.open(path) as hdus:
        rate = hdus["MEDRATE"].data.astype(float)
        exposure = hdus["SCI", number]
        level = rate * exposure.header["EXPTIME"]
        residual = exposure.data - level
    hot, noise = level > 30, np.sqrt(np.maximum(level, 0) + STIS_NOISE**2)
    cores = (residual > 5 * noise) & ~hot
    hits = ndimage.binary_dilation(cores, SQUARE) & (residual > noise) & ~hot
    charge = np.where(hits, residual, 0)[100:320]
    scene = np.maximum(level[SLIT], 0)
    smooth = ndimage.median_filter(scene, size=5)
    warm = ndimage.binary_dilation(scene - smooth > 4 * np.sqrt(smooth + STIS_NOISE**2), SQUARE)
    image = rng.poisson(scene + charge) + rng.normal(0, STIS_NOISE, scene.shape)
    label = charge > 3 * np.sqrt(scene + STIS_NOISE**2)
    return image, label, ((charge > 0) & ~label) | warm, smooth > 60


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
        "eaten (%)": 100 * (mask & ~label & on).sum() / max((~label & on).sum(), 1),
        "recall on it": (mask & label & on).sum() / max((label & on).sum(), 1),
    }


def astroscrappy_masks(frame, readnoise):
    """Return its mask at each of its settings."""
    from astroscrappy import detect_cosmics

    image = frame[0].astype(np.float32)
    masks = {}
    for mode in ({}, {"psfmodel": "gaussx"}, {"psfmodel": "gaussy"}):
        settings = {"fsmode": "convolve", "psffwhm": 3.0, **mode} if mode else {}
        for sigclip in (4, 5, 6, 8, 12):
            for objlim in (2, 5, 10, 20):
                key = mode.get("psfmodel", "median"), sigclip, objlim
                masks[key], _ = detect_cosmics(
                    image, sigclip=sigclip, objlim=objlim, gain=1, readnoise=readnoise,
                    satlevel=1e9, **settings,
                )  # fmt: skip
    return masks


def report(name, masks, frames):
    """Print the mean scores of a method."""
    rows = [scores(mask, frame) for mask, frame in zip(masks, frames, strict=True)]
    means = {key: np.mean([row[key] for row in rows]) for key in rows[0]}
    print(
        f"{name:36s}", "  ".join(f"{key} {value:.4f}" for key, value in means.items()), flush=True
    )


def compare(frames, readnoise, models, T):
    """Compare all methods on frames."""
    for model in models:
        for spectrum in (None, "x"):
            masks = [
                ca.cosmicray_vi(
                    CCDData(frame[0], unit="electron"),
                    T,
                    model=model,
                    readnoise=readnoise,
                    seed=1,
                    spectrum=spectrum,
                ).cr_mask
                for frame in frames
            ]
            report(f"{model}{', spectrum' if spectrum else ''}", masks, frames)
    found = [astroscrappy_masks(frame, readnoise) for frame in frames]
    mean = {
        key: np.mean([scores(m[key], f)["F1"] for m, f in zip(found, frames, strict=True)])
        for key in found[0]
    }
    best = max(mean, key=mean.get)
    report(f"astroscrappy {best}", [masks[best] for masks in found], frames)


def main():
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--frames", type=int, default=3)
    parser.add_argument("--stis", metavar="FILE", help="stis_ccd_1999.fits")
    parser.add_argument("--models", nargs="+", default=["acs-wfc-vi", "ccd-vi"])
    parser.add_argument("-T", type=int, default=4)
    parser.add_argument("--seed", type=int, default=5)
    args = parser.parse_args()
    rng = np.random.default_rng(args.seed)
    print("simulated")
    frames = [simulated(rng) for _ in range(args.frames)]
    compare(frames, SIMULATED_NOISE, args.models, args.T)
    if args.stis:
        print("STIS")
        frames = [observed(args.stis, rng, 2 + k) for k in range(min(args.frames, 8))]
        compare(frames, STIS_NOISE, args.models, args.T)


if __name__ == "__main__":
    main()
