"""The loss: cross-entropy of the valid pixels, and the evidence lower bound."""

import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional

from cosmiq_astro.models.layers import kl_divergence, sample_weights

__all__ = ["ElboNetwork", "masked_cross_entropy"]


def masked_cross_entropy(logits, labels, valid):
    """
    Mean binary cross-entropy over the valid pixels.

    Parameters
    ----------
    logits, labels : Tensor
        Shape ``(n, 1, ny, nx)``; labels are 0 or 1.
    valid : Tensor of bool
        Pixels that count; the others enter neither the sum nor the mean.

    Returns
    -------
    loss : Tensor
        A scalar, nats per valid pixel; 0 if no pixel is valid.
    """
    loss = functional.binary_cross_entropy_with_logits(logits.float(), labels, reduction="none")
    return torch.where(valid, loss, 0).sum() / valid.sum().clamp_min(1)


class ElboNetwork(nn.Module):
    """
    A network that draws its weights in each forward pass and reports its KL divergence.

    Parameters
    ----------
    network : `~cosmiq_astro.models.unet.UNet`
        Deterministic or variational.
    """

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, inputs, noise=None):
        """
        Return logits under one draw of the weights, and the KL divergence.

        Parameters
        ----------
        inputs : Tensor
            Shape ``(n, n_channels, ny, nx)``.
        noise : dict of Tensor, optional
            Standard-normal noise by parameter name, see
            `~cosmiq_astro.models.layers.sample_weights`; None for the
            posterior means.

        Returns
        -------
        logits : Tensor
            Shape ``(n, 1, ny, nx)``.
        kl : Tensor
            A scalar, nats, summed over all variational parameters.
        """
        weights = sample_weights(self.network, noise=noise)[0] if noise else {}
        return functional_call(self.network, weights, (inputs,)), kl_divergence(self.network)
