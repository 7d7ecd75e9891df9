import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cosmiq_astro.preprocess import (
    ImageStatistics,
    estimate_statistics,
    normalize,
    restore,
    subtract_sky,
)


def everything(image):
    return np.ones(image.shape, dtype=bool)


@pytest.mark.parametrize("readnoise", [None, 5.0])
def test_sky_and_noise_of_an_empty_field(readnoise):
    rng = np.random.default_rng(0)
    image = rng.poisson(100, (512, 512)) + rng.normal(0, 5, (512, 512))
    statistics = estimate_statistics(image, everything(image), readnoise=readnoise)
    assert abs(statistics.sky - 100) < 0.3
    assert abs(statistics.noise / np.sqrt(125) - 1) < 0.05


def test_stars_and_hits_move_neither():
    rng = np.random.default_rng(1)
    image = rng.normal(100, 10, (512, 512))
    empty = estimate_statistics(image, everything(image))
    y, x = np.mgrid[-8:9, -8:9]
    star = 3000 * np.exp(-(x**2 + y**2) / 5)
    for _ in range(300):
        cy, cx = rng.integers(8, 500, 2)
        image[cy - 8 : cy + 9, cx - 8 : cx + 9] += star * rng.exponential()
    image[rng.random(image.shape) < 0.03] += 2000
    crowded = estimate_statistics(image, everything(image))
    assert abs(crowded.sky - empty.sky) < 2.0
    assert abs(crowded.noise / empty.noise - 1) < 0.2


def test_masked_pixels_do_not_count():
    image = np.random.default_rng(2).normal(100, 10, (128, 128))
    bad = image.copy()
    bad[:, :50] = 1e5
    valid = everything(image)
    valid[:, :50] = False
    statistics = estimate_statistics(bad, valid)
    assert abs(statistics.sky - 100) < 0.5
    assert abs(statistics.noise - 10) < 1


def test_few_pixels_and_none():
    image = np.full((40, 3), 7.0)
    assert estimate_statistics(image, np.zeros((40, 3), bool)) == ImageStatistics(0.0, 1.0)
    one = np.zeros((40, 3), bool)
    one[5, 1] = True
    assert estimate_statistics(image, one).sky == 7
    large = np.zeros((600, 600))
    alone = np.zeros((600, 600), bool)
    large[1, 1], alone[1, 1] = 9, True  # between the points of the sampling grid
    assert estimate_statistics(large, alone).sky == 9


@given(st.floats(-1e4, 1e5), st.floats(0.01, 1e3))
@settings(deadline=None)
def test_asinh_inverts(sky, noise):
    statistics = ImageStatistics(sky, noise)
    image = np.linspace(-5, 1e4, 50).reshape(5, 10)
    inputs = normalize(image - sky, statistics, ("asinh",)).astype(float)
    np.testing.assert_allclose(
        restore(inputs[0], statistics), image, rtol=1e-4, atol=0.02 + abs(sky) * 1e-4
    )


def test_anscombe_channel_has_the_same_noise_at_every_brightness():
    rng = np.random.default_rng(3)
    sky, readnoise = 30.0, 4.0
    statistics = ImageStatistics(sky, np.sqrt(sky + readnoise**2))
    for level in (0, 100, 1e4):
        image = rng.poisson(sky + level, 40_000) + rng.normal(0, readnoise, 40_000)
        channel = normalize((image - sky)[None], statistics, ["anscombe"])
        assert abs(channel.std() - 0.1) < 0.004


def test_electron_channel_is_the_image():
    statistics = ImageStatistics(30.0, 2.0)
    image = np.float32([[1, 2], [3, 4]])
    np.testing.assert_array_equal(normalize(image - 30, statistics, ("electron",))[0], image)


def test_subtract_sky_blanks_clips_and_leaves_its_input():
    image = np.array([[10.0, np.nan], [1e30, 500.0]])
    valid = np.array([[True, False], [True, True]])
    pixels = subtract_sky(image, valid, 10.0, satlevel=300)
    assert pixels.dtype == np.float32
    np.testing.assert_array_equal(pixels, [[0, 0], [290, 290]])
    assert np.isnan(image[0, 1])
