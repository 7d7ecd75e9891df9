import dataclasses
import inspect
from pathlib import Path

import ccdproc
import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.nddata import CCDData, NDData, NDDataArray, StdDevUncertainty, UnknownUncertainty
from astropy.utils.exceptions import AstropyUserWarning
from astropy.utils.masked import Masked

from cosmiq_astro import CosmicRayDetector, cosmicray_unet, cosmicray_vi
from cosmiq_astro._lacosmic import refuse_lacosmic
from cosmiq_astro.cleaning import clean_pixels
from cosmiq_astro.nddata import PLANES, CosmicRayCCDData

CARDS = ("MODL", "VERS", "SHA", "T", "SAMP", "SEED", "THR", "NPIX", "NHIT")


@pytest.fixture
def ccd(frame):
    return CCDData(frame, unit="electron", meta=fits.Header({"EXPTIME": 100.0}))


def vi(ccd, model, **kwargs):
    return cosmicray_vi(ccd, **{"T": 2, "seed": 1, "model": model, "threshold": 0.4} | kwargs)


def test_result_and_input(ccd, tiny_vi):
    before = ccd.copy()
    out = vi(ccd, tiny_vi)
    assert isinstance(out, CosmicRayCCDData)
    np.testing.assert_array_equal(out.data, before.data)
    np.testing.assert_array_equal(ccd.data, before.data)
    assert ccd.mask is None
    assert list(ccd.meta) == ["EXPTIME"]
    assert out.cr_mask.any()
    np.testing.assert_array_equal(out.mask, out.cr_mask)
    np.testing.assert_array_equal(out.cr_mask, out.cr_probability >= 0.4)
    for name in PLANES:
        assert getattr(out, name).dtype == (bool if name == "cr_mask" else np.float32)
    out.data[:] = 0
    out.mask[:] = True
    assert ccd.data.any()


def test_masked_and_nan_pixels_are_never_flagged_changed_or_grown_into(frame, tiny_vi):
    mask = np.zeros(frame.shape)
    mask[15:30, 55:70] = 1
    frame[50, 50] = np.nan
    ccd = CCDData(frame, unit="electron", mask=mask)
    threshold = float(np.nanquantile(vi(ccd, tiny_vi).cr_probability, 0.98))
    out = vi(ccd, tiny_vi, mask_growth=3, clean="medmask", threshold=threshold)
    hidden = mask.astype(bool) | np.isnan(frame)
    assert out.cr_mask.any()
    assert not out.cr_mask[hidden].any()
    assert out.mask[mask.astype(bool)].all()
    np.testing.assert_array_equal(out.data[~out.cr_mask], frame[~out.cr_mask])
    assert np.isnan(out.cr_probability[50, 50])


def test_units_give_the_same_planes(ccd, tiny_vi):
    expected = vi(ccd, tiny_vi)
    variants = [
        (CCDData(ccd.data / 2, unit="adu"), {"gain": 2}),
        (CCDData(ccd.data / 2, unit="adu"), {"gain": 2 * u.electron / u.adu}),
        (CCDData(ccd.data / 2, unit="ct"), {"gain": 2 * u.electron / u.ct}),
        (CCDData(ccd.data / 100, unit="electron / s", meta=ccd.meta), {}),
        (CCDData(ccd.data / 100, unit="electron / s"), {"exposure_time": 100 * u.s}),
        (CCDData(ccd.data / 60, unit="electron / s"), {"exposure_time": 1 * u.min}),
        (CCDData(ccd.data / 200, unit="adu / s"), {"exposure_time": 100, "gain": 2}),
        (CCDData(ccd.data.astype(">f4"), unit="electron"), {"gain": 1.0}),
    ]
    for variant, kwargs in variants:
        unit = variant.unit
        out = vi(variant, tiny_vi, **kwargs)
        assert out.unit == unit
        np.testing.assert_array_equal(out.data, variant.data)
        np.testing.assert_allclose(out.cr_probability, expected.cr_probability, atol=1e-4)


def test_levels_as_quantities(ccd, tiny_unet):
    adu = CCDData(ccd.data / 2, unit="adu")
    one = cosmicray_unet(adu, model=tiny_unet, gain=2, readnoise=6.0, satlevel=2000.0)
    two = cosmicray_unet(
        adu, model=tiny_unet, gain=2, readnoise=3 * u.adu, satlevel=2000 * u.electron
    )
    np.testing.assert_array_equal(one.cr_probability, two.cr_probability)
    other = cosmicray_unet(adu, model=tiny_unet, gain=2, readnoise=12.0)
    assert not np.allclose(one.cr_probability, other.cr_probability)


@pytest.mark.parametrize("kind", ["array", "list", "integers", "big-endian", "masked", "quantity"])
def test_arrays_return_data_and_mask(frame, tiny_unet, kind):
    frame = frame.round()
    given = {
        "array": frame,
        "list": frame.tolist(),
        "integers": frame.astype(int),
        "big-endian": frame.astype(">f4"),
        "masked": np.ma.array(frame, mask=frame > 1e9),
        "quantity": frame * u.electron,
    }[kind]
    expected = cosmicray_unet(CCDData(frame, unit="electron"), model=tiny_unet, threshold=0.4)
    data, mask = cosmicray_unet(given, model=tiny_unet, threshold=0.4)
    np.testing.assert_array_equal(np.asarray(data), frame)
    np.testing.assert_array_equal(mask, expected.cr_mask)
    assert mask.dtype == bool


@pytest.mark.parametrize("masked", [np.ma.MaskedArray, Masked, lambda *a: Masked(*a) * u.electron])
def test_masked_arrays_keep_their_mask(frame, tiny_unet, masked):
    mask = np.zeros(frame.shape, bool)
    mask[20:40, 20:40] = True
    kwargs = {"model": tiny_unet, "threshold": 1e-6}
    assert cosmicray_unet(frame, **kwargs)[1][mask].any()
    data, cr_mask = cosmicray_unet(masked(frame, mask), **kwargs)
    assert not cr_mask[mask].any()
    assert type(data) is np.ndarray


def test_cleaning_replaces_pixels_and_their_uncertainty(frame, tiny_unet):
    mask = np.zeros(frame.shape, bool)
    mask[20, 60:66] = True
    ccd = CCDData(frame, unit="electron", uncertainty=StdDevUncertainty(np.full(frame.shape, 9.0)))
    threshold = float(np.quantile(cosmicray_unet(ccd, model=tiny_unet).cr_probability, 0.99))
    out = cosmicray_unet(ccd, model=tiny_unet, threshold=threshold, clean="medmask")
    flagged = out.cr_mask
    assert flagged.any()
    assert isinstance(out.uncertainty, StdDevUncertainty)
    assert (out.uncertainty.array[flagged] > 9).all()
    np.testing.assert_allclose(out.uncertainty.array[~flagged], 9)
    assert not np.array_equal(out.data[flagged], frame[flagged])
    np.testing.assert_array_equal(ccd.uncertainty.array, 9)


def test_attributes_come_through(frame, tiny_unet):
    ccd = CCDData(
        frame,
        unit="electron",
        uncertainty=StdDevUncertainty(np.sqrt(np.abs(frame))),
        flags=np.ones(frame.shape, int),
        meta={"OBJECT": "47 Tuc"},
    )
    out = cosmicray_unet(ccd, model=tiny_unet)
    np.testing.assert_array_equal(out.uncertainty.array, ccd.uncertainty.array)
    np.testing.assert_array_equal(out.flags, ccd.flags)
    assert out.meta["OBJECT"] == "47 Tuc"
    assert "OBJECT" in ccd.meta
    assert len(ccd.meta) == 1


@pytest.mark.parametrize("meta", [fits.Header(), {}])
def test_cards(frame, tiny_vi, meta, tmp_path):
    out = vi(CCDData(frame, unit="electron", meta=meta), tiny_vi)
    assert all(f"CRVI{card}" in out.meta for card in CARDS)
    assert out.meta["CRVIMODL"] == "tiny"
    assert (out.meta["CRVIT"], out.meta["CRVISEED"], out.meta["CRVITHR"]) == (2, 1, 0.4)
    assert out.meta["CRVINPIX"] == out.cr_mask.sum()
    assert 0 < out.meta["CRVINHIT"] <= out.cr_mask.sum()
    out.write(tmp_path / "out.fits")
    assert fits.getheader(tmp_path / "out.fits")["CRVISEED"] == 1
    without = vi(CCDData(frame, unit="electron"), tiny_vi, add_keyword=False)
    assert not len(without.meta)


def test_baseline_has_no_spread(ccd, tiny_unet):
    out = cosmicray_unet(ccd, model=tiny_unet)
    assert not out.cr_uncertainty.any()
    assert not out.cr_mutual_information.any()
    assert out.meta["CRVIT"] == 1


@pytest.mark.parametrize(
    ("unit", "kwargs", "message"),
    [
        ("adu", {}, "the data are in adu: give gain"),
        ("ct", {}, "the data are in ct: give gain"),
        ("electron", {"gain": 2}, "the data are in electron already: leave gain out"),
        ("electron/s", {}, "their meta has no EXPTIME: give exposure_time"),
        ("electron/s", {"exposure_time": 0}, "exposure_time must be one finite, positive"),
        ("electron/s", {"exposure_time": 3 * u.m}, "exposure_time must be in s, got m"),
        ("adu", {"gain": -1}, "gain must be one finite, positive number"),
        ("adu", {"gain": np.nan}, "gain must be one finite"),
        ("adu", {"gain": [1, 2]}, "gain must be one finite"),
        ("adu", {"gain": 2 * u.m}, "gain must be in electron / adu, got m"),
        ("Jy", {}, "the data have unit 'Jy'; it must be one of electron, adu"),
        ("", {}, "the data have unit ''; it must be one of"),
        ("electron", {"readnoise": 3 * u.adu}, "readnoise is in adu: give gain too"),
        ("electron", {"readnoise": -3}, "readnoise must be one finite, not negative"),
        ("electron", {"satlevel": 3 * u.s}, "satlevel must be in electron, got s"),
        ("electron", {"threshold": 0}, r"threshold must be in \(0, 1\) or one of .*, got 0"),
        ("electron", {"threshold": 1.0}, r"threshold must be in \(0, 1\)"),
        ("electron", {"mask_growth": -1}, "mask_growth must be 0 or a positive integer"),
        ("electron", {"mask_growth": 1.5}, "mask_growth must be 0 or a positive integer"),
        ("electron", {"mask_growth": "wide"}, "mask_growth must be 0 or a positive integer"),
        ("electron", {"clean": "magic"}, "clean must be None or one of median"),
    ],
)
def test_bad_input(tiny_vi, unit, kwargs, message):
    ccd = CCDData(np.ones((8, 8)), unit=unit)
    with pytest.raises(ValueError, match=message):
        vi(ccd, tiny_vi, **kwargs)


def test_cleaning_with_an_unknown_uncertainty_is_refused_before_work(tiny_unet):
    ccd = CCDData(np.ones((8, 8)), unit="electron", uncertainty=UnknownUncertainty(np.ones((8, 8))))
    with pytest.raises(ValueError, match=r"the kind of ccd\.uncertainty is unknown"):
        cosmicray_unet(ccd, model=tiny_unet, clean="medmask")


def test_the_other_method_is_refused(tiny_vi, tiny_unet):
    ccd = CCDData(np.ones((8, 8)), unit="electron")
    with pytest.raises(ValueError, match="is of method 'unet'; use cosmicray_unet"):
        cosmicray_vi(ccd, model=tiny_unet)
    with pytest.raises(ValueError, match="is of method 'vi'; use cosmicray_vi"):
        cosmicray_unet(ccd, model=tiny_vi)


@pytest.mark.parametrize("bad", ["text", np.ones((3, 3), complex), np.array([[None]])])
def test_not_numbers(tiny_unet, bad):
    with pytest.raises(TypeError, match="ccd must hold real numbers"):
        cosmicray_unet(bad, model=tiny_unet)


@pytest.mark.parametrize("kind", ["result", "sliced", "file", "without cards"])
def test_its_own_result_is_searched_afresh(frame, tiny_unet, tmp_path, kind):
    mask = np.zeros(frame.shape, bool)
    mask[30:40, 30:40] = True
    ccd = CCDData(frame, unit="electron", mask=mask)
    threshold = float(np.quantile(cosmicray_unet(ccd, model=tiny_unet).cr_probability, 0.98))
    settings = {"model": tiny_unet, "threshold": threshold, "add_keyword": kind != "without cards"}
    first = cosmicray_unet(ccd, **settings)
    assert first.cr_mask.any()
    again = first
    if kind == "file":
        first.write(tmp_path / "first.fits")
        again = CosmicRayCCDData.read(tmp_path / "first.fits")
    item = np.s_[:, :] if kind != "sliced" else np.s_[8:72, 8:96]
    second = cosmicray_unet(again[item], **settings)
    expected = cosmicray_unet(ccd[item], **settings)
    np.testing.assert_array_equal(second.cr_mask, expected.cr_mask)
    np.testing.assert_array_equal(second.mask, expected.mask)


def test_a_mask_with_hits_that_cannot_be_told_apart_comes_with_a_warning(ccd, tiny_unet, tmp_path):
    cosmicray_unet(ccd, model=tiny_unet, threshold=0.4).write(tmp_path / "first.fits")
    with pytest.warns(AstropyUserWarning, match=r"read the file with CosmicRayCCDData\.read"):
        cosmicray_unet(CCDData.read(tmp_path / "first.fits"), model=tiny_unet)
    cleaned = cosmicray_unet(ccd, model=tiny_unet, threshold=0.4, clean="medmask")
    assert cleaned.meta["CRVICLN"] == "medmask"
    with pytest.warns(AstropyUserWarning, match="were replaced in these data"):
        cosmicray_unet(cleaned, model=tiny_unet)


def test_ndarrays_with_units_and_masks_are_frames(frame, tiny_unet):
    mask = np.zeros(frame.shape, bool)
    mask[15:30, 55:70] = True
    settings = {"model": tiny_unet, "threshold": 0.4, "gain": 2}
    expected = cosmicray_unet(CCDData(frame / 2, unit="adu", mask=mask), **settings)
    for given in (
        NDData(frame / 2, unit="adu", mask=mask),
        NDDataArray(frame / 2, unit="adu", mask=mask),
        NDData(frame / 2, mask=mask),
        CCDData(frame / 2, unit=u.DN, mask=mask),
    ):
        out = cosmicray_unet(given, **settings)
        np.testing.assert_array_equal(out.cr_mask, expected.cr_mask)
    per_dn = settings | {"gain": 2 * u.electron / u.DN, "readnoise": 3 * u.DN}
    cosmicray_unet(CCDData(frame / 2, unit=u.DN), **per_dn)


@pytest.mark.parametrize(
    "given",
    ["a.fits", Path("a.fits"), fits.PrimaryHDU(np.ones((4, 4))), fits.HDUList()],
)
def test_files_are_told_how_to_be_read(tiny_unet, given):
    cures = r"CCDData\.read \(cosmiq_astro\.hst\.read_chip .*\), or run cosmiq-astro detect FILE"
    with pytest.raises(TypeError, match=f"ccd must hold real numbers, got .*{cures}"):
        cosmicray_unet(given, model=tiny_unet)
    with pytest.raises(TypeError, match=f"image must hold real numbers, got .*{cures}"):
        CosmicRayDetector(tiny_unet)(given)
    with pytest.raises(TypeError, match=f"data must hold real numbers, got .*{cures}"):
        clean_pixels(given, np.zeros((4, 4), bool))


@pytest.mark.parametrize("verb", [cosmicray_vi, cosmicray_unet])
def test_parameters_of_lacosmic_are_told_what_serves_instead(verb):
    image = np.ones((4, 4))
    with pytest.raises(TypeError) as refused:
        verb(image, sigclip=4.5, gain=1, cleantype="medmask")
    assert str(refused.value) == (
        f"{verb.__name__}() has no sigclip (give threshold, a probability), no cleantype (give "
        "clean): see 'Coming from another tool' in the documentation, section 'From L.A.Cosmic'"
    )
    with pytest.raises(TypeError, match=rf"{verb.__name__}\(\) got an unexpected .* 'gian'"):
        verb(image, gian=1)
    # Nothing that it takes is refused.
    parameters = inspect.signature(verb).parameters
    assert all(kind.kind is not inspect.Parameter.VAR_KEYWORD for kind in parameters.values())
    refuse_lacosmic(verb.__name__, parameters)


@pytest.mark.parametrize("function", [ccdproc.cosmicray_lacosmic, "astroscrappy"])
def test_every_parameter_of_lacosmic_is_known(function):
    if function == "astroscrappy":
        function = pytest.importorskip("astroscrappy").detect_cosmics
    theirs = set(inspect.signature(function).parameters) - {"ccd", "indat", "old_interface"}
    ours = set(inspect.signature(cosmicray_vi).parameters)
    for name in theirs - ours:
        with pytest.raises(TypeError, match=f"has no {name} "):
            cosmicray_vi(np.ones((4, 4)), **{name: None})


def test_the_section_that_is_pointed_to_is_there():
    page = Path(__file__).parents[1] / "docs" / "coming_from.rst"
    if not page.exists():
        pytest.skip("the documentation is not here")
    lines = page.read_text(encoding="utf-8").splitlines()
    assert {"Coming from another tool", "From L.A.Cosmic"} <= set(lines)


def test_what_was_done_is_logged(frame, ccd, tiny_vi, caplog, capsys):
    with caplog.at_level("INFO", logger="cosmiq_astro"):
        out = vi(ccd, tiny_vi)
        _, mask = vi(frame, tiny_vi)
    assert [(r.name, r.levelname) for r in caplog.records] == [
        ("cosmiq_astro.cosmicray", "INFO")
    ] * 2
    found = f"pixels flagged {mask.sum()}, hits {out.meta['CRVINHIT']}, in "
    for record in caplog.records:
        line = record.getMessage()
        assert line.startswith(f"tiny version 1, T 2, antithetic, threshold 0.4: {found}")
        assert line.endswith(" s")
    assert capsys.readouterr() == ("", "")


def test_warnings_point_to_the_call(ccd, tiny_unet):
    mask = np.zeros(ccd.shape, bool)
    marked = CCDData(ccd, mask=mask, meta={"CRVIMODL": "tiny"})
    model = dataclasses.replace(tiny_unet, ranges={"readnoise": (4, 6)})
    with pytest.warns(AstropyUserWarning) as caught:
        cosmicray_unet(marked, model=model, readnoise=50.0)
    assert {warning.filename for warning in caught} == {__file__}
    assert {"the mask holds", "readnoise is 5"} <= {str(w.message)[:14] for w in caught}


@pytest.mark.parametrize("time", [[600.0, 600.0], "600.0 s", -1, 0, np.inf, 1e308, {}])
def test_an_exposure_time_that_is_none_is_not_needed_for_electrons(frame, tiny_unet, time):
    model = dataclasses.replace(tiny_unet, ranges={"exposure_time": (10, 2000)})
    ccd = CCDData(frame, unit="electron", meta={"EXPTIME": time})
    if time == 1e308:
        with pytest.warns(AstropyUserWarning, match="exposure_time is 1e"):
            cosmicray_unet(ccd, model=model)
    else:
        cosmicray_unet(ccd, model=model)
    ccd = CCDData(frame, unit="electron/s", meta={"EXPTIME": time})
    with pytest.raises(ValueError, match="exposure_time must be one finite, positive number of s"):
        cosmicray_unet(ccd, model=model)


@pytest.mark.parametrize("name", ["gain", "readnoise", "satlevel"])
@pytest.mark.parametrize("value", [-1, np.inf, np.nan, 1e308])
def test_levels_that_no_camera_has_are_refused(frame, tiny_unet, name, value):
    with pytest.raises(ValueError, match=f"{name} must be one finite"):
        cosmicray_unet(CCDData(frame, unit="adu"), model=tiny_unet, **{"gain": 2, name: value})


def test_masked_cores_of_stars_leave_no_rings():
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:160, :160]
    image = np.full((160, 160), 50.0)
    for cy, cx in rng.uniform(15, 145, (6, 2)):
        image += 400_000 * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / 5.8)
    image = rng.poisson(image) + rng.normal(0, 5, image.shape)
    core = image > 84_700
    seen = cosmicray_unet(CCDData(np.minimum(image, 84_700), unit="electron"), readnoise=5)
    masked = cosmicray_unet(CCDData(image, unit="electron", mask=core), readnoise=5)
    holes = cosmicray_unet(CCDData(np.where(core, np.nan, image), unit="electron"), readnoise=5)
    assert core.sum() > 60
    assert masked.cr_mask.sum() <= seen.cr_mask.sum() + 40
    np.testing.assert_array_equal(masked.cr_mask, holes.cr_mask)


def test_operating_points_by_name(tiny_unet, frame):
    curve = {
        "threshold": [0.1, 0.3, 0.5, 0.7],
        "precision": [0.5, 0.8, 0.9, 0.99],
        "recall": [0.99, 0.92, 0.8, 0.6],
        "hit_fraction": 0.01,
        "n_pixels": 1000,
    }
    model = dataclasses.replace(tiny_unet, operating_curve=curve, threshold=0.4)
    out = {
        name: cosmicray_unet(CCDData(frame, unit="electron"), model=model, threshold=name)
        for name in ("pure", "balanced", "complete")
    }
    # Largest F0.25 and F4 of the four points, and the model's own between them.
    assert [o.meta["CRVITHR"] for o in out.values()] == [0.7, 0.4, 0.1]
    assert out["pure"].mask.sum() <= out["complete"].mask.sum()
    with pytest.raises(ValueError, match="'pure' needs the operating curve of a model"):
        cosmicray_unet(frame, model=tiny_unet, threshold="pure")
    with pytest.raises(ValueError, match=r"one of 'pure', 'balanced', 'complete', got 'clean'"):
        cosmicray_unet(frame, model=model, threshold="clean")
