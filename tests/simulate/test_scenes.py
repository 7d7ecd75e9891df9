import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from cosmiq_astro.simulate import FIELDS, draw_sources, moffat_psf, simulate_scene


@pytest.fixture(scope="module")
def psf():
    return moffat_psf(2.0, beta=4, radius=24)


@pytest.mark.parametrize("field", FIELDS)
def test_every_field_is_finite_seeded_and_not_empty(field, psf):
    one, two = (simulate_scene((96, 128), field, psf, seed=4) for _ in range(2))
    assert one.rate.shape == (96, 128)
    assert one.rate.dtype == np.float32
    assert np.isfinite(one.rate).all()
    assert one.rate.min() >= 0
    assert one.rate.max() > 0
    np.testing.assert_array_equal(one.rate, two.rate)
    assert np.any(simulate_scene((96, 128), field, psf, seed=5).rate != one.rate)


def test_stars_lie_where_the_table_says(psf):
    scene = simulate_scene((128, 128), "globular", psf, seed=1, density=0.05, brightness=1.0)
    stars = scene.stars[np.argsort(scene.stars["flux"])[-5:]]
    for star in stars:
        y, x = int(np.rint(star["y"])), int(np.rint(star["x"]))
        assert scene.rate[y, x] > 0.05 * star["flux"]
    assert str(scene.stars["flux"].unit) == "electron / s"


def test_density_and_brightness_scale(psf):
    few, many = (
        len(simulate_scene((128, 128), "globular", psf, seed=1, density=d).stars)
        for d in (0.2, 2.0)
    )
    assert many > 5 * few
    dim, bright = (
        np.median(simulate_scene((64, 64), "globular", psf, seed=1, brightness=b).stars["flux"])
        for b in (0.5, 5.0)
    )
    assert bright == pytest.approx(10 * dim, rel=0.01)


def test_no_structure_is_sharper_than_the_psf(psf):
    scene = simulate_scene((128, 128), "galaxy", psf, seed=2, brightness=3.0)
    single = psf.render((41, 41), [20], [20], [1.0])
    inner = (slice(8, -8),) * 2
    contrast = [
        ((image + 1e-6) / gaussian_filter(image + 1e-6, 1.0))[inner].max()
        for image in (single, scene.rate)
    ]
    assert 1.2 < contrast[1] < 1.05 * contrast[0]


def test_galaxies_come_from_the_catalog(psf):
    light = [
        simulate_scene(
            (128, 128),
            "extragalactic",
            psf,
            seed=3,
            density=3.0,
            brightness=1.0,
            galaxies={"radius": np.array([4.0]), "flux": np.array([flux])},
        ).rate
        for flux in (1.0, 100.0)
    ]
    assert np.median(light[1]) > 5 * np.median(light[0])


def test_trail_crosses_the_scene(psf):
    settings = {"seed": 8, "density": 0.01, "brightness": 1.0}
    plain = simulate_scene((96, 96), "extragalactic", psf, **settings)
    trailed = simulate_scene((96, 96), "extragalactic", psf, n_trails=3, **settings)
    added = trailed.rate - plain.rate
    assert np.count_nonzero(added > 0.1 * added.max()) > 60
    assert added.min() > -1e-4 * max(plain.rate.max(), 1)


def test_refuses_unknown_field(psf):
    with pytest.raises(ValueError, match=r"field must be one of extragalactic, .* got 'moon'"):
        simulate_scene((16, 16), "moon", psf)


@pytest.mark.parametrize("field", ["globular", "extragalactic"])
def test_sources_seen_through_the_optics_are_the_scene(field):
    psf = moffat_psf(2.5)
    sources = draw_sources((64, 64), field, seed=3, margin=24, n_trails=1)
    seen = sources.canvas.observe(sources.plane(), psf)
    expected = simulate_scene((64, 64), field, psf, seed=3, n_trails=1).rate
    # Stars lie on the nearest points of the canvas.
    assert np.corrcoef(seen.ravel(), expected.ravel())[0, 1] > 0.99
    assert seen.sum() == pytest.approx(expected.sum(), rel=0.05)
