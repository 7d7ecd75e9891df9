"""
Draws where they matter: blocks get more of them until their probabilities have settled.

What the layers before the last block hand on does not depend on the drawn
weights, and the last block looks no farther than two pixels, so a block can
be drawn by itself.
"""

import math
from itertools import chain

import torch
from torch.nn import functional

from cosmiq_astro.inference._draw import Sums, inner, probability_and_entropy

__all__ = ["BLOCK_SIZE", "NEGLIGIBLE", "TOLERANCE", "run_adaptive"]

BLOCK_SIZE = 8
"""Side of the blocks, pixels; they lie on a grid of the image, whatever its tiles."""
TOLERANCE = 5e-4
"""A block whose standard errors of the probability are all below it after 8, 16, 24 draws, and so
on, gets no more."""
NEGLIGIBLE = 2e-4
"""Nor does a block whose probabilities are all below it after one draw of each view. Lower: so few
draws tell little of their scatter, and many may give several times as much."""
# Draws after which blocks may stop.
_STAGE = 8
# Above this share of blocks, drawing all of a tile costs less than the borders of the blocks.
_MOST_BLOCKS = 0.5
# Blocks that are computed together: as many as leave their features in the cache.
_TOGETHER = 64


def run_adaptive(features, temperature):
    """
    Draw a tile once in each view, and its blocks on until they have settled.

    Parameters
    ----------
    features : `~cosmiq_astro.inference._draw.Features`
        Of a tile whose core begins at a corner of the grid of blocks, for draws
        of a network that has none before its last block.
    temperature : float
        Divides the logits.

    Returns
    -------
    planes : list of Tensor
        Mean and standard deviation of the probability, mean entropy (nats),
        and the number of draws (int32), each of shape ``(ny, nx)``.
    """
    looks = list(features)
    sums = Sums()
    for networks, seen in looks:
        sums.add(networks[0], seen, temperature)
    ny, nx = sums.planes()[0].shape[1:]
    found = _in_blocks(torch.cat(sums.planes()))  # mean, standard deviation, entropy
    n_draws = torch.full(found.shape[1:3], len(looks), dtype=torch.int32, device=found.device)
    active = _largest(found[0]) > NEGLIGIBLE
    drawn, n = torch.zeros_like(found), 0  # of all draws of the blocks that are active
    for stage in _stages(looks):
        if not active.any():
            break
        logits = _draw(stage, active)
        drawn[:, active] = _joined(drawn[:, active], n, logits.float() / temperature)
        n += len(logits)
        found[:, active], n_draws[active] = drawn[:, active], n
        active = active & (_largest(drawn[1]) > TOLERANCE * math.sqrt(n))
    n_draws = n_draws[..., None, None].expand(found.shape[1:])
    return [*_whole(found)[:, :ny, :nx], _whole(n_draws)[:ny, :nx]]


def _stages(looks):
    """Yield the draws in parts, as ``looks``; more than those that all blocks have had."""
    if sum(len(networks) for networks, _ in looks) > len(looks):
        size = _STAGE // len(looks)
        for first in range(0, max(len(networks) for networks, _ in looks), size):
            parts = [(networks[first : first + size], seen) for networks, seen in looks]
            yield [part for part in parts if part[0]]


def _in_blocks(planes):
    """Cut planes into blocks: ``(…, ny, nx)`` to ``(…, n, m, side, side)``, 0 beyond the edge."""
    beyond = [(-n) % BLOCK_SIZE for n in planes.shape[-2:]]
    padded = functional.pad(planes, (0, beyond[1], 0, beyond[0]))
    return padded.unfold(-2, BLOCK_SIZE, BLOCK_SIZE).unfold(-2, BLOCK_SIZE, BLOCK_SIZE)


def _whole(blocks):
    """Return blocks as planes, with what lies beyond the edge."""
    n, m = blocks.shape[-4:-2]
    planes = blocks.transpose(-3, -2)
    return planes.reshape(*blocks.shape[:-4], n * BLOCK_SIZE, m * BLOCK_SIZE)


def _largest(blocks):
    return blocks.amax((-2, -1))


def _joined(planes, n, logits):
    """
    Return mean, standard deviation and mean entropy of ``n`` draws and some more.

    Chan, Golub & LeVeque (1983, The American Statistician, 37, 242), eq. 2.1.
    """
    p, entropy = probability_and_entropy(logits)
    mean, std, mean_entropy = planes
    share = len(p) / (n + len(p))
    here = p.mean(0)
    step = here - mean
    variance = (1 - share) * (std**2 + share * step**2) + share * (p - here).square_().mean(0)
    more = share * (entropy.mean(0) - mean_entropy)
    return torch.stack([mean + share * step, variance.sqrt(), mean_entropy + more])


def _draw(looks, active):
    """Return the logits of every draw in the blocks that are active, ``(T, n, side, side)``."""
    if active.float().mean() > _MOST_BLOCKS:
        planes = [
            _in_blocks(inner(network, network.finish(seen)[0, 0]))[active]
            for networks, seen in looks
            for network in networks
        ]
        return torch.stack(planes)
    draws = [
        (_finish_together(networks), _windows(seen, active.shape, networks[0].finish_radius))
        for networks, seen in looks
    ]
    rows, columns = (index.split(_TOGETHER) for index in active.nonzero(as_tuple=True))
    logits = [
        torch.cat([finish(windows[:, i, j]) for finish, windows in draws], dim=1)
        for i, j in zip(rows, columns, strict=True)
    ]
    return torch.cat(logits).transpose(0, 1)


def _windows(seen, n_blocks, edge):
    """Return what each block sees, borders included: ``(n, *n_blocks, side, side)``, a view."""
    # The last blocks may reach beyond the tile.
    size = [n * BLOCK_SIZE + 2 * edge for n in n_blocks]
    if size != list(seen.shape[2:]):
        seen = functional.pad(seen, (0, size[1] - seen.shape[3], 0, size[0] - seen.shape[2]))
    side = BLOCK_SIZE + 2 * edge
    return seen[0].unfold(1, side, BLOCK_SIZE).unfold(2, side, BLOCK_SIZE)


def _finish_together(networks):
    """
    Return a function of windows that gives logits of all networks, ``(n, n_networks, ny, nx)``.

    Each layer is one convolution in as many groups as there are networks: for
    a few small blocks several times faster than one network after another.
    Nothing is padded, so the border of the windows is gone afterwards.
    """
    layers = []
    for same in zip(*([*chain(*n.merge[:1]), n.head] for n in networks), strict=True):
        weight = torch.cat([layer.weight for layer in same])
        weight = weight.contiguous(memory_format=torch.channels_last)
        layers.append((weight, torch.cat([layer.bias for layer in same])))

    def finish(windows):
        x = windows.transpose(0, 1).contiguous(memory_format=torch.channels_last)
        for depth, (weight, bias) in enumerate(layers):
            # All networks see the same features at first, then each its own.
            groups = len(networks) if depth else 1
            x = functional.conv2d(functional.relu(x) if depth else x, weight, bias, groups=groups)
        return x

    return finish
