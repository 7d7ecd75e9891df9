"""Tables built from sums and ranks, with a description for each column."""

import dataclasses

import numpy as np
from astropy.table import QTable

from . import _ranks, _sums
from ._descriptions import with_descriptions

__all__ = [
    "Counts",
    "adaptive_bins",
    "by_group",
    "counts_by_group",
    "entropy_error_from",
    "precision_recall_from",
    "reliability",
    "reliability_from",
    "risk_coverage_from",
    "roc_from",
]


@dataclasses.dataclass(frozen=True)
class Counts:
    """All that is counted of a set of pixels: sums per image, and both orders."""

    sums: np.ndarray
    ranks: _ranks.Ranks
    risk: _ranks.Ranks
    threshold: float
    n_left_out: int

    @classmethod
    def of_sample(cls, sample, *, n_bins, threshold):
        """Count a sample exactly."""
        sums = _sums.sample_sums(sample, n_bins=n_bins, threshold=threshold)
        ranks, risk = _ranks.sample_ranks(sample, threshold=threshold)
        return cls(sums, ranks, risk, threshold, sample.n_left_out)

    @property
    def n_bins(self):
        """Number of equal-width bins of the sums."""
        return self.sums.shape[-2]

    @property
    def meta(self):
        """What a table says of its origin; keys fit FITS cards."""
        return {
            "N_PIXELS": int(self.sums[..., _sums.COUNT].sum()),
            "N_LEFT": self.n_left_out,
            "N_IMAGES": len(self.sums),
            "N_BINS": self.n_bins,
            "THRESH": float(self.threshold),
        }


def reliability_from(bins, low, high, *, level=0.95):
    """Build the reliability table from sums per bin."""
    n, weight = bins[:, _sums.COUNT], bins[:, _sums.WEIGHT]
    with np.errstate(invalid="ignore"):
        confidence = bins[:, _sums.PROBABILITY] / weight
        frequency = bins[:, _sums.POSITIVE] / weight
    interval = _sums.wilson_interval(np.nan_to_num(frequency) * n, n, level=level)
    columns = {
        "p_low": low,
        "p_high": high,
        "n_pixels": np.rint(n).astype(np.int64),
        "weight": weight,
        "mean_probability": confidence,
        "observed_fraction": frequency,
        "fraction_low": interval[0],
        "fraction_high": interval[1],
    }
    return with_descriptions(QTable(columns))


def adaptive_bins(ranks, n_bins):
    """Return sums per bin of equal count with the edges of the bins."""
    number = _ranks.equal_count_bins(ranks, n_bins)
    start = np.flatnonzero(np.concatenate([[True], np.diff(number) > 0]))
    weight = ranks.event + ranks.other
    bins = np.zeros((start.size, _sums.N_QUANTITIES))
    bins[:, _sums.WEIGHT] = bins[:, _sums.COUNT] = np.add.reduceat(weight, start)
    bins[:, _sums.POSITIVE] = np.add.reduceat(ranks.event, start)
    bins[:, _sums.PROBABILITY] = np.add.reduceat(ranks.mean * weight, start)
    low = ranks.score[start]
    return bins, low, np.append(low[1:], ranks.score[-1])


def reliability(counts, *, binning="width", non_trivial=False, level=0.95):
    """Build the reliability table of counted pixels, by either kind of bin."""
    if binning == "count":
        ranks = counts.ranks.non_trivial().occupied() if non_trivial else counts.ranks
        bins = adaptive_bins(ranks, counts.n_bins)
    else:
        edges = np.arange(counts.n_bins + 1) / counts.n_bins
        sums = _sums.bin_sums(counts.sums.sum(0), non_trivial=non_trivial)
        bins = sums, edges[:-1], edges[1:]
    return reliability_from(*bins, level=level)


def by_group(sample):
    """Return the sample of each group by name; a lone None where there are no groups."""
    if sample.group is None:
        return {None: sample}
    names, number = np.unique(sample.group, return_inverse=True)
    return {str(name): sample.take(number == i) for i, name in enumerate(names)}


def counts_by_group(sample, *, n_bins, threshold):
    """Count all pixels, and those of each group."""
    parts = {"all": sample} | (by_group(sample) if sample.group is not None else {})
    return {
        name: Counts.of_sample(part, n_bins=n_bins, threshold=threshold)
        for name, part in parts.items()
    }


def _thin(n_points, *curves):
    """Pick rows evenly along each of several non-decreasing curves."""
    n = curves[0].size
    if n <= n_points:
        return np.arange(n)
    share = max((n_points - 2) // len(curves), 1)
    rows = [np.searchsorted(c, np.linspace(c[0], c[-1], share)) for c in curves]
    return np.unique(np.clip(np.concatenate([[0, n - 1], *rows]), 0, n - 1))


def _curve(ranks, n_points):
    """Return threshold, true and false positives on rows spread over both rates."""
    threshold, true, false = _ranks.roc_curve(ranks.occupied())
    small = false[false > 0][0] if false[-1] > 0 else 1.0
    rows = _thin(n_points, true, np.log(np.maximum(false, 0.5 * small)))
    return threshold[rows], true[rows], false[rows], true[-1], false[-1]


def _fraction(part, whole):
    """Divide by a total that may be zero."""
    return part / whole if whole > 0 else np.full(part.shape, np.nan)


def roc_from(ranks, *, n_points):
    """Build the ROC table."""
    threshold, true, false, n_true, n_false = _curve(ranks, n_points)
    columns = {
        "threshold": threshold,
        "fpr": _fraction(false, n_false),
        "tpr": _fraction(true, n_true),
        "false_positive": false,
        "true_positive": true,
    }
    table = with_descriptions(QTable(columns))
    table.meta["AUROC"] = _ranks.area_under_roc(ranks)
    return table


def precision_recall_from(ranks, *, n_points):
    """Build the precision-recall table; flagging nothing has no precision and no row."""
    threshold, true, false, n_true, _ = (
        x[1:] if np.ndim(x) else x for x in _curve(ranks, n_points)
    )
    columns = {
        "threshold": threshold,
        "recall": _fraction(true, n_true),
        "precision": true / (true + false),
    }
    table = with_descriptions(QTable(columns))
    table.meta["AP"] = _ranks.average_precision_of(ranks)
    return table


def risk_coverage_from(risk, *, n_points):
    """Build the risk-coverage table."""
    risk = risk.occupied()
    coverage, errors = (x[1:] for x in _ranks.risk_curve(risk))
    rows = _thin(n_points, coverage, errors)
    columns = {
        "coverage": coverage[rows],
        "risk": errors[rows] / coverage[rows],
        "generalized_risk": errors[rows],
        "uncertainty": risk.score[rows],
    }
    table = with_descriptions(QTable(columns))
    table.meta["AURC"] = _ranks.area_under_risk(risk)
    table.meta["AUGRC"] = _ranks.generalized_risk_area(risk)
    return table


def entropy_error_from(ranks, *, n_bins=12):
    """Build the table of the error rate at p = 0.5 in bins of the entropy of p."""
    p, weight = ranks.mean, ranks.event + ranks.other
    uncertainty = _ranks.entropy(p, *_sums.log_pair(p))
    wrong = np.where(p >= 0.5, ranks.other, ranks.event)
    edges = np.linspace(0, np.log(2), n_bins + 1)
    number = np.searchsorted(edges[1:-1], uncertainty, side="right")
    total, errors, mean = (
        np.bincount(number, x, minlength=n_bins) for x in (weight, wrong, weight * uncertainty)
    )
    full = total > 0
    low, high = _sums.wilson_interval(errors[full], total[full])
    columns = {
        "entropy": mean[full] / total[full],
        "error_rate": errors[full] / total[full],
        "error_rate_low": low,
        "error_rate_high": high,
        "weight": total[full],
    }
    return with_descriptions(QTable(columns))
