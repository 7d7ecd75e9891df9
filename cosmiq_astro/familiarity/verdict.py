"""Whether an exposure is like what a model was trained on: doubts, for whoever uses the result."""

import math

import numpy as np
from scipy import ndimage

__all__ = ["doubts"]

# Of fewer stars their novelty gives false alarms, in cutouts and sparse fields, unless their width
# is off by these factors.
_MANY_STARS = 50
_TOO_NARROW, _TOO_WIDE = 0.95, 1.2
# Novelty of hits: that of whole familiar frames was 0.6 to 1.0, that of flagged stars 1.1 to 6.
_UNLIKE = 1.25
# Of cosmic rays 4 to 8 % stretch over more than 5 pixels, and a quarter has 3 pixels at most. Where
# pixels are large none may be so long, and half have 4 pixels. Stars taken for hits are compact: 4
# pixels or more, but for a quarter of them, and under 1 % long.
_LONG, _LEAST_LONG, _MANY_HITS, _COMPACT = 5, 0.01, 100, 4
# A busy frame of HST has 4 % of its pixels hit in half an hour.
_MOST_FLAGGED = 0.1


def doubts(model, maps, labels, **known):
    """
    Say why the probabilities of an exposure need not be right.

    Parameters
    ----------
    model : `~cosmiq_astro.models.model.Model`
        What it was searched with.
    maps : `~cosmiq_astro.CosmicRayMaps`
        What was found.
    labels : ndarray of int
        Number of the group that a flagged pixel is of, 0 elsewhere.
    **known : float or None
        ``exposure_time`` (s) and ``readnoise`` (electron), None if unknown.

    Returns
    -------
    doubts : tuple of str
        A sentence each; none for a familiar exposure.
    """
    found = [
        *_ranges(model, known),
        *_stars(model, maps),
        *_hits(model, maps, labels),
    ]
    if known["readnoise"] is None:
        found += _noise(maps.statistics)
    return tuple(f"{what}: its probabilities need not be right here" for what in found)


def _ranges(model, known):
    for name, (low, high) in model.ranges.items():
        value = known[name]
        if value is not None and not low <= value <= high:
            yield (
                f"{name} is {value:g}, but the model {model.name} was trained on {low:g} to "
                f"{high:g}"
            )


def _stars(model, maps):
    # NaN compares False.
    if not maps.star_novelty > 1:
        return
    narrowest, widest, longest = model.known_stars.limits()
    far = not _TOO_NARROW * narrowest <= maps.stars.fwhm <= _TOO_WIDE * widest
    if far or maps.stars.n_stars >= _MANY_STARS:
        yield (
            f"the sharpest stars are {maps.stars.fwhm:.2g} pixels wide (FWHM), with an elongation "
            f"of {maps.stars.elongation:.2g}, but the model {model.name} was trained on "
            f"{narrowest:.2g} to {widest:.2g} pixels, mostly, and up to {longest:.2g}"
        )


def _hits(model, maps, labels):
    if maps.novelty > _UNLIKE:
        yield (
            f"what was found is unlike the cosmic rays that the model {model.name} knows (novelty "
            f"{maps.novelty:.2g}, usually below 1): stars or lines that are too sharp, hot pixels"
        )
    sides = [max(s.stop - s.start for s in box) for box in ndimage.find_objects(labels)]
    n_long = np.count_nonzero(np.array(sides) > _LONG)
    if len(sides) >= _MANY_HITS and n_long < _LEAST_LONG * len(sides):
        areas = np.bincount(labels.ravel())[1:]
        if np.quantile(areas, 0.25) >= _COMPACT:
            yield (
                f"{n_long} of {len(sides)} things found are longer than {_LONG} pixels, and few "
                "are smaller than stars: they may be stars that are too sharp"
            )
    share = np.count_nonzero(labels) / labels.size
    if share > _MOST_FLAGGED:
        yield (
            f"{share:.0%} of the pixels were flagged, more than cosmic rays hit: stars or lines "
            "may be too sharp, or gain or noise wrong"
        )


def _noise(statistics):
    photons = math.sqrt(max(statistics.sky, 0))
    cure = "check unit and gain, and give readnoise (electron)"
    if statistics.noise <= 1:
        yield f"the noise seems to be {statistics.noise:.2g} electrons, less than CCDs have; {cure}"
    elif statistics.noise < photons / 2:
        yield (
            f"the noise seems to be {statistics.noise:.2g} electrons, but a sky of "
            f"{statistics.sky:.3g} has {photons:.2g}, unless it holds a bias level or is a mean of "
            f"exposures; {cure}"
        )
