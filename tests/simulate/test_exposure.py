import subprocess
import sys

import numpy as np
import pytest
from astropy import units as u

from cosmiq_astro.simulate import (
    cosmic_ray_footprints,
    expose,
    moffat_psf,
    simulate_cosmic_rays,
    simulate_exposure,
    simulate_scene,
)


@pytest.fixture(scope="module")
def psf():
    return moffat_psf(2.0, beta=4, radius=24)


@pytest.fixture(scope="module")
def exposure(psf):
    return simulate_exposure((200, 220), 1000.0, field="globular", seed=5, psf=psf)


def test_image_is_expectation_plus_hits_plus_noise(exposure):
    ccd, truth = exposure
    assert ccd.unit == u.electron
    assert ccd.meta["EXPTIME"] == 1000
    pull = (ccd.data - truth.expected - truth.cosmic_ray_charge) / truth.noise
    assert pull.mean() == pytest.approx(0, abs=0.02)
    assert pull.std() == pytest.approx(1, rel=0.02)


def test_noise_and_labels_follow_their_definitions(exposure):
    _, truth = exposure
    np.testing.assert_allclose(truth.noise**2, np.maximum(truth.expected, 0) + 4.5**2, rtol=1e-5)
    ratio = truth.cosmic_ray_charge / truth.noise
    np.testing.assert_array_equal(truth.label, ratio > 3)
    faint = (ratio > 0.1) & (ratio <= 3)
    assert truth.ignore[faint].all()
    # So are hot and warm pixels: 0.5 and 1 %.
    hot = truth.ignore & ~faint
    assert 0.01 < hot.mean() < 0.02
    assert not (hot & truth.label).any()
    above = (truth.expected - np.median(truth.expected)) / truth.noise
    assert np.median(above[hot]) > np.median(above[~truth.ignore]) + 3
    assert 0.003 < truth.label.mean() < 0.05


def test_same_seed_same_bytes(exposure, psf):
    ccd, truth = exposure
    again, truth_again = simulate_exposure((200, 220), 1000.0, field="globular", seed=5, psf=psf)
    assert ccd.data.tobytes() == again.data.tobytes()
    assert truth.cosmic_ray_charge.tobytes() == truth_again.cosmic_ray_charge.tobytes()


def test_global_random_state_is_left_alone(psf):
    before = np.random.get_state()[1].copy()
    simulate_exposure((32, 32), 100.0, seed=1, psf=psf)
    np.testing.assert_array_equal(np.random.get_state()[1], before)


def test_hit_under_a_saturated_star_shows_no_charge():
    rate = np.zeros((40, 40), np.float32)
    rate[10:30, 20] = 1e5 / 100 * 1.5
    charge = np.zeros((40, 40), np.float32)
    charge[20, 20] = charge[20, 5] = 2000
    _, _, seen = expose(rate, 100.0, charge, seed=1, defects=False)
    assert seen[20, 20] == 0
    assert seen[20, 5] == pytest.approx(2000)


def test_trails_belong_to_the_hit():
    charge = np.zeros((80, 20), np.float32)
    charge[30, 10] = 3000
    _, _, seen = expose(np.zeros((80, 20)), 500.0, charge, seed=1, cte=0.5 * 1530 / 30)
    assert seen[31:40, 10].min() > 1
    assert seen[30, 10] < 3000
    assert seen.min() >= 0


def test_image_is_rounded_to_the_gain():
    charge = simulate_cosmic_rays((64, 64), 500, seed=2)
    image, _, _ = expose(np.zeros((64, 64)), 500.0, charge, seed=1, gain=2.0)
    np.testing.assert_array_equal(image % 2, 0)


def test_refuses_no_exposure():
    with pytest.raises(ValueError, match="exposure_time must be positive, got 0"):
        simulate_exposure((8, 8), 0)


def test_import_needs_neither_torch_nor_matplotlib():
    code = (
        "import sys, cosmiq_astro.simulate;"
        "sys.exit(any(m in sys.modules for m in ('torch', 'matplotlib')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_reprs_are_short():
    psf = moffat_psf(2.0, radius=16)
    _, truth = simulate_exposure((32, 40), 500.0, seed=1, psf=psf)
    scene = simulate_scene((32, 40), psf=psf, seed=1)
    assert repr(psf) == f"<PSF: FWHM {psf.fwhm:.2f} pixels, out to 16 pixels>"
    assert repr(truth).startswith(f"<ExposureTruth: {truth.label.sum()} of 32 x 40 pixels hit, ")
    assert repr(scene) == f"<Scene: 32 x 40 pixels, {len(scene.stars)} stars>"
    assert repr(cosmic_ray_footprints(5, seed=1)).startswith("<Footprints: 5 hits of ")
