"""Model folders: weights in safetensors, a configuration in JSON, a card in Markdown."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, fields
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from cosmiq_astro._io import atomic_write, read_bounded, refuse_existing
from cosmiq_astro._operating_curve import check_operating_curve
from cosmiq_astro.familiarity.hits import FamiliarHits
from cosmiq_astro.familiarity.stars import FamiliarStars
from cosmiq_astro.models.deepcr import read_deepcr
from cosmiq_astro.models.registry import MODEL_FILES, find_model
from cosmiq_astro.models.unet import LARGEST_FILE, UNet, UNetConfig, check_weights, empty_unet

if TYPE_CHECKING:
    from cosmiq_astro.calibration import Recalibration

__all__ = ["Model", "load_deepcr", "load_model", "save_model"]

_RANGES = ("exposure_time", "readnoise")
_TEXTS = ("name", "version", "instrument")
_LARGEST_CONFIG = 2**20  # bytes
# What the weights' file holds beside them, by its prefix.
_FAMILIAR = {"familiar_hits": FamiliarHits, "familiar_stars": FamiliarStars}
_OTHERS = "others"
# Beyond these logits overflow, or all probabilities are one half.
_LIMITS = {"threshold": (0, 1), "temperature": (1e-3, 1e3)}


@dataclass(frozen=True)
class Model:
    """
    A network, or several, with all that is needed to use them.

    Attributes
    ----------
    name, version : str
        As in `~cosmiq_astro.models.registry.list_models`.
    instrument : str
        What it was trained for.
    network : `~cosmiq_astro.models.unet.UNet`
        The network, in evaluation mode, on the CPU.
    others : tuple of `~cosmiq_astro.models.unet.UNet`
        Networks of the same shape, trained from other first weights, that take
        turns with it in the draws.
    threshold : float
        Probability from which a pixel is flagged, fitted on validation data.
    temperature : float
        Divides the logits of every draw, fitted on validation data.
    sha256 : str
        Of the weights' file; empty for a model that was never saved.
    recalibration : `~cosmiq_astro.calibration.Recalibration` or None
        Applied to the mean probability of the draws, after the temperature
        and before the threshold: what `~cosmiq_astro.calibration.fit_beta` or
        `~cosmiq_astro.calibration.fit_isotonic` returned. It changes
        probability and entropy; standard deviation and mutual information
        stay those of the draws.
    ranges : dict
        Lowest and highest value that it was trained on, of ``exposure_time``
        (seconds) and ``readnoise`` (electron), where these are known. Outside
        them a detection warns.
    operating_curve : dict or None
        Precision and recall to be expected at each threshold
        (`~cosmiq_astro.calibration.operating_curve`), on validation frames, or on
        those that its ``frames`` names.
    familiar_hits : `~cosmiq_astro.familiarity.hits.FamiliarHits` or None
        What hits look like to the network, by which it tells unfamiliar ones.
    familiar_stars : `~cosmiq_astro.familiarity.stars.FamiliarStars` or None
        Shape of the stars that it was trained on.
    """

    name: str
    version: str
    instrument: str
    network: UNet = field(repr=False)
    others: tuple[UNet, ...] = field(default=(), repr=False)
    threshold: float = 0.5
    temperature: float = 1.0
    sha256: str = ""
    recalibration: Recalibration | None = None
    ranges: dict[str, tuple[float, float]] = field(default_factory=dict)
    operating_curve: dict | None = field(default=None, repr=False)
    familiar_hits: FamiliarHits | None = field(default=None, repr=False)
    familiar_stars: FamiliarStars | None = field(default=None, repr=False)

    def __post_init__(self):
        if any(other.config != self.network.config for other in self.others):
            raise ValueError("others must be networks of the same configuration as network")
        _check_recalibration(self.recalibration)
        _check_ranges(self.ranges)
        if self.operating_curve is not None:
            check_operating_curve(self.operating_curve)

    @property
    def networks(self) -> tuple[UNet, ...]:
        """All of them, the first one first."""
        return self.network, *self.others

    @property
    def n_parameters(self) -> int:
        """Number of their parameters."""
        return sum(p.numel() for network in self.networks for p in network.parameters())

    @property
    def method(self) -> Literal["vi", "unet"]:
        """``'vi'`` for a variational network, ``'unet'`` for a deterministic one."""
        return "vi" if self.network.config.variational else "unet"


def load_model(model: str | PathLike) -> Model:
    """
    Load a bundled model by name, or a model folder by its path.

    Weights are read with safetensors, never unpickled, and their SHA-256 is
    compared with the one in the folder's configuration.

    Parameters
    ----------
    model : str or path-like
        A name from `~cosmiq_astro.list_models`, a folder written by
        `save_model`, or a checkpoint of deepCR (``.pth``, see
        `load_deepcr`).

    Returns
    -------
    model : `Model`
        The model on the CPU, in evaluation mode.

    Raises
    ------
    ValueError
        If there is no such model, or if the folder's files contradict each
        other.

    Examples
    --------
    >>> import cosmiq_astro as ca
    >>> ca.load_model("acs-wfc-unet").method
    'unet'
    """
    if Path(model).suffix == ".pth":
        return load_deepcr(model)
    folder = find_model(model)
    config = _read_config(folder)
    weights = folder / "weights.safetensors"
    # Read once: what is loaded is what was checked, even if the file changes meanwhile.
    content = read_bounded(weights, LARGEST_FILE)
    digest = hashlib.sha256(content).hexdigest()
    if digest != config["sha256"]:
        raise ValueError(
            f"the weights of model {config['name']!r} in {folder} are damaged or exchanged: their "
            f"SHA-256 is {digest}, config.json says {config['sha256']}; install the model again"
        )
    try:
        state = load(content)
        check_weights(weights, state)
        familiar: dict[str, Any] = {
            name: {key: value.double().numpy() for key, value in _pop(state, name).items()}
            for name in _FAMILIAR
        }
        others = []
        while other := _pop(state, f"{_OTHERS}.{len(others)}"):
            others.append(_network(config["network"], other))
        config |= {"network": _network(config["network"], state), "others": tuple(others)}
    except (RuntimeError, SafetensorError, LookupError, TypeError, OverflowError) as error:
        raise ValueError(
            f"the weights in {weights} do not fit the network that config.json describes: {error}"
        ) from error
    for name, parts in familiar.items():
        try:
            familiar[name] = _FAMILIAR[name](**parts) if parts else None
        except (ValueError, TypeError) as error:
            raise ValueError(f"{name} in {weights} cannot be used: {error}") from error
    _check_features(weights, familiar["familiar_hits"], config["network"])
    names = [part.name for part in fields(Model) if part.name in config]
    try:
        return Model(**{name: config[name] for name in names}, **familiar)
    except ValueError as error:
        raise ValueError(f"{folder / 'config.json'}: {error}") from error


def load_deepcr(path: str | PathLike, *, scale: float = 1.0) -> Model:
    """
    Load a checkpoint of deepCR (Zhang & Bloom 2020, arXiv:1907.09500) as a deterministic model.

    Its network is a `~cosmiq_astro.models.unet.UNet` that reads electrons:
    the weight or batch normalisation that follows each convolution is a
    linear map once training is over, and goes into the weights. So the model
    works wherever another does: in `~cosmiq_astro.cosmicray_unet`,
    `~cosmiq_astro.CosmicRayDetector`, as ``init`` of
    `~cosmiq_astro.training.train`.

    Parameters
    ----------
    path : path-like
        A ``.pth`` file: a state dictionary of deepCR's mask network, of two
        or more levels and any width. It is read with ``weights_only``.
    scale : float, optional
        What deepCR divides pixel values by before the network sees them:
        electrons for 1, the value for all of deepCR's own models but its
        ``example_model`` (100).

    Returns
    -------
    model : `Model`
        With a threshold of 0.5 and a temperature of 1: neither was fitted.
        `~cosmiq_astro.training.calibrate` fits them.

    Raises
    ------
    ValueError
        If the file is not such a checkpoint, or ``scale`` is not positive.

    Notes
    -----
    deepCR cuts images into tiles that do not overlap; the probabilities here
    are those that it gives far from its cuts. Its model ``WFC3-UVIS`` expects
    images standardised with their mean and standard deviation, which is not
    part of the checkpoint: on electrons that model does not work.
    """
    network, digest = read_deepcr(path, scale=scale)
    return Model(
        name=f"deepCR {ascii(Path(path).stem)[1:-1]}",
        version="1",
        instrument="as the checkpoint",
        network=network,
        sha256=digest,
    )


def _pop(state, part):
    """Take what belongs to a part out of a state, by the rest of its name."""
    names = [name for name in state if name.startswith(f"{part}.")]
    return {name.removeprefix(f"{part}."): state.pop(name) for name in names}


def _network(config, state):
    """Return a network of some weights, ready for use."""
    network = empty_unet(config)
    network.load_state_dict(state, assign=True)
    return network.eval().requires_grad_(False).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


def _check_features(path, familiar_hits, network):
    n = network.config.hidden * (2 if len(network.up) else 1)
    if familiar_hits is not None and familiar_hits.mean.size != n:
        raise ValueError(
            f"{path}: familiar_hits has {familiar_hits.mean.size} features, the network {n}"
        )


def _read_config(folder):
    """Return the configuration of a model folder, with the network's as a `UNetConfig`."""
    path = folder / "config.json"
    try:
        config = json.loads(read_bounded(path, _LARGEST_CONFIG))
        config["network"] = UNetConfig(**config["network"])
        if config.get("recalibration") is not None:
            # Few models have one: the first call need not wait for the diagnostics.
            from cosmiq_astro.calibration import Recalibration

            config["recalibration"] = Recalibration.from_dict(config["recalibration"])
        missing = {*_TEXTS, *_LIMITS, "sha256"} - set(config)
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise ValueError(
            f"{path} is not a model's configuration: {error}; if another version of cosmiq_astro "
            "wrote it, load it with that version, or train the model again"
        ) from error
    if missing:
        raise ValueError(f"{path} lacks {', '.join(sorted(missing))}")
    for name in _TEXTS:
        text = config[name]
        # It goes to terminals and into FITS headers.
        if not (isinstance(text, str) and text.isascii() and text.isprintable()):
            raise ValueError(f"{name} in {path} must be a text of printable ASCII, got {text!a}")
    if not all(isinstance(pattern, str) for pattern in config["network"].variational):
        raise ValueError(f"variational in {path} must be a list of texts")
    for name, (lowest, highest) in _LIMITS.items():
        value = config[name]
        if not isinstance(value, int | float) or not lowest < value < highest:
            raise ValueError(f"{name} in {path} must be in ({lowest}, {highest}), got {value!r}")
    return config


def _check_ranges(ranges):
    try:
        right = all(name in _RANGES and 0 <= low < high for name, (low, high) in ranges.items())
    except (AttributeError, TypeError, ValueError):
        right = False
    if not right:
        raise ValueError(
            f"ranges must have (lowest, highest) for some of {', '.join(_RANGES)}, got {ranges}"
        )


def _check_recalibration(recalibration):
    if recalibration is None:
        return
    from cosmiq_astro.calibration import BetaCalibration, IsotonicCalibration

    if not isinstance(recalibration, BetaCalibration | IsotonicCalibration):
        raise ValueError(
            "recalibration must be None or what fit_beta or fit_isotonic returned, got "
            f"{recalibration!r}; a temperature divides the logits of each draw: give it as "
            "temperature"
        )


def save_model(model: Model, folder: str | PathLike, *, card: str, overwrite: bool = False) -> Path:
    """
    Write a model folder that `load_model` reads.

    Parameters
    ----------
    model : `Model`
        The model; its ``sha256`` is ignored and computed anew.
    folder : path-like
        Where to write; made if missing.
    card : str
        The model card, Markdown: training data, label, metrics, limits.
    overwrite : bool, optional
        Whether a model already there may be replaced.

    Returns
    -------
    folder : `~pathlib.Path`
        The folder written.

    Raises
    ------
    FileExistsError
        If the folder holds a model, or a file of one, and ``overwrite`` is
        False.
    """
    folder = Path(folder)
    for name in MODEL_FILES:
        refuse_existing(folder / name, overwrite)
    folder.mkdir(parents=True, exist_ok=True)
    prefixes = ["", *(f"{_OTHERS}.{i}." for i in range(len(model.others)))]
    state = {
        f"{prefix}{name}": value.detach().cpu().contiguous()
        for prefix, network in zip(prefixes, model.networks, strict=True)
        for name, value in network.state_dict().items()
    }
    for name in _FAMILIAR:
        if (familiar := getattr(model, name)) is not None:
            parts = asdict(familiar).items()
            state |= {f"{name}.{k}": torch.tensor(v, dtype=torch.float32) for k, v in parts}
    weights = save(state)  # save_file hides the file from all but its owner
    config = {
        "name": model.name,
        "version": model.version,
        "instrument": model.instrument,
        "method": model.method,
        "parameters": model.n_parameters,
        "threshold": model.threshold,
        "temperature": model.temperature,
        "recalibration": model.recalibration and model.recalibration.to_dict(),
        "ranges": {name: list(limits) for name, limits in model.ranges.items()},
        "operating_curve": model.operating_curve,
        "network": model.network.config.as_dict(),
        "sha256": hashlib.sha256(weights).hexdigest(),
    }
    # The configuration comes last: until then its digest refuses the new weights.
    contents = weights, card.encode(), f"{json.dumps(config, indent=2)}\n".encode()
    for name, content in zip(MODEL_FILES, contents, strict=True):
        with atomic_write(folder / name, overwrite=overwrite) as temporary:
            temporary.write_bytes(content)
    return folder
