"""The epochs of a run: one pass over the training frames, and one over the validation frames."""

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import product

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import nn
from torch.func import functional_call
from torch.utils.data import DataLoader
from tqdm import tqdm

from cosmiq_astro.models.layers import sample_weights, variational_layers
from cosmiq_astro.training._checkpoint import State, resume, write_checkpoint
from cosmiq_astro.training.datasets import make_batch
from cosmiq_astro.training.network import ElboNetwork, Teacher, masked_cross_entropy
from cosmiq_astro.training.settings import Schedule, TrainingRun, learning_rate

_VALIDATION_DRAWS = 4


@dataclass(frozen=True)
class Epochs:
    """
    A run, epoch by epoch.

    Attributes
    ----------
    fabric : `lightning_fabric.Fabric`
        Where and how precisely to compute.
    network : `~cosmiq_astro.models.unet.UNet`
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
    network: nn.Module
    dataset: object
    validation: object
    schedule: Schedule
    run: TrainingRun
    teacher: Teacher | None

    def fit(self, patience):
        """
        Run the epochs, from the start or from the checkpoint.

        Parameters
        ----------
        patience : int or None
            As in `~cosmiq_astro.training.TrainingSettings`.

        Returns
        -------
        state : `~cosmiq_astro.training._checkpoint.State`
            History, and the best weights.

        Raises
        ------
        FloatingPointError
            If the loss is not finite.
        """
        fabric, network, schedule = self.fabric, self.network, self.schedule
        checkpoint, workers = self.run.checkpoint, self.run.workers
        network.to(memory_format=torch.channels_last)
        trained = [p for p in network.parameters() if p.requires_grad]
        optimizer = torch.optim.Adam(trained, lr=schedule.learning_rate)
        model, optimizer = fabric.setup(ElboNetwork(network), optimizer)
        state = resume(checkpoint, network, optimizer, schedule) if checkpoint else State()
        bar = tqdm(
            total=schedule.epochs * schedule.batches_per_epoch,
            initial=state.epoch * schedule.batches_per_epoch,
            unit="step",
            disable=not (self.run.progress_bar and fabric.is_global_zero),
        )
        batches = self._batches(state.epoch)
        with closing(batches), bar:
            while state.epoch < schedule.epochs:
                if patience is not None and state.has_stalled(patience):
                    break
                start = time.monotonic()
                row = self._train(model, optimizer, state.epoch, batches, bar)
                row["val_loss"] = validate(fabric, network, self.validation, schedule, workers)
                row["seconds"] = time.monotonic() - start
                state.add(row, network)
                if checkpoint and fabric.is_global_zero:
                    write_checkpoint(checkpoint, network, optimizer, state, schedule, self.run)
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
        place = [
            [schedule.seed],
            range(first_epoch, schedule.epochs),
            range(schedule.batches_per_epoch),
        ]
        if fabric.world_size > 1:
            place.append([fabric.global_rank])
        n = schedule.batch_size // fabric.world_size
        return prepare_batches(
            self.network, self.dataset, n, schedule.patch_size, product(*place), self.run.workers
        )

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
            _, noise = sample_weights(self.network, generator)
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
            nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
            optimizer.step()
            loss_sum += data_term.item()
            bar.update()
        losses = torch.tensor([loss_sum, taught_sum]) / schedule.batches_per_epoch
        if fabric.world_size > 1:
            losses = fabric.all_reduce(losses)
        return {
            "epoch": epoch + 1,
            "train_loss": losses[0].item(),
            "teacher_loss": losses[1].item(),
            "kl": kl_per_pixel.item(),
            "learning_rate": rate,
        }

    def _tell(self, row):
        """Log an epoch, and draw what it has come to, for those who asked for it."""
        step = row["epoch"]
        self.fabric.log_dict({k: v for k, v in row.items() if k != "epoch"}, step=step)
        if not self.fabric.is_global_zero:
            return
        if self.run.on_epoch is not None:
            self.run.on_epoch(row)
        if self.run.examples is not None:
            from cosmiq_astro.training.pictures import write_examples

            size = _validation_size(self.network, self.validation, self.schedule)
            frames, seed = self.validation, self.schedule.seed
            write_examples(self.run.examples, step, self.network, frames, size, seed)


@torch.inference_mode()
def validate(fabric, network, validation, schedule, workers=0):
    """
    Return the predictive NLL on patches that are the same in every epoch.

    Parameters
    ----------
    fabric : `lightning_fabric.Fabric`
        Where and how precisely to compute.
    network : `~cosmiq_astro.models.unet.UNet`
        The network.
    validation : dataset
        Validation frames.
    schedule : `~cosmiq_astro.training.settings.Schedule`
        Of the run.
    workers : int, optional
        As in `~cosmiq_astro.training.train`.

    Returns
    -------
    loss : float
        Nats per valid pixel, of the mean probability over a few draws.
    """
    generator = torch.Generator().manual_seed(schedule.seed)
    n_draws = _VALIDATION_DRAWS if variational_layers(network) else 1
    draws = [sample_weights(network, generator)[0] for _ in range(n_draws)]
    n, size = schedule.batch_size, _validation_size(network, validation, schedule)
    n_batches = max(1, round(validation.n_pixels / (n * size**2)))
    seeds = product([schedule.seed], range(n_batches))
    total = count = 0.0
    for batch in prepare_batches(network, validation, n, size, seeds, workers):
        inputs, labels, valid, _ = _on_device(fabric, batch)
        with fabric.autocast():
            p = torch.stack(
                [torch.sigmoid(functional_call(network, w, (inputs,)).double()) for w in draws]
            ).mean(0)
        p = p.clamp(1e-7, 1 - 1e-7)
        loss = -torch.where(labels > 0, torch.log(p), torch.log1p(-p))
        total += torch.where(valid, loss, 0).sum().item()
        count += valid.sum().item()
    return total / max(count, 1)


def _validation_size(network, validation, schedule):
    """Return the side of validation patches: as in training, unless frames are known as smaller."""
    if hasattr(validation, "cut_patch_size"):
        return validation.cut_patch_size(schedule.patch_size, network.grid)
    return schedule.patch_size


def _on_device(fabric, batch):
    inputs, *others = (fabric.to_device(tensor) for tensor in batch)
    return inputs.contiguous(memory_format=torch.channels_last), *others


def prepare_batches(network, dataset, n, size, seeds, workers=0):
    """
    Yield batches, each seeded by its place in the run alone.

    Parameters
    ----------
    network : `~cosmiq_astro.models.unet.UNet`
        For which they are.
    dataset : dataset
        With ``n_frames`` and ``patch(frame, size, rng)``.
    n, size : int
        Patches in each batch, and their side.
    seeds : iterable of tuple of int
        What `numpy.random.default_rng` takes, one for each batch.
    workers : int, optional
        Processes; 0 for a thread, which needs no ``if __name__ == "__main__"`` in a script.

    Yields
    ------
    inputs, labels, valid, silent : Tensor
        As in `~cosmiq_astro.training.datasets.make_batch`; the same for any ``workers``.
    """
    make = partial(_seeded_batch, dataset, n, size, network.config.channels, network.grid)
    if workers:
        yield from DataLoader(
            list(seeds),
            batch_size=None,
            collate_fn=make,
            num_workers=workers,
            generator=torch.Generator(),  # not the global one, which it would advance
        )
        return
    with ThreadPoolExecutor(1) as pool:
        # One is made while the one before it is used.
        ready = None
        for seed in seeds:
            upcoming = pool.submit(make, seed)
            if ready is not None:
                yield ready.result()
            ready = upcoming
        if ready is not None:
            yield ready.result()


def _seeded_batch(dataset, n, size, channels, margin, seed):
    rng = np.random.default_rng(seed)
    arrays = make_batch(dataset, n, size, channels, rng, margin=margin)
    return tuple(torch.from_numpy(array) for array in arrays)
