"""What a timing was taken on, and how its table is written."""

import json
import os
import platform
from pathlib import Path

import numpy as np
import torch

__all__ = ["describe", "scene", "write"]


def describe(device="cpu"):
    """Return processor, threads and versions, for the header of a table."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        name = lines[0].split(":", 1)[1].strip() if lines else name
    if device == "cuda":
        name = f"{torch.cuda.get_device_name()}, host {name}"
    return {
        "machine": f"{name} ({platform.machine()})",
        "cpus": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "torch": str(torch.__version__),
        "vector_instructions": torch.backends.cpu.get_cpu_capability(),
    }


def scene(shape, seconds=500.0):
    """Return a simulated exposure, electron: blocks of 512 x 512 pixels repeated to the shape."""
    from cosmiq_astro.simulate import simulate_exposure

    ccd, _ = simulate_exposure((512, 512), seconds, seed=1)
    repeats = tuple(-(-n // 512) for n in shape)
    return np.ascontiguousarray(np.tile(np.float32(ccd.data), repeats)[: shape[0], : shape[1]])


def write(table, folder, name):
    """Print a table; write it as ECSV and as JSON where a folder is given."""
    table.pprint_all()
    if folder is None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    table.write(folder / f"{name}.ecsv", overwrite=True)
    rows = [
        dict(zip(table.colnames, row, strict=True))
        for row in zip(*table.columns.values(), strict=True)
    ]
    content = {"meta": dict(table.meta), "rows": rows}
    text = json.dumps(content, indent=1, default=lambda value: value.item())
    (folder / f"{name}.json").write_text(text + "\n", encoding="utf-8")
