"""
Check whether the probabilities of a model, or of several, can be believed.

examples:
  cosmiq-astro evaluate --simulate 6 --seed 1 -o report/
      six simulated exposures; tables, plots, stamps and a page go to report/
  cosmiq-astro evaluate --simulate 6 --seed 1 --model acs-wfc-unet --model acs-wfc-vi
      two models on the same exposures; differences are to the first
  cosmiq-astro evaluate a_flc.fits b_flc.fits --truth a_mask.fits b_mask.fits
      the truth in files of their own, one each
  cosmiq-astro evaluate night/*.fits --truth CRMASK --group FILTER --gain 1.9
      the truth in an extension, scores by filter too

truth: 1 for a cosmic ray, 0 for none, NaN where it does not count; an
extension IGNORE beside it (1 = does not count) is heeded, and so is the file
NAME_ignore beside a truth NAME_mask, as 'cosmiq-astro label' writes them.

exit codes: 0 all went well, 1 a file failed, 2 wrong usage, 130 interrupted
"""

from pathlib import Path

from cosmiq_astro.cli._options import add_options, positive

__all__ = ["HELP", "USAGE", "add_arguments", "run"]

HELP = "check the probabilities against a known truth"
USAGE = (
    "%(prog)s [options] FILE [FILE ...] [--truth FILE-or-EXT [FILE ...]]\n"
    "       %(prog)s [options] --simulate N"
)


def add_arguments(parser):
    """Offer what the command takes."""
    add = parser.add_argument
    add("files", nargs="*", type=Path, metavar="FILE", help="FITS files")
    text = "a file for each FILE, or the extension that all have it in (default: TRUTH)"
    add("--truth", nargs="+", metavar="FILE-or-EXT", help=text)
    text = "scores for each value of this header keyword too"
    add("--group", metavar="KEYWORD", help=text)
    text = (
        "make N exposures in place of files: extragalactic, globular and galaxy in turn, 512 x 512 "
        "pixels, of --exposure-time seconds (default: 500); 'simulate' makes others"
    )
    add("--simulate", type=positive, metavar="N", help=text)
    group = parser.add_argument_group("models")
    text = "or a folder; repeat it to compare (default: acs-wfc-vi)"
    add_options(group, "model", action="append", help=text)
    add_options(group, "T", "threshold", "seed", "device", "tile-size")
    group = parser.add_argument_group("output")
    text = "for tables, plots and a page (default: the summary is printed, nothing written)"
    group.add_argument("-o", "--output", type=Path, metavar="DIRECTORY", help=text)
    add_options(group, "overwrite")
    add_options(group, "json", help="print one JSON object per model")
    group = parser.add_argument_group("the images (default: as their headers tell)")
    add_options(group, "ext", "dq-ignore", "gain", "readnoise", "satlevel", "exposure-time")


def run(args):
    """Evaluate the models and print or write the report."""
    truths = _check_usage(args)
    from cosmiq_astro.cli._evaluate_files import evaluate_files

    return evaluate_files(args, truths)


def _check_usage(args):
    """Return where the truth of each file is: a path, or the name of an extension."""
    if (args.simulate is None) != bool(args.files):
        args.usage_error("give FITS files, or --simulate N without any")
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
