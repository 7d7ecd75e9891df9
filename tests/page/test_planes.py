"""Quantised planes: what the page shows is what was found."""

import base64
import zlib

import numpy as np
import pytest

from cosmiq_astro.page import _planes


def dequantise(stored, sky, noise, curvature):
    """Turn stored values back into pixel values, as the page does."""
    u = (stored.astype(float) - 128) / 4
    image = sky + noise * (u + u * np.abs(u) / (4 * curvature))
    return np.where(stored == 65535, np.nan, image)


def test_pixel_values_are_kept_to_a_fraction_of_their_noise():
    sky, noise = 50.0, 8.0
    image = np.concatenate([np.linspace(-20, 200, 5000), np.geomspace(100, 8e4, 5000)])[None]
    stored = _planes.quantise_image(image, sky=sky, noise=noise, curvature=noise)
    back = dequantise(stored, sky, noise, curvature=noise)
    own = np.sqrt(noise**2 + np.maximum(image - sky, 0))
    assert (np.abs(back - image) <= 0.2 * own).all()


def test_blank_and_huge_values():
    image = np.array([[np.nan, np.inf, 1e30, -1e30, 0.0]])
    stored = _planes.quantise_image(image, sky=0.0, noise=1.0, curvature=1.0)
    back = dequantise(stored, 0.0, 1.0, curvature=1.0)
    np.testing.assert_array_equal(np.isnan(back), [[True, True, False, False, False]])
    assert back[0, 4] == 0


@pytest.mark.parametrize("threshold", [1e-3, 0.02, 0.5, 0.7604, 0.997])
def test_levels_cut_exactly_at_every_edge(threshold):
    edges = _planes.probability_levels(threshold)
    assert np.float32(threshold) in edges
    assert len(edges) <= 255
    assert (np.diff(edges) > 0).all()
    p = np.random.default_rng(0).beta(0.1, 0.3, 20000).astype(np.float32)
    p = np.concatenate([p, edges, [0, 1]]).astype(np.float32)
    levels = _planes.quantise_levels(p, edges)
    for k in range(0, len(edges), 20):
        np.testing.assert_array_equal(levels > k, p >= edges[k])
    at = int(np.flatnonzero(edges == np.float32(threshold))[0])
    np.testing.assert_array_equal(levels > at, p >= np.float32(threshold))


def test_tiles_hold_the_planes():
    rng = np.random.default_rng(1)
    a = rng.integers(0, 60000, (600, 530)).astype(np.uint16)
    b = rng.integers(0, 255, (600, 530)).astype(np.uint8)
    tiles = _planes.encode_tiles([a, b])
    assert len(tiles) == 4
    last = np.frombuffer(zlib.decompress(base64.b64decode(tiles[3])), np.uint8).reshape(3, 88, 18)
    np.testing.assert_array_equal(last[0] + 256 * last[1].astype(int), a[512:, 512:])
    np.testing.assert_array_equal(last[2], b[512:, 512:])
