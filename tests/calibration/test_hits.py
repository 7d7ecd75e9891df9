import numpy as np
import pytest
from astropy import units as u
from astropy.table import QTable, vstack
from numpy.testing import assert_allclose, assert_array_equal
from photutils.segmentation import SegmentationImage

from cosmiq_astro.calibration import completeness_table, match_hits, reliability_table


@pytest.fixture
def scene():
    """Return p, truth and charge: a split hit, two merged ones, a missed one, a false one."""
    truth = np.zeros((12, 14), int)
    truth[1, 1:6] = 1  # found as two
    truth[4, 1:3] = 2  # found together with 3
    truth[4, 4:6] = 3
    truth[8, 8] = 4  # missed
    p = np.where(truth > 0, 0.9, 0.01)
    p[1, 3] = 0.2
    p[4, 3] = 0.6
    p[8, 8] = 0.4
    p[10, 12] = 0.7  # false
    p[11, 0] = np.nan
    return p, truth, np.where(truth > 0, 100.0 * truth, 0)


def test_scene(scene):
    p, truth, charge = scene
    match = match_hits(p, truth, charge=charge * u.electron)
    hits, detections = match.hits, match.detections
    assert_array_equal(hits["id"], [1, 2, 3, 4])
    assert_array_equal(hits["n_pixels"], [5, 2, 2, 1])
    assert_array_equal(hits["n_flagged"], [4, 2, 2, 0])
    assert_array_equal(hits["found"], [True, True, True, False])
    assert_array_equal(hits["n_detections"], [2, 1, 1, 0])
    assert_allclose(hits["charge"], [500, 400, 600, 400] * u.electron)
    assert_allclose(hits["max_probability"], [0.9, 0.9, 0.9, 0.4])
    assert hits["x"][0] == 3 * u.pix
    assert hits["y"][3] == 8 * u.pix
    assert_array_equal(detections["label"], [True, True, True, False])
    assert_array_equal(detections["n_hits"], [1, 1, 2, 0])
    assert_array_equal(detections["n_true"], [2, 2, 4, 0])
    assert_allclose(detections["probability"], [0.9, 0.9, (4 * 0.9 + 0.6) / 5, 0.7])
    assert match.completeness == 0.75
    assert match.purity == 0.75


def test_touching_pixels_and_segmentation_images(scene):
    p, truth, _ = scene
    assert len(match_hits(p, truth > 0).hits) == 4
    assert len(match_hits(p, np.eye(12, 14, dtype=bool)).hits) == 1  # diagonal neighbours touch
    same = match_hits(p, SegmentationImage(truth))
    assert_array_equal(same.hits["n_detections"], [2, 1, 1, 0])


def test_ignored_pixels_count_for_nothing(scene):
    p, truth, _ = scene
    ignore = np.zeros(p.shape, bool)
    ignore[10, 12] = True  # the false detection
    ignore[8, 8] = True  # the missed hit
    ignore[4, 3:6] = True  # hit 3, and the bridge to it
    match = match_hits(p, truth, ignore=ignore)
    assert_array_equal(match.hits["id"], [1, 2])
    assert match.completeness == match.purity == 1
    assert match.detections["n_hits"].max() == 1
    assert_array_equal(match.detections["n_pixels"], [2, 2, 2])
    assert_array_equal(match.detections["n_ignored"], [0, 0, 3])


def test_threshold(scene):
    p, truth, _ = scene
    low = match_hits(p, truth, threshold=0.1)
    assert low.completeness == 1
    assert low.hits["n_detections"].max() == 1
    nothing = match_hits(p, truth, threshold=1.0)
    assert nothing.completeness == 0
    assert np.isnan(nothing.purity)
    assert np.isnan(match_hits(p, np.zeros(p.shape, bool)).completeness)


def test_reliability_of_detections(scene):
    p, truth, _ = scene
    table = reliability_table(match_hits(p, truth).detections, n_bins=2)
    assert_array_equal(table["n_pixels"], [0, 4])
    assert table["observed_fraction"][1] == 0.75


@pytest.mark.parametrize("form", ["ascii.ecsv", "fits"])
def test_round_trip(scene, tmp_path, form):
    p, truth, charge = scene
    match = match_hits(p, truth, charge=charge * u.adu)
    by_charge = completeness_table(match.hits, "charge", n_bins=2)
    for table in (match.hits, match.detections, by_charge):
        assert all(table[name].info.description for name in table.colnames)
        table.write(tmp_path / "t", format=form, overwrite=True)
        again = QTable.read(tmp_path / "t", format=form)
        for name in table.colnames:
            assert_array_equal(again[name], table[name])
            assert getattr(again[name], "unit", None) == getattr(table[name], "unit", None)


def test_completeness_by_charge_and_size(scene):
    p, truth, charge = scene
    match = match_hits(p, truth, charge=charge * u.electron)
    table = completeness_table(match.hits, "charge", edges=[3, 4.5, 10] * (100 * u.electron))
    assert table["low"].unit == u.electron
    assert_array_equal(table["n_hits"], [2, 2])
    assert_array_equal(table["completeness"], [0.5, 1])
    assert np.all(table["completeness_low"] <= table["completeness"])
    stacked = vstack([match.hits, match.hits])
    table = completeness_table(stacked, "n_pixels", edges=[1, 2, 3, 9])
    assert_array_equal(table["n_hits"], [2, 4, 2])
    assert_array_equal(table["n_found"], [0, 4, 2])
    assert completeness_table(stacked, "n_pixels", n_bins=3)["n_hits"].sum() == 8


def test_refusals(scene):
    p, truth, _ = scene
    with pytest.raises(ValueError, match="truth must be bool or non-negative integers"):
        match_hits(p, truth.astype(float))
    with pytest.raises(ValueError, match=r"truth has the shape \(2, 14\)"):
        match_hits(p, truth[:2])
    with pytest.raises(ValueError, match="must be one image"):
        match_hits(p[0], truth[0])
    with pytest.raises(ValueError, match="the hits have no 'charge'"):
        completeness_table(match_hits(p, truth).hits, "charge")


def test_repr_says_how_it_went():
    truth = np.zeros((5, 9), bool)
    truth[1, 1:4] = truth[3, 6] = True
    p = np.where(truth & (np.arange(9) < 5), 0.9, 0.0)
    assert repr(match_hits(p, truth)) == "<HitMatch: 1 of 2 hits found, 1 of 1 detections real>"
