"""Warnings of exposures that are unlike those that a model was trained on."""

import warnings

from astropy.utils.exceptions import AstropyUserWarning

__all__ = ["warn_of_novelty", "warn_of_ranges"]

# Of fewer stars the novelty is a number for the header: cutouts and sparse fields would give false
# alarms. So would hot pixels taken for hits, so the novelty of the hits is never more than that.
_LEAST_STARS = 50


def warn_of_ranges(model, **values):
    """Warn where what is known of an exposure lies outside the model's ranges."""
    for name, (low, high) in model.ranges.items():
        value = values[name]
        if value is not None and not low <= value <= high:
            _warn(
                f"{name} is {value:g}, but the model {model.name} was trained on {low:g} to "
                f"{high:g}"
            )


def warn_of_novelty(model, maps):
    """Warn where many stars were found and look unfamiliar."""
    if maps.star_novelty > 1 and maps.stars.n_stars >= _LEAST_STARS:
        narrowest, widest, longest = model.known_stars.limits()
        _warn(
            f"the sharpest stars are {maps.stars.fwhm:.2g} pixels wide (FWHM), with an elongation "
            f"of {maps.stars.elongation:.2g}, but the model {model.name} was trained on "
            f"{narrowest:.2g} to {widest:.2g} pixels, mostly, and up to {longest:.2g}"
        )


def _warn(what):
    # Shown where the user called.
    message = f"{what}: its probabilities need not be right here"
    warnings.warn(message, AstropyUserWarning, stacklevel=5)
