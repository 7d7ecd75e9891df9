"""
Where models are wrong on the frames of transfer.py, and how bright the hits are that they miss.

python benchmarks/misses.py --data DIR --work DIR [--out FILE]

Pixels hit are sorted by their charge over the noise, and all by whether a source adds to the noise
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
from scipy.ndimage import uniform_filter

MODELS = ("acs-wfc-unet", "acs-wfc-vi")
N_FRAMES = 3
# Where the noise, in boxes of so many pixels, is below so many times that of the darkest places,
# there is no source to speak of.
BOX, DARKEST, SKY = 5, 5, 1.15  # pixels, percent, times
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
        "Where the errors lie",
        "Pixels (n) of the frames of transfer.ecsv by place (sky, or source: local noise above "
        "1.15 times that of the darkest 5 percent of the frame) and by charge over noise (none: "
        "clean pixels), how many are wrong at a false-positive rate (missed, or flagged), and of "
        "those missed, what share that is of all that deepCR misses in the group at that rate.",
    )


def is_sky(frame):
    """Return where no source adds to the noise."""
    local = np.sqrt(uniform_filter(frame.noise.astype(float) ** 2, BOX))
    return local < SKY * np.percentile(local, DARKEST)


def rows_of(group, frames, planes):
    """Yield the rows of a group of frames."""

    def joined(plane):
        return np.concatenate([plane(frame).ravel() for frame in frames])

    truth, sky = joined(lambda f: f.truth), joined(is_sky)
    charge = joined(lambda f: f.charge / f.noise)
    classes = {"none": truth == CLEAN}
    for low, high in pairwise(CHARGES):
        classes[f"{low} to {high}"] = (truth == HIT) & (charge >= low) & (charge < high)
    for rate, fpr in FPR.items():
        wrong = {}
        for tool, each in planes.items():
            probability = np.concatenate([p.ravel() for p in each])
            threshold = np.quantile(probability[classes["none"]], 1 - fpr, method="higher")
            wrong[tool] = (probability > threshold) != (truth == HIT)
        all_missed = np.count_nonzero(wrong["deepCR"] & (truth == HIT))
        for tool, is_wrong in wrong.items():
            for place, is_there in {"sky": sky, "source": ~sky}.items():
                for name, chosen in classes.items():
                    n_wrong = np.count_nonzero(is_wrong & chosen & is_there)
                    row = {"tool": tool, "group": group, "fpr": rate, "place": place}
                    row |= {"charge": name, "n": np.count_nonzero(chosen & is_there)}
                    over = np.nan if name == "none" else n_wrong / all_missed
                    yield row | {"n_wrong": n_wrong, "over_deepCR": over}


if __name__ == "__main__":
    main()
