"""Checkpoints of deepCR as networks: their normalisation folded into the weights."""

import hashlib
import io
import pickle
import re
import struct
import zipfile
from pathlib import Path

import torch

from cosmiq_astro._io import read_bounded
from cosmiq_astro.models.unet import LARGEST_FILE, UNetConfig, check_weights, empty_unet

__all__ = ["read_deepcr"]

_BLOCK = r"(?P<block>inc\.conv|down\d+\.mpconv\.1|up\d+\.conv)\.conv\."
_BATCH_NORM_EPSILON = 1e-5
# What `torch.load` and `_convert` raise on files that are something else, or damaged.
_UNREADABLE = (
    AssertionError, AttributeError, EOFError, LookupError, OverflowError, RuntimeError, TypeError,
    ValueError, pickle.UnpicklingError, struct.error, zipfile.BadZipFile,
)  # fmt: skip


def read_deepcr(path, *, scale):
    """
    Read a checkpoint of deepCR as a network.

    Parameters
    ----------
    path, scale : path-like, float
        As for `~cosmiq_astro.models.model.load_deepcr`.

    Returns
    -------
    network : `~cosmiq_astro.models.unet.UNet`
        In evaluation mode, on the CPU.
    sha256 : str
        Of the file.

    Raises
    ------
    ValueError
        If the file is not such a checkpoint, or ``scale`` is not positive.
    """
    if not scale > 0:
        raise ValueError(f"scale must be positive, got {scale!r}")
    path = Path(path)
    content = read_bounded(path, LARGEST_FILE)
    try:
        _refuse_compressed(content)
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        _refuse_expanded(state, len(content))
        names = [name.removeprefix("module.") for name in state]
        given = {n: v.double() for n, v in zip(names, state.values(), strict=True)}
        weights, config = _convert(given)
    except _UNREADABLE as error:
        raise ValueError(f"{path} is not a checkpoint of deepCR's mask network: {error}") from error
    weights["down.0.0.weight"] = weights["down.0.0.weight"] / scale
    network = empty_unet(config)
    state = {name: tensor.float() for name, tensor in weights.items()}
    try:
        network.load_state_dict(state, assign=True)
    except RuntimeError as error:
        raise ValueError(f"{path} is of a network that is not deepCR's: {error}") from error
    check_weights(path, state)
    network = network.eval().requires_grad_(False).to(memory_format=torch.channels_last)
    return network, hashlib.sha256(content).hexdigest()


def _refuse_compressed(content):
    """Refuse an archive with parts that would grow when they are read: torch writes none."""
    if zipfile.is_zipfile(io.BytesIO(content)):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            size = sum(part.file_size for part in archive.infolist())
        if size > len(content):
            raise ValueError(f"its parts have {size} bytes, the file only {len(content)}")


def _refuse_expanded(state, size):
    """Refuse tensors that have more values than the file, as strides of 0 give them."""
    n_bytes = sum(tensor.numel() * tensor.element_size() for tensor in state.values())
    if n_bytes > size:
        raise ValueError(f"its tensors have {n_bytes} bytes, the file only {size}")


def _convert(given):
    """Rename deepCR's layers to those of `UNet`, and fold the normalisations into them."""
    blocks = {re.match(_BLOCK, name)["block"]: name for name in given if re.match(_BLOCK, name)}
    downs = sorted(b for b in blocks if b.startswith("down"))
    # deepCR counts its upward blocks from the lowest resolution to the highest.
    merges = sorted((b for b in blocks if b.startswith("up")), reverse=True)
    weights = {
        "head.weight": given["outc.conv.weight"],
        "head.bias": given["outc.conv.bias"],
    }
    for level, block in enumerate(["inc.conv", *downs]):
        weights |= _fold_block(given, f"{block}.conv", f"down.{level}")
    for level, block in enumerate(merges):
        weights |= _fold_block(given, f"{block}.conv", f"merge.{level}")
        up = block.removesuffix(".conv") + ".up"
        weights |= {f"up.{level}.{part}": given[f"{up}.{part}"] for part in ("weight", "bias")}
    hidden = weights["down.0.0.bias"].numel()
    return weights, UNetConfig(channels=("electron",), hidden=hidden, levels=1 + len(downs))


def _fold_block(given, old, new):
    """Return the two convolutions of a block, with what normalises them taken in."""
    is_batch_norm = f"{old}.1.running_var" in given
    folded = {}
    for number, index in enumerate((0, 3) if is_batch_norm else (0, 2)):
        name, bias = f"{old}.{index}", given[f"{old}.{index}.bias"]
        if f"{name}.weight_g" in given:
            direction = given[f"{name}.weight_v"]
            norm = direction.flatten(1).norm(dim=1).reshape(-1, 1, 1, 1)
            weight = given[f"{name}.weight_g"] * direction / norm
        else:
            weight = given[f"{name}.weight"]
        if is_batch_norm:
            norm = {
                part: given[f"{old}.{index + 1}.{part}"]
                for part in ("weight", "bias", "running_mean", "running_var")
            }
            factor = norm["weight"] / (norm["running_var"] + _BATCH_NORM_EPSILON).sqrt()
            weight = weight * factor.reshape(-1, 1, 1, 1)
            bias = (bias - norm["running_mean"]) * factor + norm["bias"]
        folded |= {f"{new}.{number}.weight": weight, f"{new}.{number}.bias": bias}
    return folded
