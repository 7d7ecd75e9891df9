"""
Train acs-wfc-unet on two cores, beginning from a bundled model.

python recipes/acs_wfc/go_on.py --data DIR --work DIR [--init NAME] [--minutes M]

One process makes exposures and puts them into a pool of the latest; this one trains on batches from
it, each exposure some two times, turned and flipped anew. Of the weights, a running mean is kept.
An interrupted run goes on from its checkpoint in --work.

Version 7 took 50 minutes of two shared cores, after 10 minutes for sources and optics: 701 steps
from version 6, which recipes/acs_wfc.py of commit 9ea9131 had made for the optics of ACS/WFC alone.
The end was brought forward while it ran, so that the learning rate fell more steeply than it does
here; a run of this file comes close to these weights, and not to the same.

Version 8 went on from version 7 for about 703 steps (--minutes 58 --seed 9), when the exposures had
got bright unresolved light: on bright galaxies version 7 missed more hits than deepCR did.
Twice as many steps without it (--minutes 100 --rate 8e-4 --seed 8) had been better on validation
exposures, and not on the frames of transfer.py.
"""

import argparse
import math
import time
from multiprocessing import get_context
from pathlib import Path

import torch
import train
from safetensors.torch import save_file

import cosmiq_astro as ca

POOL = 1600  # exposures
MEMORY = 0.99  # of the running mean of the weights, per step
CHECKPOINT = 200  # seconds


def begin(name):
    """Return a run that starts from the weights of a bundled model."""
    run = train.Run(train.NETWORKS["acs-wfc-unet"][0], 1, "cpu")
    run.network.load_state_dict(ca.load_model(name).network.state_dict())
    return run


def make_exposures(arguments, pool, count, seed, is_over):
    """Fill the pool, again and again."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    (training,) = train.datasets(arguments, ["training"])
    generator = torch.Generator().manual_seed(seed)
    n = 10
    with torch.no_grad():
        while not is_over.is_set():
            place = count.value % POOL
            for plane, made in zip(pool, train.ready(training.batch(n, generator)), strict=True):
                plane[place : place + n] = made
            count.value += n


def turn(tensors, code):
    """Transpose and flip images by the bits of a number from 0 to 7."""
    for tensor in tensors:
        turned = tensor.transpose(2, 3) if code & 1 else tensor
        yield turned.flip([axis for bit, axis in ((2, 2), (4, 3)) if code & bit])


def step(run, batch, rate):
    """Take a step, by the gradients of two exposures at a time: these fit into the cache."""
    inputs, labels, valid = batch
    run.rate.fill_(rate)
    run.optimizer.zero_grad()
    total = 0.0
    for part in zip(*(t.split(2) for t in (inputs, labels.float(), valid.float())), strict=True):
        x, y, counts = (t.contiguous(memory_format=torch.channels_last) for t in part)
        loss = train.cross_entropy(run.logits(x), y, counts) * (counts.sum() / valid.sum())
        loss.backward()
        total += loss.item()
    torch.nn.utils.clip_grad_norm_(run.network.parameters(), 1.0)
    run.optimizer.step()
    return total


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--init", default="acs-wfc-unet")
    parser.add_argument("--minutes", type=float, default=50.0)
    parser.add_argument("--batch", type=int, default=16, help="exposures in a step")
    parser.add_argument("--rate", type=float, default=1e-3, help="highest learning rate")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    arguments.device = "cpu"
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    run, n_steps, before = begin(arguments.init), 0, 0.0
    mean = {k: v.clone() for k, v in run.network.state_dict().items()}
    checkpoint = arguments.work / "go_on.ckpt"
    if checkpoint.exists():
        stored = torch.load(checkpoint)
        run.network.load_state_dict(stored["network"])
        run.optimizer.load_state_dict(stored["optimizer"])
        mean, n_steps, before = stored["mean"], stored["n_steps"], stored["seconds"]
    size = train.scenes.SIZE
    shapes = {
        (len(train.TOLD), size + 2 * train.PAD, size + 2 * train.PAD): torch.float32,
        (1, size, size): torch.bool,
    }
    inputs, labels = (
        torch.zeros(POOL, *shape, dtype=kind).share_memory_() for shape, kind in shapes.items()
    )
    pool = inputs, labels, labels.clone().share_memory_()
    spawn = get_context("spawn")
    count, is_over = spawn.Value("l", 0), spawn.Event()
    # Not a daemon: it has processes of its own.
    maker = spawn.Process(
        target=make_exposures,
        args=(arguments, pool, count, arguments.seed + n_steps, is_over),
    )
    maker.start()
    generator = torch.Generator().manual_seed(arguments.seed + n_steps)
    while count.value < 200:
        time.sleep(1)
        if not maker.is_alive():
            raise RuntimeError("the process that makes exposures has died")
    begun = saved = time.monotonic()
    losses = []
    while (seconds := before + time.monotonic() - begun) < 60 * arguments.minutes:
        done = seconds / (60 * arguments.minutes)
        rate = arguments.rate * min(1, (n_steps + 1) / 60) * 0.5 * (1 + math.cos(math.pi * done))
        ready = min(count.value, POOL)
        chosen = torch.randint(ready, (arguments.batch,), generator=generator)
        code = int(torch.randint(8, (1,), generator=generator))
        losses.append(step(run, list(turn([plane[chosen] for plane in pool], code)), rate))
        n_steps += 1
        memory = min(MEMORY, (n_steps + 1) / (n_steps + 10))
        for key, value in run.network.state_dict().items():
            mean[key].lerp_(value, 1 - memory)
        if n_steps % 25 == 0:
            loss = sum(losses[-200:]) / len(losses[-200:])
            print(f"{n_steps} steps, {seconds:.0f} s: {loss:.5f}, {count.value} made", flush=True)
        if time.monotonic() - saved > CHECKPOINT:
            saved = time.monotonic()
            state = {
                "network": run.network.state_dict(),
                "optimizer": run.optimizer.state_dict(),
                "mean": mean,
                "n_steps": n_steps,
                "seconds": seconds,
            }
            torch.save(state, checkpoint.with_suffix(".new"))
            checkpoint.with_suffix(".new").replace(checkpoint)
    is_over.set()
    maker.join()
    weights = {f"acs-wfc-unet/{k}": v.contiguous() for k, v in mean.items()}
    save_file(weights, arguments.work / "weights.safetensors")


if __name__ == "__main__":
    main()
