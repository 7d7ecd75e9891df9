"""
How long one waits before the first pixel.

python benchmarks/startup.py [--repeats 5] [--out DIR]

Whole processes, medians; ``over`` is the time beyond the process named there.
"""

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

from _machine import describe, write
from astropy.table import Table

FIRST_CALL = """\
import numpy as np
import cosmiq_astro as ca
image = np.random.default_rng(1).normal(50, 8, (512, 512))
ca.cosmicray_unet(image, readnoise=5)
"""
MORE_CALLS = """\
for _ in range(10):
    ca.cosmicray_unet(image, readnoise=5)
"""
FIRST = "first cosmicray_unet, 512 x 512"
# What is run, and what it is compared with.
PROCESSES = {
    "bare Python": (["-c", "pass"], None),
    "import cosmiq_astro": (["-c", "import cosmiq_astro"], "bare Python"),
    "cosmiq-astro --help": (["-m", "cosmiq_astro.cli.main", "--help"], None),
    "import torch": (["-c", "import torch"], None),
    FIRST: (["-W", "ignore", "-c", FIRST_CALL], "import torch"),
    "the same, and ten more calls": (["-W", "ignore", "-c", FIRST_CALL + MORE_CALLS], FIRST),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    seconds = {name: [] for name in PROCESSES}
    for turn in range(arguments.repeats + 1):
        for name, (command, _) in PROCESSES.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL)
            if turn:  # the first turn fills the disk's cache
                seconds[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    rows = [
        {
            "process": name,
            "seconds": round(medians[name], 3),
            "over": other or "",
            "difference": round(medians[name] - medians.get(other, 0.0), 3),
        }
        for name, (_, other) in PROCESSES.items()
    ]
    table = Table(rows=rows)
    table.meta |= {
        "title": "Start-up",
        "repeats": arguments.repeats,
        **describe(),
        "command": "python benchmarks/startup.py --out DIR",
    }
    write(table, arguments.out, "startup")


if __name__ == "__main__":
    main()
