"""How well uncertainty, hits or stars tell an unfamiliar frame from familiar ones."""

import numpy as np
from scipy.optimize import nnls
from scipy.stats import rankdata

from cosmiq_astro.calibration import bootstrap_interval, roc_auc

__all__ = ["novelty_rows", "summarize"]

# Of the mean mutual information of one pass, nats.
ROUNDING = 1e-7
NOVELTIES = {"novelty of the hits": "novelty", "novelty of the stars": "star_novelty"}
AS_THEY_ARE = NOVELTIES | {"share of flagged pixels": "flagged"}


def summarize(planes, threshold):
    """
    Return a frame's mean uncertainties, its novelty, and its densities of hits and of sources.

    Everything comes from what a user has: the image and its maps.
    """
    p = planes["probability"]
    flagged = p >= threshold
    bright = ~flagged & (planes["image"] > planes["sky"] + 5 * planes["noise"])
    means = {name: float(planes[name].mean()) for name in ("mutual_information", "entropy")}
    densities = {"flagged": flagged.mean(), "bright": bright.mean()}
    return means | densities | {name: planes[name] for name in NOVELTIES.values()}


def novelty_rows(tool, familiar, unfamiliar, *, n_resamples, seed):
    """
    Return rows of the area under the ROC of each statistic for each kind of frame.

    A mean over a frame is compared with what familiar frames of its densities
    have: a constant plus a share per flagged and per bright pixel, none of them
    negative, of least relative error. The statistic is the logarithm of the ratio; a
    familiar frame is judged by a fit to the others. Novelties, of the frames with hits or stars
    enough, and the share of flagged pixels are taken as they are.

    Parameters
    ----------
    tool : str
        Its name, for the table.
    familiar : list of dict
        From `summarize`.
    unfamiliar : dict of list of dict
        The same for each kind.
    """
    names = ("entropy", "mutual_information")
    if min(s["mutual_information"] for s in familiar) <= ROUNDING:
        names = ("entropy",)
    usual = {name: _left_out(familiar, name) for name in names}
    rows = []
    for kind, frames in unfamiliar.items():
        unusual = {name: _excess(frames, familiar, name) for name in names}
        pairs = {name: (usual[name], unusual[name]) for name in names}
        if len(names) == 2:
            ratio = [
                values["mutual_information"] - values["entropy"] for values in (usual, unusual)
            ]
            pairs["mutual_information / entropy"] = ratio
        for name, key in AS_THEY_ARE.items():
            both = [np.array([s[key] for s in group]) for group in (familiar, frames)]
            if all(np.isfinite(values).any() for values in both):
                pairs[name] = [values[np.isfinite(values)] for values in both]
        for name, (few, many) in pairs.items():
            low, high, auroc = _auroc(few, many, n_resamples, seed)
            row = {"tool": tool, "kind": kind, "statistic": name, "n_frames": many.size}
            row |= {"auroc": auroc, "auroc_low": low, "auroc_high": high}
            alarms = name in NOVELTIES
            row["above_1"] = np.mean(many > 1) if alarms else np.nan
            rows.append(row | {"familiar_above_1": np.mean(few > 1) if alarms else np.nan})
    return rows


def _excess(frames, others, name):
    """Return the logarithm of a mean over that which others of the same densities have."""
    target = np.array([s[name] for s in others])
    shares, _ = nnls(_densities(others) / target[:, None], np.ones(target.size))
    return np.log([s[name] for s in frames] / (_densities(frames) @ shares))


def _left_out(frames, name):
    """Return `_excess` of each frame over all the others."""
    return np.concatenate(
        [_excess([f], frames[:i] + frames[i + 1 :], name) for i, f in enumerate(frames)]
    )


def _densities(frames):
    return np.array([[1.0, s["flagged"], s["bright"]] for s in frames])


def _auroc(usual, unusual, n_resamples, seed):
    """Return the area under the ROC with its interval, frames drawn with replacement."""
    score = rankdata(np.concatenate([usual, unusual])) / (usual.size + unusual.size)
    label = np.arange(score.size) >= usual.size
    # A resample may lack one class.
    ends = bootstrap_interval(
        lambda t: np.nan_to_num(roc_auc(t), nan=0.5),
        score,
        label,
        image=np.arange(score.size),
        n_resamples=n_resamples,
        seed=seed,
    )
    return *ends, roc_auc(score, label)
