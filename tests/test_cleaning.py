import sys

import numpy as np
import pytest
from astropy.utils.exceptions import AstropyUserWarning
from astroscrappy import detect_cosmics
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from cosmiq_astro.cleaning import CLEAN_METHODS, clean_pixels, cleaned_variance, grow_mask

LOCAL_METHODS = [method for method in CLEAN_METHODS if method != "maskfill"]


def expected_value(data, cr_mask, mask, y, x, method, size=5):
    """What the documentation says of one pixel, written as a loop."""
    usable = np.isfinite(data)
    if method != "median":
        usable &= ~cr_mask & ~mask
    yy, xx = np.indices(data.shape)
    ring = np.maximum(abs(yy - y), abs(xx - x))
    half = size // 2
    while not (usable & (ring <= half)).any():
        half += 1
    window = usable & (ring <= half)
    weight = 1 / np.maximum(np.hypot(yy - y, xx - x)[window], 1)
    return {
        "median": np.median(data[window]),
        "medmask": np.median(data[window]),
        "meanmask": np.mean(data[window]),
        "idw": np.average(data[window], weights=weight),
    }[method]


@pytest.fixture
def hits():
    """Return a Poisson sky with tracks, and the mask of the tracks."""
    rng = np.random.default_rng(7)
    image = rng.poisson(200, (90, 110)).astype(np.float32)
    cr_mask = np.zeros(image.shape, dtype=bool)
    for _ in range(40):
        y, x, length = rng.integers(5, 80), rng.integers(5, 90), rng.integers(1, 10)
        steps = np.arange(length)
        cr_mask[y + rng.integers(0, 2) * steps // 2, x + steps] = True
    image[cr_mask] += 5000
    return image, cr_mask


@settings(max_examples=60, deadline=None)
@given(
    data=arrays(
        np.float64,
        (6, 9),
        elements=st.one_of(st.floats(-1e3, 1e3), st.sampled_from([0.0, 0.0, np.nan, np.inf])),
    ),
    cr_mask=arrays(bool, (6, 9)),
    mask=arrays(bool, (6, 9)),
    method=st.sampled_from(LOCAL_METHODS),
)
def test_every_pixel_is_what_the_documentation_says(data, cr_mask, mask, method):
    data[0, 0], cr_mask[0, 0], mask[0, 0] = 1.0, False, False
    before = data.copy()
    cleaned = clean_pixels(data, cr_mask, method=method, mask=mask)
    changed = cr_mask & ~mask
    np.testing.assert_array_equal(data, before)
    np.testing.assert_array_equal(cleaned[~changed], data[~changed])
    for y, x in np.argwhere(changed):
        expected = expected_value(data, cr_mask, mask, y, x, method)
        np.testing.assert_allclose(cleaned[y, x], expected, atol=1e-9)


@pytest.mark.parametrize("method", ["medmask", "meanmask", "idw"])
def test_agrees_with_astroscrappy_away_from_the_edge(hits, method):
    image, _ = hits
    found, expected = detect_cosmics(
        image, gain=1, readnoise=5, niter=1, cleantype=method, sepmed=False, satlevel=1e9
    )
    compared = found.copy()
    compared[:2] = compared[-2:] = compared[:, :2] = compared[:, -2:] = False
    if method == "medmask":
        # Of an even number of values astroscrappy takes the lower middle one.
        compared &= ndimage.convolve((~found).astype(int), np.ones((5, 5), int)) % 2 == 1
    assert compared.sum() > 50
    cleaned = clean_pixels(image, found, method=method)
    np.testing.assert_allclose(cleaned[compared], expected[compared], rtol=1e-5)


def test_median_lets_flagged_pixels_count():
    image = np.zeros((5, 5))
    image[:3] = 100.0
    flagged = image > 50
    assert clean_pixels(image, flagged, method="median")[2, 2] == 100
    assert clean_pixels(image, flagged, method="medmask")[2, 2] == 0


@pytest.mark.parametrize("dtype", [">f4", "<f8", ">i2", "u2", "i4", "f2"])
@pytest.mark.parametrize("method", LOCAL_METHODS)
def test_type_and_byte_order_are_kept(dtype, method):
    image = np.arange(49).reshape(7, 7).astype(dtype)
    flagged = np.zeros((7, 7), dtype=bool)
    flagged[3, 3] = flagged[0, 6] = True
    cleaned = clean_pixels(image, flagged, method=method)
    assert cleaned.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(cleaned[~flagged], image[~flagged])


def test_integers_are_rounded():
    image = np.full((3, 3), 10, dtype=np.int16)
    image[0], image[1, 1] = 11, 900
    flagged = image == 900
    assert clean_pixels(image, flagged, method="meanmask", size=3)[1, 1] == 10
    image[2, :2] = 11
    assert clean_pixels(image, flagged, method="meanmask", size=3)[1, 1] == 11


def test_window_grows_over_a_large_hit():
    yy, xx = np.indices((41, 41))
    image = 10.0 + xx
    flagged = (abs(yy - 20) <= 6) & (abs(xx - 20) <= 6)
    image[flagged] = 1e5
    for method in ("medmask", "meanmask", "idw"):
        cleaned = clean_pixels(image, flagged, method=method)
        np.testing.assert_allclose(cleaned[20, 20], 30)
        assert cleaned[flagged].min() >= 10
        assert cleaned[flagged].max() <= 50


@pytest.mark.parametrize("method", LOCAL_METHODS)
def test_nothing_to_fill_from_is_reported_and_left(method):
    image = np.full((4, 4), np.nan)
    image[1, 1] = 7.0
    cr_mask = np.ones((4, 4), dtype=bool)
    if method == "median":
        image[1, 1] = np.nan
    with pytest.warns(AstropyUserWarning, match="16 of 16 flagged pixels were left unchanged"):
        cleaned = clean_pixels(image, cr_mask, method=method)
    np.testing.assert_array_equal(cleaned, image)


def test_pixels_far_from_any_good_one_are_left():
    image = np.zeros((1, 80))
    cr_mask = np.ones((1, 80), dtype=bool)
    cr_mask[0, 0] = False
    image[cr_mask] = 9.0
    with pytest.warns(AstropyUserWarning, match="29 of 79 .*no good pixel within 50 pixels"):
        cleaned = clean_pixels(image, cr_mask)
    np.testing.assert_array_equal(cleaned[0, :51], 0)
    np.testing.assert_array_equal(cleaned[0, 51:], 9)


def test_no_flagged_pixel_is_a_copy(hits):
    image, _ = hits
    cleaned = clean_pixels(image, np.zeros(image.shape, dtype=bool))
    np.testing.assert_array_equal(cleaned, image)
    assert not np.shares_memory(cleaned, image)


def test_maskfill(hits):
    pytest.importorskip("maskfill")
    image, cr_mask = hits
    mask = np.zeros_like(cr_mask)
    mask[:, 60] = True
    cleaned = clean_pixels(image, cr_mask, method="maskfill", mask=mask, size=3)
    changed = cr_mask & ~mask
    assert cleaned.dtype == image.dtype
    np.testing.assert_array_equal(cleaned[~changed], image[~changed])
    assert abs(cleaned[changed].mean() - 200) < 5
    nothing = np.ones_like(cr_mask)
    with pytest.warns(AstropyUserWarning, match="left unchanged"):
        np.testing.assert_array_equal(clean_pixels(image, nothing, method="maskfill"), image)


def test_maskfill_missing_is_said_so(hits, monkeypatch):
    monkeypatch.setitem(sys.modules, "maskfill", None)
    with pytest.raises(ImportError, match="pip install maskfill"):
        clean_pixels(*hits, method="maskfill")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "mean"}, "method='mean' is unknown: choose one of"),
        ({"size": 4}, "size=4 is not an odd integer"),
        ({"size": 1}, "size=1 is not an odd integer"),
        ({"size": 5.0}, "size=5.0 is not an odd integer"),
        ({"mask": np.zeros((2, 2))}, r"mask has the shape \(2, 2\), the image \(90, 110\)"),
        ({"cr_mask": np.zeros((2, 2))}, r"cr_mask has the shape \(2, 2\)"),
        ({"data": np.zeros((2, 3, 4))}, "data is 3-dimensional of type float64"),
        ({"data": np.zeros((90, 110), complex)}, "of type complex128"),
    ],
)
def test_refusals(hits, changes, message):
    arguments = {"data": hits[0], "cr_mask": hits[1]} | changes
    with pytest.raises(ValueError, match=message):
        clean_pixels(arguments.pop("data"), arguments.pop("cr_mask"), **arguments)


@pytest.mark.parametrize("method", ["medmask", "meanmask", "idw"])
@pytest.mark.parametrize("scatter", [0.0, 10.0])
def test_variance_covers_the_true_error(method, scatter):
    """Squared errors of the guess add up to the variances, in a flat and in a ragged scene."""
    rng = np.random.default_rng(3)
    shape, noise = (400, 400), 5.0
    image = 100 + rng.normal(0, scatter, shape) + rng.normal(0, noise, shape)
    flagged = np.zeros(shape, dtype=bool)
    flagged[2:-2:7, 2:-2:7] = flagged[3:-2:7, 2:-2:7] = True
    hit = np.where(flagged, 1e5, image)
    cleaned = clean_pixels(hit, flagged, method=method)
    variance = cleaned_variance(np.full(shape, noise**2), flagged, data=hit, method=method)
    ratio = np.mean((cleaned - image)[flagged] ** 2) / np.mean(variance[flagged])
    assert 0.85 < ratio < 1.03
    assert variance[flagged].min() > noise**2
    np.testing.assert_array_equal(variance[~flagged], noise**2)


@pytest.mark.parametrize(
    ("method", "share"),
    [
        ("meanmask", 1 / 23),
        ("medmask", np.pi / (44 + np.pi)),
        ("idw", None),
    ],
)
def test_variance_formula(method, share):
    rng = np.random.default_rng(1)
    image = rng.normal(0, 3, (5, 5))
    flagged, mask = np.zeros((2, 5, 5), dtype=bool)
    flagged[2, 2] = mask[0, 1] = True
    image[mask] = 1e4
    good = ~flagged & ~mask
    if method == "idw":
        yy, xx = np.indices((5, 5)) - 2
        weight = (1 / np.maximum(np.hypot(yy, xx), 1))[good]
        share = np.sum(weight**2) / np.sum(weight) ** 2
    for variance in (1.0, 400.0):
        result = cleaned_variance(
            np.full((5, 5), variance), flagged, data=image, method=method, mask=mask
        )
        expected = max(np.var(image[good], ddof=1), variance) * (1 + share)
        np.testing.assert_allclose(result[2, 2], expected)


def test_variance_of_a_single_neighbour_and_of_none():
    image = np.array([[1.0, 50.0, np.nan]])
    flagged = np.array([[False, True, False]])
    variance = np.array([[4.0, 9.0, 9.0]], dtype=">f4")
    result = cleaned_variance(variance, flagged, data=image)
    assert result.dtype == variance.dtype
    np.testing.assert_allclose(result, [[4, 8, 9]])
    image[0, 0] = np.nan
    np.testing.assert_array_equal(cleaned_variance(variance, flagged, data=image), variance)
    with pytest.raises(ValueError, match=r"variance has the shape \(2,\), the image \(1, 3\)"):
        cleaned_variance(np.ones(2), flagged, data=image)


@settings(max_examples=40, deadline=None)
@given(
    cr_mask=arrays(bool, (7, 8)),
    mask=arrays(bool, (7, 8)),
    radius=st.floats(0, 4),
)
def test_grown_mask_is_the_pixels_within_the_radius(cr_mask, mask, radius):
    yy, xx = np.indices(cr_mask.shape)
    expected = cr_mask.copy()
    for y, x in np.argwhere(cr_mask):
        expected |= ((yy - y) ** 2 + (xx - x) ** 2 <= radius**2) & ~mask
    np.testing.assert_array_equal(grow_mask(cr_mask, radius, mask=mask), expected)
    np.testing.assert_array_equal(grow_mask(cr_mask, 0, mask=mask), cr_mask)


def test_growing_refuses_a_bad_radius():
    for radius in (-1, np.nan, np.inf):
        with pytest.raises(ValueError, match=f"radius={radius} is not a finite number"):
            grow_mask(np.ones((2, 2), bool), radius)
    with pytest.raises(ValueError, match=r"mask has the shape \(3,\)"):
        grow_mask(np.ones((2, 2), bool), 1, mask=np.ones(3))
