from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cosmiq_astro.preprocess import (
    ImageStatistics,
    estimate_statistics,
    fill_holes,
    measure_softness,
    normalize,
    subtract_sky,
)
from cosmiq_astro.simulate import expose, moffat_psf, simulate_cosmic_rays, simulate_scene


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
    restored = np.sinh(inputs[0]) * statistics.noise + sky
    np.testing.assert_allclose(restored, image, rtol=1e-4, atol=0.02 + abs(sky) * 1e-4)


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


def sky_field(shape=(256, 256), seed=6):
    return np.random.default_rng(seed).normal(50, 8, shape)


def vignetted(image):
    y, x = np.indices(image.shape)
    return np.hypot(y - 127.5, x - 127.5) > 119


def bordered(image):
    return np.pad(np.zeros((216, 216), bool), 20, constant_values=True)


def gaps(image):
    return np.broadcast_to(np.arange(256) % 64 < 20, image.shape)


@pytest.mark.parametrize("value", [0.0, -99.0, 65535.0])
@pytest.mark.parametrize("region", [vignetted, bordered, gaps])
def test_constant_regions_are_missing_pixels(region, value):
    image = sky_field()
    expected = estimate_statistics(image, everything(image))
    constant = region(image)
    assert 0.2 < constant.mean() < 0.4
    image[constant] = value
    statistics = estimate_statistics(image, everything(image))
    assert abs(statistics.sky - expected.sky) < 0.5
    assert abs(statistics.noise / expected.noise - 1) < 0.1


def test_what_a_mask_hides_does_not_decide_on_constant_regions():
    image = sky_field()
    image[:100] = 0
    valid = np.random.default_rng(7).random(image.shape) > 0.1
    other = np.where(valid, image, 1e6)
    assert estimate_statistics(image, valid) == estimate_statistics(other, valid)


@pytest.mark.parametrize("noise", [0.05, 0.2, 0.3, 0.45])
def test_coarse_steps_bound_the_noise(noise):
    step = 12.0
    rng = np.random.default_rng(8)
    image = rng.normal(100.3, noise, (256, 256)).round() * step
    measured = estimate_statistics(image, everything(image)).noise
    true = step * np.hypot(noise, 1 / np.sqrt(12))
    assert 0.7 < measured / true < 1.3


def test_few_electrons_are_whole_electrons():
    for mean in (0.002, 0.02, 0.3):
        image = np.random.default_rng(9).poisson(mean, (96, 96)).astype(float)
        assert 0.99 < estimate_statistics(image, everything(image)).noise < 1.2


def test_where_nothing_differs_the_noise_is_that_of_photons():
    image = np.full((96, 96), 49.0)
    image[20, 20:30] = 900  # a hit is no step of a converter
    assert estimate_statistics(image, everything(image)) == ImageStatistics(49.0, 7.0)


def test_ordinary_frames_are_measured_as_ever():
    image = sky_field()
    image[:30, :40] = 0  # less than a quarter of the blocks
    image[50:90, 50:53] += 3000
    blocks = [
        1.482602218505602 * np.median(np.abs(np.diff(block, axis=1))) / np.sqrt(2)
        for rows in np.split(image, 8)
        for block in np.split(rows, 8, axis=1)
        if np.ptp(block)
    ]
    noise = estimate_statistics(image, everything(image)).noise
    np.testing.assert_allclose(noise, np.quantile(blocks, 0.25), rtol=0.02)


@pytest.mark.parametrize("left_over", [-3, 0, 15])
def test_a_subtracted_sky_leaves_its_noise(left_over):
    image = np.random.default_rng(1).normal(left_over, 100, (200, 200))
    statistics = estimate_statistics(image, np.isfinite(image), readnoise=8.0)
    assert statistics.noise == pytest.approx(100, rel=0.05)


@pytest.mark.parametrize("density", [0.01, 0.05, 0.15, 0.4])
@pytest.mark.parametrize("brightness", [1, 10, 100])
def test_a_dark_crowded_field_is_no_subtracted_sky(density, brightness):
    rng = np.random.default_rng(2)
    n = rng.poisson(density * 200 * 200)
    light = np.minimum(brightness / (1 - rng.random(n)), 1e5)
    image = moffat_psf(2.0).render((200, 200), *rng.uniform(0, 200, (2, n)), light)
    image = rng.poisson(np.maximum(image, 0) + 0.3) + rng.normal(0, 4, image.shape)
    statistics = estimate_statistics(image, np.isfinite(image), readnoise=4.0)
    assert statistics.noise == pytest.approx(np.hypot(np.sqrt(max(statistics.sky, 0)), 4))


def test_holes_are_filled_from_their_rim():
    y, x = np.mgrid[:41, :41]
    star = (80_000 * np.exp(-((y - 20) ** 2 + (x - 20) ** 2) / 14)).astype("f4")
    valid = star < 30_000
    pixels = np.where(valid, star, 0).astype("f4")
    before = pixels.copy()
    fill_holes(pixels, valid, 5.0)
    np.testing.assert_array_equal(pixels[valid], before[valid])
    assert (pixels[~valid] > 25_000).all()
    assert pixels[20, 20] > 45_000
    assert pixels.max() < 2 * star.max()


def test_holes_in_the_sky_are_sky_and_large_ones_end():
    rng = np.random.default_rng(10)
    image = rng.normal(0, 5, (300, 300)).astype("f4")
    valid = rng.random(image.shape) > 0.3
    valid[:, :200] = False
    image[~valid] = 0
    fill_holes(image, valid, 5.0)
    assert np.isfinite(image).all()
    assert np.abs(image[~valid]).max() < 25
    assert not image[:, :130].any()
    nothing = np.zeros((5, 5), "f4")
    fill_holes(nothing, np.zeros((5, 5), bool), 1.0)
    assert not nothing.any()


def stars(fwhm, seed=1):
    """A crowded field seen with stars of some width, and hits."""
    psf = moffat_psf(fwhm)
    rate = simulate_scene((128, 128), "globular", psf, seed=seed, density=2.0, brightness=1.0).rate
    hits = simulate_cosmic_rays((128, 128), 500.0, seed=seed)
    return expose(rate, 500.0, hits, seed=seed, defects=False)[0]


def test_softness_tells_how_wide_stars_are_whatever_hits_there_are():
    everywhere = np.ones((128, 128), bool)
    found = []
    for fwhm in (1.0, 2.0, 4.0):
        image = stars(fwhm)
        statistics = estimate_statistics(image, everywhere, readnoise=4.5, softness=True)
        found.append(statistics.softness)
        assert statistics == replace(
            estimate_statistics(image, everywhere, readnoise=4.5), softness=statistics.softness
        )
    assert found[0] < 0.35 < found[1] < found[2] - 0.05 < 0.75
    hits_alone = simulate_cosmic_rays((128, 128), 500.0, seed=1)
    assert measure_softness(hits_alone, everywhere, ImageStatistics(0.0, 5.0)) < found[0]


def test_softness_ignores_masked_peaks_and_few_ones():
    image = stars(2.0)
    valid = np.ones(image.shape, bool)
    statistics = estimate_statistics(image, valid, readnoise=4.5)
    before = measure_softness(image, valid, statistics)
    valid[::9, ::7] = False
    image[~valid] = 1e9
    assert abs(measure_softness(image, valid, statistics) - before) < 0.1
    assert measure_softness(image, np.zeros_like(valid), statistics) == 0
    assert measure_softness(image[:4, :4], valid[:4, :4], statistics) == 0
