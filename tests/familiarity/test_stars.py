import dataclasses

import numpy as np
import pytest
from astropy.utils.exceptions import AstropyUserWarning

from cosmiq_astro import CosmicRayCCDData, CosmicRayDetector, cosmicray_unet, load_model
from cosmiq_astro.familiarity.stars import (
    FamiliarStars,
    StarShape,
    fit_familiar_stars,
    measure_stars,
)
from cosmiq_astro.models.model import save_model

SIGMA = 2.3548


def make_field(fwhm, elongation=1.0, angle=0.0, *, n=60, seed=1, shape=(200, 230), noise=5.0):
    """Gaussian stars at any place in their pixels, sky-subtracted, with noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]]
    major, minor = (fwhm / SIGMA * elongation**power for power in (0.5, -0.5))
    image = np.zeros(shape)
    for y0, x0 in rng.uniform(0, shape, (n, 2)):
        along = (x - x0) * np.cos(angle) + (y - y0) * np.sin(angle)
        across = (y - y0) * np.cos(angle) - (x - x0) * np.sin(angle)
        flux = 10 ** rng.uniform(4, 5)
        image += flux * np.exp(-((along / major) ** 2 + (across / minor) ** 2) / 2)
    image += rng.normal(0, np.sqrt(noise**2 + image))
    return image.astype(np.float32)


@pytest.mark.parametrize("fwhm", [1.6, 2.0, 3.0, 5.0])
def test_the_width_of_round_stars(fwhm):
    image = make_field(fwhm)
    stars = measure_stars(image, np.zeros(image.shape), 5.0)
    assert 30 < stars.n_stars <= 60
    assert stars.fwhm == pytest.approx(fwhm, rel=0.08)
    assert stars.elongation == pytest.approx(1, abs=0.06)


@pytest.mark.parametrize("angle", [0.0, 0.5, 2.2])
def test_the_elongation_at_any_angle(angle):
    image = make_field(2.6, 1.8, angle)
    stars = measure_stars(image, np.zeros(image.shape), 5.0)
    assert stars.elongation == pytest.approx(1.8, rel=0.1)


def test_the_sharpest_are_stars_wherever_galaxies_are():
    field = make_field(2.0, n=60) + make_field(7.0, n=60, seed=2)
    stars = measure_stars(field, np.zeros(field.shape), 5.0)
    assert stars.fwhm == pytest.approx(2.0, rel=0.08)


def test_hits_hot_pixels_and_plateaus_are_not_stars():
    image = make_field(3.0)
    probability = np.zeros(image.shape)
    alone = measure_stars(image, probability, 5.0)
    rng = np.random.default_rng(3)
    for y, x in rng.integers(3, 190, (80, 2)):
        image[y, x] += 5e4  # hot
    for y, x in rng.integers(3, 190, (80, 2)):
        image[y : y + 2, x] += 3e4  # hits
        probability[y : y + 2, x] = 0.9
    image[100:110, 100:110] = 9e4
    stars = measure_stars(image, probability, 5.0)
    assert stars.n_stars <= alone.n_stars
    assert stars.fwhm == pytest.approx(alone.fwhm, rel=0.1)


@pytest.mark.parametrize("shape", [(0, 0), (3, 50), (4, 4), (5, 5), (60, 60)])
def test_too_few_stars(shape):
    image = np.random.default_rng(1).normal(0, 5, shape).astype(np.float32)
    stars = measure_stars(image, np.zeros(shape), 5.0)
    assert np.isnan([stars.fwhm, stars.elongation]).all()
    assert stars.n_stars < 10


def test_no_number_can_break_it():
    for value in (0.0, 1e9, -1e9):
        image = np.full((40, 40), value, dtype=np.float32)
        assert measure_stars(image, np.zeros(image.shape), 1e-3).n_stars == 0
    stripes = make_field(3.0, 1.0) + 1e5 * (np.arange(230) % 9 == 4)
    assert 1 <= measure_stars(stripes, np.zeros(stripes.shape), 5.0).elongation <= 10


def test_the_share_of_bright_pixels_looked_at_changes_little(monkeypatch):
    image = make_field(2.5, n=300)
    every = measure_stars(image, np.zeros(image.shape), 5.0)
    monkeypatch.setattr("cosmiq_astro.familiarity.stars._MOST_PIXELS", 500)
    some = measure_stars(image, np.zeros(image.shape), 5.0)
    assert some.n_stars < every.n_stars
    assert some.fwhm == pytest.approx(every.fwhm, rel=0.1)


@pytest.fixture
def familiar():
    rng = np.random.default_rng(2)
    return fit_familiar_stars(
        [StarShape(*values, 20) for values in rng.uniform((1.8, 1.0), (2.6, 1.2), (999, 2))]
    )


def test_unfamiliarity_is_the_rarity_of_width_or_elongation(familiar):
    usual = familiar.unfamiliarity(StarShape(2.2, 1.1, 20))
    assert 0 <= usual < 0.02
    assert str(familiar.unfamiliarity(StarShape(2.2, 1.05, 20))) == "0.0"
    # 1.25 % of the patches are narrower, or wider, and 2.5 % are longer than this.
    assert familiar.unfamiliarity(StarShape(1.8 + 0.8 * 0.0125, 1.1, 20)) == pytest.approx(
        1, abs=0.15
    )
    assert familiar.unfamiliarity(StarShape(2.6 - 0.8 * 0.0125, 1.1, 20)) == pytest.approx(
        1, abs=0.15
    )
    assert familiar.unfamiliarity(StarShape(2.2, 1.2 - 0.2 * 0.025, 20)) == pytest.approx(
        1, abs=0.15
    )
    for stars in (StarShape(1.2, 1.0, 20), StarShape(5.0, 1.0, 20), StarShape(2.2, 3.0, 20)):
        assert familiar.unfamiliarity(stars) > 1
    assert np.isnan(familiar.unfamiliarity(StarShape(np.nan, np.nan, 3)))
    narrowest, widest, longest = familiar.limits()
    assert (narrowest, widest, longest) == pytest.approx((1.81, 2.59, 1.195), abs=0.01)


def test_one_in_twenty_familiar_images_is_rare(familiar):
    rng = np.random.default_rng(5)
    values = rng.uniform((1.8, 1.0), (2.6, 1.2), (20_000, 2))
    rare = np.mean([familiar.unfamiliarity(StarShape(*value, 20)) > 1 for value in values])
    assert rare == pytest.approx(0.05, abs=0.02)


def test_too_few_patches_cannot_tell():
    stars = [StarShape(2.0, 1.0, 20)] * 99
    assert fit_familiar_stars(stars + [StarShape(np.nan, np.nan, 2)] * 50) is None
    assert fit_familiar_stars([*stars, StarShape(2.1, 1.0, 20)]).fwhm.size == 100


@pytest.mark.parametrize(
    "wrong", [[], [2.0, 1.0], [0.0, 1.0], [1.0, np.nan], [1.0, np.inf], [[1.0]]]
)
def test_numbers_that_cannot_be_are_refused(wrong):
    with pytest.raises(ValueError, match="fwhm must be positive numbers in increasing order"):
        FamiliarStars(fwhm=np.array(wrong), elongation=np.ones(2))


def test_saved_and_loaded(tmp_path, make_tiny, familiar):
    model = load_model(save_model(make_tiny(familiar_stars=familiar), tmp_path / "a", card=""))
    for name, value in dataclasses.asdict(familiar).items():
        np.testing.assert_allclose(getattr(model.familiar_stars, name), value, rtol=1e-6)
    assert model.familiar_hits is None


@pytest.mark.parametrize("tile_size", [64, 256])
def test_a_detection_measures_them_whatever_the_tiles(tile_size):
    image = make_field(2.0) + 100
    detector = CosmicRayDetector("acs-wfc-unet", device="cpu", tile_size=tile_size)
    maps = detector(image, readnoise=5.0)
    assert maps.stars.fwhm == pytest.approx(2.0, rel=0.08)
    assert 0 <= maps.star_unfamiliarity < 1


@pytest.mark.filterwarnings(
    "ignore:the noise is .* of what sky",
    "ignore:what was found is unlike",
    "ignore:.*of what may be hits is undecided",
)
def test_unfamiliar_stars_give_cards_and_many_a_warning():
    model = load_model("acs-wfc-unet")
    few = CosmicRayCCDData(make_field(9.0, n=40) + 100, unit="electron")
    with pytest.warns(AstropyUserWarning, match=r"stars are \d.* pixels wide \(FWHM\)"):
        assert cosmicray_unet(few, model=model, readnoise=5.0).meta["CRVIUNFS"] > 1
    ccd = CosmicRayCCDData(make_field(9.0, n=150, shape=(400, 460)) + 100, unit="electron")
    with pytest.warns(AstropyUserWarning, match=r"stars are \d.* pixels wide \(FWHM\)") as caught:
        out = cosmicray_unet(ccd, model=model, readnoise=5.0)
    assert caught[0].filename == __file__
    assert out.meta["CRVIUNFS"] > 1
    assert out.meta["CRVIFWHM"] > 4
    assert 1 <= out.meta["CRVIELON"] < 1.3
    out = cosmicray_unet(ccd, model=dataclasses.replace(model, familiar_stars=None), readnoise=5.0)
    assert "CRVIUNFS" not in out.meta
    assert out.meta["CRVIFWHM"] > 4
