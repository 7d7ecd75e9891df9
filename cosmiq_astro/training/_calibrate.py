"""
After training: temperature, threshold, familiar hits and stars, and the card that says so.

A module ``calibrate`` would stand in the package in place of the function of that name.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from astropy.table import QTable
from scipy.special import expit

from cosmiq_astro import calibration
from cosmiq_astro.familiarity.hits import HIT, describe_hits, fit_familiar_hits
from cosmiq_astro.familiarity.stars import fit_familiar_stars, measure_stars
from cosmiq_astro.inference.sampling import computing, draw_weights, network_of
from cosmiq_astro.models.last_block import drawn_before
from cosmiq_astro.preprocess import normalize, subtract_sky
from cosmiq_astro.training.datasets import draw_patch, make_batch
from cosmiq_astro.training.network import Teacher

if TYPE_CHECKING:
    from astropy.table import Table

    from cosmiq_astro.models.model import Model
    from cosmiq_astro.training._frames import Frames

_BATCH = 8


def calibrate(
    model: Model,
    validation: Frames,
    *,
    start: Model | None = None,
    T: int = 16,
    n_patches: int = 64,
    patch_size: int = 256,
    seed: int = 0,
) -> tuple[Model, QTable]:
    """
    Fit a model's temperature and threshold on half of the validation frames, score on the rest.

    The temperature minimises the negative log-likelihood of the mean over
    ``T`` draws, each draw's logits divided by it (Guo et al. 2017,
    arXiv:1706.04599, section 4.2); the threshold maximises F1 after that,
    which weighs precision and recall alike. Both are fitted on one half of the frames
    and all scores come from the other, so that no frame judges what was
    fitted on it. Where the epoch was chosen by the loss on these frames, that
    choice has seen both halves.

    The model also gets to know what hits look like to it and of what shape
    stars are, so that a detection can tell unfamiliar ones: from eight times as
    many patches, half of them of each half of the frames. Hits need layers that
    no draw changes before the last block, and two patches with hits per feature
    or more; stars need 100 patches with ten of them.

    Parameters
    ----------
    model : `~cosmiq_astro.models.model.Model`
        A trained model; its network is used where it is, on CPU or GPU.
    validation : dataset
        Frames that the model was not trained on.
    start : `~cosmiq_astro.models.model.Model`, optional
        What training began from, with the same input channels. Where labels say
        nothing, its probabilities stand for them when the threshold is chosen;
        no score counts them.
    T : int, optional
        Weight draws for a variational model.
    n_patches, patch_size : int, optional
        How much to look at in each half.
    seed : int, optional
        Seed of the split, the patches and the draws.

    Returns
    -------
    model : `~cosmiq_astro.models.model.Model`
        The same network with ``temperature``, ``threshold``, ``familiar_hits``,
        ``familiar_stars`` and ``operating_curve`` set, the last of the half that
        nothing was fitted on.
    scores : `~astropy.table.QTable`
        One row of scores on the half that nothing was fitted on, after the
        temperature: NLL, ECE, detection rates at false-positive rates of
        0.05 % and 0.5 %, and precision and recall at the threshold.

    Raises
    ------
    ValueError
        If the validation frames cannot be parted, or ``start`` has other
        input channels.
    """
    if start is not None and start.network.config.channels != model.network.config.channels:
        raise ValueError(
            f"start sees {start.network.config.channels}, the model "
            f"{model.network.config.channels}: give the one that training began from"
        )
    to_fit, to_score = halves(validation, seed=seed)
    size = min(part.cut_patch_size(patch_size, model.network.grid) for part in (to_fit, to_score))
    sampling = "antithetic" if model.method == "vi" else "mean"
    networks = [
        network_of(network, weights, view=view)
        for network, weights in draw_weights(model.networks, T, sampling=sampling, seed=seed)
        for view in range(model.network.config.views)
    ]
    device = model.network.head.weight.device
    with computing(device, "float32"):
        teacher = None if start is None else Teacher(start, device)
        found = _logits(networks, to_fit, n_patches, size, (seed, 0), teacher)
        logits, labels, silent, told = found
        temperature = float(calibration.fit_temperature(logits, labels, from_logits=True))
        threshold = _threshold(_mean(logits, temperature), labels, _mean(silent, temperature), told)
        logits, labels, *_ = _logits(networks, to_score, n_patches, size, (seed, 1))
        hits, stars = _describe(networks[0], to_fit, 4 * n_patches, size, (seed, 2))
        other_hits, other_stars = _describe(networks[0], to_score, 4 * n_patches, size, (seed, 3))
    probability = _mean(logits, temperature)
    is_mixed = 0 < labels.mean() < 1
    fitted = replace(
        model,
        temperature=temperature,
        threshold=threshold,
        familiar_hits=None
        if drawn_before(model.network, "last block")
        else fit_familiar_hits(hits, other_hits),
        familiar_stars=fit_familiar_stars(stars + other_stars),
        operating_curve=calibration.operating_curve(probability, labels) if is_mixed else None,
    )
    return fitted, _scores(probability, labels, threshold)


def halves(validation, *, seed):
    """
    Part validation frames into those to fit on and those to score on.

    Half of the visits each, chosen by a seed; the two sides of each frame where there is one
    visit only. ValueError if they cannot be parted.
    """
    if validation.n_visits > 1:
        return validation.split(0.5, seed=seed)
    if not hasattr(validation, "split_within"):
        raise ValueError(
            "validation has 1 visit; temperature and threshold are fitted on some frames and "
            "scored on others: give two or more"
        )
    return validation.split_within(0.5, axis=1)


def _threshold(probability, labels, silent, told):
    """Return the threshold of the largest F1; of pixels without a label, of the F1 expected."""
    probability = np.concatenate([probability, silent, silent])
    weight = np.concatenate([np.ones_like(labels), told, 1 - told])
    labels = np.concatenate([labels, np.ones_like(told), np.zeros_like(told)])
    return float(calibration.choose_threshold(probability, labels, weight=weight, f_beta=1.0))


def _mean(logits, temperature):
    """Return the mean probability over the draws, shape (n,)."""
    return expit(logits / temperature).mean(axis=0)


def _scores(probability, labels, threshold):
    """Return the scores of one half, one row."""
    at_threshold = probability >= threshold
    scores = {
        "nll": calibration.negative_log_likelihood(probability, labels),
        "ece": calibration.expected_calibration_error(probability, labels),
        "tpr_at_0.0005": calibration.tpr_at_fpr(probability, labels, fpr=5e-4),
        "tpr_at_0.005": calibration.tpr_at_fpr(probability, labels, fpr=5e-3),
        "precision": labels[at_threshold].mean() if at_threshold.any() else np.nan,
        "recall": at_threshold[labels > 0].mean() if labels.any() else np.nan,
        "n_pixels": labels.size,
        "hit_fraction": labels.mean(),
    }
    return QTable(rows=[{k: float(v) for k, v in scores.items()}])


@torch.inference_mode()
def _describe(network, frames, n_patches, size, seed):
    """Return of each patch what the last block sees at its hits, and the shape of its stars."""
    hits, stars = [], []
    margin, channels = network.grid, network.config.channels
    inside = slice(margin, margin + size)
    for i in range(n_patches):
        rng = np.random.default_rng([*seed, i])
        patch = draw_patch(frames, size, rng)
        pixels = subtract_sky(patch.image, patch.usable, patch.statistics.sky)
        inputs = normalize(np.pad(pixels, margin, mode="symmetric"), patch.statistics, channels)
        features = network.features(_on_device_of(network, inputs[None]))
        logits = network.finish(features)[0, 0, inside, inside].cpu()
        probability = torch.sigmoid(logits) * torch.from_numpy(patch.usable)
        hits.append(describe_hits(features[0, :, inside, inside].cpu()[:, probability > HIT]))
        stars.append(measure_stars(pixels, probability.numpy(), patch.statistics.noise))
    return hits, stars


@torch.inference_mode()
def _logits(networks, frames, n_patches, size, seed, teacher=None):
    """
    Return logits of each draw, shape (T, n), and labels, of all valid pixels; and of the others.

    The latter are none without a teacher, whose probabilities they have as labels.
    """
    network, parts = networks[0], []
    for start in range(0, n_patches, _BATCH):
        rng = np.random.default_rng([*seed, start])
        channels, margin = network.config.channels, network.grid
        batch = make_batch(frames, _BATCH, size, channels, rng, margin=margin)
        inputs, label, valid, silent = batch
        inputs = _on_device_of(network, inputs)
        if teacher is None:
            silent, told = np.zeros_like(valid), label
        else:
            told = teacher.probability(inputs).cpu().numpy()
        logits = np.stack([network(inputs).cpu().numpy() for network in networks])
        parts.append((logits[:, valid], label[valid], logits[:, silent], told[silent]))
    return tuple(np.concatenate(part, axis=-1) for part in zip(*parts, strict=True))


def _on_device_of(network, inputs):
    inputs = torch.from_numpy(inputs).to(network.head.weight.device)
    return inputs.contiguous(memory_format=torch.channels_last)


_CARD = """# {model.name}

{kind} for cosmic rays in single exposures of {instrument}.

## Label

A pixel is a cosmic ray where the charge that a hit left in it exceeds three standard deviations of
the local noise without the hit (source, sky and read noise). Pixels with a smaller charge, or whose
label could not be decided, count in no score. The probability is the probability of this label.

## Network and input

U-Net with {maps} feature maps at each level, {parameters:,}
parameters{variational}.
Input channels of the image in electrons: {channels}.

## Training

{data}

{n_epochs} epochs, the best one by validation loss taken. Settings: {settings}.

## Scores

On validation frames that neither temperature nor threshold was fitted on: {n_pixels:.3g} pixels,
{hit_fraction:.2f} % of them hit.

| | |
|---|---|
{scores}
| threshold (largest F1) | {model.threshold:.3f} |
| temperature | {model.temperature:.3f} |

## Limits

{limits}
"""

_SCORES = {
    "nll": "negative log-likelihood, nats per pixel",
    "ece": "expected calibration error",
    "tpr_at_0.0005": "detection rate at a false-positive rate of 0.05 %",
    "tpr_at_0.005": "detection rate at a false-positive rate of 0.5 %",
    "precision": "precision at the threshold",
    "recall": "recall at the threshold",
}
_LIMITS = (
    "Exposures unlike those of the training (other instruments, filters, exposure times, seeing, "
    "crowding) lie outside what was learned; there the probability need not be calibrated."
)


def model_card(
    model: Model, history: Table, scores: QTable, *, data: str, limits: str = _LIMITS
) -> str:
    """
    Write the card of a trained and calibrated model.

    Parameters
    ----------
    model : `~cosmiq_astro.models.model.Model`
        From `~cosmiq_astro.training.calibrate`.
    history : `~astropy.table.Table`
        Of the `~cosmiq_astro.training.TrainingResult`.
    scores : `~astropy.table.QTable`
        From `~cosmiq_astro.training.calibrate`.
    data : str
        What it was trained and validated on: names, numbers, dates, how the
        labels were made, and the command.
    limits : str, optional
        Where it should not be trusted.

    Returns
    -------
    card : str
        Markdown, for `~cosmiq_astro.models.model.save_model`.
    """
    config, row = model.network.config, scores[0]
    kind, variational = "A deterministic U-Net", ""
    if model.method == "vi":
        kind = "A variational (Bayesian) U-Net"
        variational = f", Gaussian posteriors over the layers {', '.join(config.variational)}"
    return _CARD.format(
        model=model,
        n_pixels=row["n_pixels"],
        kind=kind,
        instrument=model.instrument or "an unnamed instrument",
        maps=", ".join(map(str, config.maps)),
        parameters=model.n_parameters,
        variational=variational,
        channels=", ".join(config.channels),
        data=data.strip(),
        n_epochs=len(history),
        settings=", ".join(f"{key}={value}" for key, value in history.meta.items()),
        hit_fraction=100 * row["hit_fraction"],
        scores="\n".join(f"| {text} | {row[name]:.5g} |" for name, text in _SCORES.items()),
        limits=limits.strip(),
    )
