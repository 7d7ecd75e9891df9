"""Diagnostics per cosmic-ray hit: a hit is a group of touching pixels (8 neighbours)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy
from astropy import units as u
from astropy.table import QTable, Table
from numpy.typing import ArrayLike

from cosmiq_astro._windows import TOUCHING

from ._scores import described
from ._sums import ratio, wilson_interval

__all__ = ["HitMatch", "completeness_table", "match_hits"]

_DESCRIPTIONS = {
    "id": "number in the label image",
    "x": "mean column, 0-based",
    "y": "mean row, 0-based",
    "n_pixels": "number of pixels that count",
    "charge": "summed charge of these pixels",
    "n_flagged": "how many of them are flagged",
    "n_true": "how many of them are cosmic ray",
    "n_ignored": "pixels of the detection that do not count",
    "max_probability": "largest probability in the hit",
    "probability": "mean probability of the detection",
    "n_detections": "detections that share a pixel with it; more than 1: split",
    "n_hits": "true hits that share a pixel with it; more than 1: merged",
    "found": "whether any pixel is flagged",
    "label": "whether any pixel is a cosmic ray",
}


@dataclass(frozen=True)
class HitMatch:
    """
    True hits and detections of one image, matched by shared pixels.

    Attributes
    ----------
    hits : `~astropy.table.QTable`
        One row per true hit: ``id``, ``x``, ``y``, ``n_pixels``,
        ``n_flagged``, ``max_probability``, ``n_detections``, ``found`` and,
        if charges were given, ``charge``.
    detections : `~astropy.table.QTable`
        One row per detection: ``id``, ``x``, ``y``, ``n_pixels``,
        ``n_true``, ``n_hits``, ``n_ignored``, ``probability``, ``max_probability`` and
        ``label`` (whether it is real), so that
        ``reliability_table(match.detections)`` is the reliability per hit.
    """

    hits: QTable
    detections: QTable

    def __repr__(self):
        found, real = self.hits["found"].sum(), self.detections["label"].sum()
        return (
            f"<HitMatch: {found} of {len(self.hits)} hits found, "
            f"{real} of {len(self.detections)} detections real>"
        )

    @property
    def completeness(self) -> float:
        """Fraction of the true hits that were found; NaN without hits."""
        return float(ratio(np.sum(self.hits["found"]), len(self.hits)))

    @property
    def purity(self) -> float:
        """Fraction of the detections that are real; NaN without detections."""
        return float(ratio(np.sum(self.detections["label"]), len(self.detections)))


def match_hits(
    probability: ArrayLike,
    truth: ArrayLike,
    *,
    threshold: float = 0.5,
    charge: ArrayLike | None = None,
    ignore: ArrayLike | None = None,
) -> HitMatch:
    """
    Match the detections of an image with its true hits.

    Parameters
    ----------
    probability : array-like
        Shape ``(ny, nx)``; NaN is not flagged.
    truth : array-like or `~photutils.segmentation.SegmentationImage`
        True pixels, as bool (touching ones make a hit), or as integers that
        number the hits, 0 for none.
    threshold : float, optional
        Pixels with p at or above it are flagged. The reliability per hit
        knows only detections above it: lower it to 0.1 for that.
    charge : array-like or `~astropy.units.Quantity`, optional
        Charge of cosmic rays in each pixel, shape ``(ny, nx)``.
    ignore : array-like of bool, optional
        Pixels that do not count, such as those of faint charge. They connect
        detections, but neither find a hit nor make a detection false; what
        lies wholly within them is left out.

    Returns
    -------
    match : `HitMatch`
        Tables of hits and detections. Stack those of several images with
        `astropy.table.vstack`.

    Examples
    --------
    >>> import numpy as np
    >>> from cosmiq_astro.calibration import match_hits
    >>> truth = np.zeros((5, 9), bool)
    >>> truth[1, 1:4] = truth[3, 6] = True
    >>> p = np.where(truth, 0.9, 0.0)
    >>> p[1, 2] = 0.2
    >>> p[3, 0] = 0.8
    >>> match = match_hits(p, truth)
    >>> match.completeness, match.purity
    (1.0, 0.75)
    """
    p = np.asarray(probability, dtype=float)
    if p.ndim != 2:
        raise ValueError(f"probability must be one image (ny, nx), its shape is {p.shape}")
    true_id = _numbered(truth)
    counted = np.ones(p.shape, bool) if ignore is None else ~np.asarray(ignore, dtype=bool)
    for name, plane in (("truth", true_id), ("ignore", counted), ("charge", charge)):
        if plane is not None and np.shape(plane) != p.shape:
            raise ValueError(f"{name} has the shape {np.shape(plane)}, probability has {p.shape}")
    flagged = p >= threshold
    whole_id = _numbered(flagged)
    found_id = np.where(counted, whole_id, 0)
    true_id = np.where(counted, true_id, 0)
    p = np.nan_to_num(p)
    shared = (true_id > 0) & (found_id > 0)
    truth_of, detection_of = np.unique([true_id[shared], found_id[shared]], axis=1)

    hits = _measured(true_id, p)
    index = hits["id"]
    if charge is not None:
        total = scipy.ndimage.sum_labels(getattr(charge, "value", charge), true_id, index)
        has_unit = isinstance(charge, u.Quantity)
        hits["charge"] = total << u.Quantity(charge).unit if has_unit else total
    hits["n_flagged"] = scipy.ndimage.sum_labels(flagged, true_id, index).astype(int)
    hits["n_detections"] = np.bincount(truth_of, minlength=true_id.max() + 1)[index]
    hits["found"] = hits["n_flagged"] > 0

    detections = _measured(found_id, p)
    index = detections["id"]
    detections["probability"] = scipy.ndimage.mean(p, found_id, index)
    detections["n_true"] = scipy.ndimage.sum_labels(true_id > 0, found_id, index).astype(int)
    detections["n_ignored"] = scipy.ndimage.sum_labels(~counted, whole_id, index).astype(int)
    detections["n_hits"] = np.bincount(detection_of, minlength=found_id.max() + 1)[index]
    detections["label"] = detections["n_true"] > 0
    for table in (hits, detections):
        described(table, _DESCRIPTIONS).meta["THRESH"] = float(threshold)
    return HitMatch(hits, detections)


def _numbered(mask):
    """Return the label image of a mask; integers are one already."""
    mask = np.asarray(mask)
    if mask.dtype == bool:
        return scipy.ndimage.label(mask, structure=TOUCHING)[0]
    if mask.dtype.kind not in "iu" or mask.min(initial=0) < 0:
        raise ValueError(
            f"truth must be bool or non-negative integers, its dtype is {mask.dtype}; "
            "turn a 0/1 float mask into bool"
        )
    return mask.astype(np.intp)


def _measured(number, p):
    """Return a table of the objects of a label image."""
    index = np.unique(number[number > 0])
    y, x = np.indices(p.shape)
    columns = {
        "id": index,
        "x": scipy.ndimage.mean(x, number, index) << u.pix,
        "y": scipy.ndimage.mean(y, number, index) << u.pix,
        "n_pixels": np.bincount(number.ravel())[index],
        "max_probability": scipy.ndimage.maximum(p, number, index) if index.size else np.zeros(0),
    }
    return QTable(columns)


def completeness_table(
    hits: Table,
    column: str,
    *,
    edges: ArrayLike | None = None,
    n_bins: int = 8,
) -> QTable:
    """
    Fraction of the hits found, in bins of one of their properties.

    Parameters
    ----------
    hits : `~astropy.table.Table`
        ``hits`` of `match_hits`, or several stacked.
    column : str
        Property to bin by: ``'charge'``, ``'n_pixels'``, or any other column
        of numbers.
    edges : array-like or `~astropy.units.Quantity`, optional
        Ascending edges, in the column's unit; the last bin includes both.
        Default: bins of equal number.
    n_bins : int, optional
        Number of bins if no edges are given.

    Returns
    -------
    table : `~astropy.table.QTable`
        ``low``, ``high``, ``n_hits``, ``n_found``, ``completeness``,
        ``completeness_low``, ``completeness_high`` (Wilson's interval at 95 %).
    """
    if column not in hits.colnames:
        raise ValueError(f"column: the hits have no {column!r}, only {hits.colnames}")
    values = u.Quantity(hits[column], dtype=float)
    if edges is None:
        if not values.size:
            raise ValueError("hits has no rows to make bins of; pass edges")
        edges = np.unique(np.quantile(values, np.linspace(0, 1, n_bins + 1)))
        edges = edges if edges.size > 1 else u.Quantity([edges[0], edges[0] + 1 * values.unit])
    limits = u.Quantity(edges, values.unit, dtype=float)
    found = np.asarray(hits["found"])
    n_hits, n_found = (np.histogram(x, limits)[0] for x in (values, values[found]))
    low, high = wilson_interval(n_found, n_hits)
    columns = [limits[:-1], limits[1:], n_hits, n_found, ratio(n_found, n_hits), low, high]
    texts = {
        "low": f"lower edge of {column}",
        "high": f"upper edge of {column}",
        "n_hits": "number of true hits",
        "n_found": "number found",
        "completeness": "fraction found",
        "completeness_low": "lower end of the interval",
        "completeness_high": "upper end of the interval",
    }
    table = QTable(columns, names=list(texts), meta={"COLUMN": column})
    return described(table, texts)
