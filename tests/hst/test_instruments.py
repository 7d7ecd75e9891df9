import math

import numpy as np
import pytest
from numpy.testing import assert_allclose

from cosmiq_astro.hst import INSTRUMENTS, identify, read_chip, readout


@pytest.mark.parametrize("name", INSTRUMENTS)
def test_no_cosmic_ray_bit_hides_a_pixel(name):
    row = INSTRUMENTS[name]
    assert row.unusable_bits & (4096 | 8192 | 16384) == 0
    assert row.default_bit in row.settable_bits
    assert set(row.settable_bits) <= {4096, 8192, 16384}
    # DQ arrays are signed and 16 bits wide.
    assert max(row.settable_bits) < 2**15


def test_padded_names_are_known():
    assert identify({"INSTRUME": "ACS   ", "DETECTOR": "hrc"}).name == "ACS/HRC"


def test_unknown_camera():
    row = identify({"INSTRUME": "WFC3", "DETECTOR": "IR"})
    assert row.name == "unknown"
    assert row.default_bit is None
    assert row.unusable_bits == 0x0FFF
    assert readout({"INSTRUME": "WFC3", "DETECTOR": "IR", "CCDGAIN": 2.5}).gain is None


@pytest.mark.parametrize(("extver", "gain", "readnoise"), [(1, 2.1, 4.2), (2, 2.0, 5.1)])
def test_only_the_amplifiers_of_the_chip_count(make_file, extver, gain, readnoise):
    known = readout(read_chip(make_file(), extver).meta)
    assert_allclose([known.gain, known.readnoise], [gain, readnoise])
    assert known.satlevel == 84700


def test_satlevel_is_what_saturates_first(make_file):
    ccd = read_chip(make_file(CCDGAIN=1.0, ATODGNA=1.0, ATODGNB=1.0), 2)
    assert readout(ccd.meta).satlevel == 65535


def test_nominal_gain_where_there_is_no_calibrated_one(make_file):
    zero = dict.fromkeys(("ATODGNA", "ATODGNB", "ATODGNC", "ATODGND"), 0.0)
    assert readout(read_chip(make_file(**zero)).meta).gain == 2.0


def test_readnoise_of_a_sum(make_file):
    single = readout(read_chip(make_file("a.fits")).meta).readnoise
    summed = readout(read_chip(make_file("b.fits", NCOMBINE=4)).meta).readnoise
    assert_allclose(summed, 2 * single)


@pytest.mark.parametrize("cards", [{"BLEVCORR": "PERFORM"}, {"NDRIZIM": 4}, {"D001DATA": "x"}])
def test_no_readnoise_where_it_does_not_describe_the_noise(make_file, cards):
    assert readout(read_chip(make_file(**cards)).meta).readnoise is None


def test_stis(make_file):
    known = readout(read_chip(make_file("o_flt.fits", "STIS/CCD", bunit="COUNTS")).meta)
    assert (known.gain, known.readnoise, known.satlevel) == (1.0, 5.6, 33000)


def test_wfpc2_by_chip_and_gain(make_file, make_image):
    file = make_file(
        "u_c0m.fits", "WFPC2", bunit="COUNTS", images=[make_image(i) for i in range(4)]
    )
    gains = [readout(read_chip(file, extver).meta).gain for extver in (1, 2, 3, 4)]
    assert_allclose(gains, [7.12, 7.12, 6.90, 7.10])
    assert readout(read_chip(file, 3).meta).readnoise == 5.22
    assert_allclose(readout(read_chip(file, 1).meta).satlevel, 4095 * 7.12)


def test_full_well_where_the_gain_is_unknown():
    known = readout({"INSTRUME": "WFPC2", "DETECTOR": 1})
    assert known.gain is None
    assert known.satlevel == 90000
    assert not math.isinf(known.satlevel)
    assert np.isfinite(known.satlevel)
