"""Every score of counted pixels at once, with intervals from resampled images."""

import numpy as np
from astropy.table import QTable

from . import _ranks, _sums
from ._descriptions import with_descriptions

__all__ = ["differences_from", "scores_from"]


def image_draws(n_images, *, n_resamples, seed):
    """Return how often each resample draws each image; None for fewer than two images."""
    if not n_resamples or n_images < 2:
        return None
    rng = np.random.default_rng(seed)
    return rng.multinomial(n_images, np.full(n_images, 1 / n_images), size=n_resamples).astype(
        float
    )


def interval(resampled, level):
    """Return the ends of the percentile interval of resampled scores."""
    low, high = np.quantile(resampled, (0.5 - level / 2, 0.5 + level / 2))
    return float(low), float(high)


def score_row(counts, *, level=0.95, n_resamples=0, seed=None):
    """Return every score of a set of pixels by name, with intervals from resampled images."""
    row = {
        "n_pixels": int(counts.sums[..., _sums.COUNT].sum()),
        "n_left_out": counts.n_left_out,
    }
    draws = image_draws(len(counts.sums), n_resamples=n_resamples, seed=seed)
    if draws is not None:
        resampled = _sums.score_sums(np.tensordot(draws, counts.sums, axes=1))
    for name, value in _sums.score_sums(counts.sums.sum(0)).items():
        row[name] = float(value)
        if n_resamples:
            ends = (np.nan, np.nan) if draws is None else interval(resampled[name], level)
            row[f"{name}_low"], row[f"{name}_high"] = ends
    return row | _ranks.rank_scores(counts.ranks, counts.risk, n_bins=counts.n_bins)


def differences_from(first, second, *, level, n_resamples, seed):
    """Return rows of score differences with intervals, both resampled by the same images."""
    a, b = (_sums.score_sums(counts.sums.sum(0)) for counts in (first, second))
    draws = image_draws(len(first.sums), n_resamples=n_resamples, seed=seed)
    if draws is not None:
        x, y = (
            _sums.score_sums(np.tensordot(draws, counts.sums, axes=1)) for counts in (first, second)
        )
    rows = []
    for name in a:
        ends = (np.nan, np.nan) if draws is None else interval(y[name] - x[name], level)
        difference = float(b[name] - a[name])
        rows.append({"score": name, "difference": difference, "low": ends[0], "high": ends[1]})
    return rows


def scores_from(counts_by_group, *, level, n_resamples, seed):
    """Build the table of scores, one row per group."""
    rows = [
        {"group": str(group)} | score_row(counts, level=level, n_resamples=n_resamples, seed=seed)
        for group, counts in counts_by_group.items()
    ]
    table = with_descriptions(QTable(rows))
    table.meta |= {"LEVEL": level, "RESAMPLE": n_resamples}
    if seed is not None:
        table.meta["SEED"] = seed
    return table
