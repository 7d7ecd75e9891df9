from types import SimpleNamespace

import numpy as np
import pytest
from astropy import units as u
from astropy.table import MaskedColumn, QTable, Table
from numpy.testing import assert_array_equal

from cosmiq_astro.calibration import CalibrationAccumulator, aurc, brier_score, reliability_table
from cosmiq_astro.calibration._input import as_sample

P = [0.1, 0.4, 0.8, 1.0]
Y = [0, 1, 1, 1]


def test_nan_masked_and_weightless_pixels_are_left_out_and_counted():
    p = np.ma.array([0.1, 0.4, 0.8, 1.0, np.nan, 0.3], mask=[0, 1, 0, 0, 0, 0])
    sample = as_sample(p, [0, 1, 1, np.nan, 0, 1], weight=[1, 1, 2, 1, 1, 0])
    assert_array_equal(sample.probability, [0.1, 0.8])
    assert_array_equal(sample.label, [False, True])
    assert_array_equal(sample.weight, [1, 2])
    assert sample.n_left_out == 4
    assert_array_equal(sample.keep, [True, False, True, False, False, False])


@pytest.mark.parametrize("cls", [Table, QTable])
def test_table_equals_arrays(cls):
    table = cls({"probability": P, "label": Y, "weight": [1, 2, 3, 4]})
    assert brier_score(table) == brier_score(P, Y, weight=[1, 2, 3, 4])
    table["label"] = MaskedColumn(Y, mask=[0, 0, 0, 1])
    assert brier_score(table) == brier_score(P[:3], Y[:3], weight=[1, 2, 3])


def test_columns_by_name():
    table = QTable({"probability": P, "label": Y, "std": [0.4, 0.3, 0.2, 0.1]})
    assert aurc(table, uncertainty="std") == aurc(P, Y, uncertainty=table["std"])
    with pytest.raises(ValueError, match=r"uncertainty: the table has no column 'mi'"):
        aurc(table, uncertainty="mi")


def test_list_of_results_and_truths():
    results = [
        SimpleNamespace(cr_probability=np.array([P]), cr_entropy=np.array([[0.3, 0.6, 0.5, 0.0]])),
        SimpleNamespace(cr_probability=np.array([P]), cr_entropy=np.array([[0.1, 0.2, 0.3, 0.4]])),
    ]
    truths = [np.array([Y]), np.array([[0, 0, 0, 0]])]
    sample = as_sample(results, truths, uncertainty="entropy", group=["a", "b"])
    assert_array_equal(sample.image, [0, 0, 0, 0, 1, 1, 1, 1])
    assert_array_equal(sample.group, list("aaaabbbb"))
    assert_array_equal(sample.uncertainty[4:], [0.1, 0.2, 0.3, 0.4])
    assert brier_score(results, truths) == brier_score(P + P, Y + [0] * 4)
    with pytest.raises(ValueError, match="no plane of SimpleNamespace"):
        as_sample(results, truths, uncertainty="depth")
    with pytest.raises(ValueError, match="list of 2 truth images"):
        as_sample(results, truths[:1])


def test_pixels_the_detector_did_not_look_at_are_left_out():
    mask, hit = np.array([True, True, False, False]), np.array([False, True, False, False])
    ccd = SimpleNamespace(cr_probability=np.array(P), mask=mask, cr_mask=hit)
    assert_array_equal(as_sample(ccd, Y).probability, P[1:])
    maps = SimpleNamespace(probability=np.array(P), usable=~mask)
    assert_array_equal(as_sample(maps, Y).probability, P[2:])
    both = as_sample([np.array(P), maps], [np.array(Y), np.ma.array(Y, mask=[0, 0, 0, 1])])
    assert_array_equal(both.probability, [*P, P[2]])
    assert both.n_left_out == 3


def test_pixels_without_a_group_are_left_out():
    group = np.ma.array(list("abab"), mask=[0, 1, 0, 0])
    sample = as_sample(P, Y, group=group)
    assert_array_equal(sample.group, list("aab"))
    with pytest.raises(ValueError, match=r"group has the shape \(3,\), probability has \(4,\)"):
        as_sample(P, Y, group=list("abc"))
    with pytest.raises(ValueError, match="group has 1 entries for 2 images"):
        as_sample([np.array(P)] * 2, [np.array(Y)] * 2, group=["a"])
    counts = as_sample([0, 1], [0, 1])
    assert counts.probability.dtype == float


def test_big_endian_float32_and_quantity():
    expected = brier_score(P, Y)
    assert brier_score(np.array(P, dtype=">f4"), Y) == pytest.approx(expected, abs=1e-7)
    assert brier_score(P * u.dimensionless_unscaled, Y) == expected
    with pytest.raises(u.UnitsError, match="probability must be dimensionless, its unit is"):
        brier_score(P * u.electron, Y)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((P, None), "label is missing"),
        ((P, Y[:2]), r"label has the shape \(2,\), probability has \(4,\)"),
        (([0.1, 1.5], [0, 1]), r"must lie in \[0, 1\], it runs from 0.1 to 1.5"),
        (([0.1, np.inf], [0, 1]), r"must lie in \[0, 1\]"),
        ((P, [0, 1, 2, 1]), "label must be 0 or 1, it has 2"),
        ((Table({"probability": P}), None), "no column 'label'"),
        ((Table({"probability": P, "label": Y}), Y), "do not pass it as well"),
    ],
)
def test_refusals(arguments, message):
    with pytest.raises(ValueError, match=message):
        brier_score(*arguments)


def test_refused_weights():
    with pytest.raises(ValueError, match="weight must be finite and not negative, it has -1"):
        brier_score(P, Y, weight=[1, 1, 1, -1])
    with pytest.raises(ValueError, match="names a column, but the input has no columns"):
        brier_score(P, Y, weight="w")
    with pytest.raises(TypeError, match="label must be numbers"):
        brier_score(P, ["yes"] * 4)


def test_scalar_group_and_inputs_unchanged():
    counts = CalibrationAccumulator()
    p, y = np.array(P), np.array(Y, dtype=float)
    counts.update(p, y, group="F606W")
    assert list(counts.groups) == ["F606W"]
    reliability_table(p, y)
    assert_array_equal(p, P)
    assert_array_equal(y, Y)
