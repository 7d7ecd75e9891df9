"""The training loop: one flag, ``bayesian``, chooses the network."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from os import PathLike
from typing import TYPE_CHECKING

import numpy as np
import torch
from astropy.table import Table
from lightning_fabric import Fabric

from cosmiq_astro._counts import check_count
from cosmiq_astro.models.layers import kl_divergence
from cosmiq_astro.models.model import Model, load_model
from cosmiq_astro.models.unet import UNetConfig, empty_unet
from cosmiq_astro.training import settings as defaults
from cosmiq_astro.training._epoch import Epochs, read_checkpoint
from cosmiq_astro.training.datasets import prepare_batches
from cosmiq_astro.training.network import (
    Networks,
    Teacher,
    doubt_of_prior,
    freeze_layers,
    solve_sigma,
    start_networks,
)
from cosmiq_astro.training.settings import Schedule, TrainingRun, TrainingSettings

if TYPE_CHECKING:
    from cosmiq_astro._types import Dataset

__all__ = ["TrainingResult", "train"]

_logger = logging.getLogger(__name__)
_PATCHES = 64  # that tell how sharply the data fix each weight: to 9 %


@dataclass(frozen=True)
class TrainingResult:
    """
    What `~cosmiq_astro.training.train` returns.

    Attributes
    ----------
    model : `~cosmiq_astro.models.model.Model`
        The network of the best epoch by validation loss; a variational one that
        began from several networks has as many.
    history : `~astropy.table.Table`
        One row per epoch: ``epoch``, ``train_loss``, ``val_loss`` (nats per
        pixel with a label, without the KL term), ``teacher_loss`` (of those
        without, see `train`; 0 without ``init``), ``kl`` (KL / N, nats per pixel, before
        ``kl_beta``; with the final widths in the last row), ``learning_rate``,
        ``seconds``.
    seed : int
        The seed used.
    """

    model: Model
    history: Table
    seed: int

    @classmethod
    def from_checkpoint(cls, path: str | PathLike) -> TrainingResult:
        """
        Take the best model so far out of the checkpoint of a run that was interrupted.

        Parameters
        ----------
        path : path-like
            The file given as ``checkpoint`` to `~cosmiq_astro.training.train`.

        Returns
        -------
        result : `~cosmiq_astro.training.TrainingResult`
            As if the run had ended after its last complete epoch, but that the
            widths of a posterior are those it began with.

        Raises
        ------
        ValueError
            If the file is not a checkpoint.
        """
        content = read_checkpoint(path)
        networks = Networks([empty_unet(UNetConfig(**config)) for config in content["networks"]])
        networks.load_state_dict(content["best_weights"], assign=True)
        return cls._of(networks, content["history"], content["settings"], **content["about"])

    @classmethod
    def _of(cls, networks, history, schedule, name, instrument):
        networks = networks.cpu().eval().requires_grad_(False)
        network, *others = networks.to(memory_format=torch.channels_last)
        about = {"name": name, "version": "1", "instrument": instrument}
        model = Model(**about, network=network, others=tuple(others))
        return cls(model, Table(rows=history, meta=asdict(schedule)), schedule.seed)


def train(
    dataset: Dataset,
    bayesian: bool = False,
    *,
    validation: Dataset | None = None,
    validation_fraction: float = defaults.VALIDATION_FRACTION,
    init: str | PathLike | Model | None = None,
    hidden: int = defaults.HIDDEN,
    kl_beta: float = defaults.KL_BETA,
    epochs: int = defaults.EPOCHS,
    seed: int | None = None,
    settings: TrainingSettings | None = None,
    run: TrainingRun | None = None,
) -> TrainingResult:
    r"""
    Train a network that finds cosmic rays, or several.

    The loss is the mean binary cross-entropy over the valid pixels plus
    ``kl_beta`` × KL / N, N the number of distinct valid pixels of the
    training frames: with ``kl_beta=1`` the negative evidence lower bound per
    pixel (Blundell et al. 2015, arXiv:1505.05424, eq. 2), whatever the patch
    and batch size. Adam finds the means of the posterior; its standard
    deviations follow from these in the end, where the same bound is largest
    (Opper & Archambeau 2009, Neural Computation 21, 786).

    Where labels say nothing, as on bled charge, hot pixels and hits that
    frames had already, a model that training begins from is asked: the
    cross-entropy to its probabilities is added (Li & Hoiem 2016,
    arXiv:1606.09282, eq. 2). Else the network would forget what these are.

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
        A model to start from: a bundled one by its name, a folder, or what
        `~cosmiq_astro.load_model` returned. Of a variational model the
        posterior is the prior; a variational network started from a baseline
        takes its weights as means and, per layer, their rms as the scale of
        the prior. Of a model with several networks a variational one goes on with
        all, which takes as many times as long, and the baseline with the first.
    hidden : int, optional
        Feature maps of the first level, where there is no ``init``.
    kl_beta : float, optional
        Weight of the KL term. Below 1 the posterior is colder and closer to
        the baseline. A warning tells when the term exceeds the data term.
    epochs : int, optional
        An epoch shows as many pixels as the training frames have.
    seed : int, optional
        Seeds weights, patches and draws; drawn and reported if None.
    settings : `~cosmiq_astro.training.TrainingSettings`, optional
        What else changes the result.
    run : `~cosmiq_astro.training.TrainingRun`, optional
        Where to compute, and what to leave behind.

    Returns
    -------
    result : `~cosmiq_astro.training.TrainingResult`
        The best model and the history.

    Raises
    ------
    ValueError
        If a setting is out of its range or the data cannot be used.
    FloatingPointError
        If the loss is not finite; the message names the batch.
    """
    settings = TrainingSettings() if settings is None else settings
    run = TrainingRun() if run is None else run
    check_count("epochs", epochs)
    if not kl_beta >= 0:
        raise ValueError(f"kl_beta must not be negative, got {kl_beta!r}")
    if not 0 < validation_fraction < 1:
        raise ValueError(f"validation_fraction must be in (0, 1), got {validation_fraction}")
    n_devices = run.devices * run.nodes
    if settings.batch_size % n_devices:
        raise ValueError(
            f"batch_size {settings.batch_size} must be a multiple of devices x nodes, {n_devices}"
        )
    fabric = Fabric(
        accelerator="gpu" if run.device == "cuda" else run.device,
        devices=run.devices,
        num_nodes=run.nodes,
        precision=settings.precision,  # pyright: ignore[reportArgumentType]
        loggers=run.logger,
    )
    if n_devices > 1:
        fabric.launch()
    seed = int(np.random.default_rng().integers(2**31)) if seed is None else int(seed)
    seed = fabric.broadcast(seed)
    if validation is None:
        dataset, validation = dataset.split(validation_fraction, seed=seed)
    init = init if init is None or isinstance(init, Model) else load_model(init)
    networks = start_networks(bayesian, init, hidden, settings, seed)
    freeze_layers(networks, settings.freeze)
    patch_size = settings.patch_size
    if patch_size % networks.grid:
        raise ValueError(f"patch_size must be a multiple of {networks.grid}, got {patch_size}")
    rate = settings.learning_rate
    if rate is None:
        rate = defaults.RATE_FROM_SCRATCH if init is None else defaults.RATE_FROM_A_MODEL
    data = getattr(dataset, "summary", dict)()
    schedule = Schedule(
        epochs=epochs,
        patch_size=patch_size,
        batch_size=settings.batch_size,
        batches_per_epoch=max(1, round(dataset.n_pixels / (settings.batch_size * patch_size**2))),
        learning_rate=rate,
        kl_beta=kl_beta if bayesian else 0.0,
        seed=seed,
        freeze=tuple(settings.freeze),
        data=data | {"init": None if init is None else [init.sha256, init.temperature]},
    )
    teacher = None if init is None else Teacher(init, fabric.device)
    run_of_epochs = Epochs(fabric, networks, dataset, validation, schedule, run, teacher)
    state = run_of_epochs.fit(settings.patience)
    networks.load_state_dict(state.best_weights)
    if bayesian and kl_beta:
        _solve_sigma(networks.cpu(), dataset, schedule)
        kl = kl_divergence(networks).item() / (len(networks) * dataset.n_valid_pixels)
        if doubt := doubt_of_prior(kl_beta * kl, state.history[-1]["train_loss"]):
            _logger.warning(doubt)
        state.history[-1]["kl"] = kl
    return TrainingResult._of(networks, state.history, schedule, run.name, run.instrument)


def _solve_sigma(networks, dataset, schedule):
    """Give the posterior the widths that its means call for."""
    seeds = [(schedule.seed, schedule.epochs, i) for i in range(_PATCHES)]
    batches = prepare_batches(networks, dataset, 1, schedule.patch_size, seeds)
    solve_sigma(
        networks,
        [(inputs, valid) for inputs, _, valid, _ in batches],
        dataset.n_valid_pixels,
        kl_beta=schedule.kl_beta,
        generator=torch.Generator().manual_seed(schedule.seed),
    )
