"""Pixels of a simulated frame where the model is right or wrong, sure or not."""

import matplotlib.pyplot as plt
import numpy as np

import cosmiq_astro as ca
from cosmiq_astro.simulate import hst_psf, simulate_exposure

HALF, UNSURE = 8, 0.325  # pixels; nats, the entropy of p = 0.1 and 0.9

psf = hst_psf(606, charge_diffusion=0.5)
ccd, truth = simulate_exposure((384, 384), 500.0, field="globular", psf=psf, seed=3)
out = ca.cosmicray_vi(ccd, T=16, seed=1, readnoise=4.5)

counted = (out.cr_probability > 0.01) | truth.label
counted &= ~truth.ignore
right = out.cr_mask == truth.label
unsure = out.cr_entropy > UNSURE
cases = {
    "right and sure:\nuse it": right & ~unsure,
    "right, but unsure:\ncheck, or mask": right & unsure,
    "wrong and unsure:\nfound by a check": ~right & unsure,
    "wrong, but sure:\nnothing tells": ~right & ~unsure,
}
inside = np.zeros(ccd.shape, bool)
inside[HALF:-HALF, HALF:-HALF] = True
image = np.arcsinh((ccd.data - np.median(ccd.data)) / 30)
rng = np.random.default_rng(1)
fig, axes = plt.subplots(4, 8, figsize=(11, 6), layout="constrained")
for row, (name, case) in zip(axes, cases.items(), strict=True):
    n = np.count_nonzero(case & counted)
    places = np.argwhere(case & counted & inside)
    row[0].set_ylabel(f"{name}\n{n} pixels", rotation=0, ha="right", va="center")
    chosen = rng.permutation(places)[:4]
    for pair in row.reshape(4, 2):
        for ax in pair:
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set_visible(False)
    for (y, x), (left, beside) in zip(chosen, row.reshape(4, 2), strict=False):
        part = slice(y - HALF, y + HALF + 1), slice(x - HALF, x + HALF + 1)
        left.imshow(image[part], origin="lower", cmap="gray_r", vmin=-1)
        colour = "tab:red" if truth.label[y, x] else "tab:blue"
        left.plot(HALF, HALF, "s", ms=6, mfc="none", mec=colour)
        beside.imshow(out.cr_entropy[part], origin="lower", cmap="magma", vmin=0, vmax=np.log(2))
        beside.set_title(f"p = {out.cr_probability[y, x]:.2f}", fontsize=8, loc="left")
