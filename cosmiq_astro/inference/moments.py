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

import numpy as np
import torch
from torch.nn import functional

from cosmiq_astro.models.fast_unet import to_one_map

__all__ = [
    "convolve_moments",
    "logistic_moments",
    "rectify_moments",
    "run_moments",
]

_N_NODES = 11
# Rows at a time, so that the moments of all maps stay in the caches: chosen by measurement.
_BAND = 176


def run_moments(features, temperature):
    """
    Propagate mean and variance over a tile's core.

    Parameters
    ----------
    features : `~cosmiq_astro.models.fast_unet.Features`
        Of a tile, for variational networks that are equally likely.
    temperature : float
        Divides the logits.

    Returns
    -------
    planes : list of Tensor
        Mean and standard deviation of the probability, and mean entropy
        (nats), each of shape ``(ny, nx)``.
    """
    looks = [(last.networks, seen.skip) for last, seen in features]
    with _in_float32(looks[0][1]):
        each = [
            _moments(network, seen.float(), temperature)
            for networks, seen in looks
            for network in networks
        ]
    ny, nx = features.first.shape
    p, std, entropy = (torch.stack(planes)[:, :ny, :nx] for planes in zip(*each, strict=True))
    mean = p.mean(0)
    # Var[p] = E[Var[p | network]] + Var[E[p | network]]
    variance = (std.square() + (p - mean).square()).mean(0)
    return [mean, variance.sqrt(), entropy.mean(0)]


def _in_float32(seen):
    """Return a context in which nothing is computed with less: variances would not bear it."""
    if seen.dtype == torch.float32:
        return nullcontext()
    return torch.autocast(seen.device.type, enabled=False)


def _moments(network, seen, temperature):
    """Return mean, standard deviation and mean entropy of one network, shape ``(ny, nx)``."""
    border = 2 * network.finish_radius
    bands = [
        logistic_moments(
            *_logit_moments(network, seen[:, :, row : row + _BAND + border], temperature)
        )
        for row in range(0, seen.shape[2] - border, _BAND)
    ]
    return [torch.cat(planes) for planes in zip(*bands, strict=True)]


def _logit_moments(network, seen, temperature):
    """Return mean and variance of the logit, away from the border, shape ``(ny, nx)``."""
    mean, variance = seen, None
    if len(network.merge):
        for layer in network.merge[0]:
            mean, variance = rectify_moments(*convolve_moments(layer, mean, variance))
    mean, variance = convolve_moments(network.head, mean, variance)
    rows, columns = (
        slice(network.finish_radius, n - network.finish_radius) for n in mean.shape[2:]
    )
    return mean[0, 0, rows, columns] / temperature, variance[0, 0, rows, columns] / temperature**2


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
        Of the output.
    """
    output, spread = _convolve(layer, mean, layer.weight, layer.bias), 0.0
    if hasattr(layer, "posterior_sigma"):
        sigma = layer.posterior_sigma()
        square = mean.square() if variance is None else torch.addcmul(variance, mean, mean)
        spread = _convolve(layer, square, sigma["weight"].square(), sigma["bias"].square())
    if variance is not None:
        spread = spread + _convolve(layer, variance, layer.weight.square())
    return output, spread if torch.is_tensor(spread) else torch.zeros_like(output)


def _convolve(layer, x, weight, bias=None):
    if weight.shape[0] == 1 and layer.kernel_size == (1, 1):
        return to_one_map(x, weight, 0.0 if bias is None else bias)[:, None]
    return functional.conv2d(x, weight, bias, padding=layer.padding)


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


def logistic_moments(mean, variance):
    """
    Mean and standard deviation of the probability, and its mean entropy, for a Gaussian logit.

    By Gauss-Hermite quadrature with 11 nodes.

    Parameters
    ----------
    mean, variance : Tensor
        Of the logit.

    Returns
    -------
    p, std, entropy : Tensor
        Mean and standard deviation of its sigmoid, and mean entropy, nats.
    """
    nodes, weights = np.polynomial.hermite_e.hermegauss(_N_NODES)
    spread = variance.sqrt()
    p, square, entropy = (torch.zeros_like(mean) for _ in range(3))
    for node, weight in zip(nodes.tolist(), (weights / weights.sum()).tolist(), strict=True):
        logits = torch.add(mean, spread, alpha=node)
        q = torch.sigmoid(logits)
        p.add_(q, alpha=weight)
        square.addcmul_(q, q, value=weight)
        # H = softplus(l) - l p
        entropy.add_(functional.softplus(logits), alpha=weight).addcmul_(logits, q, value=-weight)
    return p, (square - p.square()).clamp_min(0).sqrt(), entropy
