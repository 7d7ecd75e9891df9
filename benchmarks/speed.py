"""
Seconds per megapixel, beside deepCR and L.A.Cosmic, in one run.

python benchmarks/speed.py [--size 1024] [--repeats 5] [--tiles 128,256,512] [--out DIR]

The methods take turns, so that a busy machine disturbs all alike; medians are compared. Models are
loaded before. Peers that are not installed are left out (deepCR needs joblib and tensorboard).
"""

import argparse
import os
import platform
import statistics
import time
from pathlib import Path

import numpy as np
import torch
from astropy.table import Table

import cosmiq_astro as ca
from cosmiq_astro.simulate import simulate_exposure


def our_calls(image, tile_size):
    """Return the calls of this package for one tile size."""
    unet = ca.CosmicRayDetector("acs-wfc-unet", device="cpu", tile_size=tile_size)
    vi = ca.CosmicRayDetector("acs-wfc-vi", device="cpu", tile_size=tile_size)
    label = f"tile {tile_size}"
    return {
        f"cosmicray_unet, {label}": lambda: unet(image, readnoise=5),
        f"cosmicray_vi, mean weights, {label}": lambda: vi(image, sampling="mean", readnoise=5),
        f"cosmicray_vi, T=16, {label}": lambda: vi(image, T=16, seed=1, readnoise=5),
    }


def peer_calls(image):
    """Return the calls of the peers that are installed."""
    calls = {}
    try:
        from deepCR import deepCR

        peer = deepCR(mask="ACS-WFC", device="CPU")
        calls["deepCR ACS-WFC"] = lambda: peer.clean(image, inpaint=False)
        calls["deepCR ACS-WFC, 256-pixel segments"] = lambda: peer.clean(
            image, inpaint=False, segment=True, patch=256
        )
    except ImportError as error:
        print(f"without deepCR: {error}")
    try:
        import astroscrappy

        calls["astroscrappy"] = lambda: astroscrappy.detect_cosmics(image, gain=1, readnoise=5)
    except ImportError as error:
        print(f"without astroscrappy: {error}")
    return calls


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--size", type=int, default=1024, help="side of the frame, pixels")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--tiles", default="256", help="tile sizes, separated by commas")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    ccd, _ = simulate_exposure((arguments.size, arguments.size), 500.0, seed=1)
    image = np.ascontiguousarray(ccd.data, dtype=np.float32)
    calls = peer_calls(image)
    for tile_size in map(int, arguments.tiles.split(",")):
        calls |= our_calls(image, tile_size)
    seconds = {name: [] for name in calls}
    for turn in range(arguments.repeats + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if turn:  # the first turn warms up
                seconds[name].append(time.perf_counter() - start)
    megapixels = image.size / 1e6
    medians = {name: statistics.median(s) / megapixels for name, s in seconds.items()}
    reference = medians.get("deepCR ACS-WFC", np.nan)
    table = Table(
        rows=[
            {
                "method": name,
                "seconds_per_megapixel": round(median, 3),
                "least": round(min(seconds[name]) / megapixels, 3),
                "most": round(max(seconds[name]) / megapixels, 3),
                "deepCR_over_this": round(reference / median, 2),
            }
            for name, median in medians.items()
        ]
    )
    table.meta |= {
        "frame": f"{arguments.size} x {arguments.size}, extragalactic, 500 s",
        "repeats": arguments.repeats,
        "cpus": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "torch": str(torch.__version__),
        "machine": platform.machine(),
    }
    table.pprint_all()
    if arguments.out:
        arguments.out.mkdir(parents=True, exist_ok=True)
        table.write(arguments.out / "speed.ecsv", overwrite=True)


if __name__ == "__main__":
    main()
