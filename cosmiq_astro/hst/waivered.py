"""WFPC2's older files, one cube for all chips, brought into the layout of the newer ones."""

import contextlib
import re
from pathlib import Path

from astropy.io import fits

from cosmiq_astro._io import readable, temporary_folder

__all__ = ["as_extensions"]

_GROUP_CARDS = re.compile("OPSIZE|ODATTYPE|SDASMGNU|ALLG-M(AX|IN)|BUNIT")


def _is_waivered(hdus):
    """
    Tell whether a file is "waivered" FITS: a cube, and a table with a row per plane.

    Such are the ``_c0f``, ``_c1f``, ``_d0f`` and ``_q0f`` files of WFPC2 (WFPC2 Data Handbook,
    section 2.1).
    """
    if len(hdus) < 2 or not str(hdus[0].header.get("INSTRUME", "")).startswith("WFPC2"):
        return False
    shape, table = hdus[0].shape, hdus[1]
    n_planes = {2: 1, 3: shape[0] if shape else 0}.get(len(shape))
    is_table = isinstance(table, (fits.TableHDU, fits.BinTableHDU))
    return is_table and len(table.data) == n_planes


@contextlib.contextmanager
def as_extensions(path):
    """
    Give a file in which every chip is an extension ``SCI``.

    Parameters
    ----------
    path : path-like
        Any file. A waivered ``_c0f`` is written as ``_c0m`` to a temporary
        directory, with its ``_c1f``, if that lies beside it, as ``_c1m``.

    Yields
    ------
    path : `~pathlib.Path`
        The file itself, or what it was turned into.
    """
    path = Path(path)
    with readable(path), fits.open(path) as hdus:
        waivered = _is_waivered(hdus)
    if not waivered:
        yield path
        return
    with temporary_folder() as folder:
        for kind in ("_c1", "_c0"):
            file = path.with_name(path.name.replace("_c0f", f"{kind}f"))
            near = folder / file.name.replace(f"{kind}f", f"{kind}m").removesuffix(".gz")
            if file.is_file():
                with readable(file), fits.open(file) as hdus:
                    _unpack(hdus).writeto(near, output_verify="silentfix+ignore", overwrite=True)
        yield near


def _unpack(hdus):
    """Return the planes as extensions, each with the cards that the table has for it."""
    primary = fits.PrimaryHDU(header=hdus[0].header.copy())
    for keyword in [keyword for keyword in primary.header if _GROUP_CARDS.fullmatch(keyword)]:
        primary.header.remove(keyword)
    out = fits.HDUList([primary])
    cube = hdus[0].data if hdus[0].data.ndim == 3 else hdus[0].data[None]
    for number, (plane, row) in enumerate(zip(cube, hdus[1].data, strict=True), start=1):
        hdu = fits.ImageHDU(plane, name="SCI", ver=number)
        for name in hdus[1].columns.names:
            value = row[name]
            if hasattr(value, "item"):
                value = value.item()
            if isinstance(value, str):
                value = {"T": True, "F": False}.get(value.strip(), value.strip())
            hdu.header[name[:8]] = value
        hdu.header["BUNIT"] = hdus[0].header.get("BUNIT", "COUNTS")
        out.append(hdu)
    return out
