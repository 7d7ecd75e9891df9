"""Hits for other programs: regions for DS9, a VOTable for TOPCAT and Aladin."""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING

from astropy import units as u
from astropy.table import Table

from cosmiq_astro._io import atomic_write

if TYPE_CHECKING:
    from astropy.table import QTable

__all__ = ["write_regions", "write_votable"]


def write_regions(catalog: QTable, path: str | PathLike, *, overwrite: bool = False) -> None:
    """
    Write the hits of a catalogue as regions for DS9.

    Parameters
    ----------
    catalog : `~astropy.table.QTable`
        From `~cosmiq_astro.catalog.cosmicray_catalog`.
    path : path-like
        Where to, as in ``hits.reg``.
    overwrite : bool, optional
        Whether a file already there may be replaced.

    Raises
    ------
    FileExistsError
        If there is one, and ``overwrite`` is False.

    Notes
    -----
    One ellipse per hit along its track, in image coordinates, which DS9 counts
    from 1; its text holds the hit's number and mean probability.
    """
    lines = ["# Region file format: DS9 version 4.1", "image"]
    for row in catalog:
        length = float(row["length"].value)
        width = float(row["area"].value) / max(length, 1.0)
        text = f"{row['id']} p={row['mean_probability']:.2f}"
        lines.append(
            f"ellipse({row['x'] + 1:.2f},{row['y'] + 1:.2f},{length / 2 + 1.5:.2f},"
            f"{width / 2 + 1.5:.2f},{row['angle'].value:.1f}) # text={{{text}}}"
        )
    with atomic_write(path, overwrite=overwrite) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_votable(catalog: QTable, path: str | PathLike, *, overwrite: bool = False) -> None:
    """
    Write a catalogue of hits as a VOTable, as TOPCAT and Aladin read it.

    Parameters
    ----------
    catalog : `~astropy.table.QTable`
        From `~cosmiq_astro.catalog.cosmicray_catalog`; a sky position becomes
        the columns ``ra`` and ``dec``, degrees, ICRS.
    path : path-like
        Where to, as in ``hits.vot``.
    overwrite : bool, optional
        Whether a file already there may be replaced.

    Raises
    ------
    FileExistsError
        If there is one, and ``overwrite`` is False.
    """
    table = Table(catalog, copy=True)
    table.meta.clear()
    if "sky" in table.colnames:
        sky = catalog["sky"].icrs
        at = table.colnames.index("sky")
        table.remove_column("sky")
        table.add_column(sky.ra.deg, name="ra", index=at)
        table.add_column(sky.dec.deg, name="dec", index=at + 1)
        for name, ucd in (("ra", "pos.eq.ra;meta.main"), ("dec", "pos.eq.dec;meta.main")):
            table[name].unit = "deg"
            table[name].info.meta = {"ucd": ucd}
    for name in table.colnames:
        column = table[name]
        if column.unit == u.electron:
            # No unit of VOTable's older versions, which astropy holds all to.
            column.unit = None
            column.description = f"{column.description}, electron"
    with atomic_write(path, overwrite=overwrite) as temporary:
        table.write(temporary, format="votable")
