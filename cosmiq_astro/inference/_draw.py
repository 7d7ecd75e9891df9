"""What one network says of a tile; shared by the ways to combine several."""

import torch
from torch.nn import functional

__all__ = ["Features", "draw", "inner"]


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
    """

    def __init__(self, inputs, crop, common):
        self._inputs, self._crop = inputs, crop
        self._common = None if common is None else self._of(common)

    def __call__(self, network):
        """Return the features of a network, shape ``(1, n, ny, nx)``."""
        return self._of(network) if self._common is None else self._common

    def _of(self, network):
        edge = network.finish_radius
        rows, columns = (slice(part.start - edge, part.stop + edge) for part in self._crop)
        features = network.features(self._inputs)[:, :, rows, columns]
        return features.contiguous(memory_format=torch.channels_last)


def inner(network, planes):
    """Cut off the border that `UNet.finish` could not see around, shape ``(…, ny, nx)``."""
    edge = network.finish_radius
    return planes[..., edge : planes.shape[-2] - edge, edge : planes.shape[-1] - edge]


def draw(network, features, temperature):
    """Return probability and entropy (nats) that one network finds, shape ``(n, ny, nx)``."""
    logits = inner(network, network.finish(features)[:, 0])
    if temperature != 1:
        logits = logits / temperature
    p = torch.sigmoid(logits)
    # H = softplus(l) - l p, exact for any logit; no logarithm of a rounded probability.
    return p, functional.softplus(logits) - logits * p
