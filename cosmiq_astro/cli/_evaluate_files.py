"""What ``cosmiq-astro evaluate`` does once its arguments are known to be right."""

import importlib.util
import json
import math
import sys
import tempfile
import warnings
from dataclasses import asdict
from pathlib import Path

import numpy as np
from astropy.utils.exceptions import AstropyUserWarning

import cosmiq_astro
from cosmiq_astro._exposure import own_mask
from cosmiq_astro._io import refuse_existing
from cosmiq_astro._operating_curve import find_threshold
from cosmiq_astro.calibration import (
    CalibrationAccumulator,
    block_index,
    calibration_report,
    negative_log_likelihood,
)
from cosmiq_astro.cli._errors import attempt
from cosmiq_astro.cli._stamps import CAPTION, Mistakes, draw_mistakes
from cosmiq_astro.cli._terminal import print_output, print_table
from cosmiq_astro.cli._truth import read_truth, simulate_frames
from cosmiq_astro.hst import plan_file, read_chip

# Several times the length of a hit: the unit of the bootstrap where there is one exposure only.
_BLOCK = 64
_GROUP_COLUMNS = ["model", "group", "n_pixels", "base_rate", "nll", "ece", "tpr", "fpr", "roc_auc"]


def evaluate_files(args, truths):
    """
    Count the pixels of every file for every model; one bad file does not stop the rest.

    Parameters
    ----------
    args : `argparse.Namespace`
        Parsed arguments.
    truths : list of `~pathlib.Path` or str
        Where the truth of each file is: a file, or an extension of it.

    Returns
    -------
    code : int
        1 if any file failed, else 0.
    """
    _check_output(args)
    models = _load_models(args.model)
    if args.seed is None:
        args.seed = int(np.random.default_rng().integers(2**31))
    counts = {
        name: CalibrationAccumulator(threshold=find_threshold(model, args.threshold))
        for name, model in models.items()
    }
    mistakes = {name: Mistakes(count.threshold) for name, count in counts.items()}
    with tempfile.TemporaryDirectory() as folder:
        files = args.files if args.simulate is None else simulate_frames(args, Path(folder))
        n_failed = sum(
            not attempt(args, file, _count, args, file, truth, models, counts, mistakes)
            for file, truth in zip(files, truths, strict=True)
        )
    if n_failed and len(truths) > 1:
        print(f"cosmiq-astro: {n_failed} of {len(truths)} files failed", file=sys.stderr)
    if n_failed < len(truths):
        _report(args, counts, mistakes)
    return 1 if n_failed else 0


def _check_output(args):
    """Refuse before the work what would be refused after it."""
    if args.output is None:
        return
    if importlib.util.find_spec("matplotlib") is None:
        raise ImportError("--output draws with matplotlib: pip install 'cosmiq_astro[plot]'")
    refuse_existing(args.output / "index.html", args.overwrite)


def _load_models(names):
    """Return the models by their own names, or by those given if two have the same."""
    models = [cosmiq_astro.load_model(name) for name in names]
    own = [model.name for model in models]
    return dict(zip(own if len(set(own)) == len(own) else names, models, strict=True))


def _count(args, file, truth, models, counts, mistakes):
    """Count the pixels of one file."""
    chips = list(_detect_chips(args, file, truth, models))
    # Counted for all models or for none, so that they are compared on the same pixels.
    for name, count in counts.items():
        for probabilities, label, options, image in chips:
            count.update(probabilities[name], label, **options)
            if args.output is not None:
                mistakes[name].add(file.name, image, probabilities[name], label)
    if not (args.quiet or args.json):
        print_output(f"{file.name}: {_line(chips)}")


def _detect_chips(args, file, truth, models):
    """Yield probabilities by model, label, index and group, and image of each chip of a file."""
    names = ("extver", "gain", "readnoise", "satlevel", "exposure_time")
    settings = {name: getattr(args, name) for name in names}
    # Nothing is written: it does not matter which output, or which detection, is there.
    plan = plan_file(file, overwrite=True, **settings)
    for note in plan.notes:
        warnings.warn(note, AstropyUserWarning, stacklevel=2)
    for chip in plan.chips:
        ccd = read_chip(file, chip.chip.extver, dq_ignore=args.dq_ignore)
        label = read_truth(file, truth, chip)
        if (mask := own_mask(ccd)) is not None:
            label[mask] = np.nan
        options = {}
        if args.group is not None:
            if args.group not in ccd.meta:
                raise ValueError(f"there is no keyword {args.group} to group by")
            options["group"] = str(ccd.meta[args.group])
        if max(len(args.files), args.simulate or 0) == 1:
            options["image"] = block_index(ccd.shape, size=_BLOCK)
        probabilities = {name: _probability(args, ccd, chip, m) for name, m in models.items()}
        yield probabilities, label, options, ccd.data


def _probability(args, ccd, chip, model):
    known = asdict(chip.readout) | {"exposure_time": chip.exposure_time}
    settings = {"model": model, "device": args.device, "tile_size": args.tile_size}
    if model.method == "vi":
        settings |= {"T": args.T, "seed": args.seed}
        return cosmiq_astro.cosmicray_vi(ccd, **known, **settings).cr_probability
    return cosmiq_astro.cosmicray_unet(ccd, **known, **settings).cr_probability


def _line(chips):
    labels = [label for _, label, _, _ in chips]
    n_pixels = sum(np.count_nonzero(np.isfinite(label)) for label in labels)
    n_hit = sum(np.count_nonzero(label == 1) for label in labels)
    scores = ", ".join(
        f"{name} {negative_log_likelihood([p[name] for p, *_ in chips], labels):.5f}"
        for name in chips[0][0]
    )
    return f"scored {n_pixels:,} pixels, {n_hit:,} of them hit; NLL {scores}"


def _report(args, counts, mistakes):
    """Make the report, print it, and write it if asked to."""
    report = calibration_report(counts)
    settings = {
        "THRESH": ", ".join(f"{name} {count.threshold:g}" for name, count in counts.items()),
        "T": args.T,
        "SEED": args.seed,
        "VERSION": cosmiq_astro.__version__,
    }
    for meta in (report.meta, *(table.meta for table in report.tables.values())):
        meta |= settings
    if args.output is not None:
        figures = {"stamps": (draw_mistakes(mistakes), CAPTION)}
        page = report.write(args.output, overwrite=args.overwrite, figures=figures)
    if args.json:
        _print_json(report.tables["scores"])
    elif not args.quiet:
        print(f"\n{report}")
        if args.group is not None:
            print()
            print_table(report.tables["scores"][_GROUP_COLUMNS], ".5g")
        if "differences" in report.tables:
            print()
            print_table(report.tables["differences"], "+.3g")
        if args.output is not None:
            print(f"\n{page}")


def _print_json(scores):
    for name in dict.fromkeys(scores["model"].tolist()):
        groups = {}
        for row in scores[scores["model"] == name]:
            values = {key: row[key].item() for key in scores.colnames[2:]}
            groups[str(row["group"])] = {
                key: None if math.isnan(value) else value for key, value in values.items()
            }
        print(json.dumps({"model": name, "groups": groups}))
