import dask.array as da
import numpy as np
import pytest

from cosmiq_astro import CosmicRayDetector
from cosmiq_astro.models.model import save_model
from cosmiq_astro.survey import arrays, detect_array


@pytest.fixture(scope="session")
def model(tiny_vi, tmp_path_factory):
    return str(save_model(tiny_vi, tmp_path_factory.mktemp("model"), card="A test."))


@pytest.mark.parametrize("readnoise", [None, 5.0])
def test_chunks_give_what_the_whole_image_gives(model, monkeypatch, readnoise):
    monkeypatch.setattr(arrays, "_CHUNK", 64)
    rng = np.random.default_rng(0)
    image = rng.normal(60, 9, (150, 203)).astype(np.float32)
    image[rng.random(image.shape) < 0.01] += 900
    image[70, 100:110] = np.nan
    mask = rng.random(image.shape) < 0.02
    whole = CosmicRayDetector(model, device="cpu")(image, mask, T=4, seed=3, readnoise=readnoise)
    chunks = da.from_array(image, chunks=(50, 70))
    planes = detect_array(chunks, mask, model=model, T=4, seed=3, readnoise=readnoise)
    assert len(planes["probability"].chunks[0]) == 3
    computed = da.compute(planes)[0]
    for name, plane in computed.items():
        assert plane.dtype == np.float32
        np.testing.assert_allclose(plane, getattr(whole, name), atol=1e-5)
    assert np.isnan(computed["entropy"]).sum() == 10


def test_an_image_without_a_usable_pixel(model):
    image = da.full((64, 64), np.nan, chunks=32)
    plane = detect_array(image, model=model, T=2, seed=3)["probability"].compute()
    assert np.isnan(plane).all()


def test_bad_shapes(model):
    with pytest.raises(ValueError, match=r"two dimensions of more than \d+ pixels, got shape"):
        detect_array(da.zeros((8, 200)), model=model, seed=0)
    with pytest.raises(ValueError, match="mask has shape"):
        detect_array(da.zeros((64, 64)), np.zeros((64, 60)), model=model, seed=0)
