"""Every score of a set of pixels, counted at once or as they come."""

from __future__ import annotations

import functools
import warnings

import numpy as np
from astropy.table import QTable
from astropy.utils.exceptions import AstropyUserWarning
from scipy.special import stdtrit

from . import _ranks, _sums
from ._input import Binning
from ._tables import with_descriptions

LEAST_IMAGES = 20
_ENTROPY_BINS = 12
# Their noise only ever adds to them, so that no interval around them covers.
_BIASED = ("ece", "mce", "ece_non_trivial", "ece_sky", "ece_cosmic_ray")
_LOWEST = {"brier_skill": -np.inf}
_HIGHEST = {"nll": np.inf, "nll_non_trivial": np.inf}


class Scores:
    """
    Scores and tables of counted pixels.

    The methods are the functions of the same name in
    `cosmiq_astro.calibration`, of all the pixels counted. A subclass brings
    the attributes: also ``_image_sums``, the sums of each image, of shape
    ``(n_images, 2, 2, n_bins, 6)``, and the ranks of the pixels by their
    probability, ``_p_ranks``, and of the errors by their uncertainty,
    ``_error_ranks``.

    Attributes
    ----------
    n_bins : int
        Number of equal-width bins of the calibration errors.
    threshold : float
        Pixels with p at or above it are called cosmic ray.
    n_left_out : int
        Number of pixels that were masked, not a number, or of weight zero.
    groups : dict of Scores
        Scores of each group, by name, in order.
    """

    n_bins: int
    threshold: float
    n_left_out: int
    groups: dict[str, Scores]
    _image_sums: np.ndarray
    _p_ranks: _ranks.Ranks
    _error_ranks: _ranks.Ranks

    @property
    def meta(self) -> dict:
        """What a table says of its origin; keys fit FITS cards."""
        sums = self._image_sums
        return {
            "N_PIXELS": int(sums[..., _sums.COUNT].sum()),
            "N_LEFT": self.n_left_out,
            "N_IMAGES": len(sums),
            "N_BINS": self.n_bins,
            "THRESH": float(self.threshold),
        }

    def _bins(self, binning="width", non_trivial=False):
        """Return sums per bin, and the lower and upper edges of the bins."""
        if binning == "count":
            ranks = self._p_ranks.non_trivial() if non_trivial else self._p_ranks
            return _ranks.equal_count_bins(ranks, self.n_bins)
        if binning != "width":
            raise ValueError(f"binning must be 'width' or 'count', not {binning!r}")
        edges = np.arange(self.n_bins + 1) / self.n_bins
        sums = _sums.bin_sums(self._image_sums.sum(0), non_trivial=non_trivial)
        return sums, edges[:-1], edges[1:]

    def brier_score(self, *, non_trivial: bool = False) -> float:
        """Return the Brier score, exact."""
        return float(_sums.brier(self._bins(non_trivial=non_trivial)[0]))

    def negative_log_likelihood(self, *, non_trivial: bool = False) -> float:
        """Return the mean negative log-likelihood in nats, exact."""
        return float(_sums.negative_log_likelihood(self._bins(non_trivial=non_trivial)[0]))

    def expected_calibration_error(
        self, *, binning: Binning = "width", non_trivial: bool = False
    ) -> float:
        """Return the ECE; by an accumulator exact for ``'width'``, to 1e-4 for ``'count'``."""
        return float(_sums.calibration_error(self._bins(binning, non_trivial)[0])[0])

    def roc_auc(self, *, max_fpr: float = 1.0) -> float:
        """Return the mean true-positive rate over false-positive rates up to ``max_fpr``."""
        if not 0 < max_fpr <= 1:
            raise ValueError(f"max_fpr must lie in (0, 1], not {max_fpr}")
        return _ranks.area_under_roc(self._p_ranks, max_fpr=max_fpr)

    def tpr_at_fpr(self, *, fpr: float) -> float:
        """Return the largest true-positive rate that a threshold reaches within ``fpr``."""
        if not 0 <= fpr <= 1:
            raise ValueError(f"fpr must lie in [0, 1], not {fpr}")
        return _ranks.tpr_at(self._p_ranks, fpr)

    def aurc(self) -> float:
        """Return the area under the risk-coverage curve."""
        return _ranks.area_under_risk(self._error_ranks)

    def error_auroc(self) -> float:
        """Return the area under the ROC curve of the uncertainty against errors."""
        return _ranks.area_under_roc(self._error_ranks)

    def reliability_table(self, *, binning: Binning = "width", non_trivial: bool = False) -> QTable:
        """Return the reliability table; of an accumulator fine bins for ``'count'``."""
        bins, low, high = self._bins(binning, non_trivial)
        n, weight = bins[:, _sums.COUNT], bins[:, _sums.WEIGHT]
        frequency = _sums.ratio(bins[:, _sums.POSITIVE], weight)
        interval = _sums.wilson_interval(np.nan_to_num(frequency) * n, n)
        return self._table(
            {
                "p_low": low,
                "p_high": high,
                "n_pixels": np.rint(n).astype(np.int64),
                "weight": weight,
                "mean_probability": _sums.ratio(bins[:, _sums.PROBABILITY], weight),
                "observed_fraction": frequency,
                "fraction_low": interval[0],
                "fraction_high": interval[1],
            }
        )

    def _roc_rows(self, n_points):
        """Return threshold, true and false positives on rows spread over both rates."""
        threshold, true, false = _ranks.roc_curve(self._p_ranks)
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
            {"AUROC": _ranks.area_under_roc(self._p_ranks)},
        )

    def precision_recall_table(self, *, n_points: int = 1000) -> QTable:
        """Return the precision-recall table; each row is exact for its threshold."""
        # Flagging nothing, the first row, has no precision.
        threshold, true, false = (x[1:] for x in self._roc_rows(n_points))
        return self._table(
            {
                "threshold": threshold,
                "recall": _sums.ratio(true, true[-1] if true.size else 0),
                "precision": true / (true + false),
            },
            {"AP": _ranks.average_precision(self._p_ranks)},
        )

    def risk_coverage_table(self, *, n_points: int = 1000) -> QTable:
        """Return the risk-coverage table; each row is exact for its uncertainty."""
        risk = self._error_ranks
        coverage, errors = (x[1:] for x in _ranks.risk_curve(risk))
        rows = _thin(n_points, coverage, errors)
        return self._table(
            {
                "coverage": coverage[rows],
                "risk": errors[rows] / coverage[rows],
                "generalized_risk": errors[rows],
                "uncertainty": risk.score[rows],
            },
            {
                "AURC": _ranks.area_under_risk(risk),
                "AUGRC": _ranks.generalized_risk_area(risk),
            },
        )

    def entropy_error_table(self) -> QTable:
        """Return the error rate at p = 0.5 in bins of the entropy of p."""
        ranks = self._p_ranks
        weight, uncertainty = ranks.event + ranks.other, _sums.entropy(ranks.mean)
        wrong = np.where(ranks.mean >= 0.5, ranks.other, ranks.event)
        edges = np.linspace(0, np.log(2), _ENTROPY_BINS + 1)
        number = np.searchsorted(edges[1:-1], uncertainty, side="right")
        total, errors, mean = (
            np.bincount(number, x, minlength=_ENTROPY_BINS)
            for x in (weight, wrong, weight * uncertainty)
        )
        full = total > 0
        low, high = _sums.wilson_interval(errors[full], total[full])
        return self._table(
            {
                "entropy": mean[full] / total[full],
                "error_rate": errors[full] / total[full],
                "error_rate_low": low,
                "error_rate_high": high,
                "weight": total[full],
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
            row |= one._sum_scores(level)
            row |= _ranks.rank_scores(one._p_ranks, one._error_ranks, n_bins=one.n_bins)
            rows.append(row)
        return self._table(rows, {} if level is None else {"LEVEL": level})

    def _table(self, columns, meta=None):
        """Return a table that says what its columns and numbers are."""
        return with_descriptions(QTable(columns, meta=(meta or {}) | self.meta))

    def _sum_scores(self, level):
        """Return the scores that are sums by name, with their intervals if there is a level."""
        sums, row = self._image_sums, {}
        others = self._left_out()
        for name, value in _sums.score_sums(sums.sum(0)).items():
            row[name] = float(value)
            if level is not None and name not in _BIASED:
                ends = interval(row[name], others[name], level)
                ends = np.clip(ends, _LOWEST.get(name, 0), _HIGHEST.get(name, 1))
                row[f"{name}_low"], row[f"{name}_high"] = map(float, ends)
        t = None if level is None else _half_width(len(sums), level)
        for name, non_trivial in (("", False), ("_non_trivial", True)):
            key = f"rms_calibration_error{name}"
            bins = _sums.bin_sums(sums, non_trivial=non_trivial)
            row[key], low, high = _sums.rms_calibration_error(bins, t=t)
            if level is not None:
                row[f"{key}_low"], row[f"{key}_high"] = low, high
        return row

    def _left_out(self):
        """Return the scores with each image left out, by name."""
        return _sums.score_sums(self._image_sums.sum(0) - self._image_sums)

    def differences(self, other: Scores, *, level: float) -> list[dict]:
        """Return rows of the scores of ``other`` minus these, on the same images."""
        a, b = (_sums.score_sums(scores._image_sums.sum(0)) for scores in (self, other))
        a_others, b_others = self._left_out(), other._left_out()
        rows = []
        for name in a:
            difference = float(b[name] - a[name])
            ends = interval(difference, b_others[name] - a_others[name], level)
            low, high = (np.nan, np.nan) if name in _BIASED else map(float, ends)
            rows.append({"score": name, "difference": difference, "low": low, "high": high})
        return rows


class SampleScores(Scores):
    """
    Scores of a sample that is in memory.

    Parameters
    ----------
    sample : `~cosmiq_astro.calibration._input.Sample`
        The pixels.
    n_bins, threshold : int, float
        As the attributes of `Scores`.
    """

    def __init__(self, sample, *, n_bins=15, threshold=0.5):
        self._sample = sample
        self.n_bins = n_bins
        self.threshold = threshold
        self.n_left_out = sample.n_left_out

    @property
    def groups(self):
        """Scores of each group, by name, in order."""
        if self._sample.group is None:
            return {}
        options = {"n_bins": self.n_bins, "threshold": self.threshold}
        return {n: SampleScores(part, **options) for n, part in self._sample.by_group().items()}

    @functools.cached_property
    def _image_sums(self):
        return _sums.sample_sums(self._sample, n_bins=self.n_bins, threshold=self.threshold)

    @functools.cached_property
    def _p_ranks(self):
        return _ranks.rank_sample(self._sample)

    @functools.cached_property
    def _error_ranks(self):
        errors = _ranks.errors(self._sample, self.threshold)
        return _ranks.rank_pixels(*errors, self._sample.weight)


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


def interval(value, others, level):
    """Return the ends of the interval of a score, from those with each image left out."""
    half = _half_width(len(others), level) * _sums.jackknife_error(others)
    return value + np.array([-half, half])


def warn_of_few(n_images):
    """Warn that intervals rest on few images."""
    if 1 < n_images < LEAST_IMAGES:
        warnings.warn(
            f"the intervals rest on {n_images} images: below {LEAST_IMAGES}, images unlike these "
            "can lie outside them more often than their level says; give more images",
            AstropyUserWarning,
            stacklevel=4,
        )
