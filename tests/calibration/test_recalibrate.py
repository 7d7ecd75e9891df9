import json

import numpy as np
import pytest
from astropy.table import Table
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import expit, logit
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator

from cosmiq_astro.calibration import (
    BetaCalibration,
    IsotonicCalibration,
    Recalibration,
    TemperatureScaling,
    expected_calibration_error,
    fit_beta,
    fit_isotonic,
    fit_temperature,
    negative_log_likelihood,
)

FITS = [fit_temperature, fit_beta, fit_isotonic]


@pytest.fixture
def distorted():
    """Return overconfident probabilities, and the labels of the right ones."""
    rng = np.random.default_rng(7)
    z = rng.normal(-2, 2, 40_000)
    return expit(1.7 * z + 0.5), rng.random(z.size) < expit(z)


@pytest.mark.parametrize("fit", FITS)
def test_likelihood_falls_on_held_out_pixels(distorted, fit):
    p, y = distorted
    fitted = fit(p[::2], y[::2])
    held_p, held_y = p[1::2], y[1::2]
    before, after = held_p, fitted(held_p)
    assert negative_log_likelihood(after, held_y) < negative_log_likelihood(before, held_y) - 0.01
    if fit is not fit_temperature:  # the shift is beyond it
        assert expected_calibration_error(after, held_y) < 0.015
        assert expected_calibration_error(before, held_y) > 0.03


def test_temperature_is_the_minimum_and_found_from_either_input():
    rng = np.random.default_rng(0)
    z = rng.normal(-1, 2, 20_000)
    y = rng.random(z.size) < expit(z)
    found = float(fit_temperature(2.5 * z, y, from_logits=True))
    assert found == pytest.approx(2.5, rel=0.05)
    assert float(fit_temperature(expit(2.5 * z), y)) == pytest.approx(found, rel=1e-3)
    table = Table({"probability": expit(2.5 * z), "label": y})
    assert float(fit_temperature(table)) == pytest.approx(found, rel=1e-3)
    best = negative_log_likelihood(expit(2.5 * z / found), y)
    for other in (0.98, 1.02):
        assert negative_log_likelihood(expit(2.5 * z / (found * other)), y) > best


class Logits(ClassifierMixin, BaseEstimator):
    """A fitted classifier whose decision is its input."""

    def fit(self, x, y):
        self.classes_ = np.unique(y)
        return self

    def decision_function(self, x):
        return x[:, 0]

    def predict(self, x):
        return self.decision_function(x) > 0


def test_temperature_agrees_with_scikit_learn():
    rng = np.random.default_rng(0)
    z = 3 * rng.normal(-1, 2, 5000)
    y = rng.random(z.size) < expit(z / 3)
    frozen = FrozenEstimator(Logits().fit(z[:, None], y))
    other = CalibratedClassifierCV(frozen, method="temperature", ensemble=False).fit(z[:, None], y)
    expected = other.predict_proba(z[:, None])[:, 1]
    found = expit(z / float(fit_temperature(z, y, from_logits=True)))
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_temperature_of_draws_divides_each_draws_logits():
    rng = np.random.default_rng(1)
    centre = rng.normal(-1, 2, (100, 80))
    draws = 2 * (centre + rng.normal(0, 0.7, (8, 100, 80)))
    y = (rng.random(centre.shape) < expit(draws / 2).mean(0)).astype(float)
    assert float(fit_temperature(draws, y, from_logits=True)) == pytest.approx(2, rel=0.1)
    averaged = float(fit_temperature(expit(draws).mean(0), y))
    assert abs(averaged - 2) > 0.1  # the mean's own temperature is another number
    y[:50] = np.nan
    draws[:, :50] = 1e3
    assert float(fit_temperature(draws, y, from_logits=True)) == pytest.approx(2, rel=0.1)


def test_beta_finds_its_own_parameters():
    rng = np.random.default_rng(2)
    p = expit(rng.normal(-1, 2, 200_000))
    truth = BetaCalibration(0.6, 1.4, -0.3)
    y = rng.random(p.size) < truth(p)
    found = fit_beta(p, y)
    assert_allclose([found.a, found.b, found.c], [0.6, 1.4, -0.3], atol=0.05)


def test_beta_agrees_with_logistic_regression_inside_its_bounds(distorted):
    linear = pytest.importorskip("sklearn.linear_model")
    p, y = distorted
    features = np.stack([np.log(p), -np.log1p(-p)], axis=1)
    other = linear.LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(features, y)
    found = fit_beta(p, y)
    assert_allclose([found.a, found.b], other.coef_[0], atol=2e-3)
    assert found.c == pytest.approx(other.intercept_[0], abs=2e-3)


@pytest.mark.parametrize("weighted", [False, True])
def test_isotonic_agrees_with_scikit_learn(distorted, weighted):
    isotonic = pytest.importorskip("sklearn.isotonic")
    p, y = distorted[0][:3000].round(3), distorted[1][:3000]
    weight = np.random.default_rng(0).random(p.size) + 0.1 if weighted else None
    other = isotonic.IsotonicRegression(out_of_bounds="clip").fit(p, y, sample_weight=weight)
    grid = np.linspace(0, 1, 500)
    assert_allclose(fit_isotonic(p, y, weight=weight)(grid), other.predict(grid), atol=1e-6)


@pytest.mark.parametrize("fit", FITS)
def test_maps_are_monotone_finite_and_keep_nan(distorted, fit):
    fitted = fit(*distorted)
    grid = np.linspace(0, 1, 1001)
    value = fitted(grid)
    assert np.all(np.diff(value) >= 0)
    assert np.all((value >= 0) & (value <= 1))
    assert np.isnan(fitted(np.array([np.nan, 0.5]))[0])


@pytest.mark.parametrize("fit", FITS)
def test_round_trip_through_json(distorted, fit):
    fitted = fit(*distorted)
    again = Recalibration.from_dict(json.loads(json.dumps(fitted.to_dict())))
    assert again == fitted
    assert_array_equal(again(distorted[0]), fitted(distorted[0]))


def test_identities():
    p = np.array([0.0, 1e-5, 0.3, 0.999, 1.0])
    assert_allclose(TemperatureScaling(1.0)(p), p)
    assert_allclose(BetaCalibration(1.0, 1.0, 0.0)(p), p, atol=1e-7)
    assert_allclose(TemperatureScaling(2.0)(p[1:4]), expit(logit(p[1:4]) / 2))
    assert IsotonicCalibration((0.2, 0.4), (0.1, 0.5))(0.3) == pytest.approx(0.3)


def test_refusals():
    with pytest.raises(ValueError, match="label has 0 cosmic-ray pixels of 2"):
        fit_temperature([0.1, 0.2], [0, 0])
    with pytest.raises(ValueError, match=r"logits have the shape \(3, 4\)"):
        fit_temperature(np.zeros((3, 4)), [0, 1], from_logits=True)
    with pytest.raises(ValueError, match="temperature must be positive and finite, not 0"):
        TemperatureScaling(0)
    with pytest.raises(ValueError, match=r"method must be one of .* not 'platt'"):
        Recalibration.from_dict({"method": "platt"})
    with pytest.raises(ValueError, match=r"beta needs the numbers \['a', 'b', 'c'\], not \['a'\]"):
        Recalibration.from_dict({"method": "beta", "a": 1})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: BetaCalibration(-1.0, 1.0, 0.0), "a and b must be 0 or more .* not a=-1.0"),
        (lambda: BetaCalibration(1.0, 1.0, np.nan), "all numbers finite, .* c=nan"),
        (lambda: IsotonicCalibration((0.5, 0.1), (0.1, 0.2)), "probability must ascend within"),
        (lambda: IsotonicCalibration((0.1, 0.5), (0.1, 1.2)), "value must ascend within"),
        (lambda: IsotonicCalibration((0.1, np.nan), (0.1, 0.2)), "probability must ascend"),
        (lambda: IsotonicCalibration((), ()), "in one point or more"),
        (lambda: IsotonicCalibration((0.1,), (0.1, 0.2)), "has 1 points, value has 2"),
    ],
)
def test_maps_that_cannot_be(make, message):
    with pytest.raises(ValueError, match=message):
        make()
