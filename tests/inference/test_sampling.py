import warnings

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from cosmiq_astro import CosmicRayDetector
from cosmiq_astro.inference.frame import Frame
from cosmiq_astro.inference.sampling import (
    PLANES,
    Sampler,
    draw_weights,
    network_of,
)
from cosmiq_astro.inference.tiling import plan_tiles
from cosmiq_astro.inference.uncertainty import binary_entropy, entropy_of
from cosmiq_astro.models.fast_unet import Trunk
from cosmiq_astro.models.layers import variational_layers
from cosmiq_astro.preprocess import estimate_statistics, fill_holes, subtract_sky

LAST_BLOCK = ("merge.0.*", "head")


@pytest.mark.parametrize(
    ("variational", "levels", "shared"),
    [(LAST_BLOCK, 3, True), (("head",), 1, True), (("merge.*", "head"), 3, False)],
)
@pytest.mark.parametrize("views", [1, 2, 4])
def test_what_does_not_depend_on_the_draws_is_computed_once(
    frame, make_tiny, monkeypatch, variational, levels, shared, views
):
    detector = CosmicRayDetector(
        make_tiny(variational=variational, levels=levels), device="cpu", tile_size=40
    )
    calls, original = [], Trunk.__call__
    monkeypatch.setattr(Trunk, "__call__", lambda *args: calls.append(1) or original(*args))
    detector(frame, T=6, seed=1, views=views)
    n_tiles = 6
    assert len(calls) == n_tiles * views * (1 if shared else 6)


@pytest.mark.parametrize("variational", [("*",), LAST_BLOCK, ("head",), ()])
@pytest.mark.parametrize(("views", "n_networks"), [(1, 1), (2, 1), (4, 1), (1, 2), (2, 3)])
@pytest.mark.parametrize("tile_size", [24, 200])
def test_planes_are_what_the_plain_networks_say(
    frame, make_tiny, variational, views, n_networks, tile_size
):
    model = make_tiny(variational=variational, temperature=1.5, n_networks=n_networks)
    network = model.network
    for one in model.networks:
        for layer in variational_layers(one).values():
            layer.set_posterior_sigma(relative=0.2)
    detector = CosmicRayDetector(model, device="cpu", tile_size=tile_size)
    maps = detector(frame, T=5, seed=2, views=views, readnoise=5)
    tiles = plan_tiles(frame.shape, 200, halo=network.receptive_radius, grid=network.grid)
    whole = Frame.of(frame, np.isfinite(frame), maps.statistics, tiles, device=torch.device("cpu"))
    inputs = whole.read(tiles[0], network.config.channels)
    sampling = "antithetic" if variational else "mean"
    with torch.inference_mode():
        p = np.stack(
            [
                np.mean(
                    [
                        torch.sigmoid(network_of(*draw, view=v)(inputs).double() / 1.5)
                        for v in range(views)
                    ],
                    axis=0,
                )[0, 0][whole.inside]
                for draw in draw_weights(model.networks, 5, sampling=sampling, seed=2)
            ]
        )
    assert len(p) == maps.T == (5 if variational else n_networks)
    assert maps.views == views
    np.testing.assert_allclose(maps.probability, p.mean(0), atol=1e-6)
    np.testing.assert_allclose(maps.uncertainty, p.std(0), atol=1e-6)
    np.testing.assert_allclose(maps.entropy, binary_entropy(p.mean(0)), atol=2e-6)
    expected = binary_entropy(p.mean(0)) - binary_entropy(p).mean(0)
    np.testing.assert_allclose(maps.mutual_information, expected, atol=2e-6)
    assert (maps.uncertainty.max() > 1e-3) == (len(p) > 1)


def test_views_alone_are_no_uncertainty(frame, make_tiny):
    model = make_tiny(variational=LAST_BLOCK)
    for layer in variational_layers(model.network).values():
        layer.set_posterior_sigma(relative=1e-6)
    detector = CosmicRayDetector(model, device="cpu")
    one, four = (detector(frame, T=4, seed=1, views=views) for views in (1, 4))
    assert np.abs(one.probability - four.probability).max() > 1e-2
    assert four.uncertainty.max() < 1e-3
    assert four.mutual_information.max() < 1e-4


@pytest.mark.parametrize("views", [2, 4])
def test_a_turned_image_gives_turned_maps(frame, tiny_unet, views):
    detector = CosmicRayDetector(tiny_unet, device="cpu")
    # Half a turn keeps the pooling grid where a side is a multiple of it.
    image = frame[:76, :100]
    turns = [np.transpose] if views == 2 else [np.transpose, lambda x: x[::-1, ::-1]]
    one = detector(image, readnoise=5, views=views)
    for turn in turns:
        other = detector(turn(image), readnoise=5, views=views)
        np.testing.assert_allclose(other.probability, turn(one.probability), rtol=0, atol=1e-5)


def test_draws_are_coherent_prefixes_and_opposite_in_pairs(tiny_vi):
    short, long = (
        [weights for _, weights in draw_weights([tiny_vi.network], T, seed=3)] for T in (5, 8)
    )
    mean = tiny_vi.network.state_dict()
    for name in short[0]:
        for i in (0, 2):
            torch.testing.assert_close(short[i][name] + short[i + 1][name], 2 * mean[name])
        assert not torch.equal(short[0][name], short[2][name])
        for one, other in zip(short, long, strict=False):
            assert torch.equal(one[name], other[name])
    (_, one), (_, two) = draw_weights([tiny_vi.network], 2, sampling="independent", seed=3)
    assert not torch.allclose(one["head.weight"] + two["head.weight"], 2 * mean["head.weight"])


def test_networks_take_turns(make_tiny):
    networks = make_tiny(variational=("head",), n_networks=3).networks
    draws = draw_weights(networks, 8, seed=3)
    assert [network for network, _ in draws] == [networks[t % 3] for t in range(8)]
    for i, network in enumerate(networks[:2]):
        # The second draw of a network is opposite to its first, and the third is a new one.
        first, second, third = (weights["head.weight"] for _, weights in draws[i::3])
        torch.testing.assert_close(first + second, 2 * network.head.weight)
        assert not torch.allclose(first, third)
    assert [len(draw_weights(networks, T, seed=3)) for T in (1, 2)] == [1, 2]
    assert draw_weights(networks, 8, sampling="mean", seed=3) == [(n, {}) for n in networks]


def test_only_the_planes_asked_for(frame, tiny_vi, tiny_unet, monkeypatch):
    detector = CosmicRayDetector(tiny_vi, device="cpu")
    full = detector(frame, T=3, seed=1)
    for names in ((), ("uncertainty",), ("mutual_information", "entropy")):
        part = detector(frame, T=3, seed=1, planes=names)
        for name in PLANES:
            if name in ("probability", *names):
                np.testing.assert_array_equal(getattr(part, name), getattr(full, name))
            else:
                assert getattr(part, name) is None
    calls = []
    original = entropy_of
    monkeypatch.setattr(
        "cosmiq_astro.inference.uncertainty.entropy_of", lambda p: calls.append(1) or original(p)
    )
    detector(frame, T=3, seed=1, planes=("uncertainty",))
    assert not calls
    zeros = CosmicRayDetector(tiny_unet, device="cpu")(frame, planes=("uncertainty",))
    assert zeros.entropy is None
    assert not zeros.uncertainty.any()


@pytest.mark.parametrize("dtype", ["f4", ">f4", "f8", "f2", "u2", ">i2", "i4", "u1", "i8", "g"])
@pytest.mark.parametrize("satlevel", [None, 150.0])
def test_a_frame_holds_what_training_saw(dtype, satlevel):
    image = np.random.default_rng(0).normal(100, 30, (50, 61)).clip(0, 200).round().astype(dtype)
    image.flags.writeable = False
    usable = np.random.default_rng(1).random(image.shape) > 0.1
    statistics = estimate_statistics(image, usable)
    tiles = plan_tiles(image.shape, 32, halo=10, grid=4)
    cpu = torch.device("cpu")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = Frame.of(image, usable, statistics, tiles, device=cpu, satlevel=satlevel)
    expected = subtract_sky(image, usable, statistics.sky, satlevel=satlevel)
    fill_holes(expected, usable, statistics.noise)
    np.testing.assert_allclose(found.image, expected, rtol=1e-6, atol=1e-5)
    assert torch.isfinite(found.pixels).all()


class Operations(TorchDispatchMode):
    """Counts what the host launches: all but what only looks at memory in another way."""

    n = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.n += not function.is_view
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("T", "sampling", "views", "most"),
    [(1, "mean", 1, 90), (16, "antithetic", 2, 500), (1, "moments", 2, 500)],
)
def test_the_host_launches_few_operations_per_tile(frame, make_tiny, T, sampling, views, most):
    network = make_tiny(variational=("head",)).network
    draws = draw_weights([network], T, sampling=sampling, seed=1)
    sampler = Sampler(draws, sampling=sampling, views=views, temperature=1.2)
    cpu = torch.device("cpu")
    tiles = plan_tiles(frame.shape, 128, halo=network.receptive_radius, grid=network.grid)
    usable = np.isfinite(frame)
    whole = Frame.of(frame, usable, estimate_statistics(frame, usable), tiles, device=cpu)
    with Operations() as counted:
        sampler.predict(whole, tiles)
    assert len(tiles) == 1
    assert counted.n <= most


def test_what_no_detector_counts_is_told(tiny_unet):
    image = np.random.default_rng(0).normal(1e15, 1e7, (40, 40))
    with pytest.warns(UserWarning, match="are above 1e\\+09 electrons.*Check unit and gain"):
        maps = CosmicRayDetector(tiny_unet, device="cpu")(image)
    assert np.isfinite(maps.probability).all()
