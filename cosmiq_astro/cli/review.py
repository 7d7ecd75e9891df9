"""
Make a page for every chip of files that 'cosmiq-astro detect' wrote.

examples:
  cosmiq-astro review j8bt06nyq_flt_crvi.fits
      writes j8bt06nyq_flt_crvi_review.html: open it in a browser
  cosmiq-astro review masked/*_crvi.fits -o pages/ --regions --votable
      with the hits for DS9 and for TOPCAT or Aladin

The page needs no network. What is corrected there is saved as an edits file;
'cosmiq-astro apply EDITS FILE' writes it into the mask.

exit codes: 0 all went well, 1 a file failed, 2 wrong usage, 130 interrupted
"""

from pathlib import Path

from cosmiq_astro._io import printable
from cosmiq_astro.cli._errors import attempt
from cosmiq_astro.cli._options import add_options
from cosmiq_astro.cli._terminal import print_output

__all__ = ["HELP", "add_arguments", "run"]


HELP = "make a page to look at a detection and correct it"


def add_arguments(parser):
    """Offer what the command takes."""
    add = parser.add_argument
    add("files", nargs="+", type=Path, metavar="FILE", help="FITS files with a detection")
    add("-o", "--output", type=Path, metavar="DIR", help="made if missing (default: beside FILE)")
    add_options(parser, "model", help="or a folder, for the expected precision and recall")
    add("--regions", action="store_true", help="write the hits as DS9 regions too")
    add("--votable", action="store_true", help="write the hits as a VOTable too")
    add_options(parser, "protect", "gain", "overwrite")


def run(args):
    """Make the pages."""
    done = [attempt(args, file, _review, args, file) for file in args.files]
    return 0 if all(done) else 1


def _review(args, file):
    from astropy.io import fits

    from cosmiq_astro._io import readable
    from cosmiq_astro.hst import find_chips, read_chip
    from cosmiq_astro.hst.names import stem_of
    from cosmiq_astro.review import make_page

    folder = file.parent if args.output is None else args.output
    folder.mkdir(parents=True, exist_ok=True)
    stem = stem_of(file)
    with readable(file), fits.open(file) as hdus:
        chips = [chip.extver for chip in find_chips(file, hdus)]
    for extver in chips:
        ccd = read_chip(file, extver)
        if getattr(ccd, "cr_mask", None) is None:
            raise ValueError(
                f"chip {extver} holds no detection: run 'cosmiq-astro detect {file}' first"
            )
        name = stem if len(chips) == 1 else f"{stem}_{extver}"
        page = make_page(ccd, name=name, extver=extver, model=args.model, protect=args.protect)
        path = folder / f"{name}_review.html"
        page.write(path, overwrite=args.overwrite)
        if not args.quiet:
            size = f"{len(page.html) / 1e6:.1f} MB"
            print_output(f"{printable(file)}: chip {extver}, {size} -> {printable(path)}")
        _export(args, ccd, folder / name)


def _export(args, ccd, stem):
    """Write what is asked for beside the page."""
    if not (args.regions or args.votable):
        return
    from cosmiq_astro.catalog import cosmicray_catalog
    from cosmiq_astro.review import write_regions, write_votable

    catalog = cosmicray_catalog(ccd, gain=args.gain)
    for asked, write, suffix in (
        (args.regions, write_regions, ".reg"),
        (args.votable, write_votable, ".vot"),
    ):
        if asked:
            path = stem.with_name(stem.name + suffix)
            write(catalog, path, overwrite=args.overwrite)
            if not args.quiet:
                print_output(f"  {len(catalog)} hits -> {printable(path)}")
