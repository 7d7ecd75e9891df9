"""
What is lost on hits, or on optics, of a kind that the training never saw?

python benchmarks/left_out.py --data DIR --work DIR [--out FILE]

Small networks, made as those of posterior_data.py, are trained on 1024 simulated exposures of
recipes/acs_wfc/train.py: with every origin of hits and all optics, and with one of them left out;
four of each by seed. Both are scored on exposures that have this one alone, and those without it
as ensembles, too. Their scenes, optics and hits were not trained on. All that is made is kept in
--work.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from _files import kept, write
from _transfer_frames import CLEAN, HIT, IGNORED, labelled
from _transfer_scores import FPR, count, rate, weighted
from astropy.table import Table
from networks import changes, fitted, nll
from posterior_data import PAD, SOURCES, exposures, one, stored_network, trained

sys.path.append(str(Path(__file__).parents[1] / "recipes" / "acs_wfc"))
import train

HITS = {
    "STIS exposures": ["stis"],
    "shapes of WFC3/UVIS": ["uvis"],
    "tracks in thin silicon": train.TRACKS,
    "a thick CCD": ["itl"],
    "tracks in thick silicon": ["thick"],
}
OPTICS = {"of HST": "hst", "on the ground": "ground"}
SEEDS, STEPS = (1, 2, 3, 4), 1200
MEMBERS = {"one": 1, "two": 2, "four": 4}
N = {"training": 1024, "validation": 48, "test": 96}  # exposures
SEED = {"training": 41, "validation": 42, "test": 43}
NOTHING = "nothing"
RESAMPLES = 1000


def shares(name, *, alone):
    """Return the shares of the hits: of one kind of hits or optics alone, or of all others."""
    return {
        where: {
            library: share
            for library, share in some.items()
            if (library in HITS.get(name, ()) or where == OPTICS.get(name)) == alone
        }
        for where, some in train.HITS.items()
    }


def counts_of(networks, sample):
    """Return the counts of each exposure, all ensembles of as many members together."""
    found = {members: [] for members in MEMBERS}
    for i in range(len(sample["label"])):
        inputs, label, valid = one(sample, i)
        truth = np.where(valid, np.where(label, HIT, CLEAN), IGNORED)[0, 0]
        frame = labelled("", np.empty(0), truth)
        with torch.no_grad():
            logits = [network(inputs)[0, 0, PAD:-PAD, PAD:-PAD].double() for network in networks]
        probability = np.array([torch.sigmoid(z).numpy() for z in logits])
        for members, n in MEMBERS.items():
            means = probability.reshape(-1, n, *truth.shape).mean(axis=1)
            each = [count(mean, 0.5, frame) for mean in means]
            found[members].append(sum(each[1:], each[0]))
    return found


def path_of(work, *parts):
    """Return the file in which something is kept."""
    name = "_".join(map(str, parts)).replace(" ", "_").replace("/", "_")
    return work / f"{name}.npz"


def compared(name, found, validation):
    """Return a row of the table: networks without a kind against others, and their ensembles."""
    n = len(found["with"]["one"])
    drawn = np.random.default_rng(1).multinomial(n, np.full(n, 1 / n), RESAMPLES)
    times = np.concatenate([np.ones((1, n)), drawn])

    def likelihood(which, members):
        temperature = fitted(validation[which][members])
        total, pixels = (times @ nll(found[which][members], temperature)).T
        return total / pixels

    row = {"left_out": name, "n_exposures": n}
    scores = {}
    for which, counts in found.items():
        scores[which] = {"nll": likelihood(which, "one")}
        sums = [weighted(counts["one"], each) for each in times]
        for fpr, value in FPR.items():
            scores[which][f"misses@{fpr}"] = np.array([1 - rate(each, value) for each in sums])
        row |= {f"{score}_{which}": values[0] for score, values in scores[which].items()}
    compare = {
        score: (values, scores["with"][score]) for score, values in scores["without"].items()
    }
    for members in list(MEMBERS)[1:]:
        compare[f"nll_{members}"] = likelihood("without", members), scores["without"]["nll"]
    for score, pair in compare.items():
        columns = (f"{score}_change{end}" for end in ("", "_low", "_high"))
        row |= dict(zip(columns, changes(*pair), strict=True))
    return row


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("left_out.ecsv"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    train.NUMBERS |= SOURCES
    made = train.sources(arguments, tuple(train.NUMBERS), far_spikes=False)
    drawn = dict(zip(train.NUMBERS, made, strict=True))

    def sample(kind, name, part, *, alone=False):
        """Return exposures, kept in a file of that name."""
        found = shares(name, alone=alone)
        dataset = train.simulated(*drawn[part], "cpu", found, far_spikes=False)
        make = (dataset, N[kind], SEED[kind])
        return kept(path_of(arguments.work, kind, name), lambda: exposures(*make))

    def networks(name):
        """Return the networks trained without a kind, and their counts on validation exposures."""
        training, validation = (sample(part, name, part) for part in train.NUMBERS)
        found = []
        for seed in SEEDS:
            path = path_of(arguments.work, "network", name, seed)
            make = (training, N["training"], validation, seed, STEPS)
            found.append(stored_network(kept(path, lambda make=make: trained(*make))))
            print(name, seed, flush=True)
        return found, counts_of(found, validation)

    whole, rows = networks(NOTHING), []
    for name in (*HITS, *OPTICS):
        part = networks(name)
        test = sample("test", name, "validation", alone=True)
        ways = {"with": whole, "without": part}
        found = {which: counts_of(way[0], test) for which, way in ways.items()}
        validation = {which: way[1] for which, way in ways.items()}
        rows.append(compared(name, found, validation))
        print({k: v if isinstance(v, str) else float(f"{v:.4g}") for k, v in rows[-1].items()})
    write(
        Table(rows),
        arguments.out,
        "What is lost on a kind of hits or optics that was not trained on",
        "Four small networks trained without it, one at a time, against four trained with it, on "
        "exposures that have nothing else; nll_two, nll_four: ensembles of two and four of those "
        "without it, against one. nll: nats per pixel, each with a temperature of its own from "
        "exposures like its training's; misses: at an equal rate of false positives. Changes in "
        "percent, low and high: 95 % of the resamples of exposures. Shapes of WFC3/UVIS have the "
        "charges of STIS's hits.",
    )


if __name__ == "__main__":
    main()
