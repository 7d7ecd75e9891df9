"""
Star cores that the models flag at their default thresholds, on more frames than accuracy.py scores.

    python benchmarks/stars.py --data DIR [--work DIR] [--frames-per-cell 6] [--out DIR]

Frames and stars are those of set a of accuracy.py and others made alike: one star in ten thousand
takes some 30,000 stars to rule out, if none is flagged.
"""

import argparse
from pathlib import Path

from _frames import Frames, specs_of
from _peers import model_tool
from _scores import at_threshold
from accuracy import Run
from astropy.table import Table

MODELS = [
    f"{family}-{method}"
    for family in ("acs-wfc", "acs-wfc-fast", "acs-wfc-large", "ccd")
    for method in ("unet", "vi")
]


def main():
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--frames-per-cell", type=int, default=6)
    parser.add_argument("--work", type=Path, default=Path("accuracy_work"))
    parser.add_argument("--out", type=Path, default=Path("accuracy"))
    options = parser.parse_args()
    models = [model_tool(name, 16) for name in options.models.split(",")]
    run = Run(Frames(options.data, options.work), models)
    specs = specs_of("a", options.frames_per_cell, 512)
    names = ("stars", "stars_flagged", "stars_limit", "precision", "recall", "false_far")
    rows = []
    for model in models:
        counts = run.counts(model, specs)
        found = at_threshold(sum(counts[1:], counts[0]))
        numbers = {name: int(found[name]) for name in names[:2]}
        numbers |= {name: float(f"{found[name]:.4g}") for name in names[2:]}
        rows.append({"tool": model.name} | numbers)
        print(*rows[-1].values(), flush=True)
    table = Table(rows=rows)
    table.meta = {
        "title": "Cores of bright stars flagged",
        "description": f"{len(specs)} frames made like those of set a, at the default thresholds: "
        "stars of S/N > 30 without a hit within 3 pixels, how many had a core pixel flagged, and "
        "the upper limit (95 %) on their share.",
        "command": "python benchmarks/stars.py --data DIR --out DIR",
    }
    options.out.mkdir(parents=True, exist_ok=True)
    table.write(options.out / "stars.ecsv", overwrite=True)


if __name__ == "__main__":
    main()
