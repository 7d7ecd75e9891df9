"""The scores of the accumulator, by the names of the functions."""

from . import _ranks, _scores, _sums, _tables
from .metrics import BrierParts, ClasswiseError

__all__ = ["StreamedScores"]

_RANK_MEASURES = {
    "roc_auc": (_ranks.area_under_roc, "ranks"),
    "average_precision": (_ranks.average_precision_of, "ranks"),
    "aurc": (_ranks.area_under_risk, "risk"),
    "augrc": (_ranks.generalized_risk_area, "risk"),
    "error_auroc": (_ranks.area_under_roc, "risk"),
}


class StreamedScores:
    """
    Scores and tables made from what ``_counts()`` of the subclass returns.

    The methods are the functions of the same name in
    `cosmiq_astro.calibration`, of all the pixels counted.
    """

    def _bins(self, non_trivial=False):
        return _sums.bin_sums(self._counts().sums.sum(0), non_trivial=non_trivial)

    def brier_score(self, *, non_trivial=False):
        """Return the Brier score, exact."""
        return float(_sums.brier(self._bins(non_trivial)))

    def brier_parts(self):
        """Return the parts of the Brier score, exact."""
        return BrierParts(*map(float, _sums.brier_terms(self._bins())))

    def negative_log_likelihood(self, *, non_trivial=False):
        """Return the mean negative log-likelihood in nats, exact."""
        return float(_sums.log_likelihood_loss(self._bins(non_trivial)))

    def expected_calibration_error(self, *, binning="width", non_trivial=False):
        """Return the ECE: exact for ``'width'``, to 1e-4 for ``'count'``."""
        if binning not in ("width", "count"):
            raise ValueError(f"binning must be 'width' or 'count', not {binning!r}")
        if binning == "width":
            return float(_sums.calibration_error(self._bins(non_trivial))[0])
        ranks = self._counts().ranks
        ranks = ranks.non_trivial().occupied() if non_trivial else ranks
        return _ranks.calibration_error_of(ranks, n_bins=self.n_bins)

    def maximum_calibration_error(self, *, non_trivial=False):
        """Return the largest calibration error of a bin, exact."""
        return float(_sums.calibration_error(self._bins(non_trivial))[1])

    def classwise_calibration_error(self):
        """Return the ECE of the pixels called sky and of those called cosmic ray, exact."""
        sums = self._counts().sums.sum(0)
        return ClasswiseError(*map(float, _sums.class_calibration_errors(sums)))

    def roc_auc(self, *, max_fpr=1.0):
        """Return the mean true-positive rate over false-positive rates up to ``max_fpr``."""
        return _ranks.area_under_roc(self._counts().ranks, max_fpr=max_fpr)

    def tpr_at_fpr(self, *, fpr):
        """Return the largest true-positive rate within ``fpr`` at an edge of a fine bin."""
        return _ranks.tpr_at(self._counts().ranks, fpr)

    def average_precision(self):
        """Return the average precision."""
        return _ranks.average_precision_of(self._counts().ranks)

    def aurc(self):
        """Return the area under the risk-coverage curve."""
        return _ranks.area_under_risk(self._counts().risk)

    def augrc(self):
        """Return the area under the generalized risk-coverage curve."""
        return _ranks.generalized_risk_area(self._counts().risk)

    def error_auroc(self):
        """Return the area under the ROC curve of the uncertainty against errors."""
        return _ranks.area_under_roc(self._counts().risk)

    def rank_error_bounds(self):
        """
        Return by how much the fine bins could have changed each rank measure.

        Returns
        -------
        bounds : dict
            Largest possible error by name, had all pixels of each fine bin
            come in the best or the worst order.
        """
        counts = self._counts()
        return {
            name: float(_ranks.error_bound(measure, getattr(counts, which)))
            for name, (measure, which) in _RANK_MEASURES.items()
        }

    def reliability_table(self, *, binning="width", non_trivial=False, level=0.95):
        """Return the reliability table: exact for ``'width'``, fine bins for ``'count'``."""
        if binning not in ("width", "count"):
            raise ValueError(f"binning must be 'width' or 'count', not {binning!r}")
        return self._noted(
            _tables.reliability(
                self._counts(), binning=binning, non_trivial=non_trivial, level=level
            )
        )

    def roc_table(self, *, n_points=1000):
        """Return the ROC table; each row is exact for its threshold."""
        return self._noted(_tables.roc_from(self._counts().ranks, n_points=n_points))

    def precision_recall_table(self, *, n_points=1000):
        """Return the precision-recall table; each row is exact for its threshold."""
        return self._noted(_tables.precision_recall_from(self._counts().ranks, n_points=n_points))

    def risk_coverage_table(self, *, n_points=1000):
        """Return the risk-coverage table; each row is exact for its uncertainty."""
        return self._noted(_tables.risk_coverage_from(self._counts().risk, n_points=n_points))

    def score_table(self, *, n_resamples=0, level=0.95, seed=None):
        """Return every score, one row for all pixels and one per group."""
        counts = self._counts_by_group()
        table = _scores.scores_from(counts, level=level, n_resamples=n_resamples, seed=seed)
        return self._noted(table)

    def _counts_by_group(self):
        groups = {name: group._counts() for name, group in self.groups.items()}
        return {"all": self._counts()} | groups

    def _noted(self, table):
        table.meta |= self._counts().meta
        return table
