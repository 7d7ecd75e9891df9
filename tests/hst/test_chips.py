import gzip
import pickle

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.nddata import CCDData, StdDevUncertainty
from astropy.utils.exceptions import AstropyUserWarning
from numpy.testing import assert_allclose, assert_array_equal

from cosmiq_astro import CosmicRayCCDData
from cosmiq_astro.hst import find_chips, read_chip


@pytest.mark.parametrize("extver", [1, 2])
def test_everything_is_of_the_same_extver(make_file, make_image, extver):
    ccd = read_chip(make_file(), extver)
    assert_array_equal(ccd.data, make_image(extver))
    assert ccd.data.dtype == np.float32
    assert ccd.data.dtype.isnative
    assert isinstance(ccd.uncertainty, StdDevUncertainty)
    assert np.all(ccd.uncertainty.array == 8 + extver)
    assert ccd.flags[5, 5] == 4 * extver
    assert ccd.mask[5, 5]
    assert ccd.meta["CCDCHIP"] == 3 - extver
    assert ccd.wcs.wcs.crpix[0] == 20 + extver


def test_header_is_merged_without_structure_and_coordinates(make_file):
    meta = read_chip(make_file()).meta
    assert meta["EXPTIME"] == 500
    assert meta["INSTRUME"] == "ACS"
    for keyword in ("NAXIS", "XTENSION", "EXTNAME", "EXTVER", "NEXTEND", "CRPIX1", "CD1_1", ""):
        assert keyword not in meta


def test_the_chip_has_the_last_word(make_file):
    file = make_file()
    fits.setval(file, "EXPTIME", value=250.0, extname="SCI", extver=2)
    assert read_chip(file, 1).meta["EXPTIME"] == 500
    assert read_chip(file, 2).meta["EXPTIME"] == 250


def test_result_can_be_sliced_written_and_read(make_file, tmp_path):
    ccd = read_chip(make_file())[3:20, 4:30]
    ccd.write(tmp_path / "cut.fits")
    back = CCDData.read(tmp_path / "cut.fits")
    assert_array_equal(back.data, ccd.data)
    here, there = ccd.wcs.pixel_to_world_values(3, 4), back.wcs.pixel_to_world_values(3, 4)
    assert_allclose(here, there)
    assert_array_equal(pickle.loads(pickle.dumps(ccd)).mask, ccd.mask)


def test_acs_bits_that_hide_a_pixel(make_file):
    hidden = read_chip(make_file()).mask[0, :15]
    assert {2**n for n in range(15) if hidden[n]} == {1, 2, 4, 8, 128, 512}


def test_dq_ignore(make_file):
    hidden = read_chip(make_file(), dq_ignore=512 | 4).mask[0, :15]
    assert {2**n for n in range(15) if hidden[n]} == {1, 2, 8, 128}


@pytest.mark.parametrize(
    ("bunit", "unit"),
    [
        ("ELECTRONS", u.electron),
        ("ELECTRONS/S", u.electron / u.s),
        ("COUNTS", u.adu),
        ("COUNTS/S", u.adu / u.s),
        ("DN", u.adu),
        ("electron", u.electron),
        ("adu / s", u.adu / u.s),
        ("", u.adu),
    ],
)
def test_units(make_file, bunit, unit):
    assert read_chip(make_file(bunit=bunit)).unit == unit


def test_unknown_unit(make_file):
    with pytest.raises(ValueError, match="BUNIT is 'furlongs', which is not understood"):
        read_chip(make_file(bunit="furlongs"))


def test_missing_chip(make_file):
    with pytest.raises(ValueError, match=r"no chip with extver 3; it has 1, 2"):
        read_chip(make_file(), 3)


def test_no_image(tmp_path):
    file = tmp_path / "cube.fits"
    fits.PrimaryHDU(np.zeros((2, 3, 4))).writeto(file)
    with pytest.raises(ValueError, match=r"neither a SCI .* shapes seen: \[\(2, 3, 4\)\]"):
        read_chip(file)


def test_null_arrays(make_file):
    file = make_file()
    with fits.open(file, mode="update") as hdus:
        for name in ("ERR", "DQ"):
            hdus[name, 1] = fits.ImageHDU(header=fits.Header({"PIXVALUE": 0.0}), name=name, ver=1)
        hdus["SCI", 2] = fits.ImageHDU(name="SCI", ver=2)
    ccd = read_chip(file, 1)
    assert ccd.mask is None
    assert ccd.uncertainty is None
    with fits.open(file) as hdus:
        assert [chip.extver for chip in find_chips(file, hdus)] == [1]


@pytest.mark.parametrize("ending", [".gz", ".fz"])
def test_compressed_files(make_file, tmp_path, ending):
    plain = make_file()
    file = tmp_path / f"packed.fits{ending}"
    if ending == ".gz":
        file.write_bytes(gzip.compress(plain.read_bytes()))
    else:
        with fits.open(plain) as hdus:
            for n in range(1, len(hdus)):
                hdus[n] = fits.CompImageHDU(
                    hdus[n].data, hdus[n].header, compression_type="GZIP_2", quantize_level=0
                )
            hdus.writeto(file)
    ccd, expected = read_chip(file, 2), read_chip(plain, 2)
    assert_array_equal(ccd.data, expected.data)
    assert_array_equal(ccd.flags, expected.flags)
    assert ccd.unit == u.electron


def test_wrong_shape_of_dq(make_file):
    file = make_file()
    with fits.open(file, mode="update") as hdus:
        hdus["DQ", 1].data = np.zeros((2, 2), dtype=np.int16)
    with pytest.raises(ValueError, match=r"DQ 1 has shape \(2, 2\), SCI has \(40, 56\)"):
        read_chip(file)


def test_wfpc2_takes_dq_from_the_file_beside_it(make_file, make_image):
    images = [make_image(i) for i in range(4)]
    file = make_file("u1_c0m.fits", "WFPC2", bunit="COUNTS", images=images)
    make_file("dq.fits", "WFPC2", images=images)
    with fits.open(file, mode="update") as hdus:
        quality = [hdus["DQ", n].copy() for n in (1, 2, 3, 4)]
        for n in (1, 2, 3, 4):
            del hdus["DQ", n]
    assert read_chip(file, 3).mask is None
    for hdu in quality:
        hdu.name = "SCI"
    fits.HDUList([fits.PrimaryHDU(), *quality]).writeto(file.with_name("u1_c1m.fits"))
    ccd = read_chip(file, 3)
    assert ccd.flags[5, 5] == 12
    assert {2**n for n in range(15) if ccd.mask[0, n]} == {1, 2, 4, 16, 32, 2048}


def test_simple_image_with_mask(tmp_path):
    mask = np.zeros((8, 9), dtype=bool)
    mask[2, 3] = True
    file = tmp_path / "night.fits"
    CCDData(np.arange(72.0).reshape(8, 9), unit="adu", mask=mask).write(file)
    ccd = read_chip(file)
    assert ccd.unit == u.adu
    assert ccd.flags is None
    assert_array_equal(ccd.mask, mask)
    assert not isinstance(ccd, CosmicRayCCDData)


def test_integers_become_floats(tmp_path):
    file = tmp_path / "raw.fits"
    fits.PrimaryHDU(np.full((4, 5), 65000, dtype=np.uint16)).writeto(file)
    data = read_chip(file).data
    assert data.dtype == np.float32
    assert np.all(data == 65000)


def test_broken_coordinates_are_left_out(make_file):
    file = make_file()
    with fits.open(file, mode="update") as hdus:
        hdus["SCI", 1].header["CTYPE2"] = "PIXEL"
    with pytest.warns(AstropyUserWarning, match="coordinates are left out, since .* celestial"):
        assert read_chip(file, 1).wcs is None
