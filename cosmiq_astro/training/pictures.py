"""Pictures of what the network makes of some validation patches."""

from pathlib import Path

import numpy as np
import torch

from cosmiq_astro._io import written_whole
from cosmiq_astro.training.datasets import make_batch

__all__ = ["write_examples"]

_N_PATCHES = 4


@torch.inference_mode()
def write_examples(folder, epoch, network, validation, settings):
    """
    Write ``epoch_001.png`` and so on: image, label and probability of four validation patches.

    Parameters
    ----------
    folder : path-like
        Made if it is not there.
    epoch : int
        Number in the file's name.
    network : `~cosmiq_astro.models.unet.UNet`
        The network; its mean weights are used.
    validation : dataset
        Validation frames.
    settings : `~cosmiq_astro.training.settings.Schedule`
        Of the run; the patches are the same in every epoch.
    """
    from matplotlib.figure import Figure

    rng = np.random.default_rng(settings.seed)
    channels = network.config.channels
    batch = make_batch(validation, _N_PATCHES, settings.patch_size, channels, rng)
    inputs, labels, valid = (torch.from_numpy(array) for array in batch)
    device = next(network.parameters()).device
    probability = torch.sigmoid(network(inputs.to(device))).cpu().numpy()[:, 0]
    label = np.where(valid, labels, np.nan)[:, 0]
    figure = Figure(figsize=(9, 3 * _N_PATCHES), layout="constrained")
    axes = figure.subplots(_N_PATCHES, 3)
    for row, *planes in zip(axes, inputs[:, 0].numpy(), label, probability, strict=True):
        row[0].imshow(planes[0], cmap="gray_r", origin="lower")
        for ax, plane in zip(row[1:], planes[1:], strict=True):
            ax.imshow(plane, cmap="viridis", vmin=0, vmax=1, origin="lower")
            ax.set_facecolor("lightgray")
    for ax, title in zip(axes[0], ("image", "label (gray: ignored)", "probability"), strict=True):
        ax.set_title(title)
    for ax in axes.flat:
        ax.set_xticks([])
        ax.set_yticks([])
    path = Path(folder, f"epoch_{epoch:03}.png")
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path, overwrite=True) as temporary:
        figure.savefig(temporary, format="png", dpi=80)
