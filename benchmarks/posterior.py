"""
Is the posterior of acs-wfc-vi the one that its data ask for?

python benchmarks/posterior.py --data DIR [--out FILE]

On simulated exposures that it was not trained on (sources, optics and hits of
recipes/acs_wfc/train.py's validation): the evidence lower bound with all widths scaled, and the
widths that recipes/acs_wfc/bundle.py's solution comes to from other starts.
"""

import argparse
import copy
import sys
from pathlib import Path

import numpy as np
import torch
from _files import write
from astropy.table import Table
from torch.func import functional_call
from torch.nn import functional

import cosmiq_astro as ca
from cosmiq_astro.models.layers import (
    inverse_softplus,
    kl_divergence,
    sample_weights,
    variational_layers,
)

sys.path.append(str(Path(__file__).parents[1] / "recipes" / "acs_wfc"))
import bundle
import train

FACTORS = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
STARTS = (0.02, 0.15, 1.0)  # of the widths, over the weights
DRAWS = 4


def exposures(validation, n, seed):
    """Return inputs, labels and valid pixels, one exposure each."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        made = [train.ready(validation.batch(10, generator)) for _ in range(n // 10)]
    return [part for batch in made for part in zip(*(t.split(1) for t in batch), strict=True)]


def scaled(network, factor):
    """Return a copy whose widths are so many times as large."""
    network = copy.deepcopy(network)
    for layer in variational_layers(network).values():
        for part, sigma in layer.posterior_sigma().items():
            getattr(layer, f"{part}_rho").data.copy_(inverse_softplus(factor * sigma))
    return network


@torch.no_grad()
def expected_nll(network, sample):
    """Return of each exposure the mean over draws of its nats per valid pixel."""
    found = []
    for number, (inputs, label, valid) in enumerate(sample):
        generator = torch.Generator().manual_seed(number)
        total = 0.0
        for _ in range(DRAWS):
            weights, _ = sample_weights(network, generator)
            logits = functional_call(network, weights, (inputs,))
            logits = logits[..., train.PAD : -train.PAD, train.PAD : -train.PAD]
            loss = functional.binary_cross_entropy_with_logits(logits, label, reduction="none")
            total += (loss * valid).sum().item() / valid.sum().item() / DRAWS
        found.append(total)
    return np.array(found)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--exposures", type=int, default=200)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("posterior.ecsv"))
    arguments = parser.parse_args()
    arguments.device = "cpu"
    (validation,) = train.datasets(arguments, ["validation"])
    network = ca.load_model("acs-wfc-vi").network
    sample = exposures(validation, arguments.exposures, 1)
    nll = {factor: expected_nll(scaled(network, factor), sample) for factor in FACTORS}
    rows = []
    for factor, found in nll.items():
        kl = kl_divergence(scaled(network, factor)).item() / bundle.N_DATA
        change = found - nll[1.0]
        rows.append(
            {
                "widths": factor,
                "nll": found.mean(),
                "kl": kl,
                "bound": found.mean() + kl,
                "nll_change": change.mean(),
                "nll_change_error": change.std(ddof=1) / np.sqrt(change.size),
            }
        )
        print(rows[-1], flush=True)
    curved = bundle.curvature_batches(validation, 2)
    ends = []
    for relative in STARTS:
        other = copy.deepcopy(network)
        for layer in variational_layers(other).values():
            layer.set_posterior_sigma(relative=relative)
        bundle.solve(other, curved)
        layers = variational_layers(other).values()
        ends.append(torch.cat([s.flatten() for v in layers for s in v.posterior_sigma().values()]))
    apart = [
        (ends[i].log() - ends[j].log()).abs().median().item() for i, j in ((0, 1), (0, 2), (1, 2))
    ]
    table = Table(rows=rows)
    write(
        table,
        arguments.out,
        "The evidence lower bound of acs-wfc-vi, its widths scaled",
        "Nats per pixel, on simulated exposures that were not trained on: mean over draws of the "
        "negative log-likelihood, KL divergence over the number of pixels, their sum, and the "
        "change of the first against the widths as they are, with its standard error. Solved for "
        f"again from widths of {STARTS} of the weights, ln sigma differs by a median of "
        f"{apart[0]:.2g} (first and second), {apart[1]:.2g} (first and third) and {apart[2]:.2g}.",
    )


if __name__ == "__main__":
    main()
