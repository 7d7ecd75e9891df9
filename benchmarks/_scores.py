"""What `accuracy.py` counts in each frame, and the scores that follow from the counts."""

from dataclasses import dataclass, fields

import numpy as np
from _photometry import measure
from astropy.table import Table
from scipy.optimize import minimize
from scipy.special import expit, logit
from scipy.stats import beta

from cosmiq_astro.calibration import (
    aurc,
    brier_score,
    choose_threshold,
    expected_calibration_error,
    negative_log_likelihood,
    tpr_at_fpr,
)

__all__ = [
    "CLASSES",
    "FPR",
    "Counts",
    "bootstrap",
    "count",
    "fit_platt",
    "paired_bootstrap",
    "precision_interval",
    "scores",
    "upper_limit",
]

FPR = {"0.05%": 5e-4, "0.5%": 5e-3}
EDGES = (3, 5, 10, 30, np.inf)  # charge, in standard deviations of the noise without it
CLASSES = ("3-5", "5-10", "10-30", ">30")
FAR = 2  # pixels: false positives beyond are due to no hit
STAR_SNR = 30
STAR_ROOM = 3  # pixels: stars nearer to a hit do not count
_N_BINS, _LIMIT = 4096, 24.0
_CENTRES = (np.arange(_N_BINS) + 0.5) * (2 * _LIMIT / _N_BINS) - _LIMIT


@dataclass
class Counts:
    """
    Counts of one frame, or the sum over several.

    Attributes
    ----------
    histogram : ndarray
        Pixels by logit of p: clean ones, then the four classes of charge; shape (5, n_bins).
    flagged : ndarray
        Pixels at or above the default threshold: clean, and cosmic ray.
    far, far_flagged : int
        Pixels far from any hit, and those flagged.
    stars, stars_flagged : int
        Stars away from hits, and those with a core pixel flagged.
    photometry : ndarray
        Sums from `_photometry.measure`.
    """

    histogram: np.ndarray
    flagged: np.ndarray
    far: int
    far_flagged: int
    stars: int
    stars_flagged: int
    photometry: np.ndarray

    def __add__(self, other):
        return Counts(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


def count(probability, threshold, frame):
    """
    Count one frame; ignored pixels count nowhere.

    Parameters
    ----------
    probability : ndarray
        Of the frame's shape.
    threshold : float
        Default threshold of the tool.
    frame : `_frames.Frame`
        The truth.
    """
    noise, label, ignore = frame.truth()
    valid = ~ignore & np.isfinite(probability)
    p = probability[valid].astype(float)
    with np.errstate(divide="ignore"):
        score = np.clip(logit(p), -_LIMIT, _LIMIT)
    column = ((score + _LIMIT) * (_N_BINS / (2 * _LIMIT))).astype(np.int64)
    column = np.minimum(column, _N_BINS - 1)
    row = np.where(label, np.searchsorted(EDGES, frame.charge / noise), 0)[valid]
    histogram = np.bincount(row * _N_BINS + column, minlength=5 * _N_BINS).reshape(5, _N_BINS)
    flagged = probability >= threshold
    distance = frame.distance()
    far = distance > FAR
    stars = (frame.star_snr > STAR_SNR) & (distance[frame.star_y, frame.star_x] > STAR_ROOM)
    y, x = frame.star_y[stars], frame.star_x[stars]
    return Counts(
        histogram,
        np.array([np.count_nonzero(flagged & valid & (label == k)) for k in (False, True)]),
        np.count_nonzero(far),
        np.count_nonzero(flagged & far),
        y.size,
        np.count_nonzero(cores_flagged(flagged, y, x)),
        measure(frame, flagged, distance),
    )


def cores_flagged(flagged, y, x):
    """Return which stars have a flagged pixel among the 3 x 3 of their core."""
    padded = np.pad(flagged, 1)
    return np.any([padded[y + i, x + j] for i in range(3) for j in range(3)], axis=0)


def pixels(histogram, platt=(1.0, 0.0)):
    """Return a histogram as a weighted table of pixels; ``platt`` is scale and offset in logit."""
    p = expit(platt[0] * _CENTRES + platt[1])
    clean, hit = histogram[0], histogram[1:].sum(axis=0)
    columns = [np.concatenate([p[w > 0] for w in (clean, hit)])]
    columns.append(np.repeat([False, True], [np.count_nonzero(w) for w in (clean, hit)]))
    columns.append(np.concatenate([w[w > 0] for w in (clean, hit)]))
    return Table(columns, names=("probability", "label", "weight"), copy=False)


def fit_platt(histogram):
    """Return scale and offset of the logit that make the labels most likely."""
    clean, hit = histogram[0] / histogram.sum(), histogram[1:].sum(axis=0) / histogram.sum()

    def loss(numbers):
        x = numbers[0] * _CENTRES + numbers[1]
        return clean @ np.logaddexp(0, x) + hit @ np.logaddexp(0, -x)

    return tuple(minimize(loss, (1.0, 0.0), method="Nelder-Mead", tol=1e-9).x.tolist())


def scores(histogram, *, calibrated=True, platt=(1.0, 0.0)):
    """Return every score of a histogram by name; only the rates if p is no probability."""
    table = pixels(histogram, platt)
    values = {f"tpr@{name}": tpr_at_fpr(table, fpr=fpr) for name, fpr in FPR.items()}
    if calibrated:
        values |= {
            "nll": negative_log_likelihood(table),
            "brier": brier_score(table),
            "ece": expected_calibration_error(table, binning="count", non_trivial=True),
            "aurc": aurc(table),
        }
    return values


def rates_by_charge(histogram):
    """Return the detection rate of each class of charge at the common false-positive rates."""
    table, values = pixels(histogram), {}
    for name, fpr in FPR.items():
        try:
            threshold = choose_threshold(table, fpr=fpr).threshold
        except ValueError:  # even the surest pixels are wrong too often, or a class is missing
            threshold = np.inf
        above = histogram[1:, expit(_CENTRES) >= threshold].sum(axis=1)
        total = histogram[1:].sum(axis=1)
        some = [(c, a / n if n else np.nan) for c, a, n in zip(CLASSES, above, total, strict=True)]
        values |= {f"tpr@{name} {c}": value for c, value in some}
        values[f"tpr@{name} >5"] = above[1:].sum() / max(total[1:].sum(), 1)
    return values


def at_threshold(counts):
    """Return what the default threshold does."""
    clean, hit = counts.flagged
    total = counts.histogram[1:].sum()
    return {
        "precision": hit / (clean + hit) if clean + hit else np.nan,
        "recall": hit / total if total else np.nan,
        "flagged": float(clean + hit),
        "false_far": counts.far_flagged / counts.far if counts.far else np.nan,
        "n_far": float(counts.far),
        "stars": float(counts.stars),
        "stars_flagged": float(counts.stars_flagged),
        "stars_limit": upper_limit(counts.stars_flagged, counts.stars),
    }


def upper_limit(k, n, level=0.95):
    """Return the one-sided upper limit of a binomial fraction (Clopper & Pearson 1934)."""
    return float(beta.ppf(level, k + 1, n - k)) if n > k else 1.0


def bootstrap(histograms, n_resamples, seed, **options):
    """Return low and high ends (95 %) of every score, from frames drawn with replacement."""
    ends = _quantiles([scores(h, **options) for h in _draws(histograms, n_resamples, seed)])
    return {f"{name}_{end}": v for name, pair in ends.items() for end, v in pair.items()}


def precision_interval(counts, n_resamples, seed):
    """Return low and high ends (95 %) of the precision, from frames drawn with replacement."""
    drawn = _draws(np.array([c.flagged for c in counts]), n_resamples, seed)
    ends = _quantiles([{"precision": k / (n + k) if n + k else np.nan} for n, k in drawn])
    return {f"precision_{end}": value for end, value in ends["precision"].items()}


def paired_bootstrap(first, second, n_resamples, seed):
    """Return second minus first with its interval, both drawn from the same frames, by score."""
    pairs = zip(*(_draws(h, n_resamples, seed) for h in (first, second)), strict=True)
    ends = _quantiles([_difference(*pair) for pair in pairs])
    whole = _difference(first.sum(axis=0), second.sum(axis=0))
    return {name: {"difference": value} | ends[name] for name, value in whole.items()}


def _difference(first, second):
    a, b = scores(first), scores(second)
    return {name: b[name] - a[name] for name in a}


def _draws(counts, n_resamples, seed):
    """Yield the summed counts of each resample of the frames, the first axis."""
    rng, n = np.random.default_rng(seed), len(counts)
    for _ in range(n_resamples):
        times = rng.multinomial(n, np.full(n, 1 / n))
        yield np.tensordot(times, counts, axes=1)


def _quantiles(rows):
    """Return the 95 % interval of each score over resamples."""
    ends = {}
    for name in rows[0]:
        low, high = np.nanquantile([row[name] for row in rows], (0.025, 0.975))
        ends[name] = {"low": float(low), "high": float(high)}
    return ends
