"""
Peak memory of one ACS/WFC chip, 2048 x 4096 pixels, beside deepCR; of 20,000 x 20,000 pixels, and
of 1,000 draws.

python benchmarks/memory.py [--out DIR]

Each way runs in a process of its own, with PyTorch's usual threads or with eight, the most that
have a tile each; what ``import torch`` takes, and the image itself, are subtracted.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from _machine import describe, write
from astropy.table import Table

START = """\
import resource, sys
import torch
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
before = peak()
import numpy as np
image = np.random.default_rng(1).standard_normal({shape}, dtype=np.float32)
image *= 8
image += 50
"""
OURS = """\
import cosmiq_astro as ca
torch.set_num_threads({threads} or torch.get_num_threads())
maps = ca.CosmicRayDetector({model!r}, device="cpu")(image, seed=1, readnoise=5, **{settings!r})
assert np.isfinite(maps.probability).all()
"""
DEEPCR = """\
from deepCR import deepCR
peer = deepCR(mask="ACS-WFC", device="CPU")
peer.clean(image, inpaint=False, **{settings!r})
"""
END = "\nprint(peak() - before - image.nbytes / 2**20)\n"
CHIP = (2048, 4096)
WAYS = {
    name + (f", {threads} threads" if threads else ""): (
        OURS,
        {"model": model, "settings": settings, "threads": threads, "shape": CHIP},
    )
    for threads in (None, 8)
    for name, model, settings in (
        ("cosmicray_unet", "acs-wfc-unet", {}),
        ("cosmicray_vi, T=1", "acs-wfc-vi", {"T": 1}),
        ("cosmicray_vi, T=16", "acs-wfc-vi", {"T": 16}),
        ("cosmicray_vi, T=64", "acs-wfc-vi", {"T": 64}),
        ("cosmicray_vi, moments", "acs-wfc-vi", {"sampling": "moments"}),
    )
} | {
    "deepCR ACS-WFC, 256-pixel segments": (
        DEEPCR,
        {"settings": {"segment": True, "patch": 256}, "shape": CHIP},
    ),
    "cosmicray_unet, 20000 x 20000": (
        OURS,
        {
            "model": "acs-wfc-unet",
            "settings": {"planes": ("probability",)},
            "threads": None,
            "shape": (20_000, 20_000),
        },
    ),
    "cosmicray_vi, T=1000, 512 x 512": (
        OURS,
        {"model": "acs-wfc-vi", "settings": {"T": 1000}, "threads": None, "shape": (512, 512)},
    ),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    rows = []
    for name, (template, values) in WAYS.items():
        code = (START + template).format(**values) + END
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True
        )
        if done.returncode:
            print(f"without {name}: {done.stderr.strip().splitlines()[-1]}")
            continue
        rows.append({"method": name, "peak_MiB": round(float(done.stdout.split()[-1]))})
        print(*rows[-1].values(), flush=True)
    table = Table(rows=rows)
    table.meta |= {
        "title": "Peak memory, of 2048 x 4096 pixels if no size is given, without import torch and "
        "the image",
        **describe(),
        "command": "python benchmarks/memory.py --out DIR",
    }
    write(table, arguments.out, "memory")


if __name__ == "__main__":
    main()
