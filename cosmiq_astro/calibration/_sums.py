"""
Sums over pixels, from which every score of calibration follows.

Sums are held as one array of shape ``(..., 2, 2, n_bins, 6)``: the axes are
*called* (sky, cosmic ray, at the threshold), *non-trivial* (no, yes), the bin
of probability, and the quantity. Leading axes (images, bootstrap draws) are
free, so that the same functions score one sample and a thousand resamples.
"""

import dataclasses

import numpy as np
from scipy.special import entr, ndtri

CLIP = 1e-7
NON_TRIVIAL = 0.01
COUNT, WEIGHT, PROBABILITY, POSITIVE, SQUARED, LOSS = range(6)
N_QUANTITIES = 6


def entropy(p):
    """Return the binary entropy in nats."""
    return entr(p) + entr(1.0 - p)


def _pixel_sums(sample, *, n_bins, threshold, n_images):
    """Add up a sample: an array of shape ``(n_images, 2, 2, n_bins, 6)``."""
    p, y = sample.probability.astype(float), sample.label
    edges = np.arange(1, n_bins) / n_bins
    code = np.searchsorted(edges, p, side="right")
    code += n_bins * ((p > NON_TRIVIAL) | y)
    code += 2 * n_bins * (p >= threshold)
    if n_images > 1:
        code += 4 * n_bins * sample.image
    miss = np.where(y, 1.0 - p, p)
    with np.errstate(divide="ignore"):
        loss = -np.clip(np.log(np.where(y, p, 1.0 - p)), np.log(CLIP), np.log1p(-CLIP))
    weight = 1.0 if sample.weight is None else sample.weight
    terms = {
        COUNT: None,
        WEIGHT: sample.weight,
        PROBABILITY: weight * p,
        POSITIVE: weight * y,
        SQUARED: weight * miss * miss,
        LOSS: weight * loss,
    }
    out = np.empty((n_images * 4 * n_bins, N_QUANTITIES))
    for quantity, values in terms.items():
        out[:, quantity] = np.bincount(code, values, minlength=len(out))
    return out.reshape(n_images, 2, 2, n_bins, N_QUANTITIES)


def sample_sums(sample, *, n_bins=1, threshold=0.5):
    """Add up a whole sample, one row of sums per image."""
    n_images = 1
    if sample.image is not None:
        names, number = np.unique(sample.image, return_inverse=True)
        n_images = max(names.size, 1)
        sample = dataclasses.replace(sample, image=number)
    total = np.zeros((n_images, 2, 2, n_bins, N_QUANTITIES))
    for part in sample.chunks():
        total += _pixel_sums(part, n_bins=n_bins, threshold=threshold, n_images=n_images)
    return total


def bin_sums(sums, *, non_trivial=False):
    """Return the sums per bin, of all pixels or of the non-trivial ones."""
    return sums[..., :, 1, :, :].sum(-3) if non_trivial else sums.sum((-4, -3))


def ratio(numerator, denominator):
    """Divide; NaN where there is nothing to divide by."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(denominator > 0, numerator / denominator, np.nan)


def brier(bins):
    """Return the mean squared error of the probability."""
    return ratio(bins[..., SQUARED].sum(-1), bins[..., WEIGHT].sum(-1))


def negative_log_likelihood(bins):
    """Return the mean negative log-likelihood."""
    return ratio(bins[..., LOSS].sum(-1), bins[..., WEIGHT].sum(-1))


def calibration_error(bins):
    """Return the mean over pixels, and the largest, of \\|confidence - frequency\\| per bin."""
    weight = bins[..., WEIGHT]
    gap = np.abs(bins[..., PROBABILITY] - bins[..., POSITIVE])
    largest = np.nan_to_num(ratio(gap, weight)).max(-1)
    total = weight.sum(-1)
    return ratio(gap.sum(-1), total), np.where(total > 0, largest, np.nan)


def squared_calibration_error(total, squares, n_images):
    """
    Return the mean over pixels of (confidence - frequency)² per bin, free of noise.

    The square of a sum over images holds each image's own square, noise and
    all. The products of different images are left, and these are right on
    average whatever the pixels of an image share (a U-statistic).

    Parameters
    ----------
    total : ndarray
        Sums per bin over all images, shape ``(..., n_bins, 6)``.
    squares : ndarray
        Sum over the images of (Σ p - Σ y)² of the bin, shape ``(..., n_bins)``.
    n_images : int
        Their number, 2 or more.
    """
    weight = total[..., WEIGHT]
    gap = total[..., PROBABILITY] - total[..., POSITIVE]
    products = np.nan_to_num(ratio(gap**2 - squares, weight)).sum(-1)
    return ratio(products, weight.sum(-1)) * n_images / (n_images - 1)


def rms_calibration_error(bins, *, t=None):
    """
    Return the root mean square calibration error, and the ends of its interval.

    Parameters
    ----------
    bins : ndarray
        Sums per image and bin, shape ``(n_images, n_bins, 6)``.
    t : float, optional
        Half width of the interval in standard errors.

    Returns
    -------
    error, low, high : float
        NaN for too few images: less than two, less than three for the ends.
    """
    n = len(bins)
    if n < 2 or not bins[..., WEIGHT].any():
        return np.nan, np.nan, np.nan
    total = bins.sum(0)
    own = (bins[..., PROBABILITY] - bins[..., POSITIVE]) ** 2
    squared = float(squared_calibration_error(total, own.sum(0), n))
    error = max(squared, 0.0) ** 0.5
    if n < 3 or t is None:
        return error, np.nan, np.nan
    others = squared_calibration_error(total - bins, own.sum(0) - own, n - 1)
    half = t * float(jackknife_error(others))
    # Rare images with large errors skew the square: its upper end is taken in the logarithm,
    # no lower than half of the half width, where the interval reaches below zero anyway.
    size = max(squared, half / 2)
    high = size**0.5 * np.exp(half / (2 * size)) if size > 0 else 0.0
    return error, max(squared - half, 0.0) ** 0.5, float(min(high, 1.0))


def jackknife_error(others):
    """Return the standard error of a score from its values with each image left out."""
    n = len(others)
    return np.sqrt((n - 1) / n * ((others - others.mean(0)) ** 2).sum(0))


def score_sums(sums):
    """Return every score that follows from the sums, by name."""
    bins, relevant = bin_sums(sums), bin_sums(sums, non_trivial=True)
    called = sums.sum((-3, -2))  # (..., called, quantity)
    fn, tp = np.moveaxis(called[..., POSITIVE], -1, 0)
    tn, fp = np.moveaxis(called[..., WEIGHT] - called[..., POSITIVE], -1, 0)
    base = ratio(tp + fn, tp + fp + fn + tn)
    by_class = calibration_error(sums.sum(-3))[0]
    ece, mce = calibration_error(bins)
    return {
        "base_rate": base,
        "brier": brier(bins),
        "brier_skill": 1 - ratio(brier(bins), base * (1 - base)),
        "brier_non_trivial": brier(relevant),
        "nll": negative_log_likelihood(bins),
        "nll_non_trivial": negative_log_likelihood(relevant),
        "ece": ece,
        "mce": mce,
        "ece_non_trivial": calibration_error(relevant)[0],
        "ece_sky": by_class[..., 0],
        "ece_cosmic_ray": by_class[..., 1],
        "tpr": ratio(tp, tp + fn),
        "fpr": ratio(fp, fp + tn),
        "precision": ratio(tp, tp + fp),
    }


def wilson_interval(successes, trials):
    """Return the Wilson score interval, 95 %, of a binomial fraction; NaN without trials."""
    z2 = ndtri(0.975) ** 2
    fraction, shift = ratio(successes, trials), ratio(z2, trials) / 2
    spread = np.sqrt(z2 * ratio(fraction * (1 - fraction), trials) + shift**2)
    scale = 1 / (1 + 2 * shift)
    return tuple(np.clip(scale * (fraction + shift + s), 0, 1) for s in (-spread, spread))
