"""
Draws where they matter: blocks get more of them until their probabilities have settled.

What the layers before the last block hand on does not depend on the drawn
weights, and the last block looks no farther than two pixels, so a block can
be drawn by itself.
"""

import math
from dataclasses import replace

import torch
from torch.nn import functional

from cosmiq_astro.models.fast_draws import Sums, probability_and_entropy

__all__ = ["BLOCK_SIZE", "NEGLIGIBLE", "TOLERANCE", "run_adaptive"]

BLOCK_SIZE = 4
"""Side of the blocks, pixels; they lie on a grid of the image, whatever its tiles."""
NEGLIGIBLE = (5e-5, 5e-4, 1e-3)
"""A block whose probabilities are all below it after one, two, four or more draws of each view gets
no more: the fewer draws, the less they tell of what more would give."""
TOLERANCE = 4e-4
"""Nor does one whose standard errors of the probability are all below it after 16, 32, 64 draws,
and so on."""
# So many draws tell their own scatter; eight did not, where a few of many are far from the others.
_ENOUGH = 16
# Draws that are made together, at most: their logits are kept until then.
_MOST_TOGETHER = 32
# Above this share of blocks, drawing all of a tile costs less than the borders of the blocks.
_MOST_BLOCKS = 0.35
# Blocks that are computed together: as many as leave their features in the cache.
_TOGETHER = 512


def run_adaptive(features, temperature):
    """
    Draw a tile once in each view, and its blocks on until they have settled.

    Parameters
    ----------
    features : `~cosmiq_astro.models.fast_unet.Features`
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
    for last, seen in looks:
        for logits in last.part(0, 1).logits(seen):
            sums.add(logits / temperature)
    planes = torch.cat(sums.planes())
    ny, nx = planes.shape[1:]
    found = _in_blocks(planes)  # mean, standard deviation, entropy
    beyond = _in_blocks(torch.ones_like(planes[0])) == 0
    n, n_draws = len(looks), torch.full(found.shape[1:3], len(looks), dtype=torch.int32)
    n_draws = n_draws.to(found.device)
    active = _largest(found[0]) > NEGLIGIBLE[0]
    for i, stage in enumerate(_stages(looks), start=1):
        if not active.any():
            break
        logits = _draw(stage, active)
        joined = _joined(found[:, active], n, logits / temperature)
        joined[:, beyond[active]] = 0
        n += len(logits)
        found[:, active], n_draws[active] = joined, n
        active = active & (_largest(found[0]) > NEGLIGIBLE[min(i, len(NEGLIGIBLE) - 1)])
        if n >= _ENOUGH:
            active = active & (_largest(found[1]) > TOLERANCE * math.sqrt(n))
    n_draws = n_draws[..., None, None].expand(found.shape[1:])
    return [*_whole(found)[:, :ny, :nx], _whole(n_draws)[:ny, :nx]]


def _stages(looks):
    """Yield the draws after the first of each view, in parts that double, as ``looks``."""
    start, n = 1, max(len(last.networks) for last, _ in looks)
    while start < n:
        stop = min(2 * start, start + _MOST_TOGETHER // len(looks))
        parts = [(last.part(start, stop), seen) for last, seen in looks]
        yield [(last, seen) for last, seen in parts if last.networks]
        start = stop


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
            _in_blocks(logits[0])[active] for last, seen in looks for logits in last.logits(seen)
        ]
        return torch.stack(planes)
    draws = [(last, _windows(seen, active.shape)) for last, seen in looks]
    rows, columns = (index.split(_TOGETHER) for index in active.nonzero(as_tuple=True))
    logits = [
        torch.stack([one for last, windows in draws for one in last.logits(windows(i, j))])
        for i, j in zip(rows, columns, strict=True)
    ]
    return torch.cat(logits, dim=1)


def _windows(seen, n_blocks):
    """Return a function of rows and columns of blocks that gives what is seen for each."""
    planes = seen.skip
    # The last blocks may reach beyond the tile.
    beyond = [
        n * BLOCK_SIZE + 2 * seen.edge - m for n, m in zip(n_blocks, planes.shape[2:], strict=True)
    ]
    if any(beyond):
        planes = functional.pad(planes, (0, beyond[1], 0, beyond[0]))
    n_maps, side = planes.shape[1], BLOCK_SIZE + 2 * seen.edge
    # A row of a window is one piece of memory, with all its maps.
    lines = planes[0].permute(1, 2, 0).flatten(1)
    windows = lines.unfold(0, side, BLOCK_SIZE).unfold(1, side * n_maps, BLOCK_SIZE * n_maps)

    def of(rows, columns):
        window = windows[rows, columns].unflatten(-1, (side, n_maps)).permute(0, 3, 1, 2)
        return replace(seen, skip=window, shape=(BLOCK_SIZE, BLOCK_SIZE))

    return of
