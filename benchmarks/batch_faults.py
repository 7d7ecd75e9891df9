"""
Many files, and workers that are killed all the while: nothing is lost, doubled or half written.

python benchmarks/batch_faults.py [--files N] [--jobs N] [--kill SECONDS]

N small files are searched by `detect_files`; every few seconds one of its workers is killed. At the
end every file must have its row and its whole output, whose checksums are compared; what the
supervising process took of memory is printed, at the start and at the end.
"""

import argparse
import random
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np
import psutil
from astropy.io import fits

from cosmiq_astro.batch import detect_files
from cosmiq_astro.hst.provenance import is_complete


def write_frames(folder, n):
    """Write n exposures, all alike but for their name."""
    primary = fits.PrimaryHDU()
    primary.header.update(INSTRUME="ACS", DETECTOR="WFC", CCDAMP="C", READNSEC=4.0, EXPTIME=500.0)
    image = np.random.default_rng(1).normal(50, 8, (32, 32)).astype(np.float32)
    sci = fits.ImageHDU(image, fits.Header({"BUNIT": "ELECTRONS"}), name="SCI", ver=1)
    hdus = fits.HDUList([primary, sci])
    files = [folder / f"j{i:05}_flc.fits" for i in range(n)]
    for file in files:
        hdus.writeto(file)
    return files


def kill_workers(interval, over, killed):
    """Kill one child after another until the run is over."""
    while not over.wait(interval):
        children = [c for c in psutil.Process().children() if "serve()" in " ".join(c.cmdline())]
        if children:
            random.choice(children).kill()
            killed.append(time.time())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--files", type=int, default=5000)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--kill", type=float, default=20.0, metavar="SECONDS")
    parser.add_argument("--model", default="acs-wfc-fast-unet")
    arguments = parser.parse_args()
    memory = psutil.Process().memory_info
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        (folder / "in").mkdir()
        files = write_frames(folder / "in", arguments.files)
        over, killed, start, before = threading.Event(), [], time.perf_counter(), memory().rss
        killer = threading.Thread(target=kill_workers, args=(arguments.kill, over, killed))
        killer.start()
        try:
            settings = {"model": arguments.model, "seed": 1, "device": "cpu"}
            table = detect_files(files, folder / "out", settings=settings, jobs=arguments.jobs)
        finally:
            over.set()
            killer.join()
        seconds = time.perf_counter() - start
        outputs = list((folder / "out").glob("*.fits"))
        n_whole = sum(is_complete(path) for path in outputs)
    print(f"{len(files)} files, {arguments.jobs} workers, {len(killed)} killed, {seconds:.0f} s")
    print(f"rows {dict(Counter(table['status']))}, outputs {len(outputs)}, whole {n_whole}")
    print(
        f"memory of the supervisor: {before / 2**20:.0f} MiB, then {memory().rss / 2**20:.0f} MiB"
    )
    if not (len(table) == len(outputs) == n_whole == len(files)):
        raise SystemExit("something was lost")


if __name__ == "__main__":
    main()
