"""Weight draws and the loop over tiles: the sampling engine."""

import copy
import math
from contextlib import nullcontext
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from cosmiq_astro.familiarity.hits import HIT, HitFeatures, describe_hits
from cosmiq_astro.inference.adaptive import BLOCK_SIZE, run_adaptive
from cosmiq_astro.inference.moments import run_moments
from cosmiq_astro.inference.parallel import map_tiles
from cosmiq_astro.inference.tiling import plan_tiles
from cosmiq_astro.models.fast_draws import LAST_BLOCK, LastBlocks, Sums, by_features
from cosmiq_astro.models.fast_unet import Features
from cosmiq_astro.models.layers import sample_weights, turn_kernels, variational_layers
from cosmiq_astro.models.unet import empty_unet

__all__ = ["SAMPLING", "Draws", "computing", "draw_networks", "drawn_early", "predict"]

PRECISION = ("float32", "bfloat16")
SAMPLING = ("antithetic", "adaptive", "independent", "moments", "mean")


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
    hits : `~cosmiq_astro.familiarity.hits.HitFeatures`
        What the first network sees at the hits.
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

    Cosmic rays come from anywhere, so a network with transposed kernels, which
    sees the image transposed, is as likely as the network itself, and so are
    those that see the image turned: training turns and flips what it shows to
    each. The posterior is shared by two or four of them (``views`` of
    `~cosmiq_astro.models.unet.UNetConfig`), and draws come from each in turn.

    Parameters
    ----------
    network : `~cosmiq_astro.models.unet.UNet`
        The network; it is not changed, so threads may share it.
    T : int
        Number of draws, 1 or more.
    sampling : {'antithetic', 'adaptive', 'independent', 'moments', 'mean'}
        ``'antithetic'`` and ``'adaptive'`` draw pairs of opposite noise, which
        cancels the error of p̂ that is odd in the noise; ``'moments'`` is the
        variational network itself in each view, and ``'mean'`` one network with
        the posterior means.
    seed : int
        Seed of the draws. Draw ``t`` is the same for any ``T`` above it.

    Returns
    -------
    networks : list of `~cosmiq_astro.models.unet.UNet`
        Networks on the device of ``network``, deterministic but for
        ``'moments'``. Parameters that are not drawn are shared, not copied.

    Raises
    ------
    ValueError
        If the sampling is ``'moments'`` or ``'adaptive'`` and weights are drawn
        before the last block; the layer is named.
    """
    if sampling == "mean":
        return [_deterministic(network)]
    if sampling in ("moments", "adaptive") and (early := drawn_early(network)):
        raise ValueError(
            f"sampling={sampling!r} needs a model that draws weights in its last block alone "
            f"(merge.0.*, head), and this one does in {', '.join(early)}; use 'antithetic'"
        )
    n_views = network.config.views
    views = [network, *(_turned(network, view) for view in range(1, n_views))]
    if sampling == "moments":
        return views
    plain = [_deterministic(view) for view in views[:T]]
    generator = torch.Generator().manual_seed(seed)
    networks, noises = [], []
    for t in range(T):
        view = t % n_views
        # Pairs of opposite noise are draws of one view: with two, 0 and 2, 1 and 3, 4 and 6 …
        is_opposite = sampling != "independent" and t % (2 * n_views) >= n_views
        opposite = {name: -e for name, e in noises[t - n_views].items()} if is_opposite else None
        weights, noise = sample_weights(views[view], generator, noise=opposite)
        networks.append(_with_weights(plain[view], weights))
        noises.append(noise)
    return networks


def drawn_early(network):
    """
    Name the layers before the last block that are variational.

    Parameters
    ----------
    network : `~cosmiq_astro.models.unet.UNet`
        Any.

    Returns
    -------
    names : list of str
        Empty if all draws see the same features.
    """
    return [name for name in variational_layers(network) if not name.startswith(LAST_BLOCK)]


def _turned(network, view):
    """Return a network that sees images turned, see `turn_kernels`."""
    other = empty_unet(network.config).requires_grad_(False)
    other.load_state_dict(turn_kernels(network.state_dict(), view), assign=True)
    return other.eval()


def _deterministic(network):
    """Return a plain network with the means in place of the posteriors."""
    plain = empty_unet(replace(network.config, variational=())).requires_grad_(False)
    given = network.state_dict()
    plain.load_state_dict({name: given[name] for name in plain.state_dict()}, assign=True)
    return plain.eval().to(memory_format=torch.channels_last)


def _with_weights(network, weights):
    """Return a copy of a network with other weights; it shares what these leave as it is."""
    shared = [*network.parameters()] + [
        module
        for name, module in network.named_modules()
        if name and not any(key.startswith(f"{name}.") for key in weights)
    ]
    one = copy.deepcopy(network, {id(part): part for part in shared})
    for name, weight in weights.items():
        layer, _, part = name.rpartition(".")
        if weight.ndim == 4:
            weight = weight.contiguous(memory_format=torch.channels_last)
        setattr(one.get_submodule(layer), part, nn.Parameter(weight, requires_grad=False))
    return one


@torch.inference_mode()
def predict(
    networks,
    read,
    shape,
    *,
    sampling="antithetic",
    temperature=1.0,
    tile_size,
    precision="float32",
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
        What the networks were drawn for. ``'moments'`` propagates
        mean and variance (`~cosmiq_astro.inference.moments.run_moments`), ``'adaptive'`` draws
        on where the draws so far have not settled the probability
        (`~cosmiq_astro.inference.adaptive.run_adaptive`).
    temperature : float, optional
        Divides the logits of each draw.
    tile_size : int
        Largest side of a tile's core.
    precision : {'float32', 'bfloat16'}, optional
        Of the convolutions.
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
    paired = sampling in ("antithetic", "adaptive")
    with computing(device, "float32"):
        if len(networks) == 1:
            groups = [LastBlocks.alone(first)]
        else:
            groups = [LastBlocks.of(group, paired=paired) for group in by_features(networks)]
    tiles = plan_tiles(shape, tile_size, halo=first.receptive_radius, grid=grid)

    @torch.inference_mode()
    def look(tile):
        inputs = torch.from_numpy(read(tile))[None].to(device)
        inputs = inputs.contiguous(memory_format=torch.channels_last)
        with computing(device, precision):
            features = Features(inputs, tile.crop, groups)
            found = run(features, temperature)
        for plane, values in zip(planes, found, strict=True):
            plane[tile.write] = values.cpu().numpy()
        return describe_hits(features.first.at(found[0] > HIT))

    hits = HitFeatures()
    for _, described in zip(progress(tiles), map_tiles(look, tiles, device), strict=True):
        hits.add(described)
    return Draws(*planes[:3], hits, *planes[3:])


def computing(device, precision):
    """
    Give the precision asked for to the convolutions of a block of code.

    Parameters
    ----------
    device : torch.device
        Where they run.
    precision : {'float32', 'bfloat16'}
        Theirs.

    Returns
    -------
    context : context manager
        For ``with``; nothing is changed after it.
    """
    if precision == "bfloat16":
        return torch.autocast(device.type, torch.bfloat16)
    if device.type == "cuda":
        # Where nothing is said, a GPU rounds what it convolves to ten bits.
        now = torch.backends.cudnn
        return now.flags(
            enabled=now.enabled,
            benchmark=now.benchmark,
            deterministic=now.deterministic,
            allow_tf32=False,
        )
    # torch.autocast does not know every device.
    return nullcontext()


def _run(features, temperature):
    """Return mean, standard deviation and mean entropy of all draws, shape ``(ny, nx)``."""
    sums = Sums()
    for last, seen in features:
        for logits in last.logits(seen):
            sums.add(logits / temperature)
    return [plane[0] for plane in sums.planes()]
