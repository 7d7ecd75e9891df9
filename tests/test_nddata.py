import bz2
import copy
import gzip
import io
import pickle

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
