"""Misses with optics like those of ACS/WFC, against time, from the committed tables."""

import matplotlib.pyplot as plt
from astropy.table import Table

# Sphinx runs this in the script's own folder.
speed = Table.read("../performance/speed_float32.ecsv")
scores = Table.read("../validation/transfer.ecsv")
scores = scores[(scores["field"] == "all") & (scores["group"] == "realistic")]
pairs = {
    "deepCR ACS-WFC": "deepCR",
    "deepCR ACS-WFC, 256-pixel segments": "deepCR",
    "astroscrappy": "astroscrappy",
    "cosmicray_unet": "acs-wfc-unet",
    "cosmicray_vi, T=16": "acs-wfc-vi",
}
fig, axes = plt.subplots(1, 2, figsize=(10, 3.6), sharex=True, layout="constrained")
for ax, rate in zip(axes, ("0.05%", "0.5%"), strict=True):
    for method, tool in pairs.items():
        row = scores[scores["tool"] == tool]
        if len(row):
            x = speed["seconds_per_megapixel"][speed["method"] == method][0]
            y = 1 - row[f"tpr@{rate}"][0]
            ours = method.startswith("cosmicray")
            ax.plot(x, y, "o", color="C0" if ours else "C1")
            text = method.replace("cosmicray_", "").replace("deepCR ACS-WFC", "deepCR")
            # The same network twice: one name above its point, the other below.
            offset = (0, -12) if "segments" in method else (6, 4)
            ax.annotate(text, (x, y), offset, textcoords="offset points", fontsize=8)
    ax.set(xscale="log", yscale="log", xlabel="seconds per megapixel")
    ax.set(ylabel=f"missed at {rate[:-1]} % false positives")
    ax.margins(x=0.25, y=0.2)
    ax.set_xticks([0.5, 1, 2, 5], labels=["0.5", "1", "2", "5"])
    ax.set_xticks([], minor=True)
    ax.grid(alpha=0.3, which="both")
