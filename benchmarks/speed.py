"""
Seconds per megapixel, beside deepCR and L.A.Cosmic, in one run.

python benchmarks/speed.py [--size 1024] [--repeats 9] [--tiles 256] [--device cpu]
                           [--precisions float32] [--out DIR]

The methods take turns in changing order, so that a busy machine disturbs all alike and none always
comes after the same one; medians are compared. ``--precisions float32`` is for processors that do
not compute with bfloat16, and take many times longer. Models are loaded before. Peers that are not
installed are left out (deepCR needs joblib and tensorboard). With ATEN_CPU_CAPABILITY=avx2 and
ONEDNN_MAX_CPU_ISA=AVX2 in the environment a processor is held to AVX2.
"""

import argparse
import statistics
import time
from pathlib import Path

import numpy as np
from _machine import describe, scene, write
from astropy.table import Table

import cosmiq_astro as ca

WAYS = {
    "T=16": {"T": 16},
    "moments": {"sampling": "moments"},
}


def our_calls(image, tile_size, device, precisions):
    """Return the calls of this package for one tile size."""
    label = "" if tile_size is None else f", tile {tile_size}"
    calls = {}
    for precision in precisions:
        precision_note = "" if precision == "float32" else f", {precision}"
        options = {"device": device, "tile_size": tile_size, "precision": precision}
        unet, vi = (
            ca.CosmicRayDetector(f"acs-wfc-{method}", **options) for method in ("unet", "vi")
        )
        note = f"{precision_note}{label}"
        calls[f"cosmicray_unet{note}"] = lambda find=unet: find(image, readnoise=5)
        for way, settings in WAYS.items():
            calls[f"cosmicray_vi, {way}{note}"] = lambda find=vi, s=settings: find(
                image, seed=1, readnoise=5, **s
            )
    return calls


def peer_calls(image, device):
    """Return the calls of the peers that are installed."""
    calls = {}
    try:
        from deepCR import deepCR

        peer = deepCR(mask="ACS-WFC", device="GPU" if device == "cuda" else "CPU")
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


def take_turns(calls, repeats):
    """Return the seconds of each call, one list per name; a first turn warms up."""
    seconds = {name: [] for name in calls}
    rng = np.random.default_rng(0)
    for turn in range(repeats + 1):
        for name in rng.permutation(list(calls)):
            start = time.perf_counter()
            calls[name]()
            if turn:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--size", type=int, default=1024, help="side of the frame, pixels")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--tiles", default="", help="tile sizes, separated by commas")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precisions", default="float32,bfloat16", help="float32: that alone")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    image = scene((arguments.size, arguments.size))
    precisions = arguments.precisions.split(",")
    calls = peer_calls(image, arguments.device)
    for tile_size in [int(size) for size in arguments.tiles.split(",") if size] or [None]:
        calls |= our_calls(image, tile_size, arguments.device, precisions)
    seconds = take_turns(calls, arguments.repeats)
    megapixels = image.size / 1e6
    medians = {name: statistics.median(s) / megapixels for name, s in seconds.items()}
    table = Table(
        rows=[
            {
                "method": name,
                "seconds_per_megapixel": round(median, 3),
                "least": round(min(seconds[name]) / megapixels, 3),
                "most": round(max(seconds[name]) / megapixels, 3),
                "deepCR_over_this": round(medians.get("deepCR ACS-WFC", np.nan) / median, 2),
                "astroscrappy_over_this": round(medians.get("astroscrappy", np.nan) / median, 2),
            }
            for name, median in medians.items()
        ]
    )
    table.meta |= {
        "title": "Seconds per megapixel, in one run",
        "frame": f"{arguments.size} x {arguments.size}, extragalactic, 500 s",
        "repeats": arguments.repeats,
        **describe(arguments.device),
        "command": f"python benchmarks/speed.py --size {arguments.size} --precisions "
        f"{arguments.precisions} --device {arguments.device} --out DIR",
    }
    name = "speed" if arguments.device == "cpu" else f"speed_{arguments.device}"
    write(table, arguments.out, f"{name}_float32" if precisions == ["float32"] else name)


if __name__ == "__main__":
    main()
