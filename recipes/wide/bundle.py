"""
Make the model wide-unet of the weights that recipes/wide/train.py left.

python recipes/wide/bundle.py --data DIR --work DIR

Temperature and threshold are fitted, and scores taken, on simulated exposures whose sources,
optics and hits were not trained on.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import train
from safetensors.torch import load_file

from cosmiq_astro.models.model import Model, save_model
from cosmiq_astro.models.unet import empty_unet
from cosmiq_astro.training import calibrate

NAME = "wide-unet"
CARD = """# wide-unet

A deterministic U-Net for cosmic rays in single exposures of HST's cameras, sharp and undersampled
optics included (WFC3/UVIS, WFPC2), and for exposures whose optics are not known.

## Label

A pixel is a cosmic ray where the charge that a hit left in it exceeds three standard deviations of
the local noise without the hit (source, sky and read noise). Pixels with a smaller charge are
ignored, in the loss and in every score, and so is the rim of a hit that was cut out of a frame. A
single pixel that is sharper than the optics allow is a cosmic ray whatever its cause.

## Network and input

U-Net with 16, 32, 64 feature maps at its levels, no normalisation layers, {parameters:,}
parameters. Three input channels: asinh(image / noise), the generalised Anscombe transform, and the
softness of the image, one number that tells how wide its stars are
(`cosmiq_astro.preprocess.measure_softness`).

## Training data

Simulated exposures of 192 x 192 pixels, made on the GPU, none twice: 480 fields (extragalactic,
globular clusters, resolved galaxies, nebulae; sizes and fluxes of COSMOS2020 galaxies) through 320
optics of HST (TinyTim ACS/WFC and computed pupils at 0.027 to 0.1 arcsec per pixel; charge
diffusion of 0 to 0.85 pixel, so that a star's peak pixel holds .05 to .42 of its light; one in ten
trailed) and 96 Moffat profiles (1.2 to 6.5 pixels; 30 % of the exposures). Hits: HST/STIS exposures
of 1999 (proposal 7353), WFC3/UVIS darks (shapes), tracks simulated at six widths of charge
diffusion, a thick LSST CCD and thick silicon (for Moffat profiles only), and single pixels.

Command: `python recipes/wide/train.py --data DIR --work DIR --device cuda --minutes 3.2`, then
`python recipes/wide/bundle.py`. From random weights (seed 1), 6,786 steps of 20 exposures.

## Scores on validation exposures

Sources, optics and hits that were not trained on. Temperature and threshold were fitted on one half
of the sources, and the scores below come from the other half; {n_pixels:.1f} million pixels,
{hit_fraction:.2f} % of them hit.

| | |
|---|---|
| negative log-likelihood, nats per pixel | {nll:.5f} |
| expected calibration error | {ece:.5f} |
| detection rate at a false-positive rate of 0.05 % | {tpr1:.4f} |
| detection rate at a false-positive rate of 0.5 % | {tpr2:.4f} |
| precision at the threshold | {precision:.4f} |
| recall at the threshold | {recall:.4f} |
| threshold (largest F0.5) | {threshold:.3f} |
| temperature | {temperature:.3f} |

## Limits

Its scores on frames of independent making are in `docs/validation`: where stars are sharp it eats
far fewer of them than the models for ACS/WFC do, and it finds one-pixel hits; in crowded fields
seen with ACS/WFC it finds fewer hits than they do at few false positives. Resampled frames, whose
noise is correlated, are outside its training: it takes their noise for hits.
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    arguments.device = "cpu"
    config, _ = train.NETWORKS[NAME]
    network = empty_unet(config)
    stored = load_file(arguments.work / "weights.safetensors")
    mine = {k.removeprefix(f"{NAME}/"): v for k, v in stored.items() if k.startswith(f"{NAME}/")}
    network.load_state_dict(mine, assign=True)
    model = Model(
        name=NAME,
        version="1",
        instrument="HST ACS/WFC, ACS/HRC, WFC3/UVIS, WFPC2, STIS/CCD",
        network=network.eval().requires_grad_(False),
    )
    validation = train.datasets(arguments, ["validation"])[0]
    model, scores = calibrate(model, validation, patch_size=train.scenes.SIZE)
    model = replace(model, ranges={"exposure_time": train.HST.exposure_time})
    row = scores[0]
    card = CARD.format(
        parameters=sum(p.numel() for p in network.parameters()),
        n_pixels=row["n_pixels"] / 1e6,
        hit_fraction=100 * row["hit_fraction"],
        nll=row["nll"],
        ece=row["ece"],
        tpr1=row["tpr_at_0.0005"],
        tpr2=row["tpr_at_0.005"],
        precision=row["precision"],
        recall=row["recall"],
        threshold=model.threshold,
        temperature=model.temperature,
    )
    save_model(model, arguments.work / NAME, card=card, overwrite=True)
    print(scores)


if __name__ == "__main__":
    main()
