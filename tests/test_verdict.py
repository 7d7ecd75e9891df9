"""One line on which frames to distrust."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.nddata import CCDData

import cosmiq_astro as ca
from cosmiq_astro.hst import detect_file
from cosmiq_astro.verdict import Measured, judge, note_verdict, verdict_line

MODEL = "acs-wfc-fast-unet"


@pytest.mark.parametrize(
    ("numbers", "reason", "advice"),
    [
        ({"novelty": 1.6}, "hits are unlike those known (novelty 1.6)", "--model ccd-vi"),
        ({"star_novelty": 2.0, "n_stars": 80}, "stars are unlike those known", "--model ccd-vi"),
        ({"outside": ("readnoise",)}, "readnoise is outside", "--model ccd-vi"),
        ({"sky": 90, "scatter": 5, "expected": 10}, "0.50 of what", "too small by about 4.0"),
        ({"sky": 90, "scatter": 30, "expected": 10}, "3.00 of what", "too large by about 9.0"),
        ({"sky": 0.1, "scatter": 20, "expected": 10}, "2.00 of what", "the sky is subtracted"),
        ({"saturated": 0.02}, "2.0 % of the pixels are saturated", "mask the bleeds"),
        ({"flagged": 0.3}, "30 % of the pixels are flagged", "raise --threshold"),
        ({"flagged": 0.0}, "nothing is flagged", "cleaned or combined already"),
        ({"ambiguous": 0.9}, "90 % of what may be hits is undecided", "cosmiq-astro review"),
    ],
)
def test_each_reason_has_its_advice(numbers, reason, advice):
    verdict = judge(Measured(**numbers))
    assert not verdict.trusted
    assert len(verdict.reasons) == 1
    assert reason in verdict.line
    assert advice in verdict.line
    for meta in ({}, fits.Header()):
        note_verdict(meta, verdict)
        assert verdict_line(meta) == verdict.line


def test_unknown_numbers_say_nothing():
    assert judge(Measured()).trusted
    assert judge(Measured(star_novelty=3.0, n_stars=20)).trusted
    assert verdict_line({}) == ""
    meta = {}
    note_verdict(meta, judge(Measured()))
    assert verdict_line(meta).startswith("familiar")
    assert "ccd-vi" not in judge(Measured(novelty=2), model="ccd-vi").line


@pytest.mark.parametrize(
    ("gain", "said"), [(1.5, ""), (15.0, "too large by"), (0.4, "too small by")]
)
def test_a_wrong_gain_is_told_by_its_factor(gain, said):
    rng = np.random.default_rng(5)
    electrons = rng.poisson(400, (256, 256)).astype(float)
    electrons[40:240:20, 50:54] += 3000
    adu = (electrons + rng.normal(0, 4, electrons.shape)) / 1.5
    out = ca.cosmicray_unet(CCDData(adu, unit="adu"), gain=gain, readnoise=4.0, model=MODEL)
    line = verdict_line(out.meta)
    assert ("gain" in line) == bool(said)
    assert said in line
    if said:
        factor = float(line.split(said + " about ")[1].split(",")[0])
        assert factor == pytest.approx(max(gain / 1.5, 1.5 / gain), rel=0.2)


def test_files_carry_the_verdict(tmp_path):
    result = detect_file(ca.data.sample_path(), tmp_path / "a.fits", model=MODEL)
    header = fits.getheader(tmp_path / "a.fits", "SCI")
    assert verdict_line(header) == result.verdict == result.chips[0].verdict
    # A crowded field is no reason for distrust.
    assert result.verdict.startswith("familiar")
