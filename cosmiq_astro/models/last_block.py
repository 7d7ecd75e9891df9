"""The last block of a U-Net, with each of several draws of its weights."""

import torch
from torch.nn import functional

from cosmiq_astro.models.fast_unet import Join, apply_layers
from cosmiq_astro.models.layers import variational_layers

__all__ = ["LAST_BLOCK", "LastBlock", "drawn_early", "last_layers", "to_maps"]

LAST_BLOCK = ("merge.0.", "head")
"""How the names of its parameters begin."""


def last_layers(network):
    """
    Return the layers of the last block.

    Parameters
    ----------
    network : `~cosmiq_astro.models.unet.UNet`
        Any.

    Returns
    -------
    layers : dict
        Layer by name, in their order.
    """
    block = network.merge[0] if len(network.merge) else []
    return {f"merge.0.{i}": layer for i, layer in enumerate(block)} | {"head": network.head}


def drawn_early(network):
    """
    Name the layers before the last block that are variational.

    Parameters
    ----------
    network : `~cosmiq_astro.models.unet.UNet`
        Any.

    Returns
    -------
    names : list of str
        Empty if all draws see the same features.
    """
    return [name for name in variational_layers(network) if not name.startswith(LAST_BLOCK)]


class LastBlock:
    """
    The last block of a network, with each of several draws of its weights.

    What comes before the first layer that is drawn is computed once for all. Opposite draws have
    the weights ``m + d`` and ``m - d``, and a convolution is linear in them: applied with m once,
    that layer takes one more convolution, with d, for each pair.

    Parameters
    ----------
    network : `~cosmiq_astro.models.unet.UNet`
        The network, with the means.
    draws : sequence of dict, optional
        Weights by the name of the parameter, all of the same; what a draw leaves out is the
        network's own. One that leaves out all is the network itself.
    paired : bool, optional
        Whether each two draws (not an odd last) are opposite.
    """

    def __init__(self, network, draws=({},), *, paired=False):
        layers = last_layers(network)
        is_drawn = [any(key.startswith(f"{name}.") for key in draws[0]) for name in layers]
        # If none is, the head is made of one draw.
        n_shared = is_drawn.index(True) if any(is_drawn) else len(layers) - 1
        self._joined = len(network.up) > 0 and n_shared > 0
        joins = [
            [
                Join.of(draw.get(f"{name}.weight", w.weight), draw.get(f"{name}.bias", w.bias))
                for draw in draws
            ]
            for name, w in layers.items()
        ]
        self._shared = [each[0] for each in joins[:n_shared]]
        if self._joined:
            self._shared[0] = Join.after(network.up[0], network.merge[0][0])
        self._first, *self._rest = joins[n_shared:]
        self._mean, self._steps = None, []
        if paired and self._rest:
            mean = list(layers.values())[n_shared]
            self._mean = Join.of(mean.weight, mean.bias)
            pairs = zip(self._first[::2], self._first[1::2], strict=False)
            self._steps = [Join.half_difference(*pair) for pair in pairs]

    def logits(self, seen):
        """
        Yield the logits of each draw in turn.

        Parameters
        ----------
        seen : `Seen`
            Of one or more tiles.

        Yields
        ------
        logits : Tensor
            float32, of the pixels that it is seen for, shape ``(n, ny, nx)``.
        """
        ny, nx = seen.shape
        planes = (seen if self._joined else seen.lifted()).planes
        for layer in self._shared:
            planes = (functional.relu_(layer(*planes)), None)
        if not self._rest:
            for logits in to_maps(planes[0], self._first):
                yield logits[:, :ny, :nx].float()
            return
        for draw, x in enumerate(self._each_first(planes)):
            *layers, head = (each[draw] for each in self._rest)
            (logits,) = to_maps(apply_layers(layers, functional.relu_(x)), [head])
            yield logits[:, :ny, :nx].float()

    def _each_first(self, planes):
        """Yield what the first layer that is drawn makes, for each draw; each may be changed."""
        mean = self._mean(*planes) if self._steps else None
        for step in self._steps:
            step = step(*planes)
            yield mean + step
            yield torch.sub(mean, step, out=step)
        for layer in self._first[2 * len(self._steps) :]:
            yield layer(*planes)


def to_maps(x, heads):
    """
    Apply several heads, each a 1 × 1 convolution to one map.

    Parameters
    ----------
    x : Tensor
        Shape ``(n, n_maps, ny, nx)``.
    heads : list of `~cosmiq_astro.models.fast_unet.Join`
        1 × 1.

    Returns
    -------
    maps : sequence of Tensor
        One for each, shape ``(n, ny, nx)``.
    """
    x = x.movedim(1, -1)
    if len(heads) == 1:  # a product with a vector is faster than a convolution
        return [x @ heads[0].skip.flatten() + heads[0].bias]
    weights = torch.stack([head.skip.flatten() for head in heads], dim=1)
    return (x @ weights + torch.cat([head.bias for head in heads])).movedim(-1, 0).contiguous()
