from types import SimpleNamespace

import astropy.units as u
import numpy as np
import pytest
from astropy.nddata import CCDData
from astropy.table import QTable, Table
from astropy.utils.exceptions import AstropyUserWarning
from astropy.wcs import WCS
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage
from scipy.special import ndtr

from cosmiq_astro.catalog import cosmicray_catalog, hit_rate, plot_catalog, sources_touching
from cosmiq_astro.nddata import CosmicRayCCDData

SKY, READNOISE, CELL = 60.0, 5.0, 40


@pytest.fixture(scope="module")
def injected():
    """Return a noisy sky with one track per cell, and the truth of the tracks."""
    rng = np.random.default_rng(11)
    shape = (600, 640)
    charge, truth = np.zeros(shape), []
    for y0 in range(CELL // 2, shape[0], CELL):
        for x0 in range(CELL // 2, shape[1], CELL):
            q, length, angle = rng.uniform(1500, 8000), rng.uniform(0, 14), rng.uniform(0, np.pi)
            along = np.linspace(-length / 2, length / 2, 60)
            y = y0 + rng.uniform(-0.5, 0.5) + along * np.sin(angle)
            x = x0 + rng.uniform(-0.5, 0.5) + along * np.cos(angle)
            share = [
                np.diff(ndtr((np.arange(n + 1)[:, None] - 0.5 - v) / 0.3), axis=0)
                for n, v in zip(shape, (y, x), strict=True)
            ]
            charge += q / along.size * share[0] @ share[1].T
            truth.append((x.mean(), y.mean(), q, length, np.degrees(angle)))
    data = rng.poisson(charge + SKY) + rng.normal(0, READNOISE, shape)
    cr_mask = charge > 3 * np.sqrt(SKY + READNOISE**2)
    names = ("x", "y", "charge", "length", "angle")
    truth = Table(rows=truth, names=names)
    return SimpleNamespace(data=data, charge=charge, cr_mask=cr_mask, truth=truth)


@pytest.fixture
def small():
    """Return a small result of a detection with two hits and a celestial WCS."""
    data = np.full((40, 50), 20.0, dtype=np.float32)
    cr_mask = np.zeros(data.shape, dtype=bool)
    cr_mask[10, 4:8] = cr_mask[39, 20] = True
    data[cr_mask] += 500
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval, wcs.wcs.crpix, wcs.wcs.cdelt = [150, 2], [1, 1], [-1e-5, 1e-5]
    return CosmicRayCCDData(
        data,
        unit="electron",
        wcs=wcs,
        meta={"EXPTIME": 500.0},
        mask=cr_mask,
        cr_mask=cr_mask,
        cr_probability=0.9 * cr_mask,
        cr_entropy=0.3 * cr_mask,
    )


def test_charges_and_positions_are_those_injected(injected):
    hits = cosmicray_catalog(injected.data, injected.cr_mask)
    assert len(hits) == len(injected.truth)
    cell = (hits["y"] // CELL * (640 // CELL) + hits["x"] // CELL).astype(int)
    truth = injected.truth[cell]
    assert len(set(cell)) == len(truth)
    assert np.hypot(hits["x"] - truth["x"], hits["y"] - truth["y"]).max() < 0.5
    # The charge in the flagged pixels is measured without bias and with the noise of these pixels.
    labels, n_hits = ndimage.label(injected.cr_mask, np.ones((3, 3)))
    flagged = ndimage.sum(injected.charge, labels, np.arange(1, n_hits + 1))
    noise = np.sqrt(flagged + hits["area"].value * (SKY + READNOISE**2))
    pull = (hits["charge"].value - flagged) / noise
    assert abs(pull.mean()) < 0.25
    assert 0.85 < pull.std() < 1.25
    # What is lost lies below three sigma around the hit.
    assert 0.93 < np.median(hits["charge"].value / truth["charge"]) < 1
    tracks = truth["length"] > 5
    turn = (hits["angle"].value - truth["angle"] + 90) % 180 - 90
    assert np.std(turn[tracks]) < 3
    assert np.std(hits["length"].value - truth["length"]) < 1
    assert not hits["near_source"].any()


@settings(max_examples=50, deadline=None)
@given(cr_mask=arrays(bool, (9, 11), elements=st.sampled_from([False, False, False, True])))
def test_hits_are_the_connected_groups(cr_mask):
    cr_mask = np.pad(cr_mask, [(0, 4), (0, 4)])
    image = 50.0 + 1000 * cr_mask
    hits = cosmicray_catalog(image, cr_mask)
    _, n_hits = ndimage.label(cr_mask, np.ones((3, 3)))
    assert len(hits) == hits.meta["n_hits"] == n_hits
    np.testing.assert_array_equal(hits["id"], np.arange(1, n_hits + 1))
    assert hits["area"].sum() == np.count_nonzero(cr_mask) * u.pix
    np.testing.assert_allclose(hits["charge"].value, 1000 * hits["area"].value)
    np.testing.assert_allclose(hits["peak"].value, 1000)
    assert ((hits["angle"] >= 0 * u.deg) & (hits["angle"] < 180 * u.deg)).all()
    rim = cr_mask.copy()
    rim[1:-1, 1:-1] = False
    assert hits["edge"].any() == rim.any()


@pytest.mark.parametrize(
    ("pixels", "length", "angle"),
    [
        ([(5, 5)], 1, 0),
        ([(5, 3), (5, 4), (5, 5), (5, 6)], 4, 0),
        ([(3, 5), (4, 5), (5, 5)], 3, 90),
        ([(3, 3), (4, 4), (5, 5)], np.sqrt(17), 45),
        ([(3, 5), (4, 4), (5, 3)], np.sqrt(17), 135),
    ],
)
def test_length_and_angle(pixels, length, angle):
    cr_mask = np.zeros((12, 12), dtype=bool)
    cr_mask[tuple(np.transpose(pixels))] = True
    hits = cosmicray_catalog(100.0 * cr_mask, cr_mask)
    assert len(hits) == 1
    np.testing.assert_allclose(hits["length"].value, length)
    np.testing.assert_allclose(hits["angle"].value, angle)


def test_result_of_a_detection(small):
    hits = cosmicray_catalog(small)
    np.testing.assert_allclose(hits["x"], [5.5, 20])
    np.testing.assert_allclose(hits["y"], [10, 39])
    np.testing.assert_array_equal(hits["area"], [4, 1] * u.pix)
    assert hits["charge"].unit == u.electron
    np.testing.assert_allclose(hits["charge"].value, [2000, 500])
    np.testing.assert_allclose(hits["mean_probability"], 0.9, rtol=1e-6)
    np.testing.assert_allclose(hits["mean_entropy"], 0.3, rtol=1e-6)
    np.testing.assert_array_equal(hits["edge"], [False, True])
    sky = small.wcs.pixel_to_world(hits["x"], hits["y"])
    assert hits["sky"].separation(sky).max() < 1e-9 * u.arcsec
    rate = 2 / (2000 * (15e-4 * u.cm) ** 2 * 500 * u.s)
    assert u.isclose(hits.meta["hit_rate"], rate)
    assert u.isclose(hits.meta["hit_rate_error"], rate / np.sqrt(2))
    assert u.isclose(cosmicray_catalog(small, pixel_size=30 * u.um).meta["hit_rate"], rate / 4)


def test_table_survives_a_file(small, tmp_path):
    hits = cosmicray_catalog(small)
    hits.write(tmp_path / "hits.ecsv")
    back = QTable.read(tmp_path / "hits.ecsv")
    assert back.colnames == hits.colnames
    assert back.meta == hits.meta
    np.testing.assert_array_equal(back["charge"], hits["charge"])


def test_no_cosmic_rays_give_an_empty_table_with_the_same_columns(small):
    full = cosmicray_catalog(small)
    small.cr_mask[:] = False
    empty = cosmicray_catalog(small)
    assert len(empty) == 0
    assert empty.colnames == full.colnames
    for name in set(full.colnames) - {"sky"}:
        assert empty[name].unit == full[name].unit
        assert empty[name].dtype == full[name].dtype
    assert empty.meta["hit_rate"].value == 0
    assert empty.meta["hit_rate_error"].value == 0
    assert empty.meta.keys() == full.meta.keys()


def test_units_do_not_change_the_charge(small):
    expected = cosmicray_catalog(small)["charge"]
    adu = CCDData(small.data / 2, unit="adu")
    rate = CCDData(small.data / 500, unit="electron / s", meta={"EXPTIME": 500})
    counts = CCDData(small.data / 1000, unit="count / s")
    for ccd, settings_ in (
        (adu, {"gain": 2}),
        (adu, {"gain": 2 * u.electron / u.adu}),
        (rate, {}),
        (counts, {"gain": 2, "exposure_time": 500 * u.s}),
        (small.data / 2, {"gain": 2}),
        (small.data.astype(">f4"), {}),
        (small.data.astype(int).tolist(), {}),
        (small.data * u.electron, {}),
    ):
        hits = cosmicray_catalog(ccd, small.cr_mask, **settings_)
        np.testing.assert_allclose(hits["charge"].value, expected.value, rtol=1e-5)


@pytest.mark.parametrize(
    ("unit", "settings_", "message"),
    [
        ("adu", {}, "in adu: give gain"),
        ("electron", {"gain": 2}, "leave gain out, got 2"),
        ("electron / s", {}, "give exposure_time"),
        ("Jy", {}, "have unit .Jy."),
    ],
)
def test_units_that_cannot_be_electrons_are_refused(small, unit, settings_, message):
    ccd = CCDData(small.data, unit=unit)
    with pytest.raises(ValueError, match=message):
        cosmicray_catalog(ccd, small.cr_mask, **settings_)


def test_masks_are_required_and_must_fit(small):
    with pytest.raises(ValueError, match="cr_mask=None, and ccd has no cr_mask"):
        cosmicray_catalog(small.data)
    with pytest.raises(ValueError, match=r"cr_mask has the shape \(3, 3\), the image \(40, 50\)"):
        cosmicray_catalog(small.data, np.ones((3, 3)))


def test_masked_and_infinite_pixels_belong_to_no_hit(small):
    small.mask = small.cr_mask.copy()
    small.mask[30:] = True
    small.cr_mask[39, 20] = False
    small.data[10, 4] = np.nan
    small.data[9, 5:7] = np.inf
    hits = cosmicray_catalog(small)
    np.testing.assert_array_equal(hits["area"], [3] * u.pix)
    np.testing.assert_allclose(hits["charge"].value, 1500)
    assert hits.meta["n_pixels"] == 30 * 50 - 3


def test_charge_is_unknown_where_no_background_is_near():
    data = np.full((130, 130), 5.0)
    cr_mask = np.zeros(data.shape, dtype=bool)
    cr_mask[100, 100] = cr_mask[4, 5] = True
    mask = np.ones(data.shape, dtype=bool)
    mask[:20] = mask[100, 100] = False
    data[cr_mask] = 105
    with pytest.warns(AstropyUserWarning, match="left unchanged"):
        hits = cosmicray_catalog(CCDData(data, unit="electron", mask=mask), cr_mask)
    np.testing.assert_allclose(hits["charge"].value, [100, np.nan])
    np.testing.assert_allclose(hits["x"], [5, 100])


def test_hits_without_net_charge_have_a_position(small):
    small.data[10, 4:8] = 10
    hits = cosmicray_catalog(small)
    np.testing.assert_allclose(hits["charge"][0].value, -40)
    np.testing.assert_allclose((hits["x"][0], hits["y"][0]), (5.5, 10))


def test_saturated_and_near_source(small):
    rng = np.random.default_rng(2)
    small.data += rng.normal(0, 3, small.shape).astype(np.float32)
    assert not cosmicray_catalog(small)["near_source"].any()
    yy, xx = np.indices(small.shape)
    small.data += 400 * np.exp(-((yy - 11) ** 2 + (xx - 6) ** 2) / 8).astype(np.float32)
    hits = cosmicray_catalog(small, satlevel=800)
    np.testing.assert_array_equal(hits["near_source"], [True, False])
    np.testing.assert_array_equal(hits["saturated"], [True, False])
    assert not cosmicray_catalog(small)["saturated"].any()


def test_no_rate_without_an_exposure_time(small):
    small.meta.clear()
    meta = cosmicray_catalog(small).meta
    assert meta["hit_rate"] is meta["hit_rate_error"] is meta["exposure_time"] is None
    small.meta["EXPTIME"] = 0.0
    assert cosmicray_catalog(small).meta["hit_rate"] is None


def test_hit_rate():
    rate = hit_rate(100, (1000, 1000), exposure_time=2 * u.min, pixel_size=10 * u.um)
    assert rate.unit == 1 / (u.cm**2 * u.s)
    np.testing.assert_allclose(rate.value, 100 / (1 * 120))
    table = Table({"id": np.arange(100)})
    assert hit_rate(table, (10**6,), exposure_time=120, pixel_size=10 * u.um) == rate
    with pytest.raises(ValueError, match=r"exposure_time=0.0 s is not positive"):
        hit_rate(1, (5, 5), exposure_time=0)
    with pytest.raises(ValueError, match=r"shape=\(0, 5\) has no pixels"):
        hit_rate(1, (0, 5), exposure_time=1)


@settings(max_examples=40, deadline=None)
@given(
    cr_mask=arrays(bool, (8, 9), elements=st.sampled_from([False, False, False, True])),
    probability=arrays(np.float32, (8, 9), elements=st.floats(0, 1, width=32)),
    positions=arrays(float, (3, 2), elements=st.one_of(st.floats(-5, 14), st.just(np.nan))),
    radius=st.floats(0.3, 4),
)
def test_pixels_of_each_source(cr_mask, probability, positions, radius):
    entropy = probability * np.float32(0.69)
    ccd = SimpleNamespace(cr_mask=cr_mask, cr_probability=probability, cr_entropy=entropy)
    sources = Table({"xcentroid": positions[:, 0], "ycentroid": positions[:, 1]})
    result = sources_touching(sources, ccd, radius=radius)
    yy, xx = np.indices(cr_mask.shape)
    for row, (x, y) in zip(result, positions, strict=True):
        inside = np.hypot(xx - x, yy - y) <= radius
        assert row["n_flagged"] == np.count_nonzero(cr_mask & inside)
        assert row["n_uncertain"] == np.count_nonzero((entropy > 0.325) & inside)
        assert row["touched"] == ((cr_mask | (entropy > 0.325)) & inside).any()
        for name, plane in (("max_entropy", entropy), ("max_probability", probability)):
            expected = plane[inside].max() if inside.any() else np.nan
            np.testing.assert_array_equal(row[name], expected)


def test_sources_keep_their_columns_and_are_not_changed(small):
    sources = Table({"name": ["a", "b"], "x": [5.0, 40.0] * u.pix, "y": [11.0, 30.0] * u.pix})
    result = sources_touching(sources, small, radius=2)
    assert sources.colnames == ["name", "x", "y"]
    assert list(result["name"]) == ["a", "b"]
    np.testing.assert_array_equal(result["n_flagged"], [3, 0])
    np.testing.assert_array_equal(result["touched"], [True, False])
    with pytest.raises(ValueError, match=r"sources has the columns .*'ra', 'dec'"):
        sources_touching(Table({"ra": [1.0], "dec": [2.0]}), small, radius=2)
    with pytest.raises(ValueError, match="radius=0 is not a positive number"):
        sources_touching(sources, small, radius=0)


def test_plot(small):
    pytest.importorskip("matplotlib").use("Agg")
    from matplotlib.figure import Figure

    ax = Figure().subplots()
    assert plot_catalog(cosmicray_catalog(small), ax) is ax
    (lines,) = ax.collections
    np.testing.assert_allclose(lines.get_segments()[0], [[3.5, 10], [7.5, 10]])
    np.testing.assert_allclose(lines.get_array(), [2000, 500], rtol=1e-6)
    assert len(ax.figure.axes) == 2
    small.cr_mask[:] = False
    empty = plot_catalog(cosmicray_catalog(small), Figure().subplots())
    assert not empty.collections
