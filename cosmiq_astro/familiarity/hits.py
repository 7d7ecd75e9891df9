"""
Unfamiliarity: whether the cosmic rays of an image look like those that a model was trained on.

What the last block of a network sees at a pixel describes the pixel's
surroundings. Its mean over the pixels of all hits of an image is compared with
those of validation patches, by a Mahalanobis distance in the space of features
(Lee et al. 2018, arXiv:1807.03888) with one variance between patches and one
that falls with the number of pixels.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from cosmiq_astro._windows import TOUCHING

__all__ = [
    "HIT",
    "FamiliarHits",
    "HitFeatures",
    "count_alike",
    "describe_hits",
    "fit_familiar_hits",
]

HIT = 0.5
"""Probability above which a pixel is one of a hit."""
# Of fewer pixels a mean says nothing.
_LEAST_PIXELS = 10
# Those of one hit are alike.
_PIXELS_PER_HIT = 3
# In so many pixels no single hit counts for much.
_MANY_PIXELS = 1000
# What unfamiliarity 1 is: of validation patches, one in twenty lies farther out.
_QUANTILE = 0.95


def describe_hits(features):
    """
    Return a description of hits, from what a network's last block sees there.

    Parameters
    ----------
    features : Tensor
        Its input at the pixels whose probability is above `HIT`, shape ``(n_features, n)``.

    Returns
    -------
    values : ndarray
        Arsinh of the features, as most grow with the charge, which spans four
        decades; shape ``(n_features, n)``.
    """
    return features.float().arcsinh().cpu().numpy().astype(np.float64)


def count_alike(probability):
    """
    Count the pixels whose features are as good as those of one hit: 3, or more if hits are few.

    Parameters
    ----------
    probability : ndarray
        Of an image; NaN is none.

    Returns
    -------
    n_alike : float
        Pixels over the number of hits, as unequal as they are: all pixels where
        a single long track has most of them.
    """
    is_hit = probability > HIT
    if not _LEAST_PIXELS <= np.count_nonzero(is_hit) <= _MANY_PIXELS:
        return _PIXELS_PER_HIT
    groups, _ = ndimage.label(is_hit, TOUCHING)
    areas = np.bincount(groups[is_hit])
    return max(_PIXELS_PER_HIT, np.sum(areas**2) / np.sum(areas))


class HitFeatures:
    """
    The mean of what is seen at hits, summed up tile by tile.

    Attributes
    ----------
    count : int
        Pixels added.
    total : ndarray or float
        Sum of their features, shape ``(n_features,)``; 0.0 without any.
    """

    def __init__(self):
        self.count, self.total = 0, 0.0

    def add(self, values):
        """
        Add what `describe_hits` returned; returns the sums.

        Parameters
        ----------
        values : ndarray
            Features of hit pixels, shape ``(n_features, n)``.

        Returns
        -------
        sums : `HitFeatures`
            This object.
        """
        self.count += values.shape[1]
        self.total = self.total + values.sum(axis=1)
        return self


@dataclass(frozen=True)
class FamiliarHits:
    """
    The hits that a model knows: where the mean features of validation patches lie.

    Attributes
    ----------
    mean : ndarray
        Mean over the patches, shape ``(n_features,)``.
    axes : ndarray
        Rows that turn features into independent directions in which single
        hit pixels have variance 1, shape ``(n_features, n_features)``.
    scatter : ndarray
        Variance between patches along each direction, positive.
    limit : float
        Squared distance that 5 % of patches exceed.
    """

    mean: np.ndarray
    axes: np.ndarray
    scatter: np.ndarray
    limit: float = 1.0

    def __post_init__(self):
        n = np.size(self.mean)
        shapes = tuple(np.shape(part) for part in (self.mean, self.axes, self.scatter))
        if shapes != ((n,), (n, n), (n,)) or np.ndim(self.limit):
            raise ValueError(
                "mean, axes, scatter and limit must have shapes (n,), (n, n), (n,) and (), got "
                f"{', '.join(map(str, (*shapes, np.shape(self.limit))))}"
            )
        if not np.min(self.scatter) > 0 or not self.limit > 0:
            raise ValueError("scatter and limit must be positive")

    def unfamiliarity(self, hits, n_alike: float = _PIXELS_PER_HIT):
        """
        Return how far the hits of an image lie from those known.

        Parameters
        ----------
        hits : `HitFeatures`
            Of the image.
        n_alike : float, optional
            From `count_alike`.

        Returns
        -------
        unfamiliarity : float
            Squared distance over that which 5 % of validation patches exceed:
            above 1, the hits are unlike those trained on. NaN for fewer than
            10 pixels.
        """
        if hits.count < _LEAST_PIXELS:
            return float("nan")
        offset = self.axes @ (hits.total / hits.count - self.mean)
        distance = np.sum(offset**2 / (self.scatter + n_alike / hits.count))
        return float(distance / self.limit)


def fit_familiar_hits(patches, others):
    """
    Learn what hits look like to a network.

    Parameters
    ----------
    patches : list of ndarray
        Of the hit pixels of each patch, from `describe_hits`, shape
        ``(n_features, n)``; those with fewer than 10 pixels do not count.
    others : list of ndarray
        The same of other patches; the limit comes from these.

    Returns
    -------
    familiar : `FamiliarHits` or None
        None if there are fewer than two patches per feature: too few to tell.
    """
    patches = [values for values in patches if values.shape[1] >= _LEAST_PIXELS]
    if len(patches) < 2 * max((len(values) for values in patches), default=1):
        return None
    means = np.array([values.mean(axis=1) for values in patches])
    within = sum(
        (values - mean[:, None]) @ (values - mean[:, None]).T
        for values, mean in zip(patches, means, strict=True)
    )
    within /= sum(values.shape[1] - 1 for values in patches)
    # Features that are always zero must not divide by it.
    within += max(1e-3 * np.trace(within) / len(within), 1e-9) * np.eye(len(within))
    whiten = np.linalg.inv(np.linalg.cholesky(within))
    mean = means.mean(axis=0)
    scatter, directions = np.linalg.eigh(np.cov((means - mean) @ whiten.T, rowvar=False))
    familiar = FamiliarHits(mean, directions.T @ whiten, np.maximum(scatter, 1e-6))
    far = [familiar.unfamiliarity(HitFeatures().add(values)) for values in others]
    far = [value for value in far if np.isfinite(value)]
    if not far:
        return None
    return replace(familiar, limit=float(np.quantile(far, _QUANTILE)))
