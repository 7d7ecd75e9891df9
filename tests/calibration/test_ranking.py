import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.integrate import trapezoid

from cosmiq_astro.calibration import (
    CalibrationAccumulator,
    aurc,
    error_auroc,
    roc_auc,
    score_table,
    tpr_at_fpr,
)

N = 40


def augrc(p, y, *, uncertainty):
    return score_table(p, y, uncertainty=uncertainty)["augrc"][0]


def average_precision(p, y, *, weight=None):
    return score_table(p, y, weight=weight)["average_precision"][0]


scores = arrays(float, N, elements=st.sampled_from(np.linspace(0, 1, 11)))
labels = arrays(bool, N)


@pytest.mark.parametrize("decimals", [2, 15])
@pytest.mark.parametrize("weighted", [False, True])
def test_areas_agree_with_scikit_learn(pixels, decimals, weighted):
    sklearn = pytest.importorskip("sklearn.metrics")
    p, y = pixels[0].round(decimals), pixels[1]
    w = np.random.default_rng(0).random(p.size) + 0.1 if weighted else None
    assert roc_auc(p, y, weight=w) == pytest.approx(
        sklearn.roc_auc_score(y, p, sample_weight=w), abs=1e-10
    )
    assert average_precision(p, y, weight=w) == pytest.approx(
        sklearn.average_precision_score(y, p, sample_weight=w), abs=1e-10
    )
    limit = 0.05
    area = roc_auc(p, y, weight=w, max_fpr=limit) * limit
    low, high = limit**2 / 2, limit
    assert (1 + (area - low) / (high - low)) / 2 == pytest.approx(
        sklearn.roc_auc_score(y, p, sample_weight=w, max_fpr=limit), abs=1e-10
    )


def test_areas_agree_with_torchmetrics(pixels):
    torch = pytest.importorskip("torch")
    functional = pytest.importorskip("torchmetrics.functional.classification")
    p, y = torch.from_numpy(pixels[0]), torch.from_numpy(pixels[1].astype(int))
    assert roc_auc(*pixels) == pytest.approx(float(functional.binary_auroc(p, y)), abs=1e-6)
    assert average_precision(*pixels) == pytest.approx(
        float(functional.binary_average_precision(p, y)), abs=1e-6
    )


@settings(max_examples=60, deadline=None)
@given(scores, labels)
def test_area_is_the_chance_of_the_right_order(p, y):
    if y.all() or not y.any():
        assert np.isnan(roc_auc(p, y))
        return
    gap = p[y][:, None] - p[~y][None, :]
    assert roc_auc(p, y) == pytest.approx(((gap > 0) + 0.5 * (gap == 0)).mean())


def test_tpr_at_fpr_is_reached_by_a_threshold(pixels):
    p, y = pixels
    for fpr in (0.0, 0.001, 0.03, 1.0):
        rates = [(np.mean(p[~y] >= t), np.mean(p[y] >= t)) for t in np.append(np.unique(p), 2)]
        assert tpr_at_fpr(p, y, fpr=fpr) == max(t for f, t in rates if f <= fpr)


def test_aurc_is_the_mean_selective_risk_of_untied_pixels():
    rng = np.random.default_rng(0)
    n = 4000
    uncertainty = rng.permutation(n) / n
    wrong = rng.random(n) < uncertainty / 2
    risk = np.cumsum(wrong[np.argsort(uncertainty)]) / np.arange(1, n + 1)
    p = np.where(wrong, 1.0, 0.0)
    assert aurc(p, np.zeros(n), uncertainty=uncertainty) == pytest.approx(risk.mean(), abs=1e-4)
    exact = trapezoid(np.concatenate([[0], np.cumsum(wrong[np.argsort(uncertainty)])])) / n**2
    assert augrc(p, np.zeros(n), uncertainty=uncertainty) == pytest.approx(exact)


def test_aurc_closed_forms():
    n, wrong = 1000, 100
    p = np.r_[np.ones(wrong), np.zeros(n - wrong)]
    e = wrong / n
    # All errors last, first, and in no order at all.
    last, first = p, 1 - p
    assert aurc(p, 0 * p, uncertainty=last) == pytest.approx(e + (1 - e) * np.log(1 - e))
    assert aurc(p, 0 * p, uncertainty=first) == pytest.approx(e - e * np.log(e))
    assert aurc(p, 0 * p, uncertainty=0 * p) == pytest.approx(e)
    assert augrc(p, 0 * p, uncertainty=last) == pytest.approx(e**2 / 2)
    assert augrc(p, 0 * p, uncertainty=first) == pytest.approx(e - e**2 / 2)
    assert augrc(p, 0 * p, uncertainty=0 * p) == pytest.approx(e / 2)
    assert error_auroc(p, 0 * p, uncertainty=last) == 1
    assert error_auroc(p, 0 * p, uncertainty=0 * p) == 0.5


@settings(max_examples=60, deadline=None)
@given(scores, labels, scores)
def test_augrc_follows_from_the_auroc_of_errors(p, y, uncertainty):
    e = np.mean((p >= 0.5) != y)
    auroc = error_auroc(p, y, uncertainty=uncertainty)
    area = augrc(p, y, uncertainty=uncertainty)
    assert 0 <= area <= 0.5 + 1e-12
    if 0 < e < 1:  # Traub et al. 2024, eq. 5
        assert area == pytest.approx((1 - auroc) * e * (1 - e) + e**2 / 2)


def test_default_uncertainty_is_the_entropy(pixels):
    p, y = pixels
    entropy = -(p * np.log(p) + (1 - p) * np.log(1 - p))
    assert aurc(p, y) == pytest.approx(aurc(p, y, uncertainty=entropy), rel=1e-9)
    assert aurc(p, y) == pytest.approx(aurc(p, y, uncertainty=-np.abs(p - 0.5) + 1), rel=1e-6)
    assert np.isfinite(aurc([0.0, 1.0, 0.5], [0, 1, 1]))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_p_and_its_opposite_are_equally_doubtful(dtype):
    p = (np.random.default_rng(0).random(500) / 2).astype(dtype)
    both = np.concatenate([p, 1 - p])
    # An error and a right call at each doubt: what rounding makes of 1 - p decides nothing.
    label = np.zeros(1000)
    assert error_auroc(both, label) == pytest.approx(0.5, abs=1e-12)
    assert aurc(both, label) == pytest.approx(0.5)
    counts = CalibrationAccumulator()
    counts.update(both, label)
    assert counts.error_auroc() == pytest.approx(0.5, abs=1e-12)


def test_the_threshold_decides_what_an_error_is():
    p, y = [0.2, 0.4, 0.6], [0, 1, 1]
    assert aurc(p, y, threshold=0.3) == 0
    assert aurc(p, y, threshold=0.5) > 0


def test_refusals():
    with pytest.raises(ValueError, match=r"max_fpr must lie in \(0, 1\], not 0"):
        roc_auc([0.5], [1], max_fpr=0)
    with pytest.raises(ValueError, match=r"fpr must lie in \[0, 1\], not -1"):
        tpr_at_fpr([0.5], [1], fpr=-1)
    assert np.isnan(average_precision([0.5], [0]))
    assert np.isnan(aurc([np.nan], [0]))
