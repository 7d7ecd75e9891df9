"""
What does a posterior over the weights give, and does it give more where there were fewer data?

python benchmarks/posterior_data.py --data DIR --work DIR [--out FILE]

Small networks (8 feature maps) are trained on 1024, 256, 64 and 16 simulated exposures of
recipes/acs_wfc/train.py (with a third of its sources and optics), four of each by seed, for as many
steps; the checkpoint of lowest loss on validation exposures is kept, so that few exposures do not
overfit. Each is then asked in several ways at one view: as it is, with widths of the last
block set by hand, with the posterior of the last block or of the head, with Laplace's approximation
of the head, and as an ensemble of the four. Temperatures, and what is called fitted, come from the
validation exposures. Scores are taken on others of the same making (familiar) and on the centres
of the frames of transfer.py (unfamiliar), whose making had no part in anything. All that is made is
kept in --work, so that a run goes on where the last one ended.
"""

import argparse
import copy
import sys
import time
from pathlib import Path

import numpy as np
import torch
from _files import kept, write
from _posterior_scores import RANKS, ranked, rows
from _transfer_frames import CLEAN, FIELDS, GROUPS, HIT, Frames
from astropy.table import Table
from torch.nn import functional

from cosmiq_astro.calibration import TemperatureScaling, fit_temperature, negative_log_likelihood
from cosmiq_astro.inference.moments import QUANTILE_WEIGHTS, QUANTILES
from cosmiq_astro.inference.sampling import draw_weights, network_of
from cosmiq_astro.inference.uncertainty import PredictiveMoments
from cosmiq_astro.models.layers import variational_layers
from cosmiq_astro.models.model import Model
from cosmiq_astro.models.unet import UNetConfig
from cosmiq_astro.preprocess import estimate_statistics, normalize, subtract_sky
from cosmiq_astro.training import TrainingSettings
from cosmiq_astro.training.network import solve_sigma, start_networks

sys.path.append(str(Path(__file__).parents[1] / "recipes" / "acs_wfc"))
import bundle
import train

SIZES = (1024, 256, 64, 16)
SEEDS = (1, 2, 3, 4)
SOURCES = {"training": (160, 108, 32)}  # a third of what train.py draws
# Number, sources and seed of the exposures.
DRAWN = {
    "training": (1024, "training", 31),
    "validation": (24, "validation", 32),
    "familiar": (64, "validation", 33),
}
TESTS = ("familiar", "unfamiliar")
CONFIG = UNetConfig(channels=train.TOLD, hidden=8)
PAD, SIZE = train.PAD, train.scenes.SIZE
CUT, BATCH = 64, 8  # pixels to a side, and exposures, in a step
TEST = 128  # pixels to a side of what is scored
CHECKPOINTS = 12
LAST, HEAD = ("merge.0.*", "head"), ("head",)
DRAWS = 16
BY_HAND = (0.05, 0.1, 0.2, 0.4)  # of the weights, those that may be chosen
FACTORS = 4.0 ** np.arange(9)  # of the covariance
CURVED = 32  # exposures that tell how sharply the data fix the weights
METHODS = (
    "baseline",
    "by hand, 0.15",
    "by hand, fitted",
    "posterior of the last block",
    "posterior of the head",
    "Laplace of the head",
    "Laplace of the head, fitted",
    "ensemble of four",
)


def stored(arrays):
    """Return input channels, labels and valid pixels in the types that are kept."""
    inputs, label, valid = (torch.cat(part) for part in zip(*arrays, strict=True))
    return {
        "inputs": inputs.half().numpy(),
        "label": label.bool().numpy(),
        "valid": valid.bool().numpy(),
    }


@torch.no_grad()
def exposures(dataset, n, seed):
    """Draw simulated exposures."""
    generator = torch.Generator().manual_seed(seed)
    batches = (train.ready(dataset.batch(8, generator)) for _ in range(-(-n // 8)))
    return {name: array[:n] for name, array in stored(list(batches)).items()}


def unfamiliar(data, work):
    """Return the centres of the frames that other code made, in one order."""
    frames, cuts = Frames(data, work), []
    for group in GROUPS:
        for spec in [(group, field, i) for field in FIELDS for i in range(3)]:
            frame = frames(*spec)
            usable = np.isfinite(frame.image)
            measured = estimate_statistics(
                frame.image, usable, readnoise=frame.readnoise, softness=True
            )
            pixels = subtract_sky(frame.image, usable, measured.sky)
            y, x = ((side - SIZE) // 2 for side in frame.image.shape)
            wide = slice(y - PAD, y + SIZE + PAD), slice(x - PAD, x + SIZE + PAD)
            truth = torch.from_numpy(frame.truth[y : y + SIZE, x : x + SIZE].copy())[None, None]
            inputs = torch.from_numpy(normalize(pixels[wide], measured, train.TOLD))[None]
            cuts.append((inputs, truth == HIT, (truth == HIT) | (truth == CLEAN)))
    return stored(cuts)


def one(sample, i):
    """Return inputs, label and valid pixels of one exposure."""
    inputs, label, valid = (
        torch.from_numpy(sample[k][i : i + 1]) for k in ("inputs", "label", "valid")
    )
    return inputs.float().contiguous(memory_format=torch.channels_last), label, valid


def middles(sample):
    """Return the middles of exposures, as many pixels about them as before."""
    edge = (SIZE - TEST) // 2
    return {name: array[..., edge:-edge, edge:-edge] for name, array in sample.items()}


def batch_of(sample, n, rng):
    """Cut a batch out of the first n exposures, turned at random."""
    parts = []
    for i in rng.integers(n, size=BATCH):
        y, x = rng.integers(SIZE - CUT + 1, size=2)
        cut = [sample["inputs"][i, :, y : y + CUT + 2 * PAD, x : x + CUT + 2 * PAD]]
        cut += [sample[k][i, :, y : y + CUT, x : x + CUT] for k in ("label", "valid")]
        turns, flip = rng.integers(4), rng.integers(2)
        cut = [np.rot90(a[..., ::-1] if flip else a, turns, (1, 2)) for a in cut]
        parts.append([torch.from_numpy(a.astype(np.float32)) for a in cut])
    inputs, *truth = (torch.stack(part) for part in zip(*parts, strict=True))
    return inputs.contiguous(memory_format=torch.channels_last), *truth


def trained(sample, n, validation, seed, n_steps):
    """Train a network on the first n exposures; return its best weights and its losses."""
    run = train.Run(train.first_network(CONFIG, seed), train.adam, "cpu")
    rng = np.random.default_rng([seed, n])
    best, losses = np.inf, []
    for step in range(1, n_steps + 1):
        run.step(batch_of(sample, n, rng), train.learning_rate(step - 1, n_steps))
        if step % (n_steps // CHECKPOINTS) == 0:
            losses.append(validated(run, validation))
            if losses[-1] < best:
                best = losses[-1]
                state = {k: v.detach().numpy().copy() for k, v in run.network.state_dict().items()}
    return state | {"losses": np.array(losses)}


@torch.no_grad()
def validated(run, validation):
    """Return nats per pixel."""
    total, n = 0.0, 0
    for i in range(len(validation["label"])):
        inputs, label, valid = one(validation, i)
        with torch.autocast("cpu", torch.bfloat16):
            logits = run.logits(inputs).float()
        total += train.cross_entropy(logits, label.float(), valid.float()).item() * valid.sum()
        n += valid.sum()
    return float(total / n)


def variational(network, layers, relative=0.05):
    """Return a network of the same means, and widths of so many times these."""
    start = Model(name="", version="", instrument="", network=network)
    (found,) = start_networks(True, start, None, TrainingSettings(variational=layers), 0)
    for layer in variational_layers(found).values():
        layer.set_posterior_sigma(relative=relative)
    return found


def solved(network, layers, part, batches, n_data):
    """Return a network of the same means, and the widths that its data ask for."""
    found = variational(network, layers)
    short = copy.deepcopy(found)
    short.forward = lambda x: getattr(short, part)(x)  # what comes before has been computed
    solve_sigma(short, batches, n_data, generator=torch.Generator().manual_seed(1))
    found.load_state_dict(short.state_dict())
    return found


def inside(maps):
    """Return one exposure's maps without the padding, and a plane of ones."""
    seen = maps[0, :, PAD:-PAD, PAD:-PAD].double()
    return torch.cat([seen, torch.ones_like(seen[:1])])


def weights_of(head):
    """Return weights and bias of a head."""
    return torch.cat([head.weight.detach().flatten(), head.bias.detach()]).double()


def laplace(network, batches, n_data, prior):
    """Return the covariance of the head's weights and bias, Laplace's approximation."""
    head = weights_of(network.head)
    total, n = torch.zeros(len(head), len(head)).double(), 0
    for maps, valid in batches:
        seen = inside(maps)[:, valid[0, 0, PAD:-PAD, PAD:-PAD]]
        p = torch.sigmoid(head @ seen)
        total += (seen * (p * (1 - p))) @ seen.T
        n += seen.shape[1]
    return torch.linalg.inv(total * (n_data / n) + torch.eye(len(head)) / prior**2)


def block_way(found, n=DRAWS):
    """Return the function from features to logits of draws, with their weights."""
    draws = draw_weights([found], n, sampling="antithetic", seed=0)
    networks = [network_of(*draw) for draw in draws]

    def way(features):
        logits = [one.finish(features)[:, 0, PAD:-PAD, PAD:-PAD] for one in networks]
        return torch.cat(logits), np.full(n, 1 / n)

    return way


def head_way(network, covariance):
    """Return the function from features to logits at the nodes of a Gaussian, and their weights."""
    nodes = torch.tensor(QUANTILES, dtype=torch.float64)[:, None, None]

    def way(features):
        seen = inside(network.hidden(features))
        variance = torch.einsum("kyx,kl,lyx->yx", seen, covariance, seen)
        mean = torch.einsum("k,kyx->yx", weights_of(network.head), seen)
        return mean + variance.sqrt() * nodes, QUANTILE_WEIGHTS

    return way


def best(tries, network, validation):
    """Return the key of the way that makes every other validation exposure likeliest."""
    loss = dict.fromkeys(tries, 0.0)
    for i in range(0, len(validation["label"]), 2):
        inputs, label, valid = one(validation, i)
        features = network.features(inputs)
        for key, way in tries.items():
            loss[key] += nll_sum(mean_of(way(features)), label, valid)
    return min(loss, key=loss.get)


def ways_of(network, n, samples):
    """Return the ways to ask one network; of each the relative widths, and what was fitted."""
    n_data = int(samples["training"]["valid"][:n].sum())
    batches = {"finish": [], "head": []}
    for i in np.arange(CURVED) % n:
        inputs, _, valid = one(samples["training"], i)
        features, valid = network.features(inputs), functional.pad(valid, (PAD,) * 4)
        batches["finish"].append((features, valid))
        batches["head"].append((network.hidden(features), valid))
    learned = solved(network, LAST, "finish", batches["finish"], n_data)
    head = solved(network, HEAD, "head", batches["head"], n_data).head
    sigma = torch.cat([sigma.flatten() for sigma in head.posterior_sigma().values()])
    covariances = {
        "posterior of the head": torch.diag(sigma.detach().double() ** 2),
        "Laplace of the head": laplace(network, batches["head"], n_data, head.prior_sigma),
    }
    full = covariances["Laplace of the head"]
    factor = best({f: head_way(network, f * full) for f in FACTORS}, network, samples["validation"])
    covariances["Laplace of the head, fitted"] = factor * full
    by_hand = {f: variational(network, LAST, f) for f in BY_HAND}
    tries = {f: block_way(found, DRAWS // 2) for f, found in by_hand.items()}
    width = best(tries, network, samples["validation"])
    blocks = {
        "by hand, 0.15": variational(network, LAST, 0.15),
        "by hand, fitted": by_hand[width],
        "posterior of the last block": learned,
    }
    ways = {name: block_way(found) for name, found in blocks.items()}
    ways |= {name: head_way(network, found) for name, found in covariances.items()}
    relative = {name: bundle.relative_width(found) for name, found in blocks.items()}
    for name, found in covariances.items():
        ratio = found.diagonal().sqrt() / weights_of(network.head).abs()
        relative[name] = ratio.median().item()
    return ways, relative, {"Laplace of the head, fitted": factor, "by hand, fitted": width}


def moments_of(draws):
    """Return the moments of draws, float64."""
    moments = PredictiveMoments(with_information=True)
    for logits, weight in zip(*draws, strict=True):
        moments.add(torch.sigmoid(logits.double()), weight)
    return moments


def mean_of(draws):
    """Return the mean probability over draws."""
    return moments_of(draws).plane("probability").numpy()


def nll_sum(probability, label, valid):
    """Return the nats of all valid pixels."""
    counts = valid[0, 0].numpy()
    mean = negative_log_likelihood(probability[counts], label[0, 0].numpy()[counts])
    return mean * np.count_nonzero(counts)


def answers(networks, ways, inputs):
    """Yield method, number of the network, and draws; the ensemble as of each of its members."""
    features = [network.features(inputs) for network in networks]
    single = [
        network.finish(each)[0, :, PAD:-PAD, PAD:-PAD]
        for network, each in zip(networks, features, strict=True)
    ]
    ensemble = torch.cat(single), np.full(len(networks), 1 / len(networks))
    for s, each in enumerate(features):
        yield METHODS[0], s, (single[s], np.ones(1))
        for name, way in ways[s].items():
            yield name, s, way(each)
        yield METHODS[-1], s, ensemble


def temperatures(networks, ways, validation):
    """Return a temperature of each method and network, for the logit of the mean probability."""
    found = {}
    for i in range(len(validation["label"])):
        inputs, label, valid = one(validation, i)
        for name, s, draws in answers(networks, ways, inputs):
            pair = np.stack([mean_of(draws), label[0, 0]])[:, valid[0, 0].numpy()]
            found.setdefault((METHODS.index(name), s), []).append(pair)
    made = np.ones((len(METHODS), len(networks)))
    for where, pairs in found.items():
        made[where] = float(fit_temperature(*np.concatenate(pairs, axis=1)))
    return made


def scored(networks, ways, temperature, sample):
    """
    Return sums of each exposure by method and network, and what each says of pixels in doubt.

    Those are the hits, and what any network might give a probability above .01.
    """
    n, shape = len(sample["label"]), temperature.shape
    nll, ranks, pixels = np.zeros((*shape, n, 2)), np.zeros((*shape, 3, n, 2, RANKS)), []
    for i in range(n):
        inputs, label, valid = one(sample, i)
        found = {
            (METHODS.index(name), s): draws for name, s, draws in answers(networks, ways, inputs)
        }
        ensemble = mean_of(found[len(METHODS) - 1, 0])
        hit, counts = label[0, 0].numpy(), valid[0, 0].numpy()
        where = counts & ((ensemble > 0.01 / len(networks)) | hit)
        said = np.zeros((*shape, 3, np.count_nonzero(where)), np.float32)
        for which, draws in found.items():
            moments = moments_of(draws)
            p, information, deviation = (
                moments.plane(name).numpy()
                for name in ("probability", "mutual_information", "uncertainty")
            )
            cooled = TemperatureScaling(temperature[which])(p)
            nll[which][i] = [nll_sum(q, label, valid) for q in (p, cooled)]
            said[which] = p[where], information[where], deviation[where]
            wrong = ((p >= 0.5) != hit)[counts]
            ranks[which][:, i] = ranked(p[counts], information[counts], wrong)
        pixels.append((said, np.full(said.shape[-1], i)))
    said, exposure = (np.concatenate(part, axis=-1) for part in zip(*pixels, strict=True))
    count = sample["valid"].reshape(n, -1).sum(axis=1)
    return {"nll": nll, "count": count, "ranks": ranks, "said": said, "exposure": exposure}


def scores_of(n, networks, samples):
    """Return all that the table needs of the networks of one size."""
    ways, *numbers = zip(*(ways_of(network, n, samples) for network in networks), strict=True)
    with torch.no_grad():
        temperature = temperatures(networks, ways, samples["validation"])
        made = {"temperature": temperature} | {
            name: np.array([[each.get(m, np.nan) for each in some] for m in METHODS])
            for name, some in zip(("relative", "fitted"), numbers, strict=True)
        }
        for test in TESTS:
            found = scored(networks, ways, temperature, middles(samples[test]))
            made |= {f"{test}_{name}": array for name, array in found.items()}
    return made


def samples_of(arguments):
    """Return the exposures of each kind."""
    datasets = {}

    def draw(n, part, seed):
        if not datasets:
            train.NUMBERS |= SOURCES
            found = train.datasets(arguments, far_spikes=False)
            datasets.update(zip(train.NUMBERS, found, strict=True))
        return exposures(datasets[part], n, seed)

    made = {
        name: kept(arguments.work / f"{name}.npz", lambda how=how: draw(*how))
        for name, how in DRAWN.items()
    }
    path = arguments.work / "unfamiliar.npz"
    return made | {"unfamiliar": kept(path, lambda: unfamiliar(arguments.data, arguments.work))}


def stored_network(arrays):
    """Return the network of stored weights."""
    network = train.first_network(CONFIG, 0).to(memory_format=torch.channels_last)
    network.load_state_dict({k: torch.from_numpy(v) for k, v in arrays.items() if k != "losses"})
    return network.requires_grad_(False)


def rounded(row):
    """Return a row with numbers of four digits."""
    return {k: float(f"{v:.4g}") if isinstance(v, float) else v for k, v in row.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("posterior_data.ecsv"))
    arguments = parser.parse_args()
    arguments.device = "cpu"
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    samples, found = samples_of(arguments), []
    for n in SIZES[::-1]:
        networks = []
        for seed in SEEDS:
            start = time.monotonic()
            arrays = kept(
                arguments.work / f"network_{n}_{seed}.npz",
                lambda n=n, seed=seed: trained(
                    samples["training"], n, samples["validation"], seed, arguments.steps
                ),
            )
            print(n, seed, f"{time.monotonic() - start:.0f} s", arrays["losses"], flush=True)
            networks.append(stored_network(arrays))
        scores = kept(
            arguments.work / f"scores_{n}.npz",
            lambda n=n, networks=networks: scores_of(n, networks, samples),
        )
        print(n, f"{time.monotonic() - start:.0f} s", flush=True)
        found += [rounded(row) for row in rows(n, scores, METHODS)]
    write(
        Table(rows=found),
        arguments.out,
        "What a posterior over the weights gives, by the number of exposures",
        "Changes in percent; low and high: 95 % of the resamples of exposures. nll: nats per "
        "pixel; its changes are against the baseline with its temperature, as the method is "
        "(seed_scatter: standard deviation over four seeds) and with a temperature of its own "
        "(tempered). aurc: by entropy, and its change against the baseline's; its change against "
        "the entropy's own where pixels are ordered by entropy plus mutual information "
        "(aurc_with_mi) or by the latter alone (aurc_mi). Of pixels with p > .01: mean mutual "
        "information, nats, and how well it or the standard deviation tells unfamiliar from "
        "familiar pixels of equal p. fitted: width over weight, or factor of the covariance.",
    )


if __name__ == "__main__":
    main()
