"""What no weights of a network may be."""

import torch

__all__ = ["LARGEST_FILE", "check_weights"]

LARGEST_FILE = 2**30
"""Bytes that weights may have: a hundred times what the largest bundled ones have."""

_LARGEST_WEIGHT = 1e9


def check_weights(path, state):
    """
    Refuse weights with which every probability would be wrong or NaN.

    Parameters
    ----------
    path : path-like
        Where they come from.
    state : dict of Tensor
        A network's state.

    Raises
    ------
    ValueError
        If a tensor is not of float32, not finite, or absurdly large.
    """
    for name, tensor in state.items():
        if tensor.dtype != torch.float32:
            raise ValueError(f"{name} in {path} must be of torch.float32, not {tensor.dtype}")
        # A comparison that NaN fails.
        if not (tensor.abs() < _LARGEST_WEIGHT).all():
            raise ValueError(
                f"{name} in {path} is not finite, or beyond {_LARGEST_WEIGHT:g}: the file is "
                "damaged, or the training has diverged"
            )
