"""
Train the bundled models acs-wfc-unet and acs-wfc-vi.

python recipes/acs_wfc.py --data DIR --work DIR [--init NAME] [--stage trunk|unet|vi|all]

DIR of --data holds stis_ccd_1999.fits, tinytim_acs_wfc/ and cosmos2020_sample.fits.gz;
--work keeps scenes, checkpoints and histories, so that an interrupted run goes on. Version 2 began
from version 1 (--init acs-wfc-unet, as it was in commit 7fec865); without --init the weights begin
at random, and need some 40 --epochs.
"""

import argparse
import dataclasses
import sys
from pathlib import Path

import cards
import real_hits
import scenes
import torch

from cosmiq_astro.models.checkpoint import save_model
from cosmiq_astro.simulate import cosmic_ray_footprints
from cosmiq_astro.training import ObservingConditions, SimulatedDataset, calibrate, train

N_SCENES = {"training": 288, "validation": 48}
SEEDS = {"training": 20261124, "validation": 20261125}
STIS_SHARE = 0.6
INSTRUMENT = "HST ACS/WFC, ACS/HRC, WFC3/UVIS"
VERSION = "3"
# A baseline that both models go on from, for as many epochs and with the same patches. Weights are
# drawn in the last block alone: what comes before looks at each tile once.
STAGES = {
    "trunk": {"learning_rate": 1e-3},
    "unet": {"learning_rate": 5e-4},
    "vi": {
        "learning_rate": 5e-4,
        "bayesian": True,
        "variational": ("merge.0.*", "head"),
        "kl_beta": 1.0,
    },
}


def dataset(part, data, work):
    """Return the simulated exposures of one part; hits and scenes of the parts never overlap."""
    rates = scenes.build_scenes(
        Path(work, f"scenes_{part}.npy"), N_SCENES[part], data=data, seed=SEEDS[part]
    )
    frames = {
        "training": real_hits.STIS_TRAINING,
        "validation": real_hits.STIS_VALIDATION,
    }[part]
    stis = real_hits.stis_hits(Path(data, "stis_ccd_1999.fits"), frames)
    simulated = cosmic_ray_footprints(20_000, seed=SEEDS[part])
    return SimulatedDataset(rates, [(stis, STIS_SHARE), (simulated, 1 - STIS_SHARE)])


def finish(result, validation, arguments, settings):
    """Fit temperature and threshold, write history, scores and the model folder."""
    model, scores = calibrate(result.model, validation)
    conditions = ObservingConditions()
    ranges = {"exposure_time": conditions.exposure_time, "readnoise": conditions.readnoise}
    model = dataclasses.replace(model, version=VERSION, ranges=ranges)
    folder = arguments.work / model.name
    result.history.write(arguments.work / f"{model.name}_history.ecsv", overwrite=True)
    scores.write(arguments.work / f"{model.name}_scores.ecsv", overwrite=True)
    card = cards.model_card(
        model,
        result,
        scores[0],
        settings,
        n_scenes=N_SCENES["training"],
        n_trunk=arguments.epochs,
        start=arguments.init,
    )
    save_model(model, folder, card=card, overwrite=True)
    print(scores)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--stage", choices=("trunk", "unet", "vi", "all"), default="all")
    parser.add_argument("--init", help="model to go on from: a name, or a folder")
    parser.add_argument("--epochs", type=int, default=22)
    parser.add_argument("--last-epochs", type=int, default=3)
    arguments = parser.parse_args()
    # Subnormal numbers slow convolutions down several times; a script may set this, a library not.
    torch.set_flush_denormal(True)
    # The thread that prepares batches must not hold up the one that trains.
    sys.setswitchinterval(1e-4)
    training = dataset("training", arguments.data, arguments.work)
    validation = dataset("validation", arguments.data, arguments.work)
    stages = ("trunk", "unet", "vi") if arguments.stage == "all" else (arguments.stage,)
    for stage in stages:
        settings = STAGES[stage] | {
            "epochs": arguments.epochs if stage == "trunk" else arguments.last_epochs,
            "init": arguments.init if stage == "trunk" else arguments.work / "acs-wfc-trunk",
        }
        name = f"acs-wfc-{stage}"
        result = train(
            training,
            name=name,
            checkpoint=arguments.work / f"{name}.ckpt",
            validation=validation,
            patch_size=192,
            batch_size=4,
            device="cpu",
            instrument=INSTRUMENT,
            progress_bar=True,
            seed=1,
            **settings,
        )
        finish(result, validation, arguments, settings)


if __name__ == "__main__":
    main()
