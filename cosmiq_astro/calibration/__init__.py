"""
Whether the probabilities can be believed: calibration and uncertainty diagnostics.

Every function takes two arrays, or a `~astropy.table.Table` with the columns
``probability`` and ``label`` (and optional ``weight``, ``group``,
``uncertainty``, ``image``), or a list of detection results and a list of
truth images; tables come back as `~astropy.table.QTable`.
`CalibrationAccumulator` counts any number of pixels in fixed memory and has
methods of the same names.
"""

from ._scores import BrierParts, ClasswiseError
from .accumulator import CalibrationAccumulator
from .hits import HitMatch, completeness_table, match_hits
from .intervals import block_index, bootstrap_interval
from .metrics import (
    brier_parts,
    brier_score,
    classwise_calibration_error,
    expected_calibration_error,
    maximum_calibration_error,
    negative_log_likelihood,
    rms_calibration_error,
)
from .montecarlo import draw_spread, draws_needed, monte_carlo_table
from .operating import operating_curve
from .plots import (
    plot_entropy_error,
    plot_precision_recall,
    plot_reliability,
    plot_risk_coverage,
    plot_roc,
)
from .ranking import augrc, aurc, average_precision, error_auroc, roc_auc, tpr_at_fpr
from .recalibrate import (
    BetaCalibration,
    IsotonicCalibration,
    Recalibration,
    TemperatureScaling,
    fit_beta,
    fit_isotonic,
    fit_temperature,
)
from .report import CalibrationReport, calibration_report
from .tables import (
    precision_recall_table,
    quantile_groups,
    reliability_table,
    risk_coverage_table,
    roc_table,
    score_table,
)
from .thresholds import ThresholdChoice, choose_threshold

__all__ = [
    "BetaCalibration",
    "BrierParts",
    "CalibrationAccumulator",
    "CalibrationReport",
    "ClasswiseError",
    "HitMatch",
    "IsotonicCalibration",
    "Recalibration",
    "TemperatureScaling",
    "ThresholdChoice",
    "augrc",
    "aurc",
    "average_precision",
    "block_index",
    "bootstrap_interval",
    "brier_parts",
    "brier_score",
    "calibration_report",
    "choose_threshold",
    "classwise_calibration_error",
    "completeness_table",
    "draw_spread",
    "draws_needed",
    "error_auroc",
    "expected_calibration_error",
    "fit_beta",
    "fit_isotonic",
    "fit_temperature",
    "match_hits",
    "maximum_calibration_error",
    "monte_carlo_table",
    "negative_log_likelihood",
    "operating_curve",
    "plot_entropy_error",
    "plot_precision_recall",
    "plot_reliability",
    "plot_risk_coverage",
    "plot_roc",
    "precision_recall_table",
    "quantile_groups",
    "reliability_table",
    "risk_coverage_table",
    "rms_calibration_error",
    "roc_auc",
    "roc_table",
    "score_table",
    "tpr_at_fpr",
]
