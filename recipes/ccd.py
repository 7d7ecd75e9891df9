"""
Train the bundled models ccd-unet and ccd-vi, for CCDs in general.

python recipes/ccd.py --data DIR --work DIR [--init MODEL] [--stage unet|vi|all|widths]

Scenes, optics and hits of wide ranges: PSFs of HST and of 1.2 to 6 pixels, bright skies, much read
noise, hits in silicon of 14 to 300 micrometres. Version 1 began from version 4 of acs-wfc-unet, and
was trained as this script had it in commit 2a53cd4: 14 epochs, and 3 more for each model. Version
2 has the same weights; its thresholds are those of the largest F1 on the exposures of
recipes/operating_curves.py. Version 3 of ccd-vi (--stage widths) keeps the means of a posterior
over the last block, whose widths were set by hand, and has the posterior over its head that the
data ask for. DIR of --data holds stis_ccd_1999.fits, itl_cosmic_rays_2017.fits.gz,
cosmos2020_sample.fits.gz and tinytim_acs_wfc/.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import real_hits
import scenes
import torch

from cosmiq_astro.inference.sampling import network_of
from cosmiq_astro.models.model import load_model, save_model
from cosmiq_astro.models.registry import find_model
from cosmiq_astro.simulate import Footprints, cosmic_ray_footprints
from cosmiq_astro.training import (
    ObservingConditions,
    SimulatedDataset,
    TrainingResult,
    TrainingRun,
    TrainingSettings,
    calibrate,
    model_card,
    train,
)
from cosmiq_astro.training.datasets import prepare_batches
from cosmiq_astro.training.network import solve_sigma, start_networks

# Scenes, and more of crowded fields.
N_SCENES = {"training": (192, 144), "validation": (32, 24)}
SEEDS = {"training": 20261126, "validation": 20261127}
# Shares of the hits: real ones of STIS and of a thick CCD of LSST, simulated ones in thinned and in
# thick silicon.
SHARES = {"stis": 0.3, "itl": 0.15, "thin": 0.25, "thick": 0.3}
THICKNESSES = np.geomspace(25, 300, 8)  # micrometres
CONDITIONS = ObservingConditions(
    exposure_time=(1.0, 2000.0),
    sky_rate=(0.01, 10.0),
    readnoise=(2.0, 12.0),
    full_well=(30_000.0, 250_000.0),
    brightness=(0.2, 5.0),
    hit_scale=(0.4, 2.5),
    trap_density=(0.0, 0.3),
)
# Small batches: many steps. The variational model goes on from the baseline, and trains the last
# block. Weights are drawn in the head alone: what comes before looks at each tile once.
UNET = TrainingSettings(patch_size=192, batch_size=4, learning_rate=1e-3)
VI = replace(UNET, variational=("head",), freeze=("down.*", "up.*", "merge.1.*"))
EPOCHS = {"unet": 17, "vi": 3}
N_CURVATURE = 150  # patches that tell how sharply the data fix the weights
SEED = 1
DATA = f"""\
Simulated exposures only, but for real hits. {N_SCENES["training"][0]} noise-free scenes of 512 x
512 by `recipes/scenes.py` (extragalactic fields, globular clusters, resolved galaxies, nebulae,
blends), and {N_SCENES["training"][1]} of crowded and bright clusters and galaxies; 60 % with Moffat
PSFs of 1.2 to 6 pixels (FWHM), 40 % with PSFs of HST; a few trailed exposures and satellite trails;
exposed anew each time a patch was drawn: 1-2,000 s (uniform in the square root), sky 0.01-10 e/s,
read noise 2-12 e, saturation, bleeding, charge-transfer trails, warm and hot pixels, bias steps,
bad columns, gain off by up to 25 %. Hits: 30 % cut from seven HST/STIS CCD exposures of 1999
(proposal 7353), 15 % from darks of a 100 micrometre thick LSST CCD (every other one), 25 %
simulated in 14 micrometres of silicon and 30 % in 25 to 300, turned, flipped and scaled by 0.4-2.5.
Scenes and hits of the validation set were not trained on: its real hits are those of two held-out
STIS exposures and the other half of the thick CCD's. Command: `python recipes/ccd.py --data DIR
--work DIR`, begun from {{start}}."""
LIMITS = """\
All scores are on simulated scenes. Drizzled images, infrared arrays and
units other than electrons were not trained on; the PSF is round, or that of HST."""


def dataset(part, data, work):
    """Return the simulated exposures of one part; hits and scenes of the parts never overlap."""
    seed = SEEDS[part]
    rates = scenes.all_kinds(part, work, N_SCENES[part], data=data, seed=seed)
    thick = [
        cosmic_ray_footprints(1_000, seed=np.random.default_rng([seed, i]), thickness=thickness)
        for i, thickness in enumerate(THICKNESSES)
    ]
    libraries = {
        "stis": real_hits.stis_hits(Path(data, "stis_ccd_1999.fits"), real_hits.STIS_FRAMES[part]),
        "itl": real_hits.itl_hits(Path(data, "itl_cosmic_rays_2017.fits.gz"), part),
        "thin": cosmic_ray_footprints(10_000, seed=seed),
        "thick": Footprints.concatenate(thick),
    }
    return SimulatedDataset(
        rates,
        [(library, SHARES[name]) for name, library in libraries.items()],
        conditions=CONDITIONS,
    )


def make_model(method, training, validation, arguments):
    """Train, calibrate and write one of the two models."""
    name, work = f"ccd-{method}", arguments.work
    init = arguments.init
    if method == "vi":
        init = TrainingResult.from_checkpoint(work / "ccd-unet.ckpt").model
    result = train(
        training,
        method == "vi",
        validation=validation,
        init=init,
        epochs=EPOCHS[method],
        seed=SEED,
        settings=VI if method == "vi" else UNET,
        run=TrainingRun(
            name=name,
            instrument="CCDs in general",
            checkpoint=work / f"{name}.ckpt",
            device=arguments.device,
            workers=arguments.workers,
            progress_bar=True,
        ),
    )
    result.history.write(work / f"{name}_history.ecsv", overwrite=True)
    network = result.model.network.to(arguments.device)
    if method == "vi":
        network.config = replace(network.config, views=2)
    model, scores = calibrate(result.model, validation)
    network.cpu()
    ranges = {name: getattr(CONDITIONS, name) for name in ("exposure_time", "readnoise")}
    # It may not judge the hits of an exposure: a patch mixes kinds that no exposure has together.
    model = replace(model, version="3", ranges=ranges, familiar_hits=None)
    scores.write(work / f"{name}_scores.ecsv", overwrite=True)
    start = "ccd-unet" if method == "vi" else init or "random weights"
    data = DATA.format(start=start)
    card = model_card(model, result.history, scores, data=data, limits=LIMITS)
    save_model(model, work / name, card=card, overwrite=True)
    print(scores)


def solve_widths(training, work):
    """Leave of the bundled ccd-vi the means, and solve for the posterior of its head."""
    old = load_model("ccd-vi")
    means = replace(old, network=network_of(old.network, {}))
    (network,) = start_networks(True, means, None, VI, SEED)
    seeds = [(SEED, i) for i in range(N_CURVATURE)]
    batches = prepare_batches(network, training, 1, VI.patch_size, seeds)
    solve_sigma(
        network,
        [(inputs, valid) for inputs, _, valid, _ in batches],
        training.n_valid_pixels,
        generator=torch.Generator().manual_seed(SEED),
    )
    model = replace(old, version="3", network=network.eval().requires_grad_(False))
    card = (find_model("ccd-vi") / "card.md").read_text(encoding="utf-8")
    save_model(model, work / "ccd-vi", card=card, overwrite=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--stage", choices=("unet", "vi", "all", "widths"), default="all")
    parser.add_argument("--init", help="model that the baseline goes on from: a name, or a folder")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--workers", type=int, default=0, help="processes that prepare patches")
    arguments = parser.parse_args()
    # Subnormal numbers slow convolutions down several times; a script may set this, a library not.
    torch.set_flush_denormal(True)
    # The thread that prepares batches must not hold up the one that trains.
    sys.setswitchinterval(1e-4)
    if arguments.stage == "widths":
        solve_widths(dataset("training", arguments.data, arguments.work), arguments.work)
        return
    parts = [dataset(part, arguments.data, arguments.work) for part in ("training", "validation")]
    for method in ("unet", "vi") if arguments.stage == "all" else (arguments.stage,):
        make_model(method, *parts, arguments)


if __name__ == "__main__":
    main()
