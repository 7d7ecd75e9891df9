"""The bundled models on exposures like those that each was trained for."""

import numpy as np
import pytest

import cosmiq_astro as ca
from cosmiq_astro.simulate import (
    cosmic_ray_footprints,
    expose,
    label_from_charge,
    moffat_psf,
    simulate_scene,
)


@pytest.mark.parametrize("method", ["unet", "vi"])
@pytest.mark.parametrize(("fwhm", "thickness"), [(2.0, 14), (4.0, 100)])
def test_hits_are_found_and_the_rest_is_left(method, fwhm, thickness):
    shape, rng, readnoise = (256, 256), np.random.default_rng(3), 5.0
    scene = simulate_scene(shape, "globular", moffat_psf(fwhm), seed=rng)
    hits = cosmic_ray_footprints(200, seed=2, thickness=thickness).paste(shape, 80, rng)
    image, expected, charge = expose(
        scene.rate, 300.0, hits, seed=rng, sky_rate=0.1, readnoise=readnoise, defects=False
    )
    label, ignore = label_from_charge(charge, np.sqrt(np.maximum(expected, 0) + readnoise**2))
    model = ca.load_model(f"acs-wfc-{method}")
    p = ca.CosmicRayDetector(model, device="cpu")(
        image, T=4, seed=1, readnoise=readnoise
    ).probability
    flagged = p >= model.threshold
    curve = model.operating_curve
    at = np.searchsorted(curve["threshold"], model.threshold)
    assert curve["precision"][at] > 0.95
    assert curve["recall"][at] > 0.8
    assert 0.001 < curve["hit_fraction"] < 0.05
    assert "simulated" in curve["frames"]
    assert label.sum() > 300
    assert flagged[label].mean() > 0.75
    assert label[flagged & ~ignore].mean() > 0.95
