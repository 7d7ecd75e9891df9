"""Tiles of an image side by side, each in a thread of its own."""

import math
import threading
from concurrent.futures import ThreadPoolExecutor

import torch

__all__ = ["map_tiles"]

# Each has the features of a tile in memory, 50 to 80 MiB of the default models.
_MOST_THREADS = 8
_lock = threading.Lock()


def map_tiles(function, tiles, device):
    """
    Call a function for every tile.

    PyTorch shares each layer among its threads, which wait for each other at
    the end of it. A tile for each thread has them wait once. On a GPU, or
    where PyTorch has one thread, the tiles come one after another.

    Parameters
    ----------
    function : callable
        Of a tile. May be called in several threads at a time.
    tiles : list
        Of an image.
    device : torch.device
        Where the function computes.

    Yields
    ------
    result : object
        Of each tile, in their order.
    """
    n_threads, each = _share(torch.get_num_threads(), len(tiles))
    if device.type != "cpu" or n_threads == 1:
        yield from map(function, tiles)
        return
    rounds = len(tiles) // n_threads * n_threads
    pool = _pool(n_threads, each)
    try:
        yield from pool.map(function, tiles[:rounds])
    finally:
        # After an error, or Ctrl-C, no tile is begun that has not been.
        pool.shutdown(cancel_futures=True)
    # What is left is too few for all threads, unless they share the tiles.
    if rounds < len(tiles):
        yield from map_tiles(function, tiles[rounds:], device)


def _share(n_threads, n_tiles):
    """Return how many tiles are computed side by side, and the threads for each."""
    each = math.ceil(n_threads / min(n_tiles, _MOST_THREADS))
    return n_threads // each, each


def _pool(n_threads, each):
    """
    Return a pool of threads in which PyTorch uses ``each`` threads of its own.

    `torch.set_num_threads` holds for the thread that calls it, and for any that uses PyTorch for
    the first time after it. Those are to find what they would have found, so a thread that
    has seen it sets it again once the pool has begun; the caller's own number is never touched.
    """
    # If not all of them can begin, this is an error, and no wait without end.
    ready = threading.Barrier(n_threads + 1, timeout=60)

    def begin():
        torch.get_num_threads()  # Now it has been used here, and what is set next holds.
        torch.set_num_threads(each)
        ready.wait()

    pool = ThreadPoolExecutor(n_threads, initializer=begin)

    def start():
        usual = torch.get_num_threads()
        try:
            for _ in range(n_threads):
                pool.submit(int)
            ready.wait()
        finally:
            torch.set_num_threads(usual)

    with _lock, ThreadPoolExecutor(1) as starter:
        starter.submit(start).result()
    return pool
