"""Fewer draws where nothing is in doubt: blocks of the image that stop on their own."""

import torch

from cosmiq_astro.inference._draw import draw
from cosmiq_astro.inference.uncertainty import RunningMoments

__all__ = ["BLOCK", "TOLERANCE", "run_blocks"]

#: Side of the blocks, pixels.
BLOCK = 32
#: How far probabilities may be from those of all draws.
TOLERANCE = 1e-3


def run_blocks(networks, features, temperature):
    """
    Run the draws over a tile's core, block by block, and leave blocks that are settled.

    After 2, 4, 8, … draws a block is left if its probabilities are expected
    to move by less than a third of `TOLERANCE` until the last one: the mean
    of ``t`` draws differs from that of all ``T`` with a standard deviation of
    ``s sqrt(1/t - 1/T)``, ``s`` being the spread of the draws. The draws of a
    rare event may have missed it, so ``s`` is taken to be at least as large
    as the probability.

    Parameters
    ----------
    networks : list of `~cosmiq_astro.models.unet.UNet`
        The draws.
    features : `~cosmiq_astro.inference._draw.Features`
        Of a tile whose core is whole blocks.
    temperature : float
        Divides the logits.

    Returns
    -------
    planes : list of Tensor
        Mean and standard deviation of the probability, mean entropy and
        number of draws, each of shape ``(ny, nx)``.
    """
    moments, entropy, T = RunningMoments(), 0.0, len(networks)
    active = seen = result = None
    for t, network in enumerate(networks, 1):
        if seen is None or features.differ:
            seen, counts = _blocks(features(network), network.finish_radius, active)
        if active is None:
            active = torch.arange(len(seen), device=seen.device)
            result = torch.empty(4, len(seen), BLOCK, BLOCK, device=seen.device)
        p, h = draw(network, seen, temperature)
        moments.update(p)
        entropy = entropy + h
        is_power_of_two = t & (t - 1) == 0
        if t < T and (t == 1 or not is_power_of_two):
            continue
        mean, std = moments.mean, moments.std()
        spread = torch.maximum(std, torch.minimum(mean, 1 - mean)) * (1 / t - 1 / T) ** 0.5
        done = spread.amax((1, 2)) <= TOLERANCE / 3
        for plane, values in zip(result, (mean, std, entropy / t), strict=False):
            plane[active[done]] = values[done]
        result[3, active[done]] = t
        if done.all():
            break
        moments.take(~done)
        entropy, active, seen = entropy[~done], active[~done], seen[~done]
    return [_joined(plane, counts) for plane in result]


def _blocks(features, edge, chosen):
    """Cut features into overlapping blocks, and tell how many there are along each axis."""
    size = BLOCK + 2 * edge
    blocks = features[0].unfold(1, size, BLOCK).unfold(2, size, BLOCK)  # (n, ny, nx, size, size)
    counts = blocks.shape[1:3]
    blocks = blocks.permute(1, 2, 0, 3, 4).flatten(0, 1)
    blocks = blocks if chosen is None else blocks[chosen]
    return blocks.contiguous(memory_format=torch.channels_last), counts


def _joined(blocks, counts):
    """Put blocks side by side again."""
    rows, columns = counts
    sides = blocks.view(rows, columns, BLOCK, BLOCK).transpose(1, 2)
    return sides.reshape(rows * BLOCK, columns * BLOCK)
