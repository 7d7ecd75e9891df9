"""Pictures of detections; they need matplotlib."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from cosmiq_astro._picture import RED, stretch
from cosmiq_astro.calibration._input import plane
from cosmiq_astro.calibration._sums import entropy

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from cosmiq_astro.nddata import CosmicRayCCDData

__all__ = ["plot_detection", "plot_maps"]

_DRAWN_SIZE = 200


def plot_detection(out: CosmicRayCCDData, *, axes: np.ndarray | None = None) -> np.ndarray:
    """
    Draw an exposure, its cosmic-ray mask, their probability and its entropy.

    The image is scaled by the arcsinh of its values above the sky. In images
    of more than 200 pixels the hits are drawn larger than they are.

    Parameters
    ----------
    out : `~cosmiq_astro.CosmicRayCCDData`
        What `~cosmiq_astro.cosmicray_vi` or `~cosmiq_astro.cosmicray_unet`
        returned, or `~cosmiq_astro.hst.read_chip` read.
    axes : array-like of `~matplotlib.axes.Axes`, optional
        Four axes to draw into; a figure is made if None.

    Returns
    -------
    axes : `~numpy.ndarray` of `~matplotlib.axes.Axes`
        The four axes, in one dimension: image, mask, probability, entropy.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If ``out`` lacks a plane, or ``axes`` are not four.

    Examples
    --------
    >>> import cosmiq_astro as ca
    >>> from cosmiq_astro.plots import plot_detection
    >>> out = ca.cosmicray_unet(ca.load_sample())
    >>> axes = plot_detection(out)
    >>> axes[2].get_title()
    'probability'
    """
    for name in ("cr_mask", "cr_probability", "cr_entropy"):
        if getattr(out, name, None) is None:
            raise ValueError(f"out has no {name}: give the result of a detection")
    if axes is None:
        from matplotlib import pyplot as plt

        size = (11, 2 * min(max(5 * out.shape[0] / out.shape[1], 2), 12))
        made = plt.subplots(2, 2, figsize=size, sharex=True, sharey=True, layout="compressed")
        axes = np.asarray(made[1])
    axes = np.ravel(axes)
    if axes.size != 4:
        raise ValueError(f"axes must be four, got {axes.size}")
    stretched, low, high = stretch(out.data)
    gray = {"cmap": "gray_r", "vmin": low, "vmax": high}
    n_pixels = int(out.cr_mask.sum())
    panels = (
        (stretched, gray, "image"),
        (stretched, gray, f"cosmic rays: {n_pixels} pixels"),
        (out.cr_probability, {"cmap": "magma", "vmin": 0, "vmax": 1}, "probability"),
        (out.cr_entropy, {"cmap": "viridis", "vmin": 0, "vmax": np.log(2)}, "entropy (nats)"),
    )
    _draw(axes, panels, {"fraction": 0.046, "pad": 0.03})
    # A hit must not fall between the dots of the screen when a large image is drawn small.
    size = math.ceil(max(out.shape) / _DRAWN_SIZE)
    overlay = np.zeros((*out.shape, 4), dtype=np.float32)
    overlay[ndimage.maximum_filter(out.cr_mask, size=size)] = RED
    axes[1].imshow(overlay, origin="lower", interpolation="nearest")
    return axes


def plot_maps(
    data: ArrayLike,
    results: Sequence,
    *,
    truth: ArrayLike | None = None,
    names: Sequence[str] | None = None,
    threshold: float = 0.5,
    axes: np.ndarray | None = None,
) -> np.ndarray:
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
    stretched, low, high = stretch(np.asarray(data, dtype=float))
    gray = {"cmap": "gray", "vmin": low, "vmax": high}
    names = names or [""] * len(results)
    for i, (row, result, name) in enumerate(zip(axes, results, names, strict=True)):
        p = plane(result, "probability")
        p = np.asarray(result if p is None else p, dtype=float)
        panels = (
            (stretched, gray, "data"),
            (_mask_colours(p >= threshold, truth), {}, "mask"),
            (p, {"cmap": "viridis", "vmin": 0, "vmax": 1}, "probability"),
            (entropy(p), {"cmap": "magma", "vmin": 0, "vmax": np.log(2)}, "entropy (nats)"),
        )
        _draw(row, panels, {"shrink": 0.8})
        for ax in row:
            ax.set(xticks=[], yticks=[], title="" if i else ax.get_title())
        row[0].set_ylabel(name)
    return axes


def _draw(axes, panels, bar):
    """Show images in their styles, under their titles, and the scales of what has one."""
    for ax, (pixels, style, title) in zip(axes, panels, strict=True):
        drawn = ax.imshow(pixels, origin="lower", **style)
        ax.set_title(title)
        if title.startswith(("probability", "entropy")):
            ax.figure.colorbar(drawn, ax=ax, **bar)


def _mask_colours(flagged, truth):
    """Return an RGB image of a mask, against the truth if it is known."""
    truth = flagged if truth is None else np.asarray(truth, dtype=bool)
    colours = np.ones((*flagged.shape, 3))
    colours[flagged & truth] = (0.0, 0.0, 0.0)
    colours[flagged & ~truth] = (0.1, 0.4, 0.9)
    colours[~flagged & truth] = (0.9, 0.1, 0.1)
    return colours
