"""
How often intervals of calibration hold the truth, in simulations.

    python benchmarks/coverage.py [--trials 1000] [--out FILE]

Images differ in how many hits and how much doubt they have, and their pixels
share errors in clumps of ten. Four cases: calibrated; too sure (logits
times 0.7 are right); right on average, but off by a random shift in each image;
and both. The truth is that of 4000 images. Beside the intervals of
`cosmiq_astro.calibration.score_table` stand the quantiles of images drawn with
replacement, which the package does not use.
"""

import argparse
from pathlib import Path

import numpy as np
from astropy.table import QTable
from scipy.special import expit

from cosmiq_astro.calibration import _sums
from cosmiq_astro.calibration._input import Sample
from cosmiq_astro.calibration._scores import Scores

CASES = {
    "calibrated": (1.0, 0.0),
    "too sure": (0.7, 0.0),
    "shifted": (1.0, 0.7),
    "both": (0.8, 0.5),
}
SCORES = ("brier", "nll", "nll_non_trivial", "tpr", "rms_calibration_error")
N_POOL, N_PIXELS, CLUMP = 4000, 2000, 10


class Counted(Scores):
    """Scores of sums that are there already."""

    n_bins, threshold, n_left_out = 15, 0.5, 0
    _p_ranks = _error_ranks = None

    def __init__(self, sums):
        self.sums = sums

    @property
    def _image_sums(self):
        return self.sums

    @property
    def groups(self):
        return {}


def make_pool(rng, scale, shift):
    """Return the sums of many images."""
    sums = []
    for _ in range(N_POOL):
        centre, spread = rng.normal(-4, 0.8), np.exp(rng.normal(0.8, 0.3))
        z = centre + spread * rng.normal(size=N_PIXELS)
        z += np.repeat(rng.normal(size=N_PIXELS // CLUMP), CLUMP)
        p = expit(z)
        label = rng.random(N_PIXELS) < expit(scale * z + shift * rng.normal())
        sums.append(_sums.sample_sums(Sample(p, label), n_bins=15)[0])
    return np.stack(sums)


def quantiles(rng, sums, truth):
    """Return whether the quantiles of resampled images hold the truth, by name."""
    n = len(sums)
    draws = rng.multinomial(n, np.full(n, 1 / n), size=200).astype(float)
    drawn = _sums.score_sums(np.tensordot(draws, sums, axes=1))
    ends = {name: np.nanquantile(drawn[name], (0.025, 0.975)) for name in ("nll", "ece")}
    return {f"{n} (quantiles)": low <= truth[n] <= high for n, (low, high) in ends.items()}


def main():
    """Print the table, and write it if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, metavar="FILE", help="table to write, ECSV")
    options = parser.parse_args()
    rng, rows = np.random.default_rng(options.seed), []
    for case, (scale, shift) in CASES.items():
        pool = make_pool(rng, scale, shift)
        truth = Counted(pool)._sum_scores(None)
        for n in (5, 10, 20, 50):
            covered = {}
            for _ in range(options.trials):
                sums = pool[rng.integers(0, len(pool), n)]
                row = Counted(sums)._sum_scores(0.95)
                holds = {s: row[f"{s}_low"] <= truth[s] <= row[f"{s}_high"] for s in SCORES}
                for name, value in (holds | quantiles(rng, sums, truth)).items():
                    covered[name] = covered.get(name, 0) + bool(value)
            shares = {name: number / options.trials for name, number in covered.items()}
            rows.append({"case": case, "n_images": n} | shares)
            print(*(f"{v:.3f}" if isinstance(v, float) else v for v in rows[-1].values()))
    if options.out is not None:
        table = QTable(rows, meta={"TRIALS": options.trials, "SEED": options.seed})
        table.write(options.out, format="ascii.ecsv", overwrite=True)


if __name__ == "__main__":
    main()
