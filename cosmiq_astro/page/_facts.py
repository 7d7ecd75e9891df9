"""What the review page is told of a detection, beside its pixels."""

import json
import warnings

import numpy as np
from astropy.utils.exceptions import AstropyUserWarning
from astropy.visualization import ZScaleInterval
from scipy import ndimage

from cosmiq_astro._windows import TOUCHING
from cosmiq_astro.cleaning import scene_under
from cosmiq_astro.models.registry import find_model
from cosmiq_astro.page._planes import probability_levels
from cosmiq_astro.page.binding import FORMAT, exposure_digest
from cosmiq_astro.preprocess import estimate_statistics
from cosmiq_astro.units import electrons_per_unit

__all__ = ["describe", "list_hits"]

# Pixels from this probability on belong to the hits that are listed, flagged or not.
_CANDIDATE = 0.1
_MOST_HITS = 20000


def list_hits(out, pixels, bad):
    """
    Measure the hits, those to look at first in front.

    Parameters
    ----------
    out : `~cosmiq_astro.CosmicRayCCDData`
        The detection.
    pixels : ndarray of bool
        Of hits that were flagged, or nearly so.
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
    labels, n_hits = ndimage.label(pixels, TOUCHING)
    where = np.flatnonzero(labels)
    owner = labels.ravel()[where] - 1
    y, x = np.divmod(where, image.shape[1])
    with warnings.catch_warnings():
        # A hit without a good pixel near has no charge here, and stays in the list.
        warnings.simplefilter("ignore", AstropyUserWarning)
        above = (image - scene_under(image, pixels, bad)).ravel()[where]
    above = np.nan_to_num(above, nan=0.0, posinf=0.0, neginf=0.0)
    entropy = out.cr_entropy
    if entropy is None:
        from cosmiq_astro.calibration._sums import entropy as entropy_of

        entropy = entropy_of(out.cr_probability)

    def total(values):
        return np.bincount(owner, values)

    area, charge = np.bincount(owner), total(above)
    mean_entropy = total(np.nan_to_num(entropy.ravel()[where])) / area
    order = np.argsort(-mean_entropy * np.maximum(charge, 0), kind="stable")[:_MOST_HITS]
    columns = {
        "seed": where[np.unique(owner, return_index=True)[1]],
        "x": np.round(total(x) / area, 1),
        "y": np.round(total(y) / area, 1),
        "area": area,
        "charge": np.array([float(f"{value:.4g}") for value in charge]),
        "p": np.round(total(out.cr_probability.ravel()[where]) / area, 3),
        "entropy": np.round(mean_entropy, 3),
    }
    hits = {name: column[order].tolist() for name, column in columns.items()}
    return hits | {"total": n_hits}


def describe(out, bad, model):
    """
    Return what the page's script has to know of a detection, ready for JSON.

    Parameters
    ----------
    out : `~cosmiq_astro.CosmicRayCCDData`
        The detection.
    bad : ndarray of bool
        Pixels that cannot be flagged.
    model : str, path-like, `~cosmiq_astro.models.model.Model` or None
        Where to find the operating curve; the name in the header tells if None.

    Returns
    -------
    facts : dict
        Numbers, texts and lists.
    """
    threshold = float(out.meta.get("CRVITHR", 0.5))
    edges = probability_levels(threshold)
    image = np.asarray(out.data)
    statistics = estimate_statistics(image, ~bad)
    shown = np.zeros(1) if bad.all() else image[~bad]
    low, high = ZScaleInterval().get_limits(shown)
    return {
        "format": FORMAT,
        "shape": list(image.shape),
        "exposure": exposure_digest(image),
        "mask": exposure_digest(out.cr_mask),
        "unit": str(out.unit),
        "sky": statistics.sky,
        "noise": statistics.noise,
        "curvature": max(float(statistics.noise * _electrons(out)), 1.0),
        "zscale": [float(low), float(high)],
        "percentiles": [float(v) for v in np.percentile(shown[:: max(1, shown.size // 10**6)],
                                                        [0.5, 99.5, 99.99])],
        "edges": [float(f"{edge:.5g}") for edge in edges],
        "level": int(np.searchsorted(edges, np.float32(threshold))) + 1,
        "floor": int(np.searchsorted(edges, _CANDIDATE)) + 1,
        "threshold": threshold,
        "growth": int(out.meta.get("CRVIGROW", 0)),
        "model": str(out.meta.get("CRVIMODL", "unknown")),
        "version": str(out.meta.get("CRVIVERS", "unknown")),
        "T": int(out.meta.get("CRVIT", 1)),
        "curve": _curve(out.meta.get("CRVIMODL") if model is None else model),
    }  # fmt: skip


def _electrons(out):
    """Electrons per unit of the image; 1 where the gain or the time is not known."""
    try:
        return electrons_per_unit(out.unit, header=out.meta)
    except ValueError:
        return 1.0


def _curve(model):
    """Return a model's operating curve, its weights unread; None if it has none or is not here."""
    if not model or hasattr(model, "operating_curve"):
        return getattr(model, "operating_curve", None)
    try:
        folder = find_model(model)
    except ValueError:
        return None
    return json.loads((folder / "config.json").read_text(encoding="utf-8")).get("operating_curve")
