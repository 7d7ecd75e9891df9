"""
Arithmetic and memory traffic per pixel of the bundled networks, against the machine's limits.

python benchmarks/roofline.py [--out DIR]

The limits are measured: a matrix product for arithmetic, a copy larger than the caches for memory.
Traffic counts what each layer reads and writes, as if no cache kept anything between two layers.
"""

import argparse
import statistics
import time
from pathlib import Path

import torch
from _machine import describe, scene, write
from astropy.table import Table
from torch import nn

import cosmiq_astro as ca

FLOAT = 4  # bytes


def count_layers(network, tile):
    """Return (name, operations, bytes) of each convolution, per pixel of the tile."""
    rows = []

    def hook(name):
        def count(layer, inputs, output):
            x = inputs[0]
            per_output = layer.weight[0].numel()
            if layer.transposed:
                per_output = layer.in_channels  # each output pixel sees one of the inputs
            operations = 2 * output.numel() * per_output
            rows.append(
                (name, operations / tile**2, FLOAT * (x.numel() + output.numel()) / tile**2)
            )

        return count

    layers = [
        (name, module)
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d)
    ]
    handles = [layer.register_forward_hook(hook(name)) for name, layer in layers]
    with torch.inference_mode():
        network(torch.zeros(1, len(network.config.channels), tile, tile))
    for handle in handles:
        handle.remove()
    return rows


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
    for name, flop, moved in count_layers(detector.model.network, 256):
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
    tiles = detector.tile_size
    halo = -(-detector.model.network.receptive_radius // 4) * 4
    table = Table(rows=rows)
    total = sum(row["least_ms_by_arithmetic"] for row in rows)
    table.meta |= {
        "title": "Least time per megapixel of each layer of the baseline",
        "arithmetic_limit": f"{operations / 1e9:.0f} GFLOP/s, a product of 2048 x 2048 matrices",
        "memory_limit": f"{traffic / 1e9:.1f} GB/s, a copy of 512 MiB",
        "sum_by_arithmetic": f"{total:.0f} ms per megapixel",
        "halo": f"{(tiles + 2 * halo) ** 2 / tiles**2:.2f} x as many pixels in tiles of {tiles}",
        "measured": f"{measured:.0f} ms per megapixel",
        **describe(),
        "command": "python benchmarks/roofline.py --out DIR",
    }
    write(table, arguments.out, "roofline")
    print(table.meta)


if __name__ == "__main__":
    main()
