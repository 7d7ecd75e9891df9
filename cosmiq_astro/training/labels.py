"""Labels from repeated exposures: what only one of them shows is a cosmic ray."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
from astropy.table import Table
from scipy import ndimage

from cosmiq_astro._io import atomic_write
from cosmiq_astro._windows import TOUCHING
from cosmiq_astro.training import _siblings
from cosmiq_astro.training._scene import read_scene
from cosmiq_astro.units import to_electrons

if TYPE_CHECKING:
    from astropy import units as u
    from astropy.nddata import CCDData
    from numpy.typing import ArrayLike

__all__ = ["ExposureLabels", "label_exposures"]

_logger = logging.getLogger(__name__)

_LABEL = 3.0
# Below what is expected: a dark row, not noise.
_SUNK = 5.0
# Of the others together, on the same pixel of the detector.
_WARM = 3.0
# Stamps of a picture, and their side.
_N_STAMPS, _STAMP = 8, 40
# Of the brightest star, from which charge may run along a row or a column.
_BLEEDING = 0.25


@dataclass(frozen=True)
class ExposureLabels:
    """
    What `~cosmiq_astro.training.label_exposures` returns.

    The first three go into `~cosmiq_astro.training.PairedDataset` as they are;
    they hold the exposures that were used, those ``left_out`` not among them.

    Attributes
    ----------
    images : list of ndarray of float32
        The exposures, electron.
    masks : list of ndarray of bool
        True where a cosmic ray hit.
    ignore : list of ndarray of bool
        True where that could not be decided.
    used : ndarray of int
        Number of each of them among the exposures given.
    report : `~astropy.table.Table`
        One row per exposure given: ``exposure`` (its name), ``dy`` and ``dx`` (its offset from the
        first, pixels), ``scale`` (its light relative to the first),
        ``agreement`` (correlation of its stars with the others', brought to
        its place: 1 at best), ``misplaced`` (how far they lie from there,
        pixels), ``fwhm`` and ``elongation`` of its sharpest
        stars, ``mismatch`` (share of the range over 5 x 5 pixels by which it
        differs from the others where stars are: the price of seeing and
        interpolation), ``n_hits``, ``n_not_hits`` (trails, bleeds and groups
        that are too large, all ignored), ``hit_fraction`` and
        ``labelled_fraction`` (of its pixels); and ``note``: why it was left
        out, or is unlike the others.
    """

    images: list[np.ndarray] = field(repr=False)
    masks: list[np.ndarray] = field(repr=False)
    ignore: list[np.ndarray] = field(repr=False)
    used: np.ndarray = field(repr=False)
    report: Table

    @property
    def labelled_fraction(self) -> float:
        """Share of the pixels of the exposures used that got a label."""
        n = sum(plane.size for plane in self.ignore)
        return 1 - sum(int(plane.sum()) for plane in self.ignore) / n

    @property
    def left_out(self) -> list[int]:
        """Numbers of the exposures that are not used: list of int."""
        return sorted(set(range(len(self.report))) - set(self.used.tolist()))


def label_exposures(
    exposures: Sequence[np.ndarray | CCDData],
    *,
    readnoise: float | u.Quantity,
    gain: float | u.Quantity | None = None,
    offsets: ArrayLike | Literal["measure", "wcs"] | None = None,
    satlevel: float | u.Quantity | None = None,
    mask: ArrayLike | None = None,
    significance: float = 6.0,
    keep_unlike: bool = False,
    names: Sequence[str] | None = None,
) -> ExposureLabels:
    """
    Label the cosmic rays in two or more exposures of one field.

    Each exposure is compared with the mean of the others, each of which is
    brought to its place, sky, light and seeing, what only one of them shows
    left out: what is too bright, and what is too dark. A group of pixels is a
    hit if one exceeds the mean by ``significance`` standard deviations; its
    pixels above 3 get the label. The noise is that of source, sky and
    read-out, that of the mean, and a share of the local range of values, which
    is measured: where seeing, guiding or interpolation make a star differ
    still, a pixel must stand out by more. This is the scheme of Fruchter & Hook
    (2002, PASP 114, 144, section 4.4), with the seeing matched and the share
    measured.

    Parameters
    ----------
    exposures : sequence of ndarray or `~astropy.nddata.CCDData`
        Two or more exposures of one shape, sky included, with the same filter;
        their exposure times and skies may differ. Arrays are in electrons, or
        in adu if ``gain`` is given. Masked pixels are ignored.
    readnoise : float or `~astropy.units.Quantity`
        Electron.
    gain : float or `~astropy.units.Quantity`, optional
        Electron per adu.
    offsets : array-like, ``'measure'`` or ``'wcs'``, optional
        Rows and columns by which each exposure sees the sky moved with respect
        to the first, shape ``(n, 2)``; ``'measure'`` finds them from the
        stars; ``'wcs'`` reprojects each exposure by its WCS, rotation and
        distortion included. Without it the exposures are aligned. Dithered
        exposures are better: what stays on its pixel is a defect.
    satlevel : float or `~astropy.units.Quantity`, optional
        Level at which pixels saturate, electron; such pixels and their
        neighbours are ignored. Give it wherever stars saturate.
    mask : array-like, optional
        True for the bad pixels of the detector: ignored in every exposure.
    significance : float, optional
        Above 3. Raise it if stars get labels, lower it if faint hits are left
        undecided.
    keep_unlike : bool, optional
        Whether to use exposures that are unlike the others. Without it they
        are named in a warning and left out: they get no labels, and spoil
        nobody else's. Unlike is one whose stars are not where its offset says,
        or are wider, more elongated or of other shape than those of the
        others, or that has far more hits than they have.
    names : sequence of str, optional
        What warnings and report call the exposures; their numbers if None.

    Returns
    -------
    labels : `~cosmiq_astro.training.ExposureLabels`
        Masks, what to ignore, and a report.

    Raises
    ------
    ValueError
        If there are fewer than two exposures, or fewer than two that are alike;
        shapes or units differ, or a setting is out of its range.

    Notes
    -----
    Ignored are: pixels above 3 in no hit or within 3 pixels of the border, the
    neighbours of a hit's pixels (its wings are fainter than can be told),
    saturated and masked pixels, those that no other exposure covers, those
    that stand out at one place of the detector in half of the exposures, those
    far darker than expected, and whatever is too large or too straight for a
    hit: trails of satellites, and charge that bled along rows or columns from
    a bright star. Hot
    pixels that come or go between exposures look like hits: use exposures of
    one night, or mask them. The measured charge has noise of its own, so the
    label of pixels near 3 standard deviations is less sure than that of an
    injected hit.

    Examples
    --------
    >>> import numpy as np
    >>> from cosmiq_astro.training import label_exposures
    >>> rng = np.random.default_rng(0)
    >>> exposures = rng.normal(100, 11, (3, 64, 64))
    >>> exposures[1, 20, 30:34] += 800
    >>> labels = label_exposures(exposures, readnoise=5)
    >>> [int(mask.sum()) for mask in labels.masks]
    [0, 4, 0]
    """
    if not significance > _LABEL:
        raise ValueError(f"significance must be above {_LABEL:g}, got {significance!r}")
    exposures = list(exposures)
    names = [str(i) for i in range(len(exposures))] if names is None else list(names)
    readnoise = to_electrons("readnoise", readnoise, gain=gain)
    satlevel = to_electrons("satlevel", satlevel, gain=gain)
    scene = read_scene(exposures, readnoise, gain, satlevel, mask)
    scene, rows = _siblings.place_exposures(scene, exposures, offsets)
    for name, row, note in zip(names, rows, _siblings.why_unlike_stars(rows), strict=True):
        row |= {"exposure": name, "note": note}
    used = np.arange(len(rows)) if keep_unlike else _alike(rows)
    found = _label_all(scene.take(used), significance)
    unlike = _siblings.why_unlike([row for _, _, row in found])
    for i, note in zip(used, unlike, strict=True):
        rows[i]["note"] = "; ".join(filter(None, (rows[i]["note"], note)))
    if any(unlike) and not keep_unlike:
        used = _alike(rows)
        found = _label_all(scene.take(used), significance)
    masks, ignore, measured = zip(*found, strict=True)
    for i, row in zip(used, measured, strict=True):
        rows[i] |= row
    for i, row in enumerate(rows):
        if row["note"]:
            what = "is unlike the others but used" if i in used else "is left out"
            _logger.warning("exposure %s %s: %s", row["exposure"], what, row["note"])
    report = Table(rows=[_COLUMNS | row for row in rows], names=list(_COLUMNS))
    images = [scene.images[i] for i in used]
    return ExposureLabels(images, list(masks), list(ignore), used, report)


_COLUMNS = {
    "exposure": "",
    "dy": np.nan,
    "dx": np.nan,
    "scale": np.nan,
    "agreement": np.nan,
    "misplaced": np.nan,
    "fwhm": np.nan,
    "elongation": np.nan,
    "mismatch": np.nan,
    "n_hits": 0,
    "n_not_hits": 0,
    "hit_fraction": np.nan,
    "labelled_fraction": 0.0,
    "note": "",
}
"""Of the report, in their order, each with what stands where nothing is known."""


def _alike(rows):
    """Return the numbers of the exposures that are like each other."""
    alike = np.array([i for i, row in enumerate(rows) if not row["note"]], dtype=int)
    if len(alike) < 2:
        reasons = "; ".join(f"{row['exposure']}: {row['note']}" for row in rows if row["note"])
        raise ValueError(
            f"no two exposures can be compared ({reasons}): are they of one field? Unless they are "
            "aligned, give offsets='measure' or 'wcs'; leave bad ones out, or give keep_unlike=True"
        )
    return alike


def _label_all(scene, significance):
    """Return mask, pixels to ignore and what was measured, of each exposure."""
    n = len(scene.images)
    hits, hidden, smoothed = zip(*(scene.first_pass(i) for i in range(n)), strict=True)
    # A defect moves with the detector, not with the sky.
    defect = np.sum(hits, axis=0) >= max(2, n / 2)
    second = [scene.second_pass(i, smoothed, hidden) for i in range(n)]
    high = [np.clip(compared.residual / compared.total, -5, 5) for compared, _, _ in second]
    found = []
    for i, (compared, covered, scale) in enumerate(second):
        mask, undecided, n_not_hits = _decide(scene, i, compared, covered, significance)
        # Too faint to be found in each: what is bright in the others, too, on the same pixel.
        unsure = defect | _is_warm([high[j] for j in range(n) if j != i])
        mask &= ~unsure & scene.usable[i]
        ignore = (undecided | unsure | ~scene.usable[i]) & ~mask
        row = {
            "scale": scale,
            "mismatch": compared.mismatch,
            "n_hits": ndimage.label(mask, TOUCHING)[1],
            "n_not_hits": n_not_hits,
            "hit_fraction": float(mask.mean()),
            "labelled_fraction": float(1 - ignore.mean()),
        }
        found.append((mask, ignore, row))
    return found


def _is_warm(others):
    """Tell which pixels are bright in the other exposures together, the brightest not counted."""
    if len(others) < 2:
        return np.zeros(others[0].shape, dtype=bool)
    # One of them may be hit there.
    rest = np.sum(others, axis=0) - np.max(others, axis=0)
    return rest > _WARM * np.sqrt(len(others) - 1)


def _decide(scene, i, compared, covered, significance):
    """Return hits, undecided pixels, and the number of things that are no hits."""
    stands_out = covered & (compared.residual > _LABEL * compared.total)
    groups, n = ndimage.label(stands_out, TOUCHING)
    is_hit = np.zeros(n + 1, dtype=bool)
    is_hit[groups[stands_out & (compared.residual > significance * compared.total)]] = True
    light = compared.expected - scene.statistics[i].sky
    bright = scene.full[i] | (light > _BLEEDING * max(light.max(), 1.0))
    trails, bleeds = _siblings.find_trails(stands_out), _siblings.find_bleeds(stands_out, bright)
    not_hits, numbers = zip(trails, bleeds, _siblings.find_large(groups, is_hit), strict=True)
    spoilt = np.logical_or.reduce(not_hits)
    # What only begins in a trail is the trail's.
    is_hit[groups[spoilt & stands_out]] = False
    is_hit[0] = False
    mask = is_hit[groups] & scene.inside & ~spoilt
    undecided = ~covered | ndimage.binary_dilation(mask, TOUCHING) | spoilt
    undecided |= compared.residual > _LABEL * compared.noise
    undecided |= compared.residual < -_SUNK * compared.total
    return mask, undecided, sum(numbers)


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
    no_ticks = {"xticks": (), "yticks": ()}
    axes = figure.subplots(len(names), _N_STAMPS, squeeze=False, subplot_kw=no_ticks)
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
