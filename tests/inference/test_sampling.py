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
    monkeypatch.setattr(UNet, "features", lambda self, x: calls.append(1) or original(self, x))
    found = detector(frame, T=6, seed=1)
    n_tiles = 6
    assert len(calls) == n_tiles * (1 if shared else 6)
    monkeypatch.setattr(sampling, "_same_features", lambda one, other: False)
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


@pytest.fixture
def doubtful(make_tiny):
    """A variational model that is sure of the sky, and whose draws differ elsewhere."""
    model = make_tiny(variational=("merge.0.*", "head"), seed=2)
    for layer in variational_layers(model.network).values():
        layer.set_posterior_sigma(relative=0.3)
    model.network.head.bias.fill_(-8)
    return model


def test_adaptive_draws_stop_in_blocks_of_the_image(doubtful, frame):
    maps = [
        CosmicRayDetector(doubtful, device="cpu", tile_size=size)(
            frame, T=16, seed=3, sampling="adaptive"
        )
        for size in (32, 70, 512)
    ]
    n_draws = maps[0].n_draws
    assert n_draws.dtype == np.uint16
    assert set(np.unique(n_draws)) <= {2, 4, 8, 16}
    assert n_draws.min() < 16 == n_draws.max()
    blocks = [n_draws[y : y + 32, x : x + 32] for y in range(0, 97, 32) for x in range(0, 97, 32)]
    assert all((block == block[0, 0]).all() for block in blocks if block.size)
    for other in maps[1:]:
        np.testing.assert_array_equal(other.n_draws, n_draws)
        np.testing.assert_allclose(other.probability, maps[0].probability, atol=1e-5)
        np.testing.assert_allclose(other.uncertainty, maps[0].uncertainty, atol=1e-5)


def test_adaptive_draws_are_the_first_ones_of_all_draws(doubtful, frame):
    detector = CosmicRayDetector(doubtful, device="cpu")
    full = detector(frame, T=16, seed=3)
    found = detector(frame, T=16, seed=3, sampling="adaptive")
    np.testing.assert_allclose(found.probability, full.probability, atol=1e-3)
    everywhere = found.n_draws == 16
    for plane in ("probability", "uncertainty", "entropy", "mutual_information"):
        a, b = (getattr(m, plane)[everywhere] for m in (found, full))
        np.testing.assert_allclose(a, b, atol=2e-6)
    few = detector(frame, T=2, seed=3)
    stopped = found.n_draws == 2
    np.testing.assert_allclose(
        found.probability[stopped], few.probability[stopped], rtol=0, atol=2e-6
    )
    assert full.n_draws is None


def test_adaptive_sampling_works_where_all_layers_are_drawn(make_tiny, frame):
    model = make_tiny(variational=("*",))
    detector = CosmicRayDetector(model, device="cpu")
    full = detector(frame[:50, :40], T=8, seed=3)
    found = detector(frame[:50, :40], T=8, seed=3, sampling="adaptive")
    np.testing.assert_allclose(found.probability, full.probability, atol=1e-3)
