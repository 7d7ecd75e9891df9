"""Stamps of what a model missed and of what it took for hits, for the report of ``evaluate``."""

from dataclasses import dataclass, field

import numpy as np

from cosmiq_astro._picture import stretch
from cosmiq_astro.calibration import match_hits

__all__ = ["CAPTION", "Mistakes", "draw_mistakes"]

CAPTION = (
    "The largest hits that were missed, and the largest that are none: image above, probability "
    "below. Red: labelled as a cosmic ray; blue: flagged; gray: pixels that do not count."
)
_N_STAMPS, _SIZE, _FINE = 4, 32, 8


@dataclass
class Mistakes:
    """
    The largest hits that a model missed, and the largest that it made up.

    Attributes
    ----------
    threshold : float
        Pixels with p at or above it are flagged.
    n_hits, n_missed, n_detections, n_false : int
        What was seen so far.
    missed, false : list of dict
        A few stamps, the largest first: ``title``, ``image``, ``label``, ``probability``.
    """

    threshold: float
    n_hits: int = 0
    n_missed: int = 0
    n_detections: int = 0
    n_false: int = 0
    missed: list = field(default_factory=list)
    false: list = field(default_factory=list)

    def add(self, name, image, probability, label):
        """
        Look at one more image.

        Parameters
        ----------
        name : str
            Of it, for the titles.
        image, probability, label : ndarray
            Shape ``(ny, nx)``; the label is NaN where it is unknown.
        """
        match = match_hits(
            probability, label == 1, threshold=self.threshold, ignore=~np.isfinite(label)
        )
        # What reaches beyond a hot pixel or the rim of a hit is neither true nor false.
        found = match.detections["label"]
        decided = match.detections[found | (match.detections["n_ignored"] == 0)]
        missed = match.hits[~match.hits["found"]]
        false = decided[~decided["label"]]
        self.n_hits, self.n_missed = self.n_hits + len(match.hits), self.n_missed + len(missed)
        self.n_detections += len(decided)
        self.n_false += len(false)
        for kept, rows in ((self.missed, missed), (self.false, false)):
            for row in sorted(rows, key=lambda row: -row["n_pixels"])[:_N_STAMPS]:
                x, y = (round(float(row[axis].value)) for axis in "xy")
                box = tuple(_range(*pair) for pair in zip((y, x), image.shape, strict=True))
                planes = {"image": image, "label": label, "probability": probability}
                stamp = {key: np.array(plane[box]) for key, plane in planes.items()}
                kept.append(stamp | {"n_pixels": row["n_pixels"], "title": f"{name}\n({x}, {y})"})
            # Of equal ones the first: the same files give the same stamps.
            kept.sort(key=lambda stamp: -stamp["n_pixels"])
            del kept[_N_STAMPS:]


def _range(middle, n):
    start = min(max(middle - _SIZE // 2, 0), max(n - _SIZE, 0))
    return slice(start, start + _SIZE)


def draw_mistakes(mistakes):
    """
    Draw the stamps of each model.

    Parameters
    ----------
    mistakes : dict of `Mistakes`
        By name of the model.

    Returns
    -------
    figure : `~matplotlib.figure.Figure`
        A row of stamps for each model: missed hits to the left, false ones to the right.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.35 * len(mistakes)), layout="constrained")
    parts = figure.subfigures(len(mistakes), 2, squeeze=False, wspace=0.03)
    for row, (name, seen) in zip(parts, mistakes.items(), strict=True):
        titles = (
            f"{name}: {seen.n_missed:,} of {seen.n_hits:,} hits missed",
            f"{seen.n_false:,} of {seen.n_detections:,} detections false",
        )
        for part, title, stamps in zip(row, titles, (seen.missed, seen.false), strict=True):
            part.suptitle(title, fontsize=10)
            axes = part.subplots(2, _N_STAMPS, subplot_kw={"xticks": (), "yticks": ()})
            for column in axes.T[len(stamps) :].flat:
                column.set_axis_off()
            for column, stamp in zip(axes.T, stamps, strict=False):
                _draw(column, stamp, seen.threshold)
    return figure


def _draw(axes, stamp, threshold):
    """Draw the image of a stamp, and below it the probability."""
    stretched, low, high = stretch(stamp["image"].astype(float))
    axes[0].imshow(stretched, cmap="gray_r", vmin=low, vmax=high, origin="lower")
    known = np.where(np.isfinite(stamp["label"]), stamp["probability"], np.nan)
    axes[1].imshow(known, cmap="magma", vmin=0, vmax=1, origin="lower")
    axes[1].set_facecolor("dimgray")
    axes[0].set_title(stamp["title"], fontsize=7)
    ny, nx = known.shape
    for plane, colour in ((known >= threshold, "tab:blue"), (stamp["label"] == 1, "tab:red")):
        if plane.any() and not plane.all():
            fine = np.kron(plane, np.ones((_FINE, _FINE)))  # the outline follows the pixels
            for ax in axes:
                extent = (-0.5, nx - 0.5, -0.5, ny - 0.5)
                ax.contour(fine, [0.5], colors=colour, linewidths=0.9, extent=extent)
