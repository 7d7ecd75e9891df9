"""
A U-Net up to its last block, for the core of a tile, computing no more than that needs.

With `~cosmiq_astro.models.last_block` it is what `UNet.forward` says, faster.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["Join", "Seen", "Trunk", "apply_layers"]


class Join(NamedTuple):
    """
    The first layer of a block on the way up, from what the levels hand it.

    A transposed convolution and the 3 × 3 convolution after it have nothing
    between them: of the level below, the two are one 2 × 2 convolution that
    makes the four pixels around each corner. The pixels between them are never
    made, and it takes 8 operations instead of 11.

    Attributes
    ----------
    skip : Tensor
        Weight for the skip connection, shape ``(n_out, n_skip, k, k)``.
    below : Tensor or None
        Weight for the level below, shape ``(4 * n_out, n_below, 2, 2)``; None without one.
    bias : Tensor
        Shape ``(n_out,)``.
    """

    skip: Tensor
    below: Tensor | None
    bias: Tensor

    @classmethod
    def of(cls, weight, bias):
        """
        Return a layer that is not joined.

        Parameters
        ----------
        weight, bias : Tensor
            Of a convolution.

        Returns
        -------
        join : `Join`
            The convolution.
        """
        return cls(_channels_last(weight.detach()), None, bias.detach())

    @classmethod
    def after(cls, up, convolution):
        """
        Join a convolution with the transposed convolution before it.

        Parameters
        ----------
        up : torch.nn.ConvTranspose2d
            2 × 2, with a stride of 2.
        convolution : torch.nn.Conv2d
            3 × 3; it sees the skip connection, and then what ``up`` gives.

        Returns
        -------
        join : `Join`
            Both.
        """
        n_in, n_up = up.in_channels, up.out_channels
        skip, above = convolution.weight.split([convolution.in_channels - n_up, n_up], dim=1)
        # Four pixels by four that one of two by two below makes, and what is made of their middle.
        alone = torch.eye(4 * n_in, device=above.device).view(-1, n_in, 2, 2)
        made = functional.conv2d(functional.conv_transpose2d(alone, up.weight, stride=2), above)
        below = made.view(n_in, 2, 2, -1, 2, 2).permute(4, 5, 3, 0, 1, 2).flatten(0, 2)
        bias = convolution.bias + above.sum((2, 3)) @ up.bias
        return cls(_channels_last(skip), _channels_last(below), bias)

    def __call__(self, skip, below=None):
        """
        Apply the layer where it needs no padding.

        Parameters
        ----------
        skip : Tensor
            Shape ``(n, n_skip, 2 * ny, 2 * nx)``.
        below : Tensor, optional
            Shape ``(n, n_below, ny, nx)``.

        Returns
        -------
        x : Tensor
            Shape ``(n, n_out, 2 * ny - 2, 2 * nx - 2)``; without a level below, as
            convolutions have it.
        """
        x = functional.conv2d(skip, self.skip, self.bias)
        if below is not None:
            four = functional.conv2d(below, self.below).unflatten(1, (2, 2, -1))
            ny, nx = four.shape[-2:]
            x.unflatten(3, (nx, 2)).unflatten(2, (ny, 2)).add_(four.permute(0, 3, 4, 1, 5, 2))
        return x


@dataclass(frozen=True)
class Seen:
    """
    What last blocks see.

    Attributes
    ----------
    skip : Tensor
        Skip connection, with a border, shape ``(n, n_skip, rows, columns)``.
    below : Tensor or None
        Of the level below, shape ``(n, n_below, rows / 2, columns / 2)``; None without one.
    up : torch.nn.ConvTranspose2d or None
        What the networks lift it with.
    edge : int
        The border, pixels.
    shape : tuple of int
        ``(ny, nx)`` of the pixels that it is seen for; rows and columns are rounded up.
    """

    skip: Tensor
    below: Tensor | None
    up: Any
    edge: int
    shape: tuple[int, int]

    def at(self, where):
        """
        Return what a last block sees at some pixels of one image.

        Parameters
        ----------
        where : Tensor of bool
            Shape ``(ny, nx)``.

        Returns
        -------
        features : Tensor
            float32, shape ``(n_features, n)``.
        """
        rows, columns = (index + self.edge for index in where.nonzero(as_tuple=True))
        skip = self.skip[0].movedim(0, -1)[rows, columns].float()
        if self.below is None:
            return skip.T
        below = self.below[0].movedim(0, -1)[rows // 2, columns // 2].float()
        four = (below @ self.up.weight.flatten(1)).view(len(below), self.up.out_channels, 4)
        which = (2 * (rows % 2) + columns % 2)[:, None, None].expand(-1, four.shape[1], 1)
        return torch.cat([skip, four.gather(2, which)[..., 0] + self.up.bias], dim=1).T


class Trunk:
    """
    A network up to its last block, for the core of a tile.

    Parameters
    ----------
    network : `~cosmiq_astro.models.unet.UNet`
        Any; of a variational one, the means.
    """

    def __init__(self, network):
        self._down = [[Join.of(layer.weight, layer.bias) for layer in b] for b in network.down]
        self._up = [
            [Join.after(up, block[0]), *(Join.of(layer.weight, layer.bias) for layer in block[1:])]
            for up, block in zip(network.up[1:], network.merge[1:], strict=True)
        ]
        self._last_up = network.up[0] if len(network.up) else None
        self._edge = network.finish_radius

    def __call__(self, inputs, crop):
        """
        Look at tiles.

        Parameters
        ----------
        inputs : Tensor
            Input channels, shape ``(n, n_channels, rows, columns)``.
        crop : tuple of slice
            Where the core is: at a point of the network's grid, and `UNet.receptive_radius` from
            the edges or more.

        Returns
        -------
        seen : `Seen`
            For the core.
        """
        skips, begins = self._descend(inputs)
        edge = self._edge
        parts = _parts([slice(a.start - edge, a.stop + edge) for a in crop], len(skips))
        x = _cut(skips[-1], parts[-1], begins[-1])
        for level in reversed(range(1, len(skips) - 1)):
            first, *rest = self._up[level - 1]
            x = functional.relu_(first(_cut(skips[level], parts[level], begins[level]), x))
            x = apply_layers(rest, x)
            # Two pixels less on each side than went in, and up to one more than is wanted.
            wanted = [_half(axis) for axis in parts[level - 1]]
            x = _cut(x, wanted, [axis.start + 2 for axis in parts[level]])
        shape = tuple(a.stop - a.start for a in crop)
        if self._last_up is None:
            return Seen(x, None, None, edge, shape)
        return Seen(_cut(skips[0], parts[0], begins[0]), x, self._last_up, edge, shape)

    def _descend(self, x):
        """
        Return the skip connections of tiles where nothing beyond is needed, and where each begins.

        That is a row and a column of its level, as many as are left out at the other end.
        """
        skips, begins, begin = [], [], 0
        for level, block in enumerate(self._down):
            if level:
                odd = begin % 2
                inside = slice(odd, -odd or None)
                x = functional.max_pool2d(x[:, :, inside, inside], 2)
                begin = (begin + odd) // 2
            x = apply_layers(block, x)
            begin += len(block)
            skips.append(x)
            begins.append([begin, begin])
        return skips, begins


def _channels_last(tensor):
    return tensor.contiguous(memory_format=torch.channels_last)


def _parts(window, n_levels):
    """
    Return what is needed of the skip connection of each level, from the finest; slices per axis.

    Of whole cells of the level below; and two pixels more on each side than it hands on upwards,
    but for the last level, which has had its two convolutions on the way down.
    """
    parts = [[_even(axis) for axis in window] if n_levels > 1 else window]
    for level in range(1, n_levels):
        half = [_half(axis) for axis in parts[-1]]
        is_last = level == n_levels - 1
        parts.append(half if is_last else [_even(slice(a.start - 2, a.stop + 2)) for a in half])
    return parts


def apply_layers(layers, x):
    """
    Apply layers that are not joined, each with its ReLU.

    Parameters
    ----------
    layers : list of `Join`
        In their order.
    x : Tensor
        Shape ``(n, n_maps, ny, nx)``.

    Returns
    -------
    x : Tensor
        A pixel less on each side for each layer of 3 × 3.
    """
    for layer in layers:
        x = functional.relu_(layer(x))
    return x


def _even(axis):
    return slice(axis.start // 2 * 2, -(-axis.stop // 2) * 2)


def _half(axis):
    """Return the same slice of the level below."""
    return slice(axis.start // 2, axis.stop // 2)


def _cut(planes, window, begins):
    """Return a window of planes that begin at some row and column, shape ``(n, maps, ny, nx)``."""
    rows, columns = (
        slice(axis.start - begin, axis.stop - begin)
        for axis, begin in zip(window, begins, strict=True)
    )
    return _channels_last(planes[:, :, rows, columns])
