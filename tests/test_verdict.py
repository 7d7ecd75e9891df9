"""One line on which frames to distrust."""

from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits
from astropy.nddata import CCDData
from astropy.utils.exceptions import AstropyUserWarning

import cosmiq_astro as ca
from cosmiq_astro.batch import detect_files
from cosmiq_astro.familiarity.verdict import noted_doubts, verdict_line
from cosmiq_astro.hst import detect_file

MODEL = "acs-wfc-unet"


@pytest.fixture(scope="module")
def plain_model():
    """One that judges neither hits nor stars, which are no real ones here."""
    return replace(ca.load_model(MODEL), familiar_hits=None, familiar_stars=None)


def in_adu(gain):
    rng = np.random.default_rng(5)
    electrons = rng.poisson(400, (256, 256)).astype(float)
    electrons[40:240:20, 50:54] += 3000
    return CCDData((electrons + rng.normal(0, 4, electrons.shape)) / gain, unit="adu")


def test_a_right_gain_is_familiar(plain_model):
    out = ca.cosmicray_unet(in_adu(1.5), gain=1.5, readnoise=4.0, model=plain_model)
    assert out.meta["CRVIFAM"] is True
    assert noted_doubts(out.meta) == ()
    assert verdict_line(()) == "familiar: nothing speaks against this mask"


@pytest.mark.filterwarnings("ignore:.* is undecided")
@pytest.mark.parametrize(("gain", "said"), [(15.0, "too large by"), (0.4, "too small by")])
def test_a_wrong_gain_is_told_by_its_factor(gain, said, plain_model):
    with pytest.warns(AstropyUserWarning, match=f"of what sky and read noise give.*{said}"):
        out = ca.cosmicray_unet(in_adu(1.5), gain=gain, readnoise=4.0, model=plain_model)
    (line,) = (doubt for doubt in noted_doubts(out.meta) if "read noise give" in doubt)
    factor = float(line.split(said + " about ")[1].split(",")[0])
    assert factor == pytest.approx(max(gain / 1.5, 1.5 / gain), rel=0.2)
    assert line in verdict_line(noted_doubts(out.meta))


def test_files_carry_the_verdict(tmp_path):
    result = detect_file(ca.data.sample_path(), tmp_path / "a.fits", model="acs-wfc-unet")
    header = fits.getheader(tmp_path / "a.fits", "SCI")
    # A crowded field is no reason for distrust.
    assert verdict_line(noted_doubts(header)) == result.verdict
    assert result.verdict.startswith("familiar")


def test_a_table_has_the_verdict_once_and_so_does_a_second_run(tmp_path):
    settings = {"model": "acs-wfc-unet", "satlevel": 100.0}
    with pytest.warns(AstropyUserWarning, match="pixels are saturated") as caught:
        first = detect_files([ca.data.sample_path()], tmp_path, settings=settings)
    assert len(caught) == 1
    assert first["verdict"][0].startswith("look at it: ")
    assert "mask the bleeds" in first["verdict"][0]
    assert not first["notes"][0]
    again = detect_files([ca.data.sample_path()], tmp_path, settings=settings, resume=True)
    assert again["status"][0] == "skipped"
    assert again["verdict"][0] == first["verdict"][0]
