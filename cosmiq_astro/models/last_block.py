"""The last block of a U-Net, computed once for all draws of its head."""

import torch
from torch.nn import functional

from cosmiq_astro.models.fast_unet import Join, apply_layers
from cosmiq_astro.models.layers import variational_layers

__all__ = ["Heads", "LastBlock", "drawn_before"]

_AT_ONCE = 16
_BEGINS = {"last block": ("merge.0.", "head"), "head": ("head",)}


def drawn_before(network, part):
    """
    Name the variational layers before some part of a network.

    Parameters
    ----------
    network : `~cosmiq_astro.models.unet.UNet`
        Any.
    part : {'last block', 'head'}
        Which part.

    Returns
    -------
    names : list of str
        Empty if the part sees the same of an image with each draw.
    """
    return [name for name in variational_layers(network) if not name.startswith(_BEGINS[part])]


class LastBlock:
    """
    The last block of a network without its head.

    Parameters
    ----------
    network : `~cosmiq_astro.models.unet.UNet`
        Any; of a variational one, the means.
    """

    def __init__(self, network):
        self._layers = []
        if len(network.up):
            first, *rest = network.merge[0]
            self._layers = [Join.after(network.up[0], first)]
            self._layers += [Join.of(layer.weight, layer.bias) for layer in rest]

    def __call__(self, seen):
        """
        Return what the head sees.

        Parameters
        ----------
        seen : `~cosmiq_astro.models.fast_unet.Seen`
            Of one or more tiles.

        Returns
        -------
        maps : Tensor
            Of the pixels that it is seen for, shape ``(n, ny, nx, n_maps)``.
        """
        x, (ny, nx) = seen.skip, seen.shape
        if self._layers:
            first, *rest = self._layers
            x = apply_layers(rest, functional.relu_(first(x, seen.below)))
        return x[:, :, :ny, :nx].movedim(1, -1)


class Heads:
    """
    The head of a network, with each of several draws of its weights.

    Parameters
    ----------
    network : `~cosmiq_astro.models.unet.UNet`
        The network, with the means.
    draws : sequence of dict, optional
        Weights by the name of the parameter; what a draw leaves out is the network's own.
    temperature : float, optional
        Divides the logits.
    """

    def __init__(self, network, draws=({},), *, temperature=1.0):
        state = network.head.state_dict()
        weight, bias = (
            [draw.get(f"head.{name}", state[name]).flatten() / temperature for draw in draws]
            for name in ("weight", "bias")
        )
        # A number of them at a time: memory does not grow with their number.
        self._weight = torch.stack(weight).split(_AT_ONCE)
        self._bias = torch.stack(bias).split(_AT_ONCE)

    def logits(self, maps):
        """
        Yield the logits of each draw.

        Parameters
        ----------
        maps : Tensor
            From a `LastBlock`, float32, shape ``(n, ny, nx, n_maps)``.

        Yields
        ------
        logits : Tensor
            float32, shape ``(n, ny, nx)``; each may be changed.
        """
        pixels = maps.reshape(-1, maps.shape[-1])
        for weight, bias in zip(self._weight, self._bias, strict=True):
            yield from torch.addmm(bias, weight, pixels.T).unflatten(1, maps.shape[:-1])
