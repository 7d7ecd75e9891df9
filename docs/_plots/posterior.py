"""Change of NLL against the baseline by the number of exposures, from the committed table."""

import matplotlib.pyplot as plt
from astropy.table import Table

# Sphinx runs this in the script's own folder.
table = Table.read("../validation/posterior_data.ecsv")
methods = {
    "by hand, 0.15": "widths by hand, 15 %",
    "posterior of the last block": "posterior of the last block",
    "posterior of the head": "posterior of the head",
    "Laplace of the head, fitted": "Laplace, head, fitted factor",
    "ensemble of four": "four networks",
}
fig, axes = plt.subplots(1, 2, figsize=(10, 3.8), sharex=True, sharey=True, layout="constrained")
for ax, kind in zip(axes, ("familiar", "unfamiliar"), strict=True):
    ax.axhline(0, color="0.5", lw=1)
    for i, (method, label) in enumerate(methods.items()):
        rows = table[(table["set"] == kind) & (table["method"] == method)]
        change, low, high = (
            rows[f"tempered_change_percent{end}"].data for end in ("", "_low", "_high")
        )
        # Side by side, so that bars do not hide one another.
        x = rows["n_exposures"] * 1.07 ** (i - 2)
        ax.errorbar(x, change, (change - low, high - change), fmt="o-", ms=4, lw=1, label=label)
    ax.set(xscale="log", title=f"{kind} frames", xlabel="exposures trained on")
    ax.set_xticks([16, 64, 256, 1024], labels=["16", "64", "256", "1024"])
    ax.set_xticks([], minor=True)
    ax.grid(alpha=0.3)
axes[0].set_ylabel("change of NLL, %")
axes[0].legend(fontsize=8)
