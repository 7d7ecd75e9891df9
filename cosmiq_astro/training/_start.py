"""The network that training starts from, and which of its layers stay as they are."""

from dataclasses import replace
from fnmatch import fnmatchcase

import torch
from torch import nn

from cosmiq_astro.models.layers import variational_layers
from cosmiq_astro.models.model import Model, load_model
from cosmiq_astro.models.unet import UNetConfig, empty_unet, initialize_weights

__all__ = ["freeze_layers", "start_network"]

# In a run of usual length the standard deviations stay near where they begin. With 5 % of the
# weights all draws agree, and nothing is gained by them (docs/validation).
_RELATIVE_SIGMA = 0.25


def start_network(bayesian, init, hidden, growth, variational, seed):
    """
    Make the network to train.

    Parameters
    ----------
    bayesian, init, hidden, growth, variational, seed : object
        As in `~cosmiq_astro.training.train`.

    Returns
    -------
    network : `~cosmiq_astro.models.unet.UNet`
        On the CPU.
    """
    patterns = tuple(variational) if bayesian else ()
    generator = torch.Generator().manual_seed(seed)
    if init is None:
        config = UNetConfig(hidden=hidden, growth=growth, variational=patterns)
        return initialize_weights(empty_unet(config), generator)
    start = init if isinstance(init, Model) else load_model(init)
    network = empty_unet(replace(start.network.config, variational=patterns))
    initialize_weights(network, generator)
    given = start.network.state_dict()
    network.load_state_dict(
        {k: v for k, v in given.items() if k in network.state_dict()}, strict=False
    )
    if bayesian and start.method == "unet":
        for layer in variational_layers(network).values():
            layer.set_prior_sigma(layer.weight.detach().square().mean().sqrt())
            layer.set_posterior_sigma(relative=_RELATIVE_SIGMA)
    return network


def freeze_layers(network, patterns):
    """
    Keep the layers that fit a pattern out of training.

    Parameters
    ----------
    network : `~cosmiq_astro.models.unet.UNet`
        Its parameters are marked in place.
    patterns : tuple of str
        Patterns (`fnmatch`) of layer names.

    Raises
    ------
    ValueError
        If a pattern fits no layer, or no layer is left to train.
    """
    layers = {
        n: m for n, m in network.named_modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)
    }
    for pattern in patterns:
        chosen = [layer for name, layer in layers.items() if fnmatchcase(name, pattern)]
        if not chosen:
            raise ValueError(
                f"freeze has {pattern!r}, which fits no layer; the layers are {', '.join(layers)}"
            )
        for layer in chosen:
            layer.requires_grad_(False)
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise ValueError(f"freeze={patterns} leaves no layer to train")
