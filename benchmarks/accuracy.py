"""
Accuracy of the models beside deepCR, astroscrappy and Cosmic-CoNN.

    python benchmarks/accuracy.py --data DIR [--hrc PATH] [--sets a,b,c,d,e] [--out DIR]

Sets of frames, all with labels of 3 standard deviations of the local noise;
pixels with a fainter hit count nowhere:

a  three fields x three filters x three exposure times, with real STIS hits of
   two frames that were never trained on; frames are made as a pipeline leaves
   them, hot pixels subtracted
b  the same with simulated hits
c  real frames: HST/ACS HRC (47 Tuc), with listed hits, and SAAO (bulge)
d  unfamiliar: thick CCD, other sampling, trailed stars, 30 times the hits
e  exposure times 10 to 2000 s x sky levels

``--data`` holds stis_ccd_1999.fits, itl_cosmic_rays_2017.fits.gz,
tinytim_acs_wfc/ and the HRC and SAAO frames; ``--hrc`` is j8bt06nyq_flt.fits.
Frames and the planes of the peers are kept in ``--work``; a model's are not.
Models: names or folders, with ``@T``, ``@mean``, ``@moments``, ``@raw`` (no
temperature), ``@bfloat16`` or ``@transposed`` (of frames transposed); ``A+B`` is an ensemble;
``NAME=A`` gives a name to the tables.
The score called 'known scene' is (image - expected) / noise.

Writes accuracy_<set>.ecsv, accuracy_<set>_differences.ecsv (each model against
the first one, and variational ones against the baseline of their family),
accuracy_photometry.ecsv (stars of set a, magnitudes before and after cleaning)
and accuracy_novelty.ecsv. Intervals (95 %) come from frames drawn with
replacement, where a row has five or more.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from _frames import Frames, specs_of
from _novelty import novelty_rows, summarize
from _peers import make_peers, model_tool, reference
from _photometry import photometry_rows
from _real import read_frames, score_frame
from _scores import (
    at_threshold,
    bootstrap,
    count,
    fit_platt,
    paired_bootstrap,
    precision_interval,
    rates_by_charge,
    scores,
)
from _summary import summaries
from _targets import print_targets
from astropy.table import Table

N_TUNING = 1  # frames per cell
LEAST_FRAMES = 5  # for an interval
SEED = 1


class Run:
    """Counts of every tool on every frame, each computed once."""

    def __init__(self, frames, tools):
        self.frames, self.tools = frames, tools
        self._counts, self._summaries, self.seconds = {}, {}, {}

    def counts(self, tool, specs):
        """Return the counts of a tool, one per spec."""
        for spec in specs:
            if (tool.name, spec) not in self._counts:
                self._score(tool, spec)
        return [self._counts[tool.name, spec] for spec in specs]

    def summaries(self, tool, specs):
        """Return what `_novelty.summarize` says of each frame."""
        self.counts(tool, specs)
        return [self._summaries[tool.name, spec] for spec in specs]

    def _score(self, tool, spec):
        frame = self.frames(spec)
        start = time.perf_counter()
        planes = tool.run(frame)
        megapixels = frame.image.size / 1e6
        spent = self.seconds.get(tool.name, (0.0, 0.0))
        self.seconds[tool.name] = (spent[0] + time.perf_counter() - start, spent[1] + megapixels)
        self._counts[tool.name, spec] = count(planes["probability"], tool.threshold, frame)
        if "entropy" in planes:
            planes["image"] = frame.image
            self._summaries[tool.name, spec] = summarize(planes, tool.threshold)


def groups_of(specs):
    """Return the indices of the frames of each row: all, then groups, then cells."""
    groups = {}
    for i, spec in enumerate(specs):
        for position, group in enumerate(spec.groups):
            groups.setdefault((position, group), []).append(i)
    return {group: index for (_, group), index in sorted(groups.items(), key=lambda g: g[0][0])}


def score_rows(name, counts, specs, *, n_resamples, platt=None, calibrated=True):
    """Return the rows of one tool; with ``platt``, of its recalibrated probability."""
    cells = {spec.cell for spec in specs}
    options = {"calibrated": calibrated, "platt": platt or (1.0, 0.0)}
    rows = []
    for group, index in groups_of(specs).items():
        chosen = [counts[i] for i in index]
        total = sum(chosen[1:], chosen[0])
        row = {"tool": name, "group": group, "is_cell": group in cells, "n_frames": len(index)}
        row |= scores(total.histogram, **options)
        many = n_resamples and len(index) >= LEAST_FRAMES
        if platt is None:
            row |= rates_by_charge(total.histogram) | at_threshold(total)
            row |= precision_interval(chosen, n_resamples, SEED) if many else {}
        if many and group not in cells:
            stack = np.stack([c.histogram for c in chosen])
            row |= bootstrap(stack, n_resamples, SEED, **options)
        rows.append(row)
    return rows


def pairs_of(names):
    """Return which models are compared: each with the first, and with the baseline of its own."""
    first, *others = names
    own = [(name.partition("-vi@")[0] + "-unet", name) for name in others if "-vi@" in name]
    return [(first, name) for name in others] + [pair for pair in own if pair[0] in others]


def difference_rows(run, models, specs, n_resamples):
    """Return the differences of the models that are compared, with paired intervals."""
    rows, groups = [], groups_of(specs)
    stacks = {m.name: np.stack([c.histogram for c in run.counts(m, specs)]) for m in models}
    for first, second in pairs_of([m.name for m in models]):
        for group, index in groups.items():
            if len(index) < LEAST_FRAMES:
                continue
            one, two = stacks[first][index], stacks[second][index]
            differences = paired_bootstrap(one, two, n_resamples, SEED)
            common = {"first": first, "second": second, "group": group}
            rows += [common | {"score": score} | values for score, values in differences.items()]
    return rows


def score_set(part, run, models, options, platt):
    """Return the table of one set of simulated frames, and of the models' differences."""
    specs = specs_of(part, options.frames_per_cell, options.size)
    rows, n = [], options.resamples
    for tool in run.tools:
        counts = run.counts(tool, specs)
        rows += score_rows(tool.name, counts, specs, n_resamples=n, calibrated=tool.calibrated)
        if tool.name == "deepCR":
            whole = sum((c.histogram for c in counts[1:]), counts[0].histogram)
            for name, numbers in (("", platt), (" in-sample", fit_platt(whole))):
                label = f"deepCR Platt{name}"
                rows += score_rows(label, counts, specs, n_resamples=n, platt=numbers)
    table = Table(rows).filled(np.nan)  # a recalibrated tool has no default threshold
    return table, difference_rows(run, models, specs, n) if len(models) > 1 and n else []


def photometry_table(run, specs, n_resamples):
    """Return the errors of the stars' magnitudes, before and after cleaning."""
    rows = []
    for tool in run.tools:
        sums = [c.photometry for c in run.counts(tool, specs)]
        rows += photometry_rows(tool.name, sums, n_resamples=max(n_resamples, 2), seed=SEED)
    return Table(rows)


def novelty_table(run, models, options):
    """Return how well each model tells the kinds of set d from the frames of set a."""
    familiar = specs_of("a", options.frames_per_cell, options.size)
    kinds = {}
    for spec in specs_of("d", options.frames_per_cell, options.size):
        kinds.setdefault(spec.cell, []).append(spec)
    rows = []
    for model in models:
        unfamiliar = {kind: run.summaries(model, specs) for kind, specs in kinds.items()}
        usual = run.summaries(model, familiar)
        rows += novelty_rows(
            model.name, usual, unfamiliar, n_resamples=options.resamples, seed=SEED
        )
    return Table(rows)


def write(table, path):
    """Write a table with few digits."""
    for name in table.colnames:
        if table[name].dtype.kind == "f":
            table[name] = [float(f"{v:.4g}") for v in table[name]]
    path.parent.mkdir(parents=True, exist_ok=True)
    table.write(path, overwrite=True)
    print(f"\n{path}")


def show(table, columns):
    """Print the rows that are not single cells, if the table has both."""
    rows = table
    if "is_cell" in table.colnames and np.unique(table["n_frames"]).size > 2:
        rows = table[~table["is_cell"]]
    rows[[name for name in columns if name in rows.colnames]].pprint_all()


def parse():
    """Return the options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--hrc", type=Path)
    parser.add_argument("--frames-per-cell", type=int, default=2)
    parser.add_argument("--size", type=int, default=512, help="side of the frames, pixels")
    parser.add_argument("--sets", default="a,b,c,d,e")
    parser.add_argument("--models", default="acs-wfc-unet,acs-wfc-vi")
    parser.add_argument("--T", type=int, default=16, help="passes of variational models")
    parser.add_argument("--peers", default="deepcr,crnet,astroscrappy")
    parser.add_argument("--resamples", type=int, default=200)
    parser.add_argument("--work", type=Path, default=Path("accuracy_work"))
    parser.add_argument("--out", type=Path, default=Path("accuracy"))
    parser.add_argument("--docs", type=Path, help="folder for shorter tables, to be committed")
    return parser.parse_args()


def main():
    options = parse()
    sets, peers = options.sets.split(","), [p for p in options.peers.split(",") if p]
    frames = Frames(options.data, options.work)
    tuning = specs_of("tuning", N_TUNING, options.size)
    middle = [(s.field, frames(s)) for s in tuning if s.psf == "f606w"] if peers else []
    wanted = [name for name in options.models.split(",") if name]
    models = [model_tool(name, options.T) for name in wanted]
    names = [model.name for model in models]
    if len(set(names)) < len(names):
        raise SystemExit(f"--models: folders need different names, got {names}")
    others = make_peers(peers, options.work / "peers", middle, options.data)
    run = Run(frames, [reference(), *others, *models])
    platt = None
    for tool in others:
        if tool.name == "deepCR":
            counts = run.counts(tool, tuning)
            platt = fit_platt(sum((c.histogram for c in counts[1:]), counts[0].histogram))
            print("deepCR, Platt calibration: scale {:.3f}, offset {:.3f}".format(*platt))
    tables, against, short = {}, {}, {}
    for part in sets:
        if part == "c":
            real = read_frames(options.data, options.hrc)
            tables["c"] = Table([score_frame(f, tool) for tool in run.tools[1:] for f in real])
        else:
            tables[part], differences = score_set(part, run, models, options, platt)
            if differences:
                against[part] = Table(differences)
                write(against[part], options.out / f"accuracy_{part}_differences.ecsv")
        if part == "a":
            specs = specs_of(part, options.frames_per_cell, options.size)
            photometry = photometry_table(run, specs, options.resamples)
            write(photometry, options.out / "accuracy_photometry.ecsv")
            photometry.pprint_all()
            photometry.meta = {
                "title": "Magnitudes of stars before and after cleaning (set a)",
                "description": "Mean error (mag) in apertures of 3 pixels against the known light, "
                "by S/N, for stars without and with a hit in the aperture; errors beyond 1 mag "
                "count as 1. Intervals (95 %) from frames drawn with replacement.",
            }
            short["accuracy_photometry"] = photometry
        write(tables[part], options.out / f"accuracy_{part}.ecsv")
        show(tables[part], COLUMNS if part != "c" else tables[part].colnames)
    command = (
        f"python benchmarks/accuracy.py --data DIR --hrc PATH --sets {options.sets} "
        f"--models {options.models} --resamples {options.resamples} --docs DIR"
    )
    short |= summaries(tables, against, command)
    if "d" in sets and models:
        novelty = novelty_table(run, models, options)
        write(novelty, options.out / "accuracy_novelty.ecsv")
        novelty.pprint_all()
        novelty.meta = {
            "title": "Unfamiliar exposures told from familiar ones (set a)",
            "description": "Area under the ROC of a frame's mean entropy or mutual information, at "
            "matched densities of hits and of bright pixels, of its mutual information in rings "
            "about hits and about stars, at matched number and height of these (30 or more), of "
            "the share of its pixels that are flagged, and of the novelty of its hits and stars, "
            "with the share of frames above 1; of frames with enough hits or stars.",
        }
        short["accuracy_novelty"] = novelty
    # Of real frames, stars and novelty, other settings of a model tell nothing new.
    settings = [m.name for m, n in zip(models, wanted, strict=True) if "@" in n]
    for name in {"accuracy_c", "accuracy_photometry", "accuracy_novelty"} & set(short):
        short[name] = short[name][~np.isin(short[name]["tool"], settings)]
    for name, table in short.items() if options.docs else ():
        write(table, options.docs / f"{name}.ecsv")
    print_targets(tables, names)
    for name, (seconds, megapixels) in run.seconds.items():
        print(f"{name}: {seconds:.0f} s for {megapixels:.1f} Mpix, what was kept included")


COLUMNS = (
    *("tool", "group", "n_frames", "tpr@0.05%", "tpr@0.5%", "nll", "brier", "ece", "aurc"),
    *("precision", "recall", "false_far", "stars", "stars_flagged", "stars_limit"),
)


if __name__ == "__main__":
    main()
