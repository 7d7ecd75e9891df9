import pytest
import torch

from cosmiq_astro.inference.sampling import draw_weights, network_of
from cosmiq_astro.models.fast_unet import Join, Trunk
from cosmiq_astro.models.last_block import LastBlock, drawn_early
from cosmiq_astro.models.layers import variational_layers


@pytest.mark.parametrize("sampling", ["antithetic", "independent"])
@pytest.mark.parametrize("T", [1, 2, 5])
@pytest.mark.parametrize(
    ("variational", "levels", "n_convolutions"),
    [
        (("merge.0.*", "head"), 3, {1: 2, 2: 4, 5: 9}),
        (("merge.0.*", "head"), 1, {1: 0, 2: 0, 5: 0}),
        (("merge.0.0",), 2, {1: 2, 2: 4, 5: 9}),
        (("merge.0.1", "head"), 3, {1: 2, 2: 3, 5: 5}),
        (("head",), 3, {1: 2, 2: 2, 5: 2}),
    ],
)
@torch.no_grad()
def test_each_draw_is_that_of_the_plain_network(
    make_tiny, monkeypatch, sampling, T, variational, levels, n_convolutions
):
    network = make_tiny(variational=variational, levels=levels).network
    for layer in variational_layers(network).values():
        layer.set_posterior_sigma(relative=0.5)
    halo = network.receptive_radius // 4 * 4 + 4
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, 2, 16 + 2 * halo, 20 + 2 * halo, generator=generator)
    core = slice(halo, 16 + halo), slice(halo, 20 + halo)
    draws = draw_weights(network, T, sampling=sampling, seed=1)
    expected = [network_of(network, weights)(x)[:, 0, *core] for weights in draws]
    last = LastBlock(network, draws, paired=sampling == "antithetic")
    seen = Trunk(network)(x, core)
    calls, original = [], Join.__call__
    monkeypatch.setattr(Join, "__call__", lambda *args: calls.append(1) or original(*args))
    found = list(last.logits(seen))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    if T > 1:
        assert not torch.allclose(found[0], found[1], atol=1e-3)
    if sampling == "antithetic":
        assert len(calls) == n_convolutions[T]


@pytest.mark.parametrize(
    ("variational", "early"),
    [(("merge.0.*", "head"), []), (("merge.1.1", "up.0", "head"), ["up.0", "merge.1.1"])],
)
def test_layers_drawn_before_the_last_block_are_named(make_tiny, variational, early):
    assert drawn_early(make_tiny(variational=variational).network) == early
