"""The training loop: one flag, ``bayesian``, chooses the network."""

import math
import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from astropy.table import Table
from lightning_fabric import Fabric
from torch import nn
from torch.func import functional_call
from tqdm import tqdm

from cosmiq_astro.models.checkpoint import Model, load_model
from cosmiq_astro.models.layers import sample_weights, variational_layers
from cosmiq_astro.models.unet import UNetConfig, empty_unet, initialize_weights
from cosmiq_astro.training.datasets import make_batch
from cosmiq_astro.training.losses import ElboNetwork, masked_cross_entropy

__all__ = ["TrainingResult", "train"]

_VALIDATION_DRAWS = 4


@dataclass(frozen=True)
class TrainingResult:
    """
    What `train` returns.

    Attributes
    ----------
    model : `~cosmiq_astro.models.checkpoint.Model`
        The network of the best epoch by validation loss.
    history : `~astropy.table.Table`
        One row per epoch: ``epoch``, ``train_loss``, ``val_loss`` (nats per
        pixel, without the KL term), ``kl`` (KL / N, nats per pixel, before
        ``kl_beta``), ``learning_rate``, ``seconds``.
    seed : int
        The seed used.
    """

    model: Model
    history: Table
    seed: int


@dataclass(frozen=True)
class _Settings:
    epochs: int
    patch_size: int
    batch_size: int
    batches_per_epoch: int
    learning_rate: float
    kl_beta: float
    kl_warmup: int
    seed: int


@dataclass
class _State:
    """All that changes during training; what a checkpoint holds."""

    epoch: int = 0
    best_loss: float = math.inf
    best_weights: dict = field(default_factory=dict)
    history: list = field(default_factory=list)


def train(
    dataset,
    bayesian=False,
    *,
    validation=None,
    validation_fraction=0.2,
    init=None,
    hidden=16,
    variational=("*",),
    kl_beta=1.0,
    kl_warmup=0,
    epochs=50,
    patch_size=128,
    batch_size=16,
    learning_rate=1e-3,
    seed=None,
    device="auto",
    precision="32-true",
    checkpoint=None,
    name="untitled",
    instrument="",
    progress_bar=False,
):
    r"""
    Train a network that finds cosmic rays.

    The loss is the mean binary cross-entropy over the valid pixels plus
    ``kl_beta`` × KL / N, N the number of distinct valid pixels of the
    training frames: with ``kl_beta=1`` the negative evidence lower bound per
    pixel (Blundell et al. 2015, arXiv:1505.05424, eq. 2), whatever the patch
    and batch size.

    Parameters
    ----------
    dataset : dataset
        `~cosmiq_astro.training.PairedDataset`,
        `~cosmiq_astro.training.InjectionDataset` or an object with their
        methods.
    bayesian : bool, optional
        True for the variational network, False for the baseline.
    validation : dataset, optional
        Frames to validate on. Without it, ``validation_fraction`` of the
        frames of ``dataset`` are set aside: whole frames, never patches.
    validation_fraction : float, optional
        In (0, 1).
    init : str, path-like or Model, optional
        A model to start from. A variational network started from a baseline
        takes its weights as means, 5 % of their size as standard deviations
        and, per layer, their rms as the scale of the prior.
    hidden : int, optional
        Feature maps of the first level, where there is no ``init``.
    variational : tuple of str, optional
        Patterns of the layers that are variational if ``bayesian``.
    kl_beta : float, optional
        Weight of the KL term. Below 1 the posterior is colder and closer to
        the baseline; raise it towards 1 with more data.
    kl_warmup : int, optional
        Epochs over which ``kl_beta`` rises linearly from 0.
    epochs : int, optional
        An epoch shows as many pixels as the training frames have.
    patch_size : int, optional
        Side of the square patches, a multiple of the network's grid; no
        larger than the smallest frame.
    batch_size : int, optional
        Patches per step.
    learning_rate : float, optional
        Highest rate of Adam; it rises over the first 2 % of the steps and
        falls to zero along a half cosine.
    seed : int, optional
        Seeds weights, patches and draws; drawn and reported if None.
    device : str, optional
        ``'auto'``, ``'cpu'``, ``'cuda'``, ``'mps'`` …
    precision : str, optional
        A precision of `lightning_fabric.Fabric`, such as ``'bf16-mixed'``.
    checkpoint : path-like, optional
        A file that the state is written to after each epoch, and resumed
        from if it is there.
    name, instrument : str, optional
        For the resulting model.
    progress_bar : bool, optional
        Whether to show one.

    Returns
    -------
    result : `TrainingResult`
        The best model and the history.

    Raises
    ------
    ValueError
        If a setting is out of its range or the data cannot be used.
    FloatingPointError
        If the loss is not finite; the message names the batch.
    """
    _check_settings(epochs, patch_size, batch_size, learning_rate, kl_beta, validation_fraction)
    seed = int(np.random.SeedSequence().entropy % 2**31) if seed is None else int(seed)
    if validation is None:
        dataset, validation = dataset.split(validation_fraction, seed=seed)
    network = _start_network(dataset, bayesian, init, hidden, tuple(variational), seed)
    if patch_size % network.grid:
        raise ValueError(f"patch_size must be a multiple of {network.grid}, got {patch_size}")
    settings = _Settings(
        epochs=epochs,
        patch_size=patch_size,
        batch_size=batch_size,
        batches_per_epoch=max(1, round(dataset.n_pixels / (batch_size * patch_size**2))),
        learning_rate=learning_rate,
        kl_beta=kl_beta if bayesian else 0.0,
        kl_warmup=kl_warmup,
        seed=seed,
    )
    accelerator = "gpu" if device == "cuda" else device
    fabric = Fabric(accelerator=accelerator, devices=1, precision=precision)
    state = _fit(fabric, network, dataset, validation, settings, checkpoint, progress_bar)
    network.load_state_dict(state.best_weights)
    model = Model(
        name=name,
        version="1",
        instrument=instrument,
        network=network.cpu().eval().requires_grad_(False),
    )
    history = Table(rows=state.history)
    history.meta = asdict(settings)
    return TrainingResult(model=model, history=history, seed=seed)


def _check_settings(epochs, patch_size, batch_size, learning_rate, kl_beta, validation_fraction):
    counts = {"epochs": epochs, "patch_size": patch_size, "batch_size": batch_size}
    for name, value in counts.items():
        if not isinstance(value, (int, np.integer)) or value < 1:
            raise ValueError(f"{name} must be a positive integer, got {value!r}")
    if not learning_rate > 0:
        raise ValueError(f"learning_rate must be positive, got {learning_rate!r}")
    if not kl_beta >= 0:
        raise ValueError(f"kl_beta must not be negative, got {kl_beta!r}")
    if not 0 < validation_fraction < 1:
        raise ValueError(f"validation_fraction must be in (0, 1), got {validation_fraction}")


def _start_network(dataset, bayesian, init, hidden, variational, seed):
    patterns = variational if bayesian else ()
    generator = torch.Generator().manual_seed(seed)
    if init is None:
        config = UNetConfig(hidden=hidden, variational=patterns)
        return initialize_weights(empty_unet(config), generator)
    start = init if isinstance(init, Model) else load_model(init)
    network = empty_unet(replace(start.network.config, variational=patterns))
    initialize_weights(network, generator)
    given = start.network.state_dict()
    network.load_state_dict(
        {k: v for k, v in given.items() if k in network.state_dict()}, strict=False
    )
    if bayesian and start.method == "unet":
        for layer in variational_layers(network).values():
            layer.set_prior_sigma(layer.weight.detach().square().mean().sqrt())
            layer.set_posterior_sigma(relative=0.05)
    return network


def _fit(fabric, network, dataset, validation, settings, checkpoint, progress_bar):
    """Run the epochs, from the start or from the checkpoint."""
    channels = network.config.channels
    network.to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(network.parameters(), lr=settings.learning_rate)
    model, optimizer = fabric.setup(ElboNetwork(network), optimizer)
    state = _resume(checkpoint, network, optimizer, settings) if checkpoint else _State()
    bar = tqdm(total=settings.epochs, initial=state.epoch, disable=not progress_bar)
    with ThreadPoolExecutor(1) as pool, bar:
        while state.epoch < settings.epochs:
            start = time.monotonic()
            row = _train_epoch(fabric, model, optimizer, dataset, state.epoch, settings, pool)
            row["val_loss"] = _validate(fabric, network, validation, settings, channels)
            row["seconds"] = time.monotonic() - start
            state.history.append(row)
            state.epoch += 1
            if row["val_loss"] < state.best_loss:
                state.best_loss = row["val_loss"]
                state.best_weights = {k: v.cpu().clone() for k, v in network.state_dict().items()}
            if checkpoint:
                _write_checkpoint(checkpoint, network, optimizer, state, settings)
            bar.update()
            bar.set_postfix(train=f"{row['train_loss']:.5f}", val=f"{row['val_loss']:.5f}")
    return state


def _train_epoch(fabric, model, optimizer, dataset, epoch, settings, pool):
    model.train()
    network = model.module.network
    n_steps, total = settings.batches_per_epoch, settings.epochs * settings.batches_per_epoch
    beta = settings.kl_beta * min(1.0, (epoch + 1) / max(settings.kl_warmup, 1))

    def prepare(step):
        # Seeded by its place in the run alone: a resumed run sees the same batches.
        rng = np.random.default_rng([settings.seed, epoch, step])
        return make_batch(
            dataset, settings.batch_size, settings.patch_size, network.config.channels, rng
        )

    loss_sum = 0.0
    kl_per_pixel = torch.zeros(())
    upcoming = pool.submit(prepare, 0)
    for step in range(n_steps):
        batch = upcoming.result()
        upcoming = pool.submit(prepare, step + 1) if step + 1 < n_steps else None
        rate = _learning_rate(epoch * n_steps + step, total, settings.learning_rate)
        for group in optimizer.param_groups:
            group["lr"] = rate
        inputs, labels, valid = (fabric.to_device(torch.from_numpy(a)) for a in batch)
        inputs = inputs.contiguous(memory_format=torch.channels_last)
        generator = torch.Generator().manual_seed(hash((settings.seed, epoch, step)) % 2**63)
        _, noise = sample_weights(network, generator)
        logits, kl = model(inputs, noise)
        data_term = masked_cross_entropy(logits, labels, valid)
        kl_per_pixel = kl / dataset.n_valid_pixels
        loss = data_term + beta * kl_per_pixel
        if not torch.isfinite(loss):
            raise FloatingPointError(
                f"the loss is {loss.item()} at epoch {epoch}, step {step}: look for absurd pixel "
                "values in the training frames, or lower learning_rate"
            )
        optimizer.zero_grad()
        fabric.backward(loss)
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        loss_sum += data_term.item()
    return {
        "epoch": epoch + 1,
        "train_loss": loss_sum / n_steps,
        "kl": kl_per_pixel.item(),
        "learning_rate": rate,
    }


def _learning_rate(step, total, highest):
    warmup = max(1, total // 50)
    if step < warmup:
        return highest * (step + 1) / warmup
    return highest * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, total - warmup)))


@torch.inference_mode()
def _validate(fabric, network, validation, settings, channels):
    """Return the predictive NLL on patches that are the same in every epoch."""
    generator = torch.Generator().manual_seed(settings.seed)
    n_draws = _VALIDATION_DRAWS if variational_layers(network) else 1
    draws = [sample_weights(network, generator)[0] for _ in range(n_draws)]
    area = settings.batch_size * settings.patch_size**2
    total = count = 0.0
    for step in range(max(1, round(validation.n_pixels / area))):
        rng = np.random.default_rng([settings.seed, step])
        batch = make_batch(validation, settings.batch_size, settings.patch_size, channels, rng)
        inputs, labels, valid = (fabric.to_device(torch.from_numpy(a)) for a in batch)
        inputs = inputs.contiguous(memory_format=torch.channels_last)
        with fabric.autocast():
            p = torch.stack(
                [torch.sigmoid(functional_call(network, w, (inputs,)).double()) for w in draws]
            ).mean(0)
        p = p.clamp(1e-7, 1 - 1e-7)
        loss = -torch.where(labels > 0, torch.log(p), torch.log1p(-p))
        total += torch.where(valid, loss, 0).sum().item()
        count += valid.sum().item()
    return total / max(count, 1)


def _write_checkpoint(path, network, optimizer, state, settings):
    """Write the whole state; a crash while writing leaves the previous one."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".part")
    content = {
        "network": network.state_dict(),
        "optimizer": optimizer.state_dict(),
        "epoch": state.epoch,
        "best_loss": state.best_loss,
        "best_weights": state.best_weights,
        "history": state.history,
        "settings": asdict(settings),
    }
    torch.save(content, partial)
    os.replace(partial, path)


def _resume(path, network, optimizer, settings):
    if not Path(path).exists():
        return _State()
    content = torch.load(path, weights_only=True)
    written = content.pop("settings")
    differ = [k for k, v in asdict(settings).items() if written[k] != v]
    if differ:
        raise ValueError(
            f"checkpoint {str(path)!r} was written with other settings: {', '.join(differ)}; "
            "give those again, or another checkpoint file"
        )
    network.load_state_dict(content.pop("network"))
    optimizer.load_state_dict(content.pop("optimizer"))
    return _State(**content)
