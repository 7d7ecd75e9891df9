import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import expit

import cosmiq_astro.calibration as cal
from cosmiq_astro.calibration import CalibrationAccumulator

EXACT = [
    ("brier_score", {}),
    ("brier_score", {"non_trivial": True}),
    ("negative_log_likelihood", {}),
    ("negative_log_likelihood", {"non_trivial": True}),
    ("expected_calibration_error", {}),
    ("expected_calibration_error", {"non_trivial": True}),
]
RANK = ["roc_auc", "aurc", "error_auroc"]


def counted(p, y, **columns):
    counts = CalibrationAccumulator()
    for part in np.array_split(np.arange(len(p)), 5):
        counts.update(p[part], y[part], **{k: v[part] for k, v in columns.items()})
    return counts


@pytest.mark.parametrize(("name", "options"), EXACT)
@pytest.mark.parametrize("weighted", [False, True])
def test_sums_are_exact(pixels, name, options, weighted):
    p, y = pixels
    p = np.concatenate([p, [0.0, 1.0, 0.0, 1.0]])
    y = np.concatenate([y, [0, 1, 1, 0]]).astype(bool)
    columns = {"weight": np.random.default_rng(0).random(p.size)} if weighted else {}
    counts = counted(p, y, **columns)
    exact = getattr(cal, name)(p, y, **columns, **options)
    assert getattr(counts, name)(**options) == pytest.approx(exact, rel=1e-12)


def test_reliability_is_exact(pixels):
    p, y = pixels
    counts = counted(p, y)
    expected = cal.reliability_table(p, y)
    table = counts.reliability_table()
    for name in expected.colnames:
        assert_allclose(table[name], expected[name])


@pytest.mark.parametrize("name", RANK)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rank_measures_are_close(name, dtype):
    rng = np.random.default_rng(0)
    hit = rng.random(300_000) < 0.03
    p = expit(rng.normal(0, 2, hit.size) + np.where(hit, 3, -6)).astype(dtype)
    p[:100], p[100:200] = 0, 1
    y = rng.random(p.size) < p
    counts = counted(p, y)
    assert getattr(counts, name)() == pytest.approx(getattr(cal, name)(p, y), abs=1e-4)


def test_exact_zeros_and_ones_are_ties_of_their_own():
    p = np.array([0.0, 0.0, 1e-30, 1 - 1e-16, 1.0, 1.0])
    y = np.array([0, 1, 1, 0, 0, 1])
    counts = CalibrationAccumulator()
    counts.update(p, y)
    assert counts.roc_auc() == cal.roc_auc(p, y)


def test_rows_of_the_tables_are_exact_for_their_threshold(pixels):
    p, y = pixels
    counts = counted(p, y)
    for row in counts.roc_table()[1::50]:
        assert row["tpr"] == pytest.approx(np.mean(p[y] >= row["threshold"]))
        assert row["fpr"] == pytest.approx(np.mean(p[~y] >= row["threshold"]))
    for row in counts.precision_recall_table()[::50]:
        assert row["precision"] == pytest.approx(np.mean(y[p >= row["threshold"]]))
    table = counts.risk_coverage_table()
    assert table["risk"][-1] == pytest.approx(np.mean((p >= 0.5) != y))
    assert counts.tpr_at_fpr(fpr=0.01) == pytest.approx(
        cal.tpr_at_fpr(p, y, fpr=0.01), abs=1 / y.sum()
    )
    assert counts.expected_calibration_error(binning="count") == pytest.approx(
        cal.expected_calibration_error(p, y, binning="count"), abs=1e-4
    )
    assert counts.reliability_table(binning="count").meta["N_PIXELS"] == p.size


def test_any_uncertainty(pixels):
    p, y = pixels
    std = np.abs(np.random.default_rng(5).normal(0, 0.1, p.size)) * p * (1 - p)
    std[:50] = 0
    counts = counted(p, y, uncertainty=std)
    assert counts.aurc() == pytest.approx(cal.aurc(p, y, uncertainty=std), abs=1e-5)
    assert counts.error_auroc() == pytest.approx(cal.error_auroc(p, y, uncertainty=std), abs=1e-4)


def test_merge_equals_one_pass(pixels):
    p, y = pixels
    group = np.where(p > 0.5, "a", "b")
    whole = counted(p, y, group=group)
    left = counted(p[:1000], y[:1000], group=group[:1000])
    right = counted(
        np.append(p[1000:], np.nan), np.append(y[1000:], False), group=np.append(group[1000:], "a")
    )
    right = pickle.loads(pickle.dumps(right))
    left.merge(right)
    assert left.n_pixels == whole.n_pixels
    assert left.n_left_out == 1
    assert set(left.groups) == {"a", "b"}
    for name in ("brier_score", "roc_auc", "aurc"):
        assert getattr(left, name)() == pytest.approx(getattr(whole, name)(), rel=1e-12)
        for key in "ab":
            assert getattr(left.groups[key], name)() == pytest.approx(
                getattr(whole.groups[key], name)(), rel=1e-12, nan_ok=True
            )
    with pytest.raises(ValueError, match=r"other.n_bins is 7, this one's is 15"):
        left.merge(CalibrationAccumulator(n_bins=7))


def test_merge_does_not_tie_the_two_together(pixels):
    p, y = pixels
    first, second = CalibrationAccumulator(), CalibrationAccumulator()
    second.update(p, y, group="a")
    first.merge(second)
    before = second.n_pixels
    first.update(p, y, group="a")
    assert second.n_pixels == before
    assert second.groups["a"].n_pixels == before


@pytest.mark.filterwarnings("ignore:the intervals rest on")
def test_scores_and_intervals_equal_those_of_all_images_at_once(images):
    counts = CalibrationAccumulator()
    for p, y in zip(*images, strict=True):
        counts.update(p, y)
    streamed = counts.score_table(level=0.95)
    at_once = cal.score_table(*images, level=0.95)
    assert streamed.colnames == at_once.colnames
    for name in streamed.colnames[1:]:
        assert streamed[name][0] == pytest.approx(at_once[name][0], abs=2e-4, rel=1e-3), name
    assert streamed["nll_low"][0] == pytest.approx(at_once["nll_low"][0], rel=1e-9)
    listed = CalibrationAccumulator()
    listed.update(*images)
    assert listed.score_table().meta["N_IMAGES"] == 6


def test_table_of_counts_serves_any_function(pixels):
    p, y = pixels
    table = counted(p, y).to_table()
    assert table["weight"].sum() == p.size
    assert cal.brier_score(table) == pytest.approx(cal.brier_score(p, y), abs=1e-6)
    expected = float(cal.fit_temperature(p, y))
    assert float(cal.fit_temperature(table)) == pytest.approx(expected, abs=1e-4)


def test_masked_pixels_are_counted_apart():
    counts = CalibrationAccumulator()
    counts.update([np.nan, np.nan], [0, 1])
    assert (counts.n_pixels, counts.n_left_out) == (0, 2)
    assert np.isnan(counts.brier_score())
    counts.update([0.5], [1])
    assert counts.brier_score() == 0.25


def test_memory_does_not_grow(pixels):
    p, y = pixels
    counts = CalibrationAccumulator()
    counts.update(p, y)
    size = len(pickle.dumps(counts))
    for _ in range(10):
        counts.update(np.tile(p, 5), np.tile(y, 5))
    assert len(pickle.dumps(counts)) - size < 10 * 4096


def test_refusals():
    with pytest.raises(ValueError, match="nothing is counted yet"):
        CalibrationAccumulator().brier_score()
    with pytest.raises(ValueError, match="n_bins must be at least 1, not 0"):
        CalibrationAccumulator(n_bins=0)
    with pytest.raises(ValueError, match=r"threshold must lie in \[0, 1\], not 2"):
        CalibrationAccumulator(threshold=2)
    counts = CalibrationAccumulator()
    counts.update([0.5], [1])
    with pytest.raises(ValueError, match="binning must be"):
        counts.expected_calibration_error(binning="x")
    with pytest.raises(ValueError, match="binning must be"):
        counts.reliability_table(binning="x")


def test_threshold_of_one_and_zero():
    p, y = np.array([0.0, 0.3, 1.0]), np.array([0, 1, 1])
    for threshold, tpr in ((0.0, 1.0), (1.0, 0.5)):
        counts = CalibrationAccumulator(threshold=threshold)
        counts.update(p, y)
        assert counts.score_table()["tpr"][0] == tpr
    assert_array_equal(counts.score_table()["fpr"], [0.0])


def test_repr_says_what_was_counted():
    counts = CalibrationAccumulator()
    counts.update(np.full(1200, 0.5), np.ones(1200), group="F606W")
    assert repr(counts) == ("<CalibrationAccumulator: 1,200 pixels of 1 images, groups F606W>")
