"""Misses over deepCR's, and star cores flagged, from the committed table."""

import matplotlib.pyplot as plt
import numpy as np
from astropy.table import Table

# Sphinx runs this in the script's own folder.
table = Table.read("../validation/transfer.ecsv", format="ascii.ecsv")
table = table[table["field"] == "all"]
names = {
    "realistic": "as ACS/WFC",
    "sharp": "sharp",
    "coarse": "coarse",
    "soft": "soft",
    "faint": "faint hits",
    "trailed": "trailed",
    "ground": "ground",
}
models = ["acs-wfc-vi", "acs-wfc-unet", "CRNet"]
fig, axes = plt.subplots(1, 2, figsize=(10, 5), sharey=True, layout="constrained")
y = np.arange(len(names))
for i, model in enumerate(["deepCR", *models]):
    rows = table[table["tool"] == model]
    rows = rows[[list(rows["group"]).index(group) for group in names]]
    shift = y + 0.16 * (i - len(models) / 2)
    if model != "deepCR":
        ratio = rows["ratio@0.05%"]
        spread = ratio - rows["ratio@0.05%_low"], rows["ratio@0.05%_high"] - ratio
        axes[0].errorbar(ratio, shift, xerr=np.abs(spread), fmt="o", ms=5, color=f"C{i}")
    axes[1].plot(rows["cores_per_1e4"], shift, "o", ms=5, color=f"C{i}", label=model)
axes[0].axvline(1, color="0.6", lw=1)
axes[0].set(xscale="log", xlabel="misses over deepCR's, at 0.05 % false positives")
axes[0].set_xticks([0.1, 0.3, 1, 3], ["0.1", "0.3", "1", "3"])
axes[0].set_yticks(y, names.values())
axes[0].invert_yaxis()
axes[1].set_xscale("symlog", linthresh=10)
axes[1].set_xticks([0, 10, 100, 1000, 5000], ["0", "10", "100", "1,000", "5,000"])
axes[1].set(xlabel="star cores flagged, of 10,000", xlim=(-3, 7000))
fig.legend(*axes[1].get_legend_handles_labels(), loc="outside upper center", ncols=5, frameon=False)
