import dataclasses

import numpy as np
import pytest
import torch
from astropy.utils.exceptions import AstropyUserWarning

from cosmiq_astro import CosmicRayCCDData, CosmicRayDetector, cosmicray_unet, cosmicray_vi
from cosmiq_astro.familiarity.hits import (
    HIT,
    FamiliarHits,
    HitFeatures,
    count_alike,
    describe_hits,
    fit_familiar_hits,
)
from cosmiq_astro.models.model import load_model, save_model


def make_patches(n, *, offset=0.0, n_pixels=60, seed=0, n_features=4):
    """Patches whose means scatter by 0.5 and whose pixels scatter by 1 to 2."""
    rng = np.random.default_rng(seed)
    means = offset + 0.5 * rng.normal(size=(n, n_features, 1))
    return list(means + rng.normal(size=(n, n_features, n_pixels)) * [[1], [1], [2], [2]])


def sums(values):
    return HitFeatures().add(values)


@pytest.fixture
def familiar():
    return fit_familiar_hits(make_patches(500), make_patches(500, seed=1))


def test_one_in_twenty_familiar_patches_is_above_one(familiar):
    scores = [familiar.unfamiliarity(sums(v)) for v in make_patches(2000, seed=2)]
    assert 0.03 < np.mean(np.array(scores) > 1) < 0.08


def test_hits_from_elsewhere_are_above_one(familiar):
    scores = [familiar.unfamiliarity(sums(v)) for v in make_patches(50, offset=3.0, seed=3)]
    assert min(scores) > 1


def test_the_distance_is_mahalanobis(familiar):
    (values,) = make_patches(1, seed=4)
    within = np.diag([1.0, 1, 4, 4])
    expected = values.mean(axis=1) @ np.linalg.solve(
        0.25 * np.eye(4) + within * (1 + 3) / 60, values.mean(axis=1)
    )
    assert familiar.unfamiliarity(sums(values)) * familiar.limit == pytest.approx(expected, rel=0.2)


def test_few_pixels_say_nothing(familiar):
    (values,) = make_patches(1, n_pixels=9)
    assert np.isnan(familiar.unfamiliarity(sums(values)))
    assert np.isnan(familiar.unfamiliarity(HitFeatures()))


def test_one_long_track_is_one_hit(familiar):
    """Of its many pixels, which are alike, follows no more than of one."""
    probability = np.full((60, 60), np.nan)
    probability[5:59, 7] = 0.9
    assert count_alike(probability) == 54
    probability[::2, 20:40] = 0.9
    assert count_alike(probability) == pytest.approx((54**2 + 30 * 20**2) / 654)
    assert count_alike(np.where(np.eye(60) > 0, 0.9, 0)) == 60
    assert count_alike(np.zeros((60, 60))) == count_alike(np.ones((60, 60))) == 3
    values = np.full((4, 54), 1.5) + 0.1 * np.random.default_rng(0).normal(size=(4, 54))
    assert familiar.unfamiliarity(sums(values)) > 1
    assert familiar.unfamiliarity(sums(values), 54) < 1


def test_few_patches_teach_nothing():
    assert fit_familiar_hits(make_patches(7), make_patches(500)) is None
    assert fit_familiar_hits(make_patches(500, n_pixels=9), make_patches(500)) is None
    assert fit_familiar_hits(make_patches(500), make_patches(500, n_pixels=9)) is None
    assert fit_familiar_hits([], []) is None


def test_features_that_are_always_zero_do_no_harm():
    patches = make_patches(500)
    for values in patches:
        values[2] = 0
    familiar = fit_familiar_hits(patches, make_patches(500, seed=1))
    assert np.isfinite(familiar.unfamiliarity(sums(patches[0])))


def test_features_add_up_over_tiles():
    rng = np.random.default_rng(0)
    features = torch.from_numpy(rng.normal(size=(3, 8, 8)))
    probability = torch.from_numpy(rng.random((8, 8)))
    is_hit = probability > HIT
    whole, parts = sums(describe_hits(features[:, is_hit])), HitFeatures()
    for half in (slice(4), slice(4, 8)):
        parts.add(describe_hits(features[:, half][:, is_hit[half]]))
    assert parts.count == whole.count == np.count_nonzero(probability > 0.5)
    np.testing.assert_allclose(parts.total, whole.total, rtol=1e-6)
    chosen = np.arcsinh(features.numpy()[:, probability.numpy() > 0.5])
    np.testing.assert_allclose(whole.total, chosen.sum(axis=1), rtol=1e-6)


@pytest.mark.parametrize(
    "wrong",
    [{"axes": np.eye(3)}, {"scatter": np.zeros(4)}, {"limit": 0.0}, {"limit": np.ones(2)}],
)
def test_parts_that_do_not_fit_are_refused(familiar, wrong):
    with pytest.raises(ValueError, match="must"):
        dataclasses.replace(familiar, **wrong)


@pytest.mark.parametrize("sampling", ["antithetic", "moments", "mean"])
def test_unfamiliarity_does_not_depend_on_the_tiles(frame, sampling):
    model = load_model("acs-wfc-vi")
    frame[40:46, 70] += 1500
    values = [
        CosmicRayDetector(model, device="cpu", tile_size=size)(
            frame, T=4, seed=1, sampling=sampling
        ).unfamiliarity
        for size in (32, 256)
    ]
    assert np.isfinite(values).all()
    assert values[0] == pytest.approx(values[1], rel=1e-4)


def test_models_that_share_no_layers_or_know_nothing_say_nothing(frame, tiny_vi, tiny_unet):
    assert np.isnan(CosmicRayDetector(tiny_vi, device="cpu")(frame, T=2, seed=1).unfamiliarity)
    assert np.isnan(CosmicRayDetector(tiny_unet, device="cpu")(frame).unfamiliarity)


def test_saved_and_loaded(tmp_path, make_tiny, familiar):
    with pytest.raises(ValueError, match="4 features, the network 8"):
        load_model(save_model(make_tiny(familiar_hits=familiar), tmp_path / "a", card=""))
    familiar = FamiliarHits(np.zeros(8), np.eye(8), np.ones(8), 2.0)
    model = load_model(save_model(make_tiny(familiar_hits=familiar), tmp_path / "b", card=""))
    for name, value in dataclasses.asdict(familiar).items():
        np.testing.assert_array_equal(getattr(model.familiar_hits, name), value)


def test_a_card_in_the_header(frame):
    ccd = CosmicRayCCDData(frame, unit="electron")
    ccd.data[40:46, 70] += 1500
    model = load_model("acs-wfc-unet")
    out = cosmicray_unet(ccd, model=model)
    assert 0 < out.meta["CRVIUNF"] < 1
    far = dataclasses.replace(model.familiar_hits, mean=model.familiar_hits.mean + 5)
    with pytest.warns(AstropyUserWarning, match="unlike the cosmic rays that the model"):
        out = cosmicray_unet(ccd, model=dataclasses.replace(model, familiar_hits=far))
    assert out.meta["CRVIUNF"] > 1
    assert out.meta["CRVIFAM"] is False
    out = cosmicray_vi(CosmicRayCCDData(np.full((40, 40), 9.0), unit="electron"), T=2, seed=1)
    assert "CRVIUNF" not in out.meta
