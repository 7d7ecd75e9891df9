"""A run, epoch by epoch: trained, validated, drawn, and kept on disk to go on from."""

import math
import pickle
import time
from contextlib import closing
from dataclasses import asdict, dataclass, field, fields
from itertools import product
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import nn
from torch.func import functional_call
from tqdm import tqdm

from cosmiq_astro._io import atomic_write
from cosmiq_astro.models.layers import sample_weights, variational_layers
from cosmiq_astro.training.datasets import make_batch, prepare_batches
from cosmiq_astro.training.network import (
    ElboNetwork,
    Networks,
    Teacher,
    masked_cross_entropy,
)
from cosmiq_astro.training.settings import Schedule, TrainingRun, learning_rate

_VALIDATION_DRAWS = 4
_N_PATCHES = 4  # in the picture of an epoch


@dataclass
class State:
    """
    All that changes during training beside weights and optimiser.

    Attributes
    ----------
    epoch : int
        Epochs that are complete.
    best_loss : float
        Lowest validation loss so far.
    best_weights : dict
        State of the networks then.
    history : list of dict
        One row per epoch.
    """

    epoch: int = 0
    best_loss: float = math.inf
    best_weights: dict = field(default_factory=dict)
    history: list = field(default_factory=list)

    def add(self, row, networks):
        """Add an epoch, and the weights if they are the best."""
        self.history.append(row)
        self.epoch += 1
        if row["val_loss"] < self.best_loss:
            self.best_loss = row["val_loss"]
            self.best_weights = {k: v.cpu().clone() for k, v in networks.state_dict().items()}

    def has_stalled(self, patience):
        """Tell whether the last ``patience`` epochs brought no lower validation loss."""
        losses = [row["val_loss"] for row in self.history]
        return bool(losses) and len(losses) - 1 - losses.index(min(losses)) >= patience


def read_checkpoint(path):
    """Read what `Epochs` wrote, onto the CPU; ValueError if it is no checkpoint of a run."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        content["settings"] = Schedule(**content["settings"])
    except (RuntimeError, KeyError, TypeError, EOFError, pickle.UnpicklingError) as error:
        raise ValueError(f"{str(path)!r} is not a checkpoint of a training run") from error
    return content


def _resume(path, networks, optimizer, settings):
    """
    Bring networks and optimiser to where a checkpoint left them, and return the `State`.

    A run starts from its beginning if there is none. ValueError if it has another `Schedule`.
    """
    if not Path(path).exists():
        return State()
    content = read_checkpoint(path)
    # What the dataset says of itself stands beside the other settings.
    written, given = (asdict(s) | s.data for s in (content["settings"], settings))
    differ = sorted(k for k in written | given if k != "data" and written.get(k) != given.get(k))
    if differ:
        raise ValueError(
            f"checkpoint {str(path)!r} was written with other settings: {', '.join(differ)}; "
            "give those again, or another checkpoint file"
        )
    networks.load_state_dict(content["weights"])
    optimizer.load_state_dict(content["optimizer"])
    return State(**{field.name: content[field.name] for field in fields(State)})


@dataclass(frozen=True)
class Epochs:
    """
    A run, epoch by epoch.

    Attributes
    ----------
    fabric : `lightning_fabric.Fabric`
        Where and how precisely to compute.
    networks : `~cosmiq_astro.training.network.Networks`
        Trained in place.
    dataset, validation : dataset
        Training frames, and validation frames.
    schedule : `~cosmiq_astro.training.settings.Schedule`
        Of the run.
    run : `~cosmiq_astro.training.TrainingRun`
        Where it runs, and what it leaves.
    teacher : `~cosmiq_astro.training.network.Teacher` or None
        Whom to hold to where labels say nothing.
    """

    fabric: Fabric
    networks: Networks
    dataset: object
    validation: object
    schedule: Schedule
    run: TrainingRun
    teacher: Teacher | None

    def fit(self, patience):
        """Run the epochs, from the start or from the checkpoint; return the `State` of the end."""
        fabric, networks, schedule = self.fabric, self.networks, self.schedule
        checkpoint = self.run.checkpoint
        networks.to(memory_format=torch.channels_last)
        trained = [p for p in networks.parameters() if p.requires_grad]
        optimizer = torch.optim.Adam(trained, lr=schedule.learning_rate)
        model, optimizer = fabric.setup(ElboNetwork(networks), optimizer)
        state = _resume(checkpoint, networks, optimizer, schedule) if checkpoint else State()
        total, done = (n * schedule.batches_per_epoch for n in (schedule.epochs, state.epoch))
        is_shown = self.run.progress_bar and fabric.is_global_zero
        bar = tqdm(total=total, initial=done, unit="step", disable=not is_shown)
        batches = self._batches(state.epoch)
        with closing(batches), bar:
            while state.epoch < schedule.epochs:
                if patience is not None and state.has_stalled(patience):
                    break
                start = time.monotonic()
                row = self._train(model, optimizer, state.epoch, batches, bar)
                row["val_loss"] = self._validate()
                row["seconds"] = time.monotonic() - start
                state.add(row, networks)
                if checkpoint and fabric.is_global_zero:
                    self._write(optimizer, state)
                self._tell(row)
                fabric.barrier()
                bar.set_postfix(train=f"{row['train_loss']:.5f}", val=f"{row['val_loss']:.5f}")
        for logger in fabric.loggers:
            logger.finalize("success")
        return state

    def _batches(self, first_epoch):
        """Yield this device's part of the batches of all epochs, from one epoch on."""
        fabric, schedule = self.fabric, self.schedule
        # Seeded by its place in the run alone: a resumed run sees the same batches.
        epochs, steps = range(first_epoch, schedule.epochs), range(schedule.batches_per_epoch)
        ranks = [[fabric.global_rank]] if fabric.world_size > 1 else []
        seeds = product([schedule.seed], epochs, steps, *ranks)
        n, size = schedule.batch_size // fabric.world_size, schedule.patch_size
        return prepare_batches(self.networks, self.dataset, n, size, seeds, self.run.workers)

    def _train(self, model, optimizer, epoch, batches, bar):
        """Train for one epoch; return its row of the history, without the validation."""
        fabric, schedule = self.fabric, self.schedule
        model.train()
        loss_sum = taught_sum = 0.0
        bar.set_description(f"epoch {epoch + 1} of {schedule.epochs}")
        for step in range(schedule.batches_per_epoch):
            rate = learning_rate(schedule, epoch, step)
            for group in optimizer.param_groups:
                group["lr"] = rate
            inputs, labels, valid, silent = _on_device(fabric, next(batches))
            generator = torch.Generator().manual_seed(hash((schedule.seed, epoch, step)) % 2**63)
            _, noise = sample_weights(self.networks, generator)
            logits, kl = model(inputs, noise)
            data_term = masked_cross_entropy(logits, labels, valid)
            kl_per_pixel = kl / self.dataset.n_valid_pixels
            loss = data_term + schedule.kl_beta * kl_per_pixel
            if self.teacher is not None:
                taught = self.teacher.loss(inputs, logits, valid, silent)
                loss = loss + taught
                taught_sum += taught.item()
            if not torch.isfinite(loss):
                raise FloatingPointError(
                    f"the loss is {loss.item()} at epoch {epoch}, step {step}: look for absurd "
                    "pixel values in the training frames, or lower learning_rate"
                )
            optimizer.zero_grad()
            fabric.backward(loss)
            for network in self.networks:
                nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            loss_sum += data_term.item()
            bar.update()
        # Of a network, on average.
        n = len(self.networks)
        losses = torch.tensor([loss_sum, taught_sum]) / (n * schedule.batches_per_epoch)
        if fabric.world_size > 1:
            losses = fabric.all_reduce(losses)
        row = dict(zip(("train_loss", "teacher_loss"), losses.tolist(), strict=True))
        return {"epoch": epoch + 1} | row | {"kl": kl_per_pixel.item() / n, "learning_rate": rate}

    def _tell(self, row):
        """Log an epoch, and draw what it has come to, for those who asked for it."""
        step = row["epoch"]
        self.fabric.log_dict({k: v for k, v in row.items() if k != "epoch"}, step=step)
        if not self.fabric.is_global_zero:
            return
        if self.run.on_epoch is not None:
            self.run.on_epoch(row)
        if self.run.examples is not None:
            self._draw(step)

    def _validation_size(self):
        """Return the side of validation patches: as in training, unless frames are smaller."""
        size = self.schedule.patch_size
        if hasattr(self.validation, "cut_patch_size"):
            size = self.validation.cut_patch_size(size, self.networks.grid)
        return size

    @torch.inference_mode()
    def _validate(self):
        """Return the NLL, nats per valid pixel, on patches that are the same in every epoch."""
        networks, schedule = self.networks, self.schedule
        generator = torch.Generator().manual_seed(schedule.seed)
        n_draws = _VALIDATION_DRAWS if variational_layers(networks) else 1
        draws = [sample_weights(networks, generator)[0] for _ in range(n_draws)]
        n, size = schedule.batch_size, self._validation_size()
        n_batches = max(1, round(self.validation.n_pixels / (n * size**2)))
        seeds = product([schedule.seed], range(n_batches))
        total = count = 0.0
        for batch in prepare_batches(networks, self.validation, n, size, seeds, self.run.workers):
            inputs, labels, valid, _ = _on_device(self.fabric, batch)
            with self.fabric.autocast():
                logits = torch.cat([functional_call(networks, w, (inputs,)) for w in draws], 1)
            p = torch.sigmoid(logits.double()).mean(1, keepdim=True).clamp(1e-7, 1 - 1e-7)
            loss = -torch.where(labels > 0, torch.log(p), torch.log1p(-p))
            total += torch.where(valid, loss, 0).sum().item()
            count += valid.sum().item()
        return total / max(count, 1)

    def _write(self, optimizer, state):
        """Write the whole state; an interruption while writing leaves the previous one."""
        path, config = Path(self.run.checkpoint), self.networks.config.as_dict()
        path.parent.mkdir(parents=True, exist_ok=True)
        content = {
            "weights": self.networks.state_dict(),
            "optimizer": optimizer.state_dict(),
            "settings": asdict(self.schedule),
            "about": {"name": self.run.name, "instrument": self.run.instrument},
            "networks": [config] * len(self.networks),
        }
        with atomic_write(path, overwrite=True) as temporary:
            torch.save(content | vars(state), temporary)

    def _draw(self, epoch):
        """Draw image, label and probability, by the mean weights, of the same few patches."""
        from matplotlib.figure import Figure

        rng, size = np.random.default_rng(self.schedule.seed), self._validation_size()
        batch = make_batch(self.validation, _N_PATCHES, size, self.networks.config.channels, rng)
        inputs, labels, valid, _ = (torch.from_numpy(array) for array in batch)
        device = next(self.networks.parameters()).device
        with torch.inference_mode():
            probability = torch.sigmoid(self.networks(inputs.to(device))).mean(1).cpu().numpy()
        label = np.where(valid, labels, np.nan)[:, 0]
        figure = Figure(figsize=(9, 3 * _N_PATCHES), layout="constrained")
        axes = figure.subplots(_N_PATCHES, 3, subplot_kw={"xticks": (), "yticks": ()})
        for row, *planes in zip(axes, inputs[:, 0].numpy(), label, probability, strict=True):
            row[0].imshow(planes[0], cmap="gray_r", origin="lower")
            for ax, plane in zip(row[1:], planes[1:], strict=True):
                ax.imshow(plane, cmap="viridis", vmin=0, vmax=1, origin="lower")
                ax.set_facecolor("lightgray")
        titles = ("image", "label (gray: ignored)", "probability")
        for ax, title in zip(axes[0], titles, strict=True):
            ax.set_title(title)
        path = Path(self.run.examples, f"epoch_{epoch:03}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path, overwrite=True) as temporary:
            figure.savefig(temporary, format="png", dpi=80)


def _on_device(fabric, batch):
    inputs, *others = (fabric.to_device(tensor) for tensor in batch)
    return inputs.contiguous(memory_format=torch.channels_last), *others
