"""Every score of a set of pixels, and the tables of them with what their columns mean."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Mapping

import numpy as np
from astropy.table import QTable, vstack
from astropy.utils.exceptions import AstropyUserWarning
from scipy.special import stdtrit

from . import _sums
from ._input import Binning

LEAST_IMAGES = 20
_ENTROPY_BINS = 12
# Their noise only ever adds to them, so that no interval around them covers.
_BIASED = ("ece", "mce", "ece_non_trivial", "ece_sky", "ece_cosmic_ray")
_LOWEST = {"brier_skill": -np.inf}
_HIGHEST = {"nll": np.inf, "nll_non_trivial": np.inf}
DESCRIPTIONS = {
    "model": "name of the model",
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


class Scores:
    """
    Scores and tables of a sample.

    The methods are the functions of the same name in
    `cosmiq_astro.calibration`. A subclass that counts pixels as they come has
    its own ``groups``, ``_image_sums`` (sums of each image, shape
    ``(n_images, 2, 2, n_bins, 6)``), ``_p_ranks`` (of the pixels by their
    probability) and ``_error_ranks`` (of the errors by their uncertainty).

    Parameters
    ----------
    sample : `~cosmiq_astro.calibration._input.Sample`
        The pixels.
    n_bins : int
        Number of equal-width bins of the calibration errors.
    threshold : float
        Pixels with p at or above it are called cosmic ray.
    """

    def __init__(self, sample, *, n_bins=15, threshold=0.5):
        self._sample = sample
        self.n_bins = n_bins
        self.threshold = threshold
        self.n_left_out = sample.n_left_out

    @property
    def groups(self) -> Mapping[str, Scores]:
        """Scores of each group, by name, in order."""
        parts = {} if self._sample.group is None else self._sample.by_group()
        options = {"n_bins": self.n_bins, "threshold": self.threshold}
        return {name: Scores(part, **options) for name, part in parts.items()}

    @functools.cached_property
    def _image_sums(self):
        return _sums.sample_sums(self._sample, n_bins=self.n_bins, threshold=self.threshold)

    @functools.cached_property
    def _p_ranks(self):
        return _sums.rank_sample(self._sample)

    @functools.cached_property
    def _error_ranks(self):
        errors = _sums.errors(self._sample, self.threshold)
        return _sums.rank_pixels(*errors, self._sample.weight)

    @property
    def _image_sizes(self):
        return self._image_sums[..., _sums.COUNT].sum((1, 2, 3))

    @property
    def meta(self) -> dict:
        """What a table says of its origin; keys fit FITS cards."""
        sizes = self._image_sizes
        return {
            "N_PIXELS": int(sizes.sum()),
            "N_LEFT": self.n_left_out,
            "N_IMAGES": len(sizes),
            "N_BINS": self.n_bins,
            "THRESH": float(self.threshold),
        }

    def _bins(self, binning="width", non_trivial=False):
        """Return sums per bin, and the lower and upper edges of the bins."""
        if binning == "count":
            ranks = self._p_ranks.non_trivial() if non_trivial else self._p_ranks
            return _sums.equal_count_bins(ranks, self.n_bins)
        if binning != "width":
            raise ValueError(f"binning must be 'width' or 'count', not {binning!r}")
        edges = np.arange(self.n_bins + 1) / self.n_bins
        sums = _sums.bin_sums(self._image_sums.sum(0), non_trivial=non_trivial)
        return sums, edges[:-1], edges[1:]

    def brier_score(self, *, non_trivial: bool = False) -> float:
        """Return the Brier score, exact."""
        return float(_sums.mean(self._bins(non_trivial=non_trivial)[0], _sums.SQUARED))

    def negative_log_likelihood(self, *, non_trivial: bool = False) -> float:
        """Return the mean negative log-likelihood in nats, exact."""
        return float(_sums.mean(self._bins(non_trivial=non_trivial)[0], _sums.LOSS))

    def expected_calibration_error(
        self, *, binning: Binning = "width", non_trivial: bool = False
    ) -> float:
        """Return the ECE; by an accumulator exact for ``'width'``, to 1e-4 for ``'count'``."""
        return float(_sums.calibration_error(self._bins(binning, non_trivial)[0])[0])

    def roc_auc(self, *, max_fpr: float = 1.0) -> float:
        """Return the mean true-positive rate over false-positive rates up to ``max_fpr``."""
        if not 0 < max_fpr <= 1:
            raise ValueError(f"max_fpr must lie in (0, 1], not {max_fpr}")
        return _sums.area_under_roc(self._p_ranks, max_fpr=max_fpr)

    def tpr_at_fpr(self, *, fpr: float) -> float:
        """Return the largest true-positive rate that a threshold reaches within ``fpr``."""
        if not 0 <= fpr <= 1:
            raise ValueError(f"fpr must lie in [0, 1], not {fpr}")
        return _sums.tpr_at(self._p_ranks, fpr)

    def aurc(self) -> float:
        """Return the area under the risk-coverage curve."""
        return _sums.area_under_risk(self._error_ranks)

    def error_auroc(self) -> float:
        """Return the area under the ROC curve of the uncertainty against errors."""
        return _sums.area_under_roc(self._error_ranks)

    def reliability_table(self, *, binning: Binning = "width", non_trivial: bool = False) -> QTable:
        """Return the reliability table; of an accumulator fine bins for ``'count'``."""
        bins, low, high = self._bins(binning, non_trivial)
        n, weight = bins[:, _sums.COUNT], bins[:, _sums.WEIGHT]
        frequency = _sums.ratio(bins[:, _sums.POSITIVE], weight)
        ends = _sums.wilson_interval(np.nan_to_num(frequency) * n, n)
        return self._table(
            {
                "p_low": low,
                "p_high": high,
                "n_pixels": np.rint(n).astype(np.int64),
                "weight": weight,
                "mean_probability": _sums.ratio(bins[:, _sums.PROBABILITY], weight),
                "observed_fraction": frequency,
                "fraction_low": ends[0],
                "fraction_high": ends[1],
            }
        )

    def _roc_rows(self, n_points):
        """Return threshold, true and false positives on rows spread over both rates."""
        threshold, true, false = _sums.roc_curve(self._p_ranks)
        small = false[false > 0][0] if false[-1] > 0 else 1.0
        rows = _thin(n_points, true, np.log(np.maximum(false, 0.5 * small)))
        return threshold[rows], true[rows], false[rows]

    def roc_table(self, *, n_points: int = 1000) -> QTable:
        """Return the ROC table; each row is exact for its threshold."""
        threshold, true, false = self._roc_rows(n_points)
        return self._table(
            {
                "threshold": threshold,
                "fpr": _sums.ratio(false, false[-1]),
                "tpr": _sums.ratio(true, true[-1]),
                "false_positive": false,
                "true_positive": true,
            },
            {"AUROC": self.roc_auc()},
        )

    def precision_recall_table(self, *, n_points: int = 1000) -> QTable:
        """Return the precision-recall table; each row is exact for its threshold."""
        # Flagging nothing, the first row, has no precision.
        threshold, true, false = (x[1:] for x in self._roc_rows(n_points))
        recall = _sums.ratio(true, true[-1] if true.size else 0)
        columns = {"threshold": threshold, "recall": recall, "precision": true / (true + false)}
        return self._table(columns, {"AP": _sums.average_precision(self._p_ranks)})

    def risk_coverage_table(self, *, n_points: int = 1000) -> QTable:
        """Return the risk-coverage table; each row is exact for its uncertainty."""
        risk = self._error_ranks
        coverage, errors = (x[1:] for x in _sums.risk_curve(risk))
        rows = _thin(n_points, coverage, errors)
        return self._table(
            {
                "coverage": coverage[rows],
                "risk": errors[rows] / coverage[rows],
                "generalized_risk": errors[rows],
                "uncertainty": risk.score[rows],
            },
            {"AURC": self.aurc(), "AUGRC": _sums.generalized_risk_area(risk)},
        )

    def entropy_error_table(self) -> QTable:
        """Return the error rate at p = 0.5 in bins of the entropy of p."""
        ranks = self._p_ranks
        weight, uncertainty = ranks.event + ranks.other, _sums.entropy(ranks.mean)
        wrong = np.where(ranks.mean >= 0.5, ranks.other, ranks.event)
        edges = np.linspace(0, np.log(2), _ENTROPY_BINS + 1)
        number = np.searchsorted(edges[1:-1], uncertainty, side="right")
        sums = [np.bincount(number, x) for x in (weight, wrong, weight * uncertainty)]
        total, errors, mean = (x[sums[0] > 0] for x in sums)
        low, high = _sums.wilson_interval(errors, total)
        return self._table(
            {
                "entropy": mean / total,
                "error_rate": errors / total,
                "error_rate_low": low,
                "error_rate_high": high,
                "weight": total,
            }
        )

    def score_table(self, *, level: float | None = None) -> QTable:
        """Return every score, one row for all pixels and one per group."""
        if level is not None:
            warn_of_few(len(self._image_sums))
        return self.table_of_scores(level)

    def table_of_scores(self, level):
        """Return `score_table` without a warning of few images."""
        rows = []
        for name, one in ({"all": self} | self.groups).items():
            row = {"group": name, "n_pixels": one.meta["N_PIXELS"], "n_left_out": one.n_left_out}
            ranked = _sums.rank_scores(one._p_ranks, one._error_ranks, n_bins=one.n_bins)
            rows.append(row | one._sum_scores(level) | ranked)
        return self._table(rows, {} if level is None else {"LEVEL": level})

    def _table(self, columns, meta=None):
        """Return a table that says what its columns and numbers are."""
        return with_descriptions(QTable(columns, meta=(meta or {}) | self.meta))

    def differences(self, other: Scores, *, level: float) -> list[dict]:
        """Return rows of the scores of ``other`` minus these, on the same images."""
        (a, a_others), (b, b_others) = self._with_left_out(), other._with_left_out()
        rows = []
        for name in a:
            difference = float(b[name] - a[name])
            low, high = _interval(name, difference, b_others[name] - a_others[name], level)
            rows.append({"score": name, "difference": difference, "low": low, "high": high})
        return rows

    def _with_left_out(self):
        """Return the scores that are sums by name, and the same with each image left out."""
        total = self._image_sums.sum(0)
        return _sums.score_sums(total), _sums.score_sums(total - self._image_sums)

    def _sum_scores(self, level):
        """Return the scores that are sums by name, with their intervals if there is a level."""
        row, (values, others) = {}, self._with_left_out()
        for name, value in values.items():
            row[name] = float(value)
            if level is not None and name not in _BIASED:
                ends = _interval(name, value, others[name], level)
                ends = np.clip(ends, _LOWEST.get(name, 0), _HIGHEST.get(name, 1))
                row[f"{name}_low"], row[f"{name}_high"] = map(float, ends)
        t = None if level is None else _half_width(len(self._image_sums), level)
        for non_trivial in (False, True):
            name = f"rms_calibration_error{'_non_trivial' * non_trivial}"
            bins = _sums.bin_sums(self._image_sums, non_trivial=non_trivial)
            row[name], low, high = _sums.rms_calibration_error(bins, t=t)
            if level is not None:
                row |= {f"{name}_low": low, f"{name}_high": high}
        return row


def _thin(n_points, *curves):
    """Pick rows evenly along each of several non-decreasing curves."""
    n = curves[0].size
    if n <= n_points:
        return np.arange(n)
    share = max((n_points - 2) // len(curves), 1)
    rows = [np.searchsorted(c, np.linspace(c[0], c[-1], share)) for c in curves]
    return np.unique(np.clip(np.concatenate([[0, n - 1], *rows]), 0, n - 1))


def _half_width(n, level):
    """Return that of an interval from n images, in standard errors; NaN for one image."""
    return float(stdtrit(n - 1, 0.5 + level / 2))


def _interval(name, value, others, level):
    """Return the ends of the interval of a score, from those with each image left out."""
    half = np.nan if name in _BIASED else _half_width(len(others), level)
    half = half * float(_sums.jackknife_error(others))
    return float(value - half), float(value + half)


def warn_of_few(n_images):
    """Warn that intervals rest on few images."""
    if 1 < n_images < LEAST_IMAGES:
        warnings.warn(
            f"the intervals rest on {n_images} images: below {LEAST_IMAGES}, images unlike these "
            "can lie outside them more often than their level says; give more images",
            AstropyUserWarning,
            stacklevel=4,
        )


def described(table, texts):
    """Describe the columns of a table by their names."""
    for name in table.colnames:
        if name in texts:
            table[name].info.description = texts[name]
    return table


def with_descriptions(table):
    """Describe the columns of the scores."""
    ends = {
        f"{n}_{end}": f"{end} end of the interval of {n}"
        for n in DESCRIPTIONS
        for end in ("low", "high")
    }
    return described(table, ends | DESCRIPTIONS)


def stacked(tables, column):
    """Stack tables given by name, the names in a first column; their metadata go."""
    for name, table in tables.items():
        table.meta.clear()
        table.add_column([name] * len(table), index=0, name=column)
    return with_descriptions(vstack(list(tables.values())))
