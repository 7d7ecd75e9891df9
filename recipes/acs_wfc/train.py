"""
Train the networks of acs-wfc-unet and acs-wfc-vi from their first weights, one process for each.

python recipes/acs_wfc/train.py --data DIR --work DIR [--device cuda] [--seeds 1,2] [--steps N,M,…]

DIR of --data holds stis_ccd_1999.fits, wfc3_uvis_dark_hits.fits, itl_cosmic_rays_2017.fits.gz,
tinytim_acs_wfc/ and cosmos2020_sample.fits.gz. --work gets weights_SEED.safetensors and a history;
bundle.py makes the models of them. The learning rate falls four times: with Adam, then three times
with Muon. The last cycle is on other sources, some so bright that their diffraction spikes reach
far, and optics whose spikes have any direction. Each step makes half of its exposures, and each
exposure is seen some two times before it goes, turned and flipped anew. An interrupted run goes on
from its checkpoint in --work, and comes to the same weights. Processors with AMX train in bfloat16.
"""

import argparse
import json
import math
import sys
import time
from collections import deque
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from exposures import Observatory, ObservingConditions, SimulatedDataset
from muon import Muon
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional

from cosmiq_astro.models.unet import UNetConfig, empty_unet, initialize_weights
from cosmiq_astro.simulate import Canvas

sys.path.append(str(Path(__file__).parents[1]))
import hits
import scenes

CANVAS = Canvas((scenes.SIZE, scenes.SIZE), margin=scenes.MARGIN)
TOLD = ("asinh", "anscombe", "softness")
CONFIG = UNetConfig(channels=TOLD)
ENDS = ("down.0.0.weight", "head.weight")  # first and last convolution
HST = ObservingConditions(
    exposure_time=(5.0, 2000.0),
    sky_rate=(0.003, 0.5),
    readnoise=(2.5, 8.0),
    hit_rate=3.5e-6,
    trap_density=(0.0, 0.4),
)
GROUND = ObservingConditions(
    exposure_time=(1.0, 2000.0),
    sky_rate=(0.01, 20.0),
    readnoise=(2.0, 12.0),
    full_well=(30_000.0, 250_000.0),
    brightness=(0.2, 5.0),
    hit_rate=1e-6,
    hit_scale=(0.4, 2.5),
    trap_density=(0.0, 0.3),
    resampled=0.3,
)
SHARES = {"hst": 0.7, "ground": 0.3}
TRACKS = [f"tracks-{width}" for width in hits.DIFFUSIONS]
HITS = {
    "hst": {"stis": 0.3, "uvis": 0.25, **dict.fromkeys(TRACKS, 0.075)},
    "ground": {"stis": 0.15, "uvis": 0.1, "itl": 0.2, "thick": 0.3, **dict.fromkeys(TRACKS, 0.04)},
}
# Of the sources and optics without far spikes, and with them.
SEEDS = {
    "training": (20261128, 20261130),
    "validation": (20261129, 20261131),
}
# Planes, optics of HST, and others.
NUMBERS = {"training": (480, 320, 96), "validation": (48, 32, 12)}
PAD = 4  # pixels about an exposure, as at the border of an image
BATCH = 16  # exposures in a step
LEARNING_RATE = 2e-3
STEPS_EACH = 2  # for each batch that is made
POOL = 32  # batches to choose from, the latest
PART = 4  # exposures at a time: these fit into the cache of a processor
CHECKPOINT = 180  # seconds
STEPS = (6500, 6000, 6000, 6000)  # of each cycle
FIRST_WITH_FAR_SPIKES = 3  # cycle, counted from 0
OTHER_EXPOSURES = 1000  # added to the seed of what is made for a cycle after the first
IS_FAST_IN_BFLOAT16 = torch.cpu._is_amx_tile_supported()


def sources(arguments, parts, *, far_spikes):
    """Draw planes and optics of some parts, which share nothing; return them with their hits."""
    draws = scenes.draw_plane, scenes.draw_hst_psf, scenes.draw_ground_psf
    # A process that has used CUDA must not be copied.
    with ProcessPoolExecutor(arguments.processes, get_context("spawn")) as pool:
        libraries = {part: pool.submit(hits.libraries, part, arguments.data) for part in parts}
        jobs = {
            part: [
                [
                    pool.submit(draw, int(s), str(arguments.data), far_spikes)
                    for s in seed.generate_state(n)
                ]
                for draw, seed, n in zip(
                    draws,
                    np.random.SeedSequence(SEEDS[part][far_spikes]).spawn(3),
                    NUMBERS[part],
                    strict=True,
                )
            ]
            for part in parts
        }
        return [
            ([[job.result() for job in some] for some in jobs[part]], libraries[part].result())
            for part in parts
        ]


def simulated(drawn, libraries, device, hit_shares=HITS, *, far_spikes):
    """Return exposures of planes and optics, with hits of some libraries by optics."""
    planes, *optics = drawn
    observatories = [
        Observatory(
            psfs,
            [(libraries[name], share) for name, share in hit_shares[where].items()],
            conditions,
            SHARES[where],
        )
        for where, psfs, conditions in zip(SHARES, optics, (HST, GROUND), strict=True)
        if hit_shares.get(where)
    ]
    reach = scenes.REACH if far_spikes else scenes.MARGIN
    return SimulatedDataset(planes, CANVAS, observatories, reach=reach, device=device)


def datasets(arguments, parts=tuple(NUMBERS), *, far_spikes=True):
    """Return the simulated exposures of some parts, those of the last cycle unless told."""
    found = sources(arguments, parts, far_spikes=far_spikes)
    return [simulated(*some, arguments.device, far_spikes=far_spikes) for some in found]


def first_network(config, seed):
    """Return a network with the first weights of a seed."""
    return initialize_weights(empty_unet(config), torch.Generator().manual_seed(seed))


class Run:
    """One network with its optimisers."""

    def __init__(self, network, optimizers_of, device):
        self.network = network.to(device, memory_format=torch.channels_last)
        self.optimizers = optimizers_of(network)
        self.is_fast = device != "cpu" or IS_FAST_IN_BFLOAT16

    def logits(self, inputs):
        """Return the logits of the pixels inside the padding."""
        return self.network(inputs)[..., PAD:-PAD, PAD:-PAD]

    def step(self, batch, rate):
        """Take a step at some learning rate; return the loss, nats per valid pixel."""
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
        self.network.zero_grad()
        n_valid, total = batch[2].sum(), 0.0
        for part in zip(*(tensor.split(PART) for tensor in batch), strict=True):
            inputs, labels, valid = (
                tensor.contiguous(memory_format=torch.channels_last) for tensor in part
            )
            with torch.autocast(inputs.device.type, torch.bfloat16, enabled=self.is_fast):
                logits = self.logits(inputs)
            loss = cross_entropy(logits.float(), labels, valid) * (valid.sum() / n_valid)
            loss.backward()
            total += loss.detach()
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
        return total.item()

    def state(self):
        """Return all that changes, to be stored."""
        return [part.state_dict() for part in (self.network, *self.optimizers)]

    def restore(self, state):
        """Go on from a state."""
        for part, stored in zip((self.network, *self.optimizers), state, strict=True):
            part.load_state_dict(stored)


def adam(network):
    """Return one optimiser for all parameters."""
    return [torch.optim.Adam(network.parameters())]


def muon_and_adam(network):
    """Return Muon for the kernels between the first convolution and the head, Adam for the rest."""
    kernels, others = [], []
    for name, parameter in network.named_parameters():
        is_inside = parameter.ndim == 4 and name not in ENDS
        (kernels if is_inside else others).append(parameter)
    return [Muon(kernels), torch.optim.Adam(others)]


def cross_entropy(logits, labels, valid):
    """Return nats per valid pixel."""
    loss = functional.binary_cross_entropy_with_logits(logits, labels, reduction="none")
    return (loss * valid).sum() / valid.sum()


def ready(batch):
    """Return input channels, padded, labels and valid pixels of exposures."""
    inputs = functional.pad(batch.inputs(TOLD), (PAD,) * 4, mode="reflect")
    inputs = inputs.contiguous(memory_format=torch.channels_last)
    return inputs, batch.label[:, None].float(), batch.valid[:, None].float()


@torch.no_grad()
def validate(run, validation, n_batches, n):
    """Return the cross-entropy of a network."""
    generator = torch.Generator(validation.device).manual_seed(1)
    total = 0.0
    for _ in range(n_batches):
        inputs, *truth = ready(validation.batch(n, generator))
        total += cross_entropy(run.logits(inputs), *truth).item() / n_batches
    return total


def learning_rate(step, n_steps):
    """Return the rate: up over the first 3 %, down along half a cosine."""
    warmup = max(1, n_steps * 3 // 100)
    if step < warmup:
        return LEARNING_RATE * (step + 1) / warmup
    return LEARNING_RATE * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (n_steps - warmup)))


def batches(training, seed, cycle, begin):
    """Yield the batches from some step on, chosen from exposures that are made meanwhile."""
    made, source = math.ceil(begin / STEPS_EACH), seed + OTHER_EXPOSURES * cycle
    pool = deque(maxlen=POOL)
    for k in range(max(0, made - POOL), made):
        pool.append(make(training, source, k))
    for step in range(begin, sys.maxsize):
        if step % STEPS_EACH == 0:
            pool.append(make(training, source, step // STEPS_EACH))
        rng = np.random.default_rng([seed, step])
        chosen = rng.integers((len(pool), BATCH), size=(BATCH, 2))
        rows = [[tensor[i] for tensor in pool[k]] for k, i in chosen]
        code = int(rng.integers(8))
        yield [turned(torch.stack(column), code) for column in zip(*rows, strict=True)]


@torch.no_grad()
def make(training, seed, k):
    """Make the k-th batch of exposures; it depends on seed and k alone."""
    (number,) = np.random.SeedSequence([seed, k]).generate_state(1, np.uint64)
    generator = torch.Generator(training.device).manual_seed(int(number >> 1))
    return ready(training.batch(BATCH, generator))


def turned(images, code):
    """Transpose and flip images by the bits of a number from 0 to 7."""
    images = images.transpose(2, 3) if code & 1 else images
    return images.flip([axis for bit, axis in ((2, 2), (4, 3)) if code & bit])


def fit(training, validation, seed, cycles, arguments):
    """Train the network of a seed for some cycles, from its checkpoint if there is one."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    network = first_network(CONFIG, seed)
    stored = checkpoint_of(seed, arguments)
    history, saved = stored["history"], time.monotonic()
    if "network" in stored:
        network.load_state_dict(stored["network"])

    def save(cycle, **state):
        path = path_of(seed, arguments)
        torch.save({"history": history, "cycle": cycle} | state, path.with_suffix(".new"))
        path.with_suffix(".new").replace(path)

    for cycle in range(max(stored["cycle"], cycles.start), cycles.stop):
        run = Run(network, muon_and_adam if cycle else adam, arguments.device)
        n_steps, begin = arguments.steps[cycle], 0
        if "state" in stored and cycle == stored["cycle"]:
            run.restore(stored["state"])
            begin = history[-1]["step"]
        losses = []
        for step, batch in enumerate(batches(training, seed, cycle, begin), begin):
            if step == n_steps:
                break
            losses.append(run.step(batch, learning_rate(step, n_steps)))
            if not math.isfinite(losses[-1]):
                raise FloatingPointError(f"the loss is not finite: {losses[-1]}")
            if time.monotonic() - saved > CHECKPOINT:
                history.append({"cycle": cycle, "step": step + 1, "loss": float(np.mean(losses))})
                print(f"network {seed}: {history[-1]}", flush=True)
                losses, saved = [], time.monotonic()
                save(cycle, state=run.state())
        score = validate(run, validation, 24, BATCH)
        history.append({"cycle": cycle, "step": n_steps, "validation": score})
        print(f"network {seed}: {history[-1]}", flush=True)
        save(cycle + 1, network=network.state_dict())


def path_of(seed, arguments):
    """Return the path of the checkpoint of a seed."""
    return arguments.work / f"network_{seed}.ckpt"


def checkpoint_of(seed, arguments):
    """Return the checkpoint of a seed, or one of nothing."""
    path = path_of(seed, arguments)
    return torch.load(path) if path.exists() else {"history": [], "cycle": 0}


def finish(seed, arguments):
    """Write the weights and the history of a seed."""
    stored = checkpoint_of(seed, arguments)
    state = {name: value.cpu().contiguous() for name, value in stored["network"].items()}
    save_file(state, arguments.work / f"weights_{seed}.safetensors")
    history = json.dumps(stored["history"], indent=1)
    (arguments.work / f"history_{seed}.json").write_text(history)


def integers(text):
    """Return those that a text lists."""
    return [int(part) for part in text.split(",")]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--seeds", type=integers, default=(1, 2))
    parser.add_argument("--steps", type=integers, default=STEPS, help="of each cycle")
    parser.add_argument("--processes", type=int, default=2, help="for sources and optics")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    n, first = len(arguments.steps), FIRST_WITH_FAR_SPIKES
    for cycles in (range(min(first, n)), range(first, n)):
        done = min(checkpoint_of(seed, arguments)["cycle"] for seed in arguments.seeds)
        if done < cycles.stop:
            train(cycles, arguments)
    for seed in arguments.seeds:
        finish(seed, arguments)


def train(cycles, arguments):
    """Train the networks of all seeds for some cycles, on sources of one kind."""
    start = time.monotonic()
    parts = datasets(arguments, far_spikes=cycles.start >= FIRST_WITH_FAR_SPIKES)
    print(f"sources and optics: {time.monotonic() - start:.0f} s", flush=True)
    if arguments.device != "cpu":
        for seed in arguments.seeds:
            fit(*parts, seed, cycles, arguments)
        return
    # What has been made is shared: a process begins as a copy of this one.
    fork = get_context("fork")
    workers = [
        fork.Process(target=fit, args=(*parts, seed, cycles, arguments)) for seed in arguments.seeds
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if any(worker.exitcode for worker in workers):
        sys.exit("a process that trains has failed")


if __name__ == "__main__":
    main()
