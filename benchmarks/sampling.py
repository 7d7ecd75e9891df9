"""
What each way of sampling leaves of a thousand draws, and what it costs.

python benchmarks/sampling.py [--models acs-wfc-vi] [--draws 1000] [--size 256]
                              [--out DIR]

Root-mean-square errors of probability, standard deviation and mutual information against
``--draws`` antithetic draws, over the pixels that are not trivial (p > 0.01), and the largest error
of the probability over all pixels; three fields as HST sees them, and three in a seeing of 4
pixels.
"""

import argparse
from pathlib import Path

import numpy as np
from _machine import describe, write
from astropy.table import Table

import cosmiq_astro as ca
from cosmiq_astro.simulate import (
    cosmic_ray_footprints,
    expose,
    hst_psf,
    moffat_psf,
    simulate_scene,
)

FIELDS = ("extragalactic", "globular", "galaxy")
# FWHM of the PSF, pixels; None for HST's own.
SETTINGS = {"familiar": None, "PSF of 4 pixels": 4.0}
SECONDS, READNOISE = 500.0, 4.5
HIT_RATE = 2.25e-6  # per second and pixel: one per second and cm2, on pixels of 15 um
WAYS = {
    "mean weights": [{"sampling": "mean"}],
    "4 antithetic": [{"T": 4, "seed": s} for s in (1, 2, 3)],
    "8 antithetic": [{"T": 8, "seed": s} for s in (1, 2, 3)],
    "16 antithetic": [{"T": 16, "seed": s} for s in (1, 2, 3)],
    "16 independent": [{"T": 16, "seed": s, "sampling": "independent"} for s in (1, 2, 3)],
    "moments": [{"sampling": "moments"}],
}
PLANES = ("probability", "uncertainty", "mutual_information")


def make_images(setting, n, size, seed):
    """Return ``n`` exposures as a pipeline leaves them: hot pixels subtracted."""
    fwhm = SETTINGS[setting]
    psf = hst_psf(606) if fwhm is None else moffat_psf(fwhm)
    library = cosmic_ray_footprints(3000, seed=seed, thickness=14.0)
    for i in range(n):
        rng = np.random.default_rng([seed, i])
        scene = simulate_scene((size, size), FIELDS[i % len(FIELDS)], psf, seed=rng)
        hits = library.paste((size, size), rng.poisson(HIT_RATE * SECONDS * size**2), rng)
        settings = {"readnoise": READNOISE, "defects": False}
        yield expose(scene.rate, SECONDS, hits, seed=rng, **settings)[0]


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
        images = make_images(setting, 3, options.size, options.seed)
        parts = [errors(detector, image, options.draws) for image in images]
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


def main():
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument("--models", default="acs-wfc-vi")
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


if __name__ == "__main__":
    main()
