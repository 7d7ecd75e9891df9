"""
Uncertainty without draws, for a network whose head alone is variational.

Of the maps x that the head sees, the logit of a pixel is Gaussian then, and exactly so: its mean is
``w · x + b``, its variance ``σ_w² · x² + σ_b²``. The planes are integrals over it.
"""

import math

import torch

__all__ = ["QUANTILES", "QUANTILE_WEIGHTS", "GaussianHead"]

# The trapezoidal rule, in standard deviations. A logistic function is so smooth that half of
# one will do up to a standard deviation of eight of the logit; Gauss-Hermite nodes, placed for
# polynomials, need three times as many for it.
QUANTILES = tuple(0.5 * i for i in range(-7, 8))
"""Standard deviations from the mean at which a logit is looked at."""
_density = [math.exp(-(z**2) / 2) for z in QUANTILES]
QUANTILE_WEIGHTS = tuple(density / sum(_density) for density in _density)
"""How much each counts."""


class GaussianHead:
    """
    The head of a variational network, with all of its posterior at once.

    Parameters
    ----------
    network : `~cosmiq_astro.models.unet.UNet`
        One whose head alone is variational.
    temperature : float, optional
        Divides the logits.
    """

    def __init__(self, network, *, temperature=1.0):
        head, sigma = network.head, network.head.posterior_sigma()
        self._mean = head.weight.flatten() / temperature, head.bias / temperature
        self._variance = [
            (sigma[part].flatten() / temperature).square() for part in ("weight", "bias")
        ]

    def logits(self, maps):
        """
        Yield the logits at each of `QUANTILES`.

        Parameters
        ----------
        maps : Tensor
            From a `~cosmiq_astro.models.last_block.LastBlock`, float32, shape ``(n, ny, nx,
            n_maps)``.

        Yields
        ------
        logits : Tensor
            float32, shape ``(n, ny, nx)``; each may be changed.
        """
        mean, variance = (
            x @ weight + bias
            for x, (weight, bias) in ((maps, self._mean), (maps.square(), self._variance))
        )
        spread = variance.sqrt_()
        for quantile in QUANTILES:
            yield torch.add(mean, spread, alpha=quantile)
