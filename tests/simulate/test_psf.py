import numpy as np
import pytest

from cosmiq_astro.simulate import PSF, moffat_psf


@pytest.fixture(scope="module")
def psf():
    return moffat_psf(2.5, beta=4, radius=24)


def test_star_keeps_flux_and_place(psf):
    image = psf.render((80, 80), [40.25], [37.625], [1000.0])
    y, x = np.mgrid[:80, :80]
    assert image.sum() == pytest.approx(1000, rel=5e-3)
    assert (image * y).sum() / image.sum() == pytest.approx(40.25, abs=0.01)
    assert (image * x).sum() / image.sum() == pytest.approx(37.625, abs=0.01)


def test_many_stars_equal_their_sum(psf):
    rng = np.random.default_rng(1)
    y, x = rng.uniform(-10, 60, (2, 30))
    flux = 10 ** rng.uniform(-1, 5, 30)
    together = psf.render((50, 40), y, x, flux)
    apart = sum(
        psf.render((50, 40), y[i : i + 1], x[i : i + 1], flux[i : i + 1]) for i in range(30)
    )
    np.testing.assert_allclose(together, apart, rtol=1e-5, atol=1e-4)


def test_star_beyond_the_edge_gives_its_wing(psf):
    wide = psf.render((60, 60), [30], [5], [1e4])
    cut = psf.render((60, 50), [30], [-5], [1e4])
    np.testing.assert_allclose(cut, wide[:, 10:], rtol=1e-6)


def test_cutoff_shrinks_stamps(psf):
    faint = psf.render((60, 60), [30], [30], [1.0], cutoff=1e-3)
    full = psf.render((60, 60), [30], [30], [1.0], cutoff=0)
    assert np.count_nonzero(faint) < np.count_nonzero(full) / 4
    assert np.abs(faint - full).max() < 1e-3


def test_kernel_sums_to_one_at_each_sampling(psf):
    for k in (1, 2, 4, 8):
        assert psf.kernel(k).sum() == pytest.approx(1)
    with pytest.raises(ValueError, match="must divide 8, got 3"):
        psf.kernel(3)


def test_trail_is_long_one_way_only(psf):
    trailed = psf.trailed(8, 0.0)
    kernel = trailed.kernel()
    half = kernel.shape[0] // 2
    axis = np.arange(-half, half + 1)
    plain = psf.kernel()
    wider = (kernel.sum(0) * axis**2).sum() - (plain.sum(0) * axis**2).sum()
    assert wider == pytest.approx(8**2 / 12, rel=0.05)
    assert (kernel.sum(0) * axis).sum() == pytest.approx(0, abs=0.01)
    np.testing.assert_allclose(kernel.sum(1), plain.sum(1), atol=2e-3)


def test_refuses_even_grid():
    with pytest.raises(ValueError, match=r"odd side, got \(64, 64\)"):
        PSF(np.ones((64, 64)))
