"""How well uncertainty, hits or stars tell an unfamiliar frame from familiar ones."""

from functools import partial

import numpy as np
from photutils.detection import find_peaks
from scipy.ndimage import binary_dilation
from scipy.optimize import nnls
from scipy.stats import bootstrap, rankdata
from sklearn.covariance import LedoitWolf

from cosmiq_astro.calibration import roc_auc

__all__ = ["novelty_rows", "summarize"]

# Of the mean mutual information of one pass, nats.
ROUNDING = 1e-7
NOVELTIES = {"novelty of the hits": "novelty", "novelty of the stars": "star_novelty"}
AS_THEY_ARE = NOVELTIES | {"share of flagged pixels": "flagged"}
PEAKS = {"mutual information about hits": "hits", "mutual information about stars": "stars"}
# Fewer peaks in a frame, or familiar frames, tell too little.
LEAST_PEAKS, LEAST_FAMILIAR = 30, 20
# Of the pixel on top of a star, over the noise of the sky.
STAR_SNR = 15
# Pixels at 0, 1, sqrt 2, 2, sqrt 8, 3 and 4 pixels from a peak, with their opposites.
RINGS = (
    ((0, 0),),
    ((0, 1), (1, 0)),
    ((1, 1), (1, -1)),
    ((0, 2), (2, 0)),
    ((2, 2), (2, -2)),
    ((0, 3), (3, 0)),
    ((0, 4), (4, 0)),
)


def summarize(planes, threshold):
    """
    Return a frame's mean uncertainties, its novelty, and its densities of hits and of sources.

    Everything comes from what a user has: the image and its maps. The mutual information about
    hits and about stars comes with their number and mean logarithmic height over the noise.
    """
    p = planes["probability"]
    flagged = p >= threshold
    bright = ~flagged & (planes["image"] > planes["sky"] + 5 * planes["noise"])
    means = {name: float(planes[name].mean()) for name in ("mutual_information", "entropy")}
    densities = {"flagged": flagged.mean(), "bright": bright.mean()}
    profiles = _profiles(planes, flagged) if means["mutual_information"] > ROUNDING else {}
    return means | densities | profiles | {name: planes[name] for name in NOVELTIES.values()}


def _profiles(planes, flagged):
    """Return what `_profile` says of hits and stars, if there are enough of them."""
    edge = 5
    peaks = find_peaks(planes["image"], -np.inf, box_size=5, border_width=edge)
    y, x = peaks["y_peak"], peaks["x_peak"]
    height = (planes["image"][y, x] - planes["sky"]) / planes["noise"]
    alone = ~binary_dilation(flagged, np.ones((3, 3)), iterations=edge)
    where = {"hits": flagged[y, x], "stars": alone[y, x] & (height > STAR_SNR)}
    information = np.log(np.maximum(planes["mutual_information"], 1e-9))
    height = np.log(np.maximum(height, 1))
    return {
        name: (
            np.array([np.log(at.sum()), height[at].mean()]),
            _profile(information, y[at], x[at]),
        )
        for name, at in where.items()
        if at.sum() >= LEAST_PEAKS
    }


def _profile(information, y, x):
    """
    Return the mean logarithm of the mutual information in rings about peaks, and two elongations.

    These are mean differences, between rows and columns and between the diagonals, in units of
    their standard errors, by their inverse hyperbolic sine.
    """

    def at(offset):
        dy, dx = offset
        return (information[y + dy, x + dx] + information[y - dy, x - dx]) / 2

    rings = [np.mean([at(offset) for offset in ring]) for ring in RINGS]
    elongations = [at(one) - at(other) for one, other in (RINGS[3], RINGS[4])]
    errors = [values.std() / np.sqrt(values.size) for values in elongations]
    signs = [np.arcsinh(v.mean() / e) for v, e in zip(elongations, errors, strict=True)]
    return np.array(rings + signs)


def novelty_rows(tool, familiar, unfamiliar, *, n_resamples, seed):
    """
    Return rows of the area under the ROC of each statistic for each kind of frame.

    A mean over a frame is compared with what familiar frames of its densities
    have: a constant plus a share per flagged and per bright pixel, none of them
    negative, of least relative error. The statistic is the logarithm of the ratio; a
    familiar frame is judged by a fit to the others. What is about hits or stars is compared with
    that of familiar frames of as many peaks and of their height, in a linear fit: the statistic is
    the Mahalanobis distance, with the covariance of Ledoit & Wolf (2004, J. Multivar. Anal. 88,
    365). Novelties and the share of flagged pixels are taken as they are. The last two are of
    frames with hits or stars enough.

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
    usual = {name: _left_out(familiar, partial(_excess, name=name)) for name in names}
    rows = []
    for kind, frames in unfamiliar.items():
        unusual = {name: _excess(frames, familiar, name) for name in names}
        pairs = {name: (usual[name], unusual[name]) for name in names}
        if len(names) == 2:
            ratio = [
                values["mutual_information"] - values["entropy"] for values in (usual, unusual)
            ]
            pairs["mutual_information / entropy"] = ratio
        for name, key in PEAKS.items():
            both = [[s[key] for s in group if key in s] for group in (familiar, frames)]
            if len(both[0]) >= LEAST_FAMILIAR and both[1]:
                pairs[name] = [_left_out(both[0], _distances), _distances(both[1], both[0])]
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


def _left_out(frames, compare):
    """Return the comparison of each frame with all the others."""
    return np.concatenate(
        [compare([f], frames[:i] + frames[i + 1 :]) for i, f in enumerate(frames)]
    )


def _distances(profiles, others):
    """Return the squared Mahalanobis distances of profiles from others of the same densities."""
    target = np.array([profile for _, profile in others])
    shares = np.linalg.lstsq(_peaks(others), target, rcond=None)[0]
    rest, other = (
        np.array([profile for _, profile in group]) - _peaks(group) @ shares
        for group in (profiles, others)
    )
    scale = other.std(0)
    return LedoitWolf().fit(other / scale).mahalanobis(rest / scale)


def _peaks(profiles):
    return np.array([[1.0, *peaks] for peaks, _ in profiles])


def _densities(frames):
    return np.array([[1.0, s["flagged"], s["bright"]] for s in frames])


def _auroc(usual, unusual, n_resamples, seed):
    """Return the area under the ROC with its interval, frames drawn with replacement."""
    score = rankdata(np.concatenate([usual, unusual])) / (usual.size + unusual.size)
    label = np.arange(score.size) >= usual.size

    def auroc(p, y):
        return np.nan_to_num(roc_auc(p, y), nan=0.5)  # a resample may lack one class

    ends = bootstrap(
        (score, label), auroc, paired=True, vectorized=False, n_resamples=n_resamples, rng=seed
    ).confidence_interval
    return *ends, roc_auc(score, label)
