from itertools import combinations

import numpy as np
import pytest
import torch

from cosmiq_astro import CosmicRayDetector
from cosmiq_astro.inference import sampling
from cosmiq_astro.inference.sampling import draw_networks, drawn_early
from cosmiq_astro.models.fast_draws import LastBlocks
from cosmiq_astro.models.fast_unet import Join, Trunk
from cosmiq_astro.models.layers import variational_layers


@pytest.mark.parametrize(
    ("variational", "levels", "shared"),
    [
        (("merge.0.*", "head"), 3, True),
        (("head",), 1, True),
        (("merge.0.1",), 2, True),
        (("merge.*", "head"), 3, False),
        (("down.0.0",), 3, False),
        (("*",), 3, False),
    ],
)
def test_layers_before_the_draws_run_once(
    frame, make_tiny, monkeypatch, variational, levels, shared
):
    model = make_tiny(variational=variational, levels=levels)
    for layer in variational_layers(model.network).values():
        layer.set_posterior_sigma(relative=0.5)
    detector = CosmicRayDetector(model, device="cpu", tile_size=40)
    calls = []
    original = Trunk.__call__
    monkeypatch.setattr(Trunk, "__call__", lambda *args: calls.append(1) or original(*args))
    found = detector(frame, T=6, seed=1)
    n_tiles = 6
    assert len(calls) == n_tiles * (2 if shared else 6)
    assert bool(drawn_early(model.network)) is not shared
    monkeypatch.setattr(sampling, "by_features", lambda networks: [[one] for one in networks])
    separate = detector(frame, T=6, seed=1)
    assert len(calls) == n_tiles * (2 if shared else 6) + n_tiles * 6
    np.testing.assert_allclose(found.probability, separate.probability, rtol=0, atol=1e-6)
    np.testing.assert_allclose(found.uncertainty, separate.uncertainty, rtol=0, atol=1e-6)
    assert found.uncertainty.max() > 1e-3


@pytest.mark.parametrize("levels", [1, 3])
@pytest.mark.parametrize("n", [1, 2, 5])
def test_opposite_draws_share_the_work_of_their_first_layer(make_tiny, monkeypatch, levels, n):
    model = make_tiny(variational=("merge.0.*", "head"), levels=levels)
    for layer in variational_layers(model.network).values():
        layer.set_posterior_sigma(relative=0.5)
    networks = draw_networks(model.network, 2 * n, seed=1)[::2]
    halo = model.network.receptive_radius // 4 * 4 + 4
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, 2, 16 + 2 * halo, 20 + 2 * halo, generator=generator)
    core = slice(halo, 16 + halo), slice(halo, 20 + halo)
    whole = [network(x)[:, 0, *core] for network in networks]
    last = LastBlocks.of(networks, paired=True)
    seen = last.look(x, core)
    calls, original = [], Join.__call__
    monkeypatch.setattr(Join, "__call__", lambda *args: calls.append(1) or original(*args))
    torch.testing.assert_close(list(last.logits(seen)), whole, rtol=0, atol=1e-5)
    assert len(calls) == {1: 1, 2: 2, 5: 4}[n]
    for start, stop in ((2, 4), (1, 4), (4, 5)):
        part = list(last.part(start, stop).logits(seen))
        torch.testing.assert_close(part, whole[start:stop], rtol=0, atol=1e-5)
    one_by_one = list(LastBlocks.of(networks).logits(seen))
    torch.testing.assert_close(one_by_one, whole, rtol=0, atol=1e-5)


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_draws_see_the_image_in_turned_views(make_tiny, levels):
    network = make_tiny(variational=("*",), levels=levels, views=4, seed=3).network
    for layer in variational_layers(network).values():
        layer.set_posterior_sigma(relative=1e-6)
    x = torch.randn(1, 2, 32, 24, generator=torch.Generator().manual_seed(0))

    def transposed(image):
        return image.transpose(2, 3)

    def turned(image):
        return image.flip(2, 3)

    with torch.no_grad():
        found = [one(x) for one in draw_networks(network, 4, seed=1)]
        expected = [
            network(x),
            transposed(network(transposed(x))),
            turned(network(turned(x))),
            turned(transposed(network(transposed(turned(x))))),
        ]
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-4)
    for one, other in combinations(found, 2):
        assert not torch.allclose(one, other, rtol=0, atol=1e-3)


@pytest.mark.parametrize("views", [2, 4])
def test_opposite_draws_share_a_view(make_tiny, views):
    network = make_tiny(variational=("head",), views=views).network
    draws = draw_networks(network, 4 * views, seed=1)
    mean = draw_networks(network, 1, sampling="mean", seed=0)[0].head.weight
    for first in (0, 2 * views):
        for one, other in zip(
            draws[first : first + views], draws[first + views : first + 2 * views], strict=True
        ):
            torch.testing.assert_close(one.head.weight + other.head.weight, 2 * mean)
            assert one.down[0][0].weight.data_ptr() == other.down[0][0].weight.data_ptr()


def test_a_transposed_image_gives_transposed_maps(frame, make_tiny):
    model = make_tiny(variational=("merge.0.*", "head"))
    for layer in variational_layers(model.network).values():
        layer.set_posterior_sigma(relative=1e-6)
    detector = CosmicRayDetector(model, device="cpu")
    one, other = (detector(image, T=4, seed=1, readnoise=5) for image in (frame, frame.T))
    np.testing.assert_allclose(other.probability, one.probability.T, rtol=0, atol=1e-4)
    assert one.uncertainty.max() > 1e-3
