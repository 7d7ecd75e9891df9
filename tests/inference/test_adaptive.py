import numpy as np
import pytest

from cosmiq_astro import CosmicRayCCDData, CosmicRayDetector, cosmicray_vi
from cosmiq_astro.inference import adaptive
from cosmiq_astro.models.layers import variational_layers

LAST_BLOCK = ("merge.0.*", "head")


@pytest.fixture
def sparse():
    """A dark frame of an odd size with two hits."""
    rng = np.random.default_rng(1)
    image = rng.normal(40, 7, (150, 203))
    image[31, 40:45] += 900
    image[149, 202] += 600
    return image


@pytest.fixture(scope="module")
def detector():
    return CosmicRayDetector("acs-wfc-vi", device="cpu", tile_size=64)


def test_blocks_with_something_get_all_draws_and_the_others_two(sparse, detector):
    full = detector(sparse, T=12, seed=1)
    found = detector(sparse, T=12, seed=1, sampling="adaptive")
    assert full.n_draws is None
    assert set(np.unique(found.n_draws)) == {2, 12}
    assert 0 < np.mean(found.n_draws == 12) < 0.1
    assert (found.n_draws[full.probability > 1e-3] == 12).all()
    np.testing.assert_allclose(found.probability, full.probability, rtol=0, atol=1e-3)
    for name in ("probability", "uncertainty", "entropy", "mutual_information"):
        one, other = (getattr(maps, name)[found.n_draws == 12] for maps in (found, full))
        np.testing.assert_allclose(one, other, rtol=0, atol=2e-5, err_msg=name)


def test_the_blocks_lie_on_a_grid_of_the_image(sparse, detector):
    found = detector(sparse, T=6, seed=1, sampling="adaptive")
    blocks = np.pad(found.n_draws, ((0, 2), (0, 5)), mode="edge").reshape(19, 8, 26, 8)
    assert (blocks == blocks[:, :1, :, :1]).all()
    other = CosmicRayDetector(detector.model, device="cpu", tile_size=200)
    again = other(sparse, T=6, seed=1, sampling="adaptive")
    np.testing.assert_array_equal(again.n_draws, found.n_draws)
    np.testing.assert_allclose(again.probability, found.probability, rtol=0, atol=1e-5)


@pytest.mark.parametrize("levels", [1, 3])
@pytest.mark.parametrize("most", [0.0, 1.1])
def test_blocks_by_themselves_and_whole_tiles_say_the_same(
    make_tiny, frame, monkeypatch, levels, most
):
    model = make_tiny(variational=LAST_BLOCK, levels=levels, seed=2)
    for layer in variational_layers(model.network).values():
        layer.set_posterior_sigma(relative=0.3)
    monkeypatch.setattr(adaptive, "_MOST_BLOCKS", most)
    monkeypatch.setattr(adaptive, "_TOGETHER", 40)
    detector = CosmicRayDetector(model, device="cpu", tile_size=40)
    full = detector(frame, T=7, seed=1)
    pair = detector(frame, T=2, seed=1)
    monkeypatch.setattr(adaptive, "NEGLIGIBLE", float(np.quantile(pair.probability, 0.99)))
    found = detector(frame, T=7, seed=1, sampling="adaptive")
    drawn = found.n_draws == 7
    assert 0 < drawn.mean() < 1
    for name in ("probability", "uncertainty", "mutual_information"):
        one, other = (getattr(maps, name)[drawn] for maps in (found, full))
        np.testing.assert_allclose(one, other, rtol=0, atol=2e-5, err_msg=name)
    one, other = (maps.probability[~drawn] for maps in (found, pair))
    np.testing.assert_allclose(one, other, rtol=0, atol=2e-5)


@pytest.mark.parametrize("T", [1, 2])
def test_no_more_draws_than_asked_for(sparse, detector, T):
    found = detector(sparse, T=T, seed=1, sampling="adaptive")
    assert (found.n_draws == T).all()
    full = detector(sparse, T=T, seed=1)
    np.testing.assert_allclose(found.probability, full.probability, rtol=0, atol=1e-6)


def test_the_plane_of_draws_goes_to_a_file_and_back(sparse, tmp_path):
    ccd = CosmicRayCCDData(sparse, unit="electron")
    found = cosmicray_vi(ccd, T=5, seed=1, sampling="adaptive", device="cpu")
    assert found.cr_draws.dtype == np.int32
    assert found.meta["CRVIT"] == 5
    assert found.meta["CRVISAMP"] == "adaptive"
    found.write(tmp_path / "found.fits")
    again = CosmicRayCCDData.read(tmp_path / "found.fits")
    np.testing.assert_array_equal(again.cr_draws, found.cr_draws)
    assert cosmicray_vi(ccd, T=2, seed=1, device="cpu").cr_draws is None
