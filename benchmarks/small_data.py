"""
Does a posterior know less when it has seen less?

python benchmarks/small_data.py [--seeds 2] [--epochs 40] [--out docs/validation]

Small networks (8 feature maps, each layer variational) learn from 1, 4, 16 and 64 exposures of one
camera, from nothing: first the baseline, then, from its weights, the posterior. Both are scored on
other exposures of that camera and of a strange one (seeing of 3 pixels, brighter sky), one view
each, with a temperature fitted on validation exposures of the first camera.
"""

import argparse
import dataclasses
import warnings
from pathlib import Path

import numpy as np
from _files import write
from astropy.table import Table

import cosmiq_astro as ca
from cosmiq_astro.calibration import aurc, fit_temperature, negative_log_likelihood
from cosmiq_astro.models.layers import variational_layers
from cosmiq_astro.simulate import (
    cosmic_ray_footprints,
    expose,
    hst_psf,
    label_from_charge,
    moffat_psf,
    simulate_scene,
)
from cosmiq_astro.training import PairedDataset, TrainingRun, TrainingSettings, train

SIZE, READNOISE, T = 128, 4.5, 16
FIELDS = ("extragalactic", "globular", "galaxy")
NUMBERS = (1, 4, 16, 64)
STEPS_OF = 64  # each network sees the pixels of this many exposures per epoch
N_VALIDATION, N_TEST = 6, 18
CAMERAS = {
    "familiar": (lambda: hst_psf(606), 0.06),
    "strange": (lambda: moffat_psf(3.0), 2.0),
}


def exposures(camera, n, seed):
    """Return images, labels and ignored pixels of a camera."""
    make_psf, sky = CAMERAS[camera]
    psf, planes = make_psf(), []
    for i, child in enumerate(np.random.SeedSequence(seed).spawn(n)):
        rng = np.random.default_rng(child)
        scene = simulate_scene((SIZE, SIZE), FIELDS[i % 3], psf, seed=rng)
        library = cosmic_ray_footprints(60, seed=rng)
        hits = library.paste((SIZE, SIZE), rng.poisson(40), rng)
        image, expected, charge = expose(
            scene.rate,
            rng.uniform(300, 1000),
            hits,
            seed=rng,
            defects=False,
            readnoise=READNOISE,
            sky_rate=sky,
        )
        noise = np.sqrt(np.maximum(expected, 0) + READNOISE**2)
        planes.append((image, *label_from_charge(charge, noise)))
    return [list(plane) for plane in zip(*planes, strict=True)]


def found(model, frames):
    """Return p, mutual information and label of the pixels that count."""
    detector = ca.CosmicRayDetector(model, device="cpu")
    p, information, label = [], [], []
    for image, hit, ignore in zip(*frames, strict=True):
        maps = detector(image, readnoise=READNOISE, T=T, seed=1)
        p.append(maps.probability[~ignore])
        information.append(maps.mutual_information[~ignore])
        label.append(hit[~ignore])
    return [np.concatenate(parts) for parts in (p, information, label)]


def tempered(model, frames):
    """Return the model with the temperature that fits the frames."""
    p, _, label = found(model, frames)
    return dataclasses.replace(model, temperature=fit_temperature(p, label).temperature)


def width(model):
    """Return the median of the posterior's widths over its means, 0 without a posterior."""
    widths = [
        (sigma / getattr(layer, part).abs()).flatten()
        for layer in variational_layers(model.network).values()
        for part, sigma in layer.posterior_sigma().items()
    ]
    return float(np.median(np.concatenate([w.numpy() for w in widths]))) if widths else 0.0


def trained(pairs, validation, n, epochs, seed):
    """Return the baseline and the variational model."""
    quiet = TrainingRun(device="cpu")
    settings = TrainingSettings(patch_size=64, batch_size=8, variational=("*",))
    common = {"validation": validation, "seed": seed, "settings": settings, "run": quiet}
    epochs = epochs * STEPS_OF // n
    baseline = train(pairs, hidden=8, epochs=epochs, **common).model
    return baseline, train(pairs, bayesian=True, init=baseline, epochs=epochs // 4, **common).model


def rows_of(n, seed, epochs, frames):
    """Yield a row for each model and camera."""
    training, validation, test = frames
    training = [plane[:n] for plane in training]
    pairs, held = (PairedDataset(*f, readnoise=READNOISE) for f in (training, validation))
    for name, model in zip(("baseline", "vi"), trained(pairs, held, n, epochs, seed), strict=True):
        model = tempered(model, validation)
        for camera, scored in test.items():
            p, information, label = found(model, scored)
            row = {"exposures": n, "seed": seed, "method": name, "camera": camera}
            row |= {"width": width(model), "nll": negative_log_likelihood(p, label)}
            row |= {"aurc": aurc(p, label), "information": information[p > 0.01].mean()}
            yield row


def main():
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--out", type=Path, default=Path("docs/validation"))
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    test = {name: exposures(name, N_TEST, 300) for name in CAMERAS}
    rows = []
    for seed in range(options.seeds):
        frames = (
            exposures("familiar", NUMBERS[-1], 100 + seed),
            exposures("familiar", N_VALIDATION, 200 + seed),
        )
        for n in NUMBERS:
            for row in rows_of(n, seed, options.epochs, (*frames, test)):
                rows.append(row)
                print(*row.values(), flush=True)
    write(
        Table(rows),
        options.out / "small_data.ecsv",
        "Networks that have seen less",
        "Small networks trained on some exposures, scored on others of the same camera and of a "
        "strange one. width: median of the posterior's standard deviations over the means; nll: "
        "nats per pixel; information: mean mutual information of pixels with p > 0.01 (nat).",
    )


if __name__ == "__main__":
    main()
