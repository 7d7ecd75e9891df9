"""
Sums over pixels, from which every score of calibration follows.

Sums are held as one array of shape ``(..., 2, 2, n_bins, 6)``: the axes are
*called* (sky, cosmic ray, at the threshold), *non-trivial* (no, yes), the bin
of probability, and the quantity. Leading axes (images, bootstrap draws) are
free, so that the same functions score one sample and a thousand resamples.
"""

import dataclasses

import numpy as np
from scipy.special import ndtri

__all__ = [
    "CLASS_NAMES",
    "CLIP",
    "NON_TRIVIAL",
    "bin_sums",
    "brier",
    "brier_terms",
    "calibration_error",
    "class_calibration_errors",
    "confusion",
    "log_likelihood_loss",
    "log_pair",
    "pixel_sums",
    "sample_sums",
    "score_sums",
    "wilson_interval",
]

CLIP = 1e-7
NON_TRIVIAL = 0.01
CLASS_NAMES = ("sky", "cosmic_ray")
COUNT, WEIGHT, PROBABILITY, POSITIVE, SQUARED, LOSS = range(6)
N_QUANTITIES = 6

_CHUNK = 1 << 19
_LOG_ZERO = -800.0  # stands for ln 0; exp(-800) is 0 in float64


def log_pair(p):
    """Return ln p and ln(1 - p), finite for p = 0 and p = 1."""
    with np.errstate(divide="ignore"):
        return np.maximum(np.log(p), _LOG_ZERO), np.maximum(np.log(1.0 - p), _LOG_ZERO)


def pixel_sums(sample, log_p, log_q, *, n_bins, threshold, n_images=1):
    """
    Add up a sample; ``log_p`` and ``log_q`` come from `log_pair`.

    Returns an array of shape ``(n_images, 2, 2, n_bins, 6)``.
    """
    p, y, weight = sample.probability, sample.label, sample.weight
    edges = np.arange(1, n_bins) / n_bins
    code = np.searchsorted(edges, p, side="right")
    code += n_bins * ((p > NON_TRIVIAL) | y)
    code += 2 * n_bins * (p >= threshold)
    if n_images > 1:
        code += 4 * n_bins * sample.image
    miss = np.where(y, 1.0 - p, p)
    loss = -np.clip(np.where(y, log_p, log_q), np.log(CLIP), np.log1p(-CLIP))

    size = n_images * 4 * n_bins
    out = np.empty((size, N_QUANTITIES))
    out[:, COUNT] = np.bincount(code, minlength=size)
    if weight is None:
        out[:, WEIGHT] = out[:, COUNT]
        out[:, POSITIVE] = np.bincount(code[y], minlength=size)
        terms = ((PROBABILITY, p), (SQUARED, miss * miss), (LOSS, loss))
    else:
        out[:, WEIGHT] = np.bincount(code, weight, minlength=size)
        out[:, POSITIVE] = np.bincount(code[y], weight[y], minlength=size)
        terms = (
            (PROBABILITY, weight * p),
            (SQUARED, weight * miss * miss),
            (LOSS, weight * loss),
        )
    for quantity, values in terms:
        out[:, quantity] = np.bincount(code, values, minlength=size)
    return out.reshape(n_images, 2, 2, n_bins, N_QUANTITIES)


def sample_sums(sample, *, n_bins=1, threshold=0.5):
    """Add up a whole sample, one row of sums per image."""
    n_images = 1
    if sample.image is not None:
        names, number = np.unique(sample.image, return_inverse=True)
        n_images = max(names.size, 1)
        sample = dataclasses.replace(sample, image=number)
    total = np.zeros((n_images, 2, 2, n_bins, N_QUANTITIES))
    for start in range(0, sample.size, _CHUNK):
        part = sample.take(slice(start, start + _CHUNK))
        part = dataclasses.replace(part, probability=part.probability.astype(float))
        total += pixel_sums(
            part,
            *log_pair(part.probability),
            n_bins=n_bins,
            threshold=threshold,
            n_images=n_images,
        )
    return total


def bin_sums(sums, *, non_trivial=False):
    """Return the sums per bin, of all pixels or of the non-trivial ones."""
    return sums[..., :, 1, :, :].sum(-3) if non_trivial else sums.sum((-4, -3))


def _ratio(numerator, denominator):
    """Divide; NaN where there is nothing to divide by."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(denominator > 0, numerator / denominator, np.nan)


def brier(bins):
    """Return the mean squared error of the probability."""
    return _ratio(bins[..., SQUARED].sum(-1), bins[..., WEIGHT].sum(-1))


def log_likelihood_loss(bins):
    """Return the mean negative log-likelihood."""
    return _ratio(bins[..., LOSS].sum(-1), bins[..., WEIGHT].sum(-1))


def calibration_error(bins):
    """Return the mean over pixels, and the largest, of \\|confidence - frequency\\| per bin."""
    weight = bins[..., WEIGHT]
    gap = np.abs(bins[..., PROBABILITY] - bins[..., POSITIVE])
    largest = np.where(weight > 0, gap / np.where(weight > 0, weight, 1), 0.0).max(-1)
    total = weight.sum(-1)
    return _ratio(gap.sum(-1), total), np.where(total > 0, largest, np.nan)


def class_calibration_errors(sums):
    """Return the calibration error of the pixels called sky and of those called cosmic ray."""
    return calibration_error(sums.sum(-3))[0]


def brier_terms(bins):
    """Return reliability, resolution, uncertainty and the within-bin remainder."""
    weight = bins[..., WEIGHT]
    total = weight.sum(-1, keepdims=True)
    base = _ratio(bins[..., POSITIVE].sum(-1, keepdims=True), total)
    confidence = _ratio(bins[..., PROBABILITY], weight)
    frequency = _ratio(bins[..., POSITIVE], weight)
    share = weight / total
    reliability = np.nansum(share * (confidence - frequency) ** 2, axis=-1)
    resolution = np.nansum(share * (frequency - base) ** 2, axis=-1)
    uncertainty = (base * (1 - base))[..., 0]
    remainder = brier(bins) - (reliability - resolution + uncertainty)
    return reliability, resolution, uncertainty, remainder


def confusion(sums):
    """Return the weights of true positives, false positives, false and true negatives."""
    cell = sums.sum((-3, -2))  # (..., called, quantity)
    positive = cell[..., POSITIVE]
    negative = cell[..., WEIGHT] - positive
    return positive[..., 1], negative[..., 1], positive[..., 0], negative[..., 0]


def score_sums(sums):
    """Return every score that follows from the sums, by name."""
    bins, relevant = bin_sums(sums), bin_sums(sums, non_trivial=True)
    tp, fp, fn, tn = confusion(sums)
    base = _ratio(tp + fn, tp + fp + fn + tn)
    by_class = class_calibration_errors(sums)
    ece, mce = calibration_error(bins)
    return {
        "base_rate": base,
        "brier": brier(bins),
        "brier_skill": 1 - _ratio(brier(bins), base * (1 - base)),
        "brier_non_trivial": brier(relevant),
        "nll": log_likelihood_loss(bins),
        "nll_non_trivial": log_likelihood_loss(relevant),
        "ece": ece,
        "mce": mce,
        "ece_non_trivial": calibration_error(relevant)[0],
        "ece_sky": by_class[..., 0],
        "ece_cosmic_ray": by_class[..., 1],
        "tpr": _ratio(tp, tp + fn),
        "fpr": _ratio(fp, fp + tn),
        "precision": _ratio(tp, tp + fp),
    }


def wilson_interval(successes, trials, *, level=0.95):
    """Return the Wilson score interval of a binomial fraction; NaN without trials."""
    z2 = ndtri(0.5 + level / 2) ** 2
    fraction = _ratio(successes, trials)
    scale = _ratio(1.0, 1 + _ratio(z2, trials))
    centre = fraction + _ratio(z2, 2 * trials)
    spread = np.sqrt(
        z2 * (fraction * (1 - fraction) / np.maximum(trials, 1e-300))
        + (_ratio(z2, 2 * trials)) ** 2
    )
    return np.clip(scale * (centre - spread), 0, 1), np.clip(scale * (centre + spread), 0, 1)
