"""Is the new model better than the one it began from? Both on frames that neither has seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from astropy.table import Table
from scipy import ndimage

from cosmiq_astro._windows import TOUCHING
from cosmiq_astro.detector import CosmicRayDetector
from cosmiq_astro.training.datasets import draw_patch
from cosmiq_astro.training.network import doubt_of_prior

if TYPE_CHECKING:
    from cosmiq_astro.models.model import Model
    from cosmiq_astro.training.datasets import PairedDataset
    from cosmiq_astro.training.injection import InjectionDataset

__all__ = ["ModelComparison", "check_labels", "compare_models", "find_causes"]

_FPR = 5e-4
_MOST_PATCHES, _T = 64, 8
# Of log-odds: enough to read a rate of 0.05 % off the counts.
_EDGES = np.concatenate([[-np.inf], np.linspace(-18, 18, 721), [np.inf]])
_LEAST, _MOST = 1e-7, 1 - 1e-7
_N_RESAMPLES, _INTERVAL = 500, (0.05, 0.95)
_LACOSMIC = "L.A.Cosmic"
# What is said to be the cause where a model is worse than the one it began from.
_ONE_GROUP, _UNLIKE, _RICHER = 0.2, 2.0, 3.0


@dataclass(frozen=True)
class ModelComparison:
    """
    What `~cosmiq_astro.training.compare_models` returns.

    Attributes
    ----------
    table : `~astropy.table.Table`
        One row per model: ``model``, ``recall`` and ``precision`` at the
        model's threshold, ``tpr`` (detection rate at a false-positive rate of
        0.05 %), ``nll`` (nats per pixel) and ``silent`` (share flagged of the
        pixels that have no label), each with ``_low`` and ``_high``, the ends
        of 90 % intervals from a bootstrap over patches.
    n_patches, n_hit_pixels : int
        What they were scored on.
    worse : list of str
        In what the first model is worse than the second, beyond chance.
    """

    table: Table
    n_patches: int
    n_hit_pixels: int
    worse: list[str]

    def __str__(self):
        names = {"recall": "recall", "precision": "precision", "tpr": "TPR at FPR 0.05 %"}
        names |= {"nll": "NLL", "silent": "flagged without label"}
        shown = Table({"model": self.table["model"]})
        for name, title in names.items():
            form = ".5f" if name == "nll" else ".3f"
            columns = (self.table[f"{name}{end}"] for end in ("", "_low", "_high"))
            shown[title] = [
                f"{x:{form}} [{low:{form}}, {high:{form}}]" if np.isfinite(x) else "-"
                for x, low, high in zip(*columns, strict=True)
            ]
        return "\n".join(shown.pformat(max_lines=-1, max_width=-1, align="<"))


def compare_models(
    models: dict[str, Model],
    dataset: PairedDataset | InjectionDataset,
    *,
    patch_size: int = 128,
    seed: int = 0,
) -> ModelComparison:
    """
    Score models, and L.A.Cosmic with its defaults, on the same patches.

    Parameters
    ----------
    models : dict
        `~cosmiq_astro.models.model.Model` by name: the new one first, then the
        one that it began from.
    dataset : dataset
        Frames that none of them was trained, fitted or chosen on.
    patch_size : int, optional
        Side of the patches: 64 of them, at most two per area of the frames.
    seed : int, optional
        Seed of patches, draws and intervals.

    Returns
    -------
    comparison : `~cosmiq_astro.training.ModelComparison`
        A table, and in what the first is worse than the second.
    """
    size = dataset.cut_patch_size(patch_size, 4)
    n_patches = int(np.clip(round(2 * dataset.n_pixels / size**2), 8, _MOST_PATCHES))
    patches = [
        draw_patch(dataset, size, np.random.default_rng([seed, 7, i])) for i in range(n_patches)
    ]
    readnoise = getattr(dataset, "readnoise", None)
    counts = {name: _count(model, patches, seed) for name, model in models.items()}
    if readnoise is not None:
        counts[_LACOSMIC] = _count_lacosmic(patches, readnoise)
    rng = np.random.default_rng(seed)
    draws = rng.multinomial(n_patches, np.full(n_patches, 1 / n_patches), _N_RESAMPLES)
    once = np.ones((1, n_patches))
    rows, resampled = [], {}
    for name, count in counts.items():
        resampled[name] = _scores(count, draws)
        row = {"model": name}
        for key, value in _scores(count, once).items():
            drawn = resampled[name][key]
            drawn = drawn[np.isfinite(drawn)]
            low, high = np.quantile(drawn, _INTERVAL) if drawn.size else (np.nan, np.nan)
            row |= {key: float(value[0]), f"{key}_low": float(low), f"{key}_high": float(high)}
        rows.append(row)
    n_hit = int(sum((patch.label & patch.valid).sum() for patch in patches))
    worse = _worse(*list(resampled.values())[:2]) if len(models) > 1 else []
    return ModelComparison(Table(rows=rows), n_patches, n_hit, worse)


def _count(model, patches, seed):
    """Return of each patch what all scores are made of."""
    detector = CosmicRayDetector(model, device="cpu")
    sampling = "antithetic" if model.method == "vi" else "mean"
    settings = {"T": _T, "seed": seed, "sampling": sampling, "planes": ("probability",)}
    rows = []
    for patch in patches:
        image, hidden = np.nan_to_num(patch.image), ~patch.usable
        maps = detector(image, hidden, statistics=patch.statistics, **settings)
        p, y, good = maps.probability.astype(float), patch.label, patch.valid & patch.usable
        row = _count_flagged(patch, p >= model.threshold)
        p = np.clip(p, _LEAST, _MOST)
        logit = np.log(p) - np.log1p(-p)
        row["loss"] = -np.where(y, np.log(p), np.log1p(-p))[good].sum()
        row["hit"] = np.histogram(logit[good & y], _EDGES)[0]
        row["clean"] = np.histogram(logit[good & ~y], _EDGES)[0]
        rows.append(row)
    return _stacked(rows)


def _count_lacosmic(patches, readnoise):
    from ccdproc import cosmicray_lacosmic

    rows = []
    for patch in patches:
        image = np.where(patch.usable, patch.image, patch.statistics.sky).astype(np.float32)
        flagged = cosmicray_lacosmic(image, readnoise=readnoise)[1].astype(bool)
        rows.append(_count_flagged(patch, flagged))
    return _stacked(rows)


def _count_flagged(patch, flagged):
    """Return numbers of pixels with a label, hit, flagged and both; and without, and flagged."""
    good, silent = patch.valid & patch.usable, patch.usable & ~patch.valid
    y, there = patch.label[good], flagged[good]
    return {
        "n": np.array([y.size, y.sum(), there.sum(), (there & y).sum()], float),
        "silent": np.array([silent.sum(), flagged[silent].sum()], float),
    }


def _stacked(rows):
    return {key: np.stack([row[key] for row in rows]) for key in rows[0]}


def _scores(count, draws):
    """Return the scores of each resample of the patches, a row of ``draws`` each."""
    n, hit, flagged, found = (draws @ count["n"]).T
    with np.errstate(all="ignore"):
        n_silent, n_flagged = (draws @ count["silent"]).T
        scores = {"recall": found / hit, "precision": found / flagged}
        scores["silent"] = n_flagged / n_silent
        if "loss" not in count:
            return scores | dict.fromkeys(("tpr", "nll"), np.full(len(draws), np.nan))
        scores["nll"] = draws @ count["loss"] / n
        # From the most probable down.
        curves = ((draws @ count[kind])[:, ::-1] for kind in ("clean", "hit"))
        clean, hits = (np.cumsum(curve, axis=1) for curve in curves)
        n_allowed = _FPR * clean[:, -1]
        scores["tpr"] = np.array(list(map(np.interp, n_allowed, clean, hits))) / hit
    return scores


def _worse(new, start):
    """Say in what a model is worse, where the interval of the difference leaves no doubt."""
    worse = []
    low, high = _INTERVAL
    for key, name, sign in (("nll", "NLL", 1), ("tpr", "TPR at FPR 0.05 %", -1)):
        difference = sign * (new[key] - start[key])
        difference = difference[np.isfinite(difference)]
        if difference.size and np.quantile(difference, low) > 0:
            ends = np.quantile(sign * difference, (low, high))
            worse.append(f"its {name} differs by {ends[0]:+.2g} to {ends[1]:+.2g}")
    return worse


def check_labels(dataset):
    """
    Look for labels that are hardly those of cosmic rays.

    Parameters
    ----------
    dataset : dataset
        To train on.

    Returns
    -------
    warnings : list of str
        Sentences; none where nothing was found.
    """
    total = largest = 0
    for mask in getattr(dataset, "_masks", ()):
        groups, _ = ndimage.label(np.asarray(mask[:, :], dtype=bool), TOUCHING)
        sizes = np.bincount(groups.ravel())[1:]
        total += int(sizes.sum())
        largest = max(largest, int(sizes.max(initial=0)))
    # Of few pixels, one hit may be a fifth.
    if largest <= max(100, _ONE_GROUP * total):
        return []
    return [
        f"one group of pixels holds {100 * largest / total:.0f} % of all labelled pixels: a trail "
        "or a bleed? Look at the labels"
    ]


def find_causes(training, validation, history, kl_beta):
    """
    Look for what may have spoilt a training.

    Parameters
    ----------
    training, validation : dataset
        As trained and validated on.
    history : `~astropy.table.Table`
        Of the run.
    kl_beta : float
        Weight of the KL term.

    Returns
    -------
    causes : list of str
        Sentences; none where nothing was found.
    """
    causes = check_labels(training)
    best = int(np.argmin(history["val_loss"]))
    loss, val_loss = history["train_loss"][best], history["val_loss"][best]
    if val_loss > _UNLIKE * loss:
        causes.append(
            f"the validation loss ({val_loss:.3g}) is {val_loss / loss:.1f} times the training "
            "loss: the frames differ, or are too few; give more, or freeze layers"
        )
    rates = [_hit_rate(frames) for frames in (training, validation)]
    if min(rates) > 0 and max(rates) > _RICHER * min(rates):
        causes.append(
            f"{100 * rates[0]:.2g} % of the pixels are hit in training, {100 * rates[1]:.2g} % in "
            "validation"
        )
    if doubt := doubt_of_prior(kl_beta * history["kl"][-1], history["train_loss"][-1]):
        causes.append(doubt)
    return causes


def _hit_rate(dataset):
    rng = np.random.default_rng(0)
    size = dataset.cut_patch_size(128, 4)
    patches = [draw_patch(dataset, size, rng) for _ in range(32)]
    n_valid = sum(patch.valid.sum() for patch in patches)
    return sum((patch.label & patch.valid).sum() for patch in patches) / max(n_valid, 1)
