"""What a training run is set to, and what changes with its steps."""

import math
from dataclasses import dataclass, field

import numpy as np

__all__ = ["Settings", "check_settings", "kl_weight", "learning_rate"]


@dataclass(frozen=True)
class Settings:
    """
    What must be the same for a run to go on from a checkpoint.

    Attributes
    ----------
    epochs, patch_size, batch_size, batches_per_epoch : int
        Lengths and sizes.
    learning_rate, kl_beta : float
        As in `~cosmiq_astro.training.train`.
    kl_warmup, seed : int
        As there.
    freeze : tuple of str
        As there.
    data : dict
        What the dataset says of itself, by its ``summary``.
    """

    epochs: int
    patch_size: int
    batch_size: int
    batches_per_epoch: int
    learning_rate: float
    kl_beta: float
    kl_warmup: int
    seed: int
    freeze: tuple[str, ...] = ()
    data: dict = field(default_factory=dict)


def check_settings(*, learning_rate, kl_beta, validation_fraction, **counts):
    """
    Refuse settings that are out of their range.

    Parameters
    ----------
    learning_rate, kl_beta, validation_fraction : float
        As in `~cosmiq_astro.training.train`.
    **counts : int or None
        Settings that must be positive integers, where they are given.

    Raises
    ------
    ValueError
        If one is out of its range; it is named.
    """
    for name, value in counts.items():
        if value is not None and (not isinstance(value, (int, np.integer)) or value < 1):
            raise ValueError(f"{name} must be a positive integer, got {value!r}")
    if not learning_rate > 0:
        raise ValueError(f"learning_rate must be positive, got {learning_rate!r}")
    if not kl_beta >= 0:
        raise ValueError(f"kl_beta must not be negative, got {kl_beta!r}")
    if not 0 < validation_fraction < 1:
        raise ValueError(f"validation_fraction must be in (0, 1), got {validation_fraction}")


def learning_rate(settings, epoch, step):
    """
    Return the learning rate: up over the first 2 % of the steps, down along half a cosine.

    Parameters
    ----------
    settings : `Settings`
        Of the run.
    epoch, step : int
        Place in the run, from 0.

    Returns
    -------
    rate : float
        At most ``settings.learning_rate``.
    """
    total = settings.epochs * settings.batches_per_epoch
    step = epoch * settings.batches_per_epoch + step
    warmup = max(1, total // 50)
    highest = settings.learning_rate
    if step < warmup:
        return highest * (step + 1) / warmup
    return highest * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, total - warmup)))


def kl_weight(settings, epoch):
    """
    Return the factor on the KL term, which rises linearly over ``kl_warmup`` epochs.

    Parameters
    ----------
    settings : `Settings`
        Of the run.
    epoch : int
        From 0.

    Returns
    -------
    weight : float
        At most ``settings.kl_beta``.
    """
    return settings.kl_beta * min(1.0, (epoch + 1) / max(settings.kl_warmup, 1))
