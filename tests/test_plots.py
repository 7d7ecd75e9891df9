from types import SimpleNamespace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from cosmiq_astro import CosmicRayCCDData
from cosmiq_astro.plots import plot_detection, plot_maps

plt = pytest.importorskip("matplotlib.pyplot")


@pytest.fixture(autouse=True)
def _no_display():
    plt.switch_backend("Agg")
    yield
    plt.close("all")


@pytest.fixture
def out():
    image = np.random.default_rng(0).normal(50, 7, (30, 40))
    mask = np.zeros(image.shape, dtype=bool)
    mask[10, 12:15] = True
    planes = {"cr_probability": 0.9 * mask, "cr_entropy": 0.3 * mask}
    return CosmicRayCCDData(image, unit="electron", cr_mask=mask, **planes)


def test_four_panels(out):
    axes = plot_detection(out)
    titles = [ax.get_title() for ax in axes]
    assert titles == ["image", "cosmic rays: 3 pixels", "probability", "entropy (nats)"]
    overlay = axes[1].images[1].get_array()
    np.testing.assert_array_equal(overlay[..., 3] > 0, out.cr_mask)
    np.testing.assert_array_equal(axes[2].images[0].get_array(), out.cr_probability)
    np.testing.assert_array_equal(axes[3].images[0].get_array(), out.cr_entropy)


def test_given_axes_are_used(out):
    figure, given = plt.subplots(2, 2)
    assert plot_detection(out, axes=given)[3] is given[1, 1]
    figure.canvas.draw()
    with pytest.raises(ValueError, match="axes must be four, got 2"):
        plot_detection(out, axes=given[0])


def test_hits_stay_visible_in_large_images(out):
    mask = np.zeros((30, 900), dtype=bool)
    mask[10, 400] = True
    big = CosmicRayCCDData(
        np.ones(mask.shape), unit="adu", cr_mask=mask, cr_probability=mask, cr_entropy=mask
    )
    overlay = plot_detection(big)[1].images[1].get_array()
    assert (overlay[..., 3] > 0).sum() == 25


@pytest.mark.parametrize("fill", [np.nan, 7.0])
def test_images_without_contrast(out, fill):
    out.data[...] = fill
    axes = plot_detection(out)
    axes[0].figure.canvas.draw()


def test_missing_planes(out):
    out.cr_entropy = None
    with pytest.raises(ValueError, match="out has no cr_entropy: give the result of a detection"):
        plot_detection(out)


def test_maps_have_a_row_for_each_result():
    rng = np.random.default_rng(0)
    p = rng.random((20, 30))
    results = [SimpleNamespace(probability=p), SimpleNamespace(cr_probability=p**2)]
    axes = plt.figure().subplots(2, 4)
    out = plot_maps(rng.normal(size=p.shape), results, truth=p > 0.4, names=["a", "b"], axes=axes)
    assert out is axes
    mask = axes[0, 1].images[0].get_array()
    assert np.all(mask[p >= 0.5] == 0)
    missed = mask[(p > 0.4) & (p < 0.5)]
    assert_allclose(missed, np.broadcast_to((0.9, 0.1, 0.1), missed.shape))
    assert_allclose(axes[1, 2].images[0].get_array(), p**2)
    assert axes[0, 3].images[0].get_array().max() <= np.log(2)
    assert axes[0, 0].get_title() == "data"
    assert axes[1, 0].get_ylabel() == "b"
