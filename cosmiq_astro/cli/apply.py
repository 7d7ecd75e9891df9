"""
Write what was corrected on a review page into the mask of its file.

examples:
  cosmiq-astro apply j8bt06nyq_flt_crvi_edits.json j8bt06nyq_flt_crvi.fits
      writes j8bt06nyq_flt_crvi_edited.fits
  cosmiq-astro apply visit_1_edits.json visit_2_edits.json visit.fits --in-place
      both chips of a file

CRVIMASK and the bit of DQ (of a simple image: MASK) become those of the edited
mask; CRVIEDIT, CRVIEADD, CRVIEREM and CRVIEDAT in the header tell of it.

exit codes: 0 all went well, 1 failed, 2 wrong usage, 130 interrupted
"""

from pathlib import Path

from cosmiq_astro._io import printable
from cosmiq_astro.cli._options import add_options
from cosmiq_astro.cli._terminal import print_output

__all__ = ["HELP", "add_arguments", "run"]

HELP = "write the edits of a review into a file"


def add_arguments(parser):
    """Offer what the command takes."""
    add = parser.add_argument
    add("edits", nargs="+", type=Path, metavar="EDITS", help="edits files, one per chip")
    add("file", type=Path, metavar="FILE", help="the file that was reviewed")
    where = parser.add_mutually_exclusive_group()
    text = "(default: <name>_edited.fits beside it)"
    where.add_argument("-o", "--output", type=Path, metavar="FILE", help=text)
    add_options(where, "in-place")
    add_options(parser, "overwrite")


def run(args):
    """Apply the edits."""
    from cosmiq_astro.review import apply_edits

    counts = apply_edits(
        args.edits, args.file, args.output, in_place=args.in_place, overwrite=args.overwrite
    )
    if not args.quiet:
        print_output(
            f"{printable(args.file)}: {counts['n_added']} pixels added, "
            f"{counts['n_removed']} removed, "
            f"{counts['n_pixels_flagged']} flagged in {counts['n_hits']} hits "
            f"-> {printable(counts['file_out'])}"
        )
    return 0
