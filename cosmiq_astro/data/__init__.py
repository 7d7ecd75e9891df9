"""One small real exposure to try things on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from astropy.nddata import CCDData

__all__ = ["load_sample", "sample_path"]


def sample_path() -> Path:
    """
    Tell where the bundled sample lies.

    It is a cutout of 512×512 pixels of an HST/ACS/HRC exposure of 47 Tuc
    (60 s, F606W, proposal 9019), with SCI, ERR and DQ and their headers:
    crowded, with saturated and bleeding stars, and about a hundred
    cosmic-ray hits.

    Returns
    -------
    path : `~pathlib.Path`
        A FITS file.

    Examples
    --------
    >>> from cosmiq_astro.data import sample_path
    >>> sample_path().name
    'j8bt06nyq_sample.fits'
    """
    return Path(__file__).parent / "j8bt06nyq_sample.fits"


def load_sample() -> CCDData:
    """
    Read the bundled sample.

    Returns
    -------
    ccd : `~astropy.nddata.CCDData`
        As `cosmiq_astro.hst.read_chip` reads it: electrons, with mask,
        uncertainty, data-quality bits, coordinates and header.

    Examples
    --------
    >>> import cosmiq_astro as ca
    >>> ca.load_sample().shape
    (512, 512)
    """
    from cosmiq_astro.hst import read_chip

    return read_chip(sample_path())
