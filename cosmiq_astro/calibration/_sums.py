"""
Sums over pixels, in bins and in the order of a score, from which every score follows.

Sums in bins are one array of shape ``(..., 2, 2, n_bins, 6)``: the axes are
*called* (sky, cosmic ray, at the threshold), *non-trivial* (no, yes), the bin
of probability, and the quantity. Leading axes (images, bootstrap draws) are
free, so that the same functions score one sample and a thousand resamples.

Sums in order are `Ranks`. For ROC and precision-recall the score is the
probability and the event is the label; for risk-coverage the score is an
uncertainty and the event an error.
"""

from dataclasses import dataclass, replace

import numpy as np
import scipy  # its integrate is loaded for the first area, not with every model
from scipy.special import entr, ndtri

CLIP = 1e-7
NON_TRIVIAL = 0.01
LOW_FPR = (5e-4, 5e-3)  # the operating points of the deepCR papers
COUNT, WEIGHT, PROBABILITY, POSITIVE, SQUARED, LOSS = range(6)


def entropy(p):
    """Return the binary entropy in nats."""
    return entr(p) + entr(1.0 - p)


def sample_sums(sample, *, n_bins=1, threshold=0.5):
    """Add up a sample, one row of sums per image."""
    n_images = 1
    if sample.image is not None:
        names, number = np.unique(sample.image, return_inverse=True)
        n_images, sample = max(names.size, 1), replace(sample, image=number)
    sums = np.zeros((n_images * 4 * n_bins, 6))
    for part in sample.chunks():
        p, y = part.probability.astype(float), part.label
        code = np.searchsorted(np.arange(1, n_bins) / n_bins, p, side="right")
        code += n_bins * ((p > NON_TRIVIAL) | y) + 2 * n_bins * (p >= threshold)
        if n_images > 1:
            code += 4 * n_bins * part.image
        miss = np.where(y, 1.0 - p, p)
        with np.errstate(divide="ignore"):
            loss = -np.clip(np.log(np.where(y, p, 1.0 - p)), np.log(CLIP), np.log1p(-CLIP))
        weight = 1.0 if part.weight is None else part.weight
        # In the order of the quantities.
        terms = (None, part.weight, weight * p, weight * y, weight * miss * miss, weight * loss)
        for quantity, values in enumerate(terms):
            sums[:, quantity] += np.bincount(code, values, minlength=len(sums))
    return sums.reshape(n_images, 2, 2, n_bins, 6)


def bin_sums(sums, *, non_trivial=False):
    """Return the sums per bin, of all pixels or of the non-trivial ones."""
    return sums[..., :, 1, :, :].sum(-3) if non_trivial else sums.sum((-4, -3))


def ratio(numerator, denominator):
    """Divide; NaN where there is nothing to divide by."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(denominator > 0, numerator / denominator, np.nan)


def mean(bins, quantity):
    """Return the mean of a quantity: the Brier score of SQUARED, the NLL of LOSS."""
    return ratio(bins[..., quantity].sum(-1), bins[..., WEIGHT].sum(-1))


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
        "brier": mean(bins, SQUARED),
        "brier_skill": 1 - ratio(mean(bins, SQUARED), base * (1 - base)),
        "brier_non_trivial": mean(relevant, SQUARED),
        "nll": mean(bins, LOSS),
        "nll_non_trivial": mean(relevant, LOSS),
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


@dataclass(frozen=True)
class Ranks:
    """
    Pixels grouped by score, in ascending order.

    Attributes
    ----------
    score : `~numpy.ndarray`
        Lowest score of each group: the threshold that includes it.
    event, other : `~numpy.ndarray`
        Weight of the pixels of the group with and without the event.
    mean : `~numpy.ndarray`
        Mean score of each group.
    """

    score: np.ndarray
    event: np.ndarray
    other: np.ndarray
    mean: np.ndarray

    def occupied(self):
        """Return the ranks without its empty groups."""
        full = (self.event + self.other) > 0
        return Ranks(*(getattr(self, name)[full] for name in self.__dataclass_fields__))

    def non_trivial(self):
        """Return the ranks without the event-free pixels of low probability."""
        other = np.where(self.score > NON_TRIVIAL, self.other, 0.0)
        return replace(self, other=other).occupied()


def rank_pixels(score, event, weight=None):
    """Group pixels by equal score."""
    score, number = np.unique(score, return_inverse=True)
    score, weight = score.astype(float), 1.0 if weight is None else weight
    with_event, without = (
        np.bincount(number, weight * chosen, score.size) for chosen in (event, ~event)
    )
    return Ranks(score, with_event, without, score)


def rank_sample(sample):
    """Return the ranks of the pixels of a sample by their probability."""
    return rank_pixels(sample.probability, sample.label, sample.weight)


def errors(sample, threshold):
    """Return the uncertainty of each pixel, by default its entropy, and whether it is an error."""
    p, uncertainty = sample.probability, sample.uncertainty
    if uncertainty is None:
        # Small probabilities are rounded as those near 1 are, or equal doubts would come in an
        # order that means nothing.
        opposite = 1 - p
        uncertainty = entropy(np.minimum(1 - opposite, opposite).astype(float))
    return uncertainty, (p.astype(float) >= threshold) != sample.label


def roc_curve(ranks):
    """Return thresholds (descending, from infinity), and the weights flagged: true and false."""
    true, false = (np.cumsum(np.append(0.0, x[::-1])) for x in (ranks.event, ranks.other))
    return np.append(np.inf, ranks.score[::-1]), true, false


def _rates(ranks):
    """Return the true- and false-positive rates, or None if either class is missing."""
    _, true, false = roc_curve(ranks)
    if not (true[-1] > 0 and false[-1] > 0):
        return None
    return true / true[-1], false / false[-1]


def area_under_roc(ranks, *, max_fpr=1.0):
    """Return the mean true-positive rate over false-positive rates up to ``max_fpr``."""
    rates = _rates(ranks)
    if rates is None:
        return np.nan
    tpr, fpr = rates
    last = np.searchsorted(fpr, max_fpr, side="right")
    x = np.append(fpr[:last], max_fpr)
    y = np.append(tpr[:last], np.interp(max_fpr, fpr, tpr))
    return float(scipy.integrate.trapezoid(y, x) / max_fpr)


def tpr_at(ranks, fpr):
    """Return the largest true-positive rate a threshold reaches within ``fpr``."""
    rates = _rates(ranks)
    return np.nan if rates is None else float(rates[0][rates[1] <= fpr].max())


def average_precision(ranks):
    """Return the precision averaged over the steps of recall."""
    _, true, false = roc_curve(ranks)
    precision = true[1:] / (true + false)[1:]
    return float(ratio(np.sum(np.diff(true) * precision), true[-1]))


def equal_count_bins(ranks, n_bins):
    """Return sums and edges of bins of equal weight; equal scores stay together."""
    weight = ranks.event + ranks.other
    if not weight.size:
        return np.zeros((1, 6)), np.array([np.nan]), np.array([np.nan])
    middle = np.cumsum(weight) - 0.5 * weight
    number = np.minimum((middle / weight.sum() * n_bins).astype(np.intp), n_bins - 1)
    start = np.flatnonzero(np.concatenate([[True], np.diff(number) > 0]))
    bins = np.zeros((start.size, 6))
    bins[:, WEIGHT] = bins[:, COUNT] = np.add.reduceat(weight, start)
    bins[:, POSITIVE] = np.add.reduceat(ranks.event, start)
    bins[:, PROBABILITY] = np.add.reduceat(ranks.mean * weight, start)
    low = ranks.score[start]
    return bins, low, np.append(low[1:], ranks.score[-1])


def risk_curve(risk):
    """Return coverage and the errors within it (as fractions of all), from zero coverage."""
    errors, right = (np.cumsum(np.append(0.0, x)) for x in (risk.event, risk.other))
    kept = errors + right
    return ratio(kept, kept[-1]), ratio(errors, kept[-1])


def area_under_risk(risk):
    """
    Return the area under risk against coverage.

    Within a group of equal uncertainty the errors are spread evenly, so that
    E(c) = a + s c there and the integral of E(c) / c is a ln(c1 / c0) + s (c1 - c0).
    """
    coverage, errors = risk_curve(risk)
    low, width = coverage[:-1], np.diff(coverage)
    some = width > 0
    low, width = low[some], width[some]
    slope = np.diff(errors)[some] / width
    intercept = np.where(low > 0, errors[:-1][some] - slope * low, 0.0)
    growth = np.log1p(np.divide(width, low, out=np.zeros_like(low), where=low > 0))
    return float(np.sum(slope * width + intercept * growth)) if some.any() else np.nan


def generalized_risk_area(risk):
    """Return the area under errors per pixel of the whole, against coverage."""
    coverage, errors = risk_curve(risk)
    return float(scipy.integrate.trapezoid(errors, coverage)) if coverage.size > 1 else np.nan


def rank_scores(ranks, risk, *, n_bins):
    """Return every rank measure by name."""
    adaptive, relevant = (equal_count_bins(r, n_bins)[0] for r in (ranks, ranks.non_trivial()))
    return {
        "ece_adaptive": float(calibration_error(adaptive)[0]),
        "ece_adaptive_non_trivial": float(calibration_error(relevant)[0]),
        "roc_auc": area_under_roc(ranks),
        "mean_tpr_below_0.5%_fpr": area_under_roc(ranks, max_fpr=LOW_FPR[1]),
        "tpr_at_0.05%_fpr": tpr_at(ranks, LOW_FPR[0]),
        "tpr_at_0.5%_fpr": tpr_at(ranks, LOW_FPR[1]),
        "average_precision": average_precision(ranks),
        "aurc": area_under_risk(risk),
        "augrc": generalized_risk_area(risk),
        "error_auroc": area_under_roc(risk),
    }
