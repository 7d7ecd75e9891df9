"""
Make the models acs-wfc-unet and acs-wfc-vi of the weights that recipes/acs_wfc/go_on.py left.

python recipes/acs_wfc/bundle.py --data DIR --work DIR

The variational model has the same weights as means, and the standard deviations of its head are
solved for on exposures like those of the training. The temperature is fitted, and scores
taken, on simulated exposures whose sources, optics and hits were not trained on. The threshold is
that of recipes/operating_curves.py.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import torch
import train
from safetensors.torch import load_file

from cosmiq_astro.models.layers import variational_layers
from cosmiq_astro.models.model import Model, save_model
from cosmiq_astro.models.unet import empty_unet
from cosmiq_astro.training import TrainingSettings, calibrate
from cosmiq_astro.training.network import solve_sigma, start_network

VERSIONS = {"acs-wfc-unet": "8", "acs-wfc-vi": "9"}
INSTRUMENT = "HST ACS/WFC, ACS/HRC, WFC3/UVIS, WFPC2, STIS/CCD"
# Pixels that the means were trained on: steps of versions 7 and 8 (about), exposures in each, their
# pixels.
N_DATA = (701 + 703) * 16 * train.scenes.SIZE**2
N_CURVATURE = 150  # exposures that tell how sharply the data fix the weights
CARD = """# {name}

{kind} U-Net for cosmic rays in single exposures: HST's cameras, sharp and undersampled optics
included, and CCDs on the ground.

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
{posterior}
## Training data

Simulated exposures of 192 x 192 pixels: 480 fields (extragalactic, globular clusters, resolved
galaxies, nebulae; sizes and fluxes of COSMOS2020 galaxies) through 320 optics of HST (TinyTim
ACS/WFC and computed pupils at 0.027 to 0.1 arcsec per pixel; charge diffusion of 0 to 0.85 pixel,
so that a star's peak pixel holds .05 to .42 of its light; one in ten trailed) and 96 Moffat
profiles (1.2 to 6.5 pixels; 30 % of the exposures). One in twenty of the former and three in ten
of the latter were resampled: their noise is correlated. Hits: HST/STIS exposures of 1999 (proposal
7353), WFC3/UVIS darks (shapes), tracks simulated at six widths of charge diffusion, a thick LSST
CCD and thick silicon (for Moffat profiles only), and single pixels. Three in ten exposures lie on
bright unresolved light (30 to 10,000 electrons) with lanes of dust, in the second of the two runs.

Commands: `python recipes/acs_wfc/go_on.py --data DIR --work DIR`, twice, then `bundle.py` beside
it. From the weights of version 6, which an earlier recipe had made for the optics of ACS/WFC alone,
701 steps of 16 exposures made version 7, and about 703 more these weights. The length of both runs
was a time, and the end of the first was brought forward: the commands come close to these weights,
and not to the same.

## Scores on validation exposures

Sources, optics and hits that were not trained on. The temperature was fitted on one half of the
sources, and the scores below come from the other half; {n_pixels:.1f} million pixels,
{hit_fraction:.2f} % of them hit.

| | |
|---|---|
| negative log-likelihood, nats per pixel | {nll:.5f} |
| expected calibration error | {ece:.5f} |
| detection rate at a false-positive rate of 0.05 % | {tpr1:.4f} |
| detection rate at a false-positive rate of 0.5 % | {tpr2:.4f} |
| temperature | {temperature:.3f} |

The threshold is where F1 is largest on other exposures (`recipes/operating_curves.py`).

## Limits

Its scores on frames of independent making are in `docs/validation`. It misses fewer hits than
deepCR in each kind of frames there, and flags fewer stars in all; on frames from the ground
ccd-unet misses fewer. A score on simulated frames is exactly that.
"""
POSTERIOR = """
The weights of the head, the last layer, have Gaussian posteriors, given what the layers before it
make of the image. Their means are the weights of acs-wfc-unet; their standard deviations are those
at which the evidence lower bound is largest for these means, given {n_data:.2g} pixels, and follow
from no start (`recipes/acs_wfc/bundle.py`; median {width:.4f} of the weight). So many pixels leave
little doubt about the weights: the draws hardly change the probabilities, and tell no more of a
frame than the entropy does. Up to version 8 the whole last block had a posterior.
Each image is looked at in two ways, as it is and transposed.
"""


@torch.no_grad()
def curvature_batches(exposures, seed):
    """Return inputs and valid pixels of the exposures that the widths are solved for on."""
    generator = torch.Generator().manual_seed(seed)
    batches = []
    for _ in range(N_CURVATURE // 10):
        inputs, _, valid = train.ready(exposures.batch(10, generator))
        inner = inputs[..., train.PAD : -train.PAD, train.PAD : -train.PAD]
        batches += zip(inner.split(1), valid.split(1), strict=True)
    return batches


def solve(network, batches):
    """Give a network the widths that its means call for."""
    solve_sigma(network, batches, N_DATA, generator=torch.Generator().manual_seed(1))


def variational(baseline, training):
    """Return the variational network of the same means, and the median of its relative widths."""
    settings = TrainingSettings(variational=("head",))
    found = start_network(True, baseline, None, settings, 0)
    found.config = replace(found.config, views=2)
    solve(found, curvature_batches(training, 21))
    return found, relative_width(found)


def relative_width(network):
    """Return the median of the widths over the weights."""
    relative = [
        (sigma / getattr(layer, part).abs()).flatten()
        for layer in variational_layers(network).values()
        for part, sigma in layer.posterior_sigma().items()
    ]
    return torch.cat(relative).median().item()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    arguments.device = "cpu"
    stored = load_file(arguments.work / "weights.safetensors")
    network = empty_unet(train.NETWORKS["acs-wfc-unet"][0])
    network.load_state_dict(
        {k.removeprefix("acs-wfc-unet/"): v for k, v in stored.items()}, assign=True
    )
    training, validation = train.datasets(arguments)
    baseline = Model(name="acs-wfc-unet", version="", instrument="", network=network)
    drawn, width = variational(baseline, training)
    posterior = POSTERIOR.format(n_data=N_DATA, width=width)
    for name, each, kind, text in (
        ("acs-wfc-unet", network, "A deterministic", ""),
        ("acs-wfc-vi", drawn, "A variational", posterior),
    ):
        each = each.eval().requires_grad_(False).to(memory_format=torch.channels_last)
        model = Model(name=name, version=VERSIONS[name], instrument=INSTRUMENT, network=each)
        model, scores = calibrate(model, validation, patch_size=train.scenes.SIZE)
        model = replace(model, ranges={"exposure_time": train.HST.exposure_time})
        row = scores[0]
        card = CARD.format(
            name=name,
            kind=kind,
            posterior=text,
            parameters=sum(p.numel() for p in each.parameters()),
            n_pixels=row["n_pixels"] / 1e6,
            hit_fraction=100 * row["hit_fraction"],
            nll=row["nll"],
            ece=row["ece"],
            tpr1=row["tpr_at_0.0005"],
            tpr2=row["tpr_at_0.005"],
            temperature=model.temperature,
        )
        save_model(model, arguments.work / name, card=card, overwrite=True)
        print(scores)


if __name__ == "__main__":
    main()
