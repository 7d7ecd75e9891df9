"""The widths of a posterior against its definition, by brute force, and from several starts."""

import numpy as np
import pytest
import torch
from torch.func import functional_call, vmap

from cosmiq_astro.models.layers import variational_layers
from cosmiq_astro.models.unet import UNetConfig, empty_unet, initialize_weights
from cosmiq_astro.training.network import solve_sigma


def make_network(relative, *, variational=("merge.0.1", "head"), prior=None):
    """A tiny network with a posterior over some layers, with standard deviations to begin with."""
    config = UNetConfig(hidden=4, levels=2, variational=variational)
    network = initialize_weights(empty_unet(config), torch.Generator().manual_seed(0))
    for layer in variational_layers(network).values():
        layer.set_prior_sigma(prior or layer.weight.detach().square().mean().sqrt())
        layer.set_posterior_sigma(relative=relative)
    return network


def make_batches(n, size=16):
    rng = torch.Generator().manual_seed(1)
    shape = (1, 1, size, size)
    return [
        (3 * torch.randn(1, 2, size, size, generator=rng), torch.rand(shape, generator=rng) < 0.9)
        for _ in range(n)
    ]


def sigmas(network):
    return {
        f"{name}.{part}": sigma.detach()
        for name, layer in variational_layers(network).items()
        for part, sigma in layer.posterior_sigma().items()
    }


def test_the_widths_are_those_of_the_definition():
    network, batches, n_data = make_network(1e-4), make_batches(120, size=8), 1e4
    known = {k: v.detach() for k, v in network.named_parameters() if k in sigmas(network)}
    sums, n_pixels = dict.fromkeys(known, 0.0), 0
    for inputs, valid in batches:
        logits, back = torch.func.vjp(lambda w, x=inputs: functional_call(network, w, (x,)), known)
        p = torch.sigmoid(logits.detach()).flatten()
        each = torch.eye(p.numel()).reshape(-1, *logits.shape)
        (slopes,) = vmap(back)(each)
        for key, slope in slopes.items():
            weights = (p * (1 - p) * valid.flatten()).reshape(-1, *[1] * (slope.ndim - 1))
            sums[key] = sums[key] + (weights * slope.square()).sum(0)
        n_pixels += valid.sum()
    solve_sigma(network, batches, n_data, generator=torch.Generator().manual_seed(2), rounds=1)
    for name, layer in variational_layers(network).items():
        for part in ("weight", "bias"):
            key = f"{name}.{part}"
            exact = (layer.prior_sigma**-2 + n_data * sums[key] / n_pixels) ** -0.5
            # 120 batches tell each to 6 %.
            assert (torch.log(sigmas(network)[key] / exact)).abs().median() < 0.1


def test_the_start_does_not_matter():
    found = []
    for relative in (0.02, 0.15, 1.0):
        network = make_network(relative)
        solve_sigma(network, make_batches(60), 1e5, generator=torch.Generator().manual_seed(3))
        found.append(torch.cat([s.flatten() for s in sigmas(network).values()]).log())
    for other in found[1:]:
        assert (found[0] - other).abs().median() < 0.05


@pytest.mark.parametrize("change", [{"n_data": 4e6}, {"n_data": 1e6, "kl_beta": 0.25}])
def test_more_data_or_a_colder_posterior_knows_more(change):
    one, other = make_network(0.1), make_network(0.1)
    for network, settings in ((one, {"n_data": 1e6}), (other, change)):
        solve_sigma(
            network, make_batches(20), **settings, generator=torch.Generator().manual_seed(3)
        )
    ratio = torch.cat([(sigmas(other)[k] / v).flatten() for k, v in sigmas(one).items()])
    # Half as wide where the data decide, as wide where the prior does.
    assert (ratio < 1.02).all()
    assert ratio.median() < 0.6


def test_without_data_the_posterior_is_the_prior():
    network = make_network(0.1)
    nothing = [(x, torch.zeros_like(valid)) for x, valid in make_batches(3)]
    solve_sigma(network, nothing, 1e6, generator=torch.Generator().manual_seed(3))
    for layer in variational_layers(network).values():
        for sigma in layer.posterior_sigma().values():
            np.testing.assert_allclose(sigma.detach(), layer.prior_sigma, rtol=1e-4)


def test_few_data_lead_to_one_place_too():
    """Wide draws see a flat likelihood and narrow ones a sharp one: neither must win in turns."""
    found = []
    for rounds in (5, 6):
        network = make_network(0.05, variational=("*",), prior=1.0)
        generator = torch.Generator().manual_seed(3)
        solve_sigma(network, make_batches(20), 3e3, generator=generator, rounds=rounds)
        found.append(torch.cat([s.flatten() for s in sigmas(network).values()]).log())
    # All the way in each round it is 3.
    assert (found[0] - found[1]).abs().mean() < 0.3
