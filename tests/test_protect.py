"""Protected pixels inform their neighbours but are never flagged."""

import logging

import numpy as np
import pytest
from astropy.io import fits
from astropy.nddata import CCDData
from astropy.wcs import WCS

import cosmiq_astro as ca
from cosmiq_astro.cli.main import main
from cosmiq_astro.hst import detect_file, read_chip
from cosmiq_astro.protect import read_protection


def reg(path, *lines, head="image"):
    path.write_text("\n".join(["# Region file format: DS9 version 4.1", head, *lines]) + "\n")
    return path


@pytest.mark.parametrize("growth", [0, 2])
def test_protected_pixels_are_seen_but_never_flagged(frame, tiny_unet, growth, caplog):
    protect = np.zeros(frame.shape, dtype=bool)
    protect[15:26, 55:70] = True
    ccd = CCDData(frame, unit="electron")
    settings = {"model": tiny_unet, "mask_growth": growth}
    plain = ca.cosmicray_unet(ccd, **settings)
    assert plain.cr_mask[protect].any()
    with caplog.at_level(logging.INFO, "cosmiq_astro"):
        out = ca.cosmicray_unet(ccd, **settings, protect=protect)
    assert not out.cr_mask[protect].any()
    np.testing.assert_array_equal(out.cr_probability, plain.cr_probability)
    would_be = int((plain.cr_probability >= tiny_unet.threshold)[protect].sum())
    assert out.meta["CRVINPRO"] == would_be > 0
    assert f"{would_be} protected pixels would have been flagged" in caplog.text
    if not growth:
        np.testing.assert_array_equal(out.cr_mask, plain.cr_mask & ~protect)
    _, mask = ca.cosmicray_unet(frame, **settings, protect=protect)
    np.testing.assert_array_equal(mask, out.cr_mask)


def test_circles_regions_and_arrays_agree(tmp_path):
    shape = (40, 50)
    y, x = np.mgrid[:40, :50]
    expected = ((x - 20) ** 2 + (y - 10) ** 2 <= 16) | ((x - 49) ** 2 + (y - 0) ** 2 <= 4)
    circles = read_protection([(20, 10, 4), (49, 0, 2)])
    np.testing.assert_array_equal(circles.on(shape), expected)
    np.testing.assert_array_equal(read_protection(expected).on(shape), expected)
    pytest.importorskip("regions")
    # DS9 counts from 1. On the rim of the circle itself the two need not agree.
    file = reg(tmp_path / "a.reg", "circle(21,11,4.1)", "circle(50,1,2.1)", "circle(500,1,2)")
    np.testing.assert_array_equal(read_protection(file).on(shape), expected)
    file = reg(tmp_path / "b.reg", "box(21,11,5,5,0)", "-circle(21,11,1.1)")
    pixels = read_protection(str(file)).on(shape)
    assert pixels.sum() == 20
    assert not pixels[10, 20]
    (tmp_path / "c.crtf").write_text("#CRTFv0\ncircle[[20pix, 10pix], 4.1pix]\n")
    pixels = read_protection(tmp_path / "c.crtf").on(shape)
    np.testing.assert_array_equal(pixels[:, :40], expected[:, :40])


def test_regions_on_the_sky_need_coordinates(tmp_path):
    pytest.importorskip("regions")
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
    wcs.wcs.crval, wcs.wcs.crpix, wcs.wcs.cdelt = (10, 20), (21, 11), (-1e-5, 1e-5)
    protection = read_protection(reg(tmp_path / "a.reg", 'circle(10,20,0.144")', head="icrs"))
    pixels = protection.on((40, 50), wcs)
    assert pixels[10, 20]
    assert pixels.sum() == pytest.approx(np.pi * 16, abs=6)
    with pytest.raises(ValueError, match="has no world coordinates"):
        protection.on((40, 50))


def test_what_cannot_be_used_is_refused_before_any_work(tmp_path, frame):
    # No model of this name: the message about protect comes first.
    def detect(protect):
        ca.cosmicray_unet(frame, model="nonesuch", protect=protect)

    with pytest.raises(ValueError, match=r"protect has shape \(3, 3\), the image has \(77, 101\)"):
        detect(np.zeros((3, 3), dtype=bool))
    for wrong in ([(1, 2)], [(1, 2, -1)], [(np.nan, 1, 2)], 7, [[1, 2, 3], [4]], frame):
        with pytest.raises(ValueError, match="protect must be a boolean array"):
            detect(wrong)
    with pytest.raises(FileNotFoundError):
        detect(tmp_path / "none.reg")
    pytest.importorskip("regions")
    (tmp_path / "a.reg").write_bytes(b"\x00\x01 no region")
    with pytest.raises(ValueError, match=r"holds no region|cannot be read"):
        detect(tmp_path / "a.reg")
    with pytest.raises(ValueError, match="which has no pixels inside"):
        detect(reg(tmp_path / "b.reg", "line(1,2,3,4)"))


def test_hst_files_and_the_command_line(tmp_path):
    pytest.importorskip("regions")
    source = ca.data.sample_path()
    model = "acs-wfc-unet"
    detect_file(source, tmp_path / "plain.fits", model=model)
    plain = read_chip(tmp_path / "plain.fits")
    file = reg(tmp_path / "half.reg", "box(128.5,256.5,256,512,0)")
    command = ["detect", str(source), "--model", model, "--protect", str(file), "-q", "-o"]
    assert main([*command, str(tmp_path / "out.fits")]) == 0
    out = read_chip(tmp_path / "out.fits")
    assert not out.cr_mask[:, :256].any()
    np.testing.assert_array_equal(out.cr_mask[:, 256:], plain.cr_mask[:, 256:])
    assert out.meta["CRVINPRO"] == plain.cr_mask[:, :256].sum() > 0
    # Another region file is another run; the same one is done already.
    assert main([*command, str(tmp_path / "out.fits"), "--resume", "--json"]) == 0
    key = fits.getval(tmp_path / "out.fits", "CRVIKEY", "SCI")
    reg(file, "circle(10,10,3)")
    assert main([*command, str(tmp_path / "out2.fits")]) == 0
    assert fits.getval(tmp_path / "out2.fits", "CRVIKEY", "SCI") != key
