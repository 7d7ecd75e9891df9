"""Tables built from sums and ranks, and what their columns mean."""

import numpy as np
from astropy.table import QTable

from . import _ranks, _sums

__all__ = [
    "DESCRIPTIONS",
    "adaptive_bins",
    "described",
    "entropy_error_from",
    "precision_recall_from",
    "reliability_from",
    "risk_coverage_from",
    "roc_from",
    "with_descriptions",
]

ENDS = ("low", "high")
DESCRIPTIONS = {
    "group": "group of pixels; 'all' is everything",
    "n_pixels": "number of pixels",
    "n_left_out": "pixels masked, not a number, or of weight zero",
    "p_low": "lower edge of the bin of probability",
    "p_high": "upper edge of the bin of probability",
    "weight": "sum of the weights",
    "mean_probability": "mean probability in the bin",
    "observed_fraction": "fraction of the pixels that are cosmic rays",
    "fraction_low": "lower end of the interval, pixels taken as independent",
    "fraction_high": "upper end of the interval, pixels taken as independent",
    "coverage": "fraction of the pixels kept, most certain first",
    "risk": "fraction of the kept pixels that are wrong",
    "generalized_risk": "errors among the kept pixels, as a fraction of all pixels",
    "uncertainty": "largest uncertainty kept",
    "threshold": "a pixel is called a cosmic ray from this probability on",
    "base_rate": "fraction of the pixels that are cosmic rays",
    "brier": "mean squared error of the probability; lower is better",
    "brier_skill": "1 - Brier score / that of the base rate; higher is better",
    "brier_non_trivial": "Brier score of pixels with p > 0.01 or label 1; lower is better",
    "nll": "mean negative log-likelihood, nats; lower is better",
    "nll_non_trivial": "NLL of pixels with p > 0.01 or label 1; lower is better",
    "ece": "expected calibration error, equal-width bins; lower is better",
    "mce": "largest calibration error of a bin; lower is better",
    "rms_calibration_error": "RMS calibration error, free of noise; lower is better",
    "rms_calibration_error_non_trivial": "the same of pixels with p > 0.01 or label 1",
    "ece_non_trivial": "ECE of pixels with p > 0.01 or label 1; lower is better",
    "ece_sky": "ECE of the pixels called sky; lower is better",
    "ece_cosmic_ray": "ECE of the pixels called cosmic ray; lower is better",
    "ece_adaptive": "ECE, equal-count bins; lower is better",
    "ece_adaptive_non_trivial": "ECE of non-trivial pixels, equal-count bins; lower is better",
    "tpr": "true-positive rate at the threshold; higher is better",
    "fpr": "false-positive rate at the threshold; lower is better",
    "precision": "fraction of the flagged pixels that are cosmic rays; higher is better",
    "recall": "fraction of the cosmic-ray pixels that are flagged; higher is better",
    "true_positive": "weight of cosmic-ray pixels flagged",
    "false_positive": "weight of other pixels flagged",
    "roc_auc": "area under the ROC curve; higher is better",
    "mean_tpr_below_0.5%_fpr": "mean TPR over FPR up to 0.005; higher is better",
    "tpr_at_0.05%_fpr": "TPR at FPR 0.0005; higher is better",
    "tpr_at_0.5%_fpr": "TPR at FPR 0.005; higher is better",
    "average_precision": "precision averaged over recall; higher is better",
    "aurc": "area under risk-coverage; lower is better",
    "augrc": "area under generalized risk-coverage; lower is better",
    "entropy": "mean entropy of p, nats",
    "error_rate": "fraction of the pixels that are wrong at p = 0.5",
    "error_rate_low": "lower end of the interval, pixels taken as independent",
    "error_rate_high": "upper end of the interval, pixels taken as independent",
    "error_auroc": "AUROC of the uncertainty as a detector of errors; higher is better",
}


def described(table, texts):
    """Describe the columns of a table by their names."""
    for name in table.colnames:
        if name in texts:
            table[name].info.description = texts[name]
    return table


def with_descriptions(table):
    """Describe the columns of the scores."""
    ends = {f"{n}_{end}": f"{end} end of the interval of {n}" for n in DESCRIPTIONS for end in ENDS}
    return described(table, ends | DESCRIPTIONS)


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
    uncertainty = _sums.entropy(p)
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
