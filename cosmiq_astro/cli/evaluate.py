"""``cosmiq-astro evaluate``: frames with a known truth in, a report on the probabilities out."""

import argparse
from pathlib import Path

from cosmiq_astro.cli.detect import _add_image

__all__ = ["add_parser", "run"]

_EPILOG = """\
examples:
  cosmiq-astro evaluate --simulate 6 --seed 1 -o report/
      six simulated exposures; tables, plots and a page go to report/
  cosmiq-astro evaluate --simulate 6 --seed 1 --model acs-wfc-unet --model acs-wfc-vi
      two models on the same exposures; differences are to the first
  cosmiq-astro evaluate a_flc.fits b_flc.fits --truth a_mask.fits b_mask.fits
      the truth in files of their own, one each
  cosmiq-astro evaluate night/*.fits --truth CRMASK --group FILTER --gain 1.9
      the truth in an extension, scores by filter too

truth: 1 for a cosmic ray, 0 for none, NaN where it does not count; an
extension IGNORE beside it (1 = does not count) is heeded, and so is the file
NAME_ignore beside a truth NAME_mask, as 'cosmiq-astro label' writes them.

exit codes: 0 all went well, 1 a file failed, 2 wrong usage, 130 interrupted"""

_FIELDS = ("extragalactic", "globular", "galaxy", "nebula", "blend")


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
        "evaluate",
        usage="%(prog)s [options] FILE [FILE ...] [--truth FILE-or-EXT [FILE ...]]\n"
        "       %(prog)s [options] --simulate N",
        help="check the probabilities against a known truth",
        description="Check whether the probabilities of a model, or of several, can be believed.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="FITS files")
    parser.add_argument(
        "--truth",
        nargs="+",
        metavar="FILE-or-EXT",
        help="a file for each FILE, or the extension that all have it in (default: TRUTH)",
    )
    parser.add_argument(
        "--group", metavar="KEYWORD", help="scores for each value of this header keyword too"
    )
    _add_simulation(parser.add_argument_group("simulated exposures"))
    _add_models(parser.add_argument_group("models"))
    _add_output(parser.add_argument_group("output"))
    _add_image(parser.add_argument_group("the images (default: as their headers tell)"))
    parser.set_defaults(run=run, usage_error=parser.error)
    return parser


def _add_simulation(group):
    group.add_argument(
        "--simulate",
        type=_positive,
        metavar="N",
        help="make N exposures of --exposure-time seconds (default: 500)",
    )
    group.add_argument(
        "--field",
        choices=_FIELDS,
        action="append",
        help="kind of scene; if repeated, in turn (default: extragalactic, globular, galaxy)",
    )
    group.add_argument(
        "--size", type=_positive, metavar="PIXELS", help="side of the exposures (default: 512)"
    )
    group.add_argument(
        "--keep-frames",
        type=Path,
        metavar="DIRECTORY",
        help="keep the exposures, with their truth (default: they are deleted)",
    )


def _add_models(group):
    group.add_argument(
        "--model",
        action="append",
        metavar="NAME",
        help="or a folder; repeat it to compare (default: acs-wfc-vi)",
    )
    group.add_argument("-T", type=int, default=16, help="weight draws (default: 16)")
    group.add_argument(
        "--threshold",
        type=float,
        metavar="P",
        help="probability from which a pixel is flagged (default: each model's own)",
    )
    group.add_argument(
        "--seed",
        type=int,
        metavar="N",
        help="of exposures, draws and intervals; makes it repeatable",
    )
    group.add_argument(
        "--device", default="auto", metavar="D", help="auto, cpu, cuda, mps (default: auto)"
    )
    group.add_argument("--tile-size", type=int, metavar="PIXELS", help="lower it to save memory")


def _add_output(group):
    group.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="DIRECTORY",
        help="for tables, plots and a page (default: the summary is printed, nothing written)",
    )
    group.add_argument("--overwrite", action="store_true", help="replace files that exist")
    group.add_argument("--json", action="store_true", help="print one JSON object per model")


def _positive(text):
    if not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive integer")
    return int(text)


def run(args):
    """
    Evaluate the models and print or write the report.

    Parameters
    ----------
    args : `argparse.Namespace`
        Parsed arguments.

    Returns
    -------
    code : int
        1 if any file failed, else 0.
    """
    truths = _check_usage(args)
    from cosmiq_astro.cli._evaluate_files import evaluate_files

    return evaluate_files(args, truths)


def _check_usage(args):
    """Return where the truth of each file is: a path, or the name of an extension."""
    if (args.simulate is None) != bool(args.files):
        args.usage_error("give FITS files, or --simulate N without any")
    for name in ("field", "size", "keep_frames"):
        if args.simulate is None and getattr(args, name) is not None:
            args.usage_error(f"--{name.replace('_', '-')} is for --simulate")
    if args.simulate is not None and args.truth is not None:
        args.usage_error("--truth is for FITS files: simulated exposures bring their own")
    args.model = args.model or ["acs-wfc-vi"]
    if len(set(args.model)) < len(args.model):
        args.usage_error(f"--model is given twice: {' '.join(args.model)}")
    truth = args.truth or ["TRUTH"]
    if len(truth) == 1 and not Path(truth[0]).suffix:
        return truth * (args.simulate or len(args.files))
    if len(truth) != len(args.files):
        args.usage_error(
            f"--truth has {len(truth)} files for {len(args.files)}: give one each, or the name of "
            "an extension"
        )
    return [Path(name) for name in truth]
