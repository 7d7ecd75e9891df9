"""The state of a training run on disk: written whole, read without unpickling objects."""

import math
import pickle
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

import torch

from cosmiq_astro._io import atomic_write
from cosmiq_astro.training.settings import Schedule


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
        State of the network then.
    history : list of dict
        One row per epoch.
    """

    epoch: int = 0
    best_loss: float = math.inf
    best_weights: dict = field(default_factory=dict)
    history: list = field(default_factory=list)

    def add(self, row, network):
        """Add an epoch, and the network's weights if they are the best."""
        self.history.append(row)
        self.epoch += 1
        if row["val_loss"] < self.best_loss:
            self.best_loss = row["val_loss"]
            self.best_weights = {k: v.cpu().clone() for k, v in network.state_dict().items()}

    def has_stalled(self, patience):
        """Tell whether the last ``patience`` epochs brought no lower validation loss."""
        losses = [row["val_loss"] for row in self.history]
        return bool(losses) and len(losses) - 1 - losses.index(min(losses)) >= patience


def write_checkpoint(path, network, optimizer, state, settings, run):
    """
    Write the whole state; an interruption while writing leaves the previous one.

    Parameters
    ----------
    path : path-like
        The file.
    network, optimizer : object
        With a ``state_dict``.
    state : `State`
        What else changes.
    settings : `Schedule`
        Of the run.
    run : `~cosmiq_astro.training.TrainingRun`
        Of which what names the model is kept.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    about = {"name": run.name, "instrument": run.instrument, "config": network.config.as_dict()}
    content = {
        "network": network.state_dict(),
        "optimizer": optimizer.state_dict(),
        "settings": asdict(settings),
        "about": about,
        **vars(state),
    }
    with atomic_write(path, overwrite=True) as temporary:
        torch.save(content, temporary)


def read_checkpoint(path):
    """
    Read a checkpoint onto the CPU.

    Parameters
    ----------
    path : path-like
        The file.

    Returns
    -------
    content : dict
        As written, with ``settings`` as `Schedule`.

    Raises
    ------
    ValueError
        If it is not a checkpoint of a training run.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        content["settings"] = Schedule(**content["settings"])
    except (RuntimeError, KeyError, TypeError, EOFError, pickle.UnpicklingError) as error:
        raise ValueError(f"{str(path)!r} is not a checkpoint of a training run") from error
    return content


def resume(path, network, optimizer, settings):
    """
    Bring network and optimiser to where a checkpoint left them.

    Parameters
    ----------
    path : path-like
        The file; a run starts from its beginning if there is none.
    network, optimizer : object
        With a ``load_state_dict``.
    settings : `Schedule`
        Of the run; must be those of the checkpoint.

    Returns
    -------
    state : `State`
        What else changes.

    Raises
    ------
    ValueError
        If the checkpoint was written with other settings.
    """
    if not Path(path).exists():
        return State()
    content = read_checkpoint(path)
    written, given = (_flat(asdict(s)) for s in (content["settings"], settings))
    differ = sorted(k for k in written | given if written.get(k) != given.get(k))
    if differ:
        raise ValueError(
            f"checkpoint {str(path)!r} was written with other settings: {', '.join(differ)}; "
            "give those again, or another checkpoint file"
        )
    network.load_state_dict(content["network"])
    optimizer.load_state_dict(content["optimizer"])
    return State(**{field.name: content[field.name] for field in fields(State)})


def _flat(settings):
    """Put what the dataset says of itself beside the other settings."""
    data = settings.pop("data")
    return settings | data
