"""
Where the hits lie that a model misses on the frames of transfer.py, and how bright they are.

python benchmarks/misses.py --data DIR --work DIR [--out FILE]

Pixels hit are sorted by their charge over the noise, and by whether a source adds to the noise
there. Each tool has the threshold at which it has the false positives asked for, in all frames of
a group together.
"""

import argparse
from itertools import pairwise
from pathlib import Path

import numpy as np
from _files import write
from _peers import model_tool
from _transfer_frames import CLEAN, FIELDS, GROUPS, HIT, Frames
from _transfer_peers import peer
from _transfer_scores import FPR
from astropy.table import Table

MODELS = ("acs-wfc-unet", "acs-wfc-vi")
N_FRAMES = 3
SKY = 1.15  # times the median noise of a frame: below it there is no source to speak of
CHARGES = (3, 4, 5, 10, np.inf)  # in standard deviations


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("misses.ecsv"))
    arguments = parser.parse_args()
    made = Frames(arguments.data, arguments.work)
    deepcr = peer("deepCR", made)
    tools = {"deepCR": deepcr}
    for name in MODELS:
        run = model_tool(name, 16).run
        tools[name] = lambda frame, run=run: run(frame).probability
    rows = []
    for group in GROUPS:
        frames = [made(group, field, i) for field in FIELDS for i in range(N_FRAMES)]
        planes = {name: [run(frame) for frame in frames] for name, run in tools.items()}
        rows += list(rows_of(group, frames, planes))
    write(
        Table(rows),
        arguments.out,
        "Where the misses lie",
        "Pixels hit (n) of the frames of transfer.ecsv by charge over noise (low to high) and "
        "place (sky, or source: noise above 1.15 times the median of the frame), how many are "
        "missed at a false-positive rate, and what share that is of all that deepCR misses in "
        "the group at that rate.",
    )


def rows_of(group, frames, planes):
    """Yield the rows of a group of frames."""
    hit, clean = (np.concatenate([f.truth.ravel() == k for f in frames]) for k in (HIT, CLEAN))
    charge = np.concatenate([(f.charge / f.noise).ravel() for f in frames])[hit]
    noise = np.concatenate([(f.noise / np.median(f.noise)).ravel() for f in frames])[hit]
    places = {"sky": noise < SKY, "source": noise >= SKY}
    for rate, fpr in FPR.items():
        missed = {}
        for tool, each in planes.items():
            probability = np.concatenate([p.ravel() for p in each])
            threshold = np.quantile(probability[clean], 1 - fpr, method="higher")
            missed[tool] = probability[hit] <= threshold
        for tool, is_missed in missed.items():
            for place, is_there in places.items():
                for low, high in pairwise(CHARGES):
                    chosen = is_there & (charge >= low) & (charge < high)
                    n_missed = np.count_nonzero(is_missed & chosen)
                    yield {
                        "tool": tool,
                        "group": group,
                        "fpr": rate,
                        "place": place,
                        "low": low,
                        "high": high,
                        "n": np.count_nonzero(chosen),
                        "n_missed": n_missed,
                        "over_deepCR": n_missed / np.count_nonzero(missed["deepCR"]),
                    }


if __name__ == "__main__":
    main()
