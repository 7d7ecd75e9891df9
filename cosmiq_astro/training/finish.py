"""After training: temperature and threshold fitted on validation frames."""

from dataclasses import replace

import numpy as np
import torch
from astropy.table import QTable

from cosmiq_astro.calibration import (
    choose_threshold,
    expected_calibration_error,
    fit_temperature,
    negative_log_likelihood,
    tpr_at_fpr,
)
from cosmiq_astro.inference.sampling import draw_networks
from cosmiq_astro.training.datasets import make_batch

__all__ = ["calibrate"]

_BATCH = 8


def calibrate(model, validation, *, T=16, n_patches=64, patch_size=256, seed=0):
    """
    Fit a model's temperature and threshold on validation frames.

    The temperature minimises the negative log-likelihood of the mean over
    ``T`` draws, each draw's logits divided by it (Guo et al. 2017,
    arXiv:1706.04599, section 4.2); the threshold maximises F1 after that.

    Parameters
    ----------
    model : `~cosmiq_astro.models.checkpoint.Model`
        A trained model.
    validation : dataset
        Frames that the model was not trained on.
    T : int, optional
        Weight draws for a variational model.
    n_patches, patch_size : int, optional
        How much to look at.
    seed : int, optional
        Seed of patches and draws.

    Returns
    -------
    model : `~cosmiq_astro.models.checkpoint.Model`
        The same network with ``temperature`` and ``threshold`` set.
    scores : `~astropy.table.QTable`
        One row of scores on the same patches, after the temperature: NLL,
        ECE, detection rates at false-positive rates of 0.05 % and 0.5 %, and
        precision and recall at the threshold.
    """
    logits, labels = _validation_logits(model, validation, T, n_patches, patch_size, seed)
    temperature = float(fit_temperature(logits, labels, from_logits=True))
    probability = (1 / (1 + np.exp(-logits / temperature))).mean(axis=0)
    threshold = float(choose_threshold(probability, labels, f_beta=1))
    at_threshold = probability >= threshold
    scores = {
        "nll": negative_log_likelihood(probability, labels),
        "ece": expected_calibration_error(probability, labels),
        "tpr_at_0.0005": tpr_at_fpr(probability, labels, fpr=5e-4),
        "tpr_at_0.005": tpr_at_fpr(probability, labels, fpr=5e-3),
        "precision": labels[at_threshold].mean(),
        "recall": at_threshold[labels > 0].mean(),
        "n_pixels": labels.size,
        "hit_fraction": labels.mean(),
    }
    fitted = replace(model, temperature=temperature, threshold=threshold)
    return fitted, QTable(rows=[{k: float(v) for k, v in scores.items()}])


@torch.inference_mode()
def _validation_logits(model, validation, T, n_patches, patch_size, seed):
    """Return the logits of each draw, shape (T, n), and the labels, of all valid pixels."""
    sampling = "antithetic" if model.method == "vi" else "mean"
    networks = draw_networks(model.network, T, sampling=sampling, seed=seed)
    channels = model.network.config.channels
    logits, labels = [], []
    for start in range(0, n_patches, _BATCH):
        rng = np.random.default_rng([seed, start])
        inputs, label, valid = make_batch(validation, _BATCH, patch_size, channels, rng)
        inputs = torch.from_numpy(inputs).contiguous(memory_format=torch.channels_last)
        logits.append(np.stack([network(inputs).numpy()[valid] for network in networks]))
        labels.append(label[valid])
    return np.concatenate(logits, axis=1), np.concatenate(labels)
