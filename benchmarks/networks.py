"""
What do the two networks of acs-wfc-vi give, against one that looks as often?

python benchmarks/networks.py --data DIR --work DIR [--out FILE]

Frames: simulated exposures that were not trained on (sources, optics and hits of
recipes/acs_wfc/train.py's validation; *familiar*), and those of transfer.py, made by other code.
Each way of asking has a temperature of its own, fitted on other familiar exposures. Intervals are
from frames drawn with replacement, the same for all ways.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from _files import write
from _transfer_frames import CLEAN, FIELDS, GROUPS, HIT, IGNORED, Frames, labelled
from _transfer_scores import count, scores, weighted
from astropy.table import Table
from scipy.optimize import minimize_scalar

import cosmiq_astro as ca

sys.path.append(str(Path(__file__).parents[1] / "recipes" / "acs_wfc"))
import train

VIEWS = {"one view": 1, "two views": 2}
N_FAMILIAR, N_FRAMES = 120, 3
RESAMPLES = 500


def ways():
    """Return functions from an image to its probability, by name."""
    model = replace(ca.load_model("acs-wfc-vi"), temperature=1.0)
    first, other = (replace(model, network=one, others=()) for one in model.networks)
    found = {}
    for name, each in {"first": first, "other": other, "both": model}.items():
        detector = ca.CosmicRayDetector(each, device="cpu")
        for view, n in VIEWS.items():
            found[f"{name}, {view}"] = lambda image, mask=None, detector=detector, n=n, **known: (
                detector(image, mask, seed=0, views=n, planes=(), **known).probability
            )
    return found


def familiar(validation):
    """Yield simulated exposures: a frame, a mask, and what is known of them."""
    generator = torch.Generator().manual_seed(5)
    for _ in range(N_FAMILIAR // 10):
        with torch.no_grad():
            batch = validation.batch(10, generator)
        for i in range(10):
            image, label, valid, usable = (
                plane[i].numpy() for plane in (batch.image, batch.label, batch.valid, batch.usable)
            )
            truth = np.where(valid, np.where(label, HIT, CLEAN), IGNORED)
            frame = labelled("familiar", image, truth)
            measured = (plane[i].item() for plane in (batch.sky, batch.noise, batch.softness))
            known = {"statistics": ca.preprocess.ImageStatistics(*measured)}
            yield frame, ~usable, known


def unfamiliar(data, work):
    """Yield the frames of transfer.py."""
    frames = Frames(data, work)
    for group in GROUPS:
        for field in FIELDS:
            for i in range(N_FRAMES):
                frame = frames(group, field, i)
                yield frame, None, {"readnoise": frame.readnoise}


def histograms(found, samples):
    """Return the counts of each frame by way, and the group of each."""
    counts, groups = {name: [] for name in found}, []
    for frame, mask, known in samples:
        groups.append(frame.group)
        for name, way in found.items():
            counts[name].append(count(way(frame.image, mask, **known), 0.5, frame))
    return counts, np.array(groups)


def nll(counts, temperature):
    """Return the nats of all pixels of each frame, and their number."""
    n = counts[0].clean.size
    logits = (np.arange(n) + 0.5) * 40 / n - 20
    cost = np.logaddexp(0, logits / temperature), np.logaddexp(0, -logits / temperature)
    return np.array(
        [
            [one.clean @ cost[0] + one.hit @ cost[1], one.clean.sum() + one.hit.sum()]
            for one in counts
        ]
    )


def fitted(counts):
    """Return the temperature of the least negative log-likelihood."""
    return minimize_scalar(
        lambda t: nll(counts, t)[:, 0].sum(), bounds=(0.3, 3), method="bounded"
    ).x


def changes(values, against):
    """Return the change in percent, and the ends of its interval."""
    all_frames, *drawn = 100 * (values / against - 1)
    return all_frames, *np.percentile(drawn, (2.5, 97.5))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("networks.ecsv"))
    arguments = parser.parse_args()
    arguments.device = "cpu"
    (validation,) = train.datasets(arguments, ["validation"])
    found = ways()
    counts, groups = histograms(found, familiar(validation))
    temperature = {name: fitted(some[::2]) for name, some in counts.items()}
    counts, groups = {name: some[1::2] for name, some in counts.items()}, groups[1::2]
    more, others = histograms(found, unfamiliar(arguments.data, arguments.work))
    counts = {name: some + more[name] for name, some in counts.items()}
    groups = np.concatenate([groups, others])
    sets = {"familiar": groups == "familiar", "unfamiliar": groups != "familiar"}
    sets |= {group: groups == group for group in GROUPS}
    rng, rows = np.random.default_rng(1), []
    for which, chosen in sets.items():
        n = np.count_nonzero(chosen)
        times = np.concatenate([np.ones((1, n)), rng.multinomial(n, np.full(n, 1 / n), RESAMPLES)])
        likelihood, area = {}, {}
        for name, some in counts.items():
            some = [one for one, is_in in zip(some, chosen, strict=True) if is_in]
            total, pixels = (times @ nll(some, temperature[name])).T
            likelihood[name] = total / pixels
            area[name] = np.array([scores(weighted(some, each))["aurc"] for each in times])
        for name in found:
            row = {"set": which, "n_frames": n, "way": name, "temperature": temperature[name]}
            for score, values in (("nll", likelihood), ("aurc", area)):
                row[score] = values[name][0]
                for view in VIEWS:
                    column = f"{score}_change_{view.replace(' ', '_')}"
                    ends = changes(values[name], values[f"first, {view}"])
                    for end, value in zip(("", "_low", "_high"), ends, strict=True):
                        row[column + end] = value
            rows.append(row)
            print({k: v if isinstance(v, str) else float(f"{v:.4g}") for k, v in row.items()})
    write(
        Table(rows),
        arguments.out,
        "One network and two, by views",
        "The first network is that of acs-wfc-unet; both are those of acs-wfc-vi, 16 draws. "
        "nll: nats per pixel, each way with a temperature from other familiar exposures; aurc: "
        "by entropy. Changes in percent against the first network in one view and in two, low and "
        "high: 95 % of the resamples of frames. Two networks in one view take as long as one in "
        "two.",
    )


if __name__ == "__main__":
    main()
