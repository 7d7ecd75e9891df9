"""The targets that the bundled models are held to, printed as pass or fail."""

import numpy as np
from _scores import CLASSES, FPR, upper_limit

__all__ = ["print_targets"]


def print_targets(tables, models):
    """
    Print one line per target for each model, as far as the tables go.

    Parameters
    ----------
    tables : dict
        Tables of scores by set; ``'c'`` is the table of real frames.
    models : list of str
        Names of the models.
    """
    for model in models:
        print(f"\nTargets, {model}")
        for part in "ab":
            if part in tables and "deepCR" in tables[part]["tool"]:
                _against_deepcr(part, tables[part], model)
        if "a" in tables:
            _stars(tables, "a", model)
            _stars(tables, "".join(part for part in "abe" if part in tables), model)
        if "c" in tables and "deepCR" in tables["c"]["tool"]:
            _real_stars(tables["c"], model)
        if "e" in tables:
            _conditions(tables["e"], model)


def _say(passed, text):
    print(f"  {'pass' if passed else 'FAIL'}  {text}")


def _row(table, tool, group):
    return table[(table["tool"] == tool) & (table["group"] == group)][0]


def _cells(table, tool):
    return table[(table["tool"] == tool) & table["is_cell"]]


def _against_deepcr(part, table, model):
    ours, theirs = _cells(table, model), _cells(table, "deepCR")
    pairs = [(np.asarray(ours[f"tpr@{n}"]), np.asarray(theirs[f"tpr@{n}"])) for n in FPR]
    # Where both find every pixel, neither is behind.
    level = np.any([(us <= them) & (us < 1) for us, them in pairs], axis=0)
    worse = ours["group"][level].tolist()
    _say(not worse, f"({part}) detection rate above deepCR's in every cell; not in {worse}")
    if part == "a":
        for name, limit in (("", 0.4), (" >5", 0.2)):
            ratio, low, high = _miss_ratio(ours, theirs, [f"tpr@{n}{name}" for n in FPR])
            text = f"(a) misses{name or ' of all'} / deepCR's: {ratio:.3f} [{low:.3f}, {high:.3f}]"
            _say(ratio <= limit, f"{text}, at most {limit}")
        for score in ("nll", "brier"):
            for name in ("deepCR Platt", "deepCR Platt in-sample"):
                if name in table["tool"]:
                    ratio = _row(table, model, "all")[score] / _row(table, name, "all")[score]
                    _say(ratio <= 0.5, f"(a) {score} / that of {name}: {ratio:.3f}, at most 0.5")
    else:
        name = f"tpr@0.5% {CLASSES[0]}"
        ratio, low, high = _miss_ratio(ours, theirs, [name])
        text = f"(b) misses {CLASSES[0]} sigma at 0.5% / deepCR's: {ratio:.3f}"
        _say(ratio <= 0.5, f"{text} [{low:.3f}, {high:.3f}], at most 0.5")


def _miss_ratio(ours, theirs, columns):
    """Return the ratio of misses averaged over cells and columns, cells drawn with replacement."""
    a, b = (np.mean([1 - np.asarray(t[c]) for c in columns], axis=0) for t in (ours, theirs))
    some = np.isfinite(a) & np.isfinite(b)
    a, b = a[some], b[some]
    drawn = np.random.default_rng(0).integers(0, a.size, (2000, a.size))
    low, high = np.quantile(a[drawn].mean(axis=1) / b[drawn].mean(axis=1), (0.025, 0.975))
    return a.mean() / b.mean(), low, high


def _stars(tables, parts, model):
    rows = [_row(tables[part], model, "all") for part in parts]
    flagged, stars = (int(sum(row[name] for row in rows)) for name in ("stars_flagged", "stars"))
    limit = upper_limit(flagged, stars)
    text = f"({', '.join(parts)}) {flagged} of {stars} star cores flagged"
    _say(limit <= 1e-4, f"{text}, below {limit:.1e}; at most 1e-4")


def _real_stars(table, model):
    sums = {}
    for tool in (model, "deepCR"):
        rows = table[(table["tool"] == tool) & (np.char.startswith(table["frame"], "HRC"))]
        sums[tool] = rows["stars_flagged"].sum(), np.nanmax(np.append(rows["hits_found"], 0))
    (stars, hits), (stars_peer, hits_peer) = sums.values()
    text = f"(c) HRC star cores flagged {stars}, deepCR {stars_peer}"
    _say(stars < stars_peer, text)
    _say(hits > hits_peer, f"(c) listed HRC hits found {hits:.3f}, deepCR {hits_peer:.3f}")


def _conditions(table, model):
    cells = _cells(table, model)
    worst = cells[np.argmax(cells["false_far"])]
    text = f"(e) false positives far from hits at most {worst['false_far']:.1e}"
    _say(worst["false_far"] <= 1e-5, f"{text}, in {worst['group']}; at most 1e-5")
    rows = table[table["tool"] == model]
    groups = {
        "exposure times": [group.endswith(" s") for group in rows["group"]],
        "sky levels": [group.startswith("sky") for group in rows["group"]],
        "cells": rows["is_cell"],
    }
    for name, chosen in groups.items():
        some = rows[chosen]
        rates = 1 - some["precision"]
        low, high = (_false_discovery(some[i]) for i in (np.argmin(rates), np.argmax(rates)))
        text = f"(e) false-discovery rate over {name}: {low} to {high}, at most twice"
        _say(rates.max() <= 2 * rates.min(), text)


def _false_discovery(row):
    text = f"{1 - row['precision']:.4f}"
    if "precision_low" in row.colnames:  # not without resamples
        text += f" [{1 - row['precision_high']:.4f}, {1 - row['precision_low']:.4f}]"
    return text
