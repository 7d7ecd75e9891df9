import copy
import pickle

import ccdproc
import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.nddata import CCDData, Cutout2D, StdDevUncertainty
from astropy.wcs import WCS

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
