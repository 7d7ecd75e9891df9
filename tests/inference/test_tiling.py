import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cosmiq_astro.inference.tiling import plan_tiles, reflect_indices

sides = st.integers(1, 60)


@given(sides, sides, st.integers(1, 70), st.integers(0, 20), st.sampled_from([1, 2, 4, 8]))
@settings(deadline=None, max_examples=200)
def test_cores_cover_the_image_once_and_lie_on_the_grid(ny, nx, tile_size, halo, grid):
    count = np.zeros((ny, nx), dtype=int)
    tiles = plan_tiles((ny, nx), tile_size, halo=halo, grid=grid)
    for tile in tiles:
        count[tile.write] += 1
        for indices, write, crop, n in zip(
            (tile.rows, tile.columns), tile.write, tile.crop, (ny, nx), strict=True
        ):
            assert indices.size % grid == 0
            assert indices.size == tiles[0].rows.size or n == nx
            assert write.start % grid == 0
            assert crop.start >= halo
            assert indices.size - crop.stop >= halo
            np.testing.assert_array_equal(indices[crop], np.arange(write.start, write.stop))
    assert (count == 1).all()


@given(st.integers(1, 40), st.integers(0, 100), st.integers(0, 100))
def test_reflection_is_numpys(n, before, after):
    expected = np.pad(np.arange(n), (before, after), mode="symmetric")
    np.testing.assert_array_equal(reflect_indices(-before, n + after, n), expected)


def test_read_takes_the_halo_from_the_neighbours():
    image = np.arange(100).reshape(10, 10)
    tile = plan_tiles((10, 10), 4, halo=2, grid=2)[4]
    np.testing.assert_array_equal(tile.read(image), image[2:10, 2:10])


def test_bad_tile_size():
    with pytest.raises(ValueError, match="tile_size must be at least 1 pixel, got 0"):
        plan_tiles((4, 4), 0, halo=2, grid=2)
