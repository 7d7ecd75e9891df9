import bz2
import gzip
import io
import lzma
import time
import zipfile

import numpy as np
import pytest
from astropy.io import fits

from cosmiq_astro._fits_sizes import check_sizes
from cosmiq_astro.hst import detect_file


def sound(path):
    hdus = [
        fits.PrimaryHDU(header=fits.Header({"EXTEND": True})),
        fits.ImageHDU(np.zeros((30, 40), np.float32), name="SCI"),
        fits.CompImageHDU(np.zeros((30, 40), np.int16), name="DQ"),
    ]
    fits.HDUList(hdus).writeto(path)
    return path.read_bytes()


def declare(content, keyword, value, nth):
    """Return the bytes with another value, or none, on the ``nth`` card with this keyword."""
    at = -1
    for _ in range(nth):
        at = content.index(f"{keyword:8}= ".encode(), at + 1)
    card = b" " * 80 if value is None else f"{keyword:8}= {value:>20}".ljust(80).encode()
    return content[:at] + card + content[at + 80 :]


@pytest.mark.parametrize("name", ["a.fits", "a.fits.gz"])
@pytest.mark.parametrize(
    ("keyword", "value", "nth", "message"),
    [
        ("NAXIS", 2147483648, 1, "NAXIS = 2147483648; it must be 0 to 999"),
        ("NAXIS", -1, 2, "NAXIS = -1; it must be 0 to 999"),
        ("NAXIS1", -40, 1, "NAXIS1 = -40; it must be not negative"),
        ("PCOUNT", -99999, 2, "PCOUNT = -99999; it must be not negative"),
        ("TFIELDS", 10**12, 1, "TFIELDS = 1000000000000; it must be 0 to 999"),
        ("ZNAXIS", 10**9, 1, "ZNAXIS = 1000000000; it must be 0 to 999"),
    ],
)
def test_sizes_that_are_none_are_refused_before_astropy_loops(
    tmp_path, tiny_vi, name, keyword, value, nth, message
):
    content = declare(sound(tmp_path / "sound.fits"), keyword, value, nth)
    path = tmp_path / name
    path.write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    start = time.process_time()
    with pytest.raises(ValueError, match=message):
        detect_file(path, tmp_path / "out.fits", model=tiny_vi, device="cpu")
    assert time.process_time() - start < 5
    assert not (tmp_path / "out.fits").exists()


@pytest.mark.parametrize(
    ("keyword", "value", "nth"),
    [
        ("SIMPLE", "F", 1),
        ("XTENSION", "NaN", 1),
        ("XTENSION", None, 1),
        ("BITPIX", "T", 2),
        ("NAXIS2", "''", 1),
        ("NAXIS", "1E400", 3),
    ],
)
@pytest.mark.parametrize("name", ["a.fits", "a.fits.gz"])
def test_a_header_without_sense_is_no_endless_loop(tmp_path, tiny_vi, name, keyword, value, nth):
    path = tmp_path / name
    content = declare(sound(tmp_path / "sound.fits"), keyword, value, nth)
    path.write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    start = time.process_time()
    with pytest.raises(ValueError, match="SIMPLE, XTENSION, BITPIX or NAXIS of"):
        detect_file(path, tmp_path / "out.fits", model=tiny_vi, device="cpu")
    assert time.process_time() - start < 5


def test_nothing_is_said_of_sound_files_and_of_none(tmp_path):
    content = sound(tmp_path / "a.fits")
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as file:
        file.writestr("a.fits", content)
    for name, other in {
        "a.fits": content,
        "a.fits.gz": gzip.compress(content),
        "a.fits.bz2": bz2.compress(content),
        "more.fits": content + b"what a tape leaves behind",
        "a.fits.zip": zipped.getvalue(),
    }.items():
        (tmp_path / name).write_bytes(other)
        check_sizes(tmp_path / name)
    check_sizes(tmp_path / "missing.fits")
    check_sizes(tmp_path)


@pytest.mark.parametrize(
    ("name", "cut"),
    [
        ("in_header.fits", lambda content: content[:1000]),
        ("after_blocks.fits", lambda content: content[:4000]),
        ("in_last_header.fits", lambda content: content[: content.rindex(b"XTENSION") + 500]),
        ("in_pixels.fits", lambda content: content[:-3000]),
        ("huge.fits", lambda content: declare(content, "NAXIS1", 10**19, 1)),
        ("a.fits.gz", lambda content: gzip.compress(content)[:-20]),
        ("before.fits.gz", lambda content: gzip.compress(content[:-3000])),
        ("a.fits.bz2", lambda content: bz2.compress(content)[:-20]),
        ("a.fits.xz", lambda content: lzma.compress(content)[:-20]),
    ],
)
def test_what_is_truncated_is_called_so(tmp_path, name, cut):
    (tmp_path / name).write_bytes(cut(sound(tmp_path / "sound.fits")))
    with pytest.raises(ValueError, match=f"{name} is truncated: copy or download it again"):
        check_sizes(tmp_path / name)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_last_block_that_is_not_filled_is_called_so(tmp_path, pack):
    content = sound(tmp_path / "sound.fits")
    (tmp_path / "short.fits").write_bytes(pack(content[:-1]))
    with pytest.raises(ValueError, match=r"ends 1 bytes before its last block .* rewrite it"):
        check_sizes(tmp_path / "short.fits")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"a\.fits is empty: copy"),
        (b"no FITS at all", r"a\.fits is not a FITS file: give one that is"),
        (
            b"\x89PNG\r\n\x1a\n" + bytes(5000),
            r"is a PNG image, not a FITS file: give the FITS file",
        ),
        (b"<!DOCTYPE html>", r"is a web page, not a FITS file"),
        (gzip.compress(b"%PDF-1.7"), r"is a PDF document, not a FITS file"),
        (gzip.compress(b"SIMPLE")[:-8] + bytes(8), "is damaged, and cannot be unpacked"),
    ],
)
def test_other_files_are_told_by_their_kind(tmp_path, content, message):
    (tmp_path / "a.fits").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        check_sizes(tmp_path / "a.fits")
