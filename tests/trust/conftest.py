"""A sound file and a sound model folder, to be damaged."""

import numpy as np
import pytest
from astropy.io import fits

from cosmiq_astro.models.model import save_model


@pytest.fixture(scope="session")
def model_folder(tiny_vi, tmp_path_factory):
    """A folder with the tiny variational model; not to be changed."""
    return save_model(tiny_vi, tmp_path_factory.mktemp("model") / "tiny", card="A test.")


@pytest.fixture
def make_hst(tmp_path):
    """Return a function that writes a small ACS/WFC file and returns its path."""

    def make(name="j1_flc.fits", shape=(24, 32), *, dq_shape=None, bunit="ELECTRONS", **cards):
        primary = fits.PrimaryHDU()
        primary.header.update(INSTRUME="ACS", DETECTOR="WFC", CCDAMP="C", CCDCHIP=2)
        primary.header.update(READNSEC=4.0, ATODGNC=2.0, EXPTIME=500.0)
        primary.header.update(**cards)
        image = np.random.default_rng(1).normal(50, 8, shape).astype(np.float32)
        image[..., -1, :3] += 900
        sci = fits.ImageHDU(image, fits.Header({"BUNIT": bunit}), name="SCI", ver=1)
        dq = fits.ImageHDU(np.zeros(dq_shape or shape, dtype=np.int16), name="DQ", ver=1)
        fits.HDUList([primary, sci, dq]).writeto(tmp_path / name)
        return tmp_path / name

    return make
