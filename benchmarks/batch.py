"""
Exposures per core-hour of many files: one worker and two, and what writing the planes costs.

python benchmarks/batch.py [--out FILE]

Simulated ACS/WFC exposures of two chips of 2048 x 4096 pixels go through ``cosmiq-astro detect``,
whose workers have one thread each: first 2, then 8 of them. What the others took in addition is the
time of an exposure, so that start-up is not part of it. The first row reads and writes the files
alone, in one process.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _machine import describe
from astropy.io import fits
from astropy.table import Table

from cosmiq_astro.simulate import simulate_hst_file

SHAPE = (2048, 4096)
FEW, MANY = 2, 8  # files
COMMAND = "from cosmiq_astro.cli.main import main; raise SystemExit(main())"
UNET = ("--model", "acs-wfc-unet")
VI = ("--model", "acs-wfc-vi")
WAYS = [
    # What is detected, which planes are written, workers.
    ("acs-wfc-unet", UNET, "prob,ent", 1),
    ("acs-wfc-unet", UNET, "prob,ent", 2),
    ("acs-wfc-unet", UNET, "none", 2),
    ("acs-wfc-vi", VI, "prob,std,ent,mi", 2),
]


def detect(files, out, options, planes, jobs):
    """Return the seconds that the command takes."""
    command = [sys.executable, "-c", COMMAND, "detect", *files, "-o", out, "--overwrite"]
    command += [*options, "--planes", planes, "--jobs", str(jobs), "--seed", "1"]
    start = time.perf_counter()
    subprocess.run(
        command, check=True, stdout=subprocess.DEVNULL, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    return time.perf_counter() - start


def copy(files, out):
    """Return the seconds that it takes to read the files and to write them again."""
    start = time.perf_counter()
    for file in files:
        with fits.open(file, memmap=False) as hdus:
            hdus.writeto(Path(out, Path(file).name), overwrite=True, checksum=True)
    return time.perf_counter() - start


def time_of_each(times):
    """Return the seconds of each exposure more."""
    (few, short), (many, long) = times.items()
    return (long - short) / (many - few)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--out", help="also write the table here, as ECSV")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        files = [str(Path(folder, f"j{i:03}_flc.fits")) for i in range(MANY)]
        simulate_hst_file(files[0], chip_shape=SHAPE, seed=1)
        for file in files[1:]:
            shutil.copy(files[0], file)
        out = Path(folder, "out")
        out.mkdir()
        parts = [files[:FEW], files]
        times = {len(part): copy(part, out) for part in parts}
        found = [("reading and writing alone", "", 1, time_of_each(times))]
        for name, options, planes, jobs in WAYS:
            times = {len(part): detect(part, out, options, planes, jobs) for part in parts}
            found.append((name, planes, jobs, time_of_each(times)))
            print(found[-1], flush=True)
    rows = [
        {
            "what": name,
            "planes": planes,
            "workers": jobs,
            "seconds_per_exposure": round(seconds, 2),
            "exposures_per_core_hour": round(3600 / seconds / jobs),
        }
        for name, planes, jobs, seconds in found
    ]
    table = Table(rows=rows)
    table.meta = {
        "title": f"{MANY} exposures of two chips of {SHAPE[0]} x {SHAPE[1]} pixels",
        "command": "python benchmarks/batch.py --out FILE",
    } | describe()
    table.pprint_all()
    if arguments.out:
        table.write(arguments.out, format="ascii.ecsv", overwrite=True)


if __name__ == "__main__":
    main()
