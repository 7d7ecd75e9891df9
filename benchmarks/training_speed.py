"""
Pixels trained per second by `cosmiq_astro.training.train`, beside a bare PyTorch loop.

python benchmarks/training_speed.py [--epochs N] [--threads N] [--out FILE]

Both train the same network on the same patches with the same optimiser. One bare loop has its
batches ready in memory, the other makes each before its step; neither validates nor writes. What
`train` adds to the first is drawing, labelling and normalising patches (on another thread) and
bookkeeping; validation is timed apart.
"""

import argparse
import platform
import time

import numpy as np
import torch
from astropy.table import Table
from lightning_fabric import Fabric
from torch.func import functional_call
from torch.nn import functional

from cosmiq_astro.models.layers import kl_divergence, sample_weights
from cosmiq_astro.simulate import cosmic_ray_footprints
from cosmiq_astro.training import (
    InjectionDataset,
    PairedDataset,
    TrainingRun,
    TrainingSettings,
    train,
)
from cosmiq_astro.training._epoch import validate
from cosmiq_astro.training.datasets import make_batch
from cosmiq_astro.training.network import start_network
from cosmiq_astro.training.settings import Schedule

PATCH, BATCH, FRAMES, SIDE = 128, 16, 8, 512
CHANNELS = ("asinh", "anscombe")


def datasets():
    """Return pairs, and the same frames with hits injected on the fly."""
    rng = np.random.default_rng(0)
    frames = [rng.normal(100, 11, (SIDE, SIDE)).astype(np.float32) for _ in range(FRAMES)]
    library = cosmic_ray_footprints(2000, seed=0)
    charges = [library.paste((SIDE, SIDE), 300, rng) for _ in frames]
    images = [frame + charge for frame, charge in zip(frames, charges, strict=True)]
    pairs = PairedDataset(images, [charge > 33 for charge in charges], readnoise=5)
    return {"pairs": pairs, "injection": InjectionDataset(frames, library, readnoise=5)}


def draw(dataset, network, step):
    """Return a batch, as `train` draws it."""
    rng = np.random.default_rng(step)
    batch = make_batch(dataset, BATCH, PATCH, CHANNELS, rng, margin=network.grid)
    return [torch.from_numpy(a) for a in batch[:3]]


def bare_loop(dataset, bayesian, n_steps, n_passes, ready):
    """Return the seconds of so many steps written out in PyTorch alone, the best of some passes."""
    network = start_network(bayesian, None, 16, TrainingSettings(), 0).to(
        memory_format=torch.channels_last
    )
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    batches = [draw(dataset, network, step) for step in range(4)]
    generator = torch.Generator().manual_seed(0)
    seconds = []
    for step in range(n_passes * n_steps):
        if step % n_steps == 0:
            start = time.perf_counter()
        batch = batches[step % len(batches)] if ready else draw(dataset, network, step)
        inputs, labels, valid = batch
        inputs = inputs.contiguous(memory_format=torch.channels_last)
        if bayesian:
            weights = sample_weights(network, generator)[0]
            logits = functional_call(network, weights, (inputs,))
            penalty = kl_divergence(network) / dataset.n_valid_pixels
        else:
            logits, penalty = network(inputs), 0
        loss = functional.binary_cross_entropy_with_logits(logits[valid], labels[valid]) + penalty
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if (step + 1) % n_steps == 0:
            seconds.append(time.perf_counter() - start)
    return min(seconds)


def measure(name, dataset, bayesian, epochs):
    """Return one row of the table; the time that validation takes is measured and taken off."""
    _, validation = dataset.split(1 / FRAMES, seed=0)
    result = train(
        dataset,
        bayesian,
        validation=validation,
        epochs=epochs,
        seed=0,
        settings=TrainingSettings(patch_size=PATCH, batch_size=BATCH),
        run=TrainingRun(device="cpu"),
    )
    n_steps = round(dataset.n_pixels / (BATCH * PATCH**2))
    n_pixels = n_steps * BATCH * PATCH**2
    meta = dict(result.history.meta) | {"freeze": ()}
    fabric, run, passes = Fabric(accelerator="cpu"), Schedule(**meta), []
    for _ in range(epochs):
        start = time.perf_counter()
        validate(fabric, result.model.network, validation, run)
        passes.append(time.perf_counter() - start)
    validating = min(passes)
    # Whatever else the machine does can only make a pass slower.
    training = np.min(result.history["seconds"]) - validating
    ready = bare_loop(dataset, bayesian, n_steps, epochs, True)
    drawing = bare_loop(dataset, bayesian, n_steps, epochs, False)
    return {
        "dataset": name,
        "method": "vi" if bayesian else "unet",
        "train_pixels_per_s": round(n_pixels / training),
        "with_validation": round(n_pixels / (training + validating)),
        "bare_ready": round(n_pixels / ready),
        "bare_drawing": round(n_pixels / drawing),
        "over_ready": training / ready - 1,
        "over_drawing": training / drawing - 1,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--threads", type=int, help="of PyTorch (default: its own choice)")
    parser.add_argument("--out", help="also write the table here, as ECSV")
    arguments = parser.parse_args()
    torch.set_flush_denormal(True)
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    rows = [
        measure(name, dataset, bayesian, arguments.epochs)
        for name, dataset in datasets().items()
        for bayesian in (False, True)
    ]
    table = Table(rows=rows)
    table.meta = {
        "title": "Pixels trained per second, beside a bare PyTorch loop",
        "bare_ready": "the loop with its batches ready in memory, pixels per second",
        "bare_drawing": "the loop that makes each batch before its step, pixels per second",
        "over_ready, over_drawing": "time of `train`, without validation, over that of the loop",
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
        "torch": str(torch.__version__),
        "command": "python benchmarks/training_speed.py --out FILE",
    }
    for name in ("over_ready", "over_drawing"):
        table[name].info.format = ".3f"
    print("\n".join(table.pformat(max_width=-1)))
    if arguments.out:
        table.write(arguments.out, format="ascii.ecsv", overwrite=True)


if __name__ == "__main__":
    main()
