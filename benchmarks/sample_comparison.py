"""
The bundled sample by this package, deepCR and L.A.Cosmic: counts, and a picture.

python benchmarks/sample_comparison.py [--out DIR]

Needs deepCR (with joblib and tensorboard) and astroscrappy. There is no truth for a real frame:
beside the counts, the table tells how many flagged groups each shares with each other.
"""

import argparse
import time
from pathlib import Path

import astroscrappy
import matplotlib.pyplot as plt
import numpy as np
from astropy.table import Table
from astropy.visualization import AsinhStretch, ImageNormalize, PercentileInterval
from deepCR import deepCR
from photutils.detection import find_peaks
from scipy import ndimage

import cosmiq_astro as ca

EIGHT = np.ones((3, 3))
READNOISE = 4.71


def masks(ccd):
    """Return each method's mask and seconds, models loaded beforehand."""
    image = ccd.data.astype("float32")
    vi, unet = ca.load_model("acs-wfc-vi"), ca.load_model("acs-wfc-unet")
    peer = deepCR(mask="ACS-WFC", device="CPU")
    calls = {
        "cosmicray_vi, T=16": lambda: (
            ca.cosmicray_vi(ccd, model=vi, readnoise=READNOISE, seed=1).cr_mask
        ),
        "cosmicray_unet": lambda: ca.cosmicray_unet(ccd, model=unet, readnoise=READNOISE).cr_mask,
        "deepCR ACS-WFC, 0.5": lambda: peer.clean(image, threshold=0.5, inpaint=False) > 0,
        "astroscrappy, objlim 5": lambda: astroscrappy.detect_cosmics(
            image, gain=1, readnoise=READNOISE, satlevel=60000, sigclip=4.5, objlim=5
        )[0],
    }
    found = {}
    for name, call in calls.items():
        call()
        start = time.perf_counter()
        mask = call()
        found[name] = mask & ~ccd.mask, time.perf_counter() - start
    return found


def star_cores(ccd):
    """Return the brightest pixels of the stars: round peaks that are not saturated."""
    background = np.nanmedian(ccd.data)
    peaks = find_peaks(ccd.data, background + 1000, box_size=7, mask=ccd.mask)
    rows, columns = np.asarray(peaks["y_peak"]), np.asarray(peaks["x_peak"])
    inside = (rows > 1) & (columns > 1) & (rows < ccd.shape[0] - 2) & (columns < ccd.shape[1] - 2)
    rows, columns = rows[inside], columns[inside]
    box = np.stack([ccd.data[rows + dy, columns + dx] for dy in (-1, 0, 1) for dx in (-1, 0, 1)])
    # A star of this PSF (2.7 pixels) keeps more than a quarter of its peak in each neighbour.
    round_ones = (box.min(axis=0) - background > 0.25 * (box[4] - background)) & (box[4] < 60000)
    return rows[round_ones], columns[round_ones]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--out", type=Path, default=Path("."))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    ccd = ca.load_sample()
    found = masks(ccd)
    cores = star_cores(ccd)
    rows = []
    for name, (mask, seconds) in found.items():
        labels, n = ndimage.label(mask, EIGHT)
        row = {"method": name, "pixels": int(mask.sum()), "groups": n}
        row |= {
            f"shared with {other.split(',')[0]}": len(np.unique(labels[m & mask]))
            for other, (m, _) in found.items()
        }
        row |= {"star cores flagged": int(mask[cores].sum()), "seconds": round(seconds, 2)}
        rows.append(row)
    table = Table(rows=rows)
    table.meta["star cores"] = len(cores[0])
    table.pprint_all()
    print(f"{len(cores[0])} star cores, peak above 1000 e, not saturated")
    table.write(arguments.out / "sample_comparison.ecsv", overwrite=True)

    figure, axes = plt.subplots(1, len(found), figsize=(5 * len(found), 5), layout="constrained")
    norm = ImageNormalize(ccd.data, interval=PercentileInterval(99.5), stretch=AsinhStretch(0.02))
    for axis, (name, (mask, _)) in zip(axes, found.items(), strict=True):
        axis.imshow(ccd.data, cmap="gray_r", norm=norm, origin="lower")
        y, x = np.nonzero(mask)
        axis.plot(x, y, "s", ms=1.2, color="tab:red")
        axis.set(title=f"{name}: {mask.sum()} pixels", xticks=[], yticks=[])
    figure.savefig(arguments.out / "sample_comparison.png", dpi=110)


if __name__ == "__main__":
    main()
