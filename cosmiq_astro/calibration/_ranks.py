"""
Counts in the order of a score, from which every rank measure follows.

For ROC and precision-recall the score is the probability and the event is the
label; for risk-coverage the score is an uncertainty and the event an error.
"""

from dataclasses import dataclass

import numpy as np

from ._sums import NON_TRIVIAL, entropy

__all__ = [
    "Ranks",
    "area_under_risk",
    "area_under_roc",
    "average_precision_of",
    "calibration_error_of",
    "doubt",
    "equal_count_bins",
    "error_bound",
    "generalized_risk_area",
    "rank_errors",
    "rank_pixels",
    "rank_scores",
    "risk_curve",
    "roc_curve",
    "tpr_at",
]

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
    tied : `~numpy.ndarray` of bool
        Whether all scores of the group are equal. If not, their order within
        the group is unknown, and `error_bound` says what that can change.
    """

    score: np.ndarray
    event: np.ndarray
    other: np.ndarray
    mean: np.ndarray
    tied: np.ndarray

    def occupied(self):
        """Return the ranks without its empty groups."""
        full = (self.event + self.other) > 0
        return Ranks(*(getattr(self, name)[full] for name in self.__dataclass_fields__))

    def non_trivial(self):
        """Return the ranks without the event-free pixels of low probability."""
        other = np.where(self.score > NON_TRIVIAL, self.other, 0.0)
        return Ranks(self.score, self.event, other, self.mean, self.tied)

    def ordered(self, *, event_first):
        """Return the ranks with each unknown order settled: events below or above the rest."""
        zero = np.zeros_like(self.event)
        lower = (self.event, zero) if event_first else (zero, self.other)
        upper = (zero, self.other) if event_first else (self.event, zero)
        pairs = []
        for low, high, whole in zip(lower, upper, (self.event, self.other), strict=True):
            low, high = np.where(self.tied, whole, low), np.where(self.tied, zero, high)
            pairs.append(np.stack([low, high], axis=1).ravel())
        twice = [np.repeat(x, 2) for x in (self.score, self.mean, self.tied)]
        return Ranks(twice[0], *pairs, twice[1], twice[2])


def rank_pixels(score, event, weight=None):
    """Group pixels by equal score."""
    order = np.argsort(score)
    score = np.asarray(score, dtype=float)[order]
    if not score.size:
        return Ranks(score, score, score, score, score.astype(bool))
    start = np.flatnonzero(np.concatenate([[True], np.diff(score) > 0]))
    weight = np.ones(score.size) if weight is None else weight[order].astype(float)
    total = np.add.reduceat(weight, start)
    hits = np.add.reduceat(np.where(event[order], weight, 0.0), start)
    score = score[start]
    return Ranks(score, hits, np.maximum(total - hits, 0.0), score, np.ones(score.size, bool))


def doubt(p):
    """
    Return the entropy of p, nats, equal for p and what rounding makes of 1 - p.

    Small probabilities are rounded as those near 1 are, or equal doubts would
    come in an order that means nothing.
    """
    opposite = 1 - p
    return entropy(np.minimum(1 - opposite, opposite).astype(float))


def rank_errors(sample, threshold):
    """Return the ranks of errors at a threshold by uncertainty (by default `doubt`)."""
    uncertainty = doubt(sample.probability) if sample.uncertainty is None else sample.uncertainty
    wrong = (sample.probability.astype(float) >= threshold) != sample.label
    return rank_pixels(uncertainty, wrong, sample.weight)


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


def _trapezoid(y, x):
    """Return the area under straight lines; numpy's own changed its name in 2.0."""
    return np.sum(np.diff(x) * (y[1:] + y[:-1])) / 2


def area_under_roc(ranks, *, max_fpr=1.0):
    """Return the mean true-positive rate over false-positive rates up to ``max_fpr``."""
    rates = _rates(ranks)
    if rates is None:
        return np.nan
    tpr, fpr = rates
    last = np.searchsorted(fpr, max_fpr, side="right")
    x = np.append(fpr[:last], max_fpr)
    y = np.append(tpr[:last], np.interp(max_fpr, fpr, tpr))
    return float(_trapezoid(y, x) / max_fpr)


def tpr_at(ranks, fpr):
    """Return the largest true-positive rate a threshold reaches within ``fpr``."""
    rates = _rates(ranks)
    return np.nan if rates is None else float(rates[0][rates[1] <= fpr].max())


def average_precision_of(ranks):
    """Return the precision averaged over the steps of recall."""
    _, true, false = roc_curve(ranks)
    if not true[-1] > 0:
        return np.nan
    flagged = (true + false)[1:]
    precision = np.divide(true[1:], flagged, out=np.ones_like(flagged), where=flagged > 0)
    return float(np.sum(np.diff(true) * precision) / true[-1])


def equal_count_bins(ranks, n_bins):
    """Return the bin of each group, bins of equal weight, equal scores kept together."""
    weight = ranks.event + ranks.other
    middle = np.cumsum(weight) - 0.5 * weight
    return np.minimum((middle / weight.sum() * n_bins).astype(np.intp), n_bins - 1)


def calibration_error_of(ranks, *, n_bins):
    """Return the calibration error in bins of equal weight."""
    weight = ranks.event + ranks.other
    if not weight.sum() > 0:
        return np.nan
    number = equal_count_bins(ranks, n_bins)
    gap = np.bincount(number, ranks.mean * weight - ranks.event)
    return float(np.abs(gap).sum() / weight.sum())


def risk_curve(risk):
    """Return coverage and the errors within it (as fractions of all), from zero coverage."""
    errors = np.concatenate([[0.0], np.cumsum(risk.event)])
    kept = errors + np.concatenate([[0.0], np.cumsum(risk.other)])
    if not kept[-1] > 0:
        return np.array([np.nan]), np.array([np.nan])
    return kept / kept[-1], errors / kept[-1]


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
    return float(_trapezoid(errors, coverage)) if coverage.size > 1 else np.nan


def rank_scores(ranks, risk, *, n_bins):
    """Return every rank measure by name."""
    ranks, risk = ranks.occupied(), risk.occupied()
    return {
        "ece_adaptive": calibration_error_of(ranks, n_bins=n_bins),
        "ece_adaptive_non_trivial": calibration_error_of(
            ranks.non_trivial().occupied(), n_bins=n_bins
        ),
        "roc_auc": area_under_roc(ranks),
        "mean_tpr_below_0.5%_fpr": area_under_roc(ranks, max_fpr=LOW_FPR[1]),
        "tpr_at_0.05%_fpr": tpr_at(ranks, LOW_FPR[0]),
        "tpr_at_0.5%_fpr": tpr_at(ranks, LOW_FPR[1]),
        "average_precision": average_precision_of(ranks),
        "aurc": area_under_risk(risk),
        "augrc": generalized_risk_area(risk),
        "error_auroc": area_under_roc(risk),
    }


def error_bound(measure, ranks):
    """Return by how much the unknown order within groups can change ``measure(ranks)``."""
    ranks = ranks.occupied()
    value = measure(ranks)
    extremes = [measure(ranks.ordered(event_first=first)) for first in (True, False)]
    return max(abs(extreme - value) for extreme in extremes)
