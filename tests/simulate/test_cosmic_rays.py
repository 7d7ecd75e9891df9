import numpy as np
import pytest
from scipy import ndimage

from cosmiq_astro.simulate import cosmic_ray_footprints, simulate_cosmic_rays


@pytest.fixture(scope="module")
def hits():
    return cosmic_ray_footprints(4000, seed=1)


def test_charge_matches_the_acs_handbook(hits):
    charge = hits.total_charge
    assert 900 < np.median(charge) < 1800
    assert np.mean(charge[charge > 50] < 500) < 0.1
    assert 5e3 < np.percentile(charge, 95) < 3e4


def test_size_matches_the_acs_handbook(hits):
    size = hits.brighter_than(15).n_pixels
    assert np.bincount(size).argmax() in (4, 5)
    assert np.percentile(size, 99) > 20


def test_share_of_pixels_hit_matches_the_acs_handbook():
    charge = simulate_cosmic_rays((1024, 1024), 1000, seed=3)
    assert 0.015 < (charge > 15).mean() < 0.03


def test_rate_counts_hits(hits):
    charge = simulate_cosmic_rays((512, 512), 100, seed=3, rate=20.0)
    expected = 20.0 * 100 * (512 * 15e-4) ** 2
    typical = np.sum(charge[charge < 3000]) / np.sum(hits.charge[hits.charge < 3000]) * len(hits)
    assert typical == pytest.approx(expected, rel=0.15)
    assert simulate_cosmic_rays((64, 64), 0, seed=1).max() == 0


def sizes_and_charges(image, threshold):
    groups, n = ndimage.label(image > threshold, np.ones((3, 3)))
    charge = ndimage.sum(image, groups, np.arange(1, n + 1))
    return np.bincount(groups.ravel())[1:], charge


def test_sizes_match_masks_of_uvis_darks():
    """Shares of 1 to 6 pixels in masks of WFC3/UVIS darks without recurring single pixels."""
    rng = np.random.default_rng(4)
    charge = cosmic_ray_footprints(5000, seed=rng, diffusion=4).scatter((1200, 1200), rng)
    size, _ = sizes_and_charges(charge + rng.normal(0, 4, charge.shape), 20)
    shares = [np.mean(size == n) for n in range(1, 7)]
    np.testing.assert_allclose(shares, [0.099, 0.163, 0.138, 0.211, 0.095, 0.072], atol=0.05)
    np.testing.assert_allclose(np.percentile(size, [25, 50, 75]), [2, 4, 6], atol=1)
    assert 9 <= np.percentile(size, 95) <= 13
    assert 17 <= np.percentile(size, 99) <= 26


def test_sizes_and_charges_match_stis():
    """As found in dark-subtracted STIS frames, 42 x 21 micrometre pixels, above 30 electrons."""
    rng = np.random.default_rng(4)
    settings = {"pixel_size": 21, "diffusion": 8.5, "thickness": 15.3}
    charge = cosmic_ray_footprints(5000, seed=rng, **settings).scatter((1000, 1600), rng)
    charge = charge[:, ::2] + charge[:, 1::2] + rng.normal(0, 4.4, (1000, 800))
    size, charge = sizes_and_charges(charge, 30)
    size, charge = size[charge > 250], charge[charge > 250]
    shares = [np.mean(size == n) for n in range(1, 5)]
    np.testing.assert_allclose(shares, [0.043, 0.297, 0.179, 0.199], atol=0.03)
    np.testing.assert_allclose(np.percentile(charge, [5, 50, 90]), [545, 1580, 6800], rtol=0.15)
    np.testing.assert_allclose(np.percentile(charge[size == 1], [5, 50]), [389, 682], rtol=0.3)


def test_thick_silicon_gives_long_and_bright_hits(hits):
    thick = cosmic_ray_footprints(500, seed=1, thickness=100)
    assert np.median(thick.total_charge) > 4 * np.median(hits.total_charge)
    thin_size, thick_size = (np.mean(h.brighter_than(15).n_pixels) for h in (hits, thick))
    assert thick_size > 1.7 * thin_size


def test_electrons_wander():
    worms = cosmic_ray_footprints(1500, seed=1, electron_fraction=1.0, thickness=100)
    straight = cosmic_ray_footprints(300, seed=1, electron_fraction=0.0, thickness=100)

    def crookedness(library):
        values = []
        for low, high in zip(library.offsets[:-1], library.offsets[1:], strict=True):
            if high - low > 80:
                covariance = np.cov(
                    library.dy[low:high], library.dx[low:high], aweights=library.charge[low:high]
                )
                small, large = np.linalg.eigvalsh(covariance)
                values.append(small / large)
        return np.median(values)

    assert crookedness(worms) > 2 * crookedness(straight)


def test_less_diffusion_gives_sharper_hits(hits):
    sharp = cosmic_ray_footprints(2000, seed=1, diffusion=2)
    share = [
        np.median(np.maximum.reduceat(h.charge, h.offsets[:-1]) / h.total_charge)
        for h in (hits, sharp)
    ]
    assert share[1] > share[0] + 0.1


def test_same_seed_same_hits():
    one, two = (cosmic_ray_footprints(50, seed=9) for _ in range(2))
    np.testing.assert_array_equal(one.charge, two.charge)
    rng = np.random.default_rng(9)
    np.testing.assert_array_equal(cosmic_ray_footprints(50, seed=rng).charge, one.charge)
    assert cosmic_ray_footprints(50, seed=rng).charge.size != one.charge.size


def test_no_hits():
    assert len(cosmic_ray_footprints(0, seed=1)) == 0


@pytest.mark.parametrize("name", ["pixel_size", "thickness", "diffusion"])
def test_refuses_sizes(name):
    with pytest.raises(ValueError, match=f"{name} must be positive, in micrometres, got -1"):
        cosmic_ray_footprints(3, **{name: -1})


def test_refuses_fraction_and_time():
    with pytest.raises(ValueError, match=r"electron_fraction must be in \[0, 1\], got 2"):
        cosmic_ray_footprints(3, electron_fraction=2)
    with pytest.raises(ValueError, match="must not be negative, got -5 and 1"):
        simulate_cosmic_rays((8, 8), -5)
