"""Galaxies of COSMOS2020, for the scenes of the recipes."""

import numpy as np
from astropy.table import Table

__all__ = ["cosmos_galaxies"]


def cosmos_galaxies(path):
    """
    Return sizes (pixels of 0.05 arcsec) and rates (electron / s) of COSMOS2020 galaxies.

    The catalogue's FLUX_RADIUS is that of ground-based images, four times too large. The second
    moments are those of ACS: half the light of a Gaussian lies within 1.18 standard deviations,
    and 0.05 arcsec is the PSF's share.
    """
    table = Table.read(path)
    moment = 3600 * np.sqrt(table["ACS_A_WORLD"] * table["ACS_B_WORLD"])
    radius = np.sqrt(np.maximum((1.18 * np.asarray(moment, float)) ** 2 - 0.05**2, 0.02**2)) / 0.05
    flux = np.asarray(table["HSC_r_FLUX_AUTO"], dtype=float)
    good = np.isfinite(radius) & np.isfinite(flux) & (flux > 0)
    # ACS/WFC in F606W: AB zero point 26.5 mag for one electron per second; 23.9 mag is 1 microJy.
    return {"radius": radius[good], "flux": flux[good] * 10 ** (0.4 * (26.5 - 23.9))}
