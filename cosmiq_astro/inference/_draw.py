"""What one network says of a tile; shared by the ways to combine several."""

import torch
from torch.nn import functional

from cosmiq_astro.inference.uncertainty import RunningMoments

__all__ = ["LAST_BLOCK", "Features", "Sums", "by_features", "inner", "probability_and_entropy"]

LAST_BLOCK = ("merge.0.", "head")
"""How the names of its parameters begin."""


class Features:
    """
    What the last blocks of networks see of a tile: its core and no more of the halo than they need.

    Iterating gives the networks that see the same, and what they see, shape
    ``(1, n, ny, nx)``: they look at the tile once.

    Parameters
    ----------
    inputs : Tensor
        Input channels of the tile, shape ``(1, n_channels, rows, columns)``.
    crop : tuple of slice
        Where the core is.
    groups : list of list of `~cosmiq_astro.models.unet.UNet`
        From `by_features`.

    Attributes
    ----------
    first : Tensor
        What the first group sees.
    """

    def __init__(self, inputs, crop, groups):
        self._inputs, self._crop, self._groups = inputs, crop, groups
        self.first = self._of(groups[0][0])

    def __iter__(self):
        yield self._groups[0], self.first
        for group in self._groups[1:]:
            yield group, self._of(group[0])

    def _of(self, network):
        edge = network.finish_radius
        rows, columns = (slice(part.start - edge, part.stop + edge) for part in self._crop)
        features = network.features(self._inputs, (rows, columns))
        return features.contiguous(memory_format=torch.channels_last)


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

    def add(self, network, features, temperature):
        """Add what one network says; returns the sums."""
        logits = inner(network, network.finish(features)[:, 0]).float()
        p, entropy = probability_and_entropy(logits / temperature)
        self._probability.update(p)
        self._entropy = self._entropy + entropy
        return self

    def planes(self):
        """Return mean and standard deviation of p, and mean entropy, shape ``(n, ny, nx)``."""
        count, mean = self._probability.count, self._probability.mean
        std = self._probability.std() if count > 1 else torch.zeros_like(mean)
        return mean, std, self._entropy / count
