"""The U-Net: one network, deterministic or variational by its convolution classes."""

import math
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase

import torch
from torch import nn
from torch.nn import functional

from cosmiq_astro.models.layers import (
    VariationalConv2d,
    VariationalConvTranspose2d,
    variational_layers,
)
from cosmiq_astro.preprocess import CHANNELS

__all__ = [
    "LARGEST_FILE",
    "VIEWS",
    "UNet",
    "UNetConfig",
    "check_weights",
    "empty_unet",
    "initialize_weights",
]

VIEWS = (1, 2, 4)
"""In how many ways an image may be turned."""
LARGEST_FILE = 2**30
"""Bytes that weights may have: two thousand times what the bundled ones have."""
_RARE = -4.0
_LARGEST_WEIGHT = 1e9
# What a damaged configuration may ask for, with sizes that still fit a 64-bit integer.
_LARGEST = {"hidden": 1024, "levels": 10}


_VARIATIONAL = {nn.Conv2d: VariationalConv2d, nn.ConvTranspose2d: VariationalConvTranspose2d}


@dataclass(frozen=True)
class UNetConfig:
    """
    What a `UNet` looks like.

    Attributes
    ----------
    channels : tuple of str
        Input channels, names from `cosmiq_astro.preprocess.CHANNELS`.
    hidden : int
        Feature maps of the first level, 1 to 1024; each level below has twice as many.
    levels : int
        Number of resolutions, 1 to 10.
    variational : tuple of str
        Patterns (`fnmatch`) of the layers that are variational, for example
        ``("*",)`` for all and ``("head",)`` for the last one;
        empty for the deterministic baseline.
    views : {1, 2, 4}
        Ways to turn an image, whose mean counts where a detection does not say otherwise: as it
        is, transposed too, or also both of these turned by half a turn. Each takes a look at the
        image: more are more accurate, and slower.
    """

    channels: tuple[str, ...] = ("asinh", "anscombe")
    hidden: int = 16
    levels: int = 3
    variational: tuple[str, ...] = ()
    views: int = 1

    def __post_init__(self):
        # JSON has lists only.
        object.__setattr__(self, "channels", tuple(self.channels))
        object.__setattr__(self, "variational", tuple(self.variational))
        for name, highest in _LARGEST.items():
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} must be a positive integer, got {value!r}")
            if value > highest:
                raise ValueError(f"{name} must be {highest} or less, got {value}")
        if type(self.views) is not int or self.views not in VIEWS:
            raise ValueError(f"views must be one of {VIEWS}, got {self.views!r}")
        if not self.channels or set(self.channels) - set(CHANNELS):
            raise ValueError(f"channels must be some of {', '.join(CHANNELS)}, got {self.channels}")

    @property
    def maps(self):
        """Feature maps of each level, from the finest."""
        return tuple(self.hidden * 2**level for level in range(self.levels))

    def as_dict(self):
        """
        Return the configuration as a dictionary that JSON can hold.

        Returns
        -------
        config : dict
            One entry per attribute.
        """
        return asdict(self)


class UNet(nn.Module):
    """
    A U-Net (Ronneberger, Fischer & Brox 2015, arXiv:1505.04597) without normalisation layers.

    Two 3 × 3 convolutions with ReLU per block, 2 × 2 max-pooling, 2 × 2
    transposed convolutions, skip connections by concatenation, and a 1 × 1
    convolution to one logit. Nothing in it depends on more than the pixels
    within `receptive_radius`, so that tiles with a halo of that size give
    what the whole image gives. It departs from deepCR (Zhang & Bloom 2020,
    arXiv:1907.09500) by having no batch normalisation, and returns logits.

    Parameters
    ----------
    config : `UNetConfig`
        Its shape and which of its layers are variational.
    """

    def __init__(self, config):
        super().__init__()
        self.config = config
        width = config.maps
        inputs = [len(config.channels), *width[:-1]]
        self.down = nn.ModuleList(
            self._block(f"down.{level}", inputs[level], width[level])
            for level in range(config.levels)
        )
        self.up = nn.ModuleList(
            self._layer(f"up.{level}", nn.ConvTranspose2d, width[level + 1], width[level], 2, 2)
            for level in range(config.levels - 1)
        )
        self.merge = nn.ModuleList(
            self._block(f"merge.{level}", 2 * width[level], width[level])
            for level in range(config.levels - 1)
        )
        self.head = self._layer("head", nn.Conv2d, width[0], 1, 1)

    def _layer(self, name, kind, *args, **kwargs):
        if any(fnmatchcase(name, pattern) for pattern in self.config.variational):
            kind = _VARIATIONAL[kind]
        return kind(*args, **kwargs)

    def _block(self, name, n_in, n_out):
        return nn.ModuleList(
            self._layer(f"{name}.{i}", nn.Conv2d, n, n_out, 3, padding=1)
            for i, n in enumerate((n_in, n_out))
        )

    @property
    def grid(self):
        """Pixels between points of the coarsest level: tile origins are multiples of it."""
        return 2 ** (self.config.levels - 1)

    @property
    def receptive_radius(self):
        """Distance in pixels beyond which an input pixel cannot change an output pixel."""
        scales = [2**level for level in range(self.config.levels)]
        # Two 3x3 convolutions reach two pixels of their level: going down, and up again but for
        # the lowest level; and a pixel sits anywhere in its cell of the coarsest grid.
        return 2 * sum(scales) + 2 * sum(scales[:-1]) + self.grid - 1

    @property
    def finish_radius(self):
        """Distance in pixels beyond which a feature cannot change what `finish` makes of it."""
        return 2 if len(self.up) else 0

    def forward(self, x):
        """
        Return the logit of each pixel.

        Parameters
        ----------
        x : Tensor
            Shape ``(n, n_channels, ny, nx)``; ny and nx multiples of `grid`.

        Returns
        -------
        logits : Tensor
            Shape ``(n, 1, ny, nx)``.
        """
        return self.finish(self.features(x))

    def features(self, x):
        """
        Return what the last block sees: the first part of `forward`.

        Parameters
        ----------
        x : Tensor
            As for `forward`.

        Returns
        -------
        features : Tensor
            Shape ``(n, 2 * hidden, ny, nx)``; ``(n, hidden, ny, nx)`` of a
            network with one level.
        """
        skips = []
        for level, block in enumerate(self.down):
            if level:
                x = functional.max_pool2d(x, 2)
            x = _apply(block, x)
            skips.append(x)
        for level in reversed(range(len(self.up))):
            x = torch.cat([skips[level], self.up[level](x)], dim=1)
            if level:
                x = _apply(self.merge[level], x)
        return x

    def finish(self, features):
        """
        Return the logits: the second part of `forward`.

        Parameters
        ----------
        features : Tensor
            From `features`.

        Returns
        -------
        logits : Tensor
            Shape ``(n, 1, ny, nx)``.
        """
        return self.head(self.hidden(features))

    def hidden(self, features):
        """
        Return what the head sees: the last block without its head.

        Parameters
        ----------
        features : Tensor
            From `features`.

        Returns
        -------
        maps : Tensor
            Shape ``(n, hidden, ny, nx)``.
        """
        return _apply(self.merge[0], features) if len(self.up) else features


def _apply(block, x):
    for convolution in block:
        x = functional.relu(convolution(x), inplace=True)
    return x


def empty_unet(config):
    """
    Build a network whose weights are not set yet, drawing no random numbers.

    Parameters
    ----------
    config : `UNetConfig`
        Its shape.

    Returns
    -------
    network : `UNet`
        On the ``meta`` device: load a state with ``assign=True``, or call
        `initialize_weights`.
    """
    with torch.device("meta"):
        return UNet(config)


@torch.no_grad()
def initialize_weights(network, generator):
    """
    Draw a network's initial weights.

    Weights are normal with variance 2 / fan-in (He et al. 2015,
    arXiv:1502.01852, eq. 10), biases zero, but for the head, which starts at
    a low probability. In variational layers these are the means; the prior's
    standard deviation is √(2 / fan-in) too.

    Parameters
    ----------
    network : `UNet`
        From `empty_unet`; moved to the CPU.
    generator : torch.Generator
        Of the CPU.

    Returns
    -------
    network : `UNet`
        The same network.
    """
    network.to_empty(device="cpu")
    variational = variational_layers(network).values()
    for layer in network.modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            # A 2 x 2 transposed convolution of stride 2 sums over input maps, not over its kernel.
            n_inputs = layer.in_channels * (1 if layer.transposed else layer.weight[0, 0].numel())
            sigma = math.sqrt(2 / n_inputs)
            layer.weight.normal_(0, sigma, generator=generator)
            layer.bias.zero_()
            if layer in variational:
                layer.set_prior_sigma(sigma)
                layer.set_posterior_sigma(relative=0.05)
    # Cosmic rays are rare: starting at a low probability everywhere, rather than at logits of
    # either sign in the tens on bright stars, saves the first epochs.
    network.head.weight.mul_(0.1)
    network.head.bias.fill_(_RARE)
    return network


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
