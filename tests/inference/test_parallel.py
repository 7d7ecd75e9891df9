"""Tiles side by side: in order, with as many threads as there are, and nothing left behind."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

import cosmiq_astro as ca
from cosmiq_astro.inference import parallel as _threads
from cosmiq_astro.inference.parallel import map_tiles

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def four_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


def threads_of_a_new_thread():
    found = []
    thread = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    return found[0]


def test_results_come_in_the_order_of_the_tiles():
    def slow_at_first(tile):
        time.sleep(0.05 if tile < 2 else 0)
        return tile

    assert list(map_tiles(slow_at_first, list(range(9)), CPU)) == list(range(9))


@pytest.mark.parametrize(
    ("n_tiles", "n_side_by_side", "each"),
    [
        (8, 4, [1] * 8),
        (9, 4, [1] * 8 + [4]),
        (10, 4, [1] * 8 + [2] * 2),
        (11, 4, [1] * 8 + [2] * 2 + [4]),
        (2, 2, [2, 2]),
    ],
)
def test_tiles_share_the_threads(n_tiles, n_side_by_side, each):
    # They wait for each other: this ends only if so many run at a time.
    together = threading.Barrier(n_side_by_side, timeout=20)

    def look(tile):
        if tile < n_side_by_side:
            together.wait()
        return threading.get_ident(), torch.get_num_threads()

    found = list(map_tiles(look, list(range(n_tiles)), CPU))
    assert len({ident for ident, _ in found[:8]}) <= n_side_by_side
    assert [n for _, n in found] == each


@pytest.mark.parametrize("n_tiles", [1, 2, 5, 8, 100])
def test_no_more_threads_than_there_are(n_tiles):
    for n_threads in range(1, 70):
        side_by_side, each = _threads._share(n_threads, n_tiles)
        assert 1 <= side_by_side <= min(n_tiles, 8)
        # What is left over is less than another tile would have.
        assert 0 <= n_threads - side_by_side * each < each


def test_the_number_of_threads_is_left_as_it_was():
    during = list(map_tiles(lambda _: threads_of_a_new_thread(), list(range(8)), CPU))
    assert during == [4] * 8
    assert torch.get_num_threads() == threads_of_a_new_thread() == 4


def test_a_number_that_the_caller_alone_has_is_left_as_it_was():
    torch.set_num_threads(3)

    def reset():
        torch.set_num_threads(4)

    thread = threading.Thread(target=reset)
    thread.start()
    thread.join()
    assert set(map_tiles(lambda _: torch.get_num_threads(), list(range(9)), CPU)) == {1}
    assert torch.get_num_threads() == 3
    assert threads_of_a_new_thread() == 4


@pytest.mark.parametrize(
    ("n_threads", "n_tiles", "device"),
    [(1, 5, CPU), (4, 1, CPU), (4, 5, torch.device("cuda"))],
    ids=["one thread", "one tile", "GPU"],
)
def test_one_after_another_in_the_thread_that_calls(n_threads, n_tiles, device):
    torch.set_num_threads(n_threads)
    found = map_tiles(lambda _: threading.get_ident(), list(range(n_tiles)), device)
    assert list(found) == n_tiles * [threading.get_ident()]


def test_after_an_error_no_more_tiles_are_begun():
    begun = []

    def fail(tile):
        begun.append(tile)
        time.sleep(0.02)
        raise ValueError(f"tile {tile}")

    with pytest.raises(ValueError, match="tile 0"):
        list(map_tiles(fail, list(range(400)), CPU))
    assert len(begun) < 40
    assert threads_of_a_new_thread() == 4


def test_maps_do_not_depend_on_the_number_of_threads(tiny_vi, frame):
    maps = []
    for n in (1, 4):
        torch.set_num_threads(n)
        detector = ca.CosmicRayDetector(tiny_vi, device="cpu", tile_size=16)
        maps.append(detector(frame, T=4, seed=2))
    assert maps[0].unfamiliarity == pytest.approx(maps[1].unfamiliarity, rel=1e-6, nan_ok=True)
    for name in ("probability", "uncertainty", "entropy", "mutual_information"):
        one, four = (getattr(m, name) for m in maps)
        np.testing.assert_allclose(one, four, atol=1e-6)


def test_several_threads_may_have_tiles_at_a_time():
    def work(_):
        return list(map_tiles(lambda tile: (tile, torch.get_num_threads()), list(range(8)), CPU))

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(work, range(20)))
    assert all([tile for tile, _ in tiles] == list(range(8)) for tiles in found)
    assert threads_of_a_new_thread() == 4
