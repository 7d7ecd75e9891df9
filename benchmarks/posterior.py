"""
Is the posterior of acs-wfc-vi the one that its data ask for?

python benchmarks/posterior.py --data DIR [--out FILE]

On simulated exposures that it was not trained on (sources, optics and hits of
recipes/acs_wfc/train.py's validation): the evidence lower bound with all widths scaled, and the
widths that training solves for from other starts.
"""

import argparse
import copy
import sys
from pathlib import Path

import numpy as np
import torch
from _files import write
from astropy.table import Table
from torch.nn import functional

import cosmiq_astro as ca
from cosmiq_astro.inference.sampling import draw_weights
from cosmiq_astro.models.layers import inverse_softplus, kl_divergence, variational_layers
from cosmiq_astro.training.network import solve_sigma

sys.path.append(str(Path(__file__).parents[1] / "recipes" / "acs_wfc"))
import bundle
import train

FACTORS = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
STARTS = (0.02, 0.15, 1.0)  # of the widths, over the weights
DRAWS = 32


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
def seen_by_head(network, sample):
    """Return of each exposure the maps, a plane of ones, and labels of its valid pixels."""
    found = []
    for inputs, label, valid in sample:
        maps = network.hidden(network.features(inputs))
        maps = maps[..., train.PAD : -train.PAD, train.PAD : -train.PAD].double()
        chosen = torch.cat([maps, torch.ones_like(maps[:, :1])], 1).movedim(1, -1)[valid[:, 0] > 0]
        found.append((chosen, label[valid > 0].double()))
    return found


@torch.no_grad()
def expected_nll(network, seen):
    """Return of each exposure the mean over draws of its nats per valid pixel."""
    # Of opposite draws: what is odd in the noise cancels, and the widths alone are left.
    draws = draw_weights([network], DRAWS, sampling="antithetic", seed=0)
    weights = torch.stack([torch.cat([w.flatten() for w in draw.values()]) for _, draw in draws])
    found = []
    for maps, label in seen:
        logits = maps @ weights.double().T
        labels = label[:, None].expand_as(logits)
        found.append(functional.binary_cross_entropy_with_logits(logits, labels).item())
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
    seen = seen_by_head(network, sample)
    nll = {factor: expected_nll(scaled(network, factor), seen) for factor in FACTORS}
    rows = []
    for factor, found in nll.items():
        kl = kl_divergence(scaled(network, factor)).item() / bundle.N_DATA
        change = found - nll[1.0]
        kl_change = kl - kl_divergence(network).item() / bundle.N_DATA
        rows.append(
            {
                "widths": factor,
                "nll": found.mean(),
                "kl": kl,
                "bound_change": change.mean() + kl_change,
                "bound_change_error": change.std(ddof=1) / np.sqrt(change.size),
            }
        )
        print(rows[-1], flush=True)
    curved = bundle.curvature_batches(validation, 2)
    ends = []
    for relative in STARTS:
        other = copy.deepcopy(network)
        for layer in variational_layers(other).values():
            layer.set_posterior_sigma(relative=relative)
        solve_sigma(other, curved, bundle.N_DATA, generator=torch.Generator().manual_seed(1))
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
        "negative log-likelihood, KL divergence over the number of pixels that were, and the "
        "change of their sum against the widths as they are, with its standard error. Solved for "
        f"again from widths of {STARTS} of the weights, ln sigma differs by a median of "
        f"{apart[0]:.2g} (first and second), {apart[1]:.2g} (first and third) and {apart[2]:.2g}.",
    )


if __name__ == "__main__":
    main()
