import numpy as np
import pytest
import torch
from scipy import stats
from scipy.integrate import quad
from scipy.special import expit

from cosmiq_astro import CosmicRayDetector
from cosmiq_astro.inference.moments import (
    QUANTILE_WEIGHTS,
    QUANTILES,
    convolve_moments,
    rectify_moments,
)
from cosmiq_astro.inference.uncertainty import PredictiveMoments, binary_entropy
from cosmiq_astro.models.layers import VariationalConv2d, variational_layers

LAST_BLOCK = ("merge.0.*", "head")


def expectation(function, mean, variance):
    density = stats.norm(mean, variance**0.5).pdf
    width = 12 * variance**0.5
    return quad(lambda x: function(x) * density(x), mean - width, mean + width, points=[0])[0]


@pytest.mark.parametrize("mean", [-3.0, -0.4, 0.0, 0.7, 2.5])
@pytest.mark.parametrize("variance", [0.01, 1.0, 9.0])
def test_rectified_gaussian(mean, variance):
    m, v = rectify_moments(torch.tensor([mean]), torch.tensor([variance]))
    first = expectation(lambda x: max(x, 0), mean, variance)
    second = expectation(lambda x: (max(x, 0) - first) ** 2, mean, variance)
    np.testing.assert_allclose(m, first, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(v, second, rtol=2e-4, atol=1e-6)


@pytest.mark.parametrize(("mean", "kept"), [(-500.0, 0.0), (500.0, 500.0), (1e6, 1e6)])
def test_rectified_gaussian_far_from_zero(mean, kept):
    m, v = rectify_moments(torch.tensor([mean]), torch.tensor([0.04]))
    assert m.item() == pytest.approx(kept, abs=1e-12)
    np.testing.assert_allclose(v, 0.04 if kept else 0.0, rtol=1e-6, atol=1e-12)


def test_rectified_certainty():
    m, v = rectify_moments(torch.tensor([-1.0, 0.0, 2.0]), torch.zeros(3))
    assert m.tolist() == pytest.approx([0, 0, 2], abs=1e-9)
    assert v.tolist() == pytest.approx([0, 0, 0], abs=1e-19)


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


def test_convolution_of_independent_inputs_and_weights():
    layer = VariationalConv2d(3, 2, 3)
    layer.set_posterior_sigma(relative=0.5)
    generator = torch.Generator().manual_seed(0)
    mean, spread = (torch.rand(1, 3, 4, 4, generator=generator) for _ in range(2))
    with torch.no_grad():
        m, v = convolve_moments(layer, mean, spread**2)
        n = 20_000
        noise = torch.randn(n, 3, 4, 4, generator=generator)
        x = (mean + spread * noise)[:, :, :3, :3].flatten(1)
        sigma = layer.posterior_sigma()
        weight = layer.weight + sigma["weight"] * torch.randn(n, 2, 3, 3, 3, generator=generator)
        bias = layer.bias + sigma["bias"] * torch.randn(n, 2, generator=generator)
        drawn = torch.einsum("nk,nok->no", x, weight.flatten(2)) + bias
    torch.testing.assert_close(drawn.mean(0), m[0, :, 0, 0], rtol=0, atol=0.02)
    torch.testing.assert_close(drawn.var(0), v[0, :, 0, 0], rtol=0.05, atol=0)


@pytest.mark.parametrize(("levels", "views"), [(1, 1), (3, 1), (3, 2)])
def test_one_pass_is_near_a_thousand_draws(make_tiny, frame, levels, views):
    model = make_tiny(variational=LAST_BLOCK, levels=levels, views=views, seed=2)
    for layer in variational_layers(model.network).values():
        layer.set_posterior_sigma(relative=0.1)
    detector = CosmicRayDetector(model, device="cpu", tile_size=40)
    image = frame[:48, 20:70]
    many = detector(image, T=1000, seed=1)
    found = detector(image, sampling="moments")
    few = detector(image, T=16, seed=2)
    assert (found.T, found.views) == (1, views)
    assert many.uncertainty.max() > 0.02
    for plane, limit in {
        "probability": 0.02,
        # Views are taken to rise and fall together, which those of random weights hardly do.
        "uncertainty": 0.15 if views == 1 else 0.3,
        "mutual_information": 0.25 if views == 1 else 0.6,
    }.items():
        truth, one, other = (getattr(m, plane) for m in (many, found, few))
        error = np.sqrt(np.mean((one - truth) ** 2))
        assert views > 1 or error < np.sqrt(np.mean((other - truth) ** 2)), plane
        assert error < limit * np.sqrt(np.mean(truth**2)), plane


@pytest.mark.parametrize("levels", [1, 3])
def test_bands_of_rows_make_no_difference(make_tiny, frame, levels, monkeypatch):
    detector = CosmicRayDetector(make_tiny(variational=LAST_BLOCK, levels=levels), device="cpu")
    whole = detector(frame, sampling="moments")
    monkeypatch.setattr("cosmiq_astro.inference.moments._BAND", 7)
    in_bands = detector(frame, sampling="moments")
    for plane in ("probability", "uncertainty", "entropy"):
        np.testing.assert_allclose(
            getattr(in_bands, plane), getattr(whole, plane), atol=1e-4, err_msg=plane
        )


def test_a_model_that_draws_earlier_weights_is_refused(tiny_vi, frame):
    expected = r"'moments' needs .* this one does in down\.0\.0.*use 'antithetic'"
    with pytest.raises(ValueError, match=expected):
        CosmicRayDetector(tiny_vi, device="cpu")(frame, sampling="moments")


def test_a_baseline_makes_its_one_pass(tiny_unet, frame):
    detector = CosmicRayDetector(tiny_unet, device="cpu")
    maps = detector(frame, sampling="moments")
    assert maps.sampling == "mean"
    assert not maps.uncertainty.any()
