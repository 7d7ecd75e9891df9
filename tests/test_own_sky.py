"""Backgrounds, noises and signs of one's own, and spectra."""

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.nddata import CCDData, InverseVariance, StdDevUncertainty, VarianceUncertainty
from astropy.utils.exceptions import AstropyUserWarning
from scipy.ndimage import binary_dilation

import cosmiq_astro as ca
from cosmiq_astro.cli.main import main
from cosmiq_astro.flatten import flatten, noise_variance
from cosmiq_astro.own_sky import OwnSky
from cosmiq_astro.preprocess import estimate_statistics
from cosmiq_astro.spectra import spectrum_model

MODEL = "acs-wfc-unet"
# Straight tracks of one brightness are no real hits.
pytestmark = pytest.mark.filterwarnings("ignore:.*what was found is unlike the cosmic rays")


@pytest.fixture(scope="module")
def hits():
    """A sky of 60 electrons, read noise 5, with tracks; and where they are."""
    rng = np.random.default_rng(3)
    truth = np.zeros((128, 128))
    for k in range(12):
        y, x = rng.integers(8, 118, 2)
        for step in range(2 + k % 5):
            truth[y + step * (k % 2), x + step] += 900
    return rng, truth


def observe(rng, background, truth, readnoise=5.0):
    return rng.poisson(background + truth) + rng.normal(0, readnoise, truth.shape)


def test_pixels_of_no_weight_are_masked_without_a_word_of_divisions(hits):
    rng, truth = hits
    weight = np.full(truth.shape, 1 / 85.0)
    weight[40, 50:54] = 0
    image = observe(rng, 60.0, truth)
    image[40, 50:54] += 3000
    ccd = CCDData(image, unit="electron", uncertainty=InverseVariance(weight))
    found = ca.cosmicray_unet(ccd, model=MODEL, uncertainty=True, clean="medmask")
    assert found.cr_mask.any()
    assert not found.cr_mask[40, 50:54].any()
    assert not found.uncertainty.array[40, 50:54].any()
    assert found.uncertainty.array[found.cr_mask].min() > 0


def test_a_constant_background_of_ones_own_changes_nothing(hits):
    rng, truth = hits
    image = observe(rng, 60.0, truth)
    plain = ca.cosmicray_unet(CCDData(image, unit="electron"), model=MODEL, readnoise=5.0)
    own = ca.cosmicray_unet(
        CCDData(image, unit="electron"), model=MODEL, readnoise=5.0, background=60.0
    )
    assert (own.cr_mask != plain.cr_mask).sum() <= 2
    np.testing.assert_allclose(own.cr_probability, plain.cr_probability, atol=0.05)
    # The hits of an earlier detection, now in the mask, are found again.
    again = ca.cosmicray_unet(own, model=MODEL, readnoise=5.0, background=60.0)
    np.testing.assert_array_equal(again.cr_mask, own.cr_mask)


def test_files_have_their_own_noise_and_sign(hits, tmp_path):
    rng, truth = hits
    image = observe(rng, 60.0, truth) - observe(rng, 60.0, np.roll(truth[::-1], 17, axis=1))
    fits.writeto(tmp_path / "a.fits", image)
    keys = set()
    for name, settings in (("b", {}), ("c", {"negative": True}), ("d", {"spectrum": "x"})):
        settings |= {"model": "acs-wfc-unet", "unit": "electron"}
        ca.hst.detect_file(tmp_path / "a.fits", tmp_path / f"{name}.fits", **settings)
        header = fits.getheader(tmp_path / f"{name}.fits")
        keys.add(header["CRVIKEY"])
        assert header.get("CRVINNEG", 0) == 0 or name == "c"
    assert len(keys) == 3
    assert fits.getheader(tmp_path / "c.fits")["CRVINNEG"] > 10
    with pytest.raises(ValueError, match="uncertainty must be None, or True"):
        ca.hst.detect_file(tmp_path / "a.fits", model="acs-wfc-unet", uncertainty=image)
    # The sample has an ERR.
    sample = ca.data.sample_path()
    plain = ca.hst.detect_file(sample, tmp_path / "e.fits", model="acs-wfc-unet")
    own = ca.hst.detect_file(sample, tmp_path / "f.fits", model="acs-wfc-unet", uncertainty=True)
    assert 0 < own.n_pixels_flagged != plain.n_pixels_flagged


def test_a_sky_subtracted_frame_with_its_uncertainty_is_as_good_as_the_original(hits):
    rng, truth = hits
    image = observe(rng, 60.0, truth)
    error = StdDevUncertainty(np.sqrt(np.maximum(image, 0) + 25))
    plain = ca.cosmicray_unet(CCDData(image, unit="electron"), model=MODEL, readnoise=5.0)
    subtracted = CCDData(image - 60, unit="electron", uncertainty=error)
    own = ca.cosmicray_unet(subtracted, model=MODEL, background=0, uncertainty=True)
    assert (own.cr_mask != plain.cr_mask).sum() <= 3
    # Any unit, and an array of standard deviations.
    rate = CCDData((image - 60) / 1000, unit="electron / s", meta={"EXPTIME": 1000.0})
    again = ca.cosmicray_unet(
        rate, model=MODEL, background=0 * u.electron / u.s, uncertainty=error.array / 1000
    )
    np.testing.assert_allclose(again.cr_probability, own.cr_probability, atol=1e-3)
    np.testing.assert_array_equal(subtracted.data, image - 60)


def test_a_sky_subtracted_frame_has_the_noise_that_it_had(hits):
    rng, truth = hits
    image = CCDData(observe(rng, 900.0, truth) - 900, unit="electron")
    noise = np.hypot(30, 5)
    known = [
        {"readnoise": noise},
        {"readnoise": 5.0},
        {"readnoise": 5.0, "background": 0},
        {"background": 0, "uncertainty": np.full(truth.shape, noise)},
    ]
    with pytest.warns(AstropyUserWarning, match="the sky seems to be subtracted"):
        masks = [ca.cosmicray_unet(image, model=MODEL, **each).cr_mask for each in known]
    for mask in masks[1:]:
        assert (mask != masks[0]).sum() <= 4
    # A noise of one's own is taken at its word.
    (pixels, _, levels) = OwnSky(background=0, uncertainty=3.0)._prepare(
        image.data, image, 1, None, {"readnoise": None, "satlevel": None}
    )
    statistics = estimate_statistics(pixels, np.isfinite(pixels), readnoise=levels["readnoise"])
    assert statistics.noise == pytest.approx(3, rel=0.2)


def test_noise_that_varies_is_allowed_for(hits):
    rng, _ = hits
    sigma = np.linspace(4, 60, 128)[None, :] * np.ones((128, 1))
    image = 100 + rng.normal(0, sigma)
    truth = np.zeros(image.shape, dtype=bool)
    truth[8::12, 6::12] = truth[8::12, 7::12] = True
    image += np.where(truth, 15 * sigma, 0)
    ccd = CCDData(image, unit="electron")
    own = ca.cosmicray_unet(ccd, model=MODEL, background=100.0, uncertainty=sigma)
    assert own.cr_mask[:, :64][truth[:, :64]].mean() > 0.9
    assert own.cr_mask[:, 64:][truth[:, 64:]].mean() > 0.9
    # What is flagged beside a hit is its rim: nobody knows how far its charge has spread.
    assert (own.cr_mask & ~binary_dilation(truth, np.ones((3, 3)))).sum() <= 3


def test_hits_of_both_frames_of_a_difference(hits):
    rng, truth = hits
    other = np.roll(truth[::-1], 17, axis=1)
    image = observe(rng, 60.0, truth) - observe(rng, 60.0, other)
    ccd = CCDData(image, unit="electron")
    one = ca.cosmicray_unet(ccd, model=MODEL)
    both = ca.cosmicray_unet(ccd, model=MODEL, negative=True)
    assert one.cr_mask[truth > other + 500].mean() > 0.9
    assert one.cr_mask[other > truth + 500].mean() < 0.1
    assert both.cr_mask[truth > other + 500].mean() > 0.9
    assert both.cr_mask[other > truth + 500].mean() > 0.9
    assert both.meta["CRVINNEG"] >= (other > truth + 500).sum() * 0.9
    vi = ca.cosmicray_vi(ccd, 2, model="acs-wfc-vi", negative=True, seed=1)
    assert vi.meta["CRVISEED"] == 1
    assert vi.cr_mask[other > truth + 500].mean() > 0.9


@pytest.mark.filterwarnings("ignore:the sharpest stars")
def test_sky_lines_and_traces_are_no_hits_and_hits_on_them_are_found():
    rng = np.random.default_rng(8)
    y, x = np.mgrid[:160, :200].astype(float)
    scene = np.full(x.shape, 20.0)
    for centre, peak in ((30, 3000), (80, 12000), (141, 800)):
        scene += peak * np.exp(-0.5 * ((x - centre - 0.004 * (y - 80)) / 1.3) ** 2)
    scene += 2000 * np.exp(-0.5 * ((y - 70 - 0.003 * x) / 1.6) ** 2)
    truth = np.zeros(x.shape)
    for k in range(40):
        row, column = rng.integers(5, 150), rng.integers(5, 190)
        truth[row, column : column + 1 + k % 4] += 1500
    # On the brightest line, where plain detection is all but blind.
    truth[[20, 50, 110, 130], 80] += 4000
    image = observe(rng, scene, truth)
    for dispersion in ("x", "y"):
        turned = image if dispersion == "x" else image.T.copy()
        ccd = CCDData(turned, unit="electron")
        out = ca.cosmicray_unet(ccd, model=MODEL, readnoise=5.0, spectrum=dispersion)
        mask = out.cr_mask if dispersion == "x" else out.cr_mask.T
        assert mask[truth > 5 * np.sqrt(scene + 25)].mean() > 0.85
        plain = ca.cosmicray_unet(ccd, model=MODEL, readnoise=5.0).cr_mask
        plain = plain if dispersion == "x" else plain.T
        on = (truth > 5 * np.sqrt(scene + 25)) & (scene > 300)
        assert mask[on].mean() > plain[on].mean() + 0.1
        clean = ~binary_dilation(truth > 0, np.ones((3, 3)))
        assert (mask & clean & (scene > 100)).sum() <= 5


def test_the_model_leaves_hits_and_noise():
    rng = np.random.default_rng(0)
    image = rng.normal(50, 7, (200, 300))
    left = image - spectrum_model(image, np.ones(image.shape, dtype=bool))
    assert left.std() == pytest.approx(7, rel=0.06)
    bad = np.zeros(image.shape, dtype=bool)
    bad[:, 40:44] = True
    image[bad] = 1e6
    assert abs((image - spectrum_model(image, ~bad))[~bad].mean()) < 0.5
    with pytest.raises(ValueError, match="dispersion must be 'x' or 'y'"):
        spectrum_model(image, ~bad, "z")


def test_hits_at_the_border_stay_out_of_the_model():
    """A running median over copies of the last pixel would be that pixel."""
    image = np.full((120, 160), 50.0)
    image[[0, 30, 119], [70, 0, 20]] += 900
    left = image - spectrum_model(image, np.ones(image.shape, dtype=bool))
    np.testing.assert_allclose(left[[0, 30, 119], [70, 0, 20]], 900)


def test_a_background_and_a_noise_from_files(hits, tmp_path, capsys):
    rng, truth = hits
    slope = 20 + 2 * np.arange(128.0) * np.ones((128, 1))
    image = observe(rng, slope, truth)
    error = VarianceUncertainty(image.clip(0) + 25)
    CCDData(image, unit="electron", uncertainty=error).write(tmp_path / "a.fits")
    fits.writeto(tmp_path / "sky.fits", slope)
    settings = {"model": "acs-wfc-unet", "background": tmp_path / "sky.fits", "uncertainty": True}
    ca.hst.detect_file(tmp_path / "a.fits", tmp_path / "b.fits", **settings)
    out = ca.hst.read_chip(tmp_path / "b.fits")
    np.testing.assert_allclose(out.uncertainty.represent_as(VarianceUncertainty).array, error.array)
    expected = ca.cosmicray_unet(
        CCDData(image, unit="electron", uncertainty=error),
        model="acs-wfc-unet", background=slope, uncertainty=True,
    )  # fmt: skip
    assert expected.cr_mask.sum() > 20
    np.testing.assert_array_equal(out.cr_mask, expected.cr_mask)
    command = ["detect", str(tmp_path / "a.fits"), "--model", "acs-wfc-unet", "--use-err"]
    command += ["--background", str(tmp_path / "sky.fits")]
    command += ["--resume", "-o", str(tmp_path / "b.fits")]
    assert main(command) == 0
    assert "skipped" in capsys.readouterr().out
    command += ["--overwrite"]
    # Of another shape, and with more images than are searched.
    fits.writeto(tmp_path / "sky.fits", slope[1:], overwrite=True)
    assert main(command) == 1
    assert "background has shape (127, 128), the image has (128, 128)" in capsys.readouterr().err
    two = [fits.PrimaryHDU(slope), fits.ImageHDU(slope)]
    fits.HDUList(two).writeto(tmp_path / "sky.fits", overwrite=True)
    assert main(command) == 1
    assert "has 2 two-dimensional images" in capsys.readouterr().err


def test_surface_brightness_becomes_electrons_by_its_cards(hits, tmp_path):
    rng, truth = hits
    image = observe(rng, 60.0, truth)
    plain = ca.cosmicray_unet(CCDData(image, unit="electron"), model=MODEL)
    # 0.5 MJy/sr are one adu per second, of two electrons.
    meta = {"PHOTMJSR": 0.5, "XPOSURE": 100.0}
    brightness = CCDData(image / 2 / 100 * 0.5, unit="MJy / sr", meta=meta)
    out = ca.cosmicray_unet(brightness, model=MODEL, gain=2.0)
    np.testing.assert_array_equal(out.cr_mask, plain.cr_mask)
    assert out.unit == brightness.unit
    for name, given, message in (
        ("PHOTMJSR", {"gain": 2.0}, "neither PHOTMJSR nor FLUXCONV"),
        ("XPOSURE", {"gain": 2.0}, "no EXPTIME: give exposure_time"),
        ("none", {}, "are in MJy / sr: give gain"),
    ):
        left = {key: value for key, value in meta.items() if key != name}
        with pytest.raises(ValueError, match=message):
            ca.cosmicray_unet(
                CCDData(brightness.data, unit="MJy / sr", meta=left), model="nonesuch", **given
            )
    header = fits.Header({"BUNIT": "MJy/sr", "XPOSURE": 100.0})
    fits.writeto(tmp_path / "a.fits", brightness.data, header)
    with pytest.raises(ValueError, match="neither PHOTMJSR nor FLUXCONV"):
        ca.hst.detect_file(tmp_path / "a.fits", model="nonesuch", gain=2.0)


def test_flattening_has_one_noise_and_keeps_the_contrast():
    rng = np.random.default_rng(1)
    background = np.linspace(10, 2000, 200)[None, :] * np.ones((200, 1))
    image = rng.poisson(background) + rng.normal(0, 5, background.shape)
    usable = np.ones(image.shape, dtype=bool)
    for known in ({"readnoise": 5.0}, {"variance": image + 25}, {}):
        variance = noise_variance(image, usable, background, **known)
        flat = flatten(image, usable, background, variance=variance)
        parts = flat[:, :30].std(), flat[:, 170:].std()
        noise = np.sqrt(np.median(variance))
        np.testing.assert_allclose(parts, noise, rtol=0.15)
        assert np.median(flat) == pytest.approx(noise**2, rel=0.02)


def test_what_cannot_be_used_is_named():
    frame = CCDData(np.ones((8, 9)), unit="adu")

    def detect(**settings):
        # No model of this name: the message comes before any work.
        ca.cosmicray_unet(frame, model="nonesuch", gain=2.0, **settings)

    for settings, message in (
        ({"background": np.ones((2, 2))}, r"background has shape \(2, 2\), the image has \(8, 9\)"),
        ({"background": 1 * u.s}, "background is in s, the exposure in adu"),
        ({"background": "sky"}, "background must hold real numbers"),
        ({"uncertainty": np.ones((2, 2))}, "uncertainty has shape"),
        ({"uncertainty": True}, "the exposure has none"),
        ({"spectrum": "z"}, "spectrum must be None, 'x' or 'y'"),
        ({"spectrum": "x", "background": 1.0}, "not both"),
        ({"negative": 1}, "negative must be True or False"),
        ({"negative": True, "readnoise": 5.0}, "give uncertainty, or leave readnoise out"),
    ):
        with pytest.raises(ValueError, match=message):
            detect(**settings)
