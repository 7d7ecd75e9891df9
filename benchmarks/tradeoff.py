"""
Plot what is missed against the seconds per megapixel, from the committed tables.

python benchmarks/tradeoff.py [--docs docs]

Both come from other scripts: accuracy.py (set a) and speed.py.
"""

import argparse
from pathlib import Path

from astropy.table import Table
from matplotlib.figure import Figure

# Methods of speed_float32.ecsv and tools of accuracy_a.ecsv, with where to write the label.
PAIRS = {
    "deepCR": ("deepCR ACS-WFC", "deepCR", "right"),
    "unet": ("cosmicray_unet", "acs-wfc-unet", "left"),
    "vi, T=4": ("cosmicray_vi, T=4", "acs-wfc-vi@4", "right"),
    "vi, T=16": ("cosmicray_vi, T=16", "acs-wfc-vi@16", "left"),
    "vi, moments": ("cosmicray_vi, moments", "acs-wfc-vi@moments", "above"),
    "fast-unet": ("cosmicray_unet, fast", "acs-wfc-fast-unet", "left"),
    "fast-vi, T=16": ("cosmicray_vi, T=16, fast", "acs-wfc-fast-vi@16", "left"),
    "large-unet": ("cosmicray_unet, large", "acs-wfc-large-unet", "below"),
    "large-vi, T=16": ("cosmicray_vi, T=16, large", "acs-wfc-large-vi@16", "below"),
    "fast-vi, moments": ("cosmicray_vi, moments, fast", "acs-wfc-fast-vi@moments", "below"),
}
SCORES = {"tpr@0.05%": "missed at 0.05 % false positives", "nll": "NLL, nats per pixel"}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--docs", type=Path, default=Path("docs"))
    docs = parser.parse_args().docs
    speed = Table.read(docs / "performance" / "speed_float32.ecsv")
    scores = Table.read(docs / "validation" / "accuracy_a.ecsv")
    scores = scores[scores["group"] == "all"]
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    panels = figure.subplots(1, len(SCORES))
    for panel, (score, label) in zip(panels, SCORES.items(), strict=True):
        for name, (method, tool, side) in PAIRS.items():
            x = float(speed["seconds_per_megapixel"][speed["method"] == method][0])
            y = float(scores[score][scores["tool"] == tool][0])
            y = 1 - y if score.startswith("tpr") else y
            panel.plot(x, y, "o", color="C1" if tool == "deepCR" else "C0")
            offset = {"left": (6, 4), "right": (-6, 4), "below": (0, -14), "above": (0, 7)}[side]
            align = side if side in ("left", "right") else "center"
            panel.annotate(name, (x, y), offset, textcoords="offset points", fontsize=8, ha=align)
        panel.set(xscale="log", yscale="log", xlabel="seconds per megapixel", ylabel=label)
        panel.margins(x=0.12, y=0.12)
        panel.set_xticks([0.2, 0.5, 1, 2, 4, 8], labels=["0.2", "0.5", "1", "2", "4", "8"])
        panel.set_xticks([], minor=True)
        panel.grid(alpha=0.3, which="both")
    path = docs / "performance" / "tradeoff.png"
    figure.savefig(path, dpi=110)
    print(path)


if __name__ == "__main__":
    main()
