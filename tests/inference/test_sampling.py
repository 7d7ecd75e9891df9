import numpy as np
import pytest
import torch

from cosmiq_astro import CosmicRayDetector
from cosmiq_astro.inference import sampling
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
def test_every_other_draw_sees_the_image_transposed(make_tiny, levels):
    network = make_tiny(variational=("*",), levels=levels, seed=3).network
    for layer in variational_layers(network).values():
        layer.set_posterior_sigma(relative=1e-6)
    x = torch.randn(1, 2, 32, 24, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        straight, transposed = (one(x) for one in draw_networks(network, 2, seed=1))
        expected = network(x), network(x.transpose(2, 3)).transpose(2, 3)
    torch.testing.assert_close(straight, expected[0], rtol=0, atol=1e-4)
    torch.testing.assert_close(transposed, expected[1], rtol=0, atol=1e-4)
    assert not torch.allclose(straight, transposed, rtol=0, atol=1e-3)


def test_a_transposed_image_gives_transposed_maps(frame, make_tiny):
    model = make_tiny(variational=("merge.0.*", "head"))
    for layer in variational_layers(model.network).values():
        layer.set_posterior_sigma(relative=1e-6)
    detector = CosmicRayDetector(model, device="cpu")
    one, other = (detector(image, T=4, seed=1, readnoise=5) for image in (frame, frame.T))
    np.testing.assert_allclose(other.probability, one.probability.T, rtol=0, atol=1e-4)
    assert one.uncertainty.max() > 1e-3
