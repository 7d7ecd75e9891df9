"""
Counts in the order of a score, from which every rank measure follows.

For ROC and precision-recall the score is the probability and the event is the
label; for risk-coverage the score is an uncertainty and the event an error.
"""

from dataclasses import dataclass, replace

import numpy as np
import scipy  # its integrate is loaded for the first area, not with every model

from . import _sums

LOW_FPR = (5e-4, 5e-3)  # the operating points of the deepCR papers


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
        other = np.where(self.score > _sums.NON_TRIVIAL, self.other, 0.0)
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


def doubt(p):
    """
    Return the entropy of p, nats, equal for p and what rounding makes of 1 - p.

    Small probabilities are rounded as those near 1 are, or equal doubts would
    come in an order that means nothing.
    """
    opposite = 1 - p
    return _sums.entropy(np.minimum(1 - opposite, opposite).astype(float))


def errors(sample, threshold):
    """Return the uncertainty of each pixel (by default `doubt`), and whether it is an error."""
    uncertainty = doubt(sample.probability) if sample.uncertainty is None else sample.uncertainty
    return uncertainty, (sample.probability.astype(float) >= threshold) != sample.label


def roc_curve(ranks):
    """Return thresholds (descending, from infinity), and the weights flagged: true and false."""
    threshold = np.concatenate([[np.inf], ranks.score[::-1]])
    true = np.concatenate([[0.0], np.cumsum(ranks.event[::-1])])
    false = np.concatenate([[0.0], np.cumsum(ranks.other[::-1])])
    return threshold, true, false


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
    return float(_sums.ratio(np.sum(np.diff(true) * precision), true[-1]))


def equal_count_bins(ranks, n_bins):
    """Return sums and edges of bins of equal weight; equal scores stay together."""
    weight = ranks.event + ranks.other
    if not weight.size:
        return np.zeros((1, _sums.N_QUANTITIES)), np.array([np.nan]), np.array([np.nan])
    middle = np.cumsum(weight) - 0.5 * weight
    number = np.minimum((middle / weight.sum() * n_bins).astype(np.intp), n_bins - 1)
    start = np.flatnonzero(np.concatenate([[True], np.diff(number) > 0]))
    bins = np.zeros((start.size, _sums.N_QUANTITIES))
    bins[:, _sums.WEIGHT] = bins[:, _sums.COUNT] = np.add.reduceat(weight, start)
    bins[:, _sums.POSITIVE] = np.add.reduceat(ranks.event, start)
    bins[:, _sums.PROBABILITY] = np.add.reduceat(ranks.mean * weight, start)
    low = ranks.score[start]
    return bins, low, np.append(low[1:], ranks.score[-1])


def risk_curve(risk):
    """Return coverage and the errors within it (as fractions of all), from zero coverage."""
    errors = np.concatenate([[0.0], np.cumsum(risk.event)])
    kept = errors + np.concatenate([[0.0], np.cumsum(risk.other)])
    return _sums.ratio(kept, kept[-1]), _sums.ratio(errors, kept[-1])


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
        "ece_adaptive": float(_sums.calibration_error(adaptive)[0]),
        "ece_adaptive_non_trivial": float(_sums.calibration_error(relevant)[0]),
        "roc_auc": area_under_roc(ranks),
        "mean_tpr_below_0.5%_fpr": area_under_roc(ranks, max_fpr=LOW_FPR[1]),
        "tpr_at_0.05%_fpr": tpr_at(ranks, LOW_FPR[0]),
        "tpr_at_0.5%_fpr": tpr_at(ranks, LOW_FPR[1]),
        "average_precision": average_precision(ranks),
        "aurc": area_under_risk(risk),
        "augrc": generalized_risk_area(risk),
        "error_auroc": area_under_roc(risk),
    }
