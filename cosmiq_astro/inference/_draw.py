"""What networks say of a tile; shared by the ways to combine them."""

from dataclasses import dataclass, field
from itertools import chain

import torch
from torch.nn import functional

from cosmiq_astro.inference.uncertainty import RunningMoments

__all__ = [
    "LAST_BLOCK",
    "Features",
    "LastBlocks",
    "Sums",
    "by_features",
    "inner",
    "probability_and_entropy",
]

LAST_BLOCK = ("merge.0.", "head")
"""How the names of its parameters begin."""


class Features:
    """
    What the last blocks of networks see of a tile: its core and no more of the halo than they need.

    Iterating gives the last blocks that see the same, and what they see, shape
    ``(1, n, ny, nx)``: they look at the tile once.

    Parameters
    ----------
    inputs : Tensor
        Input channels of the tile, shape ``(1, n_channels, rows, columns)``.
    crop : tuple of slice
        Where the core is.
    groups : list of `LastBlocks`
        Those of networks that share their features.

    Attributes
    ----------
    first : Tensor
        What the first group sees.
    """

    def __init__(self, inputs, crop, groups):
        self._inputs, self._crop, self._groups = inputs, crop, groups
        self.first = self._of(groups[0].networks[0])

    def __iter__(self):
        yield self._groups[0], self.first
        for group in self._groups[1:]:
            yield group, self._of(group.networks[0])

    def _of(self, network):
        edge = network.finish_radius
        rows, columns = (slice(part.start - edge, part.stop + edge) for part in self._crop)
        features = network.features(self._inputs, (rows, columns))
        return features.contiguous(memory_format=torch.channels_last)


@dataclass(frozen=True)
class LastBlocks:
    """
    The last blocks of networks that see the same features.

    Opposite draws have the weights ``m + d`` and ``m - d``, and a convolution
    is linear in its weights: when the first layer has been applied with m,
    once for all pairs, each pair takes one more convolution, with d.

    Attributes
    ----------
    networks : list of `~cosmiq_astro.models.unet.UNet`
        Any that share all but their last block.
    mean : tuple of Tensor or None
        Weight and bias m of the first layer; None if there are no pairs.
    steps : list of tuple of Tensor
        Weight and bias d of each pair: the first two networks, the next two,
        and so on. Networks beyond the last pair are each by themselves.
    """

    networks: list
    mean: tuple | None = None
    steps: list = field(default_factory=list)

    @classmethod
    def paired(cls, networks):
        """Return those of networks of which each two are opposite draws, but for an odd last."""
        firsts = [_layers(network)[0] for network in networks]
        steps = [_halved(*pair, -1) for pair in zip(firsts[::2], firsts[1::2], strict=False)]
        return cls(networks, _halved(*firsts[:2], 1), steps) if steps else cls(networks)

    def part(self, start, stop):
        """Return the last blocks of some of the networks."""
        networks = self.networks[start:stop]
        # From an odd one on, two in a row are no pair.
        steps = [] if start % 2 else self.steps[start // 2 : stop // 2]
        return LastBlocks(networks, self.mean, steps)

    def logits(self, features):
        """
        Yield the logits of each network in turn.

        Parameters
        ----------
        features : Tensor
            Of one or more windows, shape ``(n, n_maps, rows, columns)``.

        Yields
        ------
        logits : Tensor
            float32, away from the border of `UNet.finish_radius` pixels, shape ``(n, ny, nx)``.
        """
        mean = functional.conv2d(features, *self.mean) if self.steps else None
        for i, step in enumerate(self.steps):
            step = functional.conv2d(features, *step)
            yield _after_first(self.networks[2 * i], mean + step)
            yield _after_first(self.networks[2 * i + 1], torch.sub(mean, step, out=step))
        for network in self.networks[2 * len(self.steps) :]:
            first = _layers(network)[0]
            yield _after_first(network, functional.conv2d(features, first.weight, first.bias))


def _layers(network):
    return [*chain(*network.merge[:1]), network.head]


def _halved(first, second, sign):
    """Return half the sum of two layers' weights and biases, or half their difference."""
    return tuple(
        torch.add(one, other, alpha=sign).div_(2)
        for one, other in ((first.weight, second.weight), (first.bias, second.bias))
    )


def _after_first(network, x):
    """Return the logits, from what the first layer of the last block gives."""
    for layer in _layers(network)[1:]:
        x = functional.conv2d(functional.relu(x, inplace=True), layer.weight, layer.bias)
    return x[:, 0].float()


def by_features(networks):
    """
    Group networks that share all parameters but those of the last block.

    Parameters
    ----------
    networks : list of `~cosmiq_astro.models.unet.UNet`
        Any.

    Returns
    -------
    groups : list of list of `~cosmiq_astro.models.unet.UNet`
        In the order of their first networks. One of each group can look at an
        image for all of it.
    """
    groups = {}
    for network in networks:
        shared = tuple(
            parameter.data_ptr()
            for name, parameter in network.named_parameters()
            if not name.startswith(LAST_BLOCK)
        )
        groups.setdefault(shared, []).append(network)
    return list(groups.values())


def inner(network, planes):
    """Cut off the border that `UNet.finish` could not see around, shape ``(…, ny, nx)``."""
    edge = network.finish_radius
    return planes[..., edge : planes.shape[-2] - edge, edge : planes.shape[-1] - edge]


def probability_and_entropy(logits):
    """Return the probabilities of logits, and their entropies, nats."""
    p = torch.sigmoid(logits)
    # H = softplus(l) - l p, exact for any logit; no logarithm of a rounded probability.
    return p, functional.softplus(logits) - logits * p


class Sums:
    """What several networks say of a tile, in memory that does not grow with their number."""

    def __init__(self):
        self._probability, self._entropy = RunningMoments(), 0.0

    def add(self, logits):
        """Add what one network says."""
        p, entropy = probability_and_entropy(logits)
        self._probability.update(p)
        self._entropy = self._entropy + entropy

    def planes(self):
        """Return mean and standard deviation of p, and mean entropy, shape ``(n, ny, nx)``."""
        count, mean = self._probability.count, self._probability.mean
        std = self._probability.std() if count > 1 else torch.zeros_like(mean)
        return mean, std, self._entropy / count
