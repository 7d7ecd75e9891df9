"""
Train acs-wfc-unet, and the same network that is not told how soft the stars are.

python recipes/acs_wfc/train.py --data DIR --work DIR [--device cuda] [--minutes M | --steps N]

DIR of --data holds stis_ccd_1999.fits, wfc3_uvis_dark_hits.fits, itl_cosmic_rays_2017.fits.gz,
tinytim_acs_wfc/ and cosmos2020_sample.fits.gz. --work gets weights and history. With --minutes
the number of steps is what fits; the history tells it, and --steps repeats it. The script
bundle.py makes models of the weights. A first version, called wide-unet, took 3.2 minutes of one
H100, 6,786 steps of 20 exposures of 192 x 192 pixels, after 40 s for sources and optics on 16
cores.
"""

import argparse
import json
import math
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from exposures import Observatory, ObservingConditions, SimulatedDataset
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional

from cosmiq_astro.models.unet import UNetConfig, empty_unet, initialize_weights
from cosmiq_astro.simulate import Canvas

sys.path.append(str(Path(__file__).parents[1]))
import hits
import scenes

CANVAS = Canvas((scenes.SIZE, scenes.SIZE), margin=scenes.MARGIN)
# Shape of each network, and the seed of its first weights; "untold" is the control.
TOLD = ("asinh", "anscombe", "softness")
NETWORKS = {
    "acs-wfc-unet": (UNetConfig(channels=TOLD), 1),
    "untold": (UNetConfig(), 1),
}
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
SEEDS = {"training": 20261128, "validation": 20261129}
# Planes, optics of HST, and others.
NUMBERS = {"training": (480, 320, 96), "validation": (48, 32, 12)}
PAD = 4  # pixels about an exposure, as at the border of an image
LEARNING_RATE = 2e-3


def datasets(arguments, parts=tuple(NUMBERS)):
    """Return the simulated exposures of some parts, which share nothing."""
    draws = scenes.draw_plane, scenes.draw_hst_psf, scenes.draw_ground_psf
    with ProcessPoolExecutor(arguments.processes) as pool:
        libraries = {part: pool.submit(hits.libraries, part, arguments.data) for part in parts}
        jobs = {
            part: [
                [pool.submit(draw, int(s), str(arguments.data)) for s in seed.generate_state(n)]
                for draw, seed, n in zip(
                    draws,
                    np.random.SeedSequence(SEEDS[part]).spawn(3),
                    NUMBERS[part],
                    strict=True,
                )
            ]
            for part in parts
        }
        return [
            simulated(
                [[job.result() for job in some] for some in jobs[part]],
                libraries[part].result(),
                arguments.device,
            )
            for part in parts
        ]


def simulated(sources, libraries, device):
    """Put planes and optics together with hits."""
    planes, *optics = sources
    observatories = [
        Observatory(
            psfs,
            [(libraries[name], share) for name, share in HITS[where].items()],
            conditions,
            SHARES[where],
        )
        for where, psfs, conditions in zip(SHARES, optics, (HST, GROUND), strict=True)
    ]
    return SimulatedDataset(planes, CANVAS, observatories, device=device)


class Run:
    """One network with its optimiser."""

    def __init__(self, config, seed, device):
        network = initialize_weights(empty_unet(config), torch.Generator().manual_seed(seed))
        self.network = network.to(device, memory_format=torch.channels_last)
        self.is_cuda = device == "cuda"
        self.graph = None
        self.rate = torch.tensor(0.0, device=device)
        self.optimizer = torch.optim.Adam(
            network.parameters(), self.rate, fused=self.is_cuda, capturable=self.is_cuda
        )

    def logits(self, inputs):
        """Return the logits of the pixels inside the padding; inputs have all channels."""
        channels = inputs[:, : len(self.network.config.channels)]
        return self.network(channels)[..., PAD:-PAD, PAD:-PAD]

    def descend(self, inputs, labels, valid):
        """Take one step; return the loss, nats per valid pixel."""
        loss = cross_entropy(self.logits(inputs), labels, valid)
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        return loss.detach()

    def step(self, batch, rate):
        """Take one step at some learning rate, recorded once on a GPU, which is faster."""
        self.rate.fill_(rate)
        if not self.is_cuda:
            self.optimizer.zero_grad()
            return self.descend(*batch)
        if self.graph is None:
            self.record(batch)
        self.graph.replay()
        return self.loss.clone()

    def record(self, batch):
        """Record a step; ``batch`` must be the same tensors, with other values, from then on."""
        state = {k: v.clone() for k, v in self.network.state_dict().items()}
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                self.optimizer.zero_grad(set_to_none=True)
                self.descend(*batch)
        torch.cuda.current_stream().wait_stream(side)
        self.optimizer.zero_grad(set_to_none=True)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.loss = self.descend(*batch)
        self.network.load_state_dict(state)
        for moments in self.optimizer.state.values():
            for value in moments.values():
                value.zero_()


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
def validate(runs, validation, n_batches, n):
    """Return the cross-entropy of each network, on the same exposures."""
    generator = torch.Generator(validation.device).manual_seed(1)
    totals = dict.fromkeys(runs, 0.0)
    for _ in range(n_batches):
        inputs, *truth = ready(validation.batch(n, generator))
        for name, run in runs.items():
            totals[name] += cross_entropy(run.logits(inputs), *truth).item() / n_batches
    return totals


def learning_rate(step, n_steps):
    """Return the rate: up over the first 3 %, down along half a cosine."""
    warmup = max(1, n_steps * 3 // 100)
    if step < warmup:
        return LEARNING_RATE * (step + 1) / warmup
    return LEARNING_RATE * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (n_steps - warmup)))


def batches(training, n, seed):
    """Yield batches, always in the same tensors; a GPU makes several at once, ahead of time."""
    generator = torch.Generator(training.device).manual_seed(seed)
    cuda = training.device.type == "cuda"
    ahead = 4 if cuda else 1
    stream = torch.cuda.Stream() if cuda else None
    batch = None
    while True:
        with torch.cuda.stream(stream) if cuda else nullcontext(), torch.no_grad():
            made = ready(training.batch(ahead * n, generator))
        if cuda:
            torch.cuda.current_stream().wait_stream(stream)
            for tensor in made:
                tensor.record_stream(torch.cuda.current_stream())
        # Exposures of all observatories, turned all ways, in each.
        for k in range(ahead):
            part = [
                tensor[k::ahead].contiguous(memory_format=torch.channels_last) for tensor in made
            ]
            if batch is None:
                batch = [tensor.clone(memory_format=torch.channels_last) for tensor in part]
            else:
                for tensor, new in zip(batch, part, strict=True):
                    tensor.copy_(new)
            yield batch


def save(runs, history, work):
    """Write all weights to one file, and the history."""
    state = {
        f"{name}/{key}": value.detach().cpu().contiguous()
        for name, run in runs.items()
        for key, value in run.network.state_dict().items()
    }
    save_file(state, work / "weights.safetensors")
    (work / "history.json").write_text(json.dumps(history, indent=1))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--minutes", type=float, default=8.0, help="for the steps")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--batch", type=int, default=20, help="exposures in a step")
    parser.add_argument("--seed", type=int, default=1, help="of the exposures")
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    torch.set_flush_denormal(True)
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = True
    start = time.monotonic()
    training, validation = datasets(arguments)
    print(f"sources and optics: {time.monotonic() - start:.0f} s", flush=True)
    runs = {name: Run(*NETWORKS[name], arguments.device) for name in arguments.networks.split(",")}
    stream = batches(training, arguments.batch, arguments.seed)
    n_steps = arguments.steps
    trial = 40
    history, sums, n_sums, begun = [], {}, 0, time.monotonic()
    step, total = 0, n_steps or 10**6
    while step < total:
        if step == trial // 2:
            if arguments.device == "cuda":
                torch.cuda.synchronize()
            lap = time.monotonic()
        if step == trial and n_steps is None:
            if arguments.device == "cuda":
                torch.cuda.synchronize()
            each = (time.monotonic() - lap) / (trial - trial // 2)
            left = 60 * arguments.minutes - (time.monotonic() - begun)
            total = trial + int(0.97 * left / each)
            print(f"{1000 * each:.1f} ms a step: {total} steps", flush=True)
        batch = next(stream)
        rate = learning_rate(step, total)
        for name, run in runs.items():
            sums[name] = sums.get(name, 0) + run.step(batch, rate)
        n_sums += 1
        step += 1
        late = time.monotonic() - begun > 60 * arguments.minutes and n_steps is None
        if step % 500 == 0 or step == total or late:
            row = {name: (value / n_sums).item() for name, value in sums.items()}
            history.append({"step": step, "seconds": time.monotonic() - begun, "rate": rate} | row)
            sums, n_sums = {}, 0
            shown = ", ".join(f"{name} {value:.5f}" for name, value in row.items())
            print(f"{step} of {total}, {history[-1]['seconds']:.0f} s: {shown}", flush=True)
            if not all(math.isfinite(value) for value in row.values()):
                raise FloatingPointError(f"a loss is not finite: {row}")
            if step % 1000 == 0:
                save(runs, history, arguments.work)
        if late:
            break
    history.append({"validation": validate(runs, validation, 24, arguments.batch)})
    history[-1] |= {"steps": step, "planned": total}
    print(history[-1], flush=True)
    save(runs, history, arguments.work)


if __name__ == "__main__":
    main()
