import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from astropy.utils.exceptions import AstropyUserWarning
from scipy.special import erf

from cosmiq_astro import CosmicRayCCDData, cosmicray_unet, load_model
from cosmiq_astro.familiarity.stars import FamiliarStars, StarShape
from cosmiq_astro.familiarity.verdict import doubts
from cosmiq_astro.preprocess import ImageStatistics

MODEL = SimpleNamespace(
    name="m",
    method="unet",
    ranges={"readnoise": (3, 6)},
    familiar_stars=FamiliarStars(np.linspace(1.7, 2.9, 200), np.linspace(1.0, 1.4, 200)),
)
FAMILIAR = SimpleNamespace(
    unfamiliarity=0.9,
    star_unfamiliarity=0.2,
    stars=StarShape(2.1, 1.1, 80),
    statistics=ImageStatistics(50.0, 8.0),
    probability=np.zeros((10, 10), np.float32),
    usable=np.ones((10, 10), bool),
)
NOTHING = np.zeros((10, 10), int)
PIXELS = np.random.default_rng(0).normal(50, 8, (10, 10))


def judge(maps=FAMILIAR, labels=NOTHING, *, exposure_time=100.0, readnoise=4.0, **known):
    known |= {"exposure_time": exposure_time, "readnoise": readnoise}
    return doubts(MODEL, maps, labels, **known)


def but(**changes):
    return SimpleNamespace(**{**vars(FAMILIAR), **changes})


def measured(fwhm, n_stars, noise=8.0, sky=50.0):
    stars = StarShape(fwhm, 1.1, n_stars)
    unfamiliarity = MODEL.familiar_stars.unfamiliarity(stars)
    return but(
        stars=stars, star_unfamiliarity=unfamiliarity, statistics=ImageStatistics(sky, noise)
    )


def test_no_doubts_of_a_familiar_exposure():
    assert judge() == ()
    assert judge(but(unfamiliarity=math.nan, star_unfamiliarity=math.nan)) == ()
    assert judge(readnoise=None) == ()


@pytest.mark.parametrize(
    ("maps", "message"),
    [
        (measured(1.6, 80), "stars are 1.6 pixels wide"),
        (measured(1.3, 12), "stars are 1.3 pixels wide"),
        (measured(4.5, 12), "stars are 4.5 pixels wide"),
        (but(unfamiliarity=1.9), "what was found is unlike the cosmic rays that the model m knows"),
    ],
)
def test_unfamiliar_stars_and_hits(maps, message):
    (doubt,) = judge(maps)
    assert message in doubt
    assert doubt.endswith("not be right here (a model trained for this camera may do better)")


def test_few_stars_of_a_width_on_the_edge_are_no_reason():
    assert judge(measured(1.69, 12)) == ()


def test_too_many_pixels_for_any_model():
    (doubt,) = judge(labels=(np.arange(100) < 13).astype(int).reshape(10, 10))
    assert doubt.startswith("13% of the pixels were flagged, more than cosmic rays hit")


@pytest.mark.parametrize(("n_long", "n_doubts"), [(0, 1), (2, 1), (3, 0), (8, 0)])
def test_hits_none_of_which_is_long(n_long, n_doubts):
    labels = np.zeros((400, 400), int)
    for number in range(1, 251):
        y, x = divmod(number, 20)
        length = 6 if number <= n_long else 3
        labels[20 * y : 20 * y + 2, 20 * x : 20 * x + length] = number
    found = judge(labels=labels)
    assert len(found) == n_doubts
    assert all("of 250 things found are longer than 5 pixels" in doubt for doubt in found)
    assert judge(labels=np.where(labels < 190, labels, 0)) == ()
    labels[1::20] = 0  # as small as hits are
    assert judge(labels=labels) == ()


def test_a_noise_that_cannot_be():
    (doubt,) = judge(measured(2.1, 80, noise=0.3), readnoise=None, pixels=PIXELS)
    assert "the noise seems to be 0.3 electrons, less than CCDs have" in doubt
    (doubt,) = judge(measured(2.1, 80, noise=5, sky=2500), readnoise=None, pixels=PIXELS)
    assert "but a sky of 2.5e+03 has 50" in doubt
    # Of pixels that were flattened gain and noise cannot be judged.
    assert judge(measured(2.1, 80, noise=0.3), readnoise=None) == ()


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_steps_that_are_coarser_than_the_noise(dtype):
    pixels = PIXELS.copy()
    pixels[0] += 100 * np.arange(10)
    (doubt,) = judge(pixels=((pixels / 30).round() * 30).astype(dtype))
    assert "the pixels come in steps of 30 electrons, much coarser than the noise of 8" in doubt
    assert judge(pixels=((pixels / 15).round() * 15).astype(dtype)) == ()
    # Toys, which have no noise at all.
    assert judge(pixels=np.where(pixels > 100, 80, 50).astype(dtype)) == ()


def test_a_noise_that_gain_and_read_noise_do_not_give():
    large = but(usable=np.ones((200, 200), bool), probability=np.zeros((200, 200), np.float32))

    def of(sky, noise):
        return np.random.default_rng(1).normal(sky, noise, (200, 200))

    assert judge(large, pixels=of(84, 10)) == ()
    (doubt,) = judge(large, pixels=of(84, 5))
    assert "the noise is 0.48 of what" in doubt
    assert "gain may be too small by about 4.3" in doubt
    (doubt,) = judge(large, pixels=of(84, 30))
    assert "gain may be too large by about" in doubt
    # What is left of the sky may be more than an electron where the noise is large.
    for left, noise in ((0, 20), (5, 90)):
        large.statistics = ImageStatistics(left, noise)
        (doubt,) = judge(large, pixels=of(left, noise))
        assert "the sky seems to be subtracted" in doubt
        assert f"the noise measured, {noise}, was taken" in doubt
    assert judge(pixels=of(84, 5)[:10, :10]) == ()


def test_saturated_cleaned_and_undecided_exposures():
    pixels = PIXELS.copy()
    pixels[0, :2] = 70000
    (doubt,) = judge(pixels=pixels, satlevel=60000)
    assert "2.0% of the pixels are saturated" in doubt
    assert judge(pixels=pixels, satlevel=80000) == ()
    (doubt,) = judge(exposure_time=2e7)
    assert "nothing was flagged in 2e+07 s" in doubt
    unsure = np.full((20, 20), 0.5, np.float32)
    (doubt,) = judge(but(probability=unsure, usable=unsure > 0))
    assert "100% of what may be hits is undecided" in doubt
    unsure[:10] = 0.95
    assert judge(but(probability=unsure, usable=unsure > 0)) == ()


@pytest.mark.parametrize("fwhm", [0.7, 0.9, 1.1])
def test_stars_that_are_taken_for_hits_come_with_a_warning(fwhm):
    rng = np.random.default_rng(1)
    edges = np.arange(301) - 0.5
    image = np.full((300, 300), 50.0)
    for cy, cx in rng.uniform(5, 295, (130, 2)):
        y, x = (np.diff(erf((edges - c) / (fwhm / 1.6651))) / 2 for c in (cy, cx))
        image += 10 ** rng.uniform(3, 4.7) * np.outer(y, x)
    ccd = CosmicRayCCDData(rng.poisson(image) + rng.normal(0, 5, image.shape), unit="electron")
    with pytest.warns(AstropyUserWarning, match="things found are longer|unlike the cosmic rays"):
        out = cosmicray_unet(ccd, readnoise=5.0)
    assert out.meta["CRVINHIT"] > 100


def test_sharp_lines_come_with_a_warning_for_every_model(tiny_unet):
    rng = np.random.default_rng(2)
    x = np.arange(200)
    lines = sum(3e3 * np.exp(-((x - c) ** 2) / 0.6) for c in range(4, 200, 6))
    ccd = CosmicRayCCDData(rng.poisson(np.tile(50 + lines, (200, 1))) * 1.0, unit="electron")
    bundled = load_model("acs-wfc-unet")
    for model in (bundled, replace(bundled, familiar_stars=None)):
        with pytest.warns(AstropyUserWarning, match="probabilities need not be right here"):
            out = cosmicray_unet(ccd, model=model, readnoise=5.0)
        assert out.meta["CRVIFAM"] is False
