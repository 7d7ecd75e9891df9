"""
Files per minute of a survey, beside independent processes.

python benchmarks/survey.py [--files N] [--size PIXELS] [--out FILE]

N simulated ACS/WFC files are worked on by `detect_files` with two jobs, and by two processes that
share them and know nothing of each other, one thread each. Start-up is part of both. If there are
several passes, the two take turns, and the best of each counts.
"""

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from astropy.table import Table

from cosmiq_astro.batch import detect_files
from cosmiq_astro.simulate import simulate_hst_file

JOBS = 2
DISTINCT = 3
ALONE = """
import sys
from cosmiq_astro import load_model
from cosmiq_astro.hst import detect_file
model = load_model(sys.argv[1])
for file in sys.argv[3:]:
    out = f"{sys.argv[2]}/{file.rsplit('/', 1)[1]}"
    detect_file(file, out, model=model, seed=1, overwrite=True)
"""


def independent(files, out, model):
    """Return the seconds that processes of their own take."""
    start = time.perf_counter()
    command = [sys.executable, "-c", ALONE, model, out]
    environment = os.environ | {"OMP_NUM_THREADS": str(max(1, os.cpu_count() // JOBS))}
    processes = [
        subprocess.Popen([*command, *files[i::JOBS]], env=environment) for i in range(JOBS)
    ]
    if any(process.wait() for process in processes):
        raise RuntimeError("a process failed")
    return time.perf_counter() - start


def survey(files, out, model):
    """Return the seconds that `detect_files` takes."""
    settings = {"model": model, "seed": 1, "overwrite": True}
    start = time.perf_counter()
    table = detect_files(files, out, settings=settings, jobs=JOBS)
    if set(table["status"]) != {"ok"}:
        raise RuntimeError(table["error"])
    return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--files", type=int, default=32)
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--model", default="acs-wfc-unet")
    parser.add_argument("--passes", type=int, default=1)
    parser.add_argument("--out", help="also write the table here, as ECSV")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        files = [str(Path(folder, f"j{i:03}_flc.fits")) for i in range(arguments.files)]
        for i, file in enumerate(files[:DISTINCT]):
            simulate_hst_file(file, chip_shape=(arguments.size, arguments.size), seed=i)
        for i, file in enumerate(files[DISTINCT:]):
            shutil.copy(files[i % DISTINCT], file)
        out = Path(folder, "out")
        out.mkdir()
        ways = {"independent processes": independent, "detect_files": survey}
        seconds = {name: [] for name in ways}
        for _ in range(arguments.passes):
            for name, work in ways.items():
                seconds[name].append(work(files, str(out), arguments.model))
    best = {name: min(values) for name, values in seconds.items()}
    table = Table(
        {
            "way": list(best),
            "files_per_minute": [60 * len(files) / value for value in best.values()],
            "relative": [best["independent processes"] / value for value in best.values()],
        }
    )
    table["files_per_minute"].format = table["relative"].format = ".3g"
    table.meta = {
        "title": f"{len(files)} files of two chips of {arguments.size} x {arguments.size} pixels",
        "relative": "files per minute, relative to the first row",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {JOBS} processes",
        "model": arguments.model,
        "command": "python benchmarks/survey.py --out FILE",
    }
    table.pprint_all()
    if arguments.out:
        table.write(arguments.out, format="ascii.ecsv", overwrite=True)


if __name__ == "__main__":
    main()
