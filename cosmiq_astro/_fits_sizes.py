"""Sizes that a FITS header declares, looked at before astropy, which some keep busy for ever."""

import functools
import gzip
import math
import re
import zlib
from pathlib import Path

__all__ = ["check_sizes"]

_BLOCK = 2880
_CARD = 80
_SIZE = re.compile(rb"(BITPIX|Z?NAXIS\d{0,3}|PCOUNT|GCOUNT|TFIELDS) *= *([-+]?\d+) *(?:/.*)?")
# The FITS standard (4.0, sections 4.4.1.1 and 7.2.1) allows no more axes and columns.
_MOST = {b"NAXIS": 999, b"ZNAXIS": 999, b"TFIELDS": 999}


def check_sizes(path):
    """
    Refuse a file whose headers declare more axes or columns than FITS has, or less than nothing.

    astropy would loop over thousands of millions of axes, and go back to
    where it was after a part of negative size.

    Parameters
    ----------
    path : path-like
        A file, gzipped or not. Of one that is none, or is compressed in
        another way, nothing is said.

    Raises
    ------
    ValueError
        If there is such a header.
    """
    path = Path(path)
    if path.is_file():
        state = path.stat()
        _check(path, state.st_size, state.st_mtime_ns)


@functools.lru_cache(maxsize=64)
def _check(path, size, changed):
    """Look through all headers: once, since a gzipped file is unpacked for it."""
    with path.open("rb") as file:
        is_gzipped = file.read(2) == b"\x1f\x8b"
    try:
        with (gzip.open if is_gzipped else open)(path, "rb") as file:
            while (found := _read_header(file)) is not None:
                for name, value in found.items():
                    most = _MOST.get(name, math.inf)
                    if not 0 <= value <= most and name != b"BITPIX":
                        limit = "not negative" if most == math.inf else f"0 to {most}"
                        raise ValueError(
                            f"{path} is damaged, or breaks the rules of FITS "
                            f"({name.decode()} = {value}; it must be {limit})"
                        )
                # More than any file has is for whoever reads the pixels to complain of.
                file.seek(min(_data_size(found), 2**60), 1)
    except (OSError, EOFError, zlib.error):
        return  # a damaged gzip file, which is for them too


def _read_header(file):
    """Return the sizes in the header that begins here; None at the end of the file, or of sense."""
    found = {}
    while len(block := file.read(_BLOCK)) == _BLOCK:
        cards = [block[at : at + _CARD] for at in range(0, _BLOCK, _CARD)]
        for card in cards:
            if match := _SIZE.fullmatch(card.rstrip()):
                found.setdefault(match[1], int(match[2]))
        if any(card.rstrip() == b"END" for card in cards):
            return found if {b"BITPIX", b"NAXIS"} <= set(found) else None
    return None


def _data_size(found):
    """Return the bytes from the end of this header to the next one (FITS standard, eq. 2)."""
    axes = [found.get(b"NAXIS%d" % axis, 0) for axis in range(1, found[b"NAXIS"] + 1)]
    n_values = math.prod(axes) if axes else 0
    n_values = found.get(b"GCOUNT", 1) * (found.get(b"PCOUNT", 0) + n_values)
    n_bytes = abs(found[b"BITPIX"]) // 8 * n_values
    return -(-n_bytes // _BLOCK) * _BLOCK
