"""``cosmiq-astro detect``: files in, files with their cosmic rays out."""

import argparse
from pathlib import Path

__all__ = ["add_parser", "run"]

_EPILOG = """\
examples:
  cosmiq-astro detect --sample
      the bundled HST exposure: FITS and PNG into the current directory
  cosmiq-astro detect j*_flc.fits -o masked/ -T 8 --seed 1
      many files into one directory, repeatable
  cosmiq-astro detect j8bt06nyq_flt.fits --model acs-wfc-unet --dq-bit 4096
      the fast baseline, and the DQ bit that AstroDrizzle uses
  cosmiq-astro detect archive/*_flc.fits -o masked/ --jobs 8 --resume --table survey.ecsv
      a survey: eight processes; run again, it goes on where it was
  cosmiq-astro detect night/*.fits --gain 1.9 --readnoise 5 --clean medmask
      simple images in adu, with the hits replaced

output: a copy of the input with CRVIMASK (1 = cosmic ray), CRPROB, CRSTD,
CRENT and CRMI for every chip, and a bit of DQ set.

exit codes: 0 all went well, 1 a file failed, 2 wrong usage, 130 interrupted"""


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
        "detect",
        usage="%(prog)s [options] FILE [FILE ...]\n       %(prog)s [options] --sample",
        help="find the cosmic rays in FITS files",
        description="Find the cosmic rays in HST files and in simple FITS images.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="FITS files")
    parser.add_argument(
        "--sample", action="store_true", help="take the bundled exposure, and draw a PNG too"
    )
    _add_output(parser.add_argument_group("output"))
    _add_survey(parser.add_argument_group("many files"))
    _add_detection(parser.add_argument_group("detection"))
    _add_image(parser.add_argument_group("the images (default: as their headers tell)"))
    parser.set_defaults(run=run, usage_error=parser.error)
    return parser


def _add_output(group):
    where = group.add_mutually_exclusive_group()
    where.add_argument(
        "-o",
        "--output",
        metavar="FILE-or-DIR",
        help="a directory if there are many files, made if missing (default: FILE_crvi.fits beside "
        "each input)",
    )
    where.add_argument("--in-place", action="store_true", help="replace the inputs")
    group.add_argument(
        "--overwrite",
        action="store_true",
        help="replace outputs that exist, and earlier detections in the inputs",
    )
    group.add_argument(
        "--planes",
        type=_planes,
        default=("prob", "std", "ent", "mi"),
        metavar="LIST",
        help="of prob, std, ent, mi, or none; the mask is always written (default: all)",
    )
    group.add_argument(
        "--dq-bit",
        type=_dq_bit,
        default="default",
        metavar="N",
        help="bit of DQ to set: 16384 (default), 8192, 4096, or none",
    )
    group.add_argument("--dry-run", action="store_true", help="say what would be done, and stop")
    group.add_argument("--json", action="store_true", help="print one JSON object per file")


def _add_survey(group):
    group.add_argument("--jobs", type=int, default=1, metavar="N", help="processes (1)")
    group.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="of a dask cluster, as in tls://host:8786; its owner can run code here",
    )
    group.add_argument(
        "--insecure-scheduler",
        action="store_true",
        help="allow one without TLS: whoever reaches it can run code here",
    )
    group.add_argument(
        "--resume",
        action="store_true",
        help="skip outputs made from the same input with the same settings",
    )
    group.add_argument("--table", type=Path, metavar="FILE", help="what came of each file, as ECSV")


def _add_detection(group):
    group.add_argument(
        "--model", default="acs-wfc-vi", metavar="NAME", help="or a folder (default: acs-wfc-vi)"
    )
    group.add_argument(
        "-T", type=int, default=16, help="weight draws; the time grows with it (default: 16)"
    )
    group.add_argument(
        "--threshold",
        type=float,
        metavar="P",
        help="probability from which a pixel is flagged (default: the model's own)",
    )
    group.add_argument("--seed", type=int, metavar="N", help="makes the result repeatable")
    group.add_argument(
        "--sampling",
        choices=("antithetic", "independent", "moments", "mean"),
        default="antithetic",
        help="how the weights are drawn; 'moments' draws none and propagates mean and variance, "
        "'mean' is without uncertainty",
    )
    group.add_argument(
        "--views",
        type=int,
        choices=(1, 2, 4),
        help="ways to turn the image, whose mean counts (default: the model's own)",
    )
    group.add_argument(
        "--mask-growth", type=int, default=0, metavar="PIXELS", help="grow the mask by this radius"
    )
    group.add_argument(
        "--clean",
        choices=("median", "medmask", "meanmask", "idw", "maskfill"),
        help="replace the flagged pixels (default: leave them)",
    )
    group.add_argument(
        "--device", default="auto", metavar="D", help="auto, cpu, cuda, mps (default: auto)"
    )
    group.add_argument("--tile-size", type=int, metavar="PIXELS", help="lower it to save memory")
    group.add_argument(
        "--precision",
        choices=("float32", "bfloat16"),
        default="float32",
        help="of the convolutions; 'bfloat16' is faster where the processor has it",
    )


def _add_image(group):
    group.add_argument(
        "--ext",
        type=_extver,
        action="append",
        metavar="SCI,N",
        help="search this chip only; may be repeated (default: all)",
    )
    group.add_argument(
        "--dq-ignore",
        type=_bits,
        metavar="BITS",
        help="bits, as in 128,512, that shall not mask a pixel",
    )
    group.add_argument("--unit", metavar="U", help="of the pixels, as electron or adu/s")
    group.add_argument(
        "--spectrum",
        choices=("x", "y"),
        help="a two-dimensional spectrum with its wavelength along this axis: model what is smooth "
        "along or across it",
    )
    group.add_argument(
        "--negative", action="store_true", help="of a difference: find hits of both frames"
    )
    group.add_argument(
        "--use-err",
        action="store_true",
        help="take the noise from ERR, or UNCERT, in place of an estimate",
    )
    group.add_argument(
        "--background",
        type=Path,
        metavar="FITS",
        help="image of the sky, in the unit of the exposure, in place of an estimate",
    )
    group.add_argument(
        "--protect",
        type=Path,
        metavar="REGIONS",
        help="a region file of DS9 or CASA: pixels inside are never flagged",
    )
    group.add_argument("--gain", type=float, metavar="G", help="electrons per adu")
    group.add_argument("--readnoise", type=float, metavar="R", help="electrons")
    group.add_argument("--satlevel", type=float, metavar="S", help="electrons")
    group.add_argument("--exposure-time", type=float, metavar="SECONDS", help="for rates")


def _planes(text):
    names = () if text == "none" else tuple(text.split(","))
    if not set(names) <= {"prob", "std", "ent", "mi"}:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of prob, std, ent, mi")
    return names


def _dq_bit(text):
    if text == "none":
        return None
    if text == "default":
        return text
    if text not in ("4096", "8192", "16384"):
        raise argparse.ArgumentTypeError(f"{text!r} is not 4096, 8192, 16384 or none")
    return int(text)


def _bits(text):
    try:
        bits = [int(part) for part in text.replace("+", ",").split(",")]
    except ValueError:
        bits = [-1]
    if min(bits) < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of bits, as in 128,512")
    total = 0
    for value in bits:
        total |= value
    return total


def _extver(text):
    name, _, number = text.rpartition(",")
    if name.strip().upper() not in ("", "SCI") or not number.strip().isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not a chip, as in SCI,1")
    return int(number)


def run(args):
    """
    Detect the cosmic rays in every file given.

    Parameters
    ----------
    args : `argparse.Namespace`
        Parsed arguments.

    Returns
    -------
    code : int
        1 if any file failed, else 0.
    """
    if args.sample == bool(args.files):
        args.usage_error("give FITS files, or --sample without any")
    if args.sample and args.in_place:
        args.usage_error("the sample cannot be replaced: leave out --in-place")
    if args.in_place and args.output is not None:
        args.usage_error("give --output or --in-place, not both")
    if args.scheduler is not None and args.jobs > 1:
        args.usage_error("give --jobs or --scheduler, not both")
    from cosmiq_astro.cli._detect_files import detect_files

    return detect_files(args)
