"""Corrections of a review as labels to train on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from astropy.nddata import CCDData

from cosmiq_astro.hst import read_chip
from cosmiq_astro.page.binding import bad_pixels
from cosmiq_astro.review.edits import edited_mask, read_edits

if TYPE_CHECKING:
    from cosmiq_astro.nddata import CosmicRayCCDData
    from cosmiq_astro.review.edits import Edits

__all__ = ["read_corrected", "training_frame"]

# Where nobody has looked, pixels of these probabilities have no label.
_AMBIGUOUS = (0.05, 0.95)
# Cards of a detection whose mask is not what a model is to learn.
_NO_LABELS = {
    "CRVIGROW": "its mask was grown",
    "CRVICLN": "its flagged pixels were replaced",
    "CRVINNEG": "it has negative hits",
}
_SUFFIXES = (".fits", ".fits.gz", ".fits.fz", ".fit", ".fts")


def read_corrected(path):
    """
    Read an edits file and the exposure beside it.

    Parameters
    ----------
    path : path-like
        The edits file; the file that was reviewed lies in the same directory.

    Returns
    -------
    image : `~astropy.nddata.CCDData`
        Pixel values.
    mask, ignore : ndarray of bool
        From `training_frame`.
    file : `~pathlib.Path`
        The file that was reviewed.

    Raises
    ------
    ValueError
        If there is no such file, or `training_frame` refuses it.
    """
    path, edits = Path(path), read_edits(path)
    names = edits.name, edits.name.removesuffix(f"_{edits.extver}")
    beside = [path.with_name(f"{name}{suffix}") for name in names for suffix in _SUFFIXES]
    file = next((file for file in beside if file.is_file()), None)
    if file is None:
        raise ValueError(
            f"{path} corrects {edits.name}, which is not beside it: put the edits where the file "
            "is that was reviewed"
        )
    ccd = read_chip(file, edits.extver)
    if getattr(ccd, "cr_mask", None) is None:
        raise ValueError(f"{file} holds no detection, which the edits of {path} are of")
    image, mask, ignore = training_frame(edits, ccd, name=str(file))
    return CCDData(image, unit=ccd.unit, meta=ccd.meta), mask, ignore, file


def training_frame(
    edits: Edits, ccd: CosmicRayCCDData, *, name: str = "the exposure"
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """
    Turn corrections into labels.

    Parameters
    ----------
    edits : `Edits`
        From `read_edits`.
    ccd : `~cosmiq_astro.CosmicRayCCDData`
        The detection that was reviewed, as `~cosmiq_astro.hst.read_chip` reads
        it from the file of the review.
    name : str, optional
        Of the exposure, for messages.

    Returns
    -------
    image : ndarray
        Pixel values, in the unit of ``ccd``.
    mask : ndarray of bool
        True for cosmic rays: the mask with the edits made.
    ignore : ndarray of bool
        True where there is no label: bad pixels; what the reviewer was unsure
        of; what was protected; and, unless the review is complete, pixels with
        a probability between 0.05 and 0.95 that were neither changed nor
        confirmed. Together what `~cosmiq_astro.training.PairedDataset` takes.

    Raises
    ------
    ValueError
        If the edits belong to another exposure or another mask, or the mask is
        no label: it was grown, its pixels were replaced, or some of its hits
        are negative.
    """
    image = np.asarray(ccd.data)
    mask = edited_mask(edits, image, ccd.cr_mask, name=name)
    for card, why in _NO_LABELS.items():
        if ccd.meta.get(card):
            raise ValueError(f"{name} cannot be trained on: {why} ({card}); detect without that")
    changed = edits.added | edits.removed
    ignore = bad_pixels(ccd) | edits.unsure
    # Above the threshold and yet not flagged: it was protected.
    ignore |= (ccd.cr_probability >= ccd.meta.get("CRVITHR", 1)) & ~ccd.cr_mask & ~changed
    if not edits.complete:
        low, high = _AMBIGUOUS
        ambiguous = (ccd.cr_probability > low) & (ccd.cr_probability < high)
        ignore |= ambiguous & ~(changed | edits.confirmed)
    return image, mask & ~ignore, ignore
