"""
Label the cosmic rays in two or more exposures of one field.

examples:
  cosmiq-astro label night/f0082.fits night/f0083.fits night/f0084.fits \\
      -o pairs/field1 --gain 1.9 --readnoise 5 --satlevel 114000 --offsets measure
      dithered exposures of one field, in adu
  cosmiq-astro label j*_flc.fits -o pairs/visit1 --readnoise 4.5 --offsets wcs --ext 2

output: NAME.fits (electrons), NAME_mask.fits (1 = cosmic ray) and
NAME_ignore.fits (1 = undecided) for every exposure, as 'cosmiq-astro train'
reads them, and labels.ecsv, the report. Give every field or visit a directory
of its own. Look at the pictures of --plot before you train.

An exposure that is unlike the others (seeing, guiding, another field) is named
and left out; where no two are alike, nothing is written.

exit codes: 0 all went well, 1 failed, 2 wrong usage, 130 interrupted
"""

from pathlib import Path

from cosmiq_astro.cli._options import add_options
from cosmiq_astro.cli._terminal import print_table

__all__ = ["HELP", "add_arguments", "run"]

_REPORT, _PICTURE = "labels.ecsv", "labels.png"
_ENDINGS = ("", "_mask", "_ignore")


HELP = "label the cosmic rays in repeated exposures, for training"


def add_arguments(parser):
    """Offer what the command takes."""
    add = parser.add_argument
    add("files", nargs="+", type=Path, metavar="FILE", help="FITS files of one field and filter")
    add("-o", "--output", type=Path, required=True, metavar="DIR", help="made if missing")
    add_options(parser, "overwrite")
    add("--plot", action="store_true", help=f"stamps of what was labelled, DIR/{_PICTURE}")
    group = parser.add_argument_group("the exposures")
    add_options(group, "readnoise", required=True)
    add_options(group, "gain", "satlevel", "mask")
    group.add_argument("--ext", type=int, default=1, metavar="N", help="EXTVER of the chip (1)")
    add = parser.add_argument_group("the comparison").add_argument
    text = "none: aligned; measure: from the stars; wcs: reproject (default: none)"
    add("--offsets", choices=("none", "measure", "wcs"), default="none", help=text)
    text = "of a hit's brightest pixel; raise it if stars get labels (default: 6)"
    add("--significance", type=float, default=6.0, metavar="SIGMA", help=text)
    text = "use exposures that are unlike the others, too"
    add("--force", dest="keep_unlike", action="store_true", help=text)


def run(args):
    """Label the exposures and write the pairs."""
    if len(args.files) < 2:
        args.usage_error("give two or more exposures of one field")
    from cosmiq_astro.hst.names import stem_of

    names = [stem_of(file) for file in args.files]
    if len(set(names)) < len(names):
        args.usage_error("two of the files have the same name")
    from astropy import units as u

    from cosmiq_astro._io import check_run, refuse_existing
    from cosmiq_astro.hst import read_chip
    from cosmiq_astro.training import label_exposures
    from cosmiq_astro.training._pixels import find_images

    planned = [args.output / f"{name}{end}.fits" for name in names for end in _ENDINGS]
    planned += [args.output / _REPORT, *([args.output / _PICTURE] if args.plot else [])]
    check_run([(args.files, planned)])
    for path in planned:
        refuse_existing(path, args.overwrite)
    labels = label_exposures(
        [read_chip(file, args.ext) for file in args.files],
        readnoise=args.readnoise,
        gain=args.gain,
        offsets=None if args.offsets == "none" else args.offsets,
        satlevel=None if args.satlevel is None else args.satlevel * u.electron,
        mask=None if args.mask is None else find_images(args.mask)[0][:, :] != 0,
        significance=args.significance,
        keep_unlike=args.keep_unlike,
        names=names,
    )
    _write(args, names, labels)
    if not args.quiet:
        print_table(labels.report, ".4f")
        n_all, n_out = len(names), len(labels.left_out)
        print(f"{n_all - n_out} of {n_all} exposures used; ", end="")
        print(f"{100 * labels.labelled_fraction:.2f} % of their pixels labelled -> {args.output}")
    return 0


def _write(args, names, labels):
    import numpy as np
    from astropy.io import fits

    from cosmiq_astro._io import atomic_write

    args.output.mkdir(parents=True, exist_ok=True)
    for i in labels.left_out:
        # Nor must it stay from another run.
        for end in _ENDINGS:
            (args.output / f"{names[i]}{end}.fits").unlink(missing_ok=True)
    names = [names[i] for i in labels.used]
    planes = zip(names, labels.images, labels.masks, labels.ignore, strict=True)
    for name, image, mask, ignore in planes:
        header = fits.Header({"BUNIT": "ELECTRONS"})
        hdus = [fits.PrimaryHDU(image.astype(np.float32), header)]
        hdus += [fits.PrimaryHDU(plane.astype(np.uint8)) for plane in (mask, ignore)]
        for end, hdu in zip(_ENDINGS, hdus, strict=True):
            path = args.output / f"{name}{end}.fits"
            with atomic_write(path, overwrite=args.overwrite) as temporary:
                hdu.writeto(temporary)
    with atomic_write(args.output / _REPORT, overwrite=args.overwrite) as temporary:
        labels.report.write(temporary, format="ascii.ecsv")
    if args.plot:
        from cosmiq_astro.training.labels import write_labels

        write_labels(args.output / _PICTURE, labels, names)
