from itertools import combinations

import numpy as np
import pytest
import torch

from cosmiq_astro import CosmicRayDetector
from cosmiq_astro.inference import sampling
from cosmiq_astro.inference._draw import LastBlocks
from cosmiq_astro.inference.sampling import draw_networks, drawn_early
from cosmiq_astro.models.layers import variational_layers
from cosmiq_astro.models.unet import UNet


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
    original = UNet.features
    monkeypatch.setattr(UNet, "features", lambda *args: calls.append(1) or original(*args))
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
    features = networks[0].features(torch.randn(3, 2, 16, 20))
    edge, n_layers = networks[0].finish_radius, 3 if levels > 1 else 1
    inside = slice(edge, 16 - edge), slice(edge, 20 - edge)
    whole = [network.finish(features)[:, 0, *inside] for network in networks]
    calls, convolve = [], torch.nn.functional.conv2d
    monkeypatch.setattr(
        torch.nn.functional, "conv2d", lambda *args: calls.append(1) or convolve(*args)
    )
    last = LastBlocks.paired(networks)
    torch.testing.assert_close(list(last.logits(features)), whole, rtol=0, atol=1e-5)
    assert len(calls) == {1: 1, 2: 2, 5: 4}[n] + n * (n_layers - 1)
    part = list(last.part(2, 4).logits(features))
    torch.testing.assert_close(part, whole[2:4], rtol=0, atol=1e-5)


def test_two_parts_are_the_whole_network(make_tiny):
    network = make_tiny().network
    x = torch.randn(1, 2, 32, 32, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(network.finish(network.features(x)), network(x))


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_the_last_block_needs_no_more_of_the_halo_than_it_says(make_tiny, levels):
    network = make_tiny(levels=levels).network
    x = torch.randn(1, 2, 32, 32, generator=torch.Generator().manual_seed(0))
    whole = network(x)[0, 0, 8:20, 8:24]
    edge = network.finish_radius
    features = network.features(x)[:, :, 8 - edge : 20 + edge, 8 - edge : 24 + edge]
    near = network.finish(features)[0, 0, edge : 12 + edge, edge : 16 + edge]
    torch.testing.assert_close(near, whole, rtol=0, atol=1e-6)


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
