"""Variational convolutions: Gaussian posteriors over weights and biases, KL in closed form."""

import torch
from torch import nn
from torch.nn import functional

__all__ = [
    "VariationalConv2d",
    "VariationalConvTranspose2d",
    "gaussian_kl",
    "inverse_softplus",
    "kl_divergence",
    "sample_weights",
    "turn_kernels",
    "variational_layers",
]


def inverse_softplus(sigma):
    r"""
    Return ρ such that softplus(ρ) = σ.

    Parameters
    ----------
    sigma : Tensor
        Standard deviations, positive.

    Returns
    -------
    rho : Tensor
        ``log(exp(sigma) - 1)``, computed without overflow.
    """
    return sigma + torch.log(-torch.expm1(-sigma))


def gaussian_kl(mu, sigma, prior_sigma, prior_mu=0.0):
    r"""
    KL divergence from N(µ_p, σ_p²) to N(µ, σ²), summed over the elements.

    Per element it is ``log(σ_p/σ) + (σ² + (µ − µ_p)²)/(2 σ_p²) − 1/2``
    (Blundell et al. 2015, arXiv:1505.05424, in closed form for Gaussians).

    Parameters
    ----------
    mu, sigma : Tensor
        Means and standard deviations of the posterior.
    prior_sigma : Tensor or float
        Standard deviation of the prior.
    prior_mu : Tensor or float, optional
        Mean of the prior.

    Returns
    -------
    kl : Tensor
        A scalar, nats, not negative.
    """
    ratio = sigma / prior_sigma
    distance = (mu - prior_mu) / prior_sigma
    return (0.5 * (ratio**2 + distance**2 - 1) - torch.log(ratio)).sum()


_PRIOR = ("weight_prior_mean", "weight_prior_sigma", "bias_prior_mean", "bias_prior_sigma")


class _Variational:
    """
    Adds a Gaussian posterior to a convolution.

    ``weight`` and ``bias`` hold the means, ``weight_rho`` and ``bias_rho``
    the standard deviations through σ = softplus(ρ). The forward pass is the
    plain convolution with whatever ``weight`` and ``bias`` are: the means,
    or the draws that `torch.func.functional_call` puts in their place. So
    there is one code path for both, for transposed convolutions too.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.weight_rho = nn.Parameter(torch.full_like(self.weight, -5.0))
        self.bias_rho = nn.Parameter(torch.full_like(self.bias, -5.0))
        self.register_buffer("prior_sigma", torch.ones(()))
        # Of a prior that is another posterior; kept by who trains, not in a file of weights.
        for name in _PRIOR:
            self.register_buffer(name, None, persistent=False)

    @torch.no_grad()
    def set_posterior_sigma(self, *, relative):
        """Set σ to ``relative`` × |µ|, never below ``relative`` × 5 % of the layer's rms weight."""
        rms = self.weight.square().mean().sqrt()
        for mean, rho in ((self.weight, self.weight_rho), (self.bias, self.bias_rho)):
            sigma = relative * torch.maximum(mean.abs(), 0.05 * rms).clamp_min(1e-6)
            rho.copy_(inverse_softplus(sigma))

    @torch.no_grad()
    def set_prior_sigma(self, sigma):
        """Set the standard deviation of the layer's prior."""
        self.prior_sigma.fill_(sigma)

    @torch.no_grad()
    def set_prior(self, means, sigmas):
        """Make another posterior the prior: ``weight`` and ``bias`` of each dictionary."""
        for part in ("weight", "bias"):
            setattr(self, f"{part}_prior_mean", means[part].clone())
            setattr(self, f"{part}_prior_sigma", sigmas[part].clone())

    def posterior_sigma(self):
        """Return the standard deviations of weight and bias."""
        return {
            "weight": functional.softplus(self.weight_rho),
            "bias": functional.softplus(self.bias_rho),
        }

    def prior(self):
        """Return mean and standard deviation of the prior of weight and bias."""
        return {
            part: (0.0, self.prior_sigma)
            if getattr(self, f"{part}_prior_mean") is None
            else (getattr(self, f"{part}_prior_mean"), getattr(self, f"{part}_prior_sigma"))
            for part in ("weight", "bias")
        }

    def kl_divergence(self):
        """Return the KL divergence of the layer's posterior from its prior, nats."""
        prior = self.prior()
        return sum(
            gaussian_kl(getattr(self, part), sigma, prior[part][1], prior[part][0])
            for part, sigma in self.posterior_sigma().items()
        )


class VariationalConv2d(_Variational, nn.Conv2d):
    """`torch.nn.Conv2d` with a Gaussian posterior over weight and bias."""


class VariationalConvTranspose2d(_Variational, nn.ConvTranspose2d):
    """`torch.nn.ConvTranspose2d` with a Gaussian posterior over weight and bias."""


def variational_layers(network):
    """
    Return the variational layers of a network.

    Parameters
    ----------
    network : torch.nn.Module
        Any network.

    Returns
    -------
    layers : dict
        Layer by name, in the order of the network.
    """
    return {name: m for name, m in network.named_modules() if isinstance(m, _Variational)}


def kl_divergence(network):
    """
    Return the KL divergence of a network's posterior from its prior.

    Parameters
    ----------
    network : torch.nn.Module
        Any network.

    Returns
    -------
    kl : Tensor
        A scalar, nats, summed over all variational parameters; 0 for a
        deterministic network.
    """
    terms = [layer.kl_divergence() for layer in variational_layers(network).values()]
    return torch.stack(terms).sum() if terms else torch.zeros(())


def sample_weights(network, generator=None, *, noise=None):
    """
    Draw the variational weights of a network once, differentiably.

    Parameters
    ----------
    network : torch.nn.Module
        The network.
    generator : torch.Generator, optional
        A generator on the CPU: the noise is drawn there whatever the
        network's device, so that a seed means the same draw everywhere.
    noise : dict of Tensor, optional
        Standard-normal noise by parameter name, instead of fresh draws. An
        antithetic partner is the draw with the negative noise.

    Returns
    -------
    weights, noise : dict of Tensor
        ``weights`` goes into `torch.func.functional_call`; parameters that
        are not variational are left out. ``noise`` is what was used.
    """
    weights, used = {}, {}
    for name, layer in variational_layers(network).items():
        for part, sigma in layer.posterior_sigma().items():
            key, mean = f"{name}.{part}", getattr(layer, part)
            if noise is None:
                epsilon = torch.randn(mean.shape, generator=generator, dtype=torch.float32)
            else:
                epsilon = noise[key]
            used[key] = epsilon
            weights[key] = mean + sigma * epsilon.to(mean.device)
    return weights, used


def turn_kernels(parameters, view):
    """
    Turn the kernels of convolutions.

    A network with turned kernels says of an image turned alike what the
    network itself says of the image, turned.

    Parameters
    ----------
    parameters : dict of Tensor
        Parameters by name; those with four axes are kernels, the last two
        being theirs.
    view : {0, 1, 2, 3}
        As they are, transposed, turned by half a turn, or both.

    Returns
    -------
    turned : dict of Tensor
        The same, kernels turned, in channels-last order, as networks are
        kept.
    """

    def turn(kernel):
        kernel = kernel.transpose(2, 3) if view & 1 else kernel
        kernel = kernel.flip(2, 3) if view & 2 else kernel
        return kernel.contiguous(memory_format=torch.channels_last)

    return {name: turn(value) if value.ndim == 4 else value for name, value in parameters.items()}
