"""What a reviewer changed: the edits file, bound to its exposure, and what becomes of the mask."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path

import numpy as np

from cosmiq_astro.page.binding import FORMAT, exposure_digest

__all__ = ["Edits", "edited_mask", "read_edits"]

_RUNS = ("added", "removed", "confirmed", "unsure")


@dataclass(frozen=True)
class Edits:
    """
    The changes to one mask.

    Attributes
    ----------
    digest : str
        Of the exposure (`~cosmiq_astro.review.exposure_digest`).
    mask_digest : str
        Of the mask that was changed.
    shape : tuple of int
        ``(ny, nx)``.
    extver : int
        Number of the chip.
    added, removed : ndarray of bool
        Pixels flagged that were not, and the other way round.
    confirmed, unsure : ndarray of bool
        Hits that the reviewer called right as they are, and those that are to
        be neither.
    complete : bool
        Whether the reviewer has looked at the whole image.
    threshold : float
        Probability that the page's slider was at.
    sha256 : str
        Of the file; empty if there is none.
    name : str
        Of the exposure, as the page knows it.
    """

    digest: str
    mask_digest: str
    shape: tuple[int, int]
    extver: int
    added: np.ndarray = field(repr=False)
    removed: np.ndarray = field(repr=False)
    confirmed: np.ndarray = field(repr=False)
    unsure: np.ndarray = field(repr=False)
    complete: bool = False
    threshold: float = float("nan")
    sha256: str = ""
    name: str = ""


def read_edits(path: str | PathLike) -> Edits:
    """
    Read an edits file that the review page saved.

    Parameters
    ----------
    path : path-like
        The file (JSON).

    Returns
    -------
    edits : `Edits`
        What it says.

    Raises
    ------
    ValueError
        If it is no edits file, or pixels lie outside the image.
    """
    content = Path(path).read_bytes()
    try:
        facts = json.loads(content)
        kind = facts["format"]
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        raise ValueError(
            f"{path} is not an edits file: save one from the page that 'cosmiq-astro review' makes"
        ) from error
    if kind != FORMAT:
        raise ValueError(f"{path} is of the format {kind!r}; it must be {FORMAT!r}")
    try:
        ny, nx = (int(n) for n in facts["shape"])
        if not 0 < ny * nx < 2**31 or ny < 0:
            raise ValueError(f"shape {facts['shape']}")
        planes = {name: _plane(name, facts[name], (ny, nx)) for name in _RUNS}
        return Edits(
            digest=str(facts["exposure"]),
            mask_digest=str(facts["mask"]),
            shape=(ny, nx),
            extver=int(facts["extver"]),
            **planes,
            complete=facts["complete"] is True,
            threshold=float(facts["threshold"]),
            sha256=hashlib.sha256(content).hexdigest(),
            name=str(facts.get("name", "")),
        )
    except (ValueError, TypeError, LookupError, OverflowError) as error:
        raise ValueError(f"{path} is a damaged edits file: {error}") from error


def _plane(name, runs, shape):
    """Return the pixels of runs, each ``[y, x, n]``: ``n`` pixels from (x, y) to the right."""
    plane = np.zeros(shape, dtype=bool)
    if not runs:
        return plane
    table = np.asarray(runs)
    if table.dtype.kind not in "iu" or table.ndim != 2 or table.shape[1] != 3:
        raise ValueError(f"{name} must hold [y, x, n], whole numbers")
    y, x, n = table.T
    if (table < 0).any() or (y >= shape[0]).any() or (x + n > shape[1]).any():
        raise ValueError(
            f"{name} has pixels outside the image, {shape[1]} wide and {shape[0]} high"
        )
    # A difference array: no loop over the runs.
    steps = np.zeros((shape[0], shape[1] + 1), dtype=np.int32)
    np.add.at(steps, (y, x), 1)
    np.add.at(steps, (y, x + n), -1)
    return np.cumsum(steps, axis=1)[:, :-1] > 0


def edited_mask(
    edits: Edits, image: np.ndarray, cr_mask: np.ndarray, *, name: str = "the exposure"
) -> np.ndarray:
    """
    Return the mask with the edits made.

    Parameters
    ----------
    edits : `Edits`
        What to change.
    image : ndarray
        The exposure's pixel values.
    cr_mask : ndarray of bool
        The mask that the page was made of.
    name : str, optional
        Of the exposure, for messages.

    Returns
    -------
    mask : ndarray of bool
        A new array.

    Raises
    ------
    ValueError
        If the edits belong to another exposure or another mask.
    """
    if image.shape != edits.shape:
        raise ValueError(
            f"the edits are of an image of shape {edits.shape}, but {name} has {image.shape}: "
            "give the exposure that was reviewed"
        )
    digest = exposure_digest(image)
    if digest != edits.digest:
        raise ValueError(
            f"the edits belong to another exposure than {name} (its pixels have the digest "
            f"{digest}, the edits {edits.digest}): give the one that was reviewed"
        )
    if exposure_digest(cr_mask) != edits.mask_digest:
        raise ValueError(
            f"the mask of {name} is not the one that was edited: give the file that the review "
            "page was made of, or make the page anew"
        )
    return (cr_mask | edits.added) & ~edits.removed
