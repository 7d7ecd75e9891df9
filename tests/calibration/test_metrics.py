import numpy as np
import pytest
from astropy.table import Table
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cosmiq_astro.calibration import (
    brier_score,
    expected_calibration_error,
    negative_log_likelihood,
    score_table,
)

N = 60


def maximum_calibration_error(p, y, *, n_bins=15, weight=None):
    return score_table(p, y, n_bins=n_bins, weight=weight)["mce"][0]


probabilities = arrays(float, N, elements=st.floats(0, 1))
labels = arrays(bool, N)
weights = arrays(float, N, elements=st.floats(0.1, 10))


def test_brier_and_likelihood_agree_with_scikit_learn(pixels):
    sklearn = pytest.importorskip("sklearn.metrics")
    p, y = pixels
    weight = np.random.default_rng(0).random(p.size) + 0.1
    for w in (None, weight):
        brier = sklearn.brier_score_loss(y, p, sample_weight=w)
        assert brier_score(p, y, weight=w) == pytest.approx(brier, abs=1e-12)
        nll = sklearn.log_loss(y, p, sample_weight=w)
        assert negative_log_likelihood(p, y, weight=w) == pytest.approx(nll, abs=1e-9)


@pytest.mark.parametrize(
    ("norm", "score"), [("l1", expected_calibration_error), ("max", maximum_calibration_error)]
)
def test_calibration_error_agrees_with_torchmetrics_below_one(pixels, norm, score):
    torch = pytest.importorskip("torch")
    functional = pytest.importorskip("torchmetrics.functional.classification")
    p, y = pixels
    expected = functional.binary_calibration_error(
        torch.from_numpy(p), torch.from_numpy(y.astype(int)), n_bins=15, norm=norm
    )
    assert score(p, y) == pytest.approx(float(expected), abs=1e-6)


def test_certain_and_half_wrong_is_an_error_of_a_half():
    p, y = np.ones(1000), np.arange(1000) < 500
    assert expected_calibration_error(p, y) == 0.5
    assert expected_calibration_error(p, y, binning="count") == 0.5
    assert maximum_calibration_error(p, y) == 0.5
    assert expected_calibration_error(np.zeros(1000), y) == 0.5


def test_likelihood_of_the_impossible_is_clipped():
    assert negative_log_likelihood([1.0], [0]) == pytest.approx(-np.log(1e-7), rel=1e-9)
    assert negative_log_likelihood([0.0], [1]) == pytest.approx(-np.log(1e-7), rel=1e-9)
    assert negative_log_likelihood([1.0, 0.0], [1, 0]) == pytest.approx(1e-7, rel=1e-6)


def test_bin_edges_are_closed_below():
    # 1/49 * 49 rounds below 1: flooring p * n_bins would put it into the bin below.
    p = np.arange(49) / 49
    assert maximum_calibration_error(p, p > 2, n_bins=49) == pytest.approx(48 / 49)
    assert expected_calibration_error(p, p > 2, n_bins=49) == pytest.approx(p.mean())


@settings(max_examples=60, deadline=None)
@given(probabilities, labels, st.integers(1, 20))
def test_calibration_errors_are_ordered(p, y, n_bins):
    ece = expected_calibration_error(p, y, n_bins=n_bins)
    mce = maximum_calibration_error(p, y, n_bins=n_bins)
    bias = abs(p.mean() - y.mean())
    assert bias - 1e-12 <= ece <= mce + 1e-12 <= 1 + 1e-9
    adaptive = expected_calibration_error(p, y, n_bins=n_bins, binning="count")
    assert bias - 1e-12 <= adaptive <= 1 + 1e-9


@settings(max_examples=60, deadline=None)
@given(probabilities, labels, weights)
def test_scores_do_not_depend_on_order_or_on_splitting_weights(p, y, weight):
    order = np.random.default_rng(0).permutation(N)
    for score in (brier_score, negative_log_likelihood, expected_calibration_error):
        expected = score(p, y, weight=weight)
        assert score(p[order], y[order], weight=weight[order]) == pytest.approx(expected)
        split = score(np.tile(p, 2), np.tile(y, 2), weight=np.concatenate([weight, 2 * weight]))
        assert split == pytest.approx(expected)


def test_integer_weights_repeat_pixels(pixels):
    p, y = (x[:500] for x in pixels)
    times = np.random.default_rng(3).integers(1, 4, 500)
    for score in (
        brier_score,
        negative_log_likelihood,
        expected_calibration_error,
        maximum_calibration_error,
    ):
        repeated = score(np.repeat(p, times), np.repeat(y, times))
        assert score(p, y, weight=times) == pytest.approx(repeated, rel=1e-9)


def test_adaptive_bins_hold_equal_counts_and_keep_ties_together():
    p = np.array([0.1, 0.2, 0.3, 0.4])
    y = np.array([1, 0, 1, 1])
    expected = (abs(0.3 - 1) + abs(0.7 - 2)) / 4
    assert expected_calibration_error(p, y, n_bins=2, binning="count") == pytest.approx(expected)
    tied = np.array([0.2, 0.2, 0.2, 0.9])
    assert expected_calibration_error(tied, y, n_bins=4, binning="count") == pytest.approx(
        (abs(0.6 - 2) + abs(0.9 - 1)) / 4
    )


def test_non_trivial_pixels():
    p = np.array([0.001, 0.005, 0.01, 0.2, 0.9])
    y = np.array([0, 1, 0, 0, 1])
    keep = [1, 3, 4]
    for score in (brier_score, negative_log_likelihood, expected_calibration_error):
        assert score(p, y, non_trivial=True) == pytest.approx(score(p[keep], y[keep]))
    assert expected_calibration_error(p, y, binning="count", non_trivial=True) == pytest.approx(
        expected_calibration_error(p[keep], y[keep], binning="count")
    )


def test_classwise_errors_are_those_of_each_call(pixels):
    p, y = pixels
    row = score_table(p, y, threshold=0.3)[0]
    called = p >= 0.3
    assert row["ece_sky"] == pytest.approx(expected_calibration_error(p[~called], y[~called]))
    assert row["ece_cosmic_ray"] == pytest.approx(expected_calibration_error(p[called], y[called]))
    assert np.isnan(score_table([0.1], [0])["ece_cosmic_ray"][0])


def test_weights_count_by_class_and_in_adaptive_bins():
    p, y = np.array([0.1, 0.2, 0.7, 0.9]), np.array([0, 1, 1, 0])
    weight = np.array([1.0, 3.0, 1.0, 2.0])
    row = score_table(p, y, weight=weight, n_bins=1)[0]
    assert row["ece_sky"] == pytest.approx(abs(0.1 + 3 * 0.2 - 3) / 4)
    assert row["ece_cosmic_ray"] == pytest.approx(abs(0.7 + 2 * 0.9 - 1) / 3)
    assert expected_calibration_error(
        p, y, weight=[3, 1, 1, 3], n_bins=2, binning="count"
    ) == pytest.approx((abs(3 * 0.1 + 0.2 - 1) + abs(0.7 + 3 * 0.9 - 1)) / 8)


def test_pixels_of_several_images_count_alike():
    table = Table({"probability": [0.2, 0.4, 0.9], "label": [0, 1, 1], "image": ["a", "b", "b"]})
    assert brier_score(table) == pytest.approx((0.04 + 0.36 + 0.01) / 3)


def test_no_pixel_gives_nan_and_unknown_binning_is_refused():
    assert np.isnan(brier_score([np.nan], [1]))
    assert np.isnan(expected_calibration_error([np.nan], [1]))
    assert np.isnan(expected_calibration_error([np.nan], [1], binning="count"))
    with pytest.raises(ValueError, match="binning must be 'width' or 'count', not 'equal'"):
        expected_calibration_error([0.5], [1], binning="equal")
