"""
Time against the size of the image, and two processes beside one.

python benchmarks/scaling.py [--largest 64] [--out DIR]

Frames of 0.25 to ``--largest`` megapixels; each is timed twice, and the faster time counts. Then
the same frame again and again by one process with one thread, and by two such processes at once:
their throughput, beside that of two processes that multiply matrices, which is what the machine
has to give.
"""

import argparse
import statistics
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
START = """\
import sys, time
import torch
torch.set_num_threads(1)
"""
WORK = {
    "cosmicray_unet": """\
import cosmiq_astro as ca
from _machine import scene
image = scene((1024, 1024))
detector = ca.CosmicRayDetector("acs-wfc-unet", device="cpu")
work = lambda: detector(image, readnoise=5)
""",
    "matrix products": """\
matrix = torch.ones((1500, 1500))
work = lambda: [matrix @ matrix for _ in range(10)]
""",
}
END = """\
work()
print("ready", flush=True)
sys.stdin.readline()
start = time.perf_counter()
for _ in range(8):
    work()
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


def two_processes(work):
    """Return the throughput of two processes, relative to that of one: medians of three turns."""
    found = []
    for _ in range(3):
        seconds = [max(_seconds(START + work + END, n)) for n in (1, 2)]
        found.append(2 * seconds[0] / seconds[1])
    return statistics.median(found)


def _seconds(code, n):
    """Return the seconds that each of n processes takes that begin at the same time."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    folder = Path(__file__).parent
    workers = [
        subprocess.Popen([sys.executable, "-c", code], cwd=folder, **pipes) for _ in range(n)
    ]
    for worker in workers:
        worker.stdout.readline()
    for worker in workers:
        worker.stdin.write("go\n")
        worker.stdin.flush()
    return [float(worker.stdout.readline()) for worker in workers]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--largest", type=float, default=64, help="megapixels")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    throughput = {name: two_processes(work) for name, work in WORK.items()}
    print(throughput)
    table = Table(rows=by_size(arguments.largest))
    table.meta |= {
        "title": "Seconds per megapixel by the size of the image",
        "two processes of one thread": "; ".join(
            f"{name} {value:.2f} x the throughput of one" for name, value in throughput.items()
        ),
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
