"""
Labels from few exposures, held against the median of many.

python benchmarks/labels_check.py --data DIR [-o FILE]

DIR holds stis_ccd_1999.fits: nine HST/STIS CCD exposures of one pointing with the median of their
rates. `label_exposures` is given the first two, three, five and all nine; what stands out of the
median by five standard deviations stands for the truth. Rows near the slit spectrum, which moves
between exposures, and hot pixels are left out; for that movement no exposure is.
"""

import argparse
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.table import Table

from cosmiq_astro.training import label_exposures

NOISE = 6.6  # electron: 1.48 median absolute deviations of the frames, read noise and dark current
SPECTRUM = slice(400, 620)
HOT = 30  # electron


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("-o", "--output", help="also write the table here, as ECSV")
    arguments = parser.parse_args()
    with fits.open(arguments.data / "stis_ccd_1999.fits") as hdus:
        rate = hdus["MEDRATE"].data.astype(float)
        frames = [hdus["SCI", n].data.astype(float) for n in range(1, 10)]
        times = [hdus["SCI", n].header["EXPTIME"] for n in range(1, 10)]
    rows = []
    for n in (2, 3, 5, 9):
        labels = label_exposures(frames[:n], readnoise=NOISE, keep_unlike=True)
        rows.append({"exposures": n} | compare(labels, frames, times, rate))
    table = Table(rows=rows)
    for name in table.colnames[1:]:
        table[name].info.format = ".3f"
    table.meta = {
        "title": "Labels of HST/STIS exposures from some of nine, held against the median of all",
        "labelled_fraction": "of the pixels; the rest is ignored, most of it neighbours of hits",
        "hit_fraction": "of the labelled pixels",
        "found": "of pixels 5 standard deviations above the median, the share labelled as hit",
        "right": "of pixels labelled as hit, the share 3 standard deviations above the median",
        "command": "python benchmarks/labels_check.py --data DIR -o FILE",
    }
    table.pprint_all()
    if arguments.output:
        table.write(arguments.output, overwrite=True)


def compare(labels, frames, times, rate):
    """Return what the labels have in common with the excess above the median."""
    hit = found = labelled = true = decided = pixels = 0
    for image, time, mask, ignore in zip(frames, times, labels.masks, labels.ignore, strict=False):
        dark = rate * time
        excess = (image - dark) / np.sqrt(NOISE**2 + np.maximum(dark, 0))
        use = dark < HOT
        use[SPECTRUM] = False
        known = use & ~ignore
        hit += np.sum(known & (excess > 5))
        found += np.sum(known & (excess > 5) & mask)
        labelled += np.sum(known & mask)
        true += np.sum(known & mask & (excess > 3))
        decided += known.sum()
        pixels += use.sum()
    return {
        "labelled_fraction": decided / pixels,
        "hit_fraction": labelled / decided,
        "found": found / hit,
        "right": true / labelled,
    }


if __name__ == "__main__":
    main()
