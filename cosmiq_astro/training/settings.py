"""What a training run is set to: groups of settings that the command line is built from, too."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from os import PathLike
from typing import TYPE_CHECKING

from cosmiq_astro._counts import check_count

if TYPE_CHECKING:
    from lightning_fabric.loggers.logger import Logger

__all__ = [
    "EPOCHS",
    "HIDDEN",
    "KL_BETA",
    "RATE_FROM_A_MODEL",
    "RATE_FROM_SCRATCH",
    "VALIDATION_FRACTION",
    "Schedule",
    "TrainingRun",
    "TrainingSettings",
    "learning_rate",
]

HIDDEN, EPOCHS, KL_BETA, VALIDATION_FRACTION = 16, 50, 1.0, 0.2
RATE_FROM_SCRATCH, RATE_FROM_A_MODEL = 1e-3, 3e-4


def _option(default, text, *, kind: type = str, metavar=None, repeated=False):
    """Make a field that the command line offers under its name."""
    about = {"help": text, "kind": kind, "metavar": metavar, "repeated": repeated}
    return field(default=default, metadata=about)


@dataclass(frozen=True)
class TrainingSettings:
    """
    How a network is trained: what changes the result, beside the arguments of the call.

    Attributes
    ----------
    variational : tuple of str or None
        Patterns (`fnmatch`) of the layers that are variational if
        ``bayesian``, such as ``('head',)`` for the last one. None
        for those of the model that training begins from, or all if it has none.
    freeze : tuple of str
        Patterns (`fnmatch`) of the layers whose weights (of a posterior: means)
        stay as they begin, such as ``('down.*',)``. Freeze some when there are few frames.
    patience : int or None
        Stop after so many epochs without a lower validation loss. The learning
        rate falls to its end at ``epochs`` only, so give a patience that
        outlasts the noise of the validation loss, 5 or more.
    patch_size : int
        Side of the square patches, a multiple of the network's grid; no
        larger than the smallest frame.
    batch_size : int
        Patches per step, of all devices together.
    learning_rate : float or None
        Highest rate of Adam; it rises over the first 2 % of the steps and
        falls to zero along a half cosine. None for 0.0003 where training
        begins from a model, and 0.001 where it does not.
    precision : str
        A precision of `lightning_fabric.Fabric`, such as ``'bf16-mixed'``.

    Raises
    ------
    ValueError
        If a setting is out of its range.
    """

    variational: tuple[str, ...] | None = _option(
        None,
        "with --bayesian: layers that are variational (as in --init, or all)",
        metavar="PATTERN",
        repeated=True,
    )
    freeze: tuple[str, ...] = _option(
        (), "layers to keep as they begin, as in 'down.*'", metavar="PATTERN", repeated=True
    )
    patience: int | None = _option(None, "stop after N epochs that bring nothing", kind=int)
    patch_size: int = _option(128, "side of the patches, pixels", kind=int, metavar="PIXELS")
    batch_size: int = _option(16, "patches per step", kind=int)
    learning_rate: float | None = _option(
        None, "highest rate (0.0003; 0.001 with --init none)", kind=float, metavar="R"
    )
    precision: str = _option("32-true", "such as bf16-mixed", metavar="P")

    def __post_init__(self):
        check_count("patch_size", self.patch_size)
        check_count("batch_size", self.batch_size)
        if self.patience is not None:
            check_count("patience", self.patience)
        if self.learning_rate is not None and not self.learning_rate > 0:
            raise ValueError(f"learning_rate must be positive, got {self.learning_rate!r}")
        for name in ("variational", "freeze"):
            value = getattr(self, name)
            if isinstance(value, str):
                raise ValueError(f"{name} must be a tuple of patterns, got {value!r}")


@dataclass(frozen=True)
class TrainingRun:
    """
    Where a training runs, and what it leaves: nothing in it changes the result.

    Attributes
    ----------
    device : str
        ``'auto'``, ``'cpu'``, ``'cuda'``, ``'mps'`` …
    devices, nodes : int
        How many of them in each host, and how many hosts; each batch is
        shared out. With more than one, the script is run once per device, as
        Lightning Fabric does it; on several hosts, start it on each, with the
        variables of `torchrun` or under Slurm.
    workers : int
        Processes that prepare patches, for each device: a GPU waits for the
        one thread that does so otherwise. Give about as many as there are
        cores. Where processes are not forked (macOS, Windows), the script
        needs ``if __name__ == "__main__":``.
    checkpoint : path-like or None
        A file that the state is written to after each epoch, and resumed
        from if it is there: the result is bit-identical to that of a run
        without interruption, and other settings, frames or ranges of the
        dataset are refused. After Ctrl-C it holds the last complete epoch;
        the same call goes on from it, and
        `~cosmiq_astro.training.TrainingResult.from_checkpoint` makes a model of
        it.
    logger : `lightning_fabric.loggers.Logger` or None
        Gets the row of each epoch: a ``CSVLogger``, a ``TensorBoardLogger``.
    examples : path-like or None
        A folder for a picture per epoch of image, label and probability of
        four validation patches; this needs matplotlib.
    progress_bar : bool
        Whether to show one.
    on_epoch : callable or None
        Gets the row of each epoch of the history, a dictionary, after it.
    name, instrument : str
        Of the resulting model.

    Raises
    ------
    ValueError
        If a number is out of its range.
    """

    device: str = _option("auto", "auto, cpu, cuda, mps", metavar="D")
    devices: int = _option(1, "in each host", kind=int)
    nodes: int = _option(1, "hosts; start the command on each", kind=int)
    workers: int = _option(0, "processes that prepare patches", kind=int)
    checkpoint: str | PathLike | None = None
    logger: Logger | None = None
    examples: str | PathLike | None = None
    progress_bar: bool = False
    on_epoch: Callable[[dict], object] | None = None
    name: str = "untitled"
    instrument: str = ""

    def __post_init__(self):
        check_count("devices", self.devices)
        check_count("nodes", self.nodes)
        check_count("workers", self.workers, least=0)


@dataclass(frozen=True)
class Schedule:
    """
    What must be the same for a run to go on from a checkpoint.

    Attributes
    ----------
    epochs, patch_size, batch_size, batches_per_epoch : int
        Lengths and sizes.
    learning_rate, kl_beta : float
        As in `TrainingSettings` and `~cosmiq_astro.training.train`.
    seed : int
        As there.
    freeze : tuple of str
        As there.
    data : dict
        What the dataset says of itself, by its ``summary``, and ``init``,
        digest and temperature of the model that training began from.
    """

    epochs: int
    patch_size: int
    batch_size: int
    batches_per_epoch: int
    learning_rate: float
    kl_beta: float
    seed: int
    freeze: tuple[str, ...] = ()
    data: dict = field(default_factory=dict)


def learning_rate(settings, epoch, step):
    """
    Return the learning rate: up over the first 2 % of the steps, down along half a cosine.

    Parameters
    ----------
    settings : `Schedule`
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
