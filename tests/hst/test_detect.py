import dataclasses
import json

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.nddata import CCDData
from astropy.utils.exceptions import AstropyUserWarning
from numpy.testing import assert_allclose, assert_array_equal
from scipy import ndimage

import cosmiq_astro as ca
from cosmiq_astro.hst import detect_file, output, plan_file, read_chip
from cosmiq_astro.page.binding import FORMAT
from cosmiq_astro.review import apply_edits, exposure_digest

PLANES = ("CRVIMASK", "CRPROB", "CRSTD", "CRENT", "CRMI")


@pytest.fixture
def detect(lively_vi):
    """Run `detect_file` with a tiny model and few draws."""

    def run(file_in, file_out=None, **kwargs):
        return detect_file(file_in, file_out, **{"model": lively_vi, "T": 2, "seed": 3, **kwargs})

    return run


def flagged(file, extver=1):
    with fits.open(file) as hdus:
        return hdus["CRVIMASK", extver].data != 0


def test_copy_keeps_everything_and_adds_the_planes(make_file, detect):
    table = fits.BinTableHDU.from_columns(
        [fits.Column("a", "E", array=np.arange(3.0))], name="HDRLET"
    )
    file = make_file(extra=[table])
    before = file.read_bytes()
    result = detect(file)
    assert file.read_bytes() == before
    assert result.file_out == file.with_name("jtest_flc_crvi.fits")
    # Checksums that do not agree would warn.
    with fits.open(file) as old, fits.open(result.file_out, checksum=True) as new:
        new.verify("exception")
        names = [(hdu.name, hdu.ver) for hdu in new]
        triplets = [(name, n) for n in (1, 2) for name in ("SCI", "ERR", "DQ")]
        planes = [(name, n) for n in (1, 2) for name in PLANES]
        assert names == [("PRIMARY", 1), *triplets, *planes, ("HDRLET", 1)]
        assert new[0].header["NEXTEND"] == 17
        for hdu in old:
            copied = new[hdu.name, hdu.ver]
            for card in hdu.header.cards:
                if card.keyword not in ("NEXTEND", "NAXIS1", "NAXIS2", "NAXIS", "BITPIX"):
                    assert card.value in np.atleast_1d(copied.header[card.keyword])
            if hdu.name in ("SCI", "ERR", "HDRLET"):
                assert_array_equal(copied.data, hdu.data)
        assert "/ EXPOSURE INFORMATION" in new[0].header[""]
    with fits.open(result.file_out, disable_image_compression=True) as stored:
        assert all("CHECKSUM" in hdu.header and "DATASUM" in hdu.header for hdu in stored)


def test_planes_of_floats_are_stored_exactly_in_whole_steps(make_file, detect):
    file = make_file()
    with fits.open(file, mode="update") as hdus:
        hdus["SCI", 1].data[5:9] = np.nan
    out = detect(file).file_out
    with fits.open(out, disable_image_compression=True) as stored, fits.open(out) as hdus:
        for name in ("CRPROB", "CRSTD", "CRENT", "CRMI"):
            header, plane = stored[name, 1].header, hdus[name, 1].data
            assert (header["ZCMPTYPE"], header["ZBITPIX"]) == ("RICE_1", -32)
            assert plane.dtype.kind == "f"
            assert_array_equal(np.isnan(plane).all(axis=1).nonzero()[0], [5, 6, 7, 8])
            steps = plane[np.isfinite(plane)] * 2.0**20
            assert_array_equal(steps, np.round(steps))
            assert 0 <= steps.min() < steps.max() <= 2**20


def test_planes_are_those_of_the_verb(make_file, detect, lively_vi):
    file = make_file()
    result = detect(file)
    for extver in (1, 2):
        ccd = read_chip(file, extver)
        known = ca.hst.readout(ccd.meta)
        expected = ca.cosmicray_vi(
            ccd, T=2, model=lively_vi, seed=3, readnoise=known.readnoise, satlevel=known.satlevel
        )
        got = read_chip(result.file_out, extver)
        assert_array_equal(got.cr_mask, expected.cr_mask)
        assert_array_equal(got.mask, expected.mask)
        for name in ("cr_probability", "cr_uncertainty", "cr_entropy", "cr_mutual_information"):
            plane = getattr(got, name)
            assert plane.dtype == np.float32
            assert_allclose(plane, getattr(expected, name), rtol=0, atol=5e-7)
        assert got.cr_entropy.max() <= np.float32(np.log(2))
        assert_array_equal(got.wcs.wcs.crpix, ccd.wcs.wcs.crpix)
    with fits.open(result.file_out) as hdus:
        assert hdus["CRVIMASK", 2].data.dtype == np.uint8
        assert hdus["CRPROB", 2].header["CRPIX1"] == 22
        assert hdus["CRENT", 1].header["BUNIT"] == "nat"


def test_dq_is_ored_with_the_default_bit(make_file, detect):
    file = make_file()
    out = detect(file).file_out
    with fits.open(file) as old, fits.open(out) as new:
        for extver in (1, 2):
            expected = old["DQ", extver].data | np.where(flagged(out, extver), 16384, 0)
            assert_array_equal(new["DQ", extver].data, expected)
            assert new["DQ", extver].data.dtype == old["DQ", extver].data.dtype
            assert new["SCI", extver].header["CRVIDQ"] == 16384


def test_dq_left_alone(make_file, detect):
    file = make_file()
    out = detect(file, dq_bit=None).file_out
    with fits.open(file) as old, fits.open(out) as new:
        assert_array_equal(new["DQ", 1].data, old["DQ", 1].data)
        assert new["SCI", 1].header["CRVIDQ"] == 0


def test_astrodrizzles_bit_comes_with_advice(make_file, detect):
    file = make_file()
    with pytest.warns(AstropyUserWarning, match="run AstroDrizzle with resetbits=0"):
        out = detect(file, dq_bit=4096).file_out
    with fits.open(out) as new:
        assert np.all(new["DQ", 1].data[flagged(out)] & 4096)


def test_impossible_bit(make_file, detect):
    with pytest.raises(ValueError, match="dq_bit must be None or one of 4096, 8192, 16384, got 2"):
        detect(make_file(), dq_bit=2)


def test_cards_history_and_counts(make_file, detect, lively_vi):
    result = detect(make_file(), threshold=0.33)
    with fits.open(result.file_out) as hdus:
        for chip in result.chips:
            header = hdus["SCI", chip.extver].header
            mask = flagged(result.file_out, chip.extver)
            n_hits = ndimage.label(mask, np.ones((3, 3)))[1]
            assert header["CRVIMODL"] == lively_vi.name
            assert (header["CRVIT"], header["CRVISEED"], header["CRVITHR"]) == (2, 3, 0.33)
            assert header["CRVINPIX"] == chip.n_pixels_flagged == mask.sum() > 0
            assert header["CRVINHIT"] == chip.n_hits == n_hits
            # 40×56 pixels less the seven that are hidden, of 15 µm, in 500 s.
            searched = 40 * 56 - 7
            assert chip.n_pixels == searched
            expected = n_hits / (searched * (15e-4) ** 2 * 500)
            assert_allclose(chip.hit_rate.to_value("cm-2 s-1"), expected)
            assert_allclose(header["CRVIRATE"], expected, rtol=1e-9)
            assert header["CRVINUSE"] == searched
            assert not {"CRMASK", "CRCORR", "CRTHRESH", "CRRADIUS", "CRSIGMAS"} & set(header)
        history = "".join(hdus[0].header["HISTORY"])
    for extver in (1, 2):
        assert f"SCI,{extver}" in history
    assert "seed 3" in history
    assert result.n_pixels_flagged == sum(chip.n_pixels_flagged for chip in result.chips)
    assert_allclose(
        result.hit_rate.to_value("cm-2 s-1"),
        np.mean([chip.hit_rate.to_value("cm-2 s-1") for chip in result.chips]),
    )
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.seed = 5


def test_binned_pixels_are_larger(make_file):
    plan = plan_file(make_file("o_flt.fits", "STIS/CCD", bunit="COUNTS"))
    assert plan.chips[0].pixel_area == 2 * (21 * u.um) ** 2
    assert plan.chips[0].readout.gain == 1.0


def test_one_seed_for_all_chips_is_chosen_and_kept(make_file, make_image, detect):
    file = make_file(images=[make_image(1), make_image(1)])
    result = detect(file, seed=None)
    with fits.open(result.file_out) as hdus:
        seeds = {hdus["SCI", n].header["CRVISEED"] for n in (1, 2)}
    assert seeds == {result.seed}
    again = detect(file, file.with_name("again.fits"), seed=result.seed)
    assert_array_equal(
        read_chip(again.file_out, 2).cr_probability, read_chip(result.file_out, 2).cr_probability
    )


def test_baseline_by_folder(make_file, tiny_unet, tmp_path):
    from cosmiq_astro.models.model import save_model

    folder = save_model(tiny_unet, tmp_path / "model", card="A test.")
    result = detect_file(make_file(), model=folder, T=5, seed=7)
    assert result.T == 1
    with fits.open(result.file_out) as hdus:
        assert {hdu.header["CRVISEED"] for hdu in hdus if hdu.name == "SCI"} == {7}
        assert len(hdus["SCI"].header["CRVISHA"]) == 16
        assert not hdus["CRSTD"].data.any()


def test_rates_are_converted(make_file, make_image, detect):
    counts = detect(make_file(), clean="medmask")
    images = [make_image(n) / 500 for n in (1, 2)]
    rates = detect(make_file("r.fits", bunit="ELECTRONS/S", images=images), clean="medmask")
    one, other = read_chip(counts.file_out, 2), read_chip(rates.file_out, 2)
    assert other.unit == u.electron / u.s
    assert_allclose(other.cr_probability, one.cr_probability, atol=2e-3)
    same = one.cr_mask & other.cr_mask
    assert same.any()
    assert_allclose(other.data[same] * 500, one.data[same], rtol=1e-4)


def test_counts_take_the_gain_of_their_amplifiers(make_file, make_image, detect):
    gains = (2.1, 2.0)
    images = [make_image(n) / gain for n, gain in zip((1, 2), gains, strict=True)]
    one = detect(make_file())
    other = detect(make_file("c.fits", bunit="COUNTS", images=images))
    for extver in (1, 2):
        assert_allclose(
            read_chip(other.file_out, extver).cr_probability,
            read_chip(one.file_out, extver).cr_probability,
            atol=2e-3,
        )


def test_given_levels_win(make_file):
    chip = plan_file(make_file(), readnoise=9.0, satlevel=100.0, exposure_time=7.0).chips[0]
    assert (chip.readout.readnoise, chip.readout.satlevel, chip.exposure_time) == (9, 100, 7)


def test_xposure_stands_in_for_a_missing_exposure_time(make_file, detect):
    with_exptime = detect(make_file()).hit_rate
    file = make_file("x_flc.fits")
    fits.setval(file, "XPOSURE", value=250.0)
    assert plan_file(file).chips[0].exposure_time == 500
    fits.delval(file, "EXPTIME")
    assert_allclose(detect(file).hit_rate.value, 2 * with_exptime.value)


def test_clean_changes_flagged_pixels_only(make_file, detect):
    file = make_file()
    out = detect(file, clean="medmask").file_out
    with fits.open(file) as old, fits.open(out) as new:
        for extver in (1, 2):
            mask = flagged(out, extver)
            before, after = old["SCI", extver].data, new["SCI", extver].data
            assert_array_equal(after[~mask], before[~mask])
            assert np.any(after[mask] != before[mask])
            assert after.dtype == before.dtype
            assert new["SCI", extver].header["BUNIT"] == "ELECTRONS"
            assert new["SCI", extver].header["CRVICLN"] == "medmask"
            assert_array_equal(new["ERR", extver].data, old["ERR", extver].data)


@pytest.mark.filterwarnings("ignore:the image is raw")
def test_clean_keeps_unsigned_integers(make_file, make_image, detect):
    image = (make_image(1) + 1000).astype(np.uint16)
    file = make_file("raw.fits", bunit="COUNTS", images=[image], BLEVCORR="PERFORM")
    out = detect(file, clean="median").file_out
    with fits.open(out, checksum=True) as hdus:
        mask = hdus["CRVIMASK"].data != 0
        assert hdus["SCI"].data.dtype == np.uint16
        assert_array_equal(hdus["SCI"].data[~mask], image[~mask])
        assert np.any(hdus["SCI"].data[mask] != image[mask])


def test_uncleaned_scaled_integers_are_copied_bit_by_bit(make_file, make_image, detect):
    image = (make_image(1) + 1000).astype(np.uint16)
    file = make_file(bunit="COUNTS", images=[image])
    out = detect(file).file_out
    with (
        fits.open(file, do_not_scale_image_data=True) as old,
        fits.open(out, do_not_scale_image_data=True, checksum=True) as new,
    ):
        assert_array_equal(new["SCI"].data, old["SCI"].data)
        assert new["SCI"].header["BZERO"] == 32768


def test_nothing_is_overwritten_unasked(make_file, detect):
    file = make_file()
    out = file.with_name("jtest_flc_crvi.fits")
    out.write_text("mine")
    with pytest.raises(FileExistsError, match=r"jtest_flc_crvi\.fits exists already"):
        detect(file)
    assert out.read_text() == "mine"
    detect(file, overwrite=True)
    assert flagged(out).any()


def test_the_input_is_not_taken_for_the_output(make_file, detect):
    file = make_file()
    with pytest.raises(ValueError, match="is the input itself; name another file, or set in_place"):
        detect(file, file, overwrite=True)
    with pytest.raises(ValueError, match="set in_place or give file_out"):
        detect(file, file, in_place=True)
    with pytest.raises(FileExistsError):
        detect(file, file / "out.fits")
    out = file.parent / "new" / "folder" / "out.fits"
    assert detect(file, out).file_out == out
    assert out.is_file()


def test_in_place(make_file, detect):
    file, copy = make_file(), make_file("copy.fits")
    assert detect(file, in_place=True).file_out == file
    assert_array_equal(flagged(file), flagged(detect(copy).file_out))
    assert {path.name for path in file.parent.iterdir()} == {
        "jtest_flc.fits",
        "copy.fits",
        "copy_crvi.fits",
    }


def test_failed_write_leaves_no_trace(make_file, detect, monkeypatch):
    file = make_file()
    before = file.read_bytes()

    def fail(hdus, path):
        path.write_bytes(b"half a file")
        raise OSError("disk full")

    monkeypatch.setattr(output, "_write", fail)
    with pytest.raises(OSError, match="disk full"):
        detect(file)
    with pytest.raises(OSError, match="disk full"):
        detect(file, in_place=True)
    assert file.read_bytes() == before
    assert list(file.parent.iterdir()) == [file]


def test_processed_input_is_refused_or_done_afresh(make_file, detect):
    file = make_file()
    first = detect(file, threshold=0.28).file_out
    with pytest.raises(FileExistsError, match=r"holds a detection already \(CRVIMASK,1\)"):
        detect(first)
    again = detect(first, file.with_name("again.fits"), threshold=0.33, overwrite=True).file_out
    afresh = detect(file, file.with_name("afresh.fits"), threshold=0.33).file_out
    with fits.open(again, checksum=True) as one, fits.open(afresh) as other:
        assert [(hdu.name, hdu.ver) for hdu in one] == [(hdu.name, hdu.ver) for hdu in other]
        assert one[0].header["NEXTEND"] == other[0].header["NEXTEND"]
        for extver in (1, 2):
            for name in ("SCI", "DQ", "CRVIMASK", "CRPROB"):
                assert_array_equal(one[name, extver].data, other[name, extver].data)
            assert one["SCI", extver].header["CRVITHR"] == 0.33
            assert one["SCI", extver].header.count("CRVITHR") == 1


def test_the_earlier_bit_is_cleared(make_file, detect):
    file = make_file()
    detect(file, in_place=True)
    with pytest.warns(AstropyUserWarning, match="resetbits=0"):
        detect(file, in_place=True, overwrite=True, dq_bit=4096)
    with fits.open(file) as hdus:
        dq, mask = hdus["DQ"].data, hdus["CRVIMASK"].data != 0
    assert np.all(dq[mask] & 4096)
    assert not np.any(dq[mask] & 16384)


def test_cleaned_input_is_refused(make_file, detect):
    out = detect(make_file(), clean="idw").file_out
    with pytest.raises(ValueError, match="replaced the flagged pixels; start from the original"):
        detect(out, overwrite=True)


def test_one_chip_only(make_file, detect):
    file = make_file()
    result = detect(file, extver=[2], planes=["mi"])
    assert [chip.extver for chip in result.chips] == [2]
    with fits.open(file) as old, fits.open(result.file_out) as new:
        assert [(hdu.name, hdu.ver) for hdu in new[7:]] == [("CRVIMASK", 2), ("CRMI", 2)]
        assert_array_equal(new["DQ", 1].data, old["DQ", 1].data)
    with pytest.raises(ValueError, match=r"none of the chips asked for, extver \[3\]"):
        detect(file, file.with_name("new.fits"), extver=[3])
    with pytest.raises(ValueError, match=r"planes can be prob, std, ent, mi; got \['p'\]"):
        detect(file, file.with_name("new.fits"), planes=["p"])


def test_null_arrays_are_copied_through(make_file, detect):
    file = make_file()
    null = fits.Header({"PIXVALUE": 0.0, "NPIX1": 56, "NPIX2": 40})
    with fits.open(file, mode="update") as hdus:
        hdus["DQ", 1] = fits.ImageHDU(header=null, name="DQ", ver=1)
        hdus["SCI", 2] = fits.ImageHDU(header=null, name="SCI", ver=2)
    result = detect(file)
    assert [chip.extver for chip in result.chips] == [1]
    with fits.open(result.file_out, checksum=True) as hdus:
        for key in (("DQ", 1), ("SCI", 2)):
            assert hdus[key].data is None
            assert hdus[key].header["NPIX1"] == 56
        assert hdus["SCI", 1].header["CRVIDQ"] == 0
        assert hdus["CRVIMASK", 1].data.any()


@pytest.mark.parametrize("clean", [None, "medmask"])
def test_compressed_input(make_file, detect, clean):
    plain = make_file()
    file = plain.with_name("packed.fits.fz")
    with fits.open(plain) as hdus:
        for n in range(1, len(hdus)):
            options = {"compression_type": "RICE_1", "quantize_level": -0.1, "dither_seed": 1}
            hdus[n] = fits.CompImageHDU(hdus[n].data, hdus[n].header, **options)
        hdus.writeto(file)
    out = detect(file, clean=clean).file_out
    assert out.name == "packed_crvi.fits"
    with fits.open(file) as old, fits.open(out, checksum=True) as new:
        mask = new["CRVIMASK"].data != 0
        if clean:
            assert np.any(new["SCI"].data[mask] != old["SCI"].data[mask])
        assert_array_equal(new["SCI"].data[~mask], old["SCI"].data[~mask])
        assert_array_equal(new["ERR"].data, old["ERR"].data)
        assert_array_equal(new["DQ"].data, old["DQ"].data | np.where(mask, 16384, 0))
        assert isinstance(new["DQ"], fits.CompImageHDU)


def test_wfpc2_bits_go_into_a_copy_of_the_dq_file(make_file, make_image, detect):
    images = [make_image(i) for i in range(4)]
    file = make_file("u1_c0m.fits", "WFPC2", bunit="COUNTS", images=images)
    with fits.open(file, mode="update") as hdus:
        quality = [hdus["DQ", n].copy() for n in (1, 2, 3, 4)]
        for n in (1, 2, 3, 4):
            del hdus["DQ", n]
    for hdu in quality:
        hdu.name = "SCI"
    beside = file.with_name("u1_c1m.fits")
    fits.HDUList([fits.PrimaryHDU(), *quality]).writeto(beside)
    before = beside.read_bytes()
    out = detect(file).file_out
    assert beside.read_bytes() == before
    with fits.open(beside) as old, fits.open(file.with_name("u1_c1m_crvi.fits")) as new:
        for n in (1, 2, 3, 4):
            expected = old["SCI", n].data | np.where(flagged(out, n), 16384, 0)
            assert_array_equal(new["SCI", n].data, expected)
    # So do those of a person.
    ccd = read_chip(out, 1)
    y, x = np.argwhere(ccd.cr_mask)[0].tolist()
    facts = {"format": FORMAT, "extver": 1, "shape": ccd.shape, "threshold": 0.3, "complete": False}
    facts |= {"exposure": exposure_digest(ccd.data), "mask": exposure_digest(ccd.cr_mask)}
    facts |= {"added": [], "removed": [[y, x, 1]], "confirmed": [], "unsure": []}
    edits = file.with_name("edits.json")
    edits.write_text(json.dumps(facts))
    apply_edits(edits, out, file.with_name("u2_c0m.fits"))
    with fits.open(file.with_name("u2_c1m.fits")) as new:
        assert not new["SCI", 1].data[y, x] & 16384
        assert new["SCI", 2].data[flagged(out, 2)].min() & 16384


def waivered(path, images, dtype, unit):
    """Write a cube with a table of group parameters, as WFPC2's older files are."""
    primary = fits.PrimaryHDU(np.array(images).astype(dtype))
    primary.header.update(INSTRUME="WFPC2", ATODGAIN=7.0, EXPTIME=500.0, BUNIT=unit, SDASMGNU=4)
    columns = [
        fits.Column("DETECTOR", "J", array=[1, 2, 3, 4]),
        fits.Column("CRVAL1", "D", array=[6.0, 6.1, 6.2, 6.3]),
        fits.Column("CTYPE1", "A8", array=["RA---TAN"] * 4),
        fits.Column("CTYPE2", "A8", array=["DEC--TAN"] * 4),
    ]
    fits.HDUList([primary, fits.TableHDU.from_columns(columns)]).writeto(path)
    return path


def test_wfpc2_cubes_become_extensions(tmp_path, make_image, detect):
    images = [make_image(i) / 7 for i in range(4)]
    bad = np.zeros((4, *images[0].shape))
    bad[2, 5, 7] = 4
    file = waivered(tmp_path / "u1_c0f.fits", images, "f4", "COUNTS")
    waivered(tmp_path / "u1_c1f.fits", bad, "i2", "DN")
    ccd = read_chip(file, 3)
    assert (ccd.unit, ccd.meta["DETECTOR"], ccd.wcs.wcs.crval[0]) == ("adu", 3, 6.2)
    assert_array_equal(np.argwhere(ccd.mask), [[5, 7]])
    before = file.read_bytes()
    result = detect(file)
    assert (result.file_in, result.file_out) == (file, tmp_path / "u1_c0f_crvi.fits")
    assert len(result.chips) == 4
    assert file.read_bytes() == before
    with fits.open(result.file_out, checksum=True) as hdus:
        assert [hdu.name for hdu in hdus][:5] == ["PRIMARY", "SCI", "SCI", "SCI", "SCI"]
        assert_array_equal(hdus["SCI", 2].data, images[1].astype("f4"))
        assert "SDASMGNU" not in hdus[0].header
    with fits.open(tmp_path / "u1_c1f_crvi.fits") as hdus:
        expected = np.where(flagged(result.file_out, 3), 16384, 0)
        assert_array_equal(hdus["SCI", 3].data, expected | bad[2].astype(int))
    assert plan_file(file, overwrite=True).chips[1].readout.gain == 7.12
    with pytest.raises(ValueError, match="is waivered FITS, which has no place for the planes"):
        detect(file, in_place=True)
    with pytest.raises(FileExistsError, match="exists already"):
        detect(file)


def test_simple_image(tmp_path, make_image, detect):
    mask = np.zeros((40, 56), dtype=bool)
    mask[2, 3] = True
    file = tmp_path / "night.fits"
    CCDData(make_image() / 2, unit="adu", mask=mask).write(file)
    with pytest.raises(ValueError, match="in adu and its headers do not tell the gain: give gain"):
        detect(file)
    result = detect(file, gain=2.0, readnoise=5.0)
    assert result.hit_rate is None
    out = ca.CosmicRayCCDData.read(result.file_out)
    assert_array_equal(out.mask, mask | out.cr_mask)
    assert out.cr_mask.any()
    assert not out.cr_mask[2, 3]
    # What was found before neither hides pixels nor stays behind.
    again = detect(result.file_out, tmp_path / "again.fits", gain=2, readnoise=5, overwrite=True)
    assert_array_equal(ca.CosmicRayCCDData.read(again.file_out).mask, out.mask)
    with pytest.raises(ValueError, match="dq_bit is 4096, but a simple image has no DQ"):
        detect(file, tmp_path / "new.fits", gain=2.0, dq_bit=4096)


def test_simple_image_without_mask_gets_one(tmp_path, make_image, detect):
    file = tmp_path / "night.fits"
    fits.PrimaryHDU(make_image(), fits.Header({"BUNIT": "electron"})).writeto(file)
    out = detect(file).file_out
    assert_array_equal(CCDData.read(out).mask, flagged(out))


@pytest.mark.parametrize(
    ("cards", "message"),
    [
        ({"NDRIZIM": 4}, "the image was drizzled: its sky is subtracted"),
        ({"BLEVCORR": "PERFORM"}, "the image is raw: the bias level is still in its pixels"),
        ({"DETECTOR": "SBC"}, "camera ACS/SBC is not one of ACS/WFC, ACS/HRC, "),
    ],
)
def test_unfit_input_is_warned_of(make_file, detect, cards, message):
    with pytest.warns(AstropyUserWarning, match=message):
        detect(make_file(**cards))


def test_unknown_camera_keeps_its_dq(make_file):
    plan = plan_file(make_file("f.fits", "ACS/SBC"))
    assert plan.chips[0].dq_bit is None
    assert plan.chips[0].pixel_area is None


def test_subtracted_sky_is_noticed(make_file, make_image, detect):
    rng = np.random.default_rng(1)
    image = rng.normal(0, 12, (40, 56)).astype(np.float32)
    with pytest.warns(AstropyUserWarning, match="the sky seems to be subtracted"):
        detect(make_file(images=[image]))
    detect(make_file("dark.fits", images=[image / 3]))


def test_an_exposure_outside_the_ranges_is_warned_of(make_file, tiny_vi):
    model = dataclasses.replace(tiny_vi, ranges={"exposure_time": (600, 2000), "readnoise": (3, 6)})
    with pytest.warns(AstropyUserWarning, match="exposure_time is 500, but the model tiny was tra"):
        detect_file(make_file(), model=model, T=2)
    inside = dataclasses.replace(model, ranges={"exposure_time": (10, 2000)})
    detect_file(make_file("b_flc.fits"), model=inside, T=2)


def test_hits_unlike_those_trained_on_are_told_chip_by_chip(make_file, make_image):
    images = [make_image(1), make_image(2)]
    for image in images:
        image[20, 5:17] += 3000
    model = ca.load_model("acs-wfc-unet")
    far = dataclasses.replace(model.familiar_hits, mean=model.familiar_hits.mean + 5)
    far = dataclasses.replace(model, familiar_hits=far)
    with pytest.warns(AstropyUserWarning, match=r"chip [12].*: what was found is unlike") as caught:
        result = detect_file(make_file(images=images), model=far)
    assert {warning.filename for warning in caught} == {__file__}
    assert all(len(chip.doubts) == 1 for chip in result.chips)
    assert set(result.doubts) == {doubt for chip in result.chips for doubt in chip.doubts}
    with fits.open(result.file_out) as hdus:
        for version in (1, 2):
            assert hdus["SCI", version].header["CRVIUNF"] > 1
            assert hdus["SCI", version].header["CRVIFAM"] is False


def test_a_doubt_of_both_chips_is_told_once(make_file, lively_vi):
    model = dataclasses.replace(lively_vi, ranges={"exposure_time": (1, 9)})
    with pytest.warns(AstropyUserWarning, match="chip 1, 2: exposure_time is 500") as caught:
        detect_file(make_file(), model=model, T=2, seed=1)
    assert sum("exposure_time" in str(warning.message) for warning in caught) == 1


@pytest.mark.filterwarnings("ignore:this processor does not compute with bfloat16")
def test_the_precision_of_a_file_is_noted_and_part_of_its_digest(make_file):
    cards = []
    for precision in ("float32", "bfloat16"):
        file = make_file(f"{precision}_flc.fits")
        result = detect_file(file, extver=[1], model="acs-wfc-unet", precision=precision)
        cards.append(fits.getheader(result.file_out, ("SCI", 1)))
    assert [header["CRVIPREC"] for header in cards] == ["float32", "bfloat16"]
    assert cards[0]["CRVIKEY"] != cards[1]["CRVIKEY"]
