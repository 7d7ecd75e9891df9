import numpy as np
import pytest
from astropy.io import fits

from cosmiq_astro.hst import detect_file, read_chip
from cosmiq_astro.simulate import simulate_hst_file

# Names as the archive gives them.
FILES = {
    "ACS/WFC": "jsim01abq_flc.fits",
    "ACS/HRC": "jsim02abq_flt.fits",
    "WFC3/UVIS": "isim01abq_flc.fits",
    "WFPC2": "usim0101m_c0m.fits",
    "STIS/CCD": "osim01010_flt.fits",
}


@pytest.mark.filterwarnings(
    "ignore:.*is not what the model:astropy.utils.exceptions.AstropyUserWarning"
)
@pytest.mark.parametrize("camera", FILES)
def test_hits_are_found_on_the_chip_that_they_are_on(tmp_path, camera):
    file = tmp_path / FILES[camera]
    truth = simulate_hst_file(
        file,
        camera=camera,
        chip_shape=(128, 192),
        cosmic_ray_rate=5.0,
        exposure_time=400.0,
        seed=4,
    )
    result = detect_file(file, model="acs-wfc-unet")
    assert result.instrument == camera
    for chip in result.chips:
        ccd = read_chip(result.file_out, chip.extver)
        label, undecided = truth[chip.extver].label, truth[chip.extver].ignore
        label, undecided = label & ~(ccd.mask & ~ccd.cr_mask), undecided | ccd.mask & ~ccd.cr_mask
        assert label.sum() > 100
        assert ccd.cr_mask[label].mean() > (0.7 if camera == "ACS/WFC" else 0.5)
        assert ccd.cr_mask[~label & ~undecided].mean() < 0.005
        assert 1 < chip.hit_rate.to_value("cm-2 s-1") < 10
        assert np.array_equal(ccd.flags & 16384 > 0, ccd.cr_mask)
    if len(truth) > 1:
        assert np.any(truth[1].label != truth[2].label)
    with fits.open(result.file_out, checksum=True) as hdus:
        hdus.verify("exception")
        assert hdus[0].header["NEXTEND"] == len(hdus) - 1
