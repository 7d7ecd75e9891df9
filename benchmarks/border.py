"""
How images should be continued beyond their border.

python benchmarks/border.py [--frames 8] [--size 512] [--out DIR]

The network is run on whole frames, continued by several of `numpy.pad`'s modes; the package itself
takes 'symmetric'. Scores are those of the pixels within 16 pixels of the border and of the others.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from _machine import describe, write
from astropy.table import Table

import cosmiq_astro as ca
from cosmiq_astro.calibration import negative_log_likelihood, tpr_at_fpr
from cosmiq_astro.preprocess import estimate_statistics, normalize, subtract_sky
from cosmiq_astro.simulate import simulate_exposure

FIELDS = ("extragalactic", "globular", "galaxy")
SECONDS = (100.0, 500.0, 1500.0)
READNOISE = 4.5
BAND = 16
PAD = 28
MODES = ("symmetric", "edge", "reflect", "constant")


@torch.inference_mode()
def probability(model, image, mode):
    """Return the probability of each pixel, the image being continued by a mode of `numpy.pad`."""
    usable = np.isfinite(image)
    statistics = estimate_statistics(image, usable, readnoise=READNOISE, softness=True)
    pixels = np.pad(subtract_sky(image, usable, statistics.sky), PAD, mode=mode)
    inputs = torch.from_numpy(normalize(pixels, statistics, model.network.config.channels))[None]
    logits = model.network(inputs.contiguous(memory_format=torch.channels_last))
    return torch.sigmoid(logits / model.temperature)[0, 0, PAD:-PAD, PAD:-PAD].numpy()


def main():
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument("--model", default="acs-wfc-unet")
    parser.add_argument("--frames", type=int, default=8, help="of each field")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    model = ca.load_model(options.model)
    near = np.ones((options.size, options.size), dtype=bool)
    near[BAND:-BAND, BAND:-BAND] = False
    found = {(mode, where): [] for mode in MODES for where in ("border", "inside")}
    for number in range(options.frames * len(FIELDS)):
        ccd, truth = simulate_exposure(
            near.shape,
            SECONDS[number % len(SECONDS)],
            field=FIELDS[number // options.frames],
            readnoise=READNOISE,
            seed=[20261126, number],
        )
        image = np.asarray(ccd.data, dtype=np.float32)
        for mode in MODES:
            p = probability(model, image, mode)
            for where, chosen in (("border", near), ("inside", ~near)):
                chosen = chosen & ~truth.ignore
                found[mode, where].append((p[chosen], truth.label[chosen]))
    rows = []
    for (mode, where), parts in found.items():
        p, label = (np.concatenate(part) for part in zip(*parts, strict=True))
        rows.append(
            {
                "mode": mode,
                "pixels": where,
                "tpr@0.05%": round(tpr_at_fpr(p, label, fpr=5e-4), 4),
                "tpr@0.5%": round(tpr_at_fpr(p, label, fpr=5e-3), 4),
                "nll": round(negative_log_likelihood(p, label), 6),
                "n_hit_pixels": int(label.sum()),
            }
        )
    table = Table(rows=rows)
    table.meta |= {
        "title": "Ways to continue an image beyond its border",
        "description": f"Within {BAND} pixels of the border, and inside; {options.frames} "
        "simulated ACS/WFC frames each of three fields, 100 to 1500 s.",
        "model": f"{model.name}, version {model.version}",
        **describe(),
        "command": "python benchmarks/border.py --out DIR",
    }
    write(table, options.out, "border")


if __name__ == "__main__":
    main()
