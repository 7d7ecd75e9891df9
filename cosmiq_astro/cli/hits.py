"""
Cut the cosmic rays out of dark frames, to be injected in training.

examples:
  cosmiq-astro hits darks/*.fits -o hits.npz --gain 1.9 --readnoise 5
  cosmiq-astro train --hits hits.npz --science science/ -o mycam-unet --gain 1.9 --readnoise 5

The darks come as the camera made them, of one exposure time; three are needed,
ten or more are better. Bias and dark current are taken off; pixels that stand
out again and again are hot, and no hit is taken from them.

exit codes: 0 all went well, 1 failed, 2 wrong usage, 130 interrupted
"""

from pathlib import Path

from cosmiq_astro._io import refuse_existing
from cosmiq_astro.cli._options import add_options
from cosmiq_astro.cli._terminal import print_table

__all__ = ["HELP", "add_arguments", "run"]

HELP = "cut the cosmic rays out of dark frames, for training"


def add_arguments(parser):
    """Offer what the command takes."""
    add = parser.add_argument
    add("files", nargs="+", type=Path, metavar="DARK", help="FITS files, or directories of them")
    add("-o", "--output", type=Path, required=True, metavar="FILE.npz", help="the library")
    add_options(parser, "readnoise", required=True)
    add_options(parser, "overwrite", "gain", "mask")
    text = "least charge of a hit, electrons; raise it where warm pixels abound (250)"
    add("--min-charge", type=float, default=250.0, metavar="Q", help=text)


def run(args):
    """Cut the hits out and write the library."""
    if args.output.suffix != ".npz":
        args.usage_error(f"--output must end in .npz, got {args.output}")
    refuse_existing(args.output, args.overwrite)
    from cosmiq_astro._io import atomic_write
    from cosmiq_astro.training import cut_hits
    from cosmiq_astro.training._pixels import find_images

    darks = [image for file in args.files for image in find_images(file)]
    library = cut_hits(
        darks,
        readnoise=args.readnoise,
        gain=args.gain,
        mask=None if args.mask is None else find_images(args.mask)[0][:, :] != 0,
        min_charge=args.min_charge,
    )
    args.output.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(args.output, overwrite=args.overwrite) as temporary:
        library.footprints.save(temporary)
    if not args.quiet:
        report = library.report
        report.add_column(
            [str(getattr(dark, "path", i)) for i, dark in enumerate(darks)], 0, "dark"
        )
        report["level"].format, report["hits_per_pixel"].format = ".1f", ".2e"
        print_table(report)
        print(
            f"{len(library.footprints)} hits of {len(darks)} darks, {int(library.bad.sum())} "
            f"pixels hot or unsteady -> {args.output}"
        )
    return 0
