import time

import numpy as np
import pytest

from cosmiq_astro.simulate import Footprints, cosmic_ray_footprints


@pytest.fixture(scope="module")
def library():
    return cosmic_ray_footprints(500, seed=1)


def pixels(hits, i):
    part = slice(hits.offsets[i], hits.offsets[i + 1])
    return sorted(zip(hits.dy[part], hits.dx[part], hits.charge[part], strict=True))


def test_from_pixels_groups_adds_and_centres():
    hits = Footprints.from_pixels([7, 3, 7, 7], [10, 5, 12, 12], [20, 8, 20, 20], [1, 9, 2, 3])
    assert len(hits) == 2
    assert pixels(hits, 0) == [(0, 0, 9)]
    assert pixels(hits, 1) == [(-1, 0, 1), (1, 0, 5)]
    np.testing.assert_array_equal(hits.total_charge, [9, 6])


def test_from_pixels_refuses_a_hit_larger_than_int16():
    with pytest.raises(ValueError, match="reaches further than 32767"):
        Footprints.from_pixels([0, 0], [0, 90_000], [0, 0], [1, 1])


def test_refuses_arrays_that_do_not_fit():
    with pytest.raises(ValueError, match="equally long"):
        Footprints(np.zeros(3), np.zeros(2), np.zeros(3), np.array([0, 3]))
    with pytest.raises(ValueError, match="offsets must run from 0 to the number of pixels, 3"):
        Footprints(np.zeros(3), np.zeros(3), np.zeros(3), np.array([0, 2]))


def test_take_and_concatenate(library):
    joined = Footprints.concatenate([library.take([3, 3]), library.take([5])])
    assert pixels(joined, 1) == pixels(library, 3)
    assert pixels(joined, 2) == pixels(library, 5)
    with pytest.raises(ValueError, match="at least one"):
        Footprints.concatenate([])


def test_transform_turns_but_keeps_charge(library):
    turned = library.transform(np.random.default_rng(0))
    np.testing.assert_allclose(turned.total_charge, library.total_charge)
    extent = np.ptp(library.dy), np.ptp(library.dx)
    i = int(library.n_pixels.argmax())
    seen = set()
    for seed in range(40):
        hit = library.take([i]).transform(np.random.default_rng(seed))
        seen.add((hit.dy.tobytes(), hit.dx.tobytes()))
    assert len(seen) == 8, extent


def test_transform_scales_within_range(library):
    scaled = library.transform(np.random.default_rng(0), charge_scale=(0.5, 2.0))
    factor = scaled.total_charge / library.total_charge
    assert factor.min() >= 0.499
    assert factor.max() <= 2.001
    assert factor.std() > 0.2
    with pytest.raises(ValueError, match=r"charge_scale must be 0 < low <= high"):
        library.transform(np.random.default_rng(0), charge_scale=(2, 1))


def test_paste_is_seeded_and_adds_up(library):
    one = library.paste((300, 400), 50, np.random.default_rng(5))
    two = library.paste((300, 400), 50, np.random.default_rng(5))
    np.testing.assert_array_equal(one, two)
    pixel = Footprints.from_pixels([0], [0], [0], [10.0])
    image = pixel.paste((4, 5), 1000, np.random.default_rng(0))
    assert image.sum() == 10_000
    assert image.min() > 0


def test_paste_leaves_out_what_lies_beyond_the_edge():
    row = Footprints.from_pixels([0] * 21, [0] * 21, np.arange(21), np.ones(21))
    image = row.paste((8, 8), 1, np.random.default_rng(0), turn=False)
    assert image.sum() == 8
    assert (image.sum(axis=1) > 0).sum() == 1


def test_paste_refuses_an_empty_library():
    empty = Footprints.from_pixels([], [], [], [])
    assert empty.paste((3, 3), 0, np.random.default_rng(0)).sum() == 0
    with pytest.raises(ValueError, match="library is empty"):
        empty.paste((3, 3), 2, np.random.default_rng(0))


def test_paste_is_fast(library):
    rng = np.random.default_rng(0)
    start = time.perf_counter()
    for _ in range(10):
        image = library.paste((256, 256), 400, rng)
    assert (time.perf_counter() - start) / 10 < 0.02  # 0.3 ms on a quiet core
    assert (image > 15).mean() > 0.03


@pytest.fixture
def guessed():
    """Two hits: three pixels, of which the charge of the last is a guess, and one pixel."""
    return Footprints.from_pixels(
        [0, 0, 0, 1], [0, 0, 0, 5], [0, 1, 2, 5], [9.0, 8.0, 1.0, 7.0], [0, 0, 1, 0]
    )


def test_unknown_pixels_stay_with_their_hit(guessed, tmp_path):
    guessed.save(tmp_path / "hits.npz")
    rng = np.random.default_rng(0)
    for hits in (
        guessed.take([1, 0]),
        guessed.transform(rng),
        Footprints.concatenate([guessed, guessed]),
        guessed.brighter_than(0.5),
        Footprints.load(tmp_path / "hits.npz"),
    ):
        np.testing.assert_array_equal(hits.unknown, hits.charge == 1)
    assert not guessed.brighter_than(2).unknown.any()


def test_unknown_pixels_are_pasted_and_marked(guessed):
    charge, unknown = guessed.paste((50, 50), 20, np.random.default_rng(1), return_unknown=True)
    alone = guessed.paste((50, 50), 20, np.random.default_rng(1))
    np.testing.assert_array_equal(charge, alone)
    np.testing.assert_array_equal(charge[unknown], 1)
    assert unknown.sum() == np.sum(charge == 1) > 0


def test_unknown_must_fit():
    with pytest.raises(ValueError, match="equally long"):
        Footprints(*np.zeros((3, 2)), np.array([0, 2]), np.zeros(3, bool))


def test_brighter_than_keeps_empty_hits():
    hits = Footprints.from_pixels([0, 1, 1], [0, 0, 1], [0, 0, 0], [1.0, 5.0, 0.5])
    bright = hits.brighter_than(2)
    np.testing.assert_array_equal(bright.n_pixels, [0, 1])


def test_save_and_load(library, tmp_path):
    library.save(tmp_path / "hits.npz")
    again = Footprints.load(tmp_path / "hits.npz")
    for name in ("dy", "dx", "charge", "offsets"):
        saved, loaded = getattr(library, name), getattr(again, name)
        assert saved.dtype == loaded.dtype
        np.testing.assert_array_equal(saved, loaded)
