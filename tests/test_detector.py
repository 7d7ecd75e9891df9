"""The invariants of the detector, each by a test that fails if it breaks."""

import dataclasses
import threading

import numpy as np
import pytest
import torch
from astropy import units as u
from astropy.nddata import CCDData
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cosmiq_astro.calibration import BetaCalibration, IsotonicCalibration
from cosmiq_astro.detector import CosmicRayDetector
from cosmiq_astro.inference.uncertainty import binary_entropy

PLANES = ("probability", "uncertainty", "entropy", "mutual_information")
quick = settings(
    deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def largest_difference(one, two):
    return max(np.nanmax(np.abs(getattr(one, k) - getattr(two, k))) for k in PLANES)


@given(st.integers(1, 70), st.integers(1, 70), st.integers(1, 80))
@quick
def test_tiled_is_whole(tiny_vi, ny, nx, tile_size):
    image = np.random.default_rng(ny * 100 + nx).normal(50, 9, (ny, nx))
    image[ny // 2, nx // 2] += 700
    whole = CosmicRayDetector(tiny_vi, device="cpu", tile_size=512)(image, T=3, seed=1)
    tiled = CosmicRayDetector(tiny_vi, device="cpu", tile_size=tile_size)(image, T=3, seed=1)
    assert largest_difference(whole, tiled) < 1e-5


def test_same_seed_same_bytes_other_seed_other_bytes(tiny_vi, frame):
    detector = CosmicRayDetector(tiny_vi, device="cpu")
    one, two, other = (detector(frame, T=4, seed=s) for s in (7, 7, 8))
    for k in PLANES:
        assert getattr(one, k).tobytes() == getattr(two, k).tobytes()
    assert largest_difference(one, other) > 1e-4


def test_a_chosen_seed_is_reported_and_repeats(tiny_vi, frame):
    detector = CosmicRayDetector(tiny_vi, device="cpu")
    one = detector(frame, T=2)
    assert largest_difference(one, detector(frame, T=2, seed=one.seed)) == 0
    assert one.seed != detector(frame, T=2).seed


def test_progress_is_shown_on_demand(tiny_vi, frame, capsys):
    detector = CosmicRayDetector(tiny_vi, device="cpu")
    detector(frame, T=1, seed=0)
    assert capsys.readouterr().err == ""
    detector(frame, T=1, seed=0, progress_bar=True)
    assert capsys.readouterr().err.startswith("\rtiles:")


def test_nothing_global_is_touched(tiny_vi, frame):
    torch_before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()
    threads, dtype = torch.get_num_threads(), torch.get_default_dtype()
    CosmicRayDetector(tiny_vi, device="cpu")(frame, T=3, seed=0)
    assert torch.equal(torch_before, torch.get_rng_state())
    np.testing.assert_array_equal(numpy_before, np.random.get_state()[1])
    assert (torch.get_num_threads(), torch.get_default_dtype()) == (threads, dtype)


def test_mean_sampling_is_one_pass_without_uncertainty(tiny_vi, frame):
    maps = CosmicRayDetector(tiny_vi, device="cpu")(frame, T=9, sampling="mean")
    assert maps.T == 1
    assert not maps.uncertainty.any()
    assert not maps.mutual_information.any()


@pytest.mark.parametrize(
    "recalibration",
    [BetaCalibration(0.7, 1.5, -0.8), IsotonicCalibration((0.05, 0.4, 0.8), (0.0, 0.2, 1.0))],
)
def test_recalibration_changes_probability_and_entropy_only(tiny_vi, frame, recalibration):
    model = dataclasses.replace(tiny_vi, recalibration=recalibration)
    frame[30, 30] = np.nan
    raw, maps = (CosmicRayDetector(m, device="cpu")(frame, T=4, seed=1) for m in (tiny_vi, model))
    expected = recalibration(raw.probability.astype(float))
    np.testing.assert_allclose(maps.probability, expected, atol=1e-6)
    assert np.nanmax(np.abs(maps.probability - raw.probability)) > 0.05
    np.testing.assert_array_equal(maps.entropy, binary_entropy(maps.probability))
    np.testing.assert_array_equal(maps.uncertainty, raw.uncertainty)
    np.testing.assert_array_equal(maps.mutual_information, raw.mutual_information)
    assert maps.probability.dtype == maps.entropy.dtype == np.float32


@pytest.mark.parametrize("disturbance", ["nan", "inf", "bright", "negative", "masked region"])
def test_a_disturbance_stays_within_the_receptive_radius(tiny_vi, disturbance):
    image = np.random.default_rng(0).normal(50, 9, (160, 160))
    image[40, 40:46] += 500
    changed, mask = image.copy(), np.zeros(image.shape, dtype=bool)
    box = np.s_[80:81, 80:81]
    if disturbance == "masked region":
        box = np.s_[75:85, 75:85]
        mask[box] = True
        changed[box] = 1e5
    else:
        changed[box] = {"nan": np.nan, "inf": np.inf, "bright": 1e6, "negative": -1e6}[disturbance]
    detector = CosmicRayDetector(tiny_vi, device="cpu", tile_size=64)
    one = detector(image, T=4, seed=1)
    two = detector(changed, mask, T=4, seed=1)
    radius = tiny_vi.network.receptive_radius
    far = np.ones(image.shape, dtype=bool)
    far[
        box[0].start - radius : box[0].stop + radius, box[1].start - radius : box[1].stop + radius
    ] = False
    assert np.abs(one.probability - two.probability)[far].max() < 1e-3
    bad = ~np.isfinite(changed)
    for k in PLANES:
        np.testing.assert_array_equal(np.isnan(getattr(two, k)), bad)
    assert not two.usable[mask].any()


@pytest.mark.filterwarnings("ignore:most pixels of the image are above")
@pytest.mark.parametrize("value", [0.0, 1.0, -40.0, 1e6, 1e30])
@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (33, 65)])
def test_constant_images_give_finite_maps(tiny_vi, value, shape):
    maps = CosmicRayDetector(tiny_vi, device="cpu")(np.full(shape, value), T=2, seed=0)
    for k in PLANES:
        assert np.isfinite(getattr(maps, k)).all()
        assert getattr(maps, k).shape == shape


def test_everything_bad_gives_nan_and_raises_nothing(tiny_vi):
    maps = CosmicRayDetector(tiny_vi, device="cpu")(np.full((20, 20), np.nan), T=2, seed=0)
    assert np.isnan(maps.probability).all()
    masked = CosmicRayDetector(tiny_vi, device="cpu")(np.ones((20, 20)), np.ones((20, 20)), T=2)
    assert not masked.usable.any()


@given(st.sampled_from([">f4", ">f8", "<f8", "f4", "f2", ">i2", "u2", "i4", "u1", "i8"]))
@quick
def test_types_and_byte_orders(tiny_unet, dtype):
    image = np.clip(np.random.default_rng(0).normal(50, 9, (40, 40)), 0, 200).round()
    detector = CosmicRayDetector(tiny_unet, device="cpu")
    given_type = image.astype(dtype)
    before = given_type.copy()
    one, two = detector(image), detector(given_type)
    assert largest_difference(one, two) < 1e-4
    assert given_type.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(given_type, before)


def test_masked_arrays_and_masks_of_other_types(tiny_unet, frame):
    detector = CosmicRayDetector(tiny_unet, device="cpu")
    mask = np.zeros(frame.shape)
    mask[10:20, 10:20] = 1
    one = detector(frame, mask)
    two = detector(np.ma.array(frame, mask=mask.astype(bool)))
    three = detector(frame, mask.astype(int).tolist())
    assert largest_difference(one, two) == largest_difference(one, three) == 0


def test_threads_share_a_detector(tiny_vi, frame):
    detector = CosmicRayDetector(tiny_vi, device="cpu", tile_size=32)
    expected = [detector(frame, T=3, seed=s).probability for s in range(4)]
    found = [None] * 4

    def work(s):
        found[s] = detector(frame, T=3, seed=s).probability

    threads = [threading.Thread(target=work, args=(s,)) for s in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for one, two in zip(expected, found, strict=True):
        np.testing.assert_allclose(one, two, atol=1e-6)


def test_deepcr_and_cosmiq_calls(tiny_vi, frame):
    detector = CosmicRayDetector(tiny_vi, device="cpu")
    maps = detector(frame, T=3, seed=5)
    p, h = detector.clean_vi(frame, T=3, seed=5, return_entropy=True)
    np.testing.assert_array_equal(p, maps.probability)
    np.testing.assert_array_equal(h, maps.entropy)
    assert detector.clean(frame, threshold=0.2).dtype == bool
    assert detector.clean(frame, binary=False).dtype == np.float32
    hidden = np.ma.masked_array(frame, np.arange(frame.shape[1]) < 10 * np.ones_like(frame))
    assert detector.clean(frame, threshold=1e-6)[:, :10].all()
    assert not detector.clean(hidden, threshold=1e-6)[:, :10].any()


@pytest.mark.parametrize(
    ("image", "kwargs", "error", "message"),
    [
        (np.ones(5), {}, ValueError, "two-dimensional and not empty"),
        (np.ones((2, 3, 4)), {}, ValueError, r"got shape \(2, 3, 4\)"),
        (np.ones((0, 4)), {}, ValueError, "not empty"),
        (np.ones((4, 4), complex), {}, TypeError, "real numbers, got dtype complex128"),
        (np.full((4, 4), "a"), {}, TypeError, "real numbers"),
        (np.ones((4, 4), bool), {}, TypeError, "real numbers, got dtype bool"),
        (np.ones((4, 4)) * u.adu, {}, ValueError, "must be in electron, got unit 'adu'"),
        (np.ones((4, 4)), {"mask": np.ones((4, 5))}, ValueError, r"mask has shape \(4, 5\)"),
        (np.ones((4, 4)), {"mask": np.full((4, 4), 2)}, TypeError, "mask must be boolean"),
        (np.ones((4, 4)), {"mask": np.full((4, 4), np.nan)}, TypeError, "mask must be boolean"),
        (np.ones((4, 4)), {"T": 0}, ValueError, "T must be a positive integer, got 0"),
        (np.ones((4, 4)), {"T": 2.5}, ValueError, "T must be a positive integer"),
        (np.ones((4, 4)), {"T": True}, ValueError, "T must be a positive integer"),
        (np.ones((4, 4)), {"sampling": "sobol"}, ValueError, "sampling must be one of antithetic"),
        (np.ones((4, 4)), {"views": 3}, ValueError, "views must be one of 1, 2, 4, got 3"),
        (np.ones((4, 4)), {"planes": ["p"]}, ValueError, "planes must be some of probability, unc"),
        (np.ones((4, 4)), {"seed": -1}, ValueError, "seed must be an integer in"),
        (np.ones((4, 4)), {"seed": 1.5}, ValueError, "seed must be an integer in"),
        (np.ones((4, 4)), {"readnoise": -1}, ValueError, "readnoise must be a finite number"),
        (np.ones((4, 4)), {"satlevel": np.nan}, ValueError, "satlevel must be a finite number"),
    ],
)
def test_bad_input(tiny_vi, image, kwargs, error, message):
    with pytest.raises(error, match=message):
        CosmicRayDetector(tiny_vi, device="cpu")(image, **kwargs)


def test_bad_configuration(tiny_vi):
    with pytest.raises(ValueError, match="device 'abacus' cannot be used"):
        CosmicRayDetector(tiny_vi, device="abacus")
    with pytest.raises(ValueError, match="tile_size must be a positive integer, got 0"):
        CosmicRayDetector(tiny_vi, tile_size=0)
    with pytest.raises(ValueError, match="'nonesuch' is neither a bundled model"):
        CosmicRayDetector("nonesuch")


def test_a_network_is_told_how_soft_the_stars_are(make_tiny):
    rng = np.random.default_rng(0)
    image = rng.normal(100, 11, (64, 64))
    y, x = np.mgrid[:64, :64]
    for cy, cx in rng.uniform(4, 60, (12, 2)):
        image += 5000 * np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / 2 / 1.2**2)
    told = make_tiny(channels=("asinh", "softness"))
    maps = CosmicRayDetector(told, device="cpu")(image, readnoise=5.0)
    assert 0.3 < maps.statistics.softness < 0.8
    untold = make_tiny()
    assert CosmicRayDetector(untold, device="cpu")(image).statistics.softness == 0


def test_a_detector_and_its_maps_say_what_they_are(tiny_vi, tiny_unet, frame):
    detector = CosmicRayDetector(dataclasses.replace(tiny_vi, threshold=1 / 3), device="cpu")
    assert repr(detector) == (
        "<CosmicRayDetector tiny version 1 on cpu: variational, threshold 0.333, float32>"
    )
    assert "on cpu: deterministic, " in repr(CosmicRayDetector(tiny_unet, device="cpu"))
    frame[:5] = np.nan
    maps = detector(frame, T=2, seed=7, planes=())
    n_likely = (maps.probability > 0.5).sum()
    assert 0 < n_likely < frame.size
    assert repr(maps) == (
        "<CosmicRayMaps of shape (77, 101): tiny, T 2, antithetic, seed 7, "
        f"pixels above 0.5: {n_likely}>"
    )


def test_a_ccd_is_not_taken_for_electrons(frame, tiny_unet):
    ccd = CCDData(frame, unit="adu", mask=np.ones(frame.shape, bool))
    with pytest.raises(TypeError, match="got CCDData: give it to cosmicray_vi"):
        CosmicRayDetector(tiny_unet, device="cpu")(ccd)
