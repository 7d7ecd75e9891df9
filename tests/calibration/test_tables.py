import numpy as np
import pytest
from astropy.table import QTable
from numpy.testing import assert_allclose, assert_array_equal

from cosmiq_astro.calibration import (
    aurc,
    brier_score,
    expected_calibration_error,
    precision_recall_table,
    quantile_groups,
    reliability_table,
    risk_coverage_table,
    roc_auc,
    roc_table,
    score_table,
    tpr_at_fpr,
)

TABLES = [reliability_table, risk_coverage_table, roc_table, precision_recall_table, score_table]


@pytest.mark.parametrize("make", TABLES)
@pytest.mark.parametrize("form", ["ascii.ecsv", "fits"])
@pytest.mark.parametrize("grouped", [False, True])
def test_round_trip_and_descriptions(pixels, tmp_path, make, form, grouped):
    p, y = pixels
    table = make(p, y, group=np.where(p > 0.4, "a", "b") if grouped else None)
    assert isinstance(table, QTable)
    assert all(table[name].info.description for name in table.colnames)
    assert ("group" in table.colnames) == (grouped or make is score_table)
    table.write(tmp_path / "table", format=form)
    again = QTable.read(tmp_path / "table", format=form)
    assert again.colnames == table.colnames
    for name in table.colnames:
        assert_array_equal(again[name], table[name])
        assert again[name].info.description == table[name].info.description
    assert {k: again.meta[k] for k in table.meta} == table.meta


def test_reliability_agrees_with_scikit_learn(pixels):
    calibration = pytest.importorskip("sklearn.calibration")
    p, y = pixels
    fraction, mean = calibration.calibration_curve(y, p, n_bins=10, strategy="uniform")
    table = reliability_table(p, y, n_bins=10)
    assert_allclose(table["mean_probability"], mean)
    assert_allclose(table["observed_fraction"], fraction)


def test_reliability_interval_is_wilsons():
    table = reliability_table(np.full(20, 0.55), np.arange(20) < 5, n_bins=1)
    # The roots f of (f - 1/4)^2 = z^2 f (1 - f) / 20.
    z2 = 1.959963984540054**2
    roots = np.sort(np.roots([1 + z2 / 20, -0.5 - z2 / 20, 1 / 16]))
    assert_allclose([table["fraction_low"][0], table["fraction_high"][0]], roots)


def test_empty_bins_stay_and_the_last_bin_has_one():
    table = reliability_table([0.05, 1.0], [0, 1], n_bins=4)
    assert_array_equal(table["n_pixels"], [1, 0, 0, 1])
    assert np.isnan(table["observed_fraction"][1])
    assert table.meta["N_PIXELS"] == 2
    assert table.meta["N_LEFT"] == 0


def test_adaptive_and_non_trivial_reliability(pixels):
    p, y = pixels
    table = reliability_table(p, y, n_bins=8, binning="count", non_trivial=True)
    chosen = (p > 0.01) | y
    assert table["n_pixels"].sum() == chosen.sum()
    assert np.ptp(table["n_pixels"]) <= 1
    gap = np.abs(table["mean_probability"] - table["observed_fraction"]) * table["weight"]
    assert gap.sum() / table["weight"].sum() == pytest.approx(
        expected_calibration_error(p, y, n_bins=8, binning="count", non_trivial=True)
    )
    assert_array_equal(table["p_low"][1:], table["p_high"][:-1])


def test_roc_agrees_with_scikit_learn(pixels):
    sklearn = pytest.importorskip("sklearn.metrics")
    p, y = pixels[0].round(2), pixels[1]
    fpr, tpr, threshold = sklearn.roc_curve(y, p, drop_intermediate=False)
    table = roc_table(p, y)
    assert_allclose(table["fpr"], fpr)
    assert_allclose(table["tpr"], tpr)
    assert_array_equal(table["threshold"], threshold)
    precision, recall, threshold = sklearn.precision_recall_curve(y, p)
    table = precision_recall_table(p, y)
    assert_allclose(table["precision"][::-1], precision[:-1])
    assert_allclose(table["recall"][::-1], recall[:-1])
    assert_array_equal(table["threshold"][::-1], threshold)


def test_thinned_tables_keep_both_ends_and_exact_rows(pixels):
    p, y = pixels
    table = roc_table(p, y, n_points=60)
    assert 30 < len(table) <= 60
    assert tuple(table["fpr"][[0, -1]]) == (0, 1)
    assert table.meta["AUROC"] == roc_auc(p, y)
    for row in table[1::7]:
        assert row["tpr"] == pytest.approx(np.mean(p[y] >= row["threshold"]))
        assert row["fpr"] == pytest.approx(np.mean(p[~y] >= row["threshold"]))
    risk = risk_coverage_table(p, y, n_points=60)
    assert 30 < len(risk) <= 60
    assert risk["coverage"][-1] == 1
    assert risk["risk"][-1] == pytest.approx(np.mean((p >= 0.5) != y))
    assert risk.meta["AURC"] == aurc(p, y)


def test_ignored_pixels_are_no_true_negatives():
    p, y = np.array([0.9, 0.8, 0.1, 0.2]), np.array([1, 0, 0, np.nan])
    assert_allclose(roc_table(p, y)["fpr"], [0, 0, 0.5, 1])


def test_group_rows_are_those_of_the_group_alone(pixels):
    p, y = pixels
    group = np.where(np.arange(p.size) % 3, "wide", "deep")
    deep = group == "deep"
    table = roc_table(p, y, group=group)
    alone = roc_table(p[deep], y[deep])
    assert_array_equal(table[table["group"] == "deep"]["tpr"], alone["tpr"])
    scores = score_table(p, y, group=group)
    assert list(scores["group"]) == ["all", "deep", "wide"]
    assert scores["brier"][1] == pytest.approx(brier_score(p[deep], y[deep]))
    assert scores["tpr_at_0.5%_fpr"][1] == tpr_at_fpr(p[deep], y[deep], fpr=0.005)


def test_scores_are_those_of_the_functions(pixels):
    p, y = pixels
    row = score_table(p, y)[0]
    assert row["brier"] == pytest.approx(brier_score(p, y))
    assert row["ece_non_trivial"] == expected_calibration_error(p, y, non_trivial=True)
    assert row["aurc"] == aurc(p, y)
    assert row["tpr"] == pytest.approx(np.mean(p[y] >= 0.5))
    assert row["precision"] == pytest.approx(np.mean(y[p >= 0.5]))
    assert row["brier_skill"] == pytest.approx(1 - brier_score(p, y) / (y.mean() * (1 - y.mean())))


@pytest.mark.filterwarnings("ignore:the intervals rest on")
def test_score_intervals_come_from_images(images):
    table = score_table(*images, level=0.9)
    row = table[0]
    for name in ("brier", "nll", "tpr", "rms_calibration_error_non_trivial"):
        assert row[f"{name}_low"] <= row[name] <= row[f"{name}_high"]
    assert row["brier_low"] < row["brier"] < row["brier_high"]
    assert table.meta["LEVEL"] == 0.9
    single = score_table(images[0][0], images[1][0], level=0.9)
    assert np.isnan(single["brier_low"][0])


def test_groups_of_numbers():
    groups = quantile_groups([[0.0, 1.0, 2.0], [3.0, np.nan, 100.0]], n_groups=5)
    assert groups.shape == (2, 3)
    assert groups[1, 1] == "unknown"
    assert len(np.unique(groups)) == 6
    assert_array_equal(quantile_groups([2, 2]), ["1: 2", "1: 2"])


def test_unknown_binning_is_refused(pixels):
    with pytest.raises(ValueError, match="binning must be 'width' or 'count', not 'equal'"):
        reliability_table(*pixels, binning="equal")
