"""``cosmiq-astro train``: a directory of exposures in, a model out."""

import argparse
import sys
from pathlib import Path

from cosmiq_astro._io import atomic_write, refuse_existing
from cosmiq_astro.models.registry import MODEL_FILES

__all__ = ["add_parser", "run"]

_EPILOG = """\
examples:
  cosmiq-astro train pairs/ -o mycam-unet --readnoise 5 --init ccd-unet
      a baseline that begins from a bundled one
  cosmiq-astro train pairs/ -o mycam-vi --readnoise 5 --init mycam-unet --bayesian
      the variational network from that baseline
  cosmiq-astro train science/ --hits darks/ -o mycam-unet --readnoise 5
      hits of dark-subtracted dark frames, injected into science frames

input: NAME.fits or NAME.npy with NAME_mask and, where labels are doubtful,
NAME_ignore beside it, as 'cosmiq-astro label' writes them. With --hits both
may be missing; what they mark is left out. A subdirectory is a visit; visits
are never split between training and validation.

output: a model folder for --model (weights, configuration, card) with
history.ecsv. After an interruption the same command goes on.

exit codes: 0 all went well, 1 failed, 2 wrong usage, 130 interrupted"""

_CHECKPOINT = "training.ckpt"
_VALIDATION_FRACTION = 0.2
_N_SIMULATED = 20_000


def add_parser(commands):
    """
    Add the command to a parser.

    Parameters
    ----------
    commands : object
        What `argparse.ArgumentParser.add_subparsers` returned.

    Returns
    -------
    parser : `argparse.ArgumentParser`
        That of the command.
    """
    parser = commands.add_parser(
        "train",
        help="train a model for another camera",
        description="Train a model on exposures with known cosmic rays.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("directory", type=Path, metavar="DIR", help="exposures to train on")
    add("-o", "--output", type=Path, required=True, metavar="FOLDER", help="the model's folder")
    add("--overwrite", action="store_true", help="replace a model that is there")
    add("--validation", type=Path, metavar="DIR", help="to validate on (default: a fifth of DIR)")
    add(
        "--hits",
        metavar="PATH",
        help="inject hits: dark-subtracted dark frames (a file or a directory), a library "
        "(.npz), or 'simulated'",
    )
    _add_network(parser.add_argument_group("the network"))
    _add_training(parser.add_argument_group("the training"))
    group = parser.add_argument_group("the exposures")
    group.add_argument("--readnoise", type=float, metavar="R", help="electrons")
    group.add_argument("--gain", type=float, metavar="G", help="electrons per adu, for adu")
    group.add_argument("--satlevel", type=float, metavar="S", help="with --hits: saturation, adu")
    for name, kind in (
        ("--exposure-scale", "factor on the light, at most 1, with the noise of so little (1,1)"),
        ("--extra-sky", "sky added with its noise, electrons (0,0)"),
        ("--density", "with --hits: hits per pixel (2e-4,4e-3)"),
    ):
        group.add_argument(name, type=_interval, metavar="LOW,HIGH", help=kind)
    group.add_argument("--instrument", default="", metavar="NAME", help="for the model's card")
    parser.set_defaults(run=run)
    return parser


def _add_network(group):
    add = group.add_argument
    add("--bayesian", action="store_true", help="the variational network (default: the baseline)")
    add("--init", metavar="MODEL", help="begin from a bundled model or a folder")
    add(
        "--freeze",
        action="append",
        default=[],
        metavar="PATTERN",
        help="layers to keep as --init has them, as in 'down.*'; may be repeated",
    )
    add("--hidden", type=int, default=16, metavar="N", help="feature maps, without --init (16)")
    add("--growth", type=int, default=2, metavar="N", help="their growth with each level below (2)")
    add(
        "--variational",
        action="append",
        metavar="PATTERN",
        help="with --bayesian: the layers that are variational (all); may be repeated",
    )
    add("--kl-beta", type=float, default=1.0, metavar="B", help="weight of the KL term (1)")
    add("--kl-warmup", type=int, default=0, metavar="N", help="epochs over which it rises (0)")


def _add_training(group):
    add = group.add_argument
    add("--epochs", type=int, default=50, metavar="N", help="(50)")
    add("--patience", type=int, metavar="N", help="stop after N epochs that bring nothing")
    add("--patch-size", type=int, default=128, metavar="PIXELS", help="(128)")
    add("--batch-size", type=int, default=16, metavar="N", help="(16)")
    add(
        "--learning-rate",
        type=float,
        default=1e-3,
        metavar="R",
        help="(0.001); 2e-4 is enough with --init",
    )
    add("--seed", type=int, default=0, metavar="N", help="(0)")
    add("--device", default="auto", metavar="D", help="auto, cpu, cuda, mps (auto)")
    add("--devices", type=int, default=1, metavar="N", help="in each host (1)")
    add("--nodes", type=int, default=1, metavar="N", help="hosts; start the command on each (1)")
    add("--workers", type=int, default=0, metavar="N", help="processes that prepare patches (0)")
    add("--precision", default="32-true", metavar="P", help="such as bf16-mixed (32-true)")
    add("--log", choices=("csv", "tensorboard"), help="write each epoch to FOLDER/log as well")
    add("--examples", action="store_true", help="a picture per epoch in FOLDER/examples")


def _interval(text):
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not LOW,HIGH, as in 0.2,1") from None
    return low, high


def run(args):
    """
    Train, calibrate and write the model.

    Parameters
    ----------
    args : `argparse.Namespace`
        Parsed arguments.

    Returns
    -------
    code : int
        0.
    """
    history = args.output / "history.ecsv"
    for path in (*(args.output / name for name in MODEL_FILES), history):
        refuse_existing(path, args.overwrite)
    import torch

    from cosmiq_astro.models.model import save_model
    from cosmiq_astro.training import calibrate, model_card, train

    training, validation = _datasets(args)
    checkpoint = args.output / _CHECKPOINT
    result = train(
        training,
        args.bayesian,
        validation=validation,
        init=args.init,
        hidden=args.hidden,
        growth=args.growth,
        freeze=tuple(args.freeze),
        variational=tuple(args.variational or ("*",)),
        kl_beta=args.kl_beta,
        kl_warmup=args.kl_warmup,
        epochs=args.epochs,
        patience=args.patience,
        patch_size=args.patch_size,
        batch_size=args.batch_size,
        learning_rate=args.learning_rate,
        seed=args.seed,
        device=args.device,
        devices=args.devices,
        nodes=args.nodes,
        workers=args.workers,
        precision=args.precision,
        checkpoint=checkpoint,
        logger=_logger(args),
        examples=args.output / "examples" if args.examples else None,
        name=args.output.name,
        instrument=args.instrument,
        progress_bar=sys.stderr.isatty() and not args.quiet,
    )
    if torch.distributed.is_initialized() and torch.distributed.get_rank() > 0:
        # Of several devices, one writes the model.
        return 0
    model, scores = calibrate(result.model, validation, patch_size=args.patch_size, seed=args.seed)
    kind = f"exposures with hits of {args.hits}" if args.hits else "labelled exposures"
    data = (
        f"{training.n_frames} {kind} ({training.n_valid_pixels:,} pixels) in "
        f"`{args.directory}`, validated on {validation.n_frames} others"
        f"{f' in `{args.validation}`' if args.validation else ''}; begun from "
        f"{args.init or 'random weights'}. Trained with `cosmiq-astro train`."
    )
    card = model_card(model, result.history, scores, data=data)
    save_model(model, args.output, card=card, overwrite=args.overwrite)
    with atomic_write(history, overwrite=args.overwrite) as temporary:
        result.history.write(temporary)
    checkpoint.unlink()
    if not args.quiet:
        print("\n".join(scores.pformat(max_lines=-1, max_width=-1)))
        print(f"threshold {model.threshold:.3f}, temperature {model.temperature:.3f}", end=" ")
        print(f"-> {args.output}")
    return 0


def _logger(args):
    """Return what writes each epoch, None if nothing was asked for."""
    if args.log is None:
        return None
    from lightning_fabric.loggers import CSVLogger, TensorBoardLogger

    kind = {"csv": CSVLogger, "tensorboard": TensorBoardLogger}[args.log]
    return kind(args.output, name="log", version="")


def _datasets(args):
    """Return the training and the validation frames; the latter can be split once more."""
    training = _open(args, args.directory)
    if args.validation is not None:
        validation = _open(args, args.validation)
    else:
        # Threshold and temperature are fitted on one part of the validation frames, and scored on
        # the other.
        fraction = max(_VALIDATION_FRACTION, 2 / training.n_visits)
        if training.n_visits < 3:
            raise ValueError(
                f"{args.directory} holds {training.n_visits} visits; three are needed, two of "
                "them for validation: give more, or --validation"
            )
        training, validation = training.split(fraction, seed=args.seed)
    if validation.n_visits < 2:
        raise ValueError(f"{args.validation} holds one visit; two are needed for validation")
    return training, validation


def _open(args, directory):
    """Return the frames of a directory: pairs, or science frames that get hits."""
    from cosmiq_astro.training import InjectionDataset, PairedDataset

    camera = {"readnoise": args.readnoise, "gain": args.gain}
    for name in ("exposure_scale", "extra_sky", "density"):
        if getattr(args, name) is not None:
            camera[name] = getattr(args, name)
    if args.hits is None:
        if args.density is not None:
            raise ValueError("--density is for --hits: pairs have the hits that they have")
        return PairedDataset.from_directory(directory, **camera)
    if args.readnoise is None:
        raise ValueError("--hits needs --readnoise, in electrons: labels are held against it")
    hits = args.hits
    if hits == "simulated":
        from cosmiq_astro.simulate import cosmic_ray_footprints

        hits = cosmic_ray_footprints(_N_SIMULATED, seed=args.seed)
    return InjectionDataset.from_directory(directory, hits, satlevel=args.satlevel, **camera)
