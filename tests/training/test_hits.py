import numpy as np
import pytest
import simulated_camera
from astropy import units as u
from astropy.nddata import CCDData

from cosmiq_astro.training import cut_hits, find_hits

CAMERA = simulated_camera.small(simulated_camera.SCORED_ON, 128)


def test_hits_are_cut_and_hot_pixels_are_not():
    darks = [CAMERA.dark_frame(i) for i in range(8)]
    library = cut_hits(darks, readnoise=CAMERA.readnoise, gain=CAMERA.gain)
    truth = np.stack([CAMERA.hits(i, dark=True) for i in range(8)])
    charge = library.footprints.total_charge.sum()
    # Hits that touch the border, a hot pixel or each other's frame are lost, faint ones too.
    assert 0.6 < charge / truth.sum() < 1.02
    _, hot, _ = CAMERA._fixed()
    is_hot = CAMERA.exposure_time * 4 * (hot - CAMERA.dark) > 20 * CAMERA.readnoise
    bad = library.bad
    assert bad[is_hot].mean() < 0.5
    assert bad.mean() < 0.02
    assert len(library.report) == 8
    assert library.report["n_hits"].sum() == len(library.footprints)


def test_a_pixel_that_comes_and_goes_is_no_hit():
    darks = np.random.default_rng(0).normal(300, 4, (9, 64, 64))
    darks[[1, 4, 7], 20, 20] += 3000
    darks[3, 40, 40:43] += 800
    library = cut_hits(darks, readnoise=4)
    assert len(library.footprints) == 1
    assert library.bad[20, 20]
    mask = np.zeros((64, 64), bool)
    mask[40, 41] = True
    with pytest.raises(ValueError, match="darks holds no hit"):
        cut_hits(darks, readnoise=4, mask=mask)


def test_drifting_bias_is_no_hit():
    rng = np.random.default_rng(0)
    darks = rng.normal(300, 4, (5, 128, 128)) + rng.normal(0, 40, (5, 1, 1))
    darks[:, :, :64] += rng.normal(0, 30, (5, 1, 1))
    darks[0, 40, 40:43] += 800
    assert len(cut_hits(darks, readnoise=4).footprints) == 1


@pytest.mark.parametrize(
    ("darks", "message"),
    [
        (np.zeros((2, 9, 9)), "darks holds 2 frames; 3 are needed"),
        ([np.zeros((9, 9)), np.zeros((9, 9)), np.zeros((9, 8))], r"darks\[2\] has shape \(9, 8\)"),
        (
            [CCDData(np.zeros((9, 9)), unit=u.electron, meta={"EXPTIME": t}) for t in (1, 1, 9)],
            "exposure times that differ",
        ),
        (
            [CCDData(np.zeros((9, 9)), unit=u.electron, meta={"XPOSURE": t}) for t in (1, 1, 9)],
            "exposure times that differ",
        ),
        (np.zeros((3, 9, 9)), "darks holds no hit"),
    ],
)
def test_bad_darks(darks, message):
    with pytest.raises(ValueError, match=message):
        cut_hits(darks, readnoise=4)


def test_what_a_frame_holds_already_is_marked(tiny_unet):
    image, truth = CAMERA.expose(CAMERA.field(1), 1)
    given = {"readnoise": CAMERA.readnoise, "gain": CAMERA.gain, "satlevel": CAMERA.satlevel}
    (found,) = find_hits([image], **given, device="cpu")
    bright = truth["charge"] > 10 * np.sqrt(np.median(CAMERA.gain * image))
    assert found[bright].mean() > 0.9
    assert found.mean() < 0.15
