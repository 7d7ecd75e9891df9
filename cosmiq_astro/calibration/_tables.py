"""What the columns of the tables mean."""

from astropy.table import vstack

ENDS = ("low", "high")
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


def stacked(tables, column):
    """Stack tables given by name, the names in a first column; their metadata go."""
    for name, table in tables.items():
        table.meta.clear()
        table.add_column([name] * len(table), index=0, name=column)
    return with_descriptions(vstack(list(tables.values())))
