import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from astropy.utils.exceptions import AstropyUserWarning

from cosmiq_astro import CosmicRayCCDData, cosmicray_unet, load_model
from cosmiq_astro.familiarity.stars import KnownStars, StarShape
from cosmiq_astro.familiarity.verdict import doubts
from cosmiq_astro.preprocess import ImageStatistics

MODEL = SimpleNamespace(
    name="m",
    ranges={"readnoise": (3, 6)},
    known_stars=KnownStars(np.linspace(1.7, 2.9, 200), np.linspace(1.0, 1.4, 200)),
)
FAMILIAR = SimpleNamespace(
    novelty=0.9,
    star_novelty=0.2,
    stars=StarShape(2.1, 1.1, 80),
    statistics=ImageStatistics(50.0, 8.0),
)
NOTHING = np.zeros((10, 10), bool)


def judge(maps=FAMILIAR, cr_mask=NOTHING, *, exposure_time=100.0, readnoise=4.0):
    return doubts(MODEL, maps, cr_mask, exposure_time=exposure_time, readnoise=readnoise)


def but(**changes):
    return SimpleNamespace(**{**vars(FAMILIAR), **changes})


def measured(fwhm, n_stars, noise=8.0, sky=50.0):
    stars = StarShape(fwhm, 1.1, n_stars)
    novelty = MODEL.known_stars.novelty(stars)
    return but(stars=stars, star_novelty=novelty, statistics=ImageStatistics(sky, noise))


def test_no_doubts_of_a_familiar_exposure():
    assert judge() == ()
    assert judge(but(novelty=math.nan, star_novelty=math.nan)) == ()
    assert judge(readnoise=None) == ()


@pytest.mark.parametrize(
    ("maps", "message"),
    [
        (measured(1.6, 80), "stars are 1.6 pixels wide"),
        (measured(1.3, 12), "stars are 1.3 pixels wide"),
        (measured(4.5, 12), "stars are 4.5 pixels wide"),
        (but(novelty=1.9), "what was found is unlike the cosmic rays that the model m knows"),
    ],
)
def test_unfamiliar_stars_and_hits(maps, message):
    (doubt,) = judge(maps)
    assert message in doubt
    assert doubt.endswith("need not be right here")


def test_few_stars_of_a_width_on_the_edge_are_no_reason():
    assert judge(measured(1.69, 12)) == ()


def test_too_many_pixels_for_any_model():
    (doubt,) = judge(cr_mask=np.arange(100).reshape(10, 10) < 13)
    assert doubt.startswith("13% of the pixels were flagged, more than cosmic rays hit")


def test_a_noise_that_cannot_be():
    (doubt,) = judge(measured(2.1, 80, noise=0.3), readnoise=None)
    assert "the noise seems to be 0.3 electrons, less than CCDs have" in doubt
    (doubt,) = judge(measured(2.1, 80, noise=5, sky=2500), readnoise=None)
    assert "but a sky of 2.5e+03 has 50" in doubt
    assert judge(measured(2.1, 80, noise=0.3)) == ()


def test_sharp_lines_come_with_a_warning_for_every_model(tiny_unet):
    rng = np.random.default_rng(2)
    x = np.arange(200)
    lines = sum(3e3 * np.exp(-((x - c) ** 2) / 0.6) for c in range(4, 200, 6))
    ccd = CosmicRayCCDData(rng.poisson(np.tile(50 + lines, (200, 1))) * 1.0, unit="electron")
    for model in (load_model("ccd-unet"), replace(load_model("acs-wfc-unet"), known_stars=None)):
        with pytest.warns(AstropyUserWarning, match="probabilities need not be right here"):
            out = cosmicray_unet(ccd, model=model, readnoise=5.0)
        assert out.meta["CRVIFAM"] is False
