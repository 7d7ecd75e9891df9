"""Hits cut from real frames: HST/STIS darks-by-subtraction, and a thick LSST CCD."""

import numpy as np
from astropy.io import fits
from astropy.table import Table

from cosmiq_astro.simulate import Footprints, extract_footprints

STIS_NOISE = 6.6
# Both exposures of one data set are never trained on.
STIS_TRAINING = (1, 2, 3, 4, 5, 8, 9)
STIS_VALIDATION = (6, 7)


def stis_hits(path, frames):
    """
    Cut the hits out of HST/STIS exposures of one pointing (proposal 7353).

    A group needs two pixels above three standard deviations: hot pixels that
    changed between the exposures leave single ones, and pairs below 300 electrons.
    """
    libraries = []
    with fits.open(path) as hdus:
        rate = hdus["MEDRATE"].data.astype(float)
        for frame in frames:
            hdu = hdus["SCI", frame]
            dark = rate * hdu.header["EXPTIME"]
            mask = dark > 400
            mask[400:620] = True  # the slit spectrum moves between exposures
            noise = np.sqrt(STIS_NOISE**2 + np.maximum(dark, 0))
            hits = extract_footprints(hdu.data - dark, noise, mask=mask)
            hit = np.repeat(np.arange(len(hits)), hits.n_pixels)
            n_bright = np.bincount(hit, hits.charge > 3 * STIS_NOISE, minlength=len(hits))
            libraries.append(hits.take((n_bright >= 2) & (hits.total_charge > 300)))
    return Footprints.concatenate(libraries)


def itl_hits(path, part):
    """
    Read footprints from darks of a 100 µm thick LSST CCD (DESC imSim).

    Those with an even number are of part ``'training'``, the others of ``'validation'``.
    """
    table = Table.read(path)
    values = [np.asarray(v, dtype=float) for v in table["pixel_values"]]
    hits = Footprints.from_spans(table["fp_id"], table["x0"], table["y0"], values)
    return hits.take(np.arange(len(hits)) % 2 == (part == "validation"))
