import pytest
import torch

from cosmiq_astro.models.fast_unet import Join, Trunk
from cosmiq_astro.models.last_block import Heads, LastBlock


@pytest.fixture
def make_tile(make_tiny):
    """Return a function that gives a network, a tile, and where its core is."""

    def make(levels, shape, **config):
        network = make_tiny(levels=levels, seed=levels, **config).network
        for name, value in network.named_parameters():
            if name.endswith("bias"):
                torch.nn.init.normal_(value, std=0.3, generator=generator(7))
        halo = -(-network.receptive_radius // network.grid) * network.grid
        sides = [-(-n // network.grid) * network.grid + 2 * halo for n in shape]
        tile = torch.randn(1, 2, *sides, generator=generator(0))
        return network, tile, tuple(slice(halo, halo + n) for n in shape)

    return make


def generator(seed):
    return torch.Generator().manual_seed(seed)


@torch.no_grad()
@pytest.mark.parametrize("n_maps", [(3, 5, 2), (16, 32, 16), (4, 4, 1)])
def test_a_join_is_the_two_convolutions(n_maps):
    n_skip, n_below, n_out = n_maps
    with torch.random.fork_rng():
        torch.manual_seed(0)
        up, layer = (
            torch.nn.ConvTranspose2d(n_below, n_out, 2, 2),
            torch.nn.Conv2d(n_skip + n_out, 7, 3),
        )
        skip, below = torch.randn(2, n_skip, 10, 14), torch.randn(2, n_below, 5, 7)
    expected = layer(torch.cat([skip, up(below)], dim=1))
    torch.testing.assert_close(Join.after(up, layer)(skip, below), expected, rtol=0, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("levels", [1, 2, 3, 4])
@pytest.mark.parametrize("shape", [(24, 40), (1, 8), (13, 30), (16, 7)])
def test_the_core_of_a_tile_is_what_the_whole_network_says(make_tile, levels, shape):
    network, tile, core = make_tile(levels, shape)
    tile = torch.cat([tile, tile.flip(2)])
    (logits,) = Heads(network).logits(LastBlock(network)(Trunk(network)(tile, core)))
    torch.testing.assert_close(logits, network(tile)[:, 0, *core], rtol=0, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("levels", [1, 2, 3])
def test_what_is_seen_is_what_the_whole_network_has(make_tile, levels):
    network, tile, core = make_tile(levels, (13, 30))
    seen = Trunk(network)(tile, core)
    features = network.features(tile)[0]
    where = torch.rand(13, 30, generator=generator(1)) > 0.8
    torch.testing.assert_close(seen.at(where), features[:, *core][:, where], rtol=0, atol=1e-5)
    assert seen.at(torch.zeros_like(where)).shape == (len(features), 0)
