"""
Find the cosmic rays in HST files and in simple FITS images.

examples:
  cosmiq-astro detect --sample
      the bundled HST exposure: FITS and PNG into the current directory
  cosmiq-astro detect j8bt06nyq_flt.fits --plot
      a picture beside the output
  cosmiq-astro detect j*_flc.fits -o masked/ -T 8 --seed 1
      many files into one directory, repeatable
  cosmiq-astro detect j8bt06nyq_flt.fits --model acs-wfc-unet --dq-bit 4096
      the fast baseline, and the DQ bit that AstroDrizzle uses
  cosmiq-astro detect archive/*_flc.fits -o masked/ --jobs 8 --resume --table batch.ecsv
      many files: eight processes; run again, it goes on where it was
  cosmiq-astro detect night/*.fits --gain 1.9 --readnoise 5 --clean medmask
      simple images in adu, with the hits replaced

output: a copy of the input with CRVIMASK (1 = cosmic ray), CRPROB, CRSTD,
CRENT and CRMI for every chip, and a bit of DQ set.

exit codes: 0 all went well, 1 a file failed, 2 wrong usage, 130 interrupted
"""

import argparse
from pathlib import Path
from typing import get_args

from cosmiq_astro._types import Cleaning, Precision, Sampling
from cosmiq_astro.cli._options import add_options

__all__ = ["HELP", "USAGE", "add_arguments", "run"]

_PLANES = ("prob", "std", "ent", "mi")


HELP = "find the cosmic rays in FITS files"
USAGE = "%(prog)s [options] FILE [FILE ...]\n       %(prog)s [options] --sample"


def add_arguments(parser):
    """Offer what the command takes."""
    add = parser.add_argument
    add("files", nargs="*", type=Path, metavar="FILE", help="FITS files")
    add("--sample", action="store_true", help="take the bundled exposure, and --plot it")
    _add_output(parser.add_argument_group("output"))
    _add_batch(parser.add_argument_group("many files"))
    _add_detection(parser.add_argument_group("detection"))
    _add_image(parser.add_argument_group("the images (default: as their headers tell)"))


def _add_output(group):
    where, add = group.add_mutually_exclusive_group(), group.add_argument
    where.add_argument(
        "-o",
        "--output",
        metavar="FILE-or-DIR",
        help="a directory if there are many files, made if missing (default: FILE_crvi.fits beside "
        "each input)",
    )
    add_options(where, "in-place")
    text = "replace outputs that exist, and earlier detections in the inputs"
    add_options(group, "overwrite", help=text)
    text = "of prob, std, ent, mi, or none; the mask is always written (default: all)"
    add("--planes", type=_planes, default=_PLANES, metavar="LIST", help=text)
    text = "bit of DQ to set: 16384 (default), 8192, 4096, or none"
    add("--dq-bit", type=_dq_bit, default="default", metavar="N", help=text)
    text = "draw each output, FILE_crvi.png: image, mask, probability, entropy (the first 4 chips)"
    add("--plot", action="store_true", help=text)
    add("--dry-run", action="store_true", help="say what would be done, and stop")
    add_options(group, "json")


def _add_batch(group):
    add = group.add_argument
    add("--jobs", type=int, default=1, metavar="N", help="processes (1)")
    text = "of a dask cluster, as in tls://host:8786; its owner can run code here"
    add("--scheduler", metavar="ADDRESS", help=text)
    text = "allow one without TLS: whoever reaches it can run code here"
    add("--insecure-scheduler", action="store_true", help=text)
    text = "skip outputs made from the same input with the same settings"
    add("--resume", action="store_true", help=text)
    add("--table", type=Path, metavar="FILE", help="what came of each file, as ECSV")


def _add_detection(group):
    add = group.add_argument
    add_options(group, "model", default="acs-wfc-vi")
    add_options(group, "T", "threshold", "seed")
    add(
        "--sampling",
        choices=get_args(Sampling),
        default="antithetic",
        help="how the weights are drawn; 'moments' draws none and integrates over the posterior, "
        "'mean' takes its means",
    )
    text = "ways to turn the image, whose mean counts (default: the model's own)"
    add("--views", type=int, choices=(1, 2, 4), help=text)
    add("--mask-growth", type=int, default=0, metavar="PIXELS", help="grow the mask by this radius")
    text = "replace the flagged pixels (default: leave them)"
    add("--clean", choices=get_args(Cleaning), help=text)
    add_options(group, "device", "tile-size")
    text = "of the convolutions; 'bfloat16' is faster where the processor has it"
    add("--precision", choices=get_args(Precision), default="float32", help=text)


def _add_image(group):
    add = group.add_argument
    add_options(group, "ext", "dq-ignore")
    add("--unit", metavar="U", help="of the pixels, as electron or adu/s")
    text = "a two-dimensional spectrum with its wavelength along this axis: model what is smooth"
    add("--spectrum", choices=("x", "y"), help=f"{text} along or across it")
    text = "of a difference: find hits of both frames"
    add("--negative", action="store_true", help=text)
    text = "take the noise from ERR, or UNCERT, in place of an estimate"
    add("--use-err", dest="uncertainty", action="store_const", const=True, help=text)
    text = "image of the sky, in the unit of the exposure, in place of an estimate"
    add("--background", type=Path, metavar="FITS", help=text)
    add_options(group, "protect", "gain", "readnoise", "satlevel", "exposure-time")


def _planes(text):
    names = () if text == "none" else tuple(text.split(","))
    if not set(names) <= set(_PLANES):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of {', '.join(_PLANES)}")
    return names


def _dq_bit(text):
    if text in ("none", "default"):
        return None if text == "none" else text
    if text not in ("4096", "8192", "16384"):
        raise argparse.ArgumentTypeError(f"{text!r} is not 4096, 8192, 16384 or none")
    return int(text)


def run(args):
    """Detect the cosmic rays in every file given."""
    if args.sample == bool(args.files):
        args.usage_error("give FITS files, or --sample without any")
    if args.sample and args.in_place:
        args.usage_error("the sample cannot be replaced: leave out --in-place")
    args.plot |= args.sample
    if args.plot and not {"prob", "ent"} <= set(args.planes):
        args.usage_error("--plot draws probability and entropy: give --planes with prob and ent")
    if args.scheduler is not None and args.jobs > 1:
        args.usage_error("give --jobs or --scheduler, not both")
    from cosmiq_astro.cli._detect_files import detect_or_plan

    return detect_or_plan(args)
