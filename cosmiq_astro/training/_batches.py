"""Batches in a given order, prepared ahead by a thread or by worker processes."""

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from cosmiq_astro.training.datasets import make_batch

__all__ = ["prepare_batches"]


def prepare_batches(dataset, n, size, channels, seeds, *, margin, workers):
    """
    Yield batches, each seeded by its place in the run alone.

    Parameters
    ----------
    dataset : dataset
        With ``n_frames`` and ``patch(frame, size, rng)``.
    n, size : int
        Patches in each batch, and their side.
    channels : sequence of str
        Input channels.
    seeds : iterable of tuple of int
        What `numpy.random.default_rng` takes, one for each batch.
    margin : int
        As in `~cosmiq_astro.training.datasets.make_batch`.
    workers : int
        Processes; 0 for a thread, which needs no ``if __name__ == "__main__"`` in a script.

    Yields
    ------
    inputs, labels, valid : Tensor
        As in `~cosmiq_astro.training.datasets.make_batch`; the same for any ``workers``.
    """
    make = partial(_seeded_batch, dataset, n, size, channels, margin)
    if workers:
        yield from DataLoader(
            _Made(make),
            batch_size=None,
            sampler=seeds,
            num_workers=workers,
            generator=torch.Generator(),  # not the global one, which it would advance
        )
        return
    with ThreadPoolExecutor(1) as pool:
        upcoming = deque()
        for seed in seeds:
            upcoming.append(pool.submit(make, seed))
            if len(upcoming) > 1:
                yield upcoming.popleft().result()
        while upcoming:
            yield upcoming.popleft().result()


def _seeded_batch(dataset, n, size, channels, margin, seed):
    rng = np.random.default_rng(seed)
    arrays = make_batch(dataset, n, size, channels, rng, margin=margin)
    return tuple(torch.from_numpy(array) for array in arrays)


class _Made(Dataset):
    """A batch under each seed."""

    def __init__(self, make):
        self._make = make

    def __getitem__(self, seed):
        return self._make(seed)
