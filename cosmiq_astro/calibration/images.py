"""Pictures of an image with what a detector says of it; they need matplotlib."""

import io

import numpy as np

from ._input import plane
from ._ranks import entropy
from ._sums import log_pair

__all__ = ["explore_threshold", "plot_maps"]


def plot_maps(data, results, *, truth=None, names=None, threshold=0.5, axes=None):
    """
    Draw data, mask, probability and entropy, a row for each result.

    Parameters
    ----------
    data : array-like
        Image, shape ``(ny, nx)``, drawn with an asinh stretch.
    results : list
        Results with ``probability`` (or ``cr_probability``), such as those of
        the baseline and of variational inference, or arrays.
    truth : array-like of bool, optional
        True cosmic rays: the mask is then drawn in black where it is right,
        blue where it is false, red where a pixel was missed.
    names : list of str, optional
        Names of the rows.
    threshold : float, optional
        Pixels with p at or above it are in the mask.
    axes : array of `~matplotlib.axes.Axes`, optional
        Shape ``(n_results, 4)``; new ones by default.

    Returns
    -------
    axes : `~numpy.ndarray` of `~matplotlib.axes.Axes`
        The axes.
    """
    import matplotlib.pyplot as plt

    if axes is None:
        size = (11, 2.9 * len(results))
        axes = plt.subplots(len(results), 4, figsize=size, squeeze=False, layout="constrained")[1]
    stretched = _stretched(data)
    names = names or [""] * len(results)
    for i, (row, result, name) in enumerate(zip(axes, results, names, strict=True)):
        p = _probability(result)
        row[0].imshow(stretched, cmap="gray", origin="lower", vmin=0, vmax=1)
        row[1].imshow(_mask_colours(p >= threshold, truth), origin="lower")
        shown = row[2].imshow(p, cmap="viridis", origin="lower", vmin=0, vmax=1)
        row[2].figure.colorbar(shown, ax=row[2], shrink=0.8)
        uncertain = row[3].imshow(
            entropy(p, *log_pair(p)), cmap="magma", origin="lower", vmin=0, vmax=np.log(2)
        )
        row[3].figure.colorbar(uncertain, ax=row[3], shrink=0.8)
        for ax, title in zip(row, ("data", "mask", "probability", "entropy (nats)"), strict=True):
            ax.set(xticks=[], yticks=[], title="" if i else title)
        row[0].set_ylabel(name)
    return axes


def explore_threshold(data, result, *, truth=None):
    """
    Show the mask for any threshold, with a slider, in a notebook.

    Needs ipywidgets.

    Parameters
    ----------
    data : array-like
        Image, shape ``(ny, nx)``.
    result : object or array-like
        A result with ``probability`` (or ``cr_probability``), or an array.
    truth : array-like of bool, optional
        True cosmic rays, drawn as by `plot_maps`.

    Returns
    -------
    explorer : ``ipywidgets.VBox``
        Slider, counts and picture; show it as the last line of a cell.
    """
    import ipywidgets
    from matplotlib.figure import Figure

    p = _probability(result)
    figure = Figure(figsize=(9, 4.5), layout="constrained")
    left, right = figure.subplots(1, 2, sharex=True, sharey=True)
    left.imshow(_stretched(data), cmap="gray", origin="lower", vmin=0, vmax=1)
    mask = right.imshow(_mask_colours(p >= 0.5, truth), origin="lower")
    slider = ipywidgets.FloatSlider(0.5, min=0.01, max=0.99, step=0.01, description="threshold")
    words, picture = ipywidgets.HTML(), ipywidgets.Image(format="png")

    def show(change):
        flagged = p >= change["new"]
        mask.set_data(_mask_colours(flagged, truth))
        words.value = _counts(flagged, truth)
        file = io.BytesIO()
        figure.savefig(file, format="png")
        picture.value = file.getvalue()

    slider.observe(show, names="value")
    show({"new": slider.value})
    return ipywidgets.VBox([slider, words, picture])


def _counts(flagged, truth):
    """Say how many pixels are flagged, and how many of them rightly."""
    text = f"{np.count_nonzero(flagged)} pixels flagged"
    if truth is None:
        return text
    truth = np.asarray(truth, dtype=bool)
    n_right, n_true = np.count_nonzero(flagged & truth), np.count_nonzero(truth)
    return f"{text}, {n_right} of {n_true} cosmic-ray pixels among them"


def _probability(result):
    """Return the probability of a result, or the array itself."""
    p = plane(result, "probability")
    return np.asarray(result if p is None else p, dtype=float)


def _stretched(data):
    """Return the image from 0 to 1, faint and bright parts both visible."""
    data = np.asarray(data, dtype=float)
    low, high = np.nanpercentile(data, (1, 99.5))
    return np.arcsinh(5 * (data - low) / max(high - low, 1e-30)) / np.arcsinh(5)


def _mask_colours(flagged, truth):
    """Return an RGB image of a mask, against the truth if it is known."""
    truth = flagged if truth is None else np.asarray(truth, dtype=bool)
    colours = np.ones((*flagged.shape, 3))
    colours[flagged & truth] = (0.0, 0.0, 0.0)
    colours[flagged & ~truth] = (0.1, 0.4, 0.9)
    colours[~flagged & truth] = (0.9, 0.1, 0.1)
    return colours
