"""
Draws where they matter: blocks in which the first two see nothing get no more of them.

What the layers before the last block hand on does not depend on the drawn
weights, and the last block looks no farther than two pixels, so a block can
be drawn by itself.
"""

from itertools import chain

import torch
from torch.nn import functional

from cosmiq_astro.inference._draw import Sums, probability_and_entropy

__all__ = ["BLOCK_SIZE", "NEGLIGIBLE", "run_adaptive"]

BLOCK_SIZE = 8
"""Side of the blocks, pixels; they lie on a grid of the image, whatever its tiles."""
NEGLIGIBLE = 5e-4
"""A block in which no pixel has a higher probability after two draws gets no more."""
# Above this share of blocks, drawing all of a tile costs less than the borders of the blocks.
_MOST_BLOCKS = 0.5
# Blocks times draws that are computed together: as many as leave their features in the cache.
_TOGETHER = 512


def run_adaptive(features, temperature):
    """
    Draw a tile twice, straight and transposed, and its blocks that are not negligible with all.

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
    n_draws = sum(len(networks) for networks, _ in looks)
    sums = Sums()
    for networks, seen in looks:
        sums.add(networks[0], seen, temperature)
    planes = [plane[0] for plane in sums.planes()]
    planes.append(torch.full_like(planes[0], len(looks), dtype=torch.int32))
    peaks = functional.max_pool2d(planes[0][None], BLOCK_SIZE, ceil_mode=True)[0]
    blocks = peaks > NEGLIGIBLE
    if n_draws == len(looks) or not blocks.any():
        return planes
    if blocks.float().mean() > _MOST_BLOCKS:
        for networks, seen in looks:
            for network in networks[1:]:
                sums.add(network, seen, temperature)
        every = [plane[0] for plane in sums.planes()]
    else:
        every = _draw_blocks(looks, temperature, blocks)
    every.append(torch.full_like(planes[-1], n_draws))
    chosen = blocks.repeat_interleave(BLOCK_SIZE, 0).repeat_interleave(BLOCK_SIZE, 1)
    ny, nx = planes[0].shape
    return [
        torch.where(chosen[:ny, :nx], new[:ny, :nx], old)
        for new, old in zip(every, planes, strict=True)
    ]


def _draw_blocks(looks, temperature, blocks):
    """Return planes of whole blocks, shape ``(ny, nx)``, zero where ``blocks`` is False."""
    draws = [
        (_finish_together(networks), _windows(seen, blocks.shape, networks[0].finish_radius))
        for networks, seen in looks
    ]
    rows, columns = blocks.nonzero(as_tuple=True)
    planes = looks[0][1].new_zeros((3, *blocks.shape, BLOCK_SIZE, BLOCK_SIZE))
    n_together = max(1, _TOGETHER // max(len(networks) for networks, _ in looks))
    for at in zip(rows.split(n_together), columns.split(n_together), strict=True):
        here = (slice(None), *at)
        logits = torch.cat([finish(windows[here]) for finish, windows in draws], dim=1)
        p, entropy = probability_and_entropy(logits / temperature)
        planes[here] = torch.stack([p.mean(1), p.std(1, correction=0), entropy.mean(1)])
    return list(planes.transpose(2, 3).reshape(3, *(n * BLOCK_SIZE for n in blocks.shape)))


def _windows(seen, n_blocks, edge):
    """Return what each block sees, borders included: ``(n, *n_blocks, side, side)``, a view."""
    # The last blocks may reach beyond the tile.
    size = [n * BLOCK_SIZE + 2 * edge for n in n_blocks]
    padded = functional.pad(seen, (0, size[1] - seen.shape[3], 0, size[0] - seen.shape[2]))
    side = BLOCK_SIZE + 2 * edge
    return padded[0].unfold(1, side, BLOCK_SIZE).unfold(2, side, BLOCK_SIZE)


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
