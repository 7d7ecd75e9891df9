"""One line on an exposure: whether to trust its mask, why not, and what would be better."""

import math
from dataclasses import dataclass

import numpy as np
from astropy.io import fits

__all__ = ["Measured", "Verdict", "judge", "measure_exposure", "note_verdict", "verdict_line"]

_FAMILIAR = "familiar: nothing speaks against this mask"
_NEW = 1.0
# Neighbouring pixels that scatter this much less or more than level and read noise tell.
_TOO_QUIET, _SUBTRACTED = 0.75, 1.5
# A crowded field alone scatters up to twice as much.
_TOO_NOISY = 2.5
_SATURATED = 0.005
_MOST_HITS = 0.2
# Of a crowded field, where all is well, it is 0.6.
_AMBIGUOUS = 0.8
_LEAST_STARS = 50


@dataclass(frozen=True)
class Measured:
    """
    What an exposure shows; NaN for what is not known.

    Attributes
    ----------
    novelty, star_novelty : float
        As `~cosmiq_astro.CosmicRayMaps` has them; above 1: unfamiliar.
    n_stars : int
        Stars that ``star_novelty`` is of.
    sky : float
        Electron.
    scatter : float
        Noise measured from neighbouring pixels, electron.
    expected : float
        Noise that follows from sky and read noise, electron.
    saturated : float
        Share of the pixels at the saturation level or above.
    flagged : float
        Share of the usable pixels flagged.
    ambiguous : float
        Share of the pixels that may be hits (p > 0.1) whose entropy exceeds
        that of p = 0.9.
    outside : tuple of str
        Names of what lies outside the ranges that the model was trained on.
    """

    novelty: float = math.nan
    star_novelty: float = math.nan
    n_stars: int = 0
    sky: float = math.nan
    scatter: float = math.nan
    expected: float = math.nan
    saturated: float = math.nan
    flagged: float = math.nan
    ambiguous: float = math.nan
    outside: tuple = ()


@dataclass(frozen=True)
class Verdict:
    """
    Whether to trust a mask.

    Attributes
    ----------
    trusted : bool
        False if anything speaks against it.
    reasons : tuple of str
        What does.
    advice : tuple of str
        What would be better; one for each reason.
    """

    trusted: bool
    reasons: tuple = ()
    advice: tuple = ()

    @property
    def line(self):
        """The verdict in one line."""
        if self.trusted:
            return _FAMILIAR
        pairs = zip(self.reasons, self.advice, strict=True)
        return "look at it: " + "; ".join(f"{reason} ({advice})" for reason, advice in pairs)


def measure_exposure(image, maps, cr_mask, *, scatter, expected=math.nan, satlevel=None):
    """
    Measure what `judge` judges by.

    Parameters
    ----------
    image : ndarray
        Pixel values, electron.
    maps : `~cosmiq_astro.CosmicRayMaps`
        What the detector said.
    cr_mask : ndarray of bool
        Pixels flagged.
    scatter : float
        Noise measured from the pixels (`~cosmiq_astro.preprocess.estimate_statistics`
        without a read noise), electron.
    expected : float, optional
        The same from sky and read noise, if that is known.
    satlevel : float, optional
        Electron.

    Returns
    -------
    measured : `Measured`
        Numbers alone.
    """
    usable = maps.usable
    n = max(int(usable.sum()), 1)
    candidate = usable & (maps.probability > 0.1)
    unsure = candidate & (maps.entropy > 0.325)
    n_candidates = int(candidate.sum())
    return Measured(
        novelty=maps.novelty,
        star_novelty=maps.star_novelty,
        n_stars=maps.stars.n_stars,
        sky=maps.statistics.sky,
        scatter=float(scatter),
        expected=float(expected),
        saturated=math.nan if satlevel is None else float((image[usable] >= satlevel).sum() / n),
        flagged=float(np.count_nonzero(cr_mask & usable) / n),
        ambiguous=float(unsure.sum() / n_candidates) if n_candidates >= 100 else math.nan,
    )


def judge(measured, *, general_model="ccd-vi", model=""):
    """
    Say whether to trust a mask, why not, and what would be better.

    Parameters
    ----------
    measured : `Measured`
        From `measure_exposure`, or from the cards of a header.
    general_model : str, optional
        The model to advise where this one has not seen the like.
    model : str, optional
        The model that was used; it is not advised again.

    Returns
    -------
    verdict : `Verdict`
        Its ``line`` is for people; ``reasons`` and ``advice`` are for tables.

    Examples
    --------
    >>> from cosmiq_astro.verdict import Measured, judge
    >>> judge(Measured(novelty=0.4, sky=40, scatter=8, expected=8.1)).line
    'familiar: nothing speaks against this mask'
    >>> judge(Measured(sky=200, scatter=7, expected=14)).advice[0][:36]
    '--gain is too small by about 4.0, or'
    """
    other = f"try --model {general_model}" if model != general_model else "train a model of its own"
    found = []
    if measured.novelty > _NEW:
        found.append((f"its hits are unlike those known (novelty {measured.novelty:.1f})", other))
    if measured.star_novelty > _NEW and measured.n_stars >= _LEAST_STARS:
        found.append(
            (f"its stars are unlike those known (novelty {measured.star_novelty:.1f})", other)
        )
    found += [(f"{name} is outside what the model knows", other) for name in measured.outside]
    found += _of_noise(measured)
    if measured.saturated > _SATURATED:
        found.append(
            (f"{100 * measured.saturated:.1f} % of the pixels are saturated", "mask the bleeds")
        )
    if measured.flagged > _MOST_HITS:
        found.append(
            (f"{100 * measured.flagged:.0f} % of the pixels are flagged", "raise --threshold")
        )
    elif measured.flagged == 0:
        found.append(("nothing is flagged", "it may have been cleaned or combined already"))
    if measured.ambiguous > _AMBIGUOUS:
        share = f"{100 * measured.ambiguous:.0f} % of what may be hits is undecided"
        found.append((share, "see cosmiq-astro review"))
    reasons, advice = zip(*found, strict=True) if found else ((), ())
    return Verdict(not found, tuple(reasons), tuple(advice))


def note_verdict(meta, verdict):
    """
    Write a verdict into a header.

    Parameters
    ----------
    meta : `~astropy.io.fits.Header` or dict
        Gets ``CRVIOK`` and, if that is False, ``CRVIWHY1`` and so on: what
        speaks against the mask, and what would be better.
    verdict : `Verdict`
        From `judge`.
    """
    meta["CRVIOK"] = verdict.trusted
    if isinstance(meta, fits.Header):
        meta.comments["CRVIOK"] = "whether nothing speaks against the mask"
    pairs = zip(verdict.reasons, verdict.advice, strict=True)
    for number, (reason, advice) in enumerate(pairs, start=1):
        meta[f"CRVIWHY{number}"] = f"{reason} ({advice})"


def verdict_line(meta):
    """
    Read the line of a verdict back from a header.

    Parameters
    ----------
    meta : `~astropy.io.fits.Header` or dict
        With the cards of `note_verdict`.

    Returns
    -------
    line : str
        As `Verdict.line`; empty if there is no verdict.
    """
    if "CRVIOK" not in meta:
        return ""
    reasons = [meta[key] for key in sorted(meta) if key.startswith("CRVIWHY")]
    return f"look at it: {'; '.join(reasons)}" if reasons else _FAMILIAR


def _of_noise(measured):
    """Return what the noise says of gain, sky and read noise."""
    ratio = measured.scatter / measured.expected if measured.expected > 0 else math.nan
    found = []
    text = f"the noise is {ratio:.2f} of what sky and read noise give"
    if ratio < _TOO_QUIET:
        # A gain too large by k makes the scatter larger by k, what is expected by the root of k.
        advice = (
            f"--gain is too small by about {1 / ratio**2:.1f}, or the image was smoothed, combined "
            "or resampled"
        )
        found.append((text, advice))
    elif ratio > _SUBTRACTED and measured.sky < 1:
        found.append((text, "the sky is subtracted: give --background or --uncertainty"))
    elif ratio > _TOO_NOISY:
        found.append(
            (text, f"--gain is too large by about {ratio**2:.1f}, or --readnoise is too small")
        )
    return found
