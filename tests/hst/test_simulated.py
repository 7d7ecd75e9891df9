import numpy as np

from cosmiq_astro.hst import detect_file, read_chip
from cosmiq_astro.simulate import simulate_hst_file


def test_hits_are_found_on_the_chip_that_they_are_on(tmp_path):
    file = tmp_path / "jsim01abq_flc.fits"
    truth = simulate_hst_file(
        file, chip_shape=(160, 256), cosmic_ray_rate=5.0, exposure_time=400.0, seed=4
    )
    result = detect_file(file, model="acs-wfc-unet")
    for chip in result.chips:
        found = read_chip(result.file_out, chip.extver).cr_mask
        label, undecided = truth[chip.extver].label, truth[chip.extver].ignore
        assert label.sum() > 200
        assert found[label].mean() > 0.7
        assert found[~label & ~undecided].mean() < 0.002
        assert 1 < chip.hit_rate.to_value("cm-2 s-1") < 10
    assert np.any(truth[1].label != truth[2].label)
