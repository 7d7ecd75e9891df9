"""A reduction with ccdproc from files to the combined image, and L.A.Cosmic's place in it."""

import ccdproc
import numpy as np
import pytest
from astropy import units as u
from astropy.nddata import CCDData, Cutout2D, StdDevUncertainty
from astropy.wcs import WCS

import cosmiq_astro as ca
from cosmiq_astro.simulate import moffat_psf, simulate_exposure

GAIN = 2.0 * u.electron / u.adu
READNOISE = 4.5 * u.electron
SHAPE = (96, 128)


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    """A directory with a bias, a flat and three exposures, and the truth of these."""
    folder = tmp_path_factory.mktemp("night")
    rng = np.random.default_rng(1)
    response = rng.normal(1, 0.02, SHAPE)
    level = 1000 + np.arange(SHAPE[1]) / 10

    def write(name, counts, kind, **cards):
        header = {"IMAGETYP": kind, "EXPTIME": 600.0, "FILTER": "V", **cards}
        CCDData(counts.astype(np.float32), unit="adu", meta=header).write(folder / name)

    write("bias.fits", np.broadcast_to(level, SHAPE), "bias")
    write("flat.fits", 20_000 * response + level, "flat")
    truth = {}
    for seed in range(3):
        exposure, known = simulate_exposure(
            SHAPE, 600.0, seed=seed, psf=moffat_psf(1.8), cosmic_ray_rate=3.0
        )
        write(f"sky{seed}.fits", exposure.data * response / 2 + level, "object")
        truth[f"sky{seed}.fits"] = known
    return folder, truth


def test_a_night_from_files_to_the_combined_image(night):
    folder, truth = night
    files = ccdproc.ImageFileCollection(folder, keywords=["imagetyp", "exptime", "filter"])
    bias = next(files.ccds(imagetyp="bias"))
    flat = ccdproc.subtract_bias(next(files.ccds(imagetyp="flat")), bias)
    reduced = []
    for ccd, name in files.ccds(imagetyp="object", return_fname=True):
        ccd = ccdproc.create_deviation(ccd, gain=GAIN, readnoise=READNOISE)
        ccd = ccdproc.subtract_bias(ccd, bias)
        ccd = ccdproc.flat_correct(ccd, flat)
        ccd = ccdproc.gain_correct(ccd, GAIN)
        out = ca.cosmicray_unet(ccd, readnoise=READNOISE)
        assert isinstance(out.uncertainty, StdDevUncertainty)
        assert out.meta["FILTER"] == "V"
        assert out.cr_mask[truth[name].label].mean() > 0.5
        reduced.append(out)
    combined = ccdproc.Combiner(reduced).average_combine()
    assert combined.unit == u.electron
    expected = np.ma.array([ccd.data for ccd in reduced], mask=[ccd.mask for ccd in reduced])
    np.testing.assert_allclose(combined.data, expected.mean(axis=0).filled(np.nan), rtol=1e-5)
    # Each pixel is the average of the exposures in which nothing was found.
    once = np.sum([ccd.cr_mask for ccd in reduced], axis=0) == 1
    assert once.any()
    assert np.array_equal(expected.count(axis=0)[once], np.full(once.sum(), 2))


@pytest.mark.parametrize("verb", [ca.cosmicray_vi, ca.cosmicray_unet])
def test_in_the_place_of_lacosmic(night, verb, tiny_vi, tiny_unet):
    folder, _ = night
    ccd = ccdproc.subtract_bias(
        CCDData.read(folder / "sky0.fits"), CCDData.read(folder / "bias.fits")
    )
    ccd.mask = np.zeros(SHAPE, bool)
    ccd.mask[:, 5] = True
    ccd.uncertainty = StdDevUncertainty(np.full(SHAPE, 3.0))
    model = {"model": tiny_vi if verb is ca.cosmicray_vi else tiny_unet}
    settings = {"gain": GAIN, "readnoise": READNOISE, "satlevel": 80_000}
    before = ccd.copy()
    old = ccdproc.cosmicray_lacosmic(ccd, **settings, gain_apply=False)
    new = verb(ccd, **settings, **model)
    assert isinstance(new, CCDData)
    # ccdproc says electron here, though it has not applied the gain.
    assert new.unit == u.adu
    assert new.shape == old.shape
    assert new.mask.dtype == old.mask.dtype == bool
    assert new.mask[:, 5].all()
    assert old.mask[:, 5].all()
    np.testing.assert_array_equal(new.uncertainty.array, old.uncertainty.array)
    np.testing.assert_array_equal(ccd.data, before.data)
    old = ccdproc.cosmicray_lacosmic(ccd.data, gain=2.0, readnoise=4.5, satlevel=80_000)
    new = verb(ccd.data, gain=2.0, readnoise=4.5, satlevel=80_000, **model)
    assert [part.shape for part in new] == [part.shape for part in old]
    assert new[1].dtype == old[1].dtype == bool


def test_wcs_flags_and_cutouts(night, tiny_unet):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.crpix = ["RA---TAN", "DEC--TAN"], [10, 20], [5, 5]
    wcs.wcs.cdelt = [-1e-4, 1e-4]
    data = CCDData.read(night[0] / "sky0.fits").data
    flags = np.arange(data.size).reshape(data.shape)
    out = ca.cosmicray_unet(CCDData(data, unit="electron", wcs=wcs, flags=flags), model=tiny_unet)
    part = out[10:30, 20:50]
    np.testing.assert_array_equal(part.flags, flags[10:30, 20:50])
    here, there = part.wcs.pixel_to_world(3, 4), out.wcs.pixel_to_world(23, 14)
    assert here.separation(there) < 1e-6 * u.arcsec
    cutout = Cutout2D(out.data, there, (8, 12), wcs=out.wcs)
    same = out[cutout.slices_original]
    np.testing.assert_array_equal(same.data, cutout.data)
    assert same.cr_probability.shape == (8, 12)
