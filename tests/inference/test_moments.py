import numpy as np
import pytest
import torch
from scipy import stats
from scipy.integrate import quad
from scipy.special import expit

from cosmiq_astro import CosmicRayDetector
from cosmiq_astro.inference.moments import QUANTILE_WEIGHTS, QUANTILES
from cosmiq_astro.inference.uncertainty import PredictiveMoments, binary_entropy


def expectation(function, mean, variance):
    density = stats.norm(mean, variance**0.5).pdf
    width = 12 * variance**0.5
    return quad(lambda x: function(x) * density(x), mean - width, mean + width, points=[0])[0]


@pytest.mark.parametrize("mean", [-6.0, 0.0, 1.5])
@pytest.mark.parametrize(("spread", "error"), [(0.3, 1e-3), (2.0, 1e-3), (6.0, 4e-3), (8.0, 0.015)])
def test_gaussian_logit(mean, spread, error):
    moments = PredictiveMoments(with_information=True)
    for quantile, weight in zip(QUANTILES, QUANTILE_WEIGHTS, strict=True):
        logit = torch.tensor(mean + spread * quantile, dtype=torch.float64)
        moments.add(torch.sigmoid(logit), weight)
    first = expectation(expit, mean, spread**2)
    second = expectation(lambda x: (expit(x) - first) ** 2, mean, spread**2)
    entropy = expectation(lambda x: float(binary_entropy(expit(x))), mean, spread**2)
    assert moments.plane("probability").item() == pytest.approx(first, abs=error)
    assert moments.plane("uncertainty").item() == pytest.approx(second**0.5, abs=error)
    information = binary_entropy(first) - entropy
    assert moments.plane("mutual_information").item() == pytest.approx(information, abs=error)


@pytest.mark.parametrize(("levels", "views"), [(1, 1), (3, 1), (3, 2)])
def test_one_pass_is_what_many_draws_say(make_tiny, frame, levels, views):
    model = make_tiny(variational=("head",), levels=levels, views=views, seed=2)
    model.network.head.set_posterior_sigma(relative=0.1)
    detector = CosmicRayDetector(model, device="cpu", tile_size=40)
    image = frame[:48, 20:70]
    many = detector(image, T=4000, seed=1)
    found = detector(image, sampling="moments")
    assert (found.T, found.views) == (1, views)
    assert many.uncertainty.max() > 0.02
    for plane, limit in {
        "probability": 0.002,
        # Views are taken to rise and fall together, which those of random weights hardly do.
        "uncertainty": 0.02 if views == 1 else 0.2,
        "mutual_information": 0.04 if views == 1 else 0.4,
    }.items():
        truth, one = (getattr(m, plane) for m in (many, found))
        error = np.sqrt(np.mean((one - truth) ** 2))
        assert error < limit * np.sqrt(np.mean(truth**2)), plane


def test_a_model_that_draws_earlier_weights_is_refused(tiny_vi, frame):
    expected = r"'moments' needs .* head alone, and this one does in down\.0\.0.*use 'antithetic'"
    with pytest.raises(ValueError, match=expected):
        CosmicRayDetector(tiny_vi, device="cpu")(frame, sampling="moments")


def test_a_baseline_makes_its_one_pass(tiny_unet, frame):
    detector = CosmicRayDetector(tiny_unet, device="cpu")
    maps = detector(frame, sampling="moments")
    assert maps.sampling == "mean"
    assert not maps.uncertainty.any()
