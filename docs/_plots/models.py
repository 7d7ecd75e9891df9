"""The same part of the sample, flagged by each model."""

import matplotlib.pyplot as plt
import numpy as np

import cosmiq_astro as ca

part = slice(330, 394), slice(428, 492)
ccd = ca.load_sample()
image = np.arcsinh((ccd.data - np.median(ccd.data)) / 40)[part]
names = ["acs-wfc-unet", "acs-wfc-vi"]
fig, axes = plt.subplots(1, 2, figsize=(7, 3.8), layout="constrained")
for ax, name in zip(axes.flat, names, strict=True):
    if name.endswith("vi"):
        out = ca.cosmicray_vi(ccd, model=name, readnoise=4.71, T=16, seed=1)
    else:
        out = ca.cosmicray_unet(ccd, model=name, readnoise=4.71)
    mask = out.cr_mask[part]
    ax.imshow(image, origin="lower", cmap="gray_r", vmin=-1)
    ax.imshow(np.where(mask, 1.0, np.nan), origin="lower", cmap="autumn", vmin=1, vmax=2)
    ax.set(title=f"{name}: {out.cr_mask.sum()} in all", xticks=[], yticks=[])
