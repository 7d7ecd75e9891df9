"""Confidence intervals from images, or blocks of an image, drawn with replacement."""

import math

import numpy as np
from astropy.table import Table

from ._input import as_sample

__all__ = ["block_index", "bootstrap_interval"]


def block_index(shape, *, size):
    """
    Number the square blocks of an image.

    Parameters
    ----------
    shape : tuple of int
        Shape of the image, ``(ny, nx)``.
    size : int
        Side of a block, pixels. Make it several times the length of a hit, so
        that blocks are nearly independent, and small enough for 20 blocks or
        more.

    Returns
    -------
    index : `~numpy.ndarray` of int
        Number of the block of each pixel, shape ``(ny, nx)``.

    Examples
    --------
    >>> from cosmiq_astro.calibration import block_index
    >>> block_index((2, 4), size=2)
    array([[0, 0, 1, 1],
           [0, 0, 1, 1]])
    """
    ny, nx = shape
    y, x = np.indices((ny, nx), sparse=True)
    return y // size * math.ceil(nx / size) + x // size


def bootstrap_interval(
    score,
    probability,
    label=None,
    *,
    weight=None,
    uncertainty=None,
    image=None,
    n_resamples=200,
    level=0.95,
    seed=None,
):
    """
    Interval of any score, from images drawn with replacement.

    Neighbouring pixels are correlated, images are not: the images (or large
    blocks) are what is resampled, by weighting their pixels 0, 1, 2, ...
    times.

    Parameters
    ----------
    score : callable
        Takes a `~astropy.table.Table` with ``probability``, ``label``,
        ``weight`` (and ``uncertainty`` if given) and returns a number: any
        function of `cosmiq_astro.calibration`, or a lambda around one.
    probability, label, weight, uncertainty : array-like
        As for `~cosmiq_astro.calibration.aurc`.
    image : array-like or str, optional
        Image or block of each pixel; a list of images numbers itself.
    n_resamples : int, optional
        Number of resamples; the score is computed once for each. Raise it for
        steadier ends.
    level : float, optional
        Level of the interval, in (0, 1).
    seed : int, optional
        Seed of the resampling.

    Returns
    -------
    low, high : float
        Quantiles of the score over the resamples.

    Raises
    ------
    ValueError
        If there are fewer than two images.

    References
    ----------
    .. [1] Efron, B., & Tibshirani, R. J. 1993, An Introduction to the
       Bootstrap, chapter 13 (percentile interval)

    Examples
    --------
    >>> import numpy as np
    >>> from cosmiq_astro.calibration import bootstrap_interval, roc_auc
    >>> rng = np.random.default_rng(0)
    >>> p = [rng.random((8, 8)) for _ in range(6)]
    >>> y = [rng.random((8, 8)) < x for x in p]
    >>> low, high = bootstrap_interval(roc_auc, p, y, seed=1)
    >>> bool(0.7 < low < roc_auc(p, y) < high < 0.95)
    True
    """
    sample = as_sample(probability, label, weight=weight, uncertainty=uncertainty, image=image)
    names, number = np.unique(
        np.zeros(1) if sample.image is None else sample.image, return_inverse=True
    )
    if names.size < 2:
        raise ValueError(
            f"image must name at least 2 images or blocks to resample, not {names.size}; "
            "cut a single image with block_index(shape, size=...)"
        )
    columns = {"probability": sample.probability, "label": sample.label}
    if sample.uncertainty is not None:
        columns["uncertainty"] = sample.uncertainty
    rng = np.random.default_rng(seed)
    scores = np.empty(n_resamples)
    for i in range(n_resamples):
        times = rng.multinomial(names.size, np.full(names.size, 1 / names.size))[number]
        columns["weight"] = times if sample.weight is None else times * sample.weight
        scores[i] = score(Table(columns, copy=False))
    low, high = np.quantile(scores, (0.5 - level / 2, 0.5 + level / 2))
    return float(low), float(high)
