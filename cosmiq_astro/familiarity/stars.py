"""
The shape of the stars in an image, and whether a model was trained on such stars.

A model that learnt to leave stars of one width alone may take narrower ones
for cosmic rays. What counts are the sharpest sources: in every field they are
the most like the point-spread function, whatever else there is.
"""

import math
from dataclasses import dataclass

import numpy as np

__all__ = ["FamiliarStars", "StarShape", "fit_familiar_stars", "measure_stars"]

_SNR = 20
# Of a pixel that may belong to a star.
_HIGHEST_PROBABILITY = 0.2
# Pixels next to the peak have at least this share of it: a hot pixel's do not.
_LEAST_SHARE = 0.1
_LEAST_STARS = 10
_SHARPEST = 0.25
# Bright pixels looked at: more would take time and tell nothing new.
_MOST_PIXELS = 200_000
_REACH = 2
_FWHM = math.sqrt(8 * math.log(2))
_LARGEST_ELONGATION = 10.0
# One in twenty validation patches has stars as rare as unfamiliarity 1, or rarer.
_RARE = 0.05
# Fewer cannot tell what is that rare.
_LEAST_PATCHES = 100


@dataclass(frozen=True)
class StarShape:
    """
    Shape of the sharpest stars of an image.

    Attributes
    ----------
    fwhm : float
        Full width at half maximum, pixels, of the Gaussian through the peak
        and the pixels next to it; NaN for fewer than 10 stars.
    elongation : float
        Major over minor axis of it, 1 to 10; NaN as well.
    n_stars : int
        Peaks measured, of which a quarter count, the sharpest.
    """

    fwhm: float
    elongation: float
    n_stars: int


def measure_stars(pixels, probability, noise):
    """
    Measure the shape of the sharpest stars of an image.

    Stars are peaks in 5 × 5 pixels with a signal-to-noise ratio above 20 in
    the central one, no pixel around it above a probability of 0.2, and at
    least a tenth of its light in each of the four next to it. Through the
    logarithms of the peak and the eight around goes a Gaussian; of its
    inverse covariance the median over the quarter of the peaks that are
    sharpest is taken.

    Parameters
    ----------
    pixels : ndarray or Tensor
        Sky-subtracted pixel values, electron, shape ``(ny, nx)``; finite.
    probability : ndarray or Tensor
        Of a cosmic ray, same shape, on the same device.
    noise : float
        Standard deviation of a sky pixel, electron.

    Returns
    -------
    stars : `StarShape`
        NaN where there are too few.
    """
    # Not for all who import this module, as it takes long.
    import torch

    pixels, probability = torch.as_tensor(pixels), torch.as_tensor(probability)
    n_rows, n_columns = (max(n - 2 * _REACH, 0) for n in pixels.shape)
    inside = pixels[_REACH : _REACH + n_rows, _REACH : _REACH + n_columns]
    # x > S sqrt(x + noise**2), solved for x.
    limit = _SNR**2 / 2 + math.sqrt(_SNR**4 / 4 + _SNR**2 * noise**2)
    bright = (inside > limit).nonzero()
    bright = bright[:: max(1, math.ceil(len(bright) / _MOST_PIXELS))]
    y, x = (bright + _REACH).T
    step = torch.arange(-_REACH, _REACH + 1, device=pixels.device)
    around = pixels[y[:, None, None] + step[:, None], x[:, None, None] + step]
    peak = around[:, _REACH, _REACH]
    # The peak itself is the one that is not less.
    is_star = (around < peak[:, None, None]).sum((1, 2)) == len(step) ** 2 - 1
    y, x, step = y[is_star], x[is_star], step[1:-1]
    beside = probability[y[:, None, None] + step[:, None], x[:, None, None] + step]
    around = around[is_star][(beside < _HIGHEST_PROBABILITY).all(2).all(1), 1:-1, 1:-1]
    around = around.cpu().numpy().astype(np.float64)
    share = around / around[:, 1:2, 1:2]
    next_to_it = share[:, [0, 1, 1, 2], [1, 0, 2, 1]]
    return _shape_of(share[(next_to_it >= _LEAST_SHARE).all(1)])


def _shape_of(share):
    """Return the shape of stars from the light around their peaks, shape ``(n, 3, 3)``."""
    if len(share) < _LEAST_STARS:
        return StarShape(math.nan, math.nan, len(share))
    fall = -np.log(np.maximum(share, 0.01))
    # A Gaussian falls by half of its inverse covariance between the middle of a pixel and that of
    # the next; where in the pixel it is centred does not change the mean of both sides.
    yy, xx = fall[:, ::2, 1].sum(1), fall[:, 1, ::2].sum(1)
    yx = (fall[:, 0, 0] + fall[:, 2, 2] - fall[:, 0, 2] - fall[:, 2, 0]) / 4
    n_sharpest = math.ceil(_SHARPEST * len(share))
    sharpest = np.argsort(-(yy + xx), kind="stable")[:n_sharpest]
    yy, xx, yx = (np.median(part[sharpest]) for part in (yy, xx, yx))
    mean, half_difference = (yy + xx) / 2, math.hypot((yy - xx) / 2, yx)
    least = (mean + half_difference) / _LARGEST_ELONGATION**2
    return StarShape(
        fwhm=_FWHM / math.sqrt(mean),
        elongation=math.sqrt((mean + half_difference) / max(mean - half_difference, least)),
        n_stars=len(share),
    )


@dataclass(frozen=True)
class FamiliarStars:
    """
    The stars that a model knows: what was measured on validation patches.

    Attributes
    ----------
    fwhm, elongation : ndarray
        Of the patches, each in increasing order, shape ``(n,)``.
    """

    fwhm: np.ndarray
    elongation: np.ndarray

    def __post_init__(self):
        for name in ("fwhm", "elongation"):
            values = np.asarray(getattr(self, name))
            in_order = values.ndim == 1 and values.size > 0 and (np.diff(values) >= 0).all()
            if not in_order or not (values > 0).all() or not np.isfinite(values).all():
                raise ValueError(f"{name} must be positive numbers in increasing order")

    def unfamiliarity(self, stars):
        """
        Return how rare stars of such a shape are among those known.

        Parameters
        ----------
        stars : `StarShape`
            Of an image.

        Returns
        -------
        unfamiliarity : float
            ``ln(1/p) / ln(20)``, *p* being the share of patches that lie as
            far out in the width, to either side, or in the elongation,
            counted twice as it may be either: above 1, stars are unlike those
            trained on. NaN if there are too few stars.
        """
        if math.isnan(stars.fwhm):
            return math.nan
        below, less = (
            (np.searchsorted(patches, value) + 0.5) / (patches.size + 1)
            for patches, value in ((self.fwhm, stars.fwhm), (self.elongation, stars.elongation))
        )
        share = 2 * min(2 * below, 2 * (1 - below), 1 - less)
        return math.log(1 / min(share, 1.0)) / math.log(1 / _RARE)

    def limits(self):
        """
        Return what is rare enough for unfamiliarity 1.

        Returns
        -------
        narrowest, widest, longest : float
            FWHM, pixels, and elongation.
        """
        narrowest, widest = np.quantile(self.fwhm, (_RARE / 4, 1 - _RARE / 4))
        return float(narrowest), float(widest), float(np.quantile(self.elongation, 1 - _RARE / 2))


def fit_familiar_stars(patches):
    """
    Learn what stars are like where a model is at home.

    Parameters
    ----------
    patches : list of `StarShape`
        Of validation patches; those with too few stars do not count.

    Returns
    -------
    familiar : `FamiliarStars` or None
        None for fewer than 100 patches with stars: too few to tell.
    """
    measured = [stars for stars in patches if not math.isnan(stars.fwhm)]
    if len(measured) < _LEAST_PATCHES:
        return None
    values = np.sort([(stars.fwhm, stars.elongation) for stars in measured], axis=0)
    return FamiliarStars(fwhm=values[:, 0], elongation=values[:, 1])
