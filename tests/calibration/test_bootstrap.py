import numpy as np
import pytest
from numpy.testing import assert_array_equal

from cosmiq_astro.calibration import (
    aurc,
    block_index,
    bootstrap_interval,
    brier_score,
    score_table,
    tpr_at_fpr,
)


def test_agrees_with_the_intervals_of_the_score_table(images):
    table = score_table(*images, n_resamples=400, seed=0)
    low, high = bootstrap_interval(brier_score, *images, n_resamples=400, seed=1)
    assert low == pytest.approx(table["brier_low"][0], rel=0.02)
    assert high == pytest.approx(table["brier_high"][0], rel=0.02)


def test_covers_the_spread_between_images_not_between_pixels():
    # Pixels of an image share one error, so an image is worth a single draw.
    rng = np.random.default_rng(0)
    offset = rng.random(40)
    p = [np.full((10, 10), x) for x in offset]
    y = [np.zeros((10, 10))] * 40
    low, high = bootstrap_interval(brier_score, p, y, n_resamples=500, level=0.68, seed=0)
    error = (offset**2).std() / np.sqrt(40)
    assert (high - low) / 2 == pytest.approx(error, rel=0.15)


def test_any_score_any_weights_seeded(images):
    def score(table):
        return tpr_at_fpr(table, fpr=0.05)

    weight = [np.ones(x.shape) for x in images[0]]
    first = bootstrap_interval(score, *images, n_resamples=20, seed=5, weight=weight)
    assert first == bootstrap_interval(score, *images, n_resamples=20, seed=5)
    assert first != bootstrap_interval(score, *images, n_resamples=20, seed=6)
    uncertainty = [np.full(x.shape, 0.5) for x in images[0]]
    low, high = bootstrap_interval(aurc, *images, uncertainty=uncertainty, n_resamples=20, seed=0)
    assert low < aurc(*images, uncertainty=uncertainty) < high


def test_blocks_of_one_image(images):
    p, y = np.vstack(images[0]), np.vstack(images[1])
    blocks = block_index(p.shape, size=16)
    assert_array_equal(np.unique(blocks), np.arange(12 * 3))
    assert_array_equal(np.unique(blocks[16:32, 32:]), [5])
    low, high = bootstrap_interval(brier_score, p, y, image=blocks, n_resamples=50, seed=0)
    assert low < brier_score(p, y) < high


def test_a_single_image_is_refused(images):
    with pytest.raises(ValueError, match=r"at least 2 images .* not 1; cut a single image"):
        bootstrap_interval(brier_score, images[0][0], images[1][0])
