import numpy as np
import pytest
from astropy.io import fits

from cosmiq_astro.hst import identify, readout
from cosmiq_astro.hst.headers import merged_header
from cosmiq_astro.simulate import hst_psf, simulate_hst_file


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    path = tmp_path_factory.mktemp("hst") / "jsim01abq_flc.fits"
    return path, simulate_hst_file(path, chip_shape=(128, 192), cte=0.5, seed=1)


def test_layout_of_two_chips(written):
    path, truth = written
    with fits.open(path) as hdus:
        names = [(hdu.name, hdu.ver) for hdu in hdus[1:]]
        assert names == [(n, v) for v in (1, 2) for n in ("SCI", "ERR", "DQ")]
        primary = hdus[0].header
        assert (primary["INSTRUME"], primary["DETECTOR"]) == ("ACS", "WFC")
        assert primary["NEXTEND"] == 6
        assert primary["CCDAMP"] == "ABCD"
        assert primary["ROOTNAME"] == "jsim01abq"
        assert (primary["FILTER1"], primary["FILTER2"]) == ("F606W", "CLEAR2L")
        for amplifier in "ABCD":
            assert 1.8 < primary[f"ATODGN{amplifier}"] < 2.1
            assert 3 < primary[f"READNSE{amplifier}"] < 6
        assert [hdus["SCI", v].header["CCDCHIP"] for v in (1, 2)] == [2, 1]
        assert hdus["SCI", 1].header["BUNIT"] == "ELECTRONS"
        assert hdus["DQ", 2].data.dtype == np.dtype(">i2")
        for extver in (1, 2):
            pull = hdus["SCI", extver].data - truth[extver].expected
            pull = (pull - truth[extver].cosmic_ray_charge) / truth[extver].noise
            assert pull.std() == pytest.approx(1, rel=0.03)
            np.testing.assert_allclose(hdus["ERR", extver].data, truth[extver].noise, rtol=1e-6)


def test_quality_has_no_cosmic_ray_bits(written):
    path, _ = written
    quality = fits.getdata(path, ("DQ", 1))
    assert not np.any(quality & (4096 | 8192 | 16384))
    assert 0.001 < np.mean(quality & 16 > 0) < 0.02
    assert 0.003 < np.mean(quality & 64 > 0) < 0.03
    assert not np.any((quality & 16 > 0) & (quality & 64 > 0))


def test_large_chip_mirrors_its_block(tmp_path, monkeypatch):
    monkeypatch.setattr("cosmiq_astro.simulate.hst_file._BLOCK", 64)
    truth = simulate_hst_file(
        tmp_path / "x_flc.fits",
        chip_shape=(64, 160),
        field="globular",
        subarray=True,
        cosmic_ray_rate=0,
        cte=0,
        seed=2,
    )[1]
    expected = np.log(truth.expected.clip(5))
    assert np.corrcoef(expected[:, :64].ravel(), expected[:, 127:63:-1].ravel())[0, 1] > 0.9
    units = [str(truth.stars[name].unit) for name in truth.stars.colnames]
    assert units == ["pix", "pix", "electron / s"]
    brightest = truth.stars[np.argsort(truth.stars["flux"])[-4:]]
    for star in brightest:
        y, x = (int(np.clip(np.rint(star[c]), 0, n - 1)) for c, n in (("y", 64), ("x", 160)))
        assert truth.expected[y, x] > np.percentile(truth.expected, 90)


def test_subarray_has_one_triplet(tmp_path):
    path = tmp_path / "jsub_flc.fits"
    truth = simulate_hst_file(path, chip_shape=(64, 64), subarray=True, filter_name="F814W", seed=3)
    assert list(truth) == [1]
    with fits.open(path) as hdus:
        assert len(hdus) == 4
        assert hdus[0].header["SUBARRAY"] is True
        assert hdus[0].header["FILTER2"] == "F814W"


def test_does_not_overwrite_unasked(written):
    path, _ = written
    before = path.read_bytes()
    with pytest.raises(FileExistsError, match="exists already"):
        simulate_hst_file(path, chip_shape=(32, 32), seed=1)
    assert path.read_bytes() == before
    with pytest.raises(ValueError, match=r"filter_name must be one of F435W, .* got 'F999W'"):
        simulate_hst_file(path, filter_name="F999W", overwrite=True)
    with pytest.raises(ValueError, match="exposure_time must be positive, got -1"):
        simulate_hst_file(path, exposure_time=-1, overwrite=True)
    with pytest.raises(ValueError, match=r"camera must be one of ACS/WFC, .* got 'ACS/SBC'"):
        simulate_hst_file(path, camera="ACS/SBC", overwrite=True)
    with pytest.raises(ValueError, match="must contain _c0m, got 'jsim01abq_flc"):
        simulate_hst_file(path, camera="WFPC2", overwrite=True)


CAMERAS = {
    "ACS/HRC": ("jsim_flt.fits", 1, "ELECTRONS"),
    "WFC3/UVIS": ("isim_flc.fits", 2, "ELECTRONS"),
    "WFPC2": ("usim_c0m.fits", 4, "COUNTS"),
    "STIS/CCD": ("osim_flt.fits", 1, "COUNTS"),
}


@pytest.mark.parametrize("camera", CAMERAS)
def test_other_cameras(tmp_path, camera):
    name, n_chips, unit = CAMERAS[camera]
    path = tmp_path / name
    truth = simulate_hst_file(path, camera=camera, chip_shape=(64, 96), exposure_time=300, seed=5)
    assert list(truth) == list(range(1, n_chips + 1))
    quality_file = path.with_name(name.replace("_c0m", "_c1m"))
    with fits.open(path) as hdus, fits.open(quality_file) as quality:
        known = identify(hdus[0].header)
        assert known.name == camera
        assert hdus[0].header["NEXTEND"] == len(hdus) - 1
        for extver, made in truth.items():
            header = merged_header(hdus["SCI", extver].header, hdus[0].header)
            assert header["EXPTIME"] == 300
            assert hdus["SCI", extver].header["BUNIT"] == unit
            levels = readout(header)
            assert levels.satlevel <= known.full_well
            electrons = hdus["SCI", extver].data * (levels.gain if unit == "COUNTS" else 1)
            pull = (electrons - made.expected - made.cosmic_ray_charge) / made.noise
            # The noise is that which the headers tell, rounding to whole counts included.
            assert 0.95 < pull.std() < 1.15
            assert np.hypot(levels.readnoise, 3) < made.noise.min() * 1.2
            dq = quality["SCI" if camera == "WFPC2" else "DQ", extver].data
            assert dq.dtype == np.dtype(">i2")
            assert not np.any(dq & (4096 | 8192 | 16384))


@pytest.mark.parametrize(("camera", "angle"), [("ACS/HRC", 0), ("WFC3/UVIS", np.pi / 4)])
def test_spikes_have_the_direction_of_the_camera(tmp_path, monkeypatch, camera, angle):
    asked = []

    def spy(*args, spike_angle, **options):
        asked.append(spike_angle)
        return hst_psf(*args, spike_angle=spike_angle, radius=8, **options)

    monkeypatch.setattr("cosmiq_astro.simulate.hst_file.hst_psf", spy)
    simulate_hst_file(tmp_path / "x_flt.fits", camera=camera, chip_shape=(64, 64), seed=1)
    assert set(asked) == {angle}
