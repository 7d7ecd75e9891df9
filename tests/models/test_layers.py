import numpy as np
import pytest
import torch
from torch.distributions import Normal
from torch.distributions import kl_divergence as oracle
from torch.func import functional_call

from cosmiq_astro.models.layers import (
    VariationalConv2d,
    VariationalConvTranspose2d,
    gaussian_kl,
    inverse_softplus,
    kl_divergence,
    sample_weights,
    variational_layers,
)
from cosmiq_astro.models.unet import UNetConfig, empty_unet, initialize_weights


def test_kl_agrees_with_torch_distributions():
    generator = torch.Generator().manual_seed(0)
    mu = torch.randn(1000, generator=generator)
    sigma = torch.rand(1000, generator=generator) + 0.01
    expected = oracle(Normal(mu, sigma), Normal(0.0, 0.7)).sum()
    torch.testing.assert_close(gaussian_kl(mu, sigma, 0.7), expected)


def test_kl_from_a_prior_that_is_not_centred_on_zero():
    generator = torch.Generator().manual_seed(1)
    mu, prior_mu = torch.randn(2, 1000, generator=generator)
    sigma, prior_sigma = torch.rand(2, 1000, generator=generator) + 0.01
    expected = oracle(Normal(mu, sigma), Normal(prior_mu, prior_sigma)).sum()
    torch.testing.assert_close(gaussian_kl(mu, sigma, prior_sigma, prior_mu), expected)


@pytest.mark.parametrize("kind", [VariationalConv2d, VariationalConvTranspose2d])
def test_another_posterior_as_the_prior(kind):
    """It is moved with the layer, is in no file of weights, and costs nothing to begin with."""
    layer = kind(2, 3, 2)
    before = set(layer.state_dict())
    means = {"weight": layer.weight, "bias": layer.bias}
    layer.set_prior(means, layer.posterior_sigma())
    assert set(layer.state_dict()) == before
    with torch.no_grad():
        assert float(layer.kl_divergence()) == pytest.approx(0, abs=1e-4)
        layer.weight += 2 * layer.posterior_sigma()["weight"]
        # Two standard deviations of the prior cost 2 nats each.
        expected = 2 * layer.weight.numel()
        assert float(layer.kl_divergence()) == pytest.approx(expected, rel=1e-3)
    assert layer.double().weight_prior_mean.dtype == torch.float64


def test_kl_is_zero_where_posterior_is_prior():
    assert gaussian_kl(torch.zeros(5), torch.full((5,), 0.3), 0.3) == 0


@pytest.mark.parametrize("sigma", [1e-6, 1e-3, 1.0, 50.0])
def test_inverse_softplus(sigma):
    rho = inverse_softplus(torch.tensor(sigma))
    torch.testing.assert_close(
        torch.nn.functional.softplus(rho), torch.tensor(sigma), rtol=1e-4, atol=0
    )


@pytest.mark.parametrize("kind", [VariationalConv2d, VariationalConvTranspose2d])
def test_forward_uses_the_drawn_weights_and_biases(kind):
    layer = torch.nn.Sequential(kind(2, 3, 2))
    weights, noise = sample_weights(layer, torch.Generator().manual_seed(1))
    assert set(weights) == {"0.weight", "0.bias"}
    x = torch.ones(1, 2, 4, 4)
    drawn = functional_call(layer, weights, (x,))
    plain = kind.__mro__[2](2, 3, 2)
    plain.load_state_dict({"weight": weights["0.weight"], "bias": weights["0.bias"]})
    torch.testing.assert_close(drawn, plain(x))
    assert not torch.allclose(drawn, layer(x))
    again, _ = sample_weights(layer, noise=noise)
    assert torch.equal(again["0.weight"], weights["0.weight"])


def test_gradients_reach_mean_and_sigma():
    layer = torch.nn.Sequential(VariationalConv2d(1, 1, 3))
    weights, noise = sample_weights(layer, torch.Generator().manual_seed(3))
    weights["0.weight"].sum().backward()
    torch.testing.assert_close(layer[0].weight.grad, torch.ones(1, 1, 3, 3))
    expected = noise["0.weight"] * torch.sigmoid(layer[0].weight_rho)
    torch.testing.assert_close(layer[0].weight_rho.grad, expected)


def test_draws_have_the_posterior_moments():
    layer = torch.nn.Sequential(VariationalConv2d(1, 1, 1))
    layer[0].weight.data.fill_(2.0)
    layer[0].weight_rho.data.copy_(inverse_softplus(torch.tensor(0.5)))
    generator = torch.Generator().manual_seed(4)
    draws = np.array(
        [float(sample_weights(layer, generator)[0]["0.weight"].detach()) for _ in range(4000)]
    )
    assert abs(draws.mean() - 2) < 4 * 0.5 / np.sqrt(4000)
    assert abs(draws.std() - 0.5) < 0.03


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [((), 0), (("*",), 13), (("head",), 1), (("merge.0.*", "up.0", "head"), 4)],
)
def test_configuration_says_which_layers_are_variational(patterns, expected):
    network = initialize_weights(
        empty_unet(UNetConfig(hidden=2, variational=patterns)), torch.Generator().manual_seed(0)
    )
    assert len(variational_layers(network)) == expected
    kl = kl_divergence(network)
    assert (kl > 0) == (expected > 0)
    total = sum(layer.kl_divergence() for layer in variational_layers(network).values())
    torch.testing.assert_close(kl, torch.as_tensor(total, dtype=torch.float32))


def test_noise_is_float32_and_small_whatever_the_default_type():
    layer = torch.nn.Sequential(VariationalConv2d(1, 2, 3))
    for sigma in layer[0].posterior_sigma().values():
        torch.testing.assert_close(sigma, torch.full_like(sigma, 0.006715348))
    noise = sample_weights(layer, torch.Generator().manual_seed(5))[1]
    default = torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.float64)
        again = sample_weights(layer, torch.Generator().manual_seed(5))[1]
    finally:
        torch.set_default_dtype(default)
    for name, epsilon in again.items():
        assert torch.equal(epsilon, noise[name])
