"""What is made of a detection: planes, pixels replaced, and cards in the header."""

import math

import numpy as np
from astropy.io import fits
from astropy.nddata import VarianceUncertainty

from cosmiq_astro import __version__
from cosmiq_astro.cleaning import clean_pixels, cleaned_variance
from cosmiq_astro.nddata import CosmicRayCCDData

__all__ = ["cards_of", "dress", "remove_cards"]


def dress(frame, found, *, clean=None, add_keyword=True):
    """
    Return a copy of an exposure with what was found on it.

    Parameters
    ----------
    frame : `~astropy.nddata.CCDData`
        The exposure.
    found : `~cosmiq_astro._detection.Detection`
        What was found.
    clean : str, optional
        How to replace the pixels flagged.
    add_keyword : bool, optional
        Whether to write the cards.

    Returns
    -------
    result : `~cosmiq_astro.CosmicRayCCDData`
        With planes, mask and cards.
    """
    maps = found.maps
    result = CosmicRayCCDData(frame, copy=True)
    result.cr_mask = found.cr_mask
    result.cr_probability = maps.probability
    result.cr_uncertainty = maps.uncertainty
    result.cr_entropy = maps.entropy
    result.cr_mutual_information = maps.mutual_information
    if clean is not None:
        result.data, result.uncertainty = _clean(frame, clean, found.cr_mask, ~maps.usable)
    own = found.mask
    result.mask = found.cr_mask.copy() if own is None else own.astype(bool) | found.cr_mask
    remove_cards(result.meta)
    is_header = isinstance(result.meta, fits.Header)
    for key, (value, comment) in cards_of(found, clean=clean).items() if add_keyword else ():
        result.meta[key] = (value, comment) if is_header else value
    return result


def _clean(frame, method, cr_mask, mask):
    """Return the data with flagged pixels replaced, and an uncertainty that covers the guess."""
    settings = {"method": method, "mask": mask}
    data = clean_pixels(frame.data, cr_mask, **settings)
    if frame.uncertainty is None:
        return data, None
    kind = type(frame.uncertainty)
    # Pixels of no weight have an infinite variance, and back.
    with np.errstate(divide="ignore"):
        variance = frame.uncertainty.represent_as(VarianceUncertainty).array
        variance = cleaned_variance(variance, cr_mask, data=frame.data, **settings)
        return data, VarianceUncertainty(variance).represent_as(kind)


def remove_cards(meta):
    """
    Take the cards of a detection off a header.

    Parameters
    ----------
    meta : dict or `~astropy.io.fits.Header`
        Changed in place.
    """
    for keyword in {keyword for keyword in meta if str(keyword).startswith("CRVI")}:
        del meta[keyword]


def cards_of(found, *, clean=None):
    """
    Note model, settings, counts and doubts as cards.

    Parameters
    ----------
    found : `~cosmiq_astro._detection.Detection`
        What was found.
    clean : str, optional
        How flagged pixels were replaced.

    Returns
    -------
    cards : dict
        Value and comment by keyword.
    """
    model, maps = found.model, found.maps
    cards = {
        "CRVIMODL": (model.name, "cosmic-ray model"),
        "CRVIVERS": (__version__, "cosmiq_astro version"),
        "CRVISHA": (model.sha256[:16], "SHA-256 of the model's weights (first 16)"),
        "CRVIT": (maps.T, "weight draws"),
        "CRVIVIEW": (maps.views, "ways the image was turned"),
        "CRVISAMP": (maps.sampling, "how the weights were drawn"),
        "CRVIPREC": (maps.precision, "precision of the convolutions"),
        "CRVISEED": (maps.seed, "seed of the draws"),
        "CRVITHR": (found.threshold, "probability from which a pixel is flagged"),
        "CRVIGROW": (found.mask_growth, "radius the mask was grown by (pixels)"),
        "CRVINPIX": (int(found.cr_mask.sum()), "pixels flagged"),
        "CRVINHIT": (found.n_hits, "connected groups flagged"),
        "CRVIFAM": (not found.doubts, "whether it looks like what the model knows"),
    }
    cards |= {
        f"CRVIWHY{number}": (doubt, "") for number, doubt in enumerate(found.doubts[:9], start=1)
    }
    if found.n_withheld is not None:
        cards["CRVINPRO"] = (found.n_withheld, "protected pixels that would be flagged")
    if found.n_negative is not None:
        cards["CRVINNEG"] = (found.n_negative, "pixels flagged as hits of what was subtracted")
    if clean is not None:
        cards["CRVICLN"] = (clean, "how flagged pixels were replaced")
    measured = {
        "CRVIUNF": (maps.unfamiliarity, "unfamiliarity of the hits; usually below 1"),
        "CRVIUNFS": (maps.star_unfamiliarity, "unfamiliarity of the stars; usually below 1"),
        "CRVIFWHM": (maps.stars.fwhm, "[pix] FWHM of the sharpest stars"),
        "CRVIELON": (maps.stars.elongation, "major over minor axis of the sharpest stars"),
    }
    for key, (value, comment) in measured.items():
        if math.isfinite(value):
            cards[key] = (float(f"{value:.4g}"), comment)
    return cards
