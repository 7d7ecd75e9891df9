"""
Time against the size of the image, and two processes beside one.

python benchmarks/scaling.py [--largest 64] [--out DIR]

Frames of 0.25 to ``--largest`` megapixels; each is timed twice, and the faster time counts. Then
the same frames by one process with one thread, and by two such processes at once.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from _machine import describe, scene, write
from astropy.table import Table
from matplotlib.figure import Figure

import cosmiq_astro as ca

SHAPES = ((512, 512), (1024, 1024), (2048, 2048), (2048, 4096), (4096, 4096), (8192, 8192))
WAYS = {
    "cosmicray_unet": ("acs-wfc-unet", {}),
    "cosmicray_vi, moments": ("acs-wfc-vi", {"sampling": "moments"}),
}
WORK = """\
import sys, time
import torch
torch.set_num_threads(1)
import cosmiq_astro as ca
from _machine import scene
image = scene((1024, 1024))
detector = ca.CosmicRayDetector("acs-wfc-unet", device="cpu")
detector(image[:512, :512], readnoise=5)
print("ready", flush=True)
sys.stdin.readline()
start = time.perf_counter()
for _ in range(8):
    detector(image, readnoise=5)
print(time.perf_counter() - start, flush=True)
"""


def by_size(largest):
    """Return rows of seconds per megapixel by size."""
    rows = []
    for shape in SHAPES:
        megapixels = shape[0] * shape[1] / 1e6
        if megapixels > 1.1 * largest:
            continue
        image = scene(shape)
        row = {"shape": f"{shape[0]} x {shape[1]}", "megapixels": round(megapixels, 2)}
        for way, (model, settings) in WAYS.items():
            detector = ca.CosmicRayDetector(model, device="cpu")
            seconds = []
            for _ in range(2):
                start = time.perf_counter()
                detector(image, seed=1, readnoise=5, **settings)
                seconds.append(time.perf_counter() - start)
            row[way] = round(min(seconds) / megapixels, 3)
        print(*row.values(), flush=True)
        rows.append(row)
    return rows


def by_processes():
    """Return the seconds of each process, one at a time and two at once."""
    found = []
    for n in (1, 2):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        folder = Path(__file__).parent
        workers = [
            subprocess.Popen([sys.executable, "-c", WORK], cwd=folder, **pipes) for _ in range(n)
        ]
        for worker in workers:
            worker.stdout.readline()
        for worker in workers:
            worker.stdin.write("go\n")
            worker.stdin.flush()
        found.append([float(worker.stdout.readline()) for worker in workers])
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--largest", type=float, default=64, help="megapixels")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    alone, together = by_processes()
    throughput = 2 * alone[0] / max(together)
    print(f"two processes: {throughput:.2f} x one thread's throughput")
    table = Table(rows=by_size(arguments.largest))
    table.meta |= {
        "title": "Seconds per megapixel by the size of the image",
        "two_processes": f"{throughput:.2f} x the throughput of one with one thread",
        **describe(),
        "command": "python benchmarks/scaling.py --out DIR",
    }
    write(table, arguments.out, "scaling")
    if arguments.out:
        figure = Figure(figsize=(5, 3.4), layout="constrained")
        axes = figure.subplots()
        for way in WAYS:
            axes.loglog(table["megapixels"], table[way] * table["megapixels"], "o-", label=way)
        ends = np.array([0.25, 64])
        axes.loglog(ends, ends * table["cosmicray_unet"][2], ":", color="0.6", label="proportional")
        axes.set(xlabel="megapixels", ylabel="seconds")
        axes.legend(frameon=False)
        figure.savefig(arguments.out / "scaling.png", dpi=150)


if __name__ == "__main__":
    main()
