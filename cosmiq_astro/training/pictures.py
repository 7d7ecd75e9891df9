"""Pictures of labels, and of what the network makes of some validation patches."""

from pathlib import Path

import numpy as np
from scipy import ndimage

from cosmiq_astro._io import atomic_write
from cosmiq_astro._windows import TOUCHING

__all__ = ["write_examples", "write_labels"]

_N_PATCHES = 4
_N_STAMPS, _STAMP = 8, 40
_NO_TICKS = {"xticks": (), "yticks": ()}


def write_examples(folder, epoch, network, validation, size, seed):
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
    size, seed : int
        Of the patches, which are the same in every epoch.
    """
    import torch
    from matplotlib.figure import Figure

    from cosmiq_astro.training.datasets import make_batch

    rng = np.random.default_rng(seed)
    batch = make_batch(validation, _N_PATCHES, size, network.config.channels, rng)
    inputs, labels, valid, _ = (torch.from_numpy(array) for array in batch)
    device = next(network.parameters()).device
    with torch.inference_mode():
        probability = torch.sigmoid(network(inputs.to(device))).cpu().numpy()[:, 0]
    label = np.where(valid, labels, np.nan)[:, 0]
    figure = Figure(figsize=(9, 3 * _N_PATCHES), layout="constrained")
    axes = figure.subplots(_N_PATCHES, 3, subplot_kw=_NO_TICKS)
    for row, *planes in zip(axes, inputs[:, 0].numpy(), label, probability, strict=True):
        row[0].imshow(planes[0], cmap="gray_r", origin="lower")
        for ax, plane in zip(row[1:], planes[1:], strict=True):
            ax.imshow(plane, cmap="viridis", vmin=0, vmax=1, origin="lower")
            ax.set_facecolor("lightgray")
    for ax, title in zip(axes[0], ("image", "label (gray: ignored)", "probability"), strict=True):
        ax.set_title(title)
    path = Path(folder, f"epoch_{epoch:03}.png")
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path, overwrite=True) as temporary:
        figure.savefig(temporary, format="png", dpi=80)


def write_labels(path, labels, names):
    """
    Write stamps of what was labelled: the largest hits of each exposure, and some of the others.

    Parameters
    ----------
    path : path-like
        The picture, PNG.
    labels : `~cosmiq_astro.training.ExposureLabels`
        What was labelled.
    names : sequence of str
        Of the exposures that were used.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1.5 * _N_STAMPS, 1.6 * len(names) + 0.5), layout="constrained")
    axes = figure.subplots(len(names), _N_STAMPS, squeeze=False, subplot_kw=_NO_TICKS)
    planes = zip(labels.images, labels.masks, labels.ignore, strict=True)
    for name, row, (image, mask, ignore) in zip(names, axes, planes, strict=True):
        places = _places(mask)
        for ax, place in zip(row, places, strict=False):
            box = tuple(
                slice(start := min(max(c - _STAMP // 2, 0), max(n - _STAMP, 0)), start + _STAMP)
                for c, n in zip(place, image.shape, strict=True)
            )
            low, high = np.quantile(image[box], (0.05, 0.99))
            span = max(high - low, 1e-6)
            ax.imshow(np.arcsinh(5 * (image[box] - low) / span), cmap="gray_r", origin="lower")
            for plane, colour in ((ignore[box], "tab:blue"), (mask[box], "tab:red")):
                if plane.any() and not plane.all():
                    ax.contour(plane, [0.5], colors=colour, linewidths=0.8)
        if len(places) == 0:
            for ax in row:
                ax.set_facecolor("lightgray")
        row[0].set_ylabel(name[-16:], fontsize=7)
    figure.suptitle("red: cosmic ray, blue: ignored", fontsize=9)
    with atomic_write(path, overwrite=True) as temporary:
        figure.savefig(temporary, format="png", dpi=110)


def _places(mask):
    """Return the middles of the largest hits, and of others spread evenly, as integers."""
    groups, n = ndimage.label(mask, TOUCHING)
    if n == 0:
        return np.zeros((0, 2), dtype=int)
    order = np.argsort(-np.bincount(groups.ravel())[1:], kind="stable") + 1
    half = _N_STAMPS // 2
    rest = order[half:]
    chosen = [*order[:half], *rest[:: max(1, -(-len(rest) // (_N_STAMPS - half)))]]
    return np.rint(ndimage.center_of_mass(mask, groups, chosen)).astype(int)
