"""
Fit the bundled baseline to one camera: exposures of one field, and injected hits.

python recipes/saao.py --data DIR --work DIR

DIR of --data holds saao_ste3_bulge_0082…0086.fits.gz (SAAO 1 m, I band, 300 s, a crowded field),
stis_ccd_1999.fits and itl_cosmic_rays_2017.fits.gz; --work gets labels, history, scores and model.
"""

import argparse
from pathlib import Path

import numpy as np
import real_hits
import torch
from astropy.io import fits
from astropy.table import QTable, vstack
from scipy.ndimage import binary_dilation

import cosmiq_astro as ca
from cosmiq_astro.calibration import (
    expected_calibration_error,
    negative_log_likelihood,
    tpr_at_fpr,
)
from cosmiq_astro.models.model import save_model
from cosmiq_astro.simulate import Footprints
from cosmiq_astro.training import (
    InjectionDataset,
    TrainingRun,
    TrainingSettings,
    calibrate,
    label_exposures,
    model_card,
    train,
)

NUMBERS = (82, 83, 84, 85, 86)
GAIN, READNOISE, SATURATED = 1.9, 5.0, 1.9 * 60_000
# Stars below this row train, those above it validate: the five exposures show one field.
BORDER = 256
VALIDATION, TEST = (0, 1), (2, 3, 4)
GENERIC = "acs-wfc-unet"
SEED = 20261122

DATA = """\
Five consecutive 300 s I-band exposures of one crowded bulge field (SAAO 1 m, frames 0082 to 0086),
made by `recipes/saao.py`: rows below 256 of all five for training, rows above of 0082 and 0083 for
the choice of the epoch, temperature and threshold and the scores below. Hits that
`label_exposures` found in them were left out of the loss; hits of a thick LSST CCD (ITL) and of
HST/STIS were injected, those of the validation from other hits and exposures. Begun from
acs-wfc-unet. The field is one, and so is the seeing of that night."""


def hits(data, part):
    """Return real hits of two cameras; those of the parts differ."""
    itl = real_hits.itl_hits(data / "itl_cosmic_rays_2017.fits.gz", part)
    frames = {
        "training": real_hits.STIS_TRAINING,
        "validation": real_hits.STIS_VALIDATION,
    }[part]
    stis = real_hits.stis_hits(data / "stis_ccd_1999.fits", frames)
    few = np.random.default_rng(SEED).permutation(len(stis))[: 3 * len(itl)]
    return Footprints.concatenate([itl, stis.take(few)])


def injected(labels, exposures, rows, library):
    """Return the rows of some exposures as a dataset, their own hits left out."""
    return InjectionDataset(
        [labels.images[i][rows] for i in exposures],
        library,
        masks=[binary_dilation(labels.masks[i], iterations=2)[rows] for i in exposures],
        readnoise=READNOISE,
        satlevel=SATURATED,
        density=(2e-4, 2e-3),
    )


def score_injected(model, dataset, n_patches=12):
    """Score a model on exposures with new hits."""
    detector = ca.CosmicRayDetector(model, device="cpu")
    probability, label = [], []
    for i in range(n_patches):
        rng = np.random.default_rng([SEED, i])
        patch = dataset.patch(i % dataset.n_frames, BORDER, rng)
        found = detector(patch.image, ~patch.usable, readnoise=READNOISE).probability
        probability.append(found[patch.valid])
        label.append(patch.label[patch.valid])
    p, y = np.concatenate(probability), np.concatenate(label)
    flagged = p >= model.threshold
    return {
        "nll": negative_log_likelihood(p, y),
        "ece": expected_calibration_error(p, y),
        "tpr_at_0.0005": tpr_at_fpr(p, y, fpr=5e-4),
        "precision": y[flagged].mean(),
        "recall": flagged[y].mean(),
    }


def score_real(model, labels, rows):
    """Score a model on the hits that the exposures really have."""
    detector = ca.CosmicRayDetector(model, device="cpu")
    hit = found = false = n = 0
    for i in TEST:
        p = detector(labels.images[i][rows], readnoise=READNOISE).probability
        flagged = p >= model.threshold
        mask, known = labels.masks[i][rows], ~labels.ignore[i][rows]
        hit, found = hit + (mask & known).sum(), found + (mask & known & flagged).sum()
        false, n = false + (flagged & known & ~mask).sum(), n + (known & ~mask).sum()
    return {"real_recall": found / hit, "real_false_rate": false / n, "real_hit_pixels": hit}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=25)
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    # Subnormal numbers slow convolutions down several times; a script may set this, a library not.
    torch.set_flush_denormal(True)
    paths = [arguments.data / f"saao_ste3_bulge_{n:04d}.fits.gz" for n in NUMBERS]
    labels = label_exposures(
        [fits.getdata(path) for path in paths],
        gain=GAIN,
        readnoise=READNOISE,
        satlevel=SATURATED,
        offsets="measure",
    )
    print(labels.report, f"{100 * labels.labelled_fraction:.2f} % labelled", sep="\n")
    labels.report.meta["title"] = "Labels of five exposures of a crowded field (SAAO 1 m)"
    labels.report.write(arguments.work / "saao_labels.ecsv", overwrite=True)
    low, high = np.s_[:BORDER], np.s_[BORDER:]
    other_hits = hits(arguments.data, "validation")
    training = injected(labels, range(len(NUMBERS)), low, hits(arguments.data, "training"))
    validation = injected(labels, VALIDATION, high, other_hits)
    test = injected(labels, TEST, high, other_hits)
    result = train(
        training,
        validation=validation,
        init=GENERIC,
        epochs=arguments.epochs,
        seed=SEED,
        settings=TrainingSettings(learning_rate=5e-4, batch_size=8),
        run=TrainingRun(
            device="cpu",
            checkpoint=arguments.work / "saao-unet.ckpt",
            name="saao-unet",
            instrument="SAAO 1 m, STE3 CCD",
            progress_bar=True,
        ),
    )
    generic = ca.load_model(GENERIC)
    model, scores = calibrate(
        result.model, validation, start=generic, patch_size=BORDER, n_patches=16
    )
    result.history.write(arguments.work / "saao_history.ecsv", overwrite=True)
    card = model_card(model, result.history, scores, data=DATA)
    save_model(model, arguments.work / "saao-unet", card=card, overwrite=True)
    rows = []
    for name, now in (
        (GENERIC, generic),
        (
            f"{GENERIC}, calibrated here",
            calibrate(generic, validation, patch_size=BORDER, n_patches=16)[0],
        ),
        (f"{GENERIC}, fine-tuned", model),
    ):
        found = score_injected(now, test) | score_real(now, labels, high)
        rows.append(QTable(rows=[{"model": name} | {k: float(v) for k, v in found.items()}]))
    table = vstack(rows)
    for name in table.colnames[1:]:
        table[name].info.format = ".0f" if name == "real_hit_pixels" else ".4f"
    table.meta = {
        "title": "Baselines on a camera on the ground, before and after fine-tuning",
        "nll to recall": "injected hits, on halves of three exposures that were not trained on",
        "real": "hits that the exposures have themselves, by comparison with the four others",
        "command": "python recipes/saao.py --data DIR --work DIR",
    }
    table.write(arguments.work / "saao_scores.ecsv", overwrite=True)
    print("\n".join(table.pformat(max_width=-1)))


if __name__ == "__main__":
    main()
