"""Scores of posterior_data.py, with intervals from exposures drawn with replacement."""

import numpy as np

from cosmiq_astro.inference.uncertainty import binary_entropy

__all__ = ["RANKS", "matched_auroc", "ranked", "rows"]

RANKS = 1000  # groups that pixels are put in by their uncertainty
_RESAMPLES = 500
_LEVELS, _PLACES = 25, 50  # of probability, and of a value among pixels of one
_TRIVIAL = 0.01


def resamples(n):
    """Return how often each exposure counts: once each, then drawn with replacement."""
    drawn = np.random.default_rng(n).multinomial(n, np.full(n, 1 / n), _RESAMPLES)
    return np.concatenate([np.ones((1, n)), drawn])


def ranked(probability, information, wrong):
    """Return pixels and errors by entropy, by its sum with information, by the latter alone."""
    doubt = binary_entropy(probability)
    made = []
    for value in (doubt, doubt + information, information):
        # Fine at both ends of many decades.
        place = (RANKS * (value / 1.5) ** (1 / 6)).astype(int)
        made.append([np.bincount(place, weight, RANKS) for weight in (None, wrong)])
    return np.array(made)


def _aurc(ranks, times):
    """Return the area under the risk-coverage curve, pixels pooled, for each resample."""
    pixels, errors = (times @ ranks[:, k] for k in (0, 1))
    # At the middle of each group.
    kept = np.maximum(np.cumsum(pixels, axis=1) - pixels / 2, 1e-9)
    risk = (np.cumsum(errors, axis=1) - errors / 2) / kept
    return (risk * pixels).sum(axis=1) / pixels.sum(axis=1)


def matched_auroc(pair, which, times):
    """
    Return how well a value tells unfamiliar from familiar pixels of equal probability.

    That is of equal entropy, on one side of 1/2. Familiar first: of each what was said and the
    exposures, and how often these count.
    """
    said = np.concatenate([said for said, _ in pair], axis=1)
    level, place = _place(said[0], _LEVELS), np.empty(said.shape[1], int)
    for i in range(_LEVELS):
        place[level == i] = i * _PLACES + _place(said[which, level == i], _PLACES)
    size = _LEVELS * _PLACES
    parts = np.split(place, [pair[0][1].size])
    old, new = (
        (
            each @ np.bincount(e * size + p, minlength=each.shape[1] * size).reshape(-1, size)
        ).reshape(-1, _LEVELS, _PLACES)
        for (_, e), p, each in zip(pair, parts, times, strict=True)
    )
    above = (new * (np.cumsum(old, axis=2) - old / 2)).sum(axis=2)
    pairs = old.sum(axis=2) * new.sum(axis=2)
    weight = pairs / np.maximum(old.sum(axis=2) + new.sum(axis=2), 1)
    return (weight * above / np.maximum(pairs, 1)).sum(axis=1) / weight.sum(axis=1)


def _in_doubt(found, test, m, s):
    """Return what one network says of the pixels that it doubts, and their exposures."""
    said = found[f"{test}_said"][m, s].astype(float)
    some = said[0] > _TRIVIAL
    return said[:, some], found[f"{test}_exposure"][some]


def _place(value, n):
    """Return the group of each pixel, of n of equal size in ascending order."""
    return np.argsort(np.argsort(value, kind="stable")) * n // value.size


def rows(n, found, methods):
    """
    Yield the rows of one size.

    Parameters
    ----------
    n : int
        Exposures trained on.
    found : dict of ndarray
        From ``scores_of`` of posterior_data.py.
    methods : sequence of str
        Their names; the first is the baseline.
    """
    tests = [k.removesuffix("_nll") for k in found if k.endswith("_nll")]
    times = {test: resamples(found[f"{test}_count"].size) for test in tests}
    for test in tests:
        nll, count, ranks = (found[f"{test}_{name}"] for name in ("nll", "count", "ranks"))
        # As it is and with its temperature; method, seed, resample.
        nll = np.einsum("bn,msnt->tmsb", times[test], nll) / (times[test] @ count)
        areas = np.array(
            [[[_aurc(order, times[test]) for order in one] for one in each] for each in ranks]
        ).swapaxes(1, 2)
        for m, method in enumerate(methods):
            drawn = m > 0
            by_entropy, by_sum, by_information = areas[m]
            told = [
                [_in_doubt(found, t, m, s) for t in ("familiar", "unfamiliar")]
                for s in range(nll.shape[2])
            ]
            auroc = [
                [matched_auroc(pair, k, list(times.values())) for pair in told]
                if drawn and test == "unfamiliar"
                else [np.full(2, np.nan)]
                for k in (1, 2)
            ]
            by_seed = 100 * (nll[0, m, :, 0] / nll[1, 0, :, 0] - 1)
            yield {
                "n_exposures": n,
                "set": test,
                "method": method,
                "nll": nll[0, m, :, 0].mean(),
                **_column("nll_change_percent", _percent(nll[0, m], nll[1, 0])),
                "seed_scatter": by_seed.std(ddof=1),
                **_column("tempered_change_percent", _percent(nll[1, m], nll[1, 0])),
                "temperature": found["temperature"][m].mean(),
                "aurc": by_entropy[:, 0].mean(),
                **_column("aurc_change_percent", _percent(by_entropy, areas[0][0])),
                **_column("aurc_with_mi_percent", _percent(by_sum, by_entropy), drawn),
                **_column("aurc_mi_percent", _percent(by_information, by_entropy), drawn),
                "mean_mi": np.mean([pair[tests.index(test)][0][1].mean() for pair in told]),
                "median_relative_sigma": found["relative"][m].mean(),
                "fitted": np.median(found["fitted"][m]),
                **_column("auroc_unfamiliar_mi", np.mean(auroc[0], axis=0)),
                "auroc_unfamiliar_std": np.mean(auroc[1], axis=0)[0],
            }


def _percent(new, old):
    """Return the change in percent of the mean over seeds, for each resample."""
    return 100 * (new.mean(axis=0) / old.mean(axis=0) - 1)


def _column(name, found, known=True):
    """Return the score, and where 95 % of the resamples are."""
    low, high = np.percentile(found[1:], (2.5, 97.5)) if known else (np.nan, np.nan)
    return {name: found[0] if known else np.nan, f"{name}_low": low, f"{name}_high": high}
