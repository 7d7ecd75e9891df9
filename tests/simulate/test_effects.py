import numpy as np
import pytest

from cosmiq_astro.simulate import (
    add_noise,
    apply_saturation,
    bad_columns,
    bias_steps,
    cte_trails,
    flat_residual,
    hot_pixels,
    warm_pixels,
)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_bleeding_keeps_charge_and_stays_in_the_column():
    image = np.full((64, 8), 10.0)
    image[30, 3] = 2000.0
    image[31, 3] = 500.0
    out = apply_saturation(image, full_well=100)
    assert out.sum() == pytest.approx(image.sum(), rel=1e-6)
    assert out.max() == 100
    np.testing.assert_array_equal(np.delete(out, 3, axis=1), np.delete(image, 3, axis=1))
    full = np.flatnonzero(out[:, 3] == 100)
    assert np.all(np.diff(full) == 1)
    assert abs(full.mean() - 30.5) < 1.5


def test_bleeding_off_the_edge_is_lost():
    image = np.zeros((10, 1))
    image[0] = 1000.0
    out = apply_saturation(image, full_well=100)
    np.testing.assert_allclose(out[:, 0], [100] * 5 + [50] + [0] * 4)


def test_saturation_leaves_its_input_alone():
    image = np.full((4, 4), 200.0)
    apply_saturation(image, full_well=100)
    assert image.max() == 200
    with pytest.raises(ValueError, match="full_well must be positive, got 0"):
        apply_saturation(image, full_well=0)


@pytest.mark.parametrize("level", [0.5, 40.0, 30_000.0])
def test_noise_has_the_right_moments(level, rng):
    out = add_noise(np.full((300, 300), level), 5.0, rng)
    assert out.mean() == pytest.approx(level, abs=4 * np.sqrt(level + 25) / 300)
    assert out.var() == pytest.approx(level + 25, rel=0.03)


def test_noise_of_negative_levels_is_read_noise(rng):
    out = add_noise(np.full((200, 200), -3.0), 2.0, rng)
    assert out.mean() == pytest.approx(-3, abs=0.05)
    assert out.std() == pytest.approx(2, rel=0.03)


def test_trails_follow_the_charge_and_keep_it():
    image = np.zeros((400, 3), np.float32)
    image[100, 1] = 5000
    out = cte_trails(image, 0.5, first_row=1000)
    assert out[100, 1] < 5000
    assert out[:100].max() == 0
    assert np.all(np.diff(out[101:160, 1]) < 0)
    assert out.sum() == pytest.approx(image.sum(), rel=0.01)


def test_trails_grow_with_distance_from_the_register_and_spare_no_charge():
    image = np.zeros((200, 1), np.float32)
    image[50] = 1000
    near = cte_trails(image, 0.3, first_row=0)[50, 0]
    far = cte_trails(image, 0.3, first_row=1500)[50, 0]
    assert 1000 > near > far > 600
    np.testing.assert_array_equal(cte_trails(image, 0.0), image)


def test_trails_leave_a_uniform_image_alone():
    image = np.full((300, 4), 60.0, np.float32)
    np.testing.assert_allclose(cte_trails(image, 0.5, first_row=1000), image, atol=0.6)


def test_hot_and_warm_pixels(rng):
    hot = hot_pixels((500, 500), rng, fraction=0.01)
    assert np.mean(hot > 0) == pytest.approx(0.01, rel=0.1)
    assert hot[hot > 0].min() >= 0.14
    assert hot.max() > 1
    warm = warm_pixels((500, 500), rng, fraction=0.02)
    assert np.mean(warm > 0) == pytest.approx(0.02, rel=0.1)
    assert 0.06 <= warm[warm > 0].min() <= warm.max() <= 0.14


def test_bias_steps_are_one_level_per_amplifier(rng):
    steps = bias_steps((50, 100), rng, amplitude=5, stripe=0, n_amplifiers=2)
    assert len(np.unique(steps[:, :50])) == 1
    assert len(np.unique(steps)) == 2
    striped = bias_steps((500, 10), rng, amplitude=0, stripe=0.5)
    assert np.ptp(striped, axis=1).max() == 0
    assert striped[:, 0].std() == pytest.approx(0.5, rel=0.15)


def test_bad_columns_run_to_the_edge(rng):
    columns = bad_columns((60, 40), rng, n=3)
    assert 1 <= np.count_nonzero(columns.any(axis=0)) <= 3
    assert np.all(columns.any(axis=0) == (columns[-1] != 0))
    assert not bad_columns((60, 40), rng, n=0).any()


def test_flat_residual_is_near_one(rng):
    flat = flat_residual((256, 300), rng, pixel=0.01, smooth=0.0)
    assert flat.shape == (256, 300)
    assert flat.mean() == pytest.approx(1, abs=1e-3)
    assert flat.std() == pytest.approx(0.01, rel=0.05)
    smooth = flat_residual((256, 300), rng, pixel=0.0, smooth=0.01)
    assert np.abs(np.diff(smooth, axis=0)).max() < 2e-3
    assert smooth.std() > 1e-3
