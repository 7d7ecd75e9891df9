import dataclasses

import numpy as np
import pytest
from astropy.io import fits

from cosmiq_astro.hst import detect_file, identify


@pytest.fixture
def detect(lively_vi):
    """Run `detect_file` so that whatever stands out is flagged."""

    def run(file, **kwargs):
        return detect_file(file, overwrite=True, model=lively_vi, T=2, seed=3, **kwargs)

    return run


@pytest.fixture
def hot_file(make_file, monkeypatch):
    """A file on which bright pixels are flagged: two alone, one hot, and a row, one of them hot."""

    def bright(detector, image, mask=None, **kwargs):
        maps = call(detector, image, mask, **kwargs)
        return dataclasses.replace(maps, probability=np.where(image > 500, 1, 0).astype("f4"))

    from cosmiq_astro import CosmicRayDetector

    call = CosmicRayDetector.__call__
    monkeypatch.setattr(CosmicRayDetector, "__call__", bright)
    image = np.full((40, 56), 50, np.float32) + np.random.default_rng(0).normal(0, 8, (40, 56))
    image[10, 10] = image[20, 20] = 900
    image[30, 30:34] = 900
    file = make_file(images=[image.astype(np.float32)])
    with fits.open(file, mode="update") as hdus:
        hdus["DQ"].data[20, 20] = 16
        hdus["DQ"].data[30, 31] = 64
    return file


def flagged(result):
    with fits.open(result.file_out) as hdus:
        bit = identify(hdus[0].header).default_bit
        mask = hdus["CRVIMASK"].data != 0
        np.testing.assert_array_equal(mask, (hdus["DQ"].data & bit != 0) & mask)
        assert hdus["SCI"].header["CRVINPIX"] == mask.sum()
        return [tuple(map(int, place)) for place in np.argwhere(mask)], hdus["CRPROB"].data


ROW = [(30, x) for x in range(30, 34)]


def test_a_hot_pixel_alone_is_no_hit(hot_file, detect):
    result = detect(hot_file)
    places, probability = flagged(result)
    assert places == [(10, 10), *ROW]
    assert result.n_hits == 2
    assert probability[20, 20] == 1


def test_a_grown_hot_pixel_is_no_hit(hot_file, detect):
    result = detect(hot_file, mask_growth=1)
    places, _ = flagged(result)
    assert result.n_hits == 2
    assert (20, 21) not in places
    assert (10, 11) in places


def test_hot_pixels_count_as_hits_on_demand(hot_file, detect):
    result = detect(hot_file, dq_ignore=16)
    assert (20, 20) in flagged(result)[0]
    assert result.n_hits == 3


def test_a_hot_pixel_is_not_cleaned(hot_file, detect):
    result = detect(hot_file, clean="median")
    with fits.open(result.file_out) as hdus:
        assert hdus["SCI"].data[20, 20] == 900
        assert hdus["SCI"].data[10, 10] < 200
