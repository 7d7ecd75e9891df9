"""One pass over the training frames, and one over the validation frames."""

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import torch
from torch import nn
from torch.func import functional_call
from torch.utils.data import DataLoader, Dataset

from cosmiq_astro.models.layers import sample_weights, variational_layers
from cosmiq_astro.training.datasets import make_batch
from cosmiq_astro.training.network import masked_cross_entropy
from cosmiq_astro.training.settings import learning_rate

_VALIDATION_DRAWS = 4


def training_batches(fabric, network, dataset, first_epoch, settings, workers):
    """
    Yield the batches of all epochs of a run, from one epoch on.

    Parameters
    ----------
    fabric : `lightning_fabric.Fabric`
        Its devices share each batch.
    network : `~cosmiq_astro.models.unet.UNet`
        The network.
    dataset : dataset
        Training frames.
    first_epoch : int
        From 0.
    settings : `~cosmiq_astro.training.settings.Schedule`
        Of the run.
    workers : int
        As in `~cosmiq_astro.training.train`.

    Returns
    -------
    batches : iterator
        For `train_epoch`, which takes its part of them.
    """
    # Seeded by its place in the run alone: a resumed run sees the same batches.
    rank = (fabric.global_rank,) if fabric.world_size > 1 else ()
    seeds = (
        (settings.seed, epoch, step, *rank)
        for epoch in range(first_epoch, settings.epochs)
        for step in range(settings.batches_per_epoch)
    )
    return prepare_batches(
        dataset,
        settings.batch_size // fabric.world_size,
        settings.patch_size,
        network.config.channels,
        seeds,
        margin=network.grid,
        workers=workers,
    )


def train_epoch(fabric, model, optimizer, dataset, epoch, settings, batches, bar, teacher):
    """
    Train for one epoch.

    Parameters
    ----------
    fabric : `lightning_fabric.Fabric`
        Where and how precisely to compute.
    model : torch.nn.Module
        A `~cosmiq_astro.training.network.ElboNetwork` set up by ``fabric``.
    optimizer : torch.optim.Optimizer
        Set up by ``fabric``.
    dataset : dataset
        Training frames.
    epoch : int
        From 0.
    settings : `~cosmiq_astro.training.settings.Schedule`
        Of the run.
    batches : iterator
        Gives the next batch of the run, see `training_batches`.
    bar : `tqdm.tqdm`
        Of all steps of the run.
    teacher : `~cosmiq_astro.training.network.Teacher` or None
        Whom to hold to where labels say nothing.

    Returns
    -------
    row : dict
        ``epoch``, ``train_loss``, ``teacher_loss``, ``kl`` and
        ``learning_rate`` of the history.

    Raises
    ------
    FloatingPointError
        If the loss is not finite.
    """
    model.train()
    network = model.module.network
    loss_sum = taught_sum = 0.0
    bar.set_description(f"epoch {epoch + 1} of {settings.epochs}")
    kl_per_pixel = torch.zeros(())
    for step in range(settings.batches_per_epoch):
        rate = learning_rate(settings, epoch, step)
        for group in optimizer.param_groups:
            group["lr"] = rate
        inputs, labels, valid, silent = _on_device(fabric, next(batches))
        generator = torch.Generator().manual_seed(hash((settings.seed, epoch, step)) % 2**63)
        _, noise = sample_weights(network, generator)
        logits, kl = model(inputs, noise)
        data_term = masked_cross_entropy(logits, labels, valid)
        kl_per_pixel = kl / dataset.n_valid_pixels
        loss = data_term + settings.kl_beta * kl_per_pixel
        if teacher is not None:
            taught = teacher.loss(inputs, logits, valid, silent)
            loss = loss + taught
            taught_sum += taught.item()
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
        bar.update()
    losses = torch.tensor([loss_sum, taught_sum]) / settings.batches_per_epoch
    if fabric.world_size > 1:
        losses = fabric.all_reduce(losses)
    return {
        "epoch": epoch + 1,
        "train_loss": losses[0].item(),
        "teacher_loss": losses[1].item(),
        "kl": kl_per_pixel.item(),
        "learning_rate": rate,
    }


@torch.inference_mode()
def validate(fabric, network, validation, settings, workers=0):
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
    settings : `~cosmiq_astro.training.settings.Schedule`
        Of the run.
    workers : int, optional
        As in `~cosmiq_astro.training.train`.

    Returns
    -------
    loss : float
        Nats per valid pixel, of the mean probability over a few draws.
    """
    generator = torch.Generator().manual_seed(settings.seed)
    n_draws = _VALIDATION_DRAWS if variational_layers(network) else 1
    draws = [sample_weights(network, generator)[0] for _ in range(n_draws)]
    patch_size = settings.patch_size
    if hasattr(validation, "cut_patch_size"):
        patch_size = validation.cut_patch_size(patch_size, network.grid)
    area = settings.batch_size * patch_size**2
    seeds = [(settings.seed, step) for step in range(max(1, round(validation.n_pixels / area)))]
    batches = prepare_batches(
        validation,
        settings.batch_size,
        patch_size,
        network.config.channels,
        seeds,
        margin=network.grid,
        workers=workers,
    )
    total = count = 0.0
    for batch in batches:
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


def _on_device(fabric, batch):
    inputs, *others = (fabric.to_device(tensor) for tensor in batch)
    return inputs.contiguous(memory_format=torch.channels_last), *others


def prepare_batches(dataset, n, size, channels, seeds, *, margin, workers):
    """
    Yield batches, each seeded by its place in the run alone.

    Parameters
    ----------
    dataset : dataset
        With ``n_frames`` and ``patch(frame, size, rng)``.
    n, size : int
        Patches in each batch, and their side.
    channels : sequence of str
        Input channels.
    seeds : iterable of tuple of int
        What `numpy.random.default_rng` takes, one for each batch.
    margin : int
        As in `~cosmiq_astro.training.datasets.make_batch`.
    workers : int
        Processes; 0 for a thread, which needs no ``if __name__ == "__main__"`` in a script.

    Yields
    ------
    inputs, labels, valid, silent : Tensor
        As in `~cosmiq_astro.training.datasets.make_batch`; the same for any ``workers``.
    """
    make = partial(_seeded_batch, dataset, n, size, channels, margin)
    if workers:
        yield from DataLoader(
            _Made(make),
            batch_size=None,
            sampler=seeds,
            num_workers=workers,
            generator=torch.Generator(),  # not the global one, which it would advance
        )
        return
    with ThreadPoolExecutor(1) as pool:
        upcoming = deque()
        for seed in seeds:
            upcoming.append(pool.submit(make, seed))
            if len(upcoming) > 1:
                yield upcoming.popleft().result()
        while upcoming:
            yield upcoming.popleft().result()


def _seeded_batch(dataset, n, size, channels, margin, seed):
    rng = np.random.default_rng(seed)
    arrays = make_batch(dataset, n, size, channels, rng, margin=margin)
    return tuple(torch.from_numpy(array) for array in arrays)


class _Made(Dataset):
    """A batch under each seed."""

    def __init__(self, make):
        self._make = make

    def __getitem__(self, seed):
        return self._make(seed)
