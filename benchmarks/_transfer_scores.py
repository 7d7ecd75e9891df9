"""Counts of the transfer set's frames, and the scores that follow from them."""

from dataclasses import dataclass, fields

import numpy as np
from _transfer_frames import CLEAN, HIT, SPIKE
from scipy.special import expit, logit

__all__ = ["FPR", "Counts", "count", "rate", "rows", "scores", "weighted"]

FPR = {"0.05%": 5e-4, "0.5%": 5e-3}
_N, _LIMIT = 4000, 20.0
_WIDTH = 2 * _LIMIT / _N
_P = expit((np.arange(_N) + 0.5) * _WIDTH - _LIMIT)


@dataclass
class Counts:
    """
    Sums over pixels of one or more frames.

    Attributes
    ----------
    clean, hit : ndarray
        Pixels by logit of the probability.
    flagged : ndarray
        At the default threshold: clean and hit pixels, spikes, star cores.
    total : ndarray
        Spikes and star cores there are.
    """

    clean: np.ndarray
    hit: np.ndarray
    flagged: np.ndarray
    total: np.ndarray

    def __add__(self, other):
        return Counts(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def __mul__(self, times):
        return Counts(*(getattr(self, f.name) * times for f in fields(self)))

    __rmul__ = __mul__


def count(probability, threshold, frame):
    """Return the counts of a frame; ignored pixels and spikes are in neither class."""
    flagged = probability >= threshold
    with np.errstate(divide="ignore"):
        score = np.clip(logit(probability.astype(float)), -_LIMIT, _LIMIT)
    column = np.minimum(((score + _LIMIT) / _WIDTH).astype(int), _N - 1)
    classes = [frame.truth == k for k in (CLEAN, HIT, SPIKE)]
    histograms = [np.bincount(column[c], minlength=_N) for c in classes[:2]]
    padded = np.pad(flagged, 1)
    cores = np.zeros(frame.y.size, bool)
    for i in range(3):
        for j in range(3):
            cores |= padded[frame.y + i, frame.x + j]
    return Counts(
        *histograms,
        np.array([*(np.count_nonzero(flagged & c) for c in classes), cores.sum()]),
        np.array([classes[2].sum(), cores.size]),
    )


def weighted(counts, times):
    """Return the sum of counts of frames, each so many times."""
    return sum((int(k) * c for k, c in zip(times, counts, strict=True) if k), start=0 * counts[0])


def rate(counts, fpr):
    """Return detection where the share ``fpr`` of clean pixels is exceeded, interpolated."""
    false = np.cumsum(counts.clean[::-1]) / max(counts.clean.sum(), 1)
    true = np.cumsum(counts.hit[::-1]) / max(counts.hit.sum(), 1)
    return float(np.interp(fpr, np.append(0, false), np.append(0, true)))


def _aurc(counts):
    """Return the area under error rate against coverage, surest pixels first."""
    entropy = -(_P * np.log(_P) + (1 - _P) * np.log1p(-_P))
    order = np.argsort(entropy, kind="stable")
    error = np.where(_P >= 0.5, counts.clean, counts.hit)[order]
    pixels = (counts.clean + counts.hit)[order]
    some = pixels > 0
    risk = np.cumsum(error[some]) / np.cumsum(pixels[some])
    return float(np.sum(risk * pixels[some]) / pixels.sum())


def scores(counts):
    """Return every score of summed counts by name."""
    clean, hit = counts.clean, counts.hit
    pixels = clean.sum() + hit.sum()
    false, true, spikes, cores = counts.flagged
    nontrivial = _P > 0.01
    weight = clean[nontrivial].sum() + hit.sum()
    square = (_P**2 * clean)[nontrivial].sum() + ((1 - _P) ** 2 * hit).sum()
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            **{f"tpr@{name}": rate(counts, fpr) for name, fpr in FPR.items()},
            "recall": true / hit.sum(),
            "precision": true / (true + false),
            "false_per_1e6": 1e6 * false / clean.sum(),
            "spikes": spikes / counts.total[0],
            "cores_per_1e4": 1e4 * cores / counts.total[1],
            "n_cores": float(counts.total[1]),
            "nll": -(clean @ np.log1p(-_P) + hit @ np.log(_P)) / pixels,
            "brier_nontrivial": square / weight,
            "aurc": _aurc(counts),
        }


def _ratios(one, other):
    """Return the misses of one over those of another at each false-positive rate."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return {
            f"ratio@{name}": np.divide(1 - rate(one, fpr), 1 - rate(other, fpr))
            for name, fpr in FPR.items()
        }


def _ratios_of_frames(pair, times):
    """
    Return the ratios from the mean misses of frames, each at a threshold of its own.

    One threshold for all lets the frame with the most false positives decide.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = {}
        for name, fpr in FPR.items():
            misses = [times @ np.array([1 - rate(c, fpr) for c in p]) for p in pair]
            ratios[f"ratio_own@{name}"] = np.divide(*misses)
        return ratios


def rows(counts, n_resamples, *, seed, against="deepCR"):
    """
    Yield a row for each tool, group and field, with intervals.

    Parameters
    ----------
    counts : dict
        By tool, then by (group, field, number).
    n_resamples : int
        Times that frames are drawn with replacement.
    seed : int
        Of the draws, the same for each tool.
    against : str
        Tool whose misses the ratios are to.
    """
    specs = list(counts[against])
    groups = dict.fromkeys(group for group, _, _ in specs)
    for tool, own in counts.items():
        for group in groups:
            for field in ("all", *dict.fromkeys(f for _, f, _ in specs)):
                some = [s for s in specs if s[0] == group and field in ("all", s[1])]
                pair = [[c[s] for s in some] for c in (own, counts[against])]
                one, other = (sum(p[1:], p[0]) for p in pair)
                row = {"tool": tool, "group": group, "field": field, "n_frames": len(some)}
                row |= scores(one) | _ratios(one, other)
                row |= _ratios_of_frames(pair, np.ones(len(some)))
                drawn = []
                rng = np.random.default_rng(seed)
                for _ in range(n_resamples):
                    times = rng.multinomial(len(some), np.full(len(some), 1 / len(some)))
                    sums = [weighted(p, times) for p in pair]
                    rates = {f"tpr@{n}": rate(sums[0], fpr) for n, fpr in FPR.items()}
                    drawn.append(rates | _ratios(*sums) | _ratios_of_frames(pair, times))
                for name in drawn[0] if drawn else ():
                    ends = np.nanquantile([d[name] for d in drawn], (0.025, 0.975))
                    row |= {
                        f"{name}_{e}": float(v) for e, v in zip(("low", "high"), ends, strict=True)
                    }
                yield row
