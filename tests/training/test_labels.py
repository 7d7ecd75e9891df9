import re

import numpy as np
import pytest
import simulated_camera
from astropy import units as u
from astropy.nddata import CCDData
from astropy.wcs import WCS
from scipy import ndimage

from cosmiq_astro.simulate import cosmic_ray_footprints
from cosmiq_astro.training import PairedDataset, label_exposures
from cosmiq_astro.training._scene import match_image, measure_offsets
from cosmiq_astro.training._siblings import find_bleeds, find_trails

SKY, READNOISE, SIZE = 150.0, 5.0, 128
OFFSETS = np.array([[0, 0], [3, -2], [-1.4, 2.3], [0.5, 0.25]])


def stars(offset=(0, 0), fwhm=3.0, light=1.0):
    """Electrons expected of 60 stars on a sky."""
    rng = np.random.default_rng(5)
    y, x = np.mgrid[:SIZE, :SIZE]
    scene = np.full((SIZE, SIZE), SKY)
    for yc, xc, flux in zip(
        *rng.uniform(0, SIZE, (2, 60)), 10 ** rng.uniform(3, 5, 60), strict=True
    ):
        r2 = (y - yc - offset[0]) ** 2 + (x - xc - offset[1]) ** 2
        s2 = (fwhm / 2.3548) ** 2
        scene += light * flux / (2 * np.pi * s2) * np.exp(-r2 / (2 * s2))
    return scene


def expose(expected, n_hits, seed):
    """Add hits and noise; return the exposure and the charge of the hits."""
    rng = np.random.default_rng(seed)
    library = cosmic_ray_footprints(200, seed=1)
    charge = library.paste(expected.shape, n_hits, rng)
    return rng.poisson(expected) + rng.normal(0, READNOISE, expected.shape) + charge, charge


def make(offsets, n_hits=25, **kwargs):
    exposures, truth = [], []
    for i, offset in enumerate(offsets):
        exposure, charge = expose(stars(offset, **kwargs), n_hits, seed=i)
        exposures.append(exposure)
        truth.append(charge / np.sqrt(stars(offset, **kwargs) + READNOISE**2))
    return exposures, truth


def assert_right(labels, truth, *, recall=0.95, false=3):
    """Judge labels by the charge in units of the noise, away from the border of 3."""
    for mask, ignore, significance in zip(labels.masks, labels.ignore, truth, strict=True):
        assert not (mask & ignore).any()
        sure = ~ignore & ((significance < 0.5) | (significance > 6))
        assert (mask & sure)[significance < 0.5].sum() <= false
        assert mask[sure & (significance > 6)].mean() > recall


@pytest.mark.parametrize("n", [2, 4])
def test_aligned(n):
    exposures, truth = make([(0, 0)] * n)
    labels = label_exposures(exposures, readnoise=READNOISE)
    assert_right(labels, truth)
    assert labels.labelled_fraction > 0.92
    assert (labels.report["mismatch"] < 0.03).all()
    np.testing.assert_allclose(labels.report["scale"], 1, atol=0.02)
    for row, mask, ignore in zip(labels.report, labels.masks, labels.ignore, strict=True):
        assert row["hit_fraction"] == mask.mean()
        assert row["labelled_fraction"] == pytest.approx(1 - ignore.mean())
        assert 10 < row["n_hits"] < 40


def test_dithered_and_measured():
    exposures, truth = make(OFFSETS)
    labels = label_exposures(exposures, readnoise=READNOISE, offsets="measure")
    measured = np.stack([labels.report["dy"], labels.report["dx"]], axis=1)
    np.testing.assert_allclose(measured, OFFSETS, atol=0.1)
    assert_right(labels, truth)
    given = label_exposures(exposures, readnoise=READNOISE, offsets=OFFSETS)
    assert_right(given, truth)
    assert given.labelled_fraction > 0.9


def test_wcs():
    exposures, truth = make(OFFSETS)
    ccds = []
    for exposure, offset in zip(exposures, OFFSETS, strict=True):
        wcs = WCS(naxis=2)
        wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
        wcs.wcs.crpix = [64 + offset[1], 64 + offset[0]]
        wcs.wcs.cdelt = [-1e-5, 1e-5]
        wcs.wcs.crval = [10, 20]
        ccds.append(CCDData(exposure / 2, unit=u.adu, wcs=wcs))
    labels = label_exposures(ccds, readnoise=READNOISE, gain=2.0, offsets="wcs")
    assert_right(labels, truth)
    np.testing.assert_allclose(labels.images[1], exposures[1], rtol=1e-6)


def test_other_seeing_light_and_sky():
    exposures, truth = [], []
    for i, (fwhm, light, sky) in enumerate(((3.0, 1.0, 0), (4.0, 0.7, 100), (3.4, 1.2, 0))):
        expected = stars(fwhm=fwhm, light=light) + sky
        exposure, charge = expose(expected, 25, seed=i)
        exposures.append(exposure)
        truth.append(charge / np.sqrt(expected + READNOISE**2))
    labels = label_exposures(exposures, readnoise=READNOISE)
    assert_right(labels, truth, recall=0.75, false=12)
    assert (labels.report["mismatch"] < 0.25).all()


def test_defects_saturation_masks_and_borders_are_ignored():
    exposures, _ = make([(0, 0), (4, 0), (0, 5)], n_hits=0)
    for exposure in exposures:
        exposure[50, 60] += 3000  # a hot pixel stays where it is
    level = 8000
    full = exposures[0] > level
    assert full.any()
    ccds = [CCDData(np.minimum(e, level), unit=u.electron) for e in exposures]
    ccds[1].mask = np.zeros((SIZE, SIZE), bool)
    ccds[1].mask[10:20, 10] = True
    ccds[2].data[7, 7] = np.nan
    offsets = [(0, 0), (4, 0), (0, 5)]
    labels = label_exposures(ccds, readnoise=READNOISE, offsets=offsets, satlevel=level)
    for mask, ignore in zip(labels.masks, labels.ignore, strict=True):
        assert ignore[50, 60]
        assert mask.sum() <= 1
    assert labels.ignore[0][ndimage.binary_dilation(full)].all()
    assert labels.ignore[1][10:20, 10].all()
    assert labels.ignore[2][7, 7]
    assert np.isfinite(labels.images[2][8, 7])
    # Both others have moved out of one corner.
    two = label_exposures(ccds[:2], readnoise=READNOISE, offsets=offsets[:2], satlevel=level)
    assert two.ignore[0][-4:].all()
    assert two.ignore[1][:4].all()


def test_labels_make_a_dataset():
    labels = label_exposures(make([(0, 0)] * 3)[0], readnoise=READNOISE)
    visits = ["field"] * 3
    pairs = PairedDataset(labels.images, labels.masks, labels.ignore, visits=visits)
    assert pairs.n_valid_pixels == pytest.approx(labels.labelled_fraction * pairs.n_pixels)


def test_measure_offsets_of_whole_and_part_pixels():
    images = [(stars(offset) - SKY) / np.sqrt(SKY) for offset in OFFSETS]
    np.testing.assert_allclose(measure_offsets(images), OFFSETS, atol=0.06)


def test_match_image_finds_the_kernel():
    sharp, soft = stars(fwhm=3.0), 1.3 * (stars(fwhm=4.0) - SKY) + SKY + 7
    good = np.ones(sharp.shape, bool)
    matched, amplification = match_image(sharp, soft, good, SKY, READNOISE)
    middle = np.s_[8:-8, 8:-8]
    range_ = np.ptp(soft)
    assert np.abs(matched - soft)[middle].max() < 0.01 * range_
    assert np.abs(sharp - soft)[middle].max() > 0.1 * range_
    assert 0 < amplification < 1.69
    flat = np.full(sharp.shape, SKY)
    assert match_image(flat, soft, good, SKY, READNOISE)[0] is flat


CAMERA = simulated_camera.small(simulated_camera.SCORED_ON, 192)
ALONE = (None, "satellite", "faint satellite", "dark row", "bleed")


def label_visit(trap, n=4, *, seed=8, **given):
    exposures, truths = CAMERA.visit(CAMERA.field(3), seed, n, trap=trap, dither=2.0)
    given = {"offsets": "measure"} | given
    labels = label_exposures(
        exposures,
        readnoise=CAMERA.readnoise,
        gain=CAMERA.gain,
        satlevel=CAMERA.satlevel,
        **given,
    )
    return labels, truths


@pytest.mark.parametrize("trap", ALONE)
def test_what_one_exposure_shows_and_is_no_hit_gets_no_label(trap):
    n_wrong, found = 0, []
    # Of one visit, a few pixels more or less depend on the processor's last digits.
    for seed in (8, 9, 10):
        labels, truths = label_visit(trap, seed=seed)
        assert labels.left_out == []
        for i, mask, ignore in zip(labels.used, labels.masks, labels.ignore, strict=True):
            hit, undecided = truths[i]["label"], truths[i]["ignore"]
            n_wrong += (mask & ~hit & ~undecided).sum()
            found.append(mask[hit & ~ignore])
        n_not_hits = labels.report["n_not_hits"][2]
        assert n_not_hits > 0 if trap in ("satellite", "bleed") else n_not_hits < 3
    # Of some 300 flagged.
    assert n_wrong <= 15
    assert np.concatenate(found).mean() > 0.9


@pytest.mark.parametrize(
    ("trap", "reason"),
    [
        ("drift", r"its stars are elongated \(\d.\d\d"),
        ("seeing", "pixels wide, the others'"),
        ("other field", "its stars are not where its offset says"),
    ],
)
def test_an_exposure_unlike_the_others_is_named_and_left_out(trap, reason, caplog):
    labels, truths = label_visit(trap, names=["a", "b", "c", "d"])
    assert labels.left_out == [2]
    assert re.search(f"exposure c is left out: .*{reason}", caplog.text)
    assert re.search(reason, labels.report["note"][2])
    assert len(labels.images) == len(labels.masks) == len(labels.ignore) == 3
    for i, mask in zip(labels.used, labels.masks, strict=True):
        assert (mask & ~truths[i]["label"] & ~truths[i]["ignore"]).sum() <= 4
    kept, _ = label_visit(trap, keep_unlike=True)
    assert kept.left_out == []
    assert "is unlike the others but used" in caplog.text


def test_offsets_forgotten_are_no_labels():
    exposures, _ = CAMERA.visit(CAMERA.field(3), 8, 4, dither=4.0)
    with pytest.raises(ValueError, match=r"no two exposures can be compared .*give offsets="):
        label_exposures(exposures, readnoise=CAMERA.readnoise, gain=CAMERA.gain)


def test_bad_pixels_of_the_detector_are_ignored():
    mask = np.zeros(CAMERA.shape, bool)
    mask[40:60, 100:120] = True
    labels, _ = label_visit(None, mask=mask)
    assert all(ignore[mask].all() for ignore in labels.ignore)


def test_a_long_track_is_no_trail_and_a_broken_trail_is_one():
    rng = np.random.default_rng(0)
    stands_out = rng.random((256, 256)) < 0.002
    track = np.arange(40)
    stands_out[60 + track, 90 + track // 2] = True
    assert find_trails(stands_out)[1] == 0
    along = np.flatnonzero(rng.random(240) < 0.5)
    stands_out[10 + along, 5 + along // 3] = True
    found, n = find_trails(stands_out)
    assert n == 1
    assert found[10 + along, 5 + along // 3].all()
    assert found.mean() < 0.05


def test_a_bleed_needs_a_star_or_length():
    stands_out, bright = np.zeros((2, 128, 128), bool)
    stands_out[30:45, 40] = True
    assert find_bleeds(stands_out, bright)[1] == 0
    bright[60:64, 39:42] = True
    found, n = find_bleeds(stands_out, bright)
    assert n == 1
    assert found[20:55, 39:42].all()
    stands_out[100, 20:80:2] = stands_out[100, 21:80:3] = True
    assert find_bleeds(stands_out, np.zeros_like(bright))[1] == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"exposures": [np.ones((9, 9))]}, "exposures holds 1 frame; give two or more"),
        ({"exposures": []}, "exposures is empty"),
        ({"exposures": [np.ones((9, 9)), np.ones((9, 8))]}, r"exposures\[1\] has shape \(9, 8\)"),
        ({"exposures": [np.full((9, 9), np.nan)] * 2}, r"exposures\[0\] has no pixel"),
        ({"offsets": "wsc"}, "offsets must be None, 'measure', 'wcs' or an array, got 'wsc'"),
        ({"offsets": "wcs"}, r"offsets='wcs', but exposures \[0, 1\] have no WCS"),
        ({"offsets": [0, 1]}, r"shape \(2, 2\), got \(2,\)"),
        ({"significance": 3}, "significance must be above 3, got 3"),
        ({"readnoise": np.nan}, "readnoise must be one finite"),
        ({"mask": np.zeros((9, 9))}, r"mask has shape \(9, 9\), the exposures have \(16, 16\)"),
    ],
)
def test_bad_settings(change, message):
    given = {"exposures": [np.ones((16, 16))] * 2, "readnoise": READNOISE} | change
    with pytest.raises(ValueError, match=message):
        label_exposures(**given)
