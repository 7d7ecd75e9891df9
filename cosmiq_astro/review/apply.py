"""Edits written into the file that they were made for."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from os import PathLike
from pathlib import Path

from astropy.io import fits
from scipy import ndimage

from cosmiq_astro._io import check_run, readable
from cosmiq_astro._windows import TOUCHING
from cosmiq_astro.hst import find_chips, read_chip
from cosmiq_astro.hst.names import file_names, stem_of
from cosmiq_astro.hst.output import ChipOutput, write_detections
from cosmiq_astro.nddata import PLANES
from cosmiq_astro.page.binding import bad_pixels
from cosmiq_astro.review.edits import edited_mask, read_edits

__all__ = ["apply_edits"]

# Cards whose sum over the chips is returned, by name.
_COUNTS = {
    "n_added": "CRVIEADD",
    "n_removed": "CRVIEREM",
    "n_pixels_flagged": "CRVINPIX",
    "n_hits": "CRVINHIT",
}


def apply_edits(
    edits_files: str | PathLike | Sequence[str | PathLike],
    file_in: str | PathLike,
    file_out: str | PathLike | None = None,
    *,
    in_place: bool = False,
    overwrite: bool = False,
) -> dict:
    """
    Write the edits of a review into a copy of the file that was reviewed.

    ``CRVIMASK`` and the bit of DQ (of a simple image: ``MASK``) become those of
    the edited mask. The image's header tells of it: ``CRVIEDIT`` (first digits
    of the edits file's SHA-256), ``CRVIEADD`` and ``CRVIEREM`` (pixels added and
    removed) and ``CRVIEDAT`` (when), beside the new counts; so does a HISTORY
    card.

    Parameters
    ----------
    edits_files : path-like or sequence of path-like
        What the review page saved; one per chip.
    file_in : path-like
        The file that the page was made of.
    file_out : path-like, optional
        The copy; with ``_edited`` in its name, beside the input, if None.
    in_place : bool, optional
        Whether to replace the input by the copy instead.
    overwrite : bool, optional
        Whether an output that exists may be replaced.

    Returns
    -------
    counts : dict
        ``n_added``, ``n_removed``, ``n_pixels_flagged`` and ``n_hits`` of the
        chips that were edited, and ``file_out``.

    Raises
    ------
    FileExistsError
        If the output exists and ``overwrite`` is False.
    ValueError
        If there is no edits file, or one cannot be read, or belongs to another exposure, chip
        or mask, or an output would replace an input; nothing is written then.
    """
    file_in = Path(file_in)
    if in_place and file_out is not None:
        raise ValueError(f"set in_place or give file_out={str(file_out)!r}, not both")
    if file_out is None:
        file_out = file_in if in_place else file_in.with_name(f"{stem_of(file_in)}_edited.fits")
    if isinstance(edits_files, (str, PathLike)):
        edits_files = [edits_files]
    if not edits_files:
        raise ValueError("edits_files is empty: give what the review page saved")
    inputs, outputs = file_names(file_in, Path(file_out))
    check_run([(inputs, outputs), (edits_files, [])], in_place=in_place)
    edits = [read_edits(path) for path in edits_files]
    extvers = [one.extver for one in edits]
    if len(set(extvers)) < len(extvers):
        raise ValueError(f"two edits files are of one chip (extver {sorted(extvers)}): give one")
    with readable(file_in), fits.open(file_in) as hdus:
        chips = {chip.extver: chip for chip in find_chips(file_in, hdus)}
    edited = []
    for one in edits:
        if one.extver not in chips:
            raise ValueError(f"{file_in} has no chip {one.extver}, which the edits are of")
        edited.append(_edited(one, file_in, chips[one.extver]))
    has_dq_out = edited[0].chip.dq_file is not None and any(chip.dq_bit for chip in edited)
    dq_out, overwrite = outputs[1] if has_dq_out else None, overwrite or in_place
    write_detections(file_in, outputs[0], edited, dq_out=dq_out, overwrite=overwrite)
    counts = {name: sum(chip.cards[card][0] for chip in edited) for name, card in _COUNTS.items()}
    return counts | {"file_out": outputs[0]}


def _edited(edits, file, chip):
    """Return what is to be written of one chip."""
    ccd = read_chip(file, chip.extver)
    where = f"{file}, chip {chip.extver}"
    if getattr(ccd, "cr_mask", None) is None:
        raise ValueError(
            f"{where} holds no detection (CRVIMASK): give the file that the review page was made of"
        )
    if "CRVICLN" in ccd.meta:
        raise ValueError(
            f"{where} had its flagged pixels replaced (CRVICLN), which edits cannot undo: detect "
            "without clean, review and apply, and clean after that"
        )
    # An edits file written by hand could ask for pixels that never can be flagged.
    mask = edited_mask(edits, ccd.data, ccd.cr_mask, name=where) & ~bad_pixels(ccd)
    n_added, n_removed = int((mask & ~ccd.cr_mask).sum()), int((ccd.cr_mask & ~mask).sum())
    n_hits = int(ndimage.label(mask, TOUCHING)[1])
    own = [card for card in ccd.meta.cards if card.keyword.startswith("CRVI")]
    cards = {card.keyword: (card.value, card.comment) for card in own}
    n_before = cards.get("CRVINHIT", (0, ""))[0]
    if "CRVIRATE" in cards and n_hits != n_before:
        rate, comment = cards.pop("CRVIRATE")
        # Area and time stay; of no hits the rate, 0, does not tell them.
        if n_before:
            cards["CRVIRATE"] = (float(f"{rate * n_hits / n_before:.10g}"), comment)
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S")
    cards["CRVINPIX"] = (int(mask.sum()), "pixels flagged")
    cards["CRVINHIT"] = (n_hits, "connected groups flagged")
    cards["CRVIEDIT"] = (edits.sha256[:16], "SHA-256 of the edits applied (first 16)")
    cards["CRVIEADD"] = (n_added, "pixels added by hand")
    cards["CRVIEREM"] = (n_removed, "pixels removed by hand")
    cards["CRVIEDAT"] = (now, "when the edits were applied (UTC)")
    planes = {PLANES[name]: getattr(ccd, name) for name in PLANES if getattr(ccd, name) is not None}
    return ChipOutput(
        chip=chip,
        planes=planes | {"CRVIMASK": mask},
        cards=cards,
        history=f"cosmic rays edited by hand {now}: {n_added} pixels added, {n_removed} removed",
        dq_bit=ccd.meta.get("CRVIDQ") or None,
    )
