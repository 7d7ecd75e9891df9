import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cosmiq_astro.inference.tiling import (
    bordered,
    plan_tiles,
    reflect_border,
    reflect_indices,
)

sides = st.integers(1, 60)


@given(sides, sides, st.integers(1, 70), st.integers(0, 20), st.sampled_from([1, 2, 4, 8]))
@settings(deadline=None, max_examples=200)
def test_cores_cover_the_image_once_and_lie_on_the_grid(ny, nx, tile_size, halo, grid):
    count = np.zeros((ny, nx), dtype=int)
    tiles = plan_tiles((ny, nx), tile_size, halo=halo, grid=grid)
    inside, shape = bordered((ny, nx), tiles)
    for tile in tiles:
        count[tile.write] += 1
        for axis, (read, crop, write) in enumerate(
            zip(tile.read, tile.crop, tile.write, strict=True)
        ):
            assert read.stop <= shape[axis]
            size = read.stop - read.start
            assert size == tiles[0].read[axis].stop
            assert size % grid == write.start % grid == 0
            assert crop.start == size - crop.stop >= halo
            # The core is where it is written, or goes on beyond the edge.
            assert read.start + crop.start - inside[axis].start == write.start
            assert write.stop == min(write.start + crop.stop - crop.start, (ny, nx)[axis])
    assert (count == 1).all()


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 12), st.integers(0, 20))
@settings(deadline=None)
def test_the_border_is_the_reflection(ny, nx, tile_size, halo):
    image = np.arange(ny * nx).reshape(ny, nx)
    inside, shape = bordered((ny, nx), plan_tiles((ny, nx), tile_size, halo=halo, grid=4))
    whole = np.full(shape, -1)
    whole[inside] = image
    reflect_border(whole, inside)
    widths = [(axis.start, n - axis.stop) for axis, n in zip(inside, shape, strict=True)]
    np.testing.assert_array_equal(whole, np.pad(image, widths, mode="symmetric"))


@given(st.integers(1, 40), st.integers(0, 100), st.integers(0, 100))
def test_reflection_is_numpys(n, before, after):
    expected = np.pad(np.arange(n), (before, after), mode="symmetric")
    np.testing.assert_array_equal(reflect_indices(-before, n + after, n), expected)


def test_bad_tile_size():
    with pytest.raises(ValueError, match="tile_size must be at least 1 pixel, got 0"):
        plan_tiles((4, 4), 0, halo=2, grid=2)
