import numpy as np
import pytest
import torch

from cosmiq_astro import CosmicRayDetector
from cosmiq_astro.inference import sampling
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
    assert len(calls) == n_tiles * (1 if shared else 6)
    monkeypatch.setattr(sampling, "same_features", lambda networks: False)
    separate = detector(frame, T=6, seed=1)
    np.testing.assert_array_equal(found.probability, separate.probability)
    np.testing.assert_array_equal(found.uncertainty, separate.uncertainty)
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
