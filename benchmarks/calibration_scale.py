"""
Time and memory of the streaming diagnostics, and how well their rank measures agree.

    python benchmarks/calibration_scale.py --pixels 1e9

Pixels are drawn anew for each frame of 2048 x 2048 from a calibrated model of a
cosmic-ray detector: sky with logits around -9, hits with logits around 4. Each
frame is used many times over, as drawing takes longer than counting.
"""

import argparse
import resource
import time

import numpy as np
from scipy.special import expit

from cosmiq_astro.calibration import CalibrationAccumulator, aurc, error_auroc, roc_auc

_SHAPE = (2048, 2048)


def make_frame(rng):
    """Return the probability (float32) and the label of a frame, 3 % cosmic rays."""
    hit = rng.random(_SHAPE, dtype=np.float32) < 0.03
    logit = rng.standard_normal(_SHAPE, dtype=np.float32) * np.where(hit, 3, 2)
    p = expit(logit + np.where(hit, 4, -9).astype(np.float32))
    return p, rng.random(_SHAPE, dtype=np.float32) < p


def peak_memory():
    """Return the largest memory this process has had, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--pixels", type=float, default=1e8)
    parser.add_argument("--frames", type=int, default=4, help="distinct frames")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    rng = np.random.default_rng(options.seed)
    frames = [make_frame(rng) for _ in range(options.frames)]
    counts = CalibrationAccumulator()
    counts.update(*frames[0])  # the arrays of one call are part of the baseline
    before, n_before = peak_memory(), counts.n_pixels
    start = time.perf_counter()
    i = 0
    while counts.n_pixels < options.pixels:
        counts.update(*frames[i % len(frames)])
        i += 1
    seconds = time.perf_counter() - start
    n = counts.n_pixels - n_before
    print(f"pixels             {n:.3g}")
    print(f"time               {seconds:.1f} s, {seconds * 1e8 / n:.1f} s per 1e8 pixels")
    print(f"memory             {peak_memory():.0f} MiB, {peak_memory() - before:.1f} MiB growth")
    start = time.perf_counter()
    counts.score_table(level=0.95)
    print(f"all scores         {time.perf_counter() - start:.2f} s, with intervals")

    few = CalibrationAccumulator()
    few.update(*frames[0])
    for measure in (roc_auc, error_auroc, aurc):
        name = measure.__name__
        exact, binned = measure(*frames[0]), getattr(few, name)()
        print(f"{name:<18} {exact:.8f}, off by {binned - exact:.1e}")


if __name__ == "__main__":
    main()
