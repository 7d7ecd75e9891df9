"""
Monte Carlo dropout beside the variational model.

    python benchmarks/dropout.py --data DIR --scenes DIR [--work DIR] [--out DIR]

The baseline goes on in its last block alone, for as many steps as its variational twin (version 6)
did, though on patches of a third more scenes, with feature maps left out at random (Gal &
Ghahramani 2016, arXiv:1506.02142; whole maps: Tompson et al. 2015, arXiv:1411.4280, section 3.2).
Draws are without some maps; as for the variational model, each is the mean over the views. Several
rates are trained on the same patches, rate 0 among them: the steps without dropout, one pass. The
rate, and the temperature of each, are those of the lowest NLL on frames made for tuning by
accuracy.py; scores are of its sets a, b and d.

``--scenes`` is the folder that recipes/acs_wfc.py was given as ``--work``; frames, and the state of
the training, are kept in ``--work``.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import torch
from _frames import Frames, specs_of
from _peers import Tool, model_tool
from _scores import pixels
from _summary import SCORES
from accuracy import N_TUNING, Run, difference_rows, write
from astropy.table import Table
from torch.nn import functional
from tqdm import tqdm

from cosmiq_astro.calibration import negative_log_likelihood
from cosmiq_astro.detector import CosmicRayDetector
from cosmiq_astro.models.last_block import last_layers
from cosmiq_astro.models.model import load_model
from cosmiq_astro.training._epoch import prepare_batches
from cosmiq_astro.training.network import masked_cross_entropy

sys.path.append(str(Path(__file__).parents[1] / "recipes"))
import acs_wfc
import stages

RATES = (0.0, 0.05, 0.1)
TEMPERATURES = (0.6, 0.7, 0.8, 0.9, 1.0)
STEPS = 1536
PATCH, SIZE = 192, 512  # of what is trained on, and of what is scored
T = 16


class Dropout(CosmicRayDetector):
    """A detector whose draws lack some of the maps of the last block."""

    def __init__(self, model, rate):
        super().__init__(model, device="cpu")
        self._rate = rate

    def draw(self, T, *, sampling, seed):
        """Draw ``T`` times; once if the rate is 0."""
        generator = torch.Generator().manual_seed(seed)
        draws = []
        for _ in range(T if self._rate else 1):
            weights = {}
            for name, layer in last_layers(self.model.network).items():
                kept = torch.rand(layer.weight.shape[1], generator=generator) >= self._rate
                kept = kept / (1 - self._rate)
                weights[f"{name}.weight"] = layer.weight * kept[:, None, None]
            draws.append(weights)
        return draws


def logits_of(layers, seen, rate):
    """Return what the last block makes of features, maps left out before each of its layers."""
    first, second, head = layers.values()
    x = functional.relu(first(functional.dropout2d(seen, rate)))
    x = functional.relu(second(functional.dropout2d(x, rate)))
    return head(functional.dropout2d(x, rate))


def train(networks, dataset):
    """Train the last block of a network per rate, in place, all on the same patches."""
    torch.manual_seed(1)  # functional.dropout2d draws from the global generator
    layers = {rate: last_layers(network) for rate, network in networks.items()}
    groups = [
        [p for layer in block.values() for p in layer.requires_grad_(True).parameters()]
        for block in layers.values()
    ]
    optimizer = torch.optim.Adam([{"params": group} for group in groups])
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        stages.VI.learning_rate,
        total_steps=STEPS,
        pct_start=0.02,
        cycle_momentum=False,
    )
    trunk = networks[RATES[0]]
    batches = prepare_batches(
        dataset,
        stages.VI.batch_size,
        PATCH,
        trunk.config.channels,
        ((1, step) for step in range(STEPS)),
        margin=trunk.grid,
        workers=0,
    )
    for inputs, labels, valid in tqdm(batches, total=STEPS):
        with torch.no_grad():
            seen = trunk.features(inputs.contiguous(memory_format=torch.channels_last))
        optimizer.zero_grad()
        for (rate, block), group in zip(layers.items(), groups, strict=True):
            masked_cross_entropy(logits_of(block, seen, rate), labels, valid).backward()
            torch.nn.utils.clip_grad_norm_(group, 1.0)
        optimizer.step()
        schedule.step()
    for network in networks.values():
        network.requires_grad_(False)


def trained(options):
    """Return a model per rate, trained or as kept."""
    models = {rate: load_model("acs-wfc-unet") for rate in RATES}
    networks = {rate: model.network for rate, model in models.items()}
    kept = options.work / "dropout.pt"
    if not kept.exists():
        train(networks, acs_wfc.dataset("training", options.data, options.scenes))
        torch.save({rate: network.state_dict() for rate, network in networks.items()}, kept)
    for rate, state in torch.load(kept).items():
        networks[rate].load_state_dict(state)
    return models


def tool(model, rate):
    """Return the tool for `accuracy.Run`."""
    find = Dropout(model, rate)

    def run(frame):
        maps = find(frame.image, T=T, seed=0, readnoise=frame.readnoise)
        return {"probability": maps.probability}

    return Tool(f"dropout {rate:g}, temperature {model.temperature:g}", model.threshold, run)


def choose(models, run, specs):
    """Return each rate's tool at its best temperature, by NLL on the frames of ``specs``."""
    best = {}
    for rate, model in models.items():
        trials = []
        for temperature in TEMPERATURES:
            trial = tool(replace(model, temperature=temperature), rate)
            counts = run.counts(trial, specs)
            table = pixels(sum((c.histogram for c in counts[1:]), counts[0].histogram))
            trials.append((negative_log_likelihood(table), trial))
        best[rate] = min(trials, key=lambda pair: pair[0])
        print(f"{best[rate][1].name}: NLL {best[rate][0]:.6f} on the tuning frames", flush=True)
    return best


def main():
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--scenes", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("accuracy_work"))
    parser.add_argument("--resamples", type=int, default=200)
    parser.add_argument("--out", type=Path, default=Path("accuracy"))
    options = parser.parse_args()
    torch.set_flush_denormal(True)
    models = trained(options)
    run = Run(Frames(options.data, options.work), [])
    chosen = choose(models, run, specs_of("tuning", N_TUNING, SIZE))
    without = chosen.pop(0.0)[1]
    _, dropout = min(chosen.values(), key=lambda pair: pair[0])
    tools = [model_tool("acs-wfc-unet", T), without, dropout, model_tool("acs-wfc-vi", T)]
    rows = [
        {"set": part} | row
        for part in "abd"
        for row in difference_rows(run, tools, specs_of(part, 2, SIZE), options.resamples)
        if row["group"] == "all" and row["score"] in SCORES
    ]
    table = Table(rows=rows)
    table.meta = {
        "title": "Monte Carlo dropout in the last block, beside the variational model",
        "description": "Second minus first, over all frames of a set of accuracy.py, with 95 % "
        f"intervals from frames drawn with replacement. {STEPS} steps of the last block for each; "
        "rate 0 is one pass. Rate and temperature have the lowest NLL on frames for tuning; "
        f"temperatures from {min(TEMPERATURES)} to {max(TEMPERATURES)}.",
        "command": "python benchmarks/dropout.py --data DIR --scenes DIR --out DIR",
    }
    write(table, options.out / "dropout.ecsv")
    table.pprint_all()


if __name__ == "__main__":
    main()
