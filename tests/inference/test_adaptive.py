import numpy as np
import pytest

from cosmiq_astro import CosmicRayCCDData, CosmicRayDetector, cosmicray_vi
from cosmiq_astro.inference import adaptive
from cosmiq_astro.models.layers import variational_layers

LAST_BLOCK = ("merge.0.*", "head")
SIDE = adaptive.BLOCK_SIZE


def in_blocks(plane):
    """Cut what fills whole blocks into them: (n, side, m, side)."""
    ny, nx = (n // SIDE for n in plane.shape)
    return plane[: ny * SIDE, : nx * SIDE].reshape(ny, SIDE, nx, SIDE)


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


def test_blocks_with_something_get_more_draws_and_the_others_two(sparse, detector):
    full = detector(sparse, T=12, seed=1)
    found = detector(sparse, T=12, seed=1, sampling="adaptive")
    assert full.n_draws is None
    assert set(np.unique(found.n_draws)) <= {2, 4, 8, 12}
    assert 0 < np.mean(found.n_draws == 12) <= np.mean(found.n_draws > 2) < 0.1
    assert (found.n_draws[full.probability > 1e-3] > 2).all()
    np.testing.assert_allclose(found.probability, full.probability, rtol=0, atol=1e-3)


def test_the_blocks_lie_on_a_grid_of_the_image(sparse, detector):
    found = detector(sparse, T=6, seed=1, sampling="adaptive")
    beyond = [(0, -n % SIDE) for n in found.n_draws.shape]
    assert beyond == [(0, 2), (0, 1)]
    blocks = in_blocks(np.pad(found.n_draws, beyond, mode="edge"))
    assert (blocks == blocks[:, :1, :, :1]).all()
    other = CosmicRayDetector(detector.model, device="cpu", tile_size=200)
    again = other(sparse, T=6, seed=1, sampling="adaptive")
    np.testing.assert_array_equal(again.n_draws, found.n_draws)
    np.testing.assert_allclose(again.probability, found.probability, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("levels", "views"), [(1, 2), (3, 2), (3, 4)])
@pytest.mark.parametrize("most", [0.0, 1.1], ids=["whole tiles", "blocks"])
@pytest.mark.parametrize("T", [7, 27])
def test_a_block_is_as_of_its_number_of_draws(
    make_tiny, frame, monkeypatch, levels, views, most, T
):
    model = make_tiny(variational=LAST_BLOCK, levels=levels, views=views, seed=2)
    for layer in variational_layers(model.network).values():
        layer.set_posterior_sigma(relative=0.3)
    monkeypatch.setattr(adaptive, "_MOST_BLOCKS", most)
    monkeypatch.setattr(adaptive, "_TOGETHER", 3)
    detector = CosmicRayDetector(model, device="cpu", tile_size=40)
    checked = [n for n in (2, 4, 8, 16, T) if views <= n <= T]
    full = {n: detector(frame, T=n, seed=1) for n in {16, *checked}}
    tolerance = float(np.quantile(in_blocks(full[16].uncertainty / 4).max((1, 3)), 0.5))
    limits = [np.quantile(in_blocks(full[n].probability).max((1, 3)), 0.2) for n in checked]
    negligible = (float(limits[0]), float(limits[1]), float(limits[-1]))
    monkeypatch.setattr(adaptive, "TOLERANCE", tolerance)
    monkeypatch.setattr(adaptive, "NEGLIGIBLE", negligible)
    found = detector(frame, T=T, seed=1, sampling="adaptive")
    numbers = np.unique(found.n_draws)
    assert set(numbers) <= set(checked)
    assert numbers.size > (3 if (levels, views, T) == (3, 2, 27) else 1)
    for n in numbers:
        has = found.n_draws == n
        for name in ("probability", "uncertainty", "mutual_information"):
            one, other = (getattr(maps, name)[has] for maps in (found, full[n]))
            np.testing.assert_allclose(one, other, rtol=0, atol=2e-5, err_msg=f"{n} {name}")
    for i, n in enumerate(checked[:-1]):
        most = in_blocks(full[n].probability).max((1, 3))
        unsettled = most / negligible[min(i, 2)]
        if n >= 16:
            error = in_blocks(full[n].uncertainty / np.sqrt(n)).max((1, 3))
            unsettled = np.minimum(unsettled, error / tolerance)
        has = in_blocks(found.n_draws)[:, 0, :, 0]
        assert (unsettled[has == n] <= 1 + 1e-3).all()
        assert (unsettled[has > n] > 1 - 1e-3).all()


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
