"""What ``cosmiq-astro train`` does once its arguments are known to be right."""

import sys
from contextlib import contextmanager, suppress
from dataclasses import fields

import torch

import cosmiq_astro
from cosmiq_astro._io import atomic_write
from cosmiq_astro.cli._terminal import print_error, print_warning
from cosmiq_astro.models.model import save_model
from cosmiq_astro.simulate import cosmic_ray_footprints
from cosmiq_astro.training import (
    InjectionDataset,
    PairedDataset,
    TrainingRun,
    TrainingSettings,
    calibrate,
    compare_models,
    model_card,
    train,
)
from cosmiq_astro.training._calibrate import halves
from cosmiq_astro.training._epoch import read_checkpoint
from cosmiq_astro.training.compare import check_labels, find_causes
from cosmiq_astro.training.settings import VALIDATION_FRACTION

_N_SIMULATED = 20_000
# What a training begins from; the first also finds the hits that science frames hold already.
_STARTS = {False: "acs-wfc-unet", True: "acs-wfc-vi"}
# With fewer, a fifth of them is no visit to fit on and another to score on.
_ENOUGH_VISITS = 8


def train_files(args):
    """
    Train, calibrate, compare and write the model.

    Parameters
    ----------
    args : `argparse.Namespace`
        Parsed arguments.

    Returns
    -------
    code : int
        1 if the model is worse than the one it began from, else 0.
    """
    given = None if args.init in (None, "none") else cosmiq_astro.load_model(args.init)
    training, validation, how = _datasets(args)
    if not args.quiet:
        for name, side in (("training", training), ("validation", validation)):
            print(f"{name}: {_sum_up(side)}{how if side is validation else ''}", flush=True)
    doubts = check_labels(training)
    for doubt in doubts:
        print_warning(doubt)
    start = given or cosmiq_astro.load_model(_STARTS[args.bayesian])
    begun_from = None if args.init == "none" else start
    checkpoint = args.output / "training.ckpt"
    if checkpoint.exists() and not args.quiet:
        done = read_checkpoint(checkpoint)["epoch"]
        print(f"goes on from {checkpoint}: {done} of {args.epochs} epochs are done", flush=True)
    on_terminal = sys.stderr.isatty() and not args.quiet
    told = {
        "checkpoint": checkpoint,
        "examples": args.output / "examples" if args.examples else None,
        "progress_bar": on_terminal,
        "on_epoch": None if on_terminal or args.quiet else lambda row: _tell(row, args.epochs),
        "name": args.output.name,
        "instrument": args.instrument,
    }
    with _subnormals_as_zero():
        result = train(
            training,
            args.bayesian,
            validation=validation,
            init=begun_from,
            hidden=args.hidden,
            kl_beta=args.kl_beta,
            epochs=args.epochs,
            seed=args.seed,
            settings=_settings_from(TrainingSettings, args, {}),
            run=_settings_from(TrainingRun, args, told),
        )
    if torch.distributed.is_initialized() and torch.distributed.get_rank() > 0:
        # Of several devices, one writes the model.
        return 0
    model, scores = calibrate(
        result.model, validation, start=begun_from, patch_size=args.patch_size, seed=args.seed
    )
    unseen = halves(validation, seed=args.seed)[1]
    compared = {args.output.name: model, f"{start.name}, as it was": start}
    comparison = compare_models(compared, unseen, patch_size=args.patch_size, seed=args.seed)
    causes = find_causes(training, validation, result.history, args.kl_beta * args.bayesian)
    is_refused = bool(comparison.worse) and not args.force
    card = model_card(
        model, result.history, scores, data=_describe(args, training, validation, start)
    )
    folder = args.output.with_name(f"{args.output.name}-refused") if is_refused else args.output
    save_model(model, folder, card=card, overwrite=args.overwrite or is_refused)
    for name, table in (("history", result.history), ("comparison", comparison.table)):
        with atomic_write(folder / f"{name}.ecsv", overwrite=True) as temporary:
            table.write(temporary, format="ascii.ecsv")
    checkpoint.unlink()
    if is_refused:
        with suppress(OSError):  # pictures of the epochs may be in it
            args.output.rmdir()
    if not args.quiet:
        print(
            f"\non {comparison.n_hit_pixels} hit pixels that it was not trained on"
            f"{', of the same fields: others may be harder' if how else ''} (90 % intervals):\n"
            f"{comparison}"
        )
    for cause in causes:
        if cause not in doubts or comparison.worse:
            print_warning(cause)
    if comparison.worse:
        text = f"the model is worse than {start.name}: {'; '.join(comparison.worse)}"
        if is_refused:
            print_error(f"{text}; it is kept as {folder}, --force would take it all the same")
            return 1
        print_warning(text)
    if not args.quiet:
        print(f"threshold {model.threshold:.3f}, temperature {model.temperature:.3f} -> {folder}")
    return 0


@contextmanager
def _subnormals_as_zero():
    """Subnormal numbers slow convolutions down several times; other code may need them."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def _tell(row, epochs):
    kl = f", KL {row['kl']:.5f}" if row["kl"] else ""
    print(
        f"epoch {row['epoch']} of {epochs}: training loss {row['train_loss']:.5f}, validation "
        f"{row['val_loss']:.5f}{kl}, {row['seconds']:.0f} s",
        file=sys.stderr,
        flush=True,
    )


def _sum_up(dataset):
    n_pixels = f"{dataset.n_valid_pixels / 1e6:.2f} million pixels"
    return f"{dataset.n_frames} frames of {dataset.n_visits} fields or visits, {n_pixels}"


def _describe(args, training, validation, start):
    where = " and ".join(f"`{path}`" for path in _sources(args))
    kind = f"exposures with hits of {', '.join(args.hits)}" if args.hits else "labelled exposures"
    return (
        f"{training.n_frames} {kind} ({training.n_valid_pixels:,} pixels) in {where}, validated on "
        f"{validation.n_valid_pixels:,} pixels of {validation.n_frames} others, or of other parts "
        f"of them{f', in `{args.validation}`' if args.validation else ''}; begun from "
        f"{args.init or start.name}. Trained with `cosmiq-astro train`."
    )


def _sources(args):
    given = args.directory, args.science, *args.edits
    return [path for path in given if path is not None]


def _expand(path, args):
    """Return the edits files in a directory of ``--edits``; anything else as it is."""
    if path not in args.edits or not path.is_dir():
        return [path]
    found = sorted(path.glob("*_edits.json"))
    if not found:
        raise ValueError(f"{path} holds no edits of a review: NAME_edits.json beside NAME.fits")
    return found


def _datasets(args):
    """Return training and validation frames, and what is to be said of the split."""
    training = _open(args, [part for path in _sources(args) for part in _expand(path, args)])
    if args.validation is not None:
        validation = _open(args, [args.validation])
        if args.hits is not None:
            training.part_hits(validation, VALIDATION_FRACTION, seed=args.seed)
        return training, validation, ""
    n = training.n_visits
    if n >= _ENOUGH_VISITS:
        # Threshold and temperature are fitted on one part of them, and scored on the other.
        return *training.split(max(VALIDATION_FRACTION, 2 / n), seed=args.seed), ""
    fewer = "one field or visit is" if n == 1 else f"{n} fields or visits are"
    how = f" (the upper fifth of each frame: {fewer} too few to put whole ones aside)"
    return *training.split_within(VALIDATION_FRACTION), how


def _open(args, directories):
    """Return the frames of directories: pairs, or science frames that get hits."""
    camera = {"readnoise": args.readnoise, "gain": args.gain, "visits": args.visits}
    for name in ("exposure_scale", "extra_sky", "density"):
        if getattr(args, name) is not None:
            camera[name] = getattr(args, name)
    if args.hits is None:
        return PairedDataset.from_directory(directories, **camera)
    hits = args.hits
    if hits == ["simulated"]:
        hits = cosmic_ray_footprints(_N_SIMULATED, seed=args.seed)
    return InjectionDataset.from_directory(
        directories, hits, satlevel=args.satlevel, finder=_STARTS[False], **camera
    )


def _settings_from(settings, args, others):
    """
    Make a group of settings of what the command line says.

    Parameters
    ----------
    settings : type
        A dataclass that the parser of `cosmiq_astro.cli.train` has offered.
    args : `argparse.Namespace`
        Parsed arguments.
    others : dict
        Fields that the command line does not offer.

    Returns
    -------
    settings : object
        An instance.
    """
    given = {}
    for field in fields(settings):
        if field.metadata:
            value = getattr(args, field.name)
            if field.metadata["repeated"]:
                value = field.default if value is None else tuple(value)
            given[field.name] = value
    return settings(**given, **others)
