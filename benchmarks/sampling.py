"""
What each way of sampling leaves of a thousand draws, and what it costs.

python benchmarks/sampling.py [--models acs-wfc-vi,acs-wfc-fast-vi] [--draws 1000] [--size 256]
                              [--out DIR]

Root-mean-square errors of probability, standard deviation and mutual information against
``--draws`` antithetic draws, over the pixels that are not trivial (p > 0.01), and the largest error
of the probability over all pixels; three fields as HST sees them, three thick CCDs on the ground
(seeing of 4 pixels).

Then how adaptive sampling compares with all draws: time, and the largest difference of the
probability, for frames of an HST camera and of one on the ground (seeing of 4 pixels, 300 s, a
thick CCD, two muons per square centimetre and minute), hot pixels subtracted.
"""

import argparse
import statistics
import time
from pathlib import Path

import numpy as np
from _machine import describe, write
from _settings import FIELDS, HIT_RATE, READNOISE, make_frames
from astropy.table import Table

import cosmiq_astro as ca
from cosmiq_astro.simulate import cosmic_ray_footprints, expose, moffat_psf, simulate_scene

SETTINGS = ("familiar", "PSF of 4 pixels")
WAYS = {
    "mean weights": [{"sampling": "mean"}],
    "4 antithetic": [{"T": 4, "seed": s} for s in (1, 2, 3)],
    "8 antithetic": [{"T": 8, "seed": s} for s in (1, 2, 3)],
    "16 antithetic": [{"T": 16, "seed": s} for s in (1, 2, 3)],
    "16 independent": [{"T": 16, "seed": s, "sampling": "independent"} for s in (1, 2, 3)],
    "moments": [{"sampling": "moments"}],
}
PLANES = ("probability", "uncertainty", "mutual_information")
# Seconds, FWHM of the PSF (pixels; None for HST's own), sky (electron / s), hits per second and
# cm2, and thickness of the silicon (micrometres).
PLACES = {"HST": (500, None, 0.06, 1.0, 14), "ground": (300, 4.0, 1.0, 0.033, 100)}
DRAWS = (16, 64)
REPEATS = 3


def errors(detector, image, n_draws):
    """Return squared errors of each way, and the largest of p: one row per way."""
    truth = detector(image, T=n_draws, seed=1000, readnoise=READNOISE)
    chosen = truth.probability > 0.01
    found = {}
    for way, runs in WAYS.items():
        squares, largest = [], []
        for settings in runs:
            maps = detector(image, readnoise=READNOISE, **settings)
            differences = [getattr(maps, name) - getattr(truth, name) for name in PLANES]
            squares.append([np.sum(d[chosen].astype(float) ** 2) for d in differences])
            largest.append(np.abs(differences[0]).max())
        found[way] = np.mean(squares, axis=0), np.mean(largest)
    return found, np.count_nonzero(chosen)


def accuracy_rows(detector, options):
    """Return the rows of the first table."""
    rows = []
    for setting in SETTINGS:
        frames = make_frames(setting, 3, options.size, options.seed)
        parts = [errors(detector, image, options.draws) for image, _ in frames]
        n = sum(count for _, count in parts)
        for way in WAYS:
            squares = sum(found[way][0] for found, _ in parts)
            row = {"model": detector.model.name, "setting": setting, "way": way}
            row |= {
                f"rms_{name}": round(float(np.sqrt(s / n)), 5)
                for name, s in zip(PLANES, squares, strict=True)
            }
            row["largest_p"] = round(float(max(found[way][1] for found, _ in parts)), 4)
            rows.append(row | {"n_pixels": n})
            print(*rows[-1].values(), flush=True)
    return rows


def exposure(place, field, size):
    """Return an exposure, electron: three blocks of 512 x 512 pixels repeated to the size."""
    seconds, psf, sky_rate, hit_rate, thickness = PLACES[place]
    library = cosmic_ray_footprints(3000, seed=0, thickness=thickness)
    parts = []
    for seed in (1, 2, 3):
        rng = np.random.default_rng(seed)
        scene = simulate_scene((512, 512), field, psf and moffat_psf(psf), seed=rng)
        n = rng.poisson(hit_rate * HIT_RATE * seconds * 512**2)
        parts.append(
            expose(
                scene.rate,
                seconds,
                library.paste((512, 512), n, rng),
                seed=rng,
                sky_rate=sky_rate,
                readnoise=READNOISE,
                defects=False,
            )[0]
        )
    strip = np.concatenate(parts)
    return np.tile(strip, (-(-size // strip.shape[0]), -(-size // 512)))[:size, :size]


def adaptive_rows(detector, size):
    """Return the rows of the second table."""
    rows = []
    for place in PLACES:
        for field in FIELDS:
            image = exposure(place, field, size)
            for T in DRAWS:
                seconds, maps = {"antithetic": [], "adaptive": []}, {}
                for _ in range(REPEATS):
                    for sampling, times in seconds.items():
                        start = time.perf_counter()
                        maps[sampling] = detector(
                            image, T=T, seed=1, sampling=sampling, readnoise=READNOISE
                        )
                        times.append(time.perf_counter() - start)
                full, found = maps["antithetic"], maps["adaptive"]
                medians = {s: statistics.median(times) for s, times in seconds.items()}
                row = {
                    "model": detector.model.name,
                    "frame": f"{place}, {field}",
                    "T": T,
                    "seconds": round(medians["antithetic"], 3),
                    "seconds_adaptive": round(medians["adaptive"], 3),
                    "ratio": round(medians["adaptive"] / medians["antithetic"], 3),
                    "share_of_all_draws": round(float(np.mean(found.n_draws == T)), 4),
                }
                row |= {
                    f"largest_{name}": round(
                        float(np.abs(getattr(found, name) - getattr(full, name)).max()), 5
                    )
                    for name in PLANES
                }
                rows.append(row)
                print(*row.values(), flush=True)
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument("--models", default="acs-wfc-vi,acs-wfc-fast-vi")
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--seed", type=int, default=20261125)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    detectors = [ca.CosmicRayDetector(name, device="cpu") for name in options.models.split(",")]
    models = [f"{found.model.name} version {found.model.version}" for found in detectors]
    common = describe() | {
        "models": ", ".join(models),
        "command": "python benchmarks/sampling.py --out DIR",
    }
    table = Table(rows=[row for found in detectors for row in accuracy_rows(found, options)])
    table.meta |= {"title": f"Error against {options.draws} draws", **common}
    write(table, options.out, "sampling")
    table = Table(rows=[row for found in detectors for row in adaptive_rows(found, 1024)])
    table.meta |= {"title": "Adaptive sampling beside all draws, 1024 x 1024 pixels", **common}
    write(table, options.out, "adaptive")


if __name__ == "__main__":
    main()
