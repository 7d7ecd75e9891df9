"""The review page: one HTML file that shows a detection and lets a person correct it."""

import base64
import html
import json
import math
import re
import zlib
from dataclasses import dataclass, field
from importlib.resources import files

import numpy as np
from astropy import units as u

from cosmiq_astro._io import atomic_write
from cosmiq_astro.preprocess import estimate_statistics
from cosmiq_astro.protect import read_protection
from cosmiq_astro.review._facts import candidates, describe, list_hits, read_curve
from cosmiq_astro.review._planes import (
    TILE,
    encode_tiles,
    probability_levels,
    quantise_image,
    quantise_levels,
    quantise_root,
)
from cosmiq_astro.units import electrons_per_unit

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

    def write(self, path, *, overwrite=False):
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


def make_page(out, *, name="exposure", extver=1, model=None, protect=None):
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
    image = np.asarray(out.data)
    protection = read_protection(protect)
    protected = None if protection is None else protection.on(image.shape, out.wcs)
    bad = ~np.isfinite(image) | ~np.isfinite(out.cr_probability)
    if out.mask is not None:
        bad |= out.mask & ~out.cr_mask
    statistics = estimate_statistics(image, ~bad)
    stored, curvature = quantise_image(
        image, statistics.sky, statistics.noise, electrons_per_unit=_electrons(out)
    )
    model = out.meta.get("CRVIMODL", "") if model is None else model
    facts = describe(
        out,
        bad,
        name=name,
        extver=extver,
        statistics=statistics,
        curvature=curvature,
        curve=read_curve(model) if model else None,
    )
    edges = probability_levels(facts["threshold"])
    levels = quantise_levels(out.cr_probability, edges)
    pixels, facts["floor"] = candidates(levels, edges, out.cr_mask, ~bad)
    optional = {"std": (out.cr_uncertainty, 0.5), "mi": (out.cr_mutual_information, math.log(2))}
    kept = {key: pair for key, pair in optional.items() if pair[0] is not None and pair[0].any()}
    facts["largest"] = {key: largest for key, (_, largest) in kept.items()}
    state = bad.astype(np.uint8) + 2 * out.cr_mask.astype(np.uint8)
    if protected is not None:
        state += 4 * protected.astype(np.uint8)
    planes = [stored, levels, state]
    planes += [quantise_root(*pair) for pair in kept.values()]
    facts["hits"] = list_hits(out, pixels, bad)
    facts["tile"] = TILE
    return ReviewPage(_assemble(facts, encode_tiles(planes)))


def _electrons(out):
    """Electrons per unit of the image; 1 where the gain or the time is not known."""
    if out.unit == u.electron:
        return 1.0
    try:
        return electrons_per_unit(out.unit, header=out.meta)
    except ValueError:
        return 1.0


def _assemble(facts, tiles):
    parts = files("cosmiq_astro.review") / "static"

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
