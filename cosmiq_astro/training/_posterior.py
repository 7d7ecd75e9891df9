"""The standard deviations of a posterior, solved for rather than descended to."""

import torch
from torch.func import functional_call

from cosmiq_astro.models.layers import inverse_softplus, sample_weights, variational_layers

__all__ = ["doubt_of_prior", "solve_sigma"]

_ROUNDS = 5


def solve_sigma(network, batches, n_data, *, kl_beta=1.0, generator, rounds=_ROUNDS):
    r"""
    Set the standard deviations of a variational network to those that the ELBO asks for.

    Where the ELBO of a Gaussian posterior is largest, ``1 / σ² = 1 / σ_p² + N
    E[∂²NLL / ∂w²] / kl_beta`` for each weight, the mean being that over the
    posterior itself and NLL the negative log-likelihood per pixel (Opper &
    Archambeau 2009, Neural Computation 21, 786). The second derivative is taken as
    Gauss and Newton do, ``p (1 - p) (∂logit / ∂w)²``, and its sum over the pixels as
    the square of one derivative, of the sum of the logits times ``±√(p (1 - p))``
    with random signs (Hutchinson). Gradient descent comes to the same
    place, but so slowly that what it ends at is what it began with.

    Parameters
    ----------
    network : `~cosmiq_astro.models.unet.UNet`
        Variational; changed in place.
    batches : list of tuple
        Inputs, shape ``(n, n_channels, ny, nx)``, and a boolean Tensor of the pixels
        that count, shape ``(n, 1, ny, nx)``. The relative error of σ is
        ``1 / √(2 len(batches))``.
    n_data : float
        N, pixels that the posterior has seen.
    kl_beta : float, optional
        Weight of the KL term, positive.
    generator : torch.Generator
        Source of the draws and the signs, on the CPU.
    rounds : int, optional
        How often to go from the posterior to its curvature and back; halfway, after
        the first time.
    """
    layers = variational_layers(network)
    for done in range(rounds):
        curvature = _curvature(network, batches, generator)
        for name, layer in layers.items():
            for part, (_, prior) in layer.prior().items():
                fitted = n_data / kl_beta * curvature[f"{name}.{part}"]
                sigma = (prior**-2 + fitted) ** -0.5
                if done:
                    # Halfway: where data are few, wide and narrow widths ask for one another.
                    sigma = (sigma * layer.posterior_sigma()[part]).sqrt()
                getattr(layer, f"{part}_rho").data.copy_(inverse_softplus(sigma))


def _curvature(network, batches, generator):
    """Return the mean of p (1 - p) (∂logit / ∂w)² over pixels and draws, by parameter."""
    sums, n_pixels = {}, 0
    for inputs, valid in batches:
        draw, _ = sample_weights(network, generator)
        draw = {key: value.detach().requires_grad_() for key, value in draw.items()}
        logits = functional_call(network, draw, (inputs,))
        p = torch.sigmoid(logits.detach())
        sign = 2.0 * torch.randint(2, p.shape, generator=generator).to(p) - 1
        score = (sign * torch.sqrt(p * (1 - p)) * valid * logits).sum()
        for key, slope in zip(draw, torch.autograd.grad(score, list(draw.values())), strict=True):
            sums[key] = sums.get(key, 0) + slope.square()
        n_pixels += valid.sum()
    return {key: total / n_pixels.clamp_min(1) for key, total in sums.items()}


def doubt_of_prior(kl, loss):
    """
    Say so where the prior outweighs the data: the network would rather be ignorant.

    Parameters
    ----------
    kl, loss : float
        The KL term, its weight included, and the data term; nats per pixel.

    Returns
    -------
    doubt : str
        A sentence; empty where the data outweigh the prior.
    """
    if kl <= loss:
        return ""
    return (
        f"the KL term ({kl:.3g} nats per pixel) exceeds the data term ({loss:.3g}): the prior "
        "outweighs so few pixels; give more frames, begin from a variational model, or lower "
        "kl_beta"
    )
