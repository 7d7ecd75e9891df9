"""Intervals of scores that are no sums, from images, or blocks of an image, drawn anew."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from astropy.table import Table

from ._input import Column, Labels, Pixels, as_sample
from ._scores import t_factor, warn_of_few

__all__ = ["block_index", "bootstrap_interval"]


def block_index(shape: tuple[int, int], *, size: int) -> np.ndarray:
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
    score: Callable[[Table], float],
    probability: Pixels,
    label: Labels = None,
    *,
    weight: Column = None,
    uncertainty: Column = None,
    image: Column = None,
    n_resamples: int = 200,
    level: float = 0.95,
    seed: int | None = None,
) -> tuple[float, float]:
    """
    Interval of any score, from images drawn with replacement.

    Neighbouring pixels are correlated, images are not: the images (or large
    blocks) are what is resampled, by weighting their pixels 0, 1, 2, ...
    times. The interval is as wide as Student's t for their number, in standard
    errors from the resamples; that of quantiles of the resamples is too narrow
    for few images. Scores that noise can only raise, such as
    `~cosmiq_astro.calibration.expected_calibration_error`, have no interval
    that covers; take `~cosmiq_astro.calibration.rms_calibration_error` in
    `~cosmiq_astro.calibration.score_table`, which is also faster for all that
    it has.

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
        The score of all images minus and plus the half width; not cut off
        where the score cannot go.

    Raises
    ------
    ValueError
        If there are fewer than two images.

    Warns
    -----
    AstropyUserWarning
        If there are fewer than 20 images.

    References
    ----------
    .. [1] Efron, B., & Tibshirani, R. J. 1993, An Introduction to the
       Bootstrap, chapters 6 and 12
    .. [2] Hesterberg, T. C. 2015, The American Statistician, 69, 371 (why
       intervals of few are too narrow)

    Examples
    --------
    >>> import numpy as np
    >>> from cosmiq_astro.calibration import bootstrap_interval, roc_auc
    >>> rng = np.random.default_rng(0)
    >>> p = [rng.random((8, 8)) for _ in range(20)]
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
    n = names.size
    warn_of_few(n)
    own = np.ones(sample.size) if sample.weight is None else sample.weight
    columns = {"probability": sample.probability, "label": sample.label}
    if sample.uncertainty is not None:
        columns["uncertainty"] = sample.uncertainty

    def resampled(times):
        return score(Table(columns | {"weight": own * times[number]}, copy=False))

    rng = np.random.default_rng(seed)
    draws = rng.multinomial(n, np.full(n, 1 / n), size=n_resamples)
    error = np.std([resampled(times) for times in draws]) * np.sqrt(n / (n - 1))
    value = resampled(np.ones(n))
    half = t_factor(n, level) * error
    return float(value - half), float(value + half)
