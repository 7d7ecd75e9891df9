"""The review page: one HTML file that shows a detection and lets a person correct it."""

from __future__ import annotations

import base64
import html
import json
import re
import zlib
from dataclasses import dataclass, field
from importlib.resources import files
from os import PathLike
from typing import TYPE_CHECKING

import numpy as np

from cosmiq_astro._io import atomic_write
from cosmiq_astro.page._facts import describe, list_hits
from cosmiq_astro.page._planes import (
    TILE,
    encode_tiles,
    probability_levels,
    quantise_image,
    quantise_levels,
    quantise_root,
)
from cosmiq_astro.page.binding import bad_pixels
from cosmiq_astro.protect import read_protection

if TYPE_CHECKING:
    from astropy.nddata import CCDData
    from numpy.typing import ArrayLike

__all__ = ["ReviewPage", "make_page"]

_SCRIPTS = ("codec.js", "mask.js", "view.js", "export.js", "main.js")


@dataclass(frozen=True)
class ReviewPage:
    """
    A review page; a notebook shows it.

    Attributes
    ----------
    html : str
        The page, which needs no other file and no network.
    """

    html: str = field(repr=False)

    def write(self, path: str | PathLike, *, overwrite: bool = False) -> None:
        """
        Write the page.

        Parameters
        ----------
        path : path-like
            Where to.
        overwrite : bool, optional
            Whether a file already there may be replaced.

        Raises
        ------
        FileExistsError
            If there is one, and ``overwrite`` is False.
        """
        with atomic_write(path, overwrite=overwrite) as temporary:
            temporary.write_text(self.html, encoding="utf-8")

    def _repr_html_(self):
        # A frame of its own: the page's styles and keys stay out of the notebook's.
        return (
            f'<iframe srcdoc="{html.escape(self.html)}" title="review of cosmic rays" '
            'style="width:100%;height:720px;border:0"></iframe>'
        )


def make_page(
    out: CCDData,
    *,
    name: str = "exposure",
    extver: int = 1,
    model: object = None,
    protect: ArrayLike | str | PathLike | None = None,
) -> ReviewPage:
    """
    Make the page on which a person reviews a detection.

    It shows the image with the mask, the probability or its uncertainty over
    it, lists the hits by entropy times charge, and has a slider for the
    threshold and a brush. What is changed there is saved as an edits file,
    which ``cosmiq-astro apply`` or `~cosmiq_astro.review.apply_edits` writes
    into the exposure's mask.

    Pixel values are shown to a quarter of their noise, probabilities to a
    fortieth of their log-odds; the mask is exact, at every position of the
    slider.

    Parameters
    ----------
    out : `~cosmiq_astro.CosmicRayCCDData`
        What `~cosmiq_astro.cosmicray_vi` or `~cosmiq_astro.cosmicray_unet`
        returned, or `~cosmiq_astro.hst.read_chip` read.
    name : str, optional
        Of the exposure, for its title and for the names of what it saves.
    extver : int, optional
        Number of the chip, for the edits file.
    model : str, path-like or `~cosmiq_astro.models.model.Model`, optional
        Where to find the curve of expected precision and recall, if the name
        in the header (``CRVIMODL``) does not tell.
    protect : array-like, path-like or None, optional
        Pixels that cannot be flagged on the page either, as for
        `~cosmiq_astro.cosmicray_vi`.

    Returns
    -------
    page : `ReviewPage`
        The page.

    Raises
    ------
    ValueError
        If ``out`` lacks the mask or the probability, or ``protect`` cannot be
        used.

    Examples
    --------
    >>> import cosmiq_astro as ca
    >>> from cosmiq_astro.review import make_page
    >>> page = make_page(ca.cosmicray_unet(ca.load_sample()))
    >>> page.html.startswith("<!doctype html>")
    True
    """
    for plane in ("cr_mask", "cr_probability"):
        if getattr(out, plane, None) is None:
            raise ValueError(
                f"out has no {plane}: give the result of cosmicray_vi or cosmicray_unet"
            )
    protection = read_protection(protect)
    protected = False if protection is None else protection.on(out.shape, out.wcs)
    bad = bad_pixels(out) | ~np.isfinite(out.cr_probability)
    facts = {"name": name, "extver": extver, "tile": TILE} | describe(out, bad, model)
    levels = quantise_levels(out.cr_probability, probability_levels(facts["threshold"]))
    # Hits that were flagged, or nearly so.
    listed = (levels >= facts["floor"]) & ~bad | out.cr_mask
    facts["hits"] = list_hits(out, listed, bad)
    stored = quantise_image(out.data, facts["sky"], facts["noise"], facts["curvature"])
    state = bad + np.uint8(2) * out.cr_mask + np.uint8(4) * protected
    planes, facts["largest"] = [stored, levels, state], {}
    for key, plane in (("std", out.cr_uncertainty), ("mi", out.cr_mutual_information)):
        # Where draws hardly differ, a fixed scale would show nothing.
        if plane is not None and (largest := float(np.nanmax(plane, initial=0))) > 0:
            facts["largest"][key] = largest
            planes.append(quantise_root(plane, largest))
    return ReviewPage(_assemble(facts, encode_tiles(planes)))


def _assemble(facts, tiles):
    parts = files("cosmiq_astro.page") / "static"

    def read(file):
        return (parts / file).read_text(encoding="utf-8")

    content = {
        "TITLE": html.escape(f"{facts['name']}: review of cosmic rays"),
        "STYLE": read("page.css"),
        "FACTS": base64.b64encode(zlib.compress(json.dumps(facts).encode(), 9)).decode(),
        "TILES": "\n".join(tiles),
        "SCRIPT": "\n".join(read(file) for file in _SCRIPTS),
    }
    return re.sub(r"%([A-Z]+)%", lambda match: content[match[1]], read("page.html"))
