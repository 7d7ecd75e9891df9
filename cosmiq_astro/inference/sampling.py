"""Weight draws and the loop over tiles: the sampling engine."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch.nn import functional

from cosmiq_astro.inference.tiling import plan_tiles
from cosmiq_astro.inference.uncertainty import RunningMoments
from cosmiq_astro.models.layers import sample_weights
from cosmiq_astro.models.unet import empty_unet

__all__ = ["SAMPLING", "Draws", "draw_networks", "predict"]

SAMPLING = ("antithetic", "independent", "mean")


@dataclass(frozen=True)
class Draws:
    """
    Planes that a network gives for one image.

    Attributes
    ----------
    probability : ndarray of float32
        Mean probability over the draws.
    std : ndarray of float32
        Standard deviation (ddof 0) of the probability over the draws.
    mean_entropy : ndarray of float32
        Mean over the draws of the entropy of each, nats.
    """

    probability: np.ndarray
    std: np.ndarray
    mean_entropy: np.ndarray


@torch.no_grad()
def draw_networks(network, T, *, sampling="antithetic", seed):
    """
    Draw the weights of a variational network ``T`` times.

    Parameters
    ----------
    network : `~cosmiq_astro.models.unet.UNet`
        The network; it is not changed, so threads may share it.
    T : int
        Number of draws, 1 or more.
    sampling : {'antithetic', 'independent', 'mean'}
        ``'antithetic'`` draws pairs of opposite noise, which cancels the
        error of p̂ that is odd in the noise; ``'mean'`` is one network with
        the posterior means.
    seed : int
        Seed of the draws. Draw ``t`` is the same for any ``T`` above it.

    Returns
    -------
    networks : list of `~cosmiq_astro.models.unet.UNet`
        Deterministic networks on the device of ``network``. Parameters that
        are not drawn are shared, not copied.
    """
    if sampling == "mean":
        return [_deterministic(network, {})]
    generator = torch.Generator().manual_seed(seed)
    networks = []
    while len(networks) < T:
        weights, noise = sample_weights(network, generator)
        networks.append(_deterministic(network, weights))
        if sampling == "antithetic" and len(networks) < T:
            opposite, _ = sample_weights(network, noise={k: -e for k, e in noise.items()})
            networks.append(_deterministic(network, opposite))
    return networks


def _deterministic(network, weights):
    """Return a plain network with the drawn weights in place of the posteriors."""
    plain = empty_unet(replace(network.config, variational=())).requires_grad_(False)
    given = network.state_dict() | weights
    plain.load_state_dict({name: given[name] for name in plain.state_dict()}, assign=True)
    return plain.eval().to(memory_format=torch.channels_last)


@torch.inference_mode()
def predict(networks, read, shape, *, temperature=1.0, tile_size, progress=lambda tiles: tiles):
    """
    Run every network over every tile of an image.

    Parameters
    ----------
    networks : list of `~cosmiq_astro.models.unet.UNet`
        From `draw_networks`; every tile sees the same ones.
    read : callable
        ``read(tile)`` returns the input channels of a tile, float32 of shape
        ``(n_channels, rows, columns)``.
    shape : tuple of int
        ``(ny, nx)`` of the image.
    temperature : float, optional
        Divides the logits of each draw.
    tile_size : int
        Largest side of a tile's core.
    progress : callable, optional
        Wraps the list of tiles, as `tqdm.tqdm` does.

    Returns
    -------
    result : `Draws`
        Full-size planes.
    """
    first = networks[0]
    device = first.head.weight.device
    probability, std, entropy = (np.empty(shape, dtype=np.float32) for _ in range(3))
    tiles = plan_tiles(shape, tile_size, halo=first.receptive_radius, grid=first.grid)
    # Where all networks have the same first layers, these look at each tile once.
    shared = len(networks) > 1 and all(_same_features(first, other) for other in networks[1:])
    for tile in progress(tiles):
        inputs = torch.from_numpy(read(tile))[None].to(device)
        inputs = inputs.contiguous(memory_format=torch.channels_last)
        moments, mean_entropy = RunningMoments(), 0.0
        features = first.features(inputs) if shared else None
        for network in networks:
            logits = network.finish(features) if shared else network(inputs)
            logits = logits[0, 0][tile.crop]
            if temperature != 1:
                logits = logits / temperature
            p = torch.sigmoid(logits)
            moments.update(p)
            # H = softplus(l) - l p, exact for any logit; no logarithm of a rounded probability.
            mean_entropy = mean_entropy + (functional.softplus(logits) - logits * p)
        probability[tile.write] = moments.mean.cpu().numpy()
        std[tile.write] = moments.std().cpu().numpy() if len(networks) > 1 else 0.0
        entropy[tile.write] = (mean_entropy / len(networks)).cpu().numpy()
    return Draws(probability=probability, std=std, mean_entropy=entropy)


def _same_features(one, other):
    """Tell whether two networks share all parameters but those of the last block."""
    last = ("merge.0.", "head.")
    pairs = zip(one.named_parameters(), other.parameters(), strict=True)
    return all(a.data_ptr() == b.data_ptr() for (name, a), b in pairs if not name.startswith(last))
