"""What one network says of a tile; shared by the ways to combine several."""

import torch
from torch.nn import functional

from cosmiq_astro.inference.uncertainty import RunningMoments

__all__ = ["Features", "Sums", "inner", "probability_and_entropy"]


class Features:
    """
    What the last block sees of a tile: its core and no more of the halo than it needs.

    Parameters
    ----------
    inputs : Tensor
        Input channels of the tile, shape ``(1, n_channels, rows, columns)``.
    crop : tuple of slice
        Where the core is.
    common : `~cosmiq_astro.models.unet.UNet` or None
        A network whose first layers all networks share: they look at the tile
        once. None if there is none.

    Attributes
    ----------
    common : Tensor or None
        What all networks see, shape ``(1, n, ny, nx)``.
    """

    def __init__(self, inputs, crop, common):
        self._inputs, self._crop = inputs, crop
        self.common = None if common is None else self._of(common)

    def __call__(self, network):
        """Return the features of a network, shape ``(1, n, ny, nx)``."""
        return self._of(network) if self.common is None else self.common

    def _of(self, network):
        edge = network.finish_radius
        rows, columns = (slice(part.start - edge, part.stop + edge) for part in self._crop)
        features = network.features(self._inputs, (rows, columns))
        return features.contiguous(memory_format=torch.channels_last)


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
        logits = inner(network, network.finish(features)[:, 0])
        p, entropy = probability_and_entropy(logits / temperature)
        self._probability.update(p)
        self._entropy = self._entropy + entropy
        return self

    def planes(self):
        """Return mean and standard deviation of p, and mean entropy, shape ``(n, ny, nx)``."""
        count, mean = self._probability.count, self._probability.mean
        std = self._probability.std() if count > 1 else torch.zeros_like(mean)
        return mean, std, self._entropy / count
