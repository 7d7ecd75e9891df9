"""Arrays, masks and tables that nobody would think of; a few examples each."""

import os

import numpy as np
import pytest
from astropy.nddata import CCDData
from astropy.table import Table
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import cosmiq_astro as ca
from cosmiq_astro.calibration import brier_score, expected_calibration_error, reliability_table

# Hypothesis thinks of images that no detector makes.
pytestmark = pytest.mark.filterwarnings("ignore:most pixels of the image are above")

# COSMIQ_TEST_EXAMPLES=500 for a release. No seed from the clock: a run can be repeated.
few = settings(
    max_examples=int(os.environ.get("COSMIQ_TEST_EXAMPLES", "25")),
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

shapes = hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=20)
dtypes = st.sampled_from(["f2", "f4", "f8", ">f4", "i2", ">i4", "u2", "u8", "i8"])
images = dtypes.flatmap(lambda dtype: hnp.arrays(dtype, shapes))


@st.composite
def images_with_masks(draw):
    image = draw(images)
    mask = draw(hnp.arrays(bool, image.shape))
    return image, mask


@given(images_with_masks())
@few
@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
def test_any_image_gives_lawful_maps(tiny_vi, pair):
    image, mask = pair
    before, mask_before = image.copy(), mask.copy()
    maps = ca.CosmicRayDetector(tiny_vi, device="cpu")(image, mask, T=2, seed=0)
    finite = np.isfinite(image)
    for name in ("probability", "uncertainty", "entropy", "mutual_information"):
        plane = getattr(maps, name)
        np.testing.assert_array_equal(np.isfinite(plane), finite)
        assert (plane[finite] >= 0).all()
    p, std = maps.probability[finite], maps.uncertainty[finite]
    h, mi = maps.entropy[finite], maps.mutual_information[finite]
    assert (p <= 1).all()
    assert (h <= np.float32(np.log(2))).all()
    # The variance of a variable in [0, 1] with mean p, and the part of an entropy that it has.
    assert (std**2 <= p * (1 - p) + 1e-6).all()
    assert (mi <= h + 1e-6).all()
    np.testing.assert_array_equal(maps.usable, finite & ~mask)
    np.testing.assert_array_equal(image, before)
    np.testing.assert_array_equal(mask, mask_before)


@given(images_with_masks(), st.integers(0, 3), st.floats(1e-3, 1 - 1e-3))
@few
@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
# What is doubtful about an image of this kind may be said.
@pytest.mark.filterwarnings("ignore::astropy.utils.exceptions.AstropyUserWarning")
def test_masked_pixels_are_never_flagged_or_changed(tiny_vi, pair, growth, threshold):
    image, mask = pair
    ccd = CCDData(image, unit="electron", mask=mask)
    settings = {"model": tiny_vi, "T": 2, "seed": 0, "device": "cpu", "threshold": threshold}
    out = ca.cosmicray_vi(ccd, mask_growth=growth, **settings)
    assert not (out.cr_mask & (mask | ~np.isfinite(image))).any()
    np.testing.assert_array_equal(out.mask, mask | out.cr_mask)
    np.testing.assert_array_equal(out.data, image)
    assert out.data.dtype == ccd.data.dtype


@given(images_with_masks(), st.floats(-1e6, 1e6))
@few
@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
def test_hidden_pixels_have_no_influence(tiny_vi, pair, value):
    image, mask = pair
    image = np.where(np.isfinite(image), np.clip(image.astype(float), -1e6, 1e6), 0.0)
    changed = np.where(mask, value, image)
    detector = ca.CosmicRayDetector(tiny_vi, device="cpu")
    one, two = (detector(pixels, mask, T=2, seed=0) for pixels in (image, changed))
    np.testing.assert_array_equal(one.probability, two.probability)


@st.composite
def tables(draw):
    n = draw(st.integers(1, 60))
    p = draw(hnp.arrays(np.float64, n, elements=st.floats(0, 1)))
    label = draw(hnp.arrays(np.int64, n, elements=st.integers(0, 1)))
    return p, label


@given(tables())
@few
def test_scores_of_any_table_are_in_their_range(pair):
    p, label = pair
    table = Table({"probability": p, "label": label})
    assert 0 <= brier_score(table) <= 1
    assert 0 <= expected_calibration_error(table) <= 1
    assert reliability_table(table)["n_pixels"].sum() == len(p)
    # A table and two arrays, and the same pixels in another order.
    assert brier_score(p, label) == brier_score(table)
    order = np.random.default_rng(0).permutation(len(p))
    np.testing.assert_allclose(
        expected_calibration_error(p[order], label[order]),
        expected_calibration_error(table),
        atol=1e-12,
    )


@given(
    hnp.arrays(np.float64, st.integers(1, 9), elements=st.floats(0, 1)),
    st.sampled_from(["label of 2", "another length"]),
)
@few
def test_tables_that_are_wrong_are_refused(p, fault):
    n = len(p)
    label = {
        "label of 2": np.full(n, 2),
        "another length": np.zeros(n + 1),
    }[fault]
    with pytest.raises(ValueError, match="label"):
        brier_score(p, label)
