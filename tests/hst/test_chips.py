import gzip
import pickle

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.nddata import CCDData, StdDevUncertainty
from astropy.utils.exceptions import AstropyUserWarning
from numpy.testing import assert_allclose, assert_array_equal

from cosmiq_astro import CosmicRayCCDData, CosmicRayDetector
from cosmiq_astro.hst import detect_file, find_chips, plan_file, read_chip


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


@pytest.mark.parametrize("clean", [None, "medmask"])
@pytest.mark.parametrize("is_hst", [False, True])
def test_axes_of_length_one(make_file, tmp_path, tiny_unet, is_hst, clean):
    """``NAXIS3 = 1`` is still one image, of which the planes are."""
    file, cube, out = make_file(), tmp_path / "cube.fits", tmp_path / "out.fits"
    with fits.open(file) as hdus:
        if not is_hst:
            hdus = fits.HDUList([fits.PrimaryHDU(hdus["SCI"].data, hdus["SCI"].header)])
            hdus[0].header.remove("EXTNAME")
        shape = hdus[-1].shape
        flat = tmp_path / "flat.fits"
        hdus.writeto(flat)
        for hdu in hdus:
            if hdu.data is not None and hdu.is_image:
                hdu.data = hdu.data.reshape(1, 1, *shape)
        hdus.writeto(cube)
    ccd, expected = read_chip(cube), read_chip(flat)
    assert ccd.shape == shape
    assert_array_equal(ccd.data, expected.data)
    assert (ccd.wcs is None) == (expected.wcs is None)
    probability = CosmicRayDetector(tiny_unet)(expected.data, expected.mask).probability
    settings = {"model": tiny_unet, "threshold": np.quantile(probability, 0.98), "clean": clean}
    found = detect_file(cube, out, gain=1.0, overwrite=True, **settings)
    assert found.n_pixels_flagged > 0
    again = read_chip(out)
    assert again.cr_mask.shape == shape
    if clean is None:
        # Once more, on its own output.
        assert detect_file(out, tmp_path / "b.fits", gain=1.0, overwrite=True, **settings).n_hits
    with fits.open(out) as hdus:
        assert hdus["SCI" if is_hst else 0].shape == (1, 1, *shape)


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


def ground_file(path, images, *, masks=(), extra=()):
    """Write images without a SCI among them, as a camera of several chips does."""
    hdus = [fits.PrimaryHDU(header=fits.Header({"GAIN": 2.0, "EXPTIME": 60.0}))]
    for number, image in enumerate(images, start=1):
        hdus.append(fits.ImageHDU(image, name=f"CCD{number}"))
    for number, mask in enumerate(masks, start=1):
        hdus.append(fits.ImageHDU(mask, name=f"BPM{number}"))
    hdus += [fits.ImageHDU(data, name=name) for name, data in extra]
    fits.HDUList(hdus).writeto(path)
    return path


def test_all_images_of_a_ground_file_are_searched(make_image, lively_vi, tmp_path):
    bad = np.zeros((2, 40, 56), np.int16)
    bad[0, 3, 4], bad[1, 7, 8] = 2, 64
    images = [make_image(1), make_image(2)]
    extra = [("WEIGHT1", images[0]), ("GUIDER", np.ones((9, 9), "f4"))]
    file = ground_file(tmp_path / "night.fits", images, masks=bad, extra=extra)
    plan = plan_file(file)
    assert [chip.chip.extver for chip in plan.chips] == [1, 2]
    assert plan.chips[0].readout.gain == 2
    assert "WEIGHT1 (HDU 5, shape (40, 56)), GUIDER (HDU 6, shape (9, 9))" in plan.notes[0]
    assert "the gain, 2 electrons per adu, is that of the header" in plan.notes[1]
    np.testing.assert_array_equal(read_chip(file, 1).mask, bad[0] != 0)
    np.testing.assert_array_equal(read_chip(file, 2).mask, bad[1] != 0)
    with pytest.warns(AstropyUserWarning) as caught:
        out = detect_file(file, model=lively_vi, T=2, seed=1).file_out
    assert {plan.notes[0], plan.notes[1]} <= {str(warning.message) for warning in caught}
    with fits.open(out) as hdus:
        for extver in (1, 2):
            hits = hdus["CRVIMASK", extver].data != 0
            assert hits.any()
            np.testing.assert_array_equal(hdus[f"BPM{extver}"].data, bad[extver - 1])
            expected = hits | (bad[extver - 1] != 0)
            np.testing.assert_array_equal(hdus["MASK", extver].data != 0, expected)
    again = read_chip(out, 2)
    np.testing.assert_array_equal(again.mask & ~again.cr_mask, bad[1] != 0)


@pytest.mark.parametrize("name", ["MASK", "BPM", "DQ"])
def test_masks_of_simple_images_by_name(tmp_path, name):
    mask = np.zeros((9, 8), np.uint8)
    mask[2, 3] = 4
    hdus = [fits.PrimaryHDU(np.ones((9, 8))), fits.ImageHDU(mask, name=name)]
    fits.HDUList(hdus).writeto(tmp_path / "a.fits")
    ccd = read_chip(tmp_path / "a.fits")
    np.testing.assert_array_equal(ccd.mask, mask != 0)
    assert not plan_file(tmp_path / "a.fits", gain=1).notes


@pytest.mark.parametrize(
    ("cards", "message"),
    [
        ({}, "do not tell the gain: give"),
        ({"GAIN": 120.0}, r"gain \(GAIN is 120.0: no electrons per count\)"),
        ({"GAIN": -1.0}, r"gain \(GAIN is -1.0"),
        ({"GAIN": "high"}, r"gain \(GAIN is 'high'"),
    ],
)
def test_why_a_gain_is_not_believed(tmp_path, cards, message):
    fits.PrimaryHDU(np.ones((9, 8)), fits.Header(cards)).writeto(tmp_path / "a.fits")
    with pytest.raises(ValueError, match=message):
        plan_file(tmp_path / "a.fits")


def test_egain_comes_before_a_setting(tmp_path):
    header = fits.Header({"GAIN": 120, "EGAIN": 0.8})
    fits.PrimaryHDU(np.ones((9, 8)), header).writeto(tmp_path / "a.fits")
    assert plan_file(tmp_path / "a.fits").chips[0].readout.gain == 0.8
    assert plan_file(tmp_path / "a.fits", gain=3.0).chips[0].readout.gain == 3


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("e-", "electron"), ("e", "electron"), ("e-/s", "electron/s"), ("e/s", "electron/s"),
        ("electron s-1", "electron/s"), ("Electrons/sec", "electron/s"), ("DN", "adu"),
        ("dn/s", "adu/s"), ("counts", "adu"), ("electron s**-1", "electron/s"),
    ],
)  # fmt: skip
def test_plain_names_of_units(tmp_path, text, unit):
    header = fits.Header({"BUNIT": text, "EXPTIME": 9.0, "GAIN": 1.5})
    fits.PrimaryHDU(np.ones((9, 8)), header).writeto(tmp_path / "a.fits")
    assert read_chip(tmp_path / "a.fits").unit == u.Unit(unit)
    assert plan_file(tmp_path / "a.fits").chips[0].unit == u.Unit(unit)
    for given in ("electron", u.electron):
        assert read_chip(tmp_path / "a.fits", unit=given).unit == u.electron
        assert plan_file(tmp_path / "a.fits", unit=given).chips[0].unit == u.electron


@pytest.mark.parametrize(
    ("instrument", "shape", "first"),
    [
        ({"INSTRUME": "ACS", "DETECTOR": "HRC"}, (1044, 1062), (0, 19)),
        ({"INSTRUME": "STIS", "DETECTOR": "CCD"}, (1044, 1062), (20, 19)),
    ],
)
def test_the_overscan_of_raw_frames_is_masked(tmp_path, instrument, shape, first):
    primary = fits.PrimaryHDU(header=fits.Header(instrument | {"BLEVCORR": "PERFORM"}))
    sci = fits.ImageHDU(np.ones(shape, "f4"), name="SCI")
    sci.header["LTV2"], sci.header["LTV1"] = map(float, first)
    fits.HDUList([primary, sci]).writeto(tmp_path / "raw.fits")
    mask = read_chip(tmp_path / "raw.fits").mask
    y, x = first
    assert not mask[y : y + 1024, x : x + 1024].any()
    assert mask.sum() == mask.size - 1024**2
    primary.header["BLEVCORR"] = "COMPLETE"
    fits.HDUList([primary, sci]).writeto(tmp_path / "flt.fits")
    assert read_chip(tmp_path / "flt.fits").mask is None
