import numpy as np
import pytest

from cosmiq_astro.simulate import hst_psf, moffat_psf, psf_from_image


def test_hst_psf_widens_with_wavelength_and_diffusion():
    blue, red = hst_psf(435, radius=16), hst_psf(814, radius=16)
    soft = hst_psf(435, radius=16, charge_diffusion=0.6)
    assert blue.fwhm < red.fwhm
    assert blue.fwhm < soft.fwhm
    assert 1.4 < red.fwhm < 2.0


@pytest.mark.parametrize("first", [0, 30, 45])
def test_hst_psf_has_four_spikes(first):
    kernel = hst_psf(606, radius=64, spike_angle=np.deg2rad(first)).kernel()
    centre = kernel.shape[0] // 2
    radius, angle = np.full(360, 40.0), np.deg2rad(np.arange(360))
    y = np.rint(centre + radius * np.sin(angle)).astype(int)
    x = np.rint(centre + radius * np.cos(angle)).astype(int)
    ring = kernel[y, x]
    spikes = ring[first::90]
    assert spikes.min() > 4 * np.median(ring)


def test_finer_pixels_sample_the_same_psf_better():
    coarse, fine = hst_psf(606, radius=16), hst_psf(606, radius=16, pixel_scale=0.027)
    assert fine.fwhm > 1.3 * coarse.fwhm


@pytest.mark.parametrize("fwhm", [1.2, 5.0])
def test_moffat_width(fwhm):
    psf = moffat_psf(fwhm, beta=3.5)
    assert fwhm < psf.fwhm < np.hypot(fwhm, 1.3)


def test_moffat_major_axis_lies_along_angle():
    kernel = moffat_psf(4, ellipticity=0.5, angle=np.pi / 2, radius=16).kernel()
    axis = np.arange(-16, 17) ** 2
    assert (kernel.sum(1) * axis).sum() > 1.5 * (kernel.sum(0) * axis).sum()


def test_moffat_refuses_flat_wings():
    with pytest.raises(ValueError, match="beta must exceed 1"):
        moffat_psf(2, beta=1)
    with pytest.raises(ValueError, match=r"fwhm must exceed 0.5 pixels, got 0.2"):
        moffat_psf(0.2)


def test_image_of_a_gaussian_gives_its_width_back():
    axis = np.arange(-60, 61)
    y, x = np.meshgrid(axis - 1.3, axis + 2.2, indexing="ij")  # off centre
    image = np.exp(-0.5 * (y**2 + x**2) / 5**2)
    psf = psf_from_image(image, 0.01, pixel_scale=0.05, charge_diffusion=0.5)
    kernel = psf.kernel()
    half = kernel.shape[0] // 2
    axis = np.arange(-half, half + 1)
    variance = (kernel.sum(0) * axis**2).sum()
    assert variance == pytest.approx(1 + 0.25 + (1 - 1 / 25) / 12, rel=0.03)
    assert (kernel.sum(0) * axis).sum() == pytest.approx(0, abs=0.03)
