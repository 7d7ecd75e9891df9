"""The training loop: one flag, ``bayesian``, chooses the network."""

import logging
import time
from contextlib import closing
from dataclasses import asdict, dataclass

import numpy as np
import torch
from astropy.table import Table
from lightning_fabric import Fabric

from cosmiq_astro.models.model import Model
from cosmiq_astro.models.unet import UNetConfig, empty_unet
from cosmiq_astro.training._checkpoint import State, read_checkpoint, resume, write_checkpoint
from cosmiq_astro.training._epoch import count_steps, train_epoch, training_batches, validate
from cosmiq_astro.training._schedule import Settings, check_settings
from cosmiq_astro.training._start import freeze_layers, start_network
from cosmiq_astro.training.losses import ElboNetwork

__all__ = ["TrainingResult", "train"]

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingResult:
    """
    What `~cosmiq_astro.training.train` returns.

    Attributes
    ----------
    model : `~cosmiq_astro.models.model.Model`
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

    @classmethod
    def from_checkpoint(cls, path):
        """
        Take the best model so far out of the checkpoint of a run that was interrupted.

        Parameters
        ----------
        path : path-like
            The file given as ``checkpoint`` to `~cosmiq_astro.training.train`.

        Returns
        -------
        result : `~cosmiq_astro.training.TrainingResult`
            As if the run had ended after its last complete epoch.

        Raises
        ------
        ValueError
            If the file is not a checkpoint.
        """
        content = read_checkpoint(path)
        about = content["about"]
        network = empty_unet(UNetConfig(**about["config"]))
        network.load_state_dict(content["best_weights"], assign=True)
        return cls._of(network, content["history"], content["settings"], about)

    @classmethod
    def _of(cls, network, history, settings, about):
        network = network.cpu().eval().requires_grad_(False)
        model = Model(
            name=about["name"],
            version="1",
            instrument=about["instrument"],
            network=network.to(memory_format=torch.channels_last),
        )
        return cls(model, Table(rows=history, meta=asdict(settings)), settings.seed)


def train(
    dataset,
    bayesian=False,
    *,
    validation=None,
    validation_fraction=0.2,
    init=None,
    hidden=16,
    growth=2,
    variational=("*",),
    kl_beta=1.0,
    kl_warmup=0,
    freeze=(),
    epochs=50,
    patience=None,
    patch_size=128,
    batch_size=16,
    learning_rate=1e-3,
    seed=None,
    device="auto",
    devices=1,
    nodes=1,
    workers=0,
    precision="32-true",
    checkpoint=None,
    logger=None,
    examples=None,
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
        A model to start from: a bundled one by its name, a folder, or what
        `~cosmiq_astro.load_model` returned. A variational network started from a baseline
        takes its weights as means, 25 % of their size as standard deviations
        and, per layer, their rms as the scale of the prior.
    hidden : int, optional
        Feature maps of the first level, where there is no ``init``.
    growth : int, optional
        Feature maps of each of the two levels below over those of the level
        above, 1 to 4, where there is no ``init``. ``acs-wfc-fast-unet`` has
        ``hidden=8, growth=3``.
    variational : tuple of str, optional
        Patterns (`fnmatch`) of the layers that are variational if
        ``bayesian``, such as ``('merge.0.*', 'head')`` for the last ones.
    kl_beta : float, optional
        Weight of the KL term. Below 1 the posterior is colder and closer to
        the baseline; raise it towards 1 with more data. A warning tells when
        the term exceeds the data term.
    kl_warmup : int, optional
        Epochs over which ``kl_beta`` rises linearly from 0.
    freeze : tuple of str, optional
        Patterns (`fnmatch`) of the layers that stay as ``init`` has them, such
        as ``('down.*',)``. Freeze some when there are few frames.
    epochs : int, optional
        An epoch shows as many pixels as the training frames have.
    patience : int, optional
        Stop after so many epochs without a lower validation loss. The learning
        rate falls to its end at ``epochs`` only, so give a patience that
        outlasts the noise of the validation loss, 5 or more.
    patch_size : int, optional
        Side of the square patches, a multiple of the network's grid; no
        larger than the smallest frame.
    batch_size : int, optional
        Patches per step, of all devices together.
    learning_rate : float, optional
        Highest rate of Adam; it rises over the first 2 % of the steps and
        falls to zero along a half cosine.
    seed : int, optional
        Seeds weights, patches and draws; drawn and reported if None.
    device : str, optional
        ``'auto'``, ``'cpu'``, ``'cuda'``, ``'mps'`` …
    devices, nodes : int, optional
        How many of them in each host, and how many hosts; each batch is
        shared out. With more than one, the script is run once per device, as
        Lightning Fabric does it; on several hosts, start it on each, with the
        variables of `torchrun` or under Slurm.
    workers : int, optional
        Processes that prepare patches, for each device: a GPU waits for the
        one thread that does so otherwise. Give about as many as there are
        cores; the result does not depend on them. Where processes are not
        forked (macOS, Windows), the script needs ``if __name__ ==
        "__main__":``.
    precision : str, optional
        A precision of `lightning_fabric.Fabric`, such as ``'bf16-mixed'``.
    checkpoint : path-like, optional
        A file that the state is written to after each epoch, and resumed
        from if it is there: the result is bit-identical to that of a run
        without interruption, and other settings, frames or ranges of the
        dataset are refused. After Ctrl-C it holds the last complete epoch;
        the same call goes on from it, and
        `~cosmiq_astro.training.TrainingResult.from_checkpoint` makes a model of
        it.
    logger : `lightning_fabric.loggers.Logger`, optional
        Gets the row of each epoch: a ``CSVLogger``, a ``TensorBoardLogger``.
        The history is kept without one.
    examples : path-like, optional
        A folder for a picture per epoch of image, label and probability of
        four validation patches; this needs matplotlib.
    name, instrument : str, optional
        For the resulting model.
    progress_bar : bool, optional
        Whether to show one.

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
    check_settings(
        learning_rate=learning_rate,
        kl_beta=kl_beta,
        validation_fraction=validation_fraction,
        epochs=epochs,
        patience=patience,
        patch_size=patch_size,
        batch_size=batch_size,
        devices=devices,
        nodes=nodes,
    )
    if not isinstance(workers, (int, np.integer)) or workers < 0:
        raise ValueError(f"workers must be 0 or a positive integer, got {workers!r}")
    if batch_size % (devices * nodes):
        shares = f"devices x nodes, {devices * nodes}"
        raise ValueError(f"batch_size {batch_size} must be a multiple of {shares}")
    fabric = Fabric(
        accelerator="gpu" if device == "cuda" else device,
        devices=devices,
        num_nodes=nodes,
        precision=precision,
        loggers=logger,
    )
    if devices * nodes > 1:
        fabric.launch()
    seed = int(np.random.SeedSequence().entropy % 2**31) if seed is None else int(seed)
    seed = fabric.broadcast(seed)
    if validation is None:
        dataset, validation = dataset.split(validation_fraction, seed=seed)
    network = start_network(bayesian, init, hidden, growth, variational, seed)
    freeze_layers(network, freeze)
    if patch_size % network.grid:
        raise ValueError(f"patch_size must be a multiple of {network.grid}, got {patch_size}")
    settings = Settings(
        epochs=epochs,
        patch_size=patch_size,
        batch_size=batch_size,
        batches_per_epoch=max(1, round(dataset.n_pixels / (batch_size * patch_size**2))),
        learning_rate=learning_rate,
        kl_beta=kl_beta if bayesian else 0.0,
        kl_warmup=kl_warmup,
        seed=seed,
        freeze=tuple(freeze),
        data=dataset.summary() if hasattr(dataset, "summary") else {},
    )
    about = {"name": name, "instrument": instrument}
    run = _Run(fabric, network, dataset, validation, settings, about, workers, examples)
    state = run.fit(checkpoint, patience, progress_bar)
    network.load_state_dict(state.best_weights)
    return TrainingResult._of(network, state.history, settings, about)


@dataclass(frozen=True)
class _Run:
    fabric: Fabric
    network: torch.nn.Module
    dataset: object
    validation: object
    settings: Settings
    about: dict
    workers: int = 0
    examples: object = None

    def fit(self, checkpoint, patience, progress_bar):
        """Run the epochs, from the start or from the checkpoint."""
        fabric, network, settings = self.fabric, self.network, self.settings
        network.to(memory_format=torch.channels_last)
        trained = [p for p in network.parameters() if p.requires_grad]
        optimizer = torch.optim.Adam(trained, lr=settings.learning_rate)
        model, optimizer = fabric.setup(ElboNetwork(network), optimizer)
        state = resume(checkpoint, network, optimizer, settings) if checkpoint else State()
        bar = count_steps(settings, state.epoch, shown=progress_bar and fabric.is_global_zero)
        batches = training_batches(
            fabric, network, self.dataset, state.epoch, settings, self.workers
        )
        with closing(batches), bar:
            while state.epoch < settings.epochs:
                if patience is not None and state.has_stalled(patience):
                    break
                start = time.monotonic()
                row = train_epoch(
                    fabric, model, optimizer, self.dataset, state.epoch, settings, batches, bar
                )
                row["val_loss"] = validate(fabric, network, self.validation, settings, self.workers)
                row["seconds"] = time.monotonic() - start
                self._keep(state, row)
                if checkpoint and fabric.is_global_zero:
                    write_checkpoint(checkpoint, network, optimizer, state, settings, self.about)
                self._tell(row)
                fabric.barrier()
                bar.set_postfix(train=f"{row['train_loss']:.5f}", val=f"{row['val_loss']:.5f}")
        for logger in fabric.loggers:
            logger.finalize("success")
        self._warn_of_prior(state)
        return state

    def _keep(self, state, row):
        """Add an epoch to the state, and its weights if they are the best."""
        state.history.append(row)
        state.epoch += 1
        if row["val_loss"] < state.best_loss:
            state.best_loss = row["val_loss"]
            weights = self.network.state_dict()
            state.best_weights = {k: v.cpu().clone() for k, v in weights.items()}

    def _tell(self, row):
        """Log an epoch, and draw what it has come to, for those who asked for it."""
        step = row["epoch"]
        self.fabric.log_dict({k: v for k, v in row.items() if k != "epoch"}, step=step)
        if self.examples is not None and self.fabric.is_global_zero:
            from cosmiq_astro.training._examples import write_examples

            write_examples(self.examples, step, self.network, self.validation, self.settings)

    def _warn_of_prior(self, state):
        """Say so where the prior outweighs the data: the network would rather be ignorant."""
        last = state.history[-1]
        kl = self.settings.kl_beta * last["kl"]
        if kl > last["train_loss"]:
            _logger.warning(
                "kl_beta x KL is %.3g nats per pixel, more than the data term of %.3g: on so few "
                "pixels the prior outweighs the data; lower kl_beta, or give more frames",
                kl,
                last["train_loss"],
            )
