import numpy as np
import pytest
import torch

from cosmiq_astro import load_model
from cosmiq_astro.models.checkpoint import save_model
from cosmiq_astro.models.layers import kl_divergence, variational_layers
from cosmiq_astro.training import PairedDataset, calibrate, train
from cosmiq_astro.training import loop as loop_module


def make_pairs(n=4, size=64, seed=0):
    rng = np.random.default_rng(seed)
    images, masks = [], []
    for _ in range(n):
        image = rng.normal(50, 8, (size, size))
        mask = rng.random(image.shape) < 0.02
        image[mask] += rng.exponential(300, mask.sum()) + 60
        images.append(image)
        masks.append(mask)
    return PairedDataset(images, masks, readnoise=3.0)


SHORT = {"hidden": 4, "epochs": 3, "patch_size": 32, "batch_size": 4, "seed": 1, "device": "cpu"}


def same(one, two):
    one, two = one.network.state_dict(), two.network.state_dict()
    return all(torch.equal(one[k], two[k]) for k in one)


@pytest.mark.parametrize("bayesian", [False, True])
def test_training_learns_and_touches_nothing_global(bayesian):
    torch_before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()
    threads = torch.get_num_threads()
    settings = SHORT | {"epochs": 15, "learning_rate": 1e-2, "kl_beta": 0.01}
    result = train(make_pairs(), bayesian, **settings)
    assert torch.equal(torch_before, torch.get_rng_state())
    np.testing.assert_array_equal(numpy_before, np.random.get_state()[1])
    assert torch.get_num_threads() == threads
    history = result.history
    assert history.colnames == ["epoch", "train_loss", "kl", "learning_rate", "val_loss", "seconds"]
    # A constant probability at the rate of the hits has an NLL of 0.098 nats per pixel.
    assert history["val_loss"].min() < 0.05
    assert (history["kl"] > 0).all() == bayesian
    assert result.model.method == ("vi" if bayesian else "unet")


def test_posterior_sigma_moves():
    result = train(make_pairs(), True, learning_rate=1e-2, **SHORT)
    start = loop_module._start_network(make_pairs(), True, None, 4, ("*",), 1)
    moved = [
        (a.weight_rho - b.weight_rho).abs().max()
        for a, b in zip(
            variational_layers(result.model.network).values(),
            variational_layers(start).values(),
            strict=True,
        )
    ]
    assert min(moved) > 1e-3


def test_same_seed_same_network():
    one, two, other = (train(make_pairs(), **(SHORT | {"seed": s})) for s in (1, 1, 2))
    assert same(one.model, two.model)
    assert not same(one.model, other.model)


@pytest.mark.parametrize("bayesian", [False, True])
def test_a_resumed_run_is_bit_identical(bayesian, tmp_path, monkeypatch):
    whole = train(make_pairs(), bayesian, **SHORT)
    write = loop_module._write_checkpoint

    def interrupt(path, network, optimizer, state, settings):
        write(path, network, optimizer, state, settings)
        if state.epoch == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(loop_module, "_write_checkpoint", interrupt)
    with pytest.raises(KeyboardInterrupt):
        train(make_pairs(), bayesian, checkpoint=tmp_path / "run.ckpt", **SHORT)
    monkeypatch.undo()
    resumed = train(make_pairs(), bayesian, checkpoint=tmp_path / "run.ckpt", **SHORT)
    assert same(whole.model, resumed.model)
    for name in ("train_loss", "val_loss", "kl", "learning_rate"):
        np.testing.assert_array_equal(whole.history[name], resumed.history[name])


def test_a_checkpoint_of_other_settings_is_refused(tmp_path):
    train(make_pairs(), checkpoint=tmp_path / "run.ckpt", **SHORT)
    with pytest.raises(ValueError, match="was written with other settings: learning_rate"):
        train(make_pairs(), checkpoint=tmp_path / "run.ckpt", learning_rate=0.5, **SHORT)


def test_kl_term_is_per_distinct_pixel_whatever_patch_and_batch():
    """Repeating the frames' pixels in more or larger patches must not change the KL's weight."""
    dataset = make_pairs()
    validation = make_pairs(seed=9)
    kls = []
    for patch_size, batch_size in ((16, 8), (32, 2), (64, 1)):
        settings = SHORT | {"patch_size": patch_size, "batch_size": batch_size, "epochs": 1}
        result = train(dataset, True, validation=validation, learning_rate=1e-9, **settings)
        expected = float(kl_divergence(result.model.network)) / dataset.n_valid_pixels
        assert result.history["kl"][0] == pytest.approx(expected, rel=1e-4)
        kls.append(result.history["kl"][0])
    assert np.ptp(kls) < 1e-4 * kls[0]


def test_kl_beta_pulls_towards_the_prior():
    free, held = (
        train(make_pairs(), True, kl_beta=b, learning_rate=1e-2, **(SHORT | {"epochs": 8}))
        for b in (0.0, 10.0)
    )
    assert held.history["kl"][-1] < 0.9 * free.history["kl"][-1]


def test_warm_start_takes_over_the_means():
    baseline = train(make_pairs(), **SHORT).model
    network = loop_module._start_network(make_pairs(), True, baseline, 4, ("*",), 0)
    state = network.state_dict()
    for name, tensor in baseline.network.state_dict().items():
        assert torch.equal(state[name], tensor)
    for layer in variational_layers(network).values():
        rms = layer.weight.square().mean().sqrt()
        torch.testing.assert_close(layer.prior_sigma, rms)
        sigma = layer.posterior_sigma()["weight"]
        assert (sigma <= 0.0501 * torch.maximum(layer.weight.abs(), 0.05 * rms)).all()


def test_not_a_number_stops_with_the_batch(monkeypatch):
    dataset = make_pairs()

    def broken(*args):
        inputs, labels, valid = original(*args)
        inputs[0, 0, 0, 0] = np.inf
        return inputs, labels, valid

    original = loop_module.make_batch
    monkeypatch.setattr(loop_module, "make_batch", broken)
    with pytest.raises(FloatingPointError, match="at epoch 0, step 0"):
        train(dataset, **SHORT)


def test_model_is_calibrated_saved_and_used(tmp_path):
    dataset = make_pairs()
    result = train(dataset, learning_rate=1e-2, name="mine", **(SHORT | {"epochs": 20}))
    model, scores = calibrate(result.model, make_pairs(seed=5), n_patches=8, patch_size=32)
    assert 0 < model.threshold < 1
    assert model.temperature != 1
    assert scores["recall"][0] > 0.5
    folder = save_model(model, tmp_path / "mine", card="# mine\n")
    loaded = load_model(folder)
    assert loaded.threshold == model.threshold
    assert same(loaded, model)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"validation_fraction": 1.5}, "validation_fraction must be in"),
        ({"epochs": 0}, "epochs must be a positive integer"),
        ({"batch_size": 0}, "batch_size must be a positive integer"),
        ({"patch_size": 30}, "patch_size must be a multiple of 4"),
        ({"patch_size": 128}, "patch_size 128 is larger than frame"),
        ({"learning_rate": 0}, "learning_rate must be positive"),
        ({"kl_beta": -1}, "kl_beta must not be negative"),
        ({"init": "nonesuch"}, "neither a bundled model"),
    ],
)
def test_bad_settings(kwargs, message):
    with pytest.raises(ValueError, match=message):
        train(make_pairs(), **(SHORT | kwargs))
