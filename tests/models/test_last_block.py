import pytest
import torch

from cosmiq_astro.inference.sampling import draw_weights, network_of
from cosmiq_astro.models.fast_unet import Trunk
from cosmiq_astro.models.last_block import Heads, LastBlock, drawn_before
from cosmiq_astro.models.layers import variational_layers


@pytest.mark.parametrize("T", [1, 2, 17])
@pytest.mark.parametrize("levels", [1, 2, 3])
@torch.no_grad()
def test_each_draw_is_that_of_the_plain_network(make_tiny, T, levels):
    network = make_tiny(variational=("head",), levels=levels).network
    for layer in variational_layers(network).values():
        layer.set_posterior_sigma(relative=0.5)
    halo = network.receptive_radius // 4 * 4 + 4
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, 2, 16 + 2 * halo, 20 + 2 * halo, generator=generator)
    core = slice(halo, 16 + halo), slice(halo, 20 + halo)
    draws = draw_weights([network], T, seed=1)
    expected = [network_of(*draw)(x)[:, 0, *core] for draw in draws]
    maps = LastBlock(network)(Trunk(network)(x, core))
    found = list(Heads(network, [weights for _, weights in draws]).logits(maps))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert T == 1 or not torch.allclose(found[0], found[1], atol=1e-3)


@pytest.mark.parametrize(
    ("variational", "block", "head"),
    [
        (("head",), [], []),
        (("merge.0.*", "head"), [], ["merge.0.0", "merge.0.1"]),
        (("merge.1.1", "up.0", "head"), ["up.0", "merge.1.1"], ["up.0", "merge.1.1"]),
    ],
)
def test_layers_drawn_before_are_named(make_tiny, variational, block, head):
    network = make_tiny(variational=variational).network
    assert drawn_before(network, "last block") == block
    assert drawn_before(network, "head") == head
