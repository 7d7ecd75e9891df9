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
_LONGEST = 100_000  # cards; where there are more, this is no header
_SIZE = re.compile(rb"(BITPIX|Z?NAXIS\d{0,3}|PCOUNT|GCOUNT|TFIELDS) *= *([-+]?\d+) *(?:/.*)?")
_KIND = re.compile(rb"(SIMPLE  = *T|XTENSION= *'[^']*') *(?:/.*)?")
# The FITS standard (4.0, sections 4.4.1.1 and 7.2.1) allows no more axes and columns.
_MOST = {b"NAXIS": 999, b"ZNAXIS": 999, b"TFIELDS": 999}
_BITPIX = (8, 16, 32, 64, -32, -64)


def check_sizes(path):
    """
    Refuse a file whose headers declare more axes or columns than FITS has, or make no sense.

    astropy would loop over thousands of millions of axes, go back to where it
    was after a part of negative size, and, in a gzipped file, after any header
    that it does not understand.

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
            headers = iter(functools.partial(_read_header, file), None)
            for number, cards in enumerate(headers):
                sizes = _sizes(cards)
                _refuse(path, number, cards, sizes)
                # More than any file has is for whoever reads the pixels to complain of.
                file.seek(min(_data_size(sizes), 2**60), 1)
    except (OSError, EOFError, zlib.error):
        return  # a damaged gzip file, which is for them too


def _read_header(file):
    """Return the cards up to the next END; None where there is none."""
    cards = []
    while len(cards) < _LONGEST and len(block := file.read(_BLOCK)) == _BLOCK:
        cards += [block[at : at + _CARD].rstrip() for at in range(0, _BLOCK, _CARD)]
        if b"END" in cards[-_BLOCK // _CARD :]:
            return cards
    return None


def _sizes(cards):
    """Return the sizes that the cards declare, as far as they are whole numbers."""
    sizes = {}
    for card in cards:
        if match := _SIZE.fullmatch(card):
            sizes.setdefault(match[1], int(match[2]))
    return sizes


def _refuse(path, number, cards, sizes):
    """Raise if sizes are out of bounds, or what must be declared is not."""
    broken = f"{path} is damaged, or breaks the rules of FITS"
    for name, value in sizes.items():
        most = _MOST.get(name, math.inf)
        if name != b"BITPIX" and not 0 <= value <= most:
            limit = "not negative" if most == math.inf else f"0 to {most}"
            raise ValueError(f"{broken} ({name.decode()} = {value}; it must be {limit})")
    axes = {b"NAXIS%d" % axis for axis in range(1, sizes.get(b"NAXIS", 0) + 1)}
    is_whole = {b"NAXIS", *axes} <= set(sizes) and sizes.get(b"BITPIX") in _BITPIX
    if not (is_whole and _KIND.fullmatch(cards[0])):
        raise ValueError(f"{broken} (SIMPLE, XTENSION, BITPIX or NAXIS of HDU {number})")


def _data_size(found):
    """Return the bytes from the end of this header to the next one (FITS standard, eq. 2)."""
    axes = [found.get(b"NAXIS%d" % axis, 0) for axis in range(1, found[b"NAXIS"] + 1)]
    n_values = math.prod(axes) if axes else 0
    n_values = found.get(b"GCOUNT", 1) * (found.get(b"PCOUNT", 0) + n_values)
    n_bytes = abs(found[b"BITPIX"]) // 8 * n_values
    return -(-n_bytes // _BLOCK) * _BLOCK
