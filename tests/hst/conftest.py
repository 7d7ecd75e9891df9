"""Small files laid out as the HST cameras lay them out."""

import copy
import dataclasses

import numpy as np
import pytest
import torch
from astropy.io import fits

SHAPE = (40, 56)

PRIMARY = {
    "ACS/WFC": {
        "INSTRUME": "ACS",
        "DETECTOR": "WFC",
        "CCDAMP": "ABCD",
        "CCDGAIN": 2.0,
        **dict(
            zip(("ATODGNA", "ATODGNB", "ATODGNC", "ATODGND"), (2.1, 1.9, 2.2, 2.0), strict=True)
        ),
        **dict(
            zip(("READNSEA", "READNSEB", "READNSEC", "READNSED"), (5, 5.2, 4, 4.4), strict=True)
        ),
    },
    "WFC3/UVIS": {
        "INSTRUME": "WFC3",
        "DETECTOR": "UVIS",
        "CCDAMP": "C",
        "CCDGAIN": 1.5,
        "ATODGNC": 1.56,
        "READNSEC": 3.1,
    },
    "WFPC2": {"INSTRUME": "WFPC2", "ATODGAIN": 7.0},
    "STIS/CCD": {
        "INSTRUME": "STIS",
        "DETECTOR": "CCD",
        "CCDGAIN": 1,
        "ATODGAIN": 1.0,
        "READNSE": 5.6,
        "BINAXIS1": 2,
        "BINAXIS2": 1,
    },
    "ACS/SBC": {"INSTRUME": "ACS", "DETECTOR": "SBC"},
}


def scene(seed=0, level=50.0):
    """A sky with a few hits, electrons."""
    rng = np.random.default_rng(seed)
    image = rng.normal(level, np.sqrt(max(level, 0) + 20), SHAPE)
    image[10, 10:16] += 900
    image[30:33, 40] += 2000
    return image.astype(np.float32)


def hst_file(path, instrument="ACS/WFC", *, bunit="ELECTRONS", images=None, extra=(), **cards):
    """Write chips with images, errors and data quality of their own, and return the path."""
    images = [scene(1), scene(2)] if images is None else images
    primary = fits.PrimaryHDU()
    # A title without a keyword, as real headers have them.
    primary.header.append(("", "/ EXPOSURE INFORMATION"), end=True)
    primary.header.update(TELESCOP="HST", EXPTIME=500.0, NEXTEND=3 * len(images) + len(extra))
    primary.header.update({**PRIMARY[instrument], **cards})
    hdus = fits.HDUList([primary])
    for extver, image in enumerate(images, start=1):
        dq = np.zeros(SHAPE, dtype=np.int16)
        dq[0, :15] = 2 ** np.arange(15)
        dq[5, 5] = 4 * extver
        for name, pixels in (("SCI", image), ("ERR", np.full_like(image, 8 + extver)), ("DQ", dq)):
            hdu = fits.ImageHDU(pixels, name=name, ver=extver)
            chip = extver if instrument == "WFPC2" else len(images) + 1 - extver
            hdu.header["CCDCHIP"] = chip
            if instrument == "WFPC2":
                hdu.header["DETECTOR"] = extver
            hdu.header["BUNIT"] = "UNITLESS" if name == "DQ" else bunit
            hdu.header.update(
                CTYPE1="RA---TAN",
                CTYPE2="DEC--TAN",
                CRPIX1=20.0 + extver,
                CRPIX2=15.0,
                CRVAL1=6.0,
                CRVAL2=-72.0,
                CD1_1=-1e-5,
                CD2_2=1e-5,
                CUNIT1="deg",
                CUNIT2="deg",
            )
            hdus.append(hdu)
    hdus.extend(extra)
    hdus.writeto(path)
    return path


@pytest.fixture
def make_file(tmp_path):
    """Return a function that writes a file and returns its path."""

    def make(name="jtest_flc.fits", *args, **kwargs):
        return hst_file(tmp_path / name, *args, **kwargs)

    return make


@pytest.fixture
def make_image():
    """Return the function that makes an image."""
    return scene


@pytest.fixture(scope="session")
def lively_vi(tiny_vi):
    """A model like ``tiny_vi`` whose probabilities lie on both sides of its threshold."""
    network = copy.deepcopy(tiny_vi.network)
    with torch.no_grad():
        network.head.weight.mul_(10)
        network.head.bias.fill_(-1.0)
    return dataclasses.replace(tiny_vi, network=network, threshold=0.29)
