"""Sizes that a FITS header declares, looked at before astropy, which some keep busy for ever."""

import bz2
import functools
import gzip
import lzma
import math
import re
import zlib
from pathlib import Path

__all__ = ["check_sizes"]

_BLOCK = 2880
_CARD = 80
_LONGEST = 100_000  # cards; where there are more, this is no header
_MOST_HDUS = 2000
_UNPACK = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}
_UNPACKED_BY_ASTROPY = (b"PK\x03\x04", b"\x1f\x9d")
_KNOWN = {
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"GIF8": "a GIF image",
    b"II*\0": "a TIFF image",
    b"MM\0*": "a TIFF image",
    b"%PDF": "a PDF document",
    b"\x93NUMPY": "a NumPy array",
    b"\x89HDF": "an HDF5 file",
    b"#ASDF": "an ASDF file",
    b"<": "a web page",
}
_MOST_UNPACKED = 2**32  # bytes
_SIZE = re.compile(rb"(BITPIX|Z?NAXIS\d{0,3}|PCOUNT|GCOUNT|TFIELDS) *= *([-+]?\d+) *(?:/.*)?")
_KIND = re.compile(rb"(SIMPLE  = *T|XTENSION= *'[^']*') *(?:/.*)?")
# The FITS standard (4.0, sections 4.4.1.1 and 7.2.1) allows no more axes and columns.
_MOST = {b"NAXIS": 999, b"ZNAXIS": 999, b"TFIELDS": 999}
_BITPIX = (8, 16, 32, 64, -32, -64)


def check_sizes(path):
    """
    Refuse what is no FITS file, or not all of one, or declares more than is allowed.

    A small file must not cost much: there may be 2000 HDUs, and 4 GiB in a
    compressed file. And astropy would loop over thousands of millions of axes, go back to where it
    was after a part of negative size, and, in a gzipped file, after any header
    that it does not understand.

    Parameters
    ----------
    path : path-like
        A file, compressed or not. Of a directory, or where there is nothing, nothing is said.

    Raises
    ------
    ValueError
        If the file is of another kind, is truncated, or has such a header.
    """
    path = Path(path)
    if path.is_file():
        state = path.stat()
        _check(path, state.st_size, state.st_mtime_ns)


@functools.lru_cache(maxsize=64)
def _check(path, size, changed):
    """Look through all headers: once, since a compressed file is unpacked for it."""
    with path.open("rb") as file:
        start = file.read(6)
    if start.startswith(_UNPACKED_BY_ASTROPY):
        return
    unpack = next((_UNPACK[magic] for magic in _UNPACK if start.startswith(magic)), open)
    try:
        with unpack(path, "rb") as file:
            _refuse_others(path, file)
            for number in range(_MOST_HDUS):
                cards = _read_header(file)
                if not cards:
                    return
                sizes = _sizes(cards)
                _refuse(path, number, cards, sizes)
                n_bytes = _data_size(sizes)
                end = file.tell() + n_bytes + -n_bytes % _BLOCK
                if unpack is not open and end > _MOST_UNPACKED:
                    raise ValueError(
                        f"{path} declares {end} bytes when unpacked; a compressed file may have "
                        f"{_MOST_UNPACKED}: unpack it, if that is meant"
                    )
                # Of a compressed file only its end tells how much it holds.
                missing = end - (size if unpack is open else file.seek(end))
                if missing > -n_bytes % _BLOCK:
                    raise EOFError
                if missing > 0:
                    raise ValueError(
                        f"{path} ends {missing} bytes before its last block of {_BLOCK}: copy or "
                        "download it again or, if it was written so, rewrite it with astropy"
                    )
                file.seek(end)
            raise ValueError(f"{path} has {_MOST_HDUS} HDUs or more: split it")
    except EOFError:
        raise ValueError(f"{path} is truncated: copy or download it again") from None
    except (OSError, zlib.error, lzma.LZMAError) as error:
        if getattr(error, "errno", None) is not None:
            raise  # not of its content
        raise ValueError(
            f"{path} is damaged, and cannot be unpacked ({error}): copy or download it again"
        ) from error


def _refuse_others(path, file):
    """Raise if a file does not begin as FITS does; go back to its beginning."""
    start = file.read(9)
    file.seek(0)
    if start.startswith(b"SIMPLE"):
        return
    if not start:
        raise ValueError(f"{path} is empty: copy or download it again")
    for magic, kind in _KNOWN.items():
        if start.startswith(magic):
            raise ValueError(f"{path} is {kind}, not a FITS file: give the FITS file")
    raise ValueError(f"{path} is not a FITS file: give one that is")


def _read_header(file):
    """Return the cards up to the next END, or as many as no header has; None at the end."""
    cards = []
    while len(cards) < _LONGEST and len(block := file.read(_BLOCK)) == _BLOCK:
        cards += [block[at : at + _CARD].rstrip() for at in range(0, _BLOCK, _CARD)]
        if b"END" in cards[-_BLOCK // _CARD :]:
            return cards
    if len(cards) >= _LONGEST:
        return cards
    if (cards or [block])[0].startswith((b"SIMPLE", b"XTENSION")):
        raise EOFError
    return None  # what else follows the last HDU, astropy warns of


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
    """Return the bytes of the data that follow a header (FITS standard, eq. 2)."""
    axes = [found.get(b"NAXIS%d" % axis, 0) for axis in range(1, found[b"NAXIS"] + 1)]
    n_values = math.prod(axes) if axes else 0
    n_values = found.get(b"GCOUNT", 1) * (found.get(b"PCOUNT", 0) + n_values)
    return abs(found[b"BITPIX"]) // 8 * n_values
