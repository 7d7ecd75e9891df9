"""
Would a wider or a narrower posterior say more? The widths of a model times a factor.

python benchmarks/posterior_scale.py --data DIR --work DIR [--model NAME] [--out docs/validation]

On the frames of transfer.py: the means alone (factor 0) and 16 draws, in the same two views, each
frame at the temperature that fits the six others of its optics that have another number.
"""

import argparse
import copy
import dataclasses
from pathlib import Path

import numpy as np
from _files import write
from _transfer_frames import CLEAN, FIELDS, GROUPS, HIT, Frames
from astropy.table import Table
from scipy.optimize import minimize_scalar
from scipy.special import logit

import cosmiq_astro as ca
from cosmiq_astro.models.layers import inverse_softplus, variational_layers

FACTORS = (0.0, 1.0, 4.0, 16.0)
T, LIMIT = 16, 30.0


def scaled(model, factor):
    """Return the model with the widths of its posterior times a factor."""
    network = copy.deepcopy(model.network)
    for layer in variational_layers(network).values():
        for part, sigma in layer.posterior_sigma().items():
            rho = inverse_softplus((factor * sigma).clamp_min(1e-8))
            getattr(layer, f"{part}_rho").data.copy_(rho)
    return dataclasses.replace(model, network=network, temperature=1.0)


def pixels(detector, frame):
    """Return logits, labels and mutual information of the pixels that count."""
    maps = detector(frame.image, readnoise=frame.readnoise, T=T, seed=0)
    chosen = (frame.truth == CLEAN) | (frame.truth == HIT)
    score = np.clip(logit(maps.probability[chosen].astype(float)), -LIMIT, LIMIT)
    doubt = maps.mutual_information[chosen][maps.probability[chosen] > 0.01].mean()
    return score, frame.truth[chosen] == HIT, float(doubt)


def nll(score, label, temperature):
    """Return the negative log-likelihood at a temperature, nat per pixel."""
    z = score / temperature
    return float(np.mean(np.logaddexp(0, np.where(label, -z, z))))


def fitted(parts):
    """Return the temperature that fits best."""
    score, label = (np.concatenate(p) for p in list(zip(*parts, strict=True))[:2])
    found = minimize_scalar(lambda t: nll(score, label, t), bounds=(0.3, 4), method="bounded")
    return float(found.x)


def main():
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--model", default="acs-wfc-vi")
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--out", type=Path, default=Path("docs/validation"))
    options = parser.parse_args()
    frames = Frames(options.data, options.work)
    model = ca.load_model(options.model)
    rows, first = [], {}
    for factor in FACTORS:
        detector = ca.CosmicRayDetector(scaled(model, factor), device="cpu")
        for group in GROUPS:
            specs = [(group, field, i) for field in FIELDS for i in range(3)]
            parts = {spec: pixels(detector, frames(*spec)) for spec in specs}
            values, doubt = [], []
            for held in range(3):
                fit = [parts[spec] for spec in specs if spec[2] != held]
                temperature = fitted(fit)
                for spec in specs:
                    if spec[2] == held:
                        values.append(nll(*parts[spec][:2], temperature))
                        doubt.append(parts[spec][2])
            values = np.array(values)
            first.setdefault(group, values)
            index = np.random.default_rng(0).integers(values.size, size=(options.resamples, 9))
            ratio = values[index].mean(1) / first[group][index].mean(1)
            row = {"factor": factor, "group": group, "nll": values.mean()}
            row["over_means"] = values.mean() / first[group].mean()
            row["low"], row["high"] = np.quantile(ratio, (0.025, 0.975))
            row["information"] = np.mean(doubt)
            rows.append(row)
            print(*row.values(), flush=True)
    write(
        Table(rows),
        options.out / "posterior_scale.ecsv",
        "The posterior's widths times a factor",
        "NLL (nat per pixel) of 16 draws and two views, each frame at the temperature that fits "
        "six others of its optics; over_means: over that of the means alone (factor 0), with 95 % "
        "intervals from frames drawn with replacement; information: mean mutual information of "
        "pixels with p > 0.01 (nat).",
    )


if __name__ == "__main__":
    main()
