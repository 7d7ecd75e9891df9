"""
Arithmetic and memory traffic per pixel of the baseline, against the machine's limits.

python benchmarks/roofline.py [--out DIR]

The limits are measured: a matrix product for arithmetic, a copy larger than the caches for memory.
The layers are those of one tile, its halo included, as detection computes them. Traffic counts
what each reads and writes, as if no cache kept anything between two of them.
"""

import argparse
import statistics
import time
from pathlib import Path

import torch
from _machine import describe, scene, write
from astropy.table import Table
from torch.overrides import TorchFunctionMode

import cosmiq_astro as ca
from cosmiq_astro.inference.tiling import plan_tiles
from cosmiq_astro.models.fast_unet import Trunk
from cosmiq_astro.models.last_block import LastBlock

FLOAT = 4  # bytes


class Layers(TorchFunctionMode):
    """
    What the layers do that run in a block of code.

    Attributes
    ----------
    found : list of tuple
        A description, and numbers of operations and of bytes read and written.
    """

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_function__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if function.__name__ == "conv2d":
            x, weight = args[:2]
            n_out, n_in, side = weight.shape[:3]
            what = f"{n_in} to {n_out} maps, {side} x {side}"
        elif function.__name__ in ("matmul", "__matmul__"):
            x, weight = args
            n_in, what = x.shape[-1], f"{x.shape[-1]} to 1 map"
        else:
            return result
        size = "{} x {}".format(*result.shape[2:] if result.ndim == 4 else result.shape[1:])
        per_output = weight[0].numel() if weight.ndim == 4 else n_in
        moved = FLOAT * (x.numel() + result.numel())
        self.found.append((f"{what}, {size}", 2 * result.numel() * per_output, moved))
        return result


def count_layers(network, tile_size):
    """Return (description, operations, bytes) of each layer, per pixel of a tile's core."""
    grid, halo = network.grid, network.receptive_radius
    tile = plan_tiles((tile_size, tile_size), tile_size, halo=halo, grid=grid)[0]
    inputs = torch.zeros(1, len(network.config.channels), *(axis.stop for axis in tile.read))
    trunk, last = Trunk(network), LastBlock(network)
    with torch.inference_mode(), Layers() as layers:
        list(last.logits(trunk(inputs, tile.crop)))
    return [(what, flop / tile_size**2, moved / tile_size**2) for what, flop, moved in layers.found]


def best(function, repeats=7):
    """Return the median seconds of a call, after one to warm up."""
    function()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def limits():
    """Return the machine's operations and bytes per second."""
    a = torch.randn(2048, 2048)
    operations = 2 * 2048**3 / best(lambda: a @ a)
    source, target = torch.zeros(2**27), torch.empty(2**27)
    traffic = 2 * FLOAT * 2**27 / best(lambda: target.copy_(source))
    return operations, traffic


def main():
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    detector = ca.CosmicRayDetector("acs-wfc-unet", device="cpu")
    operations, traffic = limits()
    rows = []
    for name, flop, moved in count_layers(detector.model.network, detector.tile_size):
        rows.append(
            {
                "layer": name,
                "kFLOP_per_pixel": round(flop / 1e3, 2),
                "bytes_per_pixel": round(moved),
                "least_ms_by_arithmetic": round(1e9 * flop / operations, 1),
                "least_ms_by_memory": round(1e9 * moved / traffic, 1),
            }
        )
    image = scene((1024, 1024))
    measured = best(lambda: detector(image, readnoise=5), 5) / image.size * 1e9
    table = Table(rows=rows)
    total = sum(row["least_ms_by_arithmetic"] for row in rows)
    table.meta |= {
        "title": "Least time per megapixel of each layer of the baseline, in tiles of "
        f"{detector.tile_size} pixels",
        "arithmetic_limit": f"{operations / 1e9:.0f} GFLOP/s, a product of 2048 x 2048 matrices",
        "memory_limit": f"{traffic / 1e9:.1f} GB/s, a copy of 512 MiB",
        "sum_by_arithmetic": f"{total:.0f} ms per megapixel",
        "measured": f"{measured:.0f} ms per megapixel",
        **describe(),
        "command": "python benchmarks/roofline.py --out DIR",
    }
    write(table, arguments.out, "roofline")
    print(table.meta)


if __name__ == "__main__":
    main()
