"""What cannot be meant is refused by name; what can be meant gives finite maps."""

import gzip
import os
import time
import types

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.nddata import CCDData
from numpy.testing import assert_array_equal

import cosmiq_astro as ca
from cosmiq_astro.cleaning import clean_pixels
from cosmiq_astro.cli.main import main
from cosmiq_astro.hst import detect_file, plan_file, read_chip

ONES = np.ones((8, 8))
PLANES = ("probability", "uncertainty", "entropy", "mutual_information")


@pytest.fixture
def at(tiny_vi, tiny_unet, make_hst, tmp_path):
    """What the calls of the tables need, and three short verbs."""

    def vi(data, **kwargs):
        return ca.cosmicray_vi(data, **{"T": 2, "model": tiny_vi, "device": "cpu", **kwargs})

    def ccd(data=ONES, unit="electron", *, mask=None, meta=None, **kwargs):
        frame = CCDData(data, unit=unit, meta=meta)
        # Set afterwards, as a careless script does.
        frame._mask = mask
        return vi(frame, **kwargs)

    def detect(file, out=None, **kwargs):
        return detect_file(file, out, **{"T": 2, "model": tiny_vi, "device": "cpu", **kwargs})

    def write(name, content):
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    return types.SimpleNamespace(
        vi=vi,
        ccd=ccd,
        detect=detect,
        write=write,
        hst=make_hst,
        dir=tmp_path,
        tiny_vi=tiny_vi,
        tiny_unet=tiny_unet,
    )


def image_file(at, data, name="a.fits", **cards):
    fits.PrimaryHDU(data, fits.Header(cards)).writeto(at.dir / name)
    return at.dir / name


def many_chips(at, n, extver=None):
    header = fits.Header({"BUNIT": "electron"})
    chips = [
        fits.ImageHDU(np.ones((2, 2)), header, name="SCI", ver=extver or i + 1) for i in range(n)
    ]
    fits.HDUList([fits.PrimaryHDU(), *chips]).writeto(at.dir / "many.fits")
    return at.dir / "many.fits"


def truncated(at, share):
    content = at.hst().read_bytes()
    return at.write("cut.fits", content[: int(len(content) * share)])


def linked(at):
    file = at.hst()
    (at.dir / "link.fits").symlink_to(file)
    return file, at.dir / "link.fits"


def occupied(at):
    file = at.hst()
    return file, at.write("taken.fits", b"mine")


def processed(at):
    out = at.detect(at.hst(), clean="medmask").file_out
    return at.detect(out, at.dir / "again.fits")


# what: (call, error, message)
REFUSED = {
    # the shape and type of the pixels
    "a scalar": (lambda at: at.vi(3.0), ValueError, r"two-dimensional .* got shape \(\)"),
    "a row": (lambda at: at.vi(np.ones(5)), ValueError, r"got shape \(5,\)"),
    "a cube": (lambda at: at.ccd(np.ones((2, 4, 4))), ValueError, "call once per plane of a cube"),
    "no rows": (lambda at: at.vi(np.ones((0, 4))), ValueError, "not empty, got shape"),
    "no columns": (lambda at: at.ccd(np.ones((4, 0))), ValueError, "not empty, got shape"),
    "nothing": (lambda at: at.vi(None), TypeError, "ccd must hold real numbers, got dtype object"),
    "a dictionary": (lambda at: at.vi({"data": 1}), TypeError, "real numbers, got dtype object"),
    "ragged rows": (lambda at: at.vi([[1, 2], [3]]), ValueError, "inhomogeneous"),
    "dates": (lambda at: at.vi(np.zeros((4, 4), "M8[s]")), TypeError, "got dtype datetime64"),
    "records": (lambda at: at.vi(np.zeros((4, 4), "i4,f4")), TypeError, "real numbers, got dtype"),
    "bytes": (lambda at: at.vi(np.zeros((4, 4), "S3")), TypeError, r"got dtype \|S3"),
    "complex CCDData": (lambda at: at.ccd(ONES * 1j), TypeError, "real numbers, got dtype complex"),
    "boolean CCDData": (lambda at: at.ccd(ONES > 0), TypeError, "real numbers, got dtype bool"),
    "masked complex": (lambda at: at.vi(np.ma.array(ONES * 1j)), TypeError, "got dtype complex128"),
    # masks
    "mask of other shape": (
        lambda at: at.ccd(mask=np.zeros((8, 9), bool)),
        ValueError,
        r"mask has shape \(8, 9\), the image has \(8, 8\)",
    ),
    "transposed mask": (
        lambda at: at.ccd(np.ones((4, 8)), mask=np.zeros((8, 4), bool)),
        ValueError,
        r"mask has shape \(8, 4\)",
    ),
    "mask of fractions": (lambda at: at.ccd(mask=ONES / 2), TypeError, "mask must be boolean"),
    "mask of bits": (
        lambda at: at.ccd(mask=np.full((8, 8), 4096)),
        TypeError,
        "hold 0 for good and 1 for bad pixels only",
    ),
    "mask of words": (lambda at: at.ccd(mask=np.full((8, 8), "x")), TypeError, "must be boolean"),
    "mask of NaN": (lambda at: at.ccd(mask=ONES * np.nan), TypeError, "mask must be boolean"),
    # units
    "Quantity in Jy": (lambda at: at.vi(ONES * u.Jy), ValueError, "the data have unit 'Jy'"),
    "Quantity without unit": (lambda at: at.vi(ONES * u.one), ValueError, "the data have unit ''"),
    "Quantity in adu": (lambda at: at.vi(ONES * u.adu), ValueError, "in adu: give gain"),
    "gain for electron": (lambda at: at.ccd(gain=2.0), ValueError, "already: leave gain out"),
    "gain a text": (lambda at: at.ccd(unit="adu", gain="2"), ValueError, "gain must be one finite"),
    "gain true": (lambda at: at.ccd(unit="adu", gain=True), ValueError, "gain must be one finite"),
    "gain infinite": (lambda at: at.ccd(unit="adu", gain=np.inf), ValueError, "got inf"),
    "gain zero": (lambda at: at.ccd(unit="adu", gain=0), ValueError, "finite, positive number"),
    "gain complex": (lambda at: at.ccd(unit="adu", gain=1j), ValueError, "one finite, positive"),
    "gain a map": (lambda at: at.ccd(unit="adu", gain=ONES), ValueError, "gain must be one finite"),
    "gain per second": (
        lambda at: at.ccd(unit="adu", gain=2 * u.electron / u.s),
        ValueError,
        "gain must be in electron / adu, got electron / s",
    ),
    # exposure time
    "no exposure time": (lambda at: at.ccd(unit="electron/s"), ValueError, "give exposure_time"),
    "exposure time NaN": (
        lambda at: at.ccd(unit="electron/s", exposure_time=np.nan),
        ValueError,
        "exposure_time must be one finite, positive number of s, got nan",
    ),
    "exposure time negative": (
        lambda at: at.ccd(unit="electron/s", exposure_time=-60 * u.s),
        ValueError,
        "exposure_time must be one finite, positive number of s",
    ),
    "exposure time in pixels": (
        lambda at: at.ccd(unit="electron/s", exposure_time=3 * u.pix),
        ValueError,
        "exposure_time must be in s, got pix",
    ),
    "EXPTIME a text": (
        lambda at: at.ccd(unit="electron/s", meta={"EXPTIME": "60 s"}),
        ValueError,
        "exposure_time must be one finite, positive number of s, got '60 s'",
    ),
    "EXPTIME a truth value": (
        lambda at: at.ccd(unit="electron/s", meta={"EXPTIME": True}),
        ValueError,
        "exposure_time must be one finite, positive number of s, got True",
    ),
    # levels
    "readnoise a text": (lambda at: at.ccd(readnoise="5"), ValueError, "readnoise must be one"),
    "readnoise infinite": (lambda at: at.ccd(readnoise=np.inf), ValueError, "not negative number"),
    "readnoise a map": (lambda at: at.ccd(readnoise=ONES), ValueError, "readnoise must be one"),
    "satlevel negative": (lambda at: at.ccd(satlevel=-1), ValueError, "satlevel must be one"),
    "satlevel in adu": (lambda at: at.ccd(satlevel=9 * u.adu), ValueError, "give gain too"),
    # settings
    "threshold a text": (lambda at: at.ccd(threshold="0.5"), ValueError, "threshold must be in"),
    "threshold NaN": (lambda at: at.ccd(threshold=np.nan), ValueError, "got nan"),
    "threshold one": (lambda at: at.ccd(threshold=1), ValueError, "got 1"),
    "threshold below zero": (lambda at: at.ccd(threshold=-0.1), ValueError, r"got -0\.1"),
    "threshold a list": (lambda at: at.ccd(threshold=[0.5]), ValueError, "threshold must be in"),
    "T zero": (lambda at: at.ccd(T=0), ValueError, "T must be a positive integer, got 0"),
    "T negative": (lambda at: at.ccd(T=-16), ValueError, "positive integer, got -16"),
    "T a text": (lambda at: at.ccd(T="16"), ValueError, "positive integer, got '16'"),
    "T infinite": (lambda at: at.ccd(T=np.inf), ValueError, "positive integer, got inf"),
    "seed too large": (lambda at: at.ccd(seed=2**63), ValueError, r"seed must be .* 2\*\*63"),
    "seed a text": (lambda at: at.ccd(seed="1"), ValueError, "seed must be an integer"),
    "sampling unknown": (lambda at: at.ccd(sampling="sobol"), ValueError, "one of antithetic"),
    "mask_growth true": (lambda at: at.ccd(mask_growth=True), ValueError, "0 or a positive"),
    "mask_growth NaN": (lambda at: at.ccd(mask_growth=np.nan), ValueError, "integer, got nan"),
    "clean unknown": (lambda at: at.ccd(clean="lacosmic"), ValueError, "one of median, medmask"),
    "tile_size negative": (lambda at: at.ccd(tile_size=-1), ValueError, "positive integer, got -1"),
    "tile_size a float": (lambda at: at.ccd(tile_size=64.0), ValueError, "positive integer"),
    "device unknown": (lambda at: at.ccd(device="abacus"), ValueError, "'auto' takes the best"),
    "device empty": (lambda at: at.ccd(device=""), ValueError, "device '' cannot be used"),
    "device missing": (lambda at: at.ccd(device="cuda:99"), ValueError, "'cuda:99' cannot be used"),
    "model unknown": (
        lambda at: at.ccd(model="acs-wfc"),
        ValueError,
        rf"'acs-wfc' is neither a bundled model \({', '.join(ca.list_models()['name'])}\) nor",
    ),
    "model with a zero byte": (lambda at: at.ccd(model="a\0b"), ValueError, "neither a bundled"),
    "model a file": (
        lambda at: at.ccd(model=at.write("model", b"")),
        ValueError,
        "nor a folder with a config.json",
    ),
    "model a number": (lambda at: at.ccd(model=3), TypeError, "not int"),
    "baseline asked for draws": (
        lambda at: at.ccd(model=at.tiny_unet),
        ValueError,
        "is of method 'unet'; use cosmicray_unet",
    ),
    "cleaning another shape": (
        lambda at: clean_pixels(ONES, np.zeros((8, 9), bool)),
        ValueError,
        "shape",
    ),
    # files
    "no such file": (lambda at: at.detect(at.dir / "no.fits"), FileNotFoundError, r"no\.fits"),
    "a directory as file": (lambda at: at.detect(at.dir), IsADirectoryError, "Is a directory"),
    "an empty file": (lambda at: at.detect(at.write("e.fits", b"")), ValueError, "is empty: copy"),
    "a text": (
        lambda at: at.detect(at.write("t.fits", b"hello\n" * 999)),
        ValueError,
        "is not a FITS file: give one that is",
    ),
    "a picture named FITS": (
        lambda at: at.detect(at.write("p.fits", b"\x89PNG\r\n\x1a\n" + bytes(5000))),
        ValueError,
        "is a PNG image, not a FITS file: give the FITS file",
    ),
    "cut in the header": (
        lambda at: at.detect(truncated(at, 0.1)),
        ValueError,
        "is truncated: copy or download it again",
    ),
    "damaged gzip": (
        lambda at: at.detect(at.write("g.fits.gz", gzip.compress(at.hst().read_bytes())[:900])),
        ValueError,
        "is truncated: copy or download it again",
    ),
    "only a table": (
        lambda at: at.detect(table_file(at)),
        ValueError,
        r"neither a SCI extension with data nor a two-dimensional image; shapes seen: \[\]",
    ),
    "only a spectrum": (
        lambda at: at.detect(image_file(at, np.ones(9), BUNIT="electron")),
        ValueError,
        r"shapes seen: \[\(9,\)\]",
    ),
    "SCI a cube": (
        lambda at: at.detect(at.hst(shape=(2, 9, 9))),
        ValueError,
        "it must have two dimensions",
    ),
    "DQ of other shape": (
        lambda at: at.detect(at.hst(dq_shape=(24, 33))),
        ValueError,
        r"DQ 1 has shape \(24, 33\), SCI has \(24, 32\)",
    ),
    "BUNIT not a unit": (lambda at: at.detect(at.hst(bunit="((")), ValueError, r"BUNIT is '\(\('"),
    "BUNIT of flux": (lambda at: at.detect(at.hst(bunit="Jy")), ValueError, "have unit 'Jy'"),
    "gain unknown": (
        lambda at: at.detect(image_file(at, ONES, BUNIT="adu")),
        ValueError,
        r"headers do not tell the gain: give gain",
    ),
    "file EXPTIME a text": (
        lambda at: at.detect(at.hst(bunit="ELECTRONS/S", EXPTIME="long")),
        ValueError,
        "(exposure_time|EXPTIME).* must be .*finite.* number.*, got 'long'",
    ),
    "three hundred chips": (
        lambda at: at.detect(many_chips(at, 300)),
        ValueError,
        r"has 300 chips, more than 256: give extver for some",
    ),
    "two thousand HDUs": (
        lambda at: at.detect(many_chips(at, 2000)),
        ValueError,
        "has 2000 HDUs or more: split it",
    ),
    "EXTVER twice": (
        lambda at: at.detect(many_chips(at, 3, extver=1)),
        ValueError,
        "has 3 chips of extver 1: give each its own",
    ),
    "a gain that cannot be, and is needed": (
        lambda at: at.detect(at.hst(bunit="COUNTS", ATODGNC=0.0, CCDGAIN=-2.0)),
        ValueError,
        "headers do not tell the gain",
    ),
    "no such chip": (lambda at: at.detect(at.hst(), extver=[7]), ValueError, "none of the chips"),
    "no such chip to read": (lambda at: read_chip(at.hst(), 2), ValueError, "no chip with extver"),
    "no such plane": (lambda at: at.detect(at.hst(), planes=["p"]), ValueError, "planes can be"),
    "no such bit": (lambda at: plan_file(at.hst(), dq_bit=3), ValueError, "dq_bit must be None or"),
    "a bit of a simple image": (
        lambda at: at.detect(image_file(at, ONES, BUNIT="electron"), dq_bit=4096),
        ValueError,
        "a simple image has no DQ",
    ),
    "output is there": (lambda at: at.detect(*occupied(at)), FileExistsError, "exists already"),
    "output is the input by a link": (
        lambda at: at.detect(*linked(at), overwrite=True),
        ValueError,
        "is the input itself",
    ),
    "output below a file": (
        lambda at: at.detect(at.hst(), at.write("f", b"") / "out.fits"),
        OSError,
        "Not a directory|File exists",
    ),
    "output and in place": (
        lambda at: at.detect(at.hst(), at.dir / "o.fits", in_place=True),
        ValueError,
        "set in_place or give file_out",
    ),
    "a cleaned output": (processed, ValueError, "start from the original file"),
}  # fmt: skip


def table_file(at):
    table = fits.BinTableHDU.from_columns([fits.Column("a", "E", array=np.arange(3.0))])
    table.writeto(at.dir / "table.fits")
    return at.dir / "table.fits"


@pytest.mark.filterwarnings("ignore:Error validating header for HDU #0")
@pytest.mark.parametrize("what", REFUSED)
def test_refused_by_name(at, what):
    call, error, message = REFUSED[what]
    kinds = error if isinstance(error, type) else error.__args__
    with pytest.raises(kinds, match=message):
        call(at)
    assert not [name for name in os.listdir(at.dir) if name.startswith(".")]


def test_the_table_is_long_enough():
    assert len(REFUSED) >= 60


RNG = np.random.default_rng(5)
SKY = RNG.normal(50, 8, (24, 32))


def with_pixels(value, *, share=0.3):
    return np.where(RNG.random(SKY.shape) < share, value, SKY)


# Odd, but it can be meant.
ACCEPTED = {
    "one pixel": np.ones((1, 1)),
    "one row": SKY[:1],
    "one column": SKY[:, :1],
    "NaN all over": SKY * np.nan,
    "a third NaN": with_pixels(np.nan),
    "a third inf": with_pixels(np.inf),
    "a third -inf": with_pixels(-np.inf),
    "NaN at the edge": np.pad(SKY, 3, constant_values=np.nan),
    "all but one NaN": np.where(np.arange(SKY.size).reshape(SKY.shape) == 77, 50.0, np.nan),
    "largest doubles": with_pixels(np.finfo(float).max),
    "lowest doubles": with_pixels(-np.finfo(float).max),
    "smallest doubles": with_pixels(5e-324),
    "both extremes": with_pixels(1e308) * np.where(RNG.random(SKY.shape) < 0.5, -1, 1),
    "all zero": np.zeros((9, 9)),
    "a large negative sky": SKY - 1e7,
    "a sky above float32": SKY * 1e36,
    "largest uint64": np.full((9, 9), 2**64 - 1, dtype=np.uint64),
    "lowest int64": np.full((9, 9), -(2**63), dtype=np.int64),
    "float16 with inf": with_pixels(np.inf).astype(np.float16),
    "long double": SKY.astype(np.longdouble),
    "big-endian": SKY.astype(">f4"),
    "read-only, every second pixel, turned": SKY[::-2, ::2].T,
    "all masked": np.ma.masked_all((9, 9)),
    "nothing masked": np.ma.array(SKY),
    "a Quantity": SKY * u.electron,
}
SKY.flags.writeable = False


@pytest.mark.filterwarnings("ignore:.* flagged pixels were left unchanged")
@pytest.mark.filterwarnings("ignore:most pixels of the image are above")
@pytest.mark.parametrize("what", ACCEPTED)
def test_odd_but_finite(at, what):
    image = ACCEPTED[what]
    before = np.array(image, copy=True)
    maps = ca.CosmicRayDetector(at.tiny_vi, device="cpu")(image, T=2, seed=0)
    finite = np.isfinite(np.asarray(getattr(image, "value", image)))
    for name in PLANES:
        plane = getattr(maps, name)
        assert plane.dtype == np.float32
        assert_array_equal(np.isfinite(plane), finite)
        assert not (plane[finite] < 0).any()
    assert not (maps.probability > 1).any()
    assert not (maps.entropy > np.float32(np.log(2))).any()
    brightest = np.max(np.abs(np.asarray(before, dtype=float)[finite]), initial=0)
    # Sums of neighbours overflow beyond that.
    for clean in ("medmask", "idw") if brightest < 1e18 else ():
        # One that flags nearly all of the pixels, one that flags none of them.
        for threshold in (1e-6, 1 - 1e-6):
            data, cr_mask = at.vi(image, seed=0, clean=clean, threshold=threshold)
            assert not cr_mask[~finite].any()
            if isinstance(image, np.ma.MaskedArray):
                assert not cr_mask[np.ma.getmaskarray(image)].any()
            kept = np.asarray(data)[~cr_mask]
            assert_array_equal(kept, np.asarray(getattr(image, "value", image))[~cr_mask])
    assert_array_equal(np.asarray(image), np.asarray(before))


@pytest.mark.parametrize("value", ["long", True, -1.0, "", None])
def test_a_useless_exposure_time_does_not_hinder_electrons(at, value):
    assert at.ccd(SKY, meta={"EXPTIME": value}, seed=0).cr_mask.shape == SKY.shape


@pytest.mark.parametrize("share", [0.3, 0.5, 0.9])
def test_truncated_pixels_are_an_error_not_a_frame(at, share, capsys):
    file = truncated(at, share)
    assert main(["detect", str(file), "--model", "acs-wfc-unet"]) == 1
    said = capsys.readouterr()
    assert said.err == f"cosmiq-astro: error: {file} is truncated: copy or download it again\n"
    assert not (at.dir / "cut_crvi.fits").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["no.fits"], 1, "No such file or directory"),
        (["."], 1, "Is a directory"),
        (["j1_flc.fits", "-T", "0"], 1, "T must be a positive integer, got 0"),
        (["j1_flc.fits", "--threshold", "nan"], 1, "threshold must be in"),
        (["j1_flc.fits", "--tile-size", "0"], 1, "tile_size must be a positive integer"),
        (["j1_flc.fits", "--device", "abacus"], 1, "'auto' takes the best there is"),
        (["j1_flc.fits", "--seed", "-4"], 1, "seed must be an integer in"),
        (["j1_flc.fits", "--ext", "9"], 1, "none of the chips asked for"),
        (["j1_flc.fits", "--jobs", "0"], 1, "jobs must be a positive integer"),
        (["j1_flc.fits", "--readnoise", "-1"], 1, "readnoise must be in [0, 100000], got -1.0"),
        (["j1_flc.fits", "--gain", "0"], 1, "gain must be in [0.001, 10000], got 0.0"),
        (["j1_flc.fits", "--readnoise", "1e308"], 1, "readnoise must be in [0, 100000]"),
        (["j1_flc.fits", "--exposure-time", "inf"], 1, "exposure_time must be in [0, 1e+08]"),
        (["j1_flc.fits", "--table", "no/t.ecsv"], 1, "there is no directory"),
        (["j1_flc.fits", "--table", "j1_flc.fits", "--overwrite"], 1, "is an input too"),
        (["j1_flc.fits", "--table", "/dev/null", "--overwrite"], 1, "not a regular file"),
        (["j1_flc.fits", "--scheduler", "tcp://a:1"], 1, "without TLS can run code"),
        (["j1_flc.fits", "j1_flc.fits"], 2, "would be written to the same file"),
        (["j1_flc.fits", "link.fits", "--in-place"], 2, "same file"),
        (["j1_flc.fits", "--dq-ignore", "-1"], 2, "is not a list of bits"),
        (["j1_flc.fits", "-T", "many"], 2, "invalid int value"),
    ],
)
def test_command_line_says_what_is_wrong(
    make_hst, model_folder, tmp_path, monkeypatch, capsys, arguments, code, message
):
    (tmp_path / "link.fits").symlink_to(make_hst())
    monkeypatch.chdir(tmp_path)
    try:
        got = main(["detect", "--model", str(model_folder), *arguments])
    except SystemExit as stop:
        got = stop.code
    said = capsys.readouterr().err
    assert got == code
    assert message in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("cards", "name", "note"),
    [
        ({"EXPTIME": -500.0}, "exposure_time", "the headers' exposure_time of -500 cannot be"),
        ({"EXPTIME": 1e300}, "exposure_time", "the headers' exposure_time of 1e+300 cannot be"),
        ({"EXPTIME": "600.0 s"}, "exposure_time", "got '600.0 s': there is no hit rate"),
        ({"READNSEC": 1e308}, "readnoise", "the headers' readnoise of 1e+308 cannot be"),
        ({"ATODGNC": -2.0, "CCDGAIN": -2.0}, "satlevel", "the headers' satlevel of -131070 cannot"),
    ],
)
def test_headers_that_cannot_be_are_not_believed(at, cards, name, note):
    file = at.hst(**cards)
    plan = plan_file(file)
    assert any(note in text for text in plan.notes), plan.notes
    chip = plan.chips[0]
    assert getattr(chip, name, getattr(chip.readout, name, None)) is None
    # What the user gives is used instead.
    given = plan_file(file, **{name: 700.0})
    assert not any(f"headers' {name}" in text for text in given.notes)
    with pytest.warns(UserWarning, match="cannot be|there is no hit rate"):
        result = at.detect(file)
    assert (result.hit_rate is None) == (name == "exposure_time")


def test_a_bias_frame_has_no_exposure_time(at):
    result = at.detect(at.hst(EXPTIME=0.0))
    assert result.hit_rate is None


@pytest.mark.parametrize("dtype", [np.uint8, np.int32])
def test_dq_of_any_width(at, dtype):
    file = at.hst()
    with fits.open(file) as hdus:
        hdus["DQ"].data = np.full((24, 32), 32, dtype)
        hdus.writeto(at.dir / "j2_flc.fits")
    out = at.detect(at.dir / "j2_flc.fits", threshold=1e-6).file_out
    with fits.open(out) as hdus:
        found = hdus["CRVIMASK"].data != 0
        assert found.any()
        assert_array_equal(hdus["DQ"].data, np.where(found, 32 | 16384, 32))


@pytest.mark.parametrize("ending", ["gz", "bz2", "xz"])
def test_a_bomb_costs_nothing(at, ending, capsys):
    """A small file declares 32 GB, or holds more than any header behind its last HDU."""
    import bz2
    import lzma

    compress = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}[ending]
    header = fits.PrimaryHDU(np.zeros((2, 2))).header
    header["NAXIS1"], header["NAXIS2"] = 2_000_000, 2_000
    content = header.tostring().encode()
    file = at.write(f"bomb.fits.{ending}", compress(content + bytes(2**24)))
    start = time.process_time()
    assert main(["detect", str(file), "--dry-run"]) == 1
    assert "declares 32000005440 bytes when unpacked" in capsys.readouterr().err
    file = at.write(f"tail.fits.{ending}", compress(at.hst().read_bytes() + bytes(2**25)))
    assert main(["detect", str(file), "--dry-run"]) == 1
    assert "of HDU 3" in capsys.readouterr().err
    assert time.process_time() - start < 10
