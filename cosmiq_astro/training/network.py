"""The networks that are trained: their start, their loss, and the widths of their posterior."""

import copy
from dataclasses import replace
from fnmatch import fnmatchcase
from itertools import product

import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional

from cosmiq_astro.models.layers import (
    inverse_softplus,
    kl_divergence,
    sample_weights,
    variational_layers,
)
from cosmiq_astro.models.unet import UNetConfig, empty_unet, initialize_weights

__all__ = [
    "ElboNetwork",
    "Networks",
    "Teacher",
    "freeze_layers",
    "masked_cross_entropy",
    "solve_sigma",
    "start_networks",
]

_RELATIVE_SIGMA = 0.05  # of the draws while the means are being found
_ROUNDS = 5


class Networks(nn.ModuleList):
    """
    Networks of one configuration, side by side: each is trained as if it were alone.

    Parameters
    ----------
    networks : iterable of `~cosmiq_astro.models.unet.UNet`
        One or more.
    """

    @property
    def config(self):
        """Configuration of each."""
        return self[0].config

    @property
    def grid(self):
        """As of `~cosmiq_astro.models.unet.UNet`."""
        return self[0].grid

    def forward(self, x):
        """
        Return the logits of each.

        Parameters
        ----------
        x : Tensor
            Shape ``(n, n_channels, ny, nx)``.

        Returns
        -------
        logits : Tensor
            Shape ``(n, n_networks, ny, nx)``.
        """
        return torch.cat([network(x) for network in self], dim=1)


def start_networks(bayesian, init, hidden, settings, seed):
    """
    Make the networks to train.

    Parameters
    ----------
    bayesian, init, hidden : object
        As in `~cosmiq_astro.training.train`; ``init`` a
        `~cosmiq_astro.models.model.Model` or None.
    settings : `~cosmiq_astro.training.TrainingSettings`
        Of which ``variational`` counts.
    seed : int
        Of the first weights.

    Returns
    -------
    networks : `Networks`
        On the CPU: one, or if ``bayesian`` as many as ``init`` has.
    """
    patterns = _patterns(bayesian, init, settings.variational)
    generator = torch.Generator().manual_seed(seed)
    if init is None:
        config = UNetConfig(hidden=hidden, variational=patterns)
        networks = Networks([initialize_weights(empty_unet(config), generator)])
    else:
        config, networks = replace(init.network.config, variational=patterns), Networks()
        for begun in init.networks if bayesian else [init.network]:
            networks.append(initialize_weights(empty_unet(config), generator))
            networks[-1].load_state_dict(begun.state_dict(), strict=False)
            _set_priors(networks[-1], begun)
    for layer in variational_layers(networks).values():
        # Solved for in the end, not descended to.
        layer.weight_rho.requires_grad_(False)
        layer.bias_rho.requires_grad_(False)
    return networks


def _patterns(bayesian, init, wanted):
    if not bayesian:
        return ()
    if wanted is not None:
        return tuple(wanted)
    return (init.network.config.variational if init is not None else ()) or ("*",)


def _set_priors(network, begun):
    """Make the posterior of a network the prior where it has one; else a width of the layer."""
    known = variational_layers(begun)
    for name, layer in variational_layers(network).items():
        if name in known:
            other = known[name]
            layer.set_prior({"weight": other.weight, "bias": other.bias}, other.posterior_sigma())
        else:
            layer.set_prior_sigma(layer.weight.detach().square().mean().sqrt())
            layer.set_posterior_sigma(relative=_RELATIVE_SIGMA)


def freeze_layers(networks, patterns):
    """
    Keep the layers that fit a pattern out of training.

    Parameters
    ----------
    networks : `Networks`
        Their parameters are marked in place.
    patterns : tuple of str
        Patterns (`fnmatch`) of layer names.

    Raises
    ------
    ValueError
        If a pattern fits no layer, or no layer is left to train.
    """
    names = [
        name
        for name, module in networks[0].named_modules()
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d)
    ]
    for pattern in patterns:
        chosen = [name for name in names if fnmatchcase(name, pattern)]
        if not chosen:
            raise ValueError(
                f"freeze has {pattern!r}, which fits no layer; the layers are {', '.join(names)}"
            )
        for network, name in product(networks, chosen):
            network.get_submodule(name).requires_grad_(False)
    if not any(parameter.requires_grad for parameter in networks.parameters()):
        raise ValueError(f"freeze={patterns} leaves no layer to train")


def masked_cross_entropy(logits, labels, valid):
    """
    Mean binary cross-entropy over the valid pixels, summed over the networks.

    Parameters
    ----------
    logits : Tensor
        Shape ``(n, n_networks, ny, nx)``.
    labels : Tensor
        Shape ``(n, 1, ny, nx)``, 0 or 1.
    valid : Tensor of bool
        Pixels that count; the others enter neither the sum nor the mean.

    Returns
    -------
    loss : Tensor
        A scalar, nats per valid pixel; 0 if no pixel is valid.
    """
    loss = _cross_entropy(logits, labels)
    return torch.where(valid, loss, 0).sum() / valid.sum().clamp_min(1)


def _cross_entropy(logits, labels):
    """Return the binary cross-entropy of each pixel and network, to labels that they share."""
    labels = labels.expand_as(logits)
    return functional.binary_cross_entropy_with_logits(logits.float(), labels, reduction="none")


class Teacher:
    """
    The model that training begins from, asked about the pixels whose label is not known.

    Labels leave out what they cannot decide: bled charge, hot pixels, what was found already. A
    network that sees the rest alone forgets what these are, and no score on labelled pixels tells.
    So it is held to what the model said of them before (Li & Hoiem 2016, arXiv:1606.09282,
    eq. 2).

    Parameters
    ----------
    model : `~cosmiq_astro.models.model.Model`
        It is copied; of a posterior the means speak, in one view, before any recalibration.
    device : torch.device
        Where to compute.
    """

    def __init__(self, model, device):
        self._networks = Networks(copy.deepcopy(model.networks)).to(device)
        self._temperature = model.temperature

    @torch.no_grad()
    def probability(self, inputs):
        """
        Return what it takes for probable.

        Parameters
        ----------
        inputs : Tensor
            Shape ``(n, n_channels, ny, nx)``.

        Returns
        -------
        probability : Tensor
            Shape ``(n, 1, ny, nx)``, of the mean weights.
        """
        logits = self._networks(inputs).float() / self._temperature
        return torch.sigmoid(logits).mean(1, keepdim=True)

    def loss(self, inputs, logits, valid, silent):
        """
        Return the cross-entropy of a network's probabilities to its own, where labels are silent.

        Parameters
        ----------
        inputs, logits, valid, silent : Tensor
            Of a batch, see `~cosmiq_astro.training.datasets.make_batch`.

        Returns
        -------
        loss : Tensor
            A scalar, nats: the sum, over the number of pixels with and without a label.
        """
        asked = silent.flatten(1).any(1)
        if not asked.any():
            return logits.new_zeros(())
        told = self.probability(inputs[asked])
        loss = _cross_entropy(logits[asked], told)
        return torch.where(silent[asked], loss, 0).sum() / (valid | silent).sum()


class ElboNetwork(nn.Module):
    """
    Networks that draw their weights in each forward pass and report their KL divergence.

    Parameters
    ----------
    network : `Networks`
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
            Shape ``(n, n_networks, ny, nx)``.
        kl : Tensor
            A scalar, nats, summed over all variational parameters.
        """
        weights = sample_weights(self.network, noise=noise)[0] if noise else {}
        return functional_call(self.network, weights, (inputs,)), kl_divergence(self.network)


def solve_sigma(network, batches, n_data, *, kl_beta=1.0, generator, rounds=_ROUNDS):
    r"""
    Set the standard deviations of variational networks to those that the ELBO asks for.

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
    network : `~cosmiq_astro.models.unet.UNet` or `Networks`
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
