import base64
import bz2
import copy
import gzip
import html
import io
import pickle
import re
import sys

import ccdproc
import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.nddata import CCDData, Cutout2D, StdDevUncertainty
from astropy.utils.exceptions import AstropyUserWarning
from astropy.wcs import WCS
from scipy import ndimage

from cosmiq_astro.nddata import PLANES, CosmicRayCCDData


@pytest.fixture
def ccd():
    rng = np.random.default_rng(0)
    shape = (12, 15)
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [10, 20]
    wcs.wcs.cdelt = [1e-5, 1e-5]
    planes = {name: rng.random(shape).astype("f4") for name in PLANES}
    planes["cr_mask"] = rng.random(shape) > 0.8
    return CosmicRayCCDData(
        rng.random(shape),
        unit="electron",
        mask=rng.random(shape) > 0.9,
        uncertainty=StdDevUncertainty(rng.random(shape)),
        meta=fits.Header({"EXPTIME": 3.0}),
        wcs=wcs,
        **planes,
    )


def assert_planes(result, expected):
    assert isinstance(result, CosmicRayCCDData)
    for name, plane in expected.items():
        found = getattr(result, name)
        np.testing.assert_array_equal(found, plane)
        assert found.dtype == plane.dtype


def planes(ccd, item=np.s_[:, :]):
    return {name: getattr(ccd, name)[item] for name in PLANES}


def test_slicing_and_trimming(ccd):
    assert_planes(ccd[2:7, 3:9], planes(ccd, np.s_[2:7, 3:9]))
    trimmed = ccdproc.trim_image(ccd, fits_section="[4:9, 3:7]")
    assert_planes(trimmed, planes(ccd, np.s_[2:7, 3:9]))


@pytest.mark.parametrize(
    "duplicate", [CCDData.copy, copy.copy, copy.deepcopy, lambda c: pickle.loads(pickle.dumps(c))]
)
def test_copies(ccd, duplicate):
    assert_planes(duplicate(ccd), planes(ccd))


def test_copy_shares_nothing(ccd):
    twin = ccd.copy()
    twin.cr_probability[:] = 0
    twin.cr_mask[:] = False
    assert ccd.cr_probability.any()
    assert ccd.cr_mask.any()


def test_round_trip(ccd, tmp_path):
    path = tmp_path / "out.fits"
    ccd.write(path)
    with fits.open(path) as hdus:
        names = [hdu.name for hdu in hdus]
        hdus.verify("exception")
    assert names == ["PRIMARY", "MASK", "UNCERT", *PLANES.values()]
    back = CosmicRayCCDData.read(path)
    assert_planes(back, planes(ccd))
    np.testing.assert_array_equal(back.data, ccd.data)
    np.testing.assert_array_equal(back.mask, ccd.mask)
    np.testing.assert_array_equal(back.uncertainty.array, ccd.uncertainty.array)
    assert back.unit == u.electron
    assert back.meta["EXPTIME"] == 3
    assert isinstance(CCDData.read(path), CCDData)


def test_planes_that_are_not_there_stay_none(tmp_path):
    CCDData(np.ones((3, 3)), unit="adu").write(tmp_path / "plain.fits")
    back = CosmicRayCCDData.read(tmp_path / "plain.fits")
    assert all(getattr(back, name) is None for name in PLANES)
    assert back[:2].cr_mask is None
    assert back.multiply(2).cr_mask is None


def test_arithmetic_keeps_the_left_planes(ccd):
    other = CosmicRayCCDData(np.ones(ccd.shape), unit="electron", cr_mask=np.zeros(ccd.shape, bool))
    for result in (
        ccd.add(other),
        ccd.subtract(1 * u.electron),
        ccd.multiply(2.0),
        ccd.divide(other),
    ):
        assert_planes(result, planes(ccd))
    result = ccd.add(other)
    result.cr_mask[:] = False
    assert ccd.cr_mask.any()
    assert_planes(ccdproc.gain_correct(ccd, 2.0), planes(ccd))


def test_arithmetic_of_a_plain_ccd_on_the_left(ccd):
    plain = CCDData(np.ones(ccd.shape), unit="electron")
    assert type(plain.add(ccd)) is CCDData


def test_cutout_of_a_plane_matches_a_slice(ccd):
    cutout = Cutout2D(ccd.cr_probability, (7, 5), (4, 4))
    np.testing.assert_array_equal(cutout.data, ccd[cutout.slices_original].cr_probability)


def test_wrong_shape():
    with pytest.raises(ValueError, match=r"cr_entropy has shape \(2, 2\), the data has \(3, 3\)"):
        CosmicRayCCDData(np.ones((3, 3)), unit="adu", cr_entropy=np.ones((2, 2)))


@pytest.mark.parametrize("kind", ["name", "path", "gz", "bz2", "bytes", "open", "format"])
def test_read_from_whatever_holds_it(ccd, tmp_path, kind):
    path = tmp_path / "out.fits"
    ccd.write(path)
    content = path.read_bytes()
    if kind in ("gz", "bz2"):
        path = tmp_path / f"out.fits.{kind}"
        path.write_bytes({"gz": gzip, "bz2": bz2}[kind].compress(content))
    source = {"name": str(path), "bytes": io.BytesIO(content), "open": path.open("rb")}
    with source["open"]:
        kwargs = {"format": "fits"} if kind == "format" else {}
        assert_planes(CosmicRayCCDData.read(source.get(kind, path), **kwargs), planes(ccd))


def rot90(ccd):
    ccd.data, ccd.mask = np.rot90(ccd.data), np.rot90(ccd.mask)
    return ccd


def assigned_flipped(ccd):
    ccd.data = ccd.data[::-1]
    return ccd


MOVED = {
    "rot90": rot90,
    "flipped": assigned_flipped,
    "shifted": lambda ccd: ccdproc.transform_image(ccd, ndimage.shift, shift=(3, 2), order=0),
    "resized": lambda ccd: ccdproc.transform_image(ccd, ndimage.zoom, zoom=2, order=0),
}


@pytest.mark.filterwarnings("ignore:WCS information may be incorrect")
@pytest.mark.parametrize("how", MOVED)
def test_planes_that_do_not_follow_are_dropped_with_a_warning(ccd, tmp_path, how):
    ccd.uncertainty = None
    ccd.mask = ccd.mask | ccd.cr_mask
    with pytest.warns(AstropyUserWarning, match="the cosmic-ray planes with them no longer agree"):
        moved = MOVED[how](ccd.copy())
    assert all(getattr(moved, name) is None for name in PLANES)
    moved.wcs = None
    moved.write(tmp_path / "moved.fits")
    assert CosmicRayCCDData.read(tmp_path / "moved.fits").shape == moved.shape
    assert_planes(ccd, planes(ccd))


PLAIN = {
    "wcs_project": lambda ccd: ccdproc.wcs_project(ccd, ccd.wcs.deepcopy()),
    "block_reduce": lambda ccd: ccdproc.block_reduce(ccd[:10, :10], 2),
    "block_average": lambda ccd: ccdproc.block_average(ccd[:10, :10], 2),
    "block_replicate": lambda ccd: ccdproc.block_replicate(ccd, 2),
}


@pytest.mark.filterwarnings("ignore:The following attributes were set on the data object")
@pytest.mark.parametrize("how", PLAIN)
def test_steps_that_make_plain_frames_leave_the_planes_out(ccd, tmp_path, how):
    ccd.mask = ccd.mask | ccd.cr_mask
    made = PLAIN[how](ccd)
    assert type(made) is CCDData
    assert not any(hasattr(made, name) for name in PLANES)
    if how == "wcs_project":
        assert made.mask[ccd.cr_mask].all()
    made.wcs = None
    made.write(tmp_path / "made.fits")
    assert CosmicRayCCDData.read(tmp_path / "made.fits").cr_mask is None


@pytest.mark.filterwarnings("ignore:The rebin function will be removed")
def test_rebinning_drops_the_planes_with_a_warning(ccd):
    ccd.uncertainty = None
    with pytest.warns(AstropyUserWarning, match="the cosmic-ray planes with them no longer agree"):
        assert ccdproc.rebin(ccd, (6, 5)).cr_mask is None


def test_changed_pixels_keep_the_planes(ccd):
    expected = planes(ccd)
    ccd.mask = ccd.mask | ccd.cr_mask
    ccd.data -= 5
    ccd.data = ccd.data - 5
    ccd.mask = ccd.mask.copy()
    ccd.mask = None
    assert_planes(ccd, expected)


def test_units_are_converted_beside_the_planes(ccd):
    ccd.flags = np.arange(ccd.data.size).reshape(ccd.shape)
    other = ccd.convert_unit_to(u.Unit("1000 electron"))
    np.testing.assert_allclose(other.data, ccd.data / 1000)
    assert_planes(other, planes(ccd))
    np.testing.assert_array_equal(other.flags, ccd.flags)
    other.cr_mask[:] = False
    assert ccd.cr_mask.any()


def test_a_plane_of_another_shape_is_not_written(ccd, tmp_path):
    ccd.cr_entropy = np.ones((2, 2))
    with pytest.raises(ValueError, match=r"cr_entropy has shape \(2, 2\), the data has"):
        ccd.write(tmp_path / "out.fits")
    assert not (tmp_path / "out.fits").exists()


@pytest.fixture
def detected():
    """Two hits of three and one pixels, in the corners."""
    hits = np.zeros((40, 50), bool)
    hits[0, :3] = hits[39, 49] = True
    meta = fits.Header({"CRVIMODL": "acs-wfc-vi", "CRVIT": 16, "CRVITHR": 0.31, "CRVINHIT": 2})
    image = np.random.default_rng(0).normal(50, 7, hits.shape)
    return CosmicRayCCDData(image, unit="adu", meta=meta, cr_mask=hits)


def line(shape, pixels, hits, unit="adu"):
    return (
        f"<CosmicRayCCDData of shape {shape} in {unit}: acs-wfc-vi, T 16, threshold 0.31, "
        f"pixels flagged {pixels}, hits {hits}>"
    )


def test_a_detection_says_what_it_is(detected, tmp_path):
    assert repr(detected) == repr(detected.copy()) == line((40, 50), 4, 2)
    assert repr(detected[:20]) == line((20, 50), 3, 1)
    assert repr(detected.convert_unit_to(u.adu)) == line((40, 50), 4, 2)
    detected.write(tmp_path / "out.fits")
    assert repr(CosmicRayCCDData.read(tmp_path / "out.fits")) == line((40, 50), 4, 2)
    del detected.meta["CRVIT"]
    detected.unit = ""
    assert "in no unit: acs-wfc-vi, threshold 0.31, pixels" in repr(detected)


@pytest.mark.parametrize(
    "change",
    [
        lambda out: out.multiply(2),  # which keeps the planes, not the header
        lambda out: out[3],
        lambda out: out[:0],
        lambda out: CosmicRayCCDData(np.ones((2, 2)), unit="adu", meta=out.meta),
        lambda out: CosmicRayCCDData(np.ones((2, 2)), unit="adu", cr_mask=np.ones((2, 2))),
    ],
)
def test_what_is_no_detection_looks_as_a_ccddata_does(detected, change):
    changed = change(detected)
    assert repr(changed).startswith("CosmicRayCCDData([")
    assert changed._repr_html_() is None


def picture(out):
    """Return what a notebook shows: the text, the pixels with the first row below, the size."""
    imread = pytest.importorskip("matplotlib.image").imread
    text, image = out._repr_html_().split("<br>")
    content = base64.b64decode(re.search('base64,([^"]*)"', image)[1])
    size = tuple(int(re.search(f'{side}="([0-9]*)"', image)[1]) for side in ("height", "width"))
    return text, imread(io.BytesIO(content))[::-1, :, :3], size


def test_a_notebook_shows_the_hits_in_red(detected):
    detected.meta["CRVIMODL"] = "<b>"
    text, pixels, size = picture(detected)
    assert text == f"<code>{html.escape(repr(detected))}</code>"
    assert "<b>" not in text
    red = (pixels[..., 0] > 0.8) & (pixels[..., 1] < 0.2)
    np.testing.assert_array_equal(red, detected.cr_mask)
    assert pixels[~red].std() > 0.1
    assert size == (200, 250)


def test_large_images_are_shown_small_with_all_hits():
    hits = np.zeros((300, 1030), bool)
    hits[299, 1029] = hits[100, 500] = True
    out = CosmicRayCCDData(np.ones(hits.shape, "u2"), unit="", meta={"CRVIMODL": 1}, cr_mask=hits)
    _, pixels, size = picture(out)
    assert pixels.shape[:2] == size == (60, 206)
    assert np.argwhere(pixels[..., 1] < 0.2).tolist() == [[20, 100], [59, 205]]


@pytest.mark.parametrize("fill", [np.nan, np.inf, 7.0, 1e308])
def test_images_without_contrast_are_shown_white(detected, fill):
    detected.data[:] = fill
    detected.mask = np.ones(detected.shape, bool)
    _, pixels, _ = picture(detected)
    assert (pixels[~detected.cr_mask] == 1).all()
    assert (pixels[detected.cr_mask] != 1).any()


def test_without_matplotlib_a_notebook_shows_the_line(detected, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.image", None)
    assert detected._repr_html_() == f"<code>{html.escape(repr(detected))}</code>"
