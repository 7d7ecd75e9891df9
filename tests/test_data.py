import numpy as np
from astropy import units as u
from astropy.io import fits

import cosmiq_astro as ca
from cosmiq_astro.data import sample_path
from cosmiq_astro.hst import identify, readout


def test_sample_is_small_and_sound():
    assert sample_path().stat().st_size <= 1_000_000
    with fits.open(sample_path(), checksum=True) as hdus:
        hdus.verify("exception")
        assert [hdu.name for hdu in hdus] == ["PRIMARY", "SCI", "ERR", "DQ"]
        assert hdus["SCI"].header["BUNIT"] == "ELECTRONS"
        assert "9019" in "".join(hdus[0].header["HISTORY"])
        # Much finer than the noise of about 5 electrons.
        assert hdus["SCI"].compression_type == "RICE_1"
    with fits.open(sample_path(), disable_image_compression=True) as stored:
        assert stored["SCI"].data["ZSCALE"].max() <= 0.05 * 5


def test_sample_is_a_crowded_hrc_exposure():
    ccd = ca.load_sample()
    assert ccd.shape == (512, 512)
    assert ccd.unit == u.electron
    assert identify(ccd.meta).name == "ACS/HRC"
    assert readout(ccd.meta).readnoise == 4.71
    assert ccd.meta["EXPTIME"] == 60
    assert np.isfinite(ccd.data).all()
    assert np.median(ccd.data) > 200
    assert not ccd.mask.any()  # its bad pixels are saturated ones: seen, not hidden
    assert np.any(ccd.flags & 256)


def test_coordinates_are_those_of_the_frame():
    # The reference pixel of the frame (512, 512, counted from 1) less the corner of the cutout.
    ra, dec = ca.load_sample().wcs.pixel_to_world_values(511 - 256, 511 - 128)
    np.testing.assert_allclose([ra, dec], [6.027148333333, -72.08351111111], rtol=1e-10)
