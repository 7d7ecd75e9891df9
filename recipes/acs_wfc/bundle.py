"""
Make the models acs-wfc-unet and acs-wfc-vi of the weights that recipes/acs_wfc/train.py left.

python recipes/acs_wfc/bundle.py --data DIR --work DIR

The baseline is the network of the first seed. The variational model has those of both as means, and
the standard deviations of their heads are solved for on exposures like those of the training. The
temperature is fitted, and scores taken, on simulated exposures whose sources, optics and hits
were not trained on. The threshold is that of recipes/operating_curves.py.
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
from cosmiq_astro.training.network import solve_sigma, start_networks

VERSIONS = {"acs-wfc-unet": "10", "acs-wfc-vi": "11"}
SEEDS = (1, 2)
INSTRUMENT = "CCDs of HST and of telescopes on the ground"
# Pixels that each network was trained on, an exposure counted once.
N_DATA = sum(train.STEPS) // train.STEPS_EACH * train.BATCH * train.scenes.SIZE**2
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
parameters in each network. Three input channels: asinh(image / noise), the generalised Anscombe
transform, and the softness of the image, one number that tells how wide its stars are
(`cosmiq_astro.preprocess.measure_softness`).
{posterior}
## Training data

Simulated exposures of 192 x 192 pixels: 480 fields (extragalactic, globular clusters, resolved
galaxies, nebulae; sizes and fluxes of COSMOS2020 galaxies) through 320 optics of HST (TinyTim
ACS/WFC and computed pupils at 0.027 to 0.1 arcsec per pixel; charge diffusion of 0 to 0.85 pixel,
so that a star's peak pixel holds .05 to .42 of its light; one in ten trailed) and 96 Moffat
profiles (1.2 to 6.5 pixels; 30 % of the exposures). The last cycle has as many others; a third of
their fields have very bright stars, whose diffraction spikes have any direction and reach 96
pixels far where the pupil is computed. One in twenty of the exposures of HST and three in ten of
the others were resampled: their noise is correlated. Hits: HST/STIS exposures of 1999 (proposal
7353), WFC3/UVIS darks (shapes), tracks simulated at six widths of charge diffusion, a thick LSST
CCD and thick silicon (for Moffat profiles only), and single pixels. Three in ten exposures lie on
bright unresolved light (30 to 10,000 electrons) with lanes of dust.

Commands: `python recipes/acs_wfc/train.py --data DIR --work DIR` (two processes of one core each,
{n_steps:,} steps of 16 exposures in {n_cycles} cycles, from first weights that the seeds 1 and 2
draw), then `bundle.py` beside it.

## Scores on validation exposures

Like those of the last cycle, of sources, optics and hits that were not trained on. The temperature
was fitted on one half of the sources, and the scores below come from the other half; {n_pixels:.1f}
million pixels, {hit_fraction:.2f} % of them hit.

| | |
|---|---|
| negative log-likelihood, nats per pixel | {nll:.5f} |
| expected calibration error | {ece:.5f} |
| detection rate at a false-positive rate of 0.05 % | {tpr1:.4f} |
| detection rate at a false-positive rate of 0.5 % | {tpr2:.4f} |
| temperature | {temperature:.3f} |

The threshold is where F1 is largest on other exposures (`recipes/operating_curves.py`).

## Limits

Its scores on frames of independent making are in `docs/validation`. Of seven kinds of frames made
by other code it misses fewer pixels than deepCR in each, and flags no more star cores. These are
simulated, or real with hits added. Where hot and warm pixels abound and are not masked, noise among
them is flagged, too, and so are some pixels of the diffraction spikes of saturated stars.
"""
POSTERIOR = """
Two networks of this shape, trained from other first weights, take turns in the draws (a deep
ensemble: Lakshminarayanan, Pritzel & Blundell 2017, arXiv:1612.01474). The first is that of
acs-wfc-unet. What the draws differ in is nearly all due to the two.

The weights of the head of each, the last layer, have Gaussian posteriors, given what the layers
before it make of the image: their standard deviations are those at which the evidence lower bound
is largest for their means, given {n_data:.2g} pixels, and follow from no start
(`recipes/acs_wfc/bundle.py`; median {width:.4f} of the weight).
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


def variational(deterministic, training):
    """Return the variational model of the same means."""
    networks = start_networks(True, deterministic, None, TrainingSettings(variational=("head",)), 0)
    batches = curvature_batches(training, 21)
    for network in networks:
        solve(network, batches)
    return replace(deterministic, network=networks[0], others=tuple(networks[1:]))


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
    training, validation = train.datasets(arguments)
    networks = []
    for seed in SEEDS:
        networks.append(empty_unet(train.CONFIG))
        state = load_file(arguments.work / f"weights_{seed}.safetensors")
        networks[-1].load_state_dict(state, assign=True)
    about = {"name": "", "version": "", "instrument": INSTRUMENT}
    times = train.HST.exposure_time + train.GROUND.exposure_time
    about["ranges"] = {"exposure_time": (min(times), max(times))}
    baseline = Model(**about, network=networks[0])
    drawn = variational(Model(**about, network=networks[0], others=(networks[1],)), training)
    width = relative_width(drawn.network)
    posterior = POSTERIOR.format(n_data=N_DATA, width=width)
    for name, model, kind, text in (
        ("acs-wfc-unet", baseline, "A deterministic", ""),
        ("acs-wfc-vi", drawn, "A variational", posterior),
    ):
        for network in model.networks:
            network.eval().requires_grad_(False).to(memory_format=torch.channels_last)
        model = replace(model, name=name, version=VERSIONS[name])
        model, scores = calibrate(model, validation, patch_size=train.scenes.SIZE)
        row = scores[0]
        card = CARD.format(
            name=name,
            kind=kind,
            posterior=text,
            parameters=sum(p.numel() for p in model.network.parameters()),
            n_steps=sum(train.STEPS),
            n_cycles=len(train.STEPS),
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
