"""What networks say of a tile; shared by the ways to combine them."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch.nn import functional

from cosmiq_astro.inference.uncertainty import RunningMoments
from cosmiq_astro.models.fast_unet import Join, Trunk, to_one_map

__all__ = [
    "LAST_BLOCK",
    "LastBlocks",
    "Sums",
    "by_features",
    "probability_and_entropy",
]

LAST_BLOCK = ("merge.0.", "head")
"""How the names of its parameters begin."""


@dataclass(frozen=True)
class LastBlocks:
    """
    The last blocks of networks that see the same.

    Opposite draws have the weights ``m + d`` and ``m - d``, and a convolution
    is linear in its weights: when the first layer has been applied with m,
    once for all pairs, each pair takes one more convolution, with d.

    Attributes
    ----------
    networks : list of `~cosmiq_astro.models.unet.UNet`
        Any that share all but their last block.
    look : callable
        ``look(inputs, crop)`` returns what they see of a tile, a
        `~cosmiq_astro.models.fast_unet.Seen`.
    firsts : list of `~cosmiq_astro.models.fast_unet.Join`
        The first layer of each.
    mean : `~cosmiq_astro.models.fast_unet.Join` or None
        The layer m; None if there are no pairs.
    steps : list of `~cosmiq_astro.models.fast_unet.Join`
        The layer d of each pair: the first two networks, the next two, and so
        on. Networks beyond the last pair are each by themselves.
    """

    networks: list
    look: Callable
    firsts: list
    mean: Join | None = None
    steps: list = field(default_factory=list)

    @classmethod
    def alone(cls, network):
        """Return that of the only network there is."""
        if not len(network.up):
            return cls.of([network])
        return cls([network], Trunk(network), [Join.after(network.up[0], network.merge[0][0])])

    @classmethod
    def of(cls, networks, *, paired=False):
        """Return those of networks; ``paired`` if each two (not an odd last) are opposite draws."""
        trunk = Trunk(networks[0])

        def look(inputs, crop):
            return trunk(inputs, crop).lifted()

        layers = [network.merge[0][0] if len(network.up) else network.head for network in networks]
        firsts = [Join(layer.weight, None, layer.bias) for layer in layers]
        if not paired or len(networks) < 2:
            return cls(networks, look, firsts)
        mean = _halved(*firsts[:2], 1)
        steps = [_halved(*pair, -1) for pair in zip(firsts[::2], firsts[1::2], strict=False)]
        return cls(networks, look, firsts, mean, steps)

    def part(self, start, stop):
        """Return the last blocks of some of the networks."""
        # From an odd one on, two in a row are no pair.
        steps = [] if start % 2 else self.steps[start // 2 : stop // 2]
        some = slice(start, stop)
        return replace(self, networks=self.networks[some], firsts=self.firsts[some], steps=steps)

    def logits(self, seen):
        """
        Yield the logits of each network in turn.

        Parameters
        ----------
        seen : `~cosmiq_astro.models.fast_unet.Seen`
            Of one or more windows.

        Yields
        ------
        logits : Tensor
            float32, of the pixels that it is seen for, shape ``(n, ny, nx)``.
        """
        planes = seen.skip, seen.below
        mean = self.mean(*planes) if self.steps else None
        for i, step in enumerate(self.steps):
            step = step(*planes)
            yield _after_first(self.networks[2 * i], mean + step, seen.shape)
            x = torch.sub(mean, step, out=step)
            yield _after_first(self.networks[2 * i + 1], x, seen.shape)
        for i in range(2 * len(self.steps), len(self.networks)):
            yield _after_first(self.networks[i], self.firsts[i](*planes), seen.shape)


def _halved(first, second, sign):
    """Return half the sum of two layers that are not joined, or half their difference."""
    return Join(
        torch.add(first.skip, second.skip, alpha=sign).div_(2),
        None,
        torch.add(first.bias, second.bias, alpha=sign).div_(2),
    )


def _after_first(network, x, shape):
    """Return the logits, from what the first layer of the last block gives."""
    if len(network.merge):
        second, head = network.merge[0][1], network.head
        x = functional.conv2d(functional.relu(x, inplace=True), second.weight, second.bias)
        x = to_one_map(functional.relu(x, inplace=True), head.weight, head.bias)
    else:
        x = x[:, 0]
    return x[:, : shape[0], : shape[1]].float()


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
