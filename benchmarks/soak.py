"""
Memory of one process over many frames: does it stay where it is?

python benchmarks/soak.py [--frames 200] [--size 256] [--model acs-wfc-unet] [--out DIR]

Every frame is another image, searched by the verb with a model loaded once, as a long session does.
The resident size is recorded before the first frame and after every tenth. It goes up and down by a
few buffers that the allocator keeps or gives back, so medians are compared: that of the last third
must not be more than 2 MiB above that of the middle third.
"""

import argparse
import gc
import os
import sys
import time
from pathlib import Path

import numpy as np
from astropy.nddata import CCDData
from astropy.table import Table
from matplotlib.figure import Figure

import cosmiq_astro as ca

FLAT = 2.0  # MiB


def resident():
    """Return the resident size of this process, MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def search(model, size, number):
    rng = np.random.default_rng(number)
    image = rng.normal(50, 8, (size, size)).astype(np.float32)
    image[rng.integers(size, size=20), rng.integers(size, size=20)] += 900
    ccd = CCDData(image, unit="electron")
    verb = ca.cosmicray_vi if model.method == "vi" else ca.cosmicray_unet
    settings = {"T": 4, "seed": number} if model.method == "vi" else {}
    return verb(ccd, model=model, device="cpu", clean="medmask", readnoise=4, **settings)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--size", type=int, default=256, help="side of a frame, pixels")
    parser.add_argument("--model", default="acs-wfc-unet")
    parser.add_argument("--out", type=Path, help="where to write soak.ecsv and soak.png")
    arguments = parser.parse_args()
    model = ca.load_model(arguments.model)
    rows = [(0, resident(), 0.0)]
    begin = time.perf_counter()
    for number in range(1, arguments.frames + 1):
        search(model, arguments.size, number)
        if number % 10 == 0:
            gc.collect()
            rows.append((number, resident(), time.perf_counter() - begin))
    table = Table(rows=rows, names=("frames", "resident", "seconds"))
    table["resident"].unit, table["seconds"].unit = "MiB", "s"
    table["resident"].format, table["seconds"].format = "%.1f", "%.1f"
    third = len(table) // 3
    middle, last = (np.median(table["resident"][part]) for part in (
        slice(third, 2 * third), slice(2 * third, None)
    ))  # fmt: skip
    growth = float(last - middle)
    table.meta = {
        "model": model.name,
        "size": arguments.size,
        "median of the middle third, MiB": round(float(middle), 1),
        "median of the last third, MiB": round(float(last), 1),
        "largest, MiB": round(float(table["resident"].max()), 1),
        "flat": growth < FLAT,
    }
    table.pprint_all()
    print(table.meta)
    if arguments.out is not None:
        table.write(arguments.out / "soak.ecsv", overwrite=True)
        figure = Figure(figsize=(5, 2.6), layout="constrained")
        axes = figure.subplots()
        axes.plot(table["frames"], table["resident"], "o-", markersize=3)
        axes.set(xlabel="frames searched", ylabel="resident size (MiB)")
        axes.set_ylim(0, 1.2 * table["resident"].max())
        figure.savefig(arguments.out / "soak.png", dpi=110)
    return 0 if growth < FLAT else 1


if __name__ == "__main__":
    sys.exit(main())
