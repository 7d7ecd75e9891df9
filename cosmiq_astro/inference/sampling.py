"""Weight draws and the loop over tiles: the sampling engine."""

import math
from dataclasses import dataclass, replace

import numpy as np
import torch

from cosmiq_astro.inference._draw import Features, Sums, inner
from cosmiq_astro.inference.adaptive import BLOCK_SIZE, run_adaptive
from cosmiq_astro.inference.moments import run_moments
from cosmiq_astro.inference.novelty import HitFeatures, features_of_hits
from cosmiq_astro.inference.tiling import plan_tiles
from cosmiq_astro.models.layers import sample_weights, variational_layers
from cosmiq_astro.models.unet import empty_unet

__all__ = ["SAMPLING", "Draws", "draw_networks", "predict", "same_features"]

SAMPLING = ("antithetic", "adaptive", "independent", "moments", "mean")
_LAST_BLOCK = ("merge.0.", "head")


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
    hits : `~cosmiq_astro.inference.novelty.HitFeatures`
        What the networks see at the hits; empty where they share no layers.
    n_draws : ndarray of int32 or None
        How many draws each pixel had; None where all had as many.
    """

    probability: np.ndarray
    std: np.ndarray
    mean_entropy: np.ndarray
    hits: HitFeatures
    n_draws: np.ndarray | None = None


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
    sampling : {'antithetic', 'adaptive', 'independent', 'moments', 'mean'}
        ``'antithetic'`` and ``'adaptive'`` draw pairs of opposite noise, which
        cancels the error of p̂ that is odd in the noise; ``'moments'`` is the
        variational network itself, and ``'mean'`` one network with the
        posterior means.
    seed : int
        Seed of the draws. Draw ``t`` is the same for any ``T`` above it.

    Returns
    -------
    networks : list of `~cosmiq_astro.models.unet.UNet`
        Deterministic networks on the device of ``network``. Parameters that
        are not drawn are shared, not copied.

    Raises
    ------
    ValueError
        If the sampling is ``'moments'`` or ``'adaptive'`` and weights are drawn
        before the last block; the layer is named.
    """
    if sampling in ("moments", "adaptive"):
        _check_last_block(network, sampling)
    if sampling == "moments":
        return [network]
    if sampling == "mean":
        return [_deterministic(network, {})]
    generator = torch.Generator().manual_seed(seed)
    networks = []
    while len(networks) < T:
        weights, noise = sample_weights(network, generator)
        networks.append(_deterministic(network, weights))
        if sampling != "independent" and len(networks) < T:
            opposite, _ = sample_weights(network, noise={k: -e for k, e in noise.items()})
            networks.append(_deterministic(network, opposite))
    return networks


def _check_last_block(network, sampling):
    others = [name for name in variational_layers(network) if not name.startswith(_LAST_BLOCK)]
    if others:
        raise ValueError(
            f"sampling={sampling!r} needs a model that draws weights in its last block alone "
            f"(merge.0.*, head), and this one does in {', '.join(others)}; use 'antithetic'"
        )


def _deterministic(network, weights):
    """Return a plain network with the drawn weights in place of the posteriors."""
    plain = empty_unet(replace(network.config, variational=())).requires_grad_(False)
    given = network.state_dict() | weights
    plain.load_state_dict({name: given[name] for name in plain.state_dict()}, assign=True)
    return plain.eval().to(memory_format=torch.channels_last)


@torch.inference_mode()
def predict(
    networks,
    read,
    shape,
    *,
    sampling="antithetic",
    temperature=1.0,
    tile_size,
    progress=lambda tiles: tiles,
):
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
    sampling : str, optional
        What the networks were drawn for. ``'moments'`` makes one pass
        (`~cosmiq_astro.inference.moments.run_moments`), ``'adaptive'`` draws
        on where the first draws see something
        (`~cosmiq_astro.inference.adaptive.run_adaptive`).
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
    run = {"moments": run_moments, "adaptive": run_adaptive}.get(sampling, _run)
    planes = [np.empty(shape, dtype=np.float32) for _ in range(3)]
    grid = first.grid
    if sampling == "adaptive":
        planes.append(np.empty(shape, dtype=np.int32))
        grid = math.lcm(grid, BLOCK_SIZE)
    # Where all networks have the same first layers, these look at each tile once.
    common = first if same_features(networks) else None
    tiles = plan_tiles(shape, tile_size, halo=first.receptive_radius, grid=grid)
    hits = HitFeatures()
    for tile in progress(tiles):
        inputs = torch.from_numpy(read(tile))[None].to(device)
        inputs = inputs.contiguous(memory_format=torch.channels_last)
        features = Features(inputs, tile.crop, common)
        found = run(networks, features, temperature)
        if common is not None:
            hits.add(features_of_hits(inner(common, features.common[0]), found[0]))
        for plane, values in zip(planes, found, strict=True):
            plane[tile.write] = values.cpu().numpy()
    return Draws(*planes[:3], hits, *planes[3:])


def _run(networks, features, temperature):
    """Return mean, standard deviation and mean entropy of all draws, shape ``(ny, nx)``."""
    sums = Sums()
    for network in networks:
        sums.add(network, features(network), temperature)
    return [plane[0] for plane in sums.planes()]


def same_features(networks):
    """
    Tell whether networks share all parameters but those of the last block.

    Parameters
    ----------
    networks : list of `~cosmiq_astro.models.unet.UNet`
        From `draw_networks`.

    Returns
    -------
    same : bool
        Whether one of them can look at an image for all.
    """
    first, *others = networks
    return all(
        a.data_ptr() == b.data_ptr()
        for other in others
        for (name, a), b in zip(first.named_parameters(), other.parameters(), strict=True)
        if not name.startswith(_LAST_BLOCK)
    )
