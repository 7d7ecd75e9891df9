r"""
Uncertainty without draws: mean and variance propagated through the last block in one pass.

What the layers before the last block hand on does not depend on the drawn
weights, so a first variational convolution makes exactly Gaussian outputs;
what follows is treated as Gaussian and independent between pixels and maps
(assumed density filtering; Frey & Hinton 1999, Neural Comput. 11, 193;
Gast & Roth 2018, arXiv:1805.11327).
"""

import math
from contextlib import nullcontext

import torch
from torch.nn import functional

from cosmiq_astro.models.last_block import last_layers

__all__ = ["QUANTILES", "QUANTILE_WEIGHTS", "MomentsBlock", "convolve_moments", "rectify_moments"]

# The trapezoidal rule, in standard deviations. A logistic function is so smooth that half of
# one will do up to a standard deviation of eight of the logit; Gauss-Hermite nodes, placed for
# polynomials, need three times as many for it.
QUANTILES = tuple(0.5 * i for i in range(-7, 8))
"""Standard deviations from the mean at which a logit is looked at."""
_density = [math.exp(-(z**2) / 2) for z in QUANTILES]
QUANTILE_WEIGHTS = tuple(density / sum(_density) for density in _density)
"""How much each counts."""
# Rows at a time, so that the moments of all maps stay in the caches: chosen by measurement.
_BAND = 176


class MomentsBlock:
    """
    The last block of a variational network, with all of its posterior at once.

    Parameters
    ----------
    network : `~cosmiq_astro.models.unet.UNet`
        One that draws weights in its last block alone.
    """

    def __init__(self, network):
        self._layers = list(last_layers(network).values())

    def logits(self, seen):
        """
        Yield the logits at each of `QUANTILES`.

        Parameters
        ----------
        seen : `~cosmiq_astro.models.fast_unet.Seen`
            Of one or more tiles.

        Yields
        ------
        logits : Tensor
            float32, of the pixels that it is seen for, shape ``(n, ny, nx)``.
        """
        (x, _), (ny, nx) = seen.lifted().planes, seen.shape
        border = 2 * seen.edge
        with _in_float32(x):
            bands = [
                self._logit_moments(x[:, :, row : row + _BAND + border].float())
                for row in range(0, x.shape[2] - border, _BAND)
            ]
        mean, variance = (
            torch.cat(planes, dim=2)[:, 0, :ny, :nx] for planes in zip(*bands, strict=True)
        )
        spread = variance.sqrt()
        for quantile in QUANTILES:
            yield torch.add(mean, spread, alpha=quantile)

    def _logit_moments(self, x):
        """Return mean and variance of the logit, shape ``(n, 1, ny, nx)``."""
        mean, variance = x, None
        *layers, head = self._layers
        for layer in layers:
            mean, variance = rectify_moments(*convolve_moments(layer, mean, variance))
        return convolve_moments(head, mean, variance)


def _in_float32(x):
    """Return a context in which nothing is computed with less: variances would not bear it."""
    if x.dtype == torch.float32:
        return nullcontext()
    return torch.autocast(x.device.type, enabled=False)


def convolve_moments(layer, mean, variance):
    """
    Mean and variance of a convolution's output, of independent inputs and weights.

    ``Var[w x] = σ² (m² + v) + µ² v``, summed over the kernel.

    Parameters
    ----------
    layer : torch.nn.Conv2d
        Variational or not.
    mean : Tensor
        Mean of the input, shape ``(n, n_maps, ny, nx)``.
    variance : Tensor or None
        Its variance; None if it is certain.

    Returns
    -------
    mean, variance : Tensor
        Of the output, where it needs no padding.
    """
    output = functional.conv2d(mean, layer.weight, layer.bias)
    spread = torch.zeros_like(output)
    if hasattr(layer, "posterior_sigma"):
        sigma = layer.posterior_sigma()
        square = mean.square() if variance is None else torch.addcmul(variance, mean, mean)
        spread = functional.conv2d(square, sigma["weight"].square(), sigma["bias"].square())
    if variance is not None:
        spread = spread + functional.conv2d(variance, layer.weight.square())
    return output, spread


def rectify_moments(mean, variance):
    """
    Mean and variance of max(x, 0) for Gaussian x.

    With a = m / s, half the mean of abs(x) is ``h = s φ(a) + m erf(a / √2) / 2``. The mean is
    ``h + m / 2``, that of max(-x, 0) is ``h - m / 2``, and the variance ``v Φ(a)`` minus the
    product of the two: a form that does not cancel (from Frey & Hinton 1999, Neural Comput. 11,
    193, appendix).

    Parameters
    ----------
    mean, variance : Tensor
        Of x.

    Returns
    -------
    mean, variance : Tensor
        Of max(x, 0).
    """
    half, spread = mean / 2, variance / 2
    scale = (spread + 1e-20).rsqrt_()
    # a / sqrt 2. Farther out nothing changes, but for subnormal numbers, which are slow.
    x = (half * scale).clamp_(-6.4, 6.4)
    above = torch.erf(x)
    height = x.square_().neg_().sub_(math.log(math.pi) / 2).exp_().div_(scale)
    both = height.addcmul_(half, above)
    rectified = torch.add(both, half, out=scale).clamp_min_(0)
    opposite = both.sub_(half)
    spread.addcmul_(spread, above).addcmul_(rectified, opposite, value=-1)
    return rectified, spread.clamp_min_(0)
