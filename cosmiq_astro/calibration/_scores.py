"""Every score of a set of pixels, counted at once or as they come."""

from __future__ import annotations

import abc
import functools
import warnings
from typing import NamedTuple

import numpy as np
from astropy.table import QTable
from astropy.utils.exceptions import AstropyUserWarning
from scipy.special import stdtrit

from . import _ranks, _sums, _tables
from ._input import Binning

__all__ = ["BrierParts", "ClasswiseError", "SampleScores", "Scores", "by_group", "t_factor"]

LEAST_IMAGES = 20
_RANK_MEASURES = {
    "roc_auc": (_ranks.area_under_roc, "_p_ranks"),
    "average_precision": (_ranks.average_precision_of, "_p_ranks"),
    "aurc": (_ranks.area_under_risk, "_error_ranks"),
    "augrc": (_ranks.generalized_risk_area, "_error_ranks"),
    "error_auroc": (_ranks.area_under_roc, "_error_ranks"),
}
# Their noise only ever adds to them, so that no interval around them covers.
_BIASED = ("ece", "mce", "ece_non_trivial", "ece_sky", "ece_cosmic_ray")
_LOWEST = {"brier_skill": -np.inf}
_HIGHEST = {"nll": np.inf, "nll_non_trivial": np.inf}


class BrierParts(NamedTuple):
    """The parts of the Brier score: reliability - resolution + uncertainty + within_bin."""

    reliability: float
    resolution: float
    uncertainty: float
    within_bin: float


class ClasswiseError(NamedTuple):
    """The calibration error of the pixels called sky, and of those called cosmic ray."""

    sky: float
    cosmic_ray: float


class Scores(abc.ABC):
    """
    Scores and tables of counted pixels.

    The methods are the functions of the same name in
    `cosmiq_astro.calibration`, of all the pixels counted.

    Attributes
    ----------
    n_bins : int
        Number of equal-width bins of the calibration errors.
    threshold : float
        Pixels with p at or above it are called cosmic ray.
    n_left_out : int
        Number of pixels that were masked, not a number, or of weight zero.
    """

    n_bins: int
    threshold: float
    n_left_out: int

    @property
    @abc.abstractmethod
    def _image_sums(self) -> np.ndarray:
        """Sums of each image, shape ``(n_images, 2, 2, n_bins, 6)``."""

    @property
    @abc.abstractmethod
    def _p_ranks(self) -> _ranks.Ranks:
        """Pixels in the order of their probability."""

    @property
    @abc.abstractmethod
    def _error_ranks(self) -> _ranks.Ranks:
        """Errors in the order of their uncertainty."""

    @abc.abstractmethod
    def _by_group(self) -> dict:
        """Return the scores of all pixels, then those of each group, by name."""

    @property
    def _meta(self):
        """What a table says of its origin; keys fit FITS cards."""
        sums = self._image_sums
        return {
            "N_PIXELS": int(sums[..., _sums.COUNT].sum()),
            "N_LEFT": self.n_left_out,
            "N_IMAGES": len(sums),
            "N_BINS": self.n_bins,
            "THRESH": float(self.threshold),
        }

    def _bins(self, non_trivial=False):
        return _sums.bin_sums(self._image_sums.sum(0), non_trivial=non_trivial)

    def _occupied(self, non_trivial):
        return self._p_ranks.non_trivial().occupied() if non_trivial else self._p_ranks

    def brier_score(self, *, non_trivial: bool = False) -> float:
        """Return the Brier score, exact."""
        return float(_sums.brier(self._bins(non_trivial)))

    def brier_parts(self) -> BrierParts:
        """Return the parts of the Brier score, exact."""
        return BrierParts(*map(float, _sums.brier_terms(self._bins())))

    def negative_log_likelihood(self, *, non_trivial: bool = False) -> float:
        """Return the mean negative log-likelihood in nats, exact."""
        return float(_sums.log_likelihood_loss(self._bins(non_trivial)))

    def expected_calibration_error(
        self, *, binning: Binning = "width", non_trivial: bool = False
    ) -> float:
        """Return the ECE; by an accumulator exact for ``'width'``, to 1e-4 for ``'count'``."""
        if _by_count(binning):
            return _ranks.calibration_error_of(self._occupied(non_trivial), n_bins=self.n_bins)
        return float(_sums.calibration_error(self._bins(non_trivial))[0])

    def maximum_calibration_error(self, *, non_trivial: bool = False) -> float:
        """Return the largest calibration error of a bin, exact."""
        return float(_sums.calibration_error(self._bins(non_trivial))[1])

    def rms_calibration_error(self, *, non_trivial: bool = False) -> float:
        """Return the root mean square calibration error free of noise, exact."""
        bins = _sums.bin_sums(self._image_sums, non_trivial=non_trivial)
        return _sums.rms_calibration_error(bins)[0]

    def classwise_calibration_error(self) -> ClasswiseError:
        """Return the ECE of the pixels called sky and of those called cosmic ray, exact."""
        return ClasswiseError(*map(float, _sums.class_calibration_errors(self._image_sums.sum(0))))

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

    def average_precision(self) -> float:
        """Return the average precision."""
        return _ranks.average_precision_of(self._p_ranks)

    def aurc(self) -> float:
        """Return the area under the risk-coverage curve."""
        return _ranks.area_under_risk(self._error_ranks)

    def augrc(self) -> float:
        """Return the area under the generalized risk-coverage curve."""
        return _ranks.generalized_risk_area(self._error_ranks)

    def error_auroc(self) -> float:
        """Return the area under the ROC curve of the uncertainty against errors."""
        return _ranks.area_under_roc(self._error_ranks)

    def rank_error_bounds(self) -> dict[str, float]:
        """
        Return by how much fine bins could have changed each rank measure.

        Returns
        -------
        bounds : dict
            Largest possible error by name, had all pixels of each fine bin
            come in the best or the worst order.
        """
        return {
            name: float(_ranks.error_bound(measure, getattr(self, which)))
            for name, (measure, which) in _RANK_MEASURES.items()
        }

    def reliability_table(
        self, *, binning: Binning = "width", non_trivial: bool = False, level: float = 0.95
    ) -> QTable:
        """Return the reliability table; of an accumulator fine bins for ``'count'``."""
        if _by_count(binning):
            bins = _tables.adaptive_bins(self._occupied(non_trivial), self.n_bins)
        else:
            edges = np.arange(self.n_bins + 1) / self.n_bins
            bins = self._bins(non_trivial), edges[:-1], edges[1:]
        table = _tables.reliability_from(*bins, level=level)
        table.meta["LEVEL"] = level
        return self._noted(table)

    def roc_table(self, *, n_points: int = 1000) -> QTable:
        """Return the ROC table; each row is exact for its threshold."""
        return self._noted(_tables.roc_from(self._p_ranks, n_points=n_points))

    def precision_recall_table(self, *, n_points: int = 1000) -> QTable:
        """Return the precision-recall table; each row is exact for its threshold."""
        return self._noted(_tables.precision_recall_from(self._p_ranks, n_points=n_points))

    def risk_coverage_table(self, *, n_points: int = 1000) -> QTable:
        """Return the risk-coverage table; each row is exact for its uncertainty."""
        return self._noted(_tables.risk_coverage_from(self._error_ranks, n_points=n_points))

    def score_table(self, *, level: float | None = None) -> QTable:
        """Return every score, one row for all pixels and one per group."""
        if level is not None:
            warn_of_few(len(self._image_sums))
        table = self._noted(self._score_rows(level))
        if level is not None:
            table.meta["LEVEL"] = level
        return table

    def _score_rows(self, level):
        rows = [{"group": n} | s._score_row(level) for n, s in self._by_group().items()]
        return _tables.with_descriptions(QTable(rows))

    def _noted(self, table):
        table.meta |= self._meta
        return table

    def _score_row(self, level):
        """Return every score by name."""
        n_pixels = int(self._image_sums[..., _sums.COUNT].sum())
        row = {"n_pixels": n_pixels, "n_left_out": self.n_left_out} | self._sum_scores(level)
        return row | _ranks.rank_scores(self._p_ranks, self._error_ranks, n_bins=self.n_bins)

    def _sum_scores(self, level):
        """Return the scores that are sums by name, with their intervals if there is a level."""
        sums, row = self._image_sums, {}
        others = _left_out(sums)
        for name, value in _sums.score_sums(sums.sum(0)).items():
            row[name] = float(value)
            if level is not None and name not in _BIASED:
                ends = interval(row[name], others[name], level)
                ends = np.clip(ends, _LOWEST.get(name, 0), _HIGHEST.get(name, 1))
                row[f"{name}_low"], row[f"{name}_high"] = map(float, ends)
        t = None if level is None else t_factor(len(sums), level)
        for name, non_trivial in (("", False), ("_non_trivial", True)):
            key = f"rms_calibration_error{name}"
            bins = _sums.bin_sums(sums, non_trivial=non_trivial)
            row[key], low, high = _sums.rms_calibration_error(bins, t=t)
            if level is not None:
                row[f"{key}_low"], row[f"{key}_high"] = low, high
        return row

    def _differences(self, other, level):
        """Return rows of the scores of ``other`` minus these, on the same images."""
        a, b = (_sums.score_sums(scores._image_sums.sum(0)) for scores in (self, other))
        a_others, b_others = (_left_out(scores._image_sums) for scores in (self, other))
        rows = []
        for name in a:
            row = {"score": name, "difference": float(b[name] - a[name])}
            ends = (np.nan, np.nan)
            if name not in _BIASED:
                ends = interval(row["difference"], b_others[name] - a_others[name], level)
            rows.append(row | {"low": float(ends[0]), "high": float(ends[1])})
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

    @functools.cached_property
    def _image_sums(self):
        return _sums.sample_sums(self._sample, n_bins=self.n_bins, threshold=self.threshold)

    @functools.cached_property
    def _p_ranks(self):
        sample = self._sample
        return _ranks.rank_pixels(sample.probability, sample.label, sample.weight)

    @functools.cached_property
    def _error_ranks(self):
        return _ranks.rank_errors(self._sample, self.threshold)

    def _by_group(self):
        options = {"n_bins": self.n_bins, "threshold": self.threshold}
        groups = by_group(self._sample).items()
        return {"all": self} | {n: SampleScores(part, **options) for n, part in groups if n}


def by_group(sample):
    """Return the sample of each group by name; a lone None where there are no groups."""
    if sample.group is None:
        return {None: sample}
    names, number = np.unique(sample.group, return_inverse=True)
    return {str(name): sample.take(number == i) for i, name in enumerate(names)}


def _by_count(binning):
    """Tell bins of equal count from bins of equal width."""
    if binning not in ("width", "count"):
        raise ValueError(f"binning must be 'width' or 'count', not {binning!r}")
    return binning == "count"


def _left_out(sums):
    """Return the scores with each image left out, by name."""
    return _sums.score_sums(sums.sum(0) - sums)


def t_factor(n, level):
    """Return the half width of an interval from n images, in standard errors."""
    return float(stdtrit(n - 1, 0.5 + level / 2)) if n > 1 else np.nan


def interval(value, others, level):
    """Return the ends of the interval of a score, from those with each image left out."""
    n = len(others)
    if n < 2:
        return np.array([np.nan, np.nan])
    return value + np.array([-1, 1]) * t_factor(n, level) * _sums.jackknife_error(others)


def warn_of_few(n_images):
    """Warn that intervals rest on few images."""
    if 1 < n_images < LEAST_IMAGES:
        warnings.warn(
            f"the intervals rest on {n_images} images: below {LEAST_IMAGES}, images unlike these "
            "can lie outside them more often than their level says; give more images",
            AstropyUserWarning,
            stacklevel=4,
        )
