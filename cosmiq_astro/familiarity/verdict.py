"""Whether to trust a mask: doubts, each with what would be better, for whoever uses it."""

import math

import numpy as np
from scipy import ndimage

from cosmiq_astro.preprocess import SUBTRACTED, estimate_statistics

__all__ = ["doubts", "noted_doubts", "verdict_line"]

# Of fewer stars their unfamiliarity gives false alarms, in cutouts and sparse fields, unless their
# width is off by these factors.
_MANY_STARS = 50
_TOO_NARROW, _TOO_WIDE = 0.95, 1.2
# Unfamiliarity of hits: of frames with hits of every kind it was 0.1 to 1.0, and up to 1.9 where
# most of what is found are warm pixels or noise.
_UNLIKE = 1.25
# Of cosmic rays 2 to 12 % are longer than 5 pixels, and a quarter has 3 pixels at most. Where
# pixels are large none may be so long, and half have 4 pixels. Stars taken for hits are compact: 4
# pixels or more, but for a quarter of them, and under 1 % long. Of fewer hits chance leaves as few.
_LONG, _LEAST_LONG, _MANY_HITS, _COMPACT = 5, 0.01, 200, 4
# A busy frame of HST has 4 % of its pixels hit in half an hour.
_MOST_FLAGGED = 0.1
# Neighbouring pixels scatter this much less or more than level and read noise tell. A crowded
# field alone scatters up to twice as much.
_TOO_QUIET, _TOO_NOISY = 0.75, 2.5
# Steps of the pixels, in units of the noise. Up to 2.5 a mask is what it would be without; from 3
# on most of it is false.
_COARSE, _FEW_VALUES, _MANY_VALUES = 2.7, 8, 2**16
# Of fewer pixels the noise is not known as well.
_MANY_PIXELS = 10_000
_SATURATED = 0.005
# In so many pixels times seconds the ground's 0.02 hits/cm2/s leave 20, in pixels of 10 micrometre.
_LONG_ENOUGH = 1e9
# Of what may be hits, the share that is undecided: of a crowded field, where all is well, it is
# 0.6, and 0.88 about a star that bleeds.
_AMBIGUOUS, _MANY_CANDIDATES = 0.92, 100
_BETTER = "a model trained for this camera may do better"


def doubts(model, maps, labels, *, pixels=None, exposure_time=None, readnoise=None, satlevel=None):
    """
    Say why the probabilities of an exposure need not be right, and what would be better.

    Parameters
    ----------
    model : `~cosmiq_astro.models.model.Model`
        What it was searched with.
    maps : `~cosmiq_astro.CosmicRayMaps`
        What was found.
    labels : ndarray of int
        Number of the group that a flagged pixel is of, 0 elsewhere.
    pixels : ndarray or None
        The exposure, electron; None if the detector saw something else, of
        which gain and noise cannot be judged.
    exposure_time : float or None
        Seconds, None if unknown.
    readnoise, satlevel : float or None
        Electron, None if unknown.

    Returns
    -------
    doubts : tuple of str
        A sentence each; none for a familiar exposure.
    """
    known = {"exposure_time": exposure_time, "readnoise": readnoise}
    unlike = [*_ranges(model, known), *_stars(model, maps), *_hits(model, maps, labels)]
    found = [(what, _BETTER) for what in unlike]
    found += _shares(maps, labels, exposure_time)
    if pixels is not None:
        found += _steps(pixels, maps)
        if readnoise is None:
            found += _noise(maps.statistics)
        else:
            found += _gain(pixels, maps, readnoise)
        if satlevel is not None:
            found += _saturated(pixels, maps.usable, satlevel)
    return tuple(
        f"{what}: its probabilities need not be right here ({advice})" for what, advice in found
    )


def verdict_line(doubts):
    """
    Say in one line whether to trust a mask.

    Parameters
    ----------
    doubts : sequence of str
        From `doubts`.

    Returns
    -------
    line : str
        Says so if there are none.

    Examples
    --------
    >>> from cosmiq_astro.familiarity.verdict import verdict_line
    >>> verdict_line(())
    'familiar: nothing speaks against this mask'
    """
    if not doubts:
        return "familiar: nothing speaks against this mask"
    return f"look at it: {'; '.join(doubts)}"


def noted_doubts(meta):
    """
    Read the doubts back from a header.

    Parameters
    ----------
    meta : `~astropy.io.fits.Header` or dict
        With the cards ``CRVIWHY1`` and so on, if there were any doubts.

    Returns
    -------
    doubts : tuple of str
        As `doubts` returned them.
    """
    return tuple(meta[key] for key in sorted(meta) if key.startswith("CRVIWHY"))


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
    if not maps.star_unfamiliarity > 1:
        return
    narrowest, widest, longest = model.familiar_stars.limits()
    far = not _TOO_NARROW * narrowest <= maps.stars.fwhm <= _TOO_WIDE * widest
    if far or maps.stars.n_stars >= _MANY_STARS:
        yield (
            f"the sharpest stars are {maps.stars.fwhm:.2g} pixels wide (FWHM), with an elongation "
            f"of {maps.stars.elongation:.2g}, but the model {model.name} was trained on "
            f"{narrowest:.2g} to {widest:.2g} pixels, mostly, and up to {longest:.2g}"
        )


def _hits(model, maps, labels):
    if maps.unfamiliarity > _UNLIKE:
        yield (
            f"what was found is unlike the cosmic rays that the model {model.name} knows "
            f"(unfamiliarity {maps.unfamiliarity:.2g}, usually below 1): stars or lines that are "
            "too sharp, hot pixels"
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


def _shares(maps, labels, exposure_time):
    n_flagged = np.count_nonzero(labels)
    share = n_flagged / labels.size
    if share > _MOST_FLAGGED:
        what = (
            f"{share:.0%} of the pixels were flagged, more than cosmic rays hit: stars or lines "
            "may be too sharp, hot pixels many, or gain or noise wrong"
        )
        yield what, "check unit, gain and read noise, or raise threshold"
    n_searched = np.count_nonzero(maps.usable)
    if n_flagged == 0 and exposure_time is not None and n_searched * exposure_time > _LONG_ENOUGH:
        yield (
            f"nothing was flagged in {exposure_time:g} s",
            "it may have been cleaned or combined already: start from the original",
        )
    probability = maps.probability[maps.usable]
    n_candidates = np.count_nonzero(probability > 0.1)
    n_unsure = n_candidates - np.count_nonzero(probability >= 0.9)
    if n_candidates >= _MANY_CANDIDATES and n_unsure > _AMBIGUOUS * n_candidates:
        what = f"{n_unsure / n_candidates:.0%} of what may be hits is undecided"
        yield what, "look at them with cosmiq-astro review"


def _steps(pixels, maps):
    """Compare the noise with the steps in which the pixels come."""
    every = max(1, pixels.size // _MANY_VALUES)
    values = np.unique(pixels.ravel()[::every][maps.usable.ravel()[::every]])
    if values.size < _FEW_VALUES:
        return
    step, noise = np.diff(values.astype(np.float64)).min(), maps.statistics.noise
    if step > _COARSE * noise:
        what = (
            f"the pixels come in steps of {step:.3g} electrons, much coarser than the noise of "
            f"{noise:.2g}"
        )
        yield what, "check unit and gain; of data rounded so, faint hits cannot be told from noise"


def _noise(statistics):
    photons = math.sqrt(max(statistics.sky, 0))
    what = f"the noise seems to be {statistics.noise:.2g} electrons"
    if statistics.noise <= 1:
        what += ", less than CCDs have"
    elif statistics.noise < photons / 2:
        what += (
            f", but a sky of {statistics.sky:.3g} has {photons:.2g}, unless it holds a bias level "
            "or is a mean of exposures"
        )
    else:
        return
    yield what, "check unit and gain, and give readnoise (electron)"


def _gain(pixels, maps, readnoise):
    """Compare the scatter of the pixels with what follows from sky and read noise."""
    measured = estimate_statistics(pixels, maps.usable)
    expected = math.sqrt(max(measured.sky, 0) + readnoise**2)
    if expected == 0:
        return
    ratio = measured.noise / expected
    what = f"the noise is {ratio:.2f} of what sky and read noise give"
    if maps.statistics.noise > SUBTRACTED * expected:
        yield (
            f"the sky seems to be subtracted (a level of {measured.sky:.2g} electrons has a noise "
            f"of {expected:.3g}), and the noise measured, {maps.statistics.noise:.3g}, was taken",
            "give the exposure from before that, or uncertainty; if it is not so, readnoise is too "
            "small or gain too large",
        )
    elif np.count_nonzero(maps.usable) < _MANY_PIXELS:
        return
    elif ratio < _TOO_QUIET:
        # A gain too large by k makes the scatter larger by k, what is expected by the root of k.
        yield (
            what,
            f"gain may be too small by about {1 / ratio**2:.1f}, or the image was smoothed, "
            "combined or resampled",
        )
    elif ratio > _TOO_NOISY:
        yield (what, f"gain may be too large by about {ratio**2:.1f}, or readnoise is too small")


def _saturated(pixels, usable, satlevel):
    with np.errstate(invalid="ignore"):
        share = np.count_nonzero((pixels >= satlevel) & usable) / max(np.count_nonzero(usable), 1)
    if share > _SATURATED:
        yield f"{share:.1%} of the pixels are saturated", "mask the bleeds"
