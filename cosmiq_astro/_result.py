"""What is made of a detection: pixels replaced, and cards in the header."""

import numpy as np
import scipy
from astropy.io import fits
from astropy.nddata import VarianceUncertainty

from cosmiq_astro import __version__
from cosmiq_astro.cleaning import clean_pixels, cleaned_variance

__all__ = ["clean_frame", "write_cards"]


def clean_frame(frame, method, cr_mask, mask):
    """Return the data with flagged pixels replaced, and an uncertainty that covers the guess."""
    settings = {"method": method, "mask": mask}
    data = clean_pixels(frame.data, cr_mask, **settings)
    if frame.uncertainty is None:
        return data, None
    kind = type(frame.uncertainty)
    variance = frame.uncertainty.represent_as(VarianceUncertainty).array
    variance = cleaned_variance(variance, cr_mask, data=frame.data, **settings)
    return data, VarianceUncertainty(variance).represent_as(kind)


def write_cards(result, model, maps, threshold):
    """Note model, settings and counts in the header of a result."""
    n_hits = scipy.ndimage.label(result.cr_mask, structure=np.ones((3, 3)))[1]
    cards = {
        "CRVIMODL": (model.name, "cosmic-ray model"),
        "CRVIVERS": (__version__, "cosmiq_astro version"),
        "CRVISHA": (model.sha256[:16], "SHA-256 of the model's weights (first 16)"),
        "CRVIT": (maps.T, "weight draws"),
        "CRVIVIEW": (maps.views, "ways the image was turned"),
        "CRVISAMP": (maps.sampling, "how the weights were drawn"),
        "CRVIPREC": (maps.precision, "precision of the convolutions"),
        "CRVISEED": (maps.seed, "seed of the draws"),
        "CRVITHR": (float(threshold), "probability from which a pixel is flagged"),
        "CRVINPIX": (int(result.cr_mask.sum()), "pixels flagged"),
        "CRVINHIT": (int(n_hits), "connected groups flagged"),
    }
    measured = {
        "CRVINOV": (maps.novelty, "novelty of the hits; above 1: unfamiliar"),
        "CRVINOVS": (maps.star_novelty, "novelty of the stars; above 1: unfamiliar"),
        "CRVIFWHM": (maps.stars.fwhm, "[pix] FWHM of the sharpest stars"),
        "CRVIELON": (maps.stars.elongation, "major over minor axis of the sharpest stars"),
    }
    for key, (value, comment) in measured.items():
        if np.isfinite(value):
            cards[key] = (float(f"{value:.4g}"), comment)
    is_header = isinstance(result.meta, fits.Header)
    for key, (value, comment) in cards.items():
        result.meta[key] = (value, comment) if is_header else value
