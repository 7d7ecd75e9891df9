import copy
import dataclasses
import itertools
import multiprocessing
import os
import socket
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch
from astropy.table import Table
from lightning_fabric.loggers import CSVLogger
from matplotlib import image

from cosmiq_astro import CosmicRayDetector, load_model
from cosmiq_astro.models.layers import kl_divergence, variational_layers
from cosmiq_astro.models.model import save_model
from cosmiq_astro.simulate import cosmic_ray_footprints
from cosmiq_astro.training import (
    InjectionDataset,
    PairedDataset,
    TrainingResult,
    TrainingRun,
    TrainingSettings,
    calibrate,
)
from cosmiq_astro.training import datasets as batches_module
from cosmiq_astro.training import train as train_in_full
from cosmiq_astro.training.network import start_networks


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


def train(dataset, bayesian=False, **given):
    """Train, every setting given by its own name."""
    groups = {
        name: kind(**{f.name: given.pop(f.name) for f in fields(kind) if f.name in given})
        for name, kind in (("settings", TrainingSettings), ("run", TrainingRun))
    }
    return train_in_full(dataset, bayesian, **given, **groups)


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
    names = ["epoch", "train_loss", "teacher_loss", "kl", "learning_rate", "val_loss", "seconds"]
    assert history.colnames == names
    # A constant probability at the rate of the hits has an NLL of 0.098 nats per pixel.
    assert history["val_loss"].min() < 0.05
    assert (history["kl"] > 0).all() == bayesian
    assert result.model.method == ("vi" if bayesian else "unet")


def test_same_seed_same_network():
    one, two, other = (train(make_pairs(), **(SHORT | {"seed": s})) for s in (1, 1, 2))
    assert same(one.model, two.model)
    assert not same(one.model, other.model)


@pytest.mark.parametrize("bayesian", [False, True])
def test_interrupted_and_resumed_is_bit_identical(bayesian, tmp_path, monkeypatch):
    """Ctrl-C in the third epoch: the checkpoint of the second gives a model, and goes on."""
    checkpoint = tmp_path / "run.ckpt"
    settings = SHORT | {"name": "mine", "instrument": "cam"}
    whole = train(make_pairs(), bayesian, **settings)

    n_batches = itertools.count(1)

    def interrupt(*args, **kwargs):
        # Three batches of each epoch train, one validates: this is in the middle of the third.
        if next(n_batches) == 10:
            raise KeyboardInterrupt
        return original(*args, **kwargs)

    original = batches_module.make_batch
    monkeypatch.setattr(batches_module, "make_batch", interrupt)
    with pytest.raises(KeyboardInterrupt):
        train(make_pairs(), bayesian, checkpoint=checkpoint, **settings)
    monkeypatch.undo()
    usable = TrainingResult.from_checkpoint(checkpoint)
    n_done = len(usable.history)
    assert n_done == 2
    for name in ("train_loss", "val_loss", "kl"):
        np.testing.assert_array_equal(usable.history[name], whole.history[name][:n_done])
    assert (usable.model.name, usable.model.instrument) == ("mine", "cam")
    assert usable.model.method == ("vi" if bayesian else "unet")
    assert np.isfinite(
        CosmicRayDetector(usable.model, device="cpu")(np.ones((8, 8))).probability
    ).all()
    resumed = train(make_pairs(), bayesian, checkpoint=checkpoint, **settings)
    assert same(whole.model, resumed.model)
    for name in ("train_loss", "val_loss", "kl", "learning_rate"):
        np.testing.assert_array_equal(whole.history[name], resumed.history[name])
    stored = TrainingResult.from_checkpoint(checkpoint).model
    assert torch.equal(stored.network.head.weight, resumed.model.network.head.weight)
    # The widths of a posterior are found in the end.
    assert same(stored, resumed.model) != bayesian


@pytest.mark.skipif(
    multiprocessing.get_start_method() != "fork", reason="pytest's main module is not to be spawned"
)
def test_workers_prepare_the_same_batches(tmp_path):
    """With as many as there are, and over an interruption."""
    settings = SHORT | {"checkpoint": tmp_path / "run.ckpt", "patience": 1, "learning_rate": 1e-12}
    stalled = train(make_pairs(), workers=2, **settings)
    assert len(stalled.history) < SHORT["epochs"]
    settings["patience"] = None
    before = torch.get_rng_state()
    by_processes = train(make_pairs(), workers=2, **settings)
    assert torch.equal(before, torch.get_rng_state())
    settings["checkpoint"] = None
    assert same(by_processes.model, train(make_pairs(), **settings).model)
    assert len(by_processes.history) == SHORT["epochs"]


def test_other_files_are_no_checkpoints(tmp_path):
    path = tmp_path / "run.ckpt"
    torch.save({"epoch": 1}, path)
    with pytest.raises(ValueError, match="is not a checkpoint of a training run"):
        TrainingResult.from_checkpoint(path)
    path.write_bytes(b"nonsense")
    with pytest.raises(ValueError, match="is not a checkpoint of a training run"):
        train(make_pairs(), checkpoint=path, **SHORT)


def test_patience_stops_early(tmp_path):
    settings = SHORT | {"epochs": 30, "learning_rate": 1e-12, "patience": 2}
    result = train(make_pairs(), checkpoint=tmp_path / "run.ckpt", **settings)
    losses = list(result.history["val_loss"])
    assert len(losses) < 30
    assert len(losses) - 1 - losses.index(min(losses)) == 2
    again = train(make_pairs(), checkpoint=tmp_path / "run.ckpt", **settings)
    assert len(again.history) == len(losses)
    # A run that was stopped goes on when it is given more patience.
    more = train(make_pairs(), checkpoint=tmp_path / "run.ckpt", **(settings | {"patience": 4}))
    assert len(more.history) > len(losses)
    more.history.write(tmp_path / "history.ecsv")
    assert Table.read(tmp_path / "history.ecsv").meta["epochs"] == 30


@pytest.mark.parametrize("bayesian", [False, True])
def test_frozen_layers_stay(bayesian):
    start = train(make_pairs(), **SHORT).model
    settings = SHORT | {"freeze": ("down.*", "head"), "learning_rate": 1e-2}
    begun = start_networks(bayesian, start, 4, TrainingSettings(), 1)[0].state_dict()
    result = train(make_pairs(), bayesian, init=start, **settings)
    changed = {
        name.rpartition(".")[0]
        for name, tensor in result.model.network.state_dict().items()
        # The widths of a posterior follow from all means.
        if not torch.equal(tensor, begun[name]) and not name.endswith("_rho")
    }
    assert changed == {f"{part}.{n}" for part in ("merge.0", "merge.1", "up") for n in (0, 1)}
    with pytest.raises(ValueError, match=r"freeze has 'dwn\.\*', which fits no layer; the layers"):
        train(make_pairs(), freeze=("dwn.*",), **SHORT)
    with pytest.raises(ValueError, match="leaves no layer to train"):
        train(make_pairs(), freeze=("*",), **SHORT)


def test_a_bundled_model_is_fine_tuned():
    settings = SHORT | {"epochs": 1, "learning_rate": 1e-12, "freeze": ("down.*",)}
    result = train(make_pairs(), init="acs-wfc-unet", **settings)
    bundled = load_model("acs-wfc-unet")
    assert result.model.network.config == bundled.network.config
    for name, tensor in bundled.network.state_dict().items():
        torch.testing.assert_close(result.model.network.state_dict()[name], tensor)


def test_networks_are_trained_each_as_if_alone(make_tiny, tmp_path):
    start = make_tiny(variational=("head",), n_networks=2)
    settings = SHORT | {"epochs": 1}
    checkpoint = tmp_path / "run.ckpt"
    result = train(make_pairs(), True, init=start, checkpoint=checkpoint, **settings)
    stored = TrainingResult.from_checkpoint(checkpoint).model
    for i, network in enumerate(result.model.networks):
        state = network.state_dict()
        assert not torch.equal(state["down.0.0.weight"], start.networks[i].down[0][0].weight)
        torch.testing.assert_close(stored.networks[i].head.weight, state["head.weight"])
    first = dataclasses.replace(start, others=())
    alone = train(make_pairs(), True, init=first, **settings)
    for name, tensor in alone.model.network.state_dict().items():
        if not name.endswith("_rho"):
            torch.testing.assert_close(result.model.network.state_dict()[name], tensor)
    # The widths follow from the curvature, which is estimated with other random signs.
    one, other = (m.network.head.weight_rho for m in (result.model, alone.model))
    torch.testing.assert_close(one, other, rtol=0.1, atol=0)
    names = ("train_loss", "kl")
    both, single = ([run.history[name][0] for name in names] for run in (result, alone))
    np.testing.assert_allclose(both, single, rtol=0.3)
    assert len(train(make_pairs(), init=start, **settings).model.networks) == 1


def test_two_devices_share_each_batch(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import numpy as np, torch\n"
        "from test_loop import SHORT, make_pairs, train\n"
        "torch.set_num_threads(1)\n"
        "result = train(make_pairs(), True, devices=2, checkpoint=sys.argv[2], **SHORT)\n"
        "rank = torch.distributed.get_rank()\n"
        "np.save(f'{sys.argv[2]}{rank}.npy', result.model.network.head.weight.detach().numpy())\n"
        "torch.distributed.destroy_process_group()\n"
    )
    here, out = str(Path(__file__).parent), str(tmp_path / "run")
    subprocess.run(
        [sys.executable, script, here, out], check=True, capture_output=True, timeout=100
    )
    one, two = (np.load(f"{out}{rank}.npy") for rank in (0, 1))
    np.testing.assert_array_equal(one, two)
    assert len(TrainingResult.from_checkpoint(out).history) == 3


def test_two_hosts_share_each_batch(tmp_path):
    """Two processes that find each other by address and rank, as torchrun starts them on hosts."""
    script = tmp_path / "script.py"
    script.write_text(
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import numpy as np, torch\n"
        "from test_loop import SHORT, make_pairs, train\n"
        "torch.set_num_threads(1)\n"
        "result = train(make_pairs(), nodes=2, checkpoint=sys.argv[2], **SHORT)\n"
        "rank = torch.distributed.get_rank()\n"
        "np.save(f'{sys.argv[2]}{rank}.npy', result.model.network.head.weight.detach().numpy())\n"
        "torch.distributed.destroy_process_group()\n"
    )
    here, out = str(Path(__file__).parent), str(tmp_path / "run")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    hosts = [
        subprocess.Popen(
            [sys.executable, script, here, out], env=os.environ | place | {"NODE_RANK": str(rank)}
        )
        for rank in range(2)
    ]
    assert [host.wait(timeout=100) for host in hosts] == [0, 0]
    one, two = (np.load(f"{out}{rank}.npy") for rank in (0, 1))
    np.testing.assert_array_equal(one, two)
    assert len(TrainingResult.from_checkpoint(out).history) == 3


def test_epochs_are_logged_and_drawn(tmp_path):
    logger = CSVLogger(tmp_path, name="log", version="")
    result = train(make_pairs(), logger=logger, examples=tmp_path / "examples", **SHORT)
    logged = Table.read(tmp_path / "log" / "metrics.csv")
    np.testing.assert_allclose(logged["val_loss"], result.history["val_loss"])
    assert list(logged["step"]) == [1, 2, 3]
    drawn = sorted(path.name for path in (tmp_path / "examples").iterdir())
    assert drawn == ["epoch_001.png", "epoch_002.png", "epoch_003.png"]
    assert image.imread(tmp_path / "examples" / drawn[0]).std() > 0.1


class OwnDataset:
    """What the guide asks of a dataset, and no more."""

    def __init__(self, pairs):
        self._pairs = pairs
        for name in ("n_frames", "n_pixels", "n_valid_pixels", "patch"):
            setattr(self, name, getattr(pairs, name))

    def split(self, fraction, *, seed):
        return tuple(OwnDataset(side) for side in self._pairs.split(fraction, seed=seed))


def test_a_dataset_of_ones_own_is_trained_on_and_drawn(tmp_path):
    result = train(OwnDataset(make_pairs()), examples=tmp_path, **SHORT)
    assert same(result.model, train(make_pairs(), **SHORT).model)
    assert len(list(tmp_path.iterdir())) == 3


def test_a_prior_that_outweighs_the_data_is_told(caplog):
    train(make_pairs(), True, **SHORT)
    assert "the prior outweighs so few pixels" in caplog.text
    caplog.clear()
    train(make_pairs(), True, kl_beta=0.001, **SHORT)
    assert not caplog.records


def test_a_checkpoint_of_other_settings_is_refused(tmp_path):
    train(make_pairs(), checkpoint=tmp_path / "run.ckpt", **SHORT)
    with pytest.raises(ValueError, match="was written with other settings: learning_rate"):
        train(make_pairs(), checkpoint=tmp_path / "run.ckpt", learning_rate=0.5, **SHORT)


def test_a_checkpoint_of_other_data_is_refused(tmp_path):
    frames = [np.random.default_rng(i).normal(50, 8, (64, 64)) for i in range(4)]
    hits = cosmic_ray_footprints(50, seed=1)
    settings = {"checkpoint": tmp_path / "run.ckpt", **SHORT}
    train(InjectionDataset(frames, hits, readnoise=4), **settings)
    brighter = {"extra_sky": (0, 50), "density": (1e-3, 4e-3)}
    with pytest.raises(ValueError, match=r"with other settings: density, extra_sky; give those"):
        train(InjectionDataset(frames, hits, readnoise=4, **brighter), **settings)
    with pytest.raises(ValueError, match=r"settings: batches_per_epoch, n_frames, n_valid_pixels"):
        train(InjectionDataset(frames + frames[:2], hits, readnoise=4), **settings)


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
    # The widths that it is computed with come from other patches each time.
    assert np.ptp(kls) < 0.05 * kls[0]


def test_kl_beta_pulls_towards_the_prior():
    free, held = (
        train(make_pairs(), True, kl_beta=b, learning_rate=1e-2, **(SHORT | {"epochs": 8}))
        for b in (0.0, 10.0)
    )
    assert held.history["kl"][-1] < 0.9 * free.history["kl"][-1]


def test_warm_start_takes_over_the_means():
    baseline = train(make_pairs(), **SHORT).model
    (network,) = start_networks(True, baseline, 4, TrainingSettings(), 0)
    state = network.state_dict()
    for name, tensor in baseline.network.state_dict().items():
        assert torch.equal(state[name], tensor)
    for layer in variational_layers(network).values():
        rms = layer.weight.square().mean().sqrt()
        torch.testing.assert_close(layer.prior_sigma, rms)
        sigma = layer.posterior_sigma()["weight"]
        assert (sigma <= 0.2501 * torch.maximum(layer.weight.abs(), 0.05 * rms)).all()


def test_not_a_number_stops_with_the_batch(monkeypatch):
    dataset = make_pairs()

    def broken(*args, **kwargs):
        inputs, *others = original(*args, **kwargs)
        inputs[0, 0, 0, 0] = np.inf
        return inputs, *others

    original = batches_module.make_batch
    monkeypatch.setattr(batches_module, "make_batch", broken)
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
    expected = pytest.approx(scores["hit_fraction"][0], rel=1e-3)
    assert loaded.operating_curve["hit_fraction"] == expected
    assert same(loaded, model)


def test_fit_and_scores_come_from_different_frames():
    """Another truth in the half that is fitted moves the fit alone, and vice versa."""
    model = train(make_pairs(), **SHORT).model
    base, other = make_pairs(n=2, seed=5), make_pairs(n=2, seed=6)

    def run(frames, pair=("_images", "_masks")):
        images, masks = ([getattr(d, n)[i] for i, d in enumerate(frames)] for n in pair)
        fitted, scores = calibrate(
            model, PairedDataset(images, masks, readnoise=3.0), n_patches=8, patch_size=32, seed=0
        )
        return fitted.temperature, scores["hit_fraction"][0]

    before = run([base, base])
    changed = [
        [now != then for now, then in zip(run(frames), before, strict=True)]
        for frames in ([other, base], [base, other])
    ]
    assert sorted(changed) == [[False, True], [True, False]]


def test_where_labels_are_silent_the_model_that_training_began_from_speaks():
    start = train(make_pairs(), **(SHORT | {"epochs": 20, "learning_rate": 1e-2})).model
    pairs = make_pairs(seed=5)
    ignore = [np.arange(64) < 32 * np.ones((64, 1)) for _ in pairs._images]
    half = PairedDataset(pairs._images, pairs._masks, ignore, readnoise=3.0)
    for init, dataset, taught in ((start, half, True), (start, pairs, False), (None, half, False)):
        history = train(dataset, init=init, **SHORT).history
        assert (history["teacher_loss"] > 0).all() == taught
    # To one that holds everything for hits, what is not flagged without a label is missed.
    network = copy.deepcopy(start.network)
    with torch.no_grad():
        network.head.weight.zero_()
        network.head.bias.fill_(6)
    credulous = dataclasses.replace(start, network=network)
    settings = {"n_patches": 8, "patch_size": 32}
    plain = calibrate(start, half, **settings)[0]
    with_start = calibrate(start, half, start=credulous, **settings)[0]
    assert with_start.threshold < 0.1 * plain.threshold
    assert with_start.temperature == plain.temperature
    with pytest.raises(ValueError, match="give the one that training began from"):
        calibrate(start, half, start=load_model("acs-wfc-unet"), **settings)


def test_one_frame_is_parted_to_fit_and_score():
    model = train(make_pairs(), **SHORT).model
    _, scores = calibrate(model, make_pairs(n=1), n_patches=8, patch_size=64)
    # The narrower half is 16 pixels wide, and no patch is wider.
    assert scores["n_pixels"][0] == 8 * 16**2


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"validation_fraction": 1.5}, "validation_fraction must be in"),
        ({"epochs": 0}, "epochs must be a positive integer"),
        ({"batch_size": 0}, "batch_size must be a positive integer"),
        ({"patch_size": 30}, "patch_size must be a multiple of 4"),
        ({"patch_size": 128}, "patch_size 128 is larger than frame"),
        ({"patience": 0}, "patience must be a positive integer"),
        ({"devices": 3}, "batch_size 4 must be a multiple of devices x nodes, 3"),
        ({"nodes": 0}, "nodes must be a positive integer"),
        ({"workers": -1}, "workers must be 0 or a positive integer"),
        ({"learning_rate": 0}, "learning_rate must be positive"),
        ({"kl_beta": -1}, "kl_beta must not be negative"),
        ({"init": "nonesuch"}, "neither a bundled model"),
    ],
)
def test_bad_settings(kwargs, message):
    with pytest.raises(ValueError, match=message):
        train(make_pairs(), **(SHORT | kwargs))


def test_a_network_that_could_not_be_loaded_is_refused_before_training():
    with pytest.raises(ValueError, match="hidden must be 1024 or less, got 2000"):
        train(make_pairs(), **(SHORT | {"hidden": 2000}))
