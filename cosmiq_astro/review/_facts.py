"""What the review page is told of a detection, beside its pixels."""

import json
import warnings

import numpy as np
from astropy.utils.exceptions import AstropyUserWarning
from astropy.visualization import ZScaleInterval
from scipy import ndimage
from scipy.special import entr

from cosmiq_astro.cleaning import clean_pixels, grow_mask
from cosmiq_astro.models.registry import find_model
from cosmiq_astro.review._planes import probability_levels
from cosmiq_astro.review.edits import FORMAT, exposure_digest

__all__ = ["CANDIDATE", "candidates", "describe", "list_hits", "read_curve"]

CANDIDATE = 0.1
"""Pixels from this probability on belong to the hits that are listed, flagged or not."""

_MOST_HITS = 20000


def read_curve(model):
    """
    Return the operating curve stored with a model, without loading its weights.

    Parameters
    ----------
    model : str, path-like or `~cosmiq_astro.models.model.Model`
        A bundled name, a model folder, or a loaded model.

    Returns
    -------
    curve : dict or None
        See `~cosmiq_astro.calibration.operating_curve`; None if the model has
        none, or is not at hand.
    """
    if hasattr(model, "operating_curve"):
        return model.operating_curve
    try:
        folder = find_model(model)
    except ValueError:
        return None
    return json.loads((folder / "config.json").read_text(encoding="utf-8")).get("operating_curve")


def candidates(levels, edges, cr_mask, usable):
    """
    Return the pixels of flagged hits and of those that were nearly flagged.

    Parameters
    ----------
    levels : ndarray of uint8
        Of the probability.
    edges : ndarray
        From `~cosmiq_astro.review._planes.probability_levels`.
    cr_mask, usable : ndarray of bool
        Flagged pixels, and those that can be.

    Returns
    -------
    pixels : ndarray of bool
        Those of a level that begins at `CANDIDATE` or above, and the flagged ones.
    floor : int
        That level.
    """
    floor = int(np.searchsorted(edges, CANDIDATE)) + 1
    return (levels >= floor) & usable | cr_mask, floor


def list_hits(out, pixels, bad):
    """
    Measure the hits, those to look at first in front.

    Parameters
    ----------
    out : `~cosmiq_astro.CosmicRayCCDData`
        The detection.
    pixels : ndarray of bool
        From `candidates`.
    bad : ndarray of bool
        Pixels that cannot be flagged.

    Returns
    -------
    hits : dict of list
        ``seed`` (index of a pixel of it, row by row), ``x``, ``y`` (0-based),
        ``area``, ``charge`` (unit of the image), ``p`` and ``entropy`` (means),
        by descending entropy × charge; ``total``, the number before the list
        was cut at 20,000.
    """
    image = np.asarray(out.data)
    labels, n_hits = ndimage.label(pixels, structure=np.ones((3, 3)))
    where = np.flatnonzero(labels)
    owner = labels.ravel()[where] - 1
    y, x = np.divmod(where, image.shape[1])
    above = _above_background(image, pixels, bad).ravel()[where]
    entropy = out.cr_entropy
    if entropy is None:
        entropy = entr(out.cr_probability) + entr(1 - out.cr_probability)

    def total(values):
        return np.bincount(owner, values, n_hits)

    area = np.maximum(total(np.ones(where.size)), 1)
    charge = total(above)
    mean_entropy = total(np.nan_to_num(entropy.ravel()[where])) / area
    order = np.argsort(-mean_entropy * np.maximum(charge, 0), kind="stable")[:_MOST_HITS]
    columns = {
        "seed": where[np.unique(owner, return_index=True)[1]],
        "x": np.round(total(x) / area, 1),
        "y": np.round(total(y) / area, 1),
        "area": area.astype(int),
        "charge": np.array([float(f"{value:.4g}") for value in charge]),
        "p": np.round(total(out.cr_probability.ravel()[where]) / area, 3),
        "entropy": np.round(mean_entropy, 3),
    }
    hits = {name: column[order].tolist() for name, column in columns.items()}
    return hits | {"total": n_hits}


def _above_background(image, pixels, invalid):
    """Return the charge of the pixels above what is around them; 0 where nothing good is near."""
    rim = grow_mask(pixels, 1.5, mask=invalid)
    with warnings.catch_warnings():
        # A hit without a good pixel near has no charge here, and stays in the list.
        warnings.simplefilter("ignore", AstropyUserWarning)
        background = clean_pixels(np.where(pixels, np.nan, image), rim, mask=invalid, size=7)
    return np.nan_to_num(image - background, nan=0.0, posinf=0.0, neginf=0.0)


def describe(out, bad, *, name, extver, statistics, curvature, curve):
    """
    Return what the page's script has to know, ready for JSON.

    Parameters
    ----------
    out : `~cosmiq_astro.CosmicRayCCDData`
        The detection.
    bad : ndarray of bool
        Pixels that cannot be flagged.
    name : str
        Of the exposure.
    extver : int
        Number of the chip.
    statistics : `~cosmiq_astro.preprocess.ImageStatistics`
        Sky and noise, in the image's unit.
    curvature : float
        From `~cosmiq_astro.review._planes.quantise_image`.
    curve : dict or None
        From `read_curve`.

    Returns
    -------
    facts : dict
        Numbers, texts and lists.
    """
    threshold = float(out.meta.get("CRVITHR", 0.5))
    edges = probability_levels(threshold)
    image = np.asarray(out.data)
    shown = np.zeros(1) if bad.all() else image[~bad]
    low, high = ZScaleInterval().get_limits(shown)
    return {
        "format": FORMAT,
        "name": name,
        "extver": extver,
        "shape": list(image.shape),
        "exposure": exposure_digest(image),
        "mask": exposure_digest(out.cr_mask),
        "unit": str(out.unit),
        "sky": statistics.sky,
        "noise": statistics.noise,
        "curvature": curvature,
        "zscale": [float(low), float(high)],
        "percentiles": [float(v) for v in np.percentile(shown[:: max(1, shown.size // 10**6)],
                                                        [0.5, 99.5, 99.99])],
        "edges": [float(f"{edge:.5g}") for edge in edges],
        "level": int(np.searchsorted(edges, np.float32(threshold))) + 1,
        "threshold": threshold,
        "growth": int(out.meta.get("CRVIGROW", 0)),
        "model": str(out.meta.get("CRVIMODL", "unknown")),
        "version": str(out.meta.get("CRVIVERS", "unknown")),
        "T": int(out.meta.get("CRVIT", 1)),
        "curve": curve,
    }  # fmt: skip
