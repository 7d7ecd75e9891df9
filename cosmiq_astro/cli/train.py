"""
Train a model on exposures with known cosmic rays.

examples:
  cosmiq-astro train pairs/ --hits hits.npz -o mycam-unet --readnoise 5
      repeated exposures, labelled: their hits are left out, those of your
      darks are injected; the best way where you have both
  cosmiq-astro train --science science/ --hits hits.npz -o mycam-unet --readnoise 5 --gain 1.9
      no repeats: what the frames hold already is found by the bundled model,
      and left out
  cosmiq-astro train pairs/ -o mycam-unet --readnoise 5
      labels alone
  cosmiq-astro train --edits reviewed/ -o mycam-unet --readnoise 5
      detections that were corrected on their review pages
  cosmiq-astro train pairs/ --hits hits.npz -o mycam-vi --readnoise 5 --bayesian
      the variational network, whose prior is what the bundled one has learnt

input: NAME.fits or NAME.npy with NAME_mask and, where labels are doubtful,
NAME_ignore beside it, as 'cosmiq-astro label' writes them; 'cosmiq-astro hits'
makes hits.npz. The edits of a review, NAME_edits.json, lie beside the file that
was reviewed. Frames that show the same stars are never on both sides of the
split between training and validation; where there are too few fields, each
frame is parted, and the upper fifth of it validates.

output: a model folder for --model (weights, configuration, card) with
history.ecsv and comparison.ecsv. The model is held against the one it began
from on pixels that neither was trained on. If it is worse, the command fails,
and FOLDER-refused has it. After an interruption the same command goes on.

exit codes: 0 all went well, 1 failed or worse than before, 2 wrong usage, 130 interrupted
"""

from pathlib import Path

from cosmiq_astro._io import refuse_existing
from cosmiq_astro.cli._options import add_fields, add_options, interval
from cosmiq_astro.models.registry import MODEL_FILES

__all__ = ["HELP", "USAGE", "add_arguments", "run"]

HELP = "train a model for another camera"
USAGE = (
    "%(prog)s [options] DIR -o FOLDER\n"
    "       %(prog)s [options] [DIR] --edits PATH -o FOLDER\n"
    "       %(prog)s [options] [DIR] --hits HITS --science DIR -o FOLDER"
)


def add_arguments(parser):
    """Offer what the command takes."""
    from cosmiq_astro.training.settings import (
        EPOCHS,
        HIDDEN,
        KL_BETA,
        TrainingRun,
        TrainingSettings,
    )

    add = parser.add_argument
    add("directory", type=Path, nargs="?", metavar="DIR", help="labelled exposures to train on")
    add("-o", "--output", type=Path, required=True, metavar="FOLDER", help="the model's folder")
    add_options(parser, "overwrite", help="replace a model that is there")
    add("--force", action="store_true", help="keep a model that is worse than before, too")
    add("--validation", type=Path, metavar="DIR", help="to validate on (default: a fifth)")
    text = (
        "inject hits: a library (.npz), dark-subtracted dark frames (a file or a directory), or "
        "'simulated'; may be repeated"
    )
    add("--hits", action="append", metavar="PATH", help=text)
    text = (
        "corrections as labels: an edits file beside the file reviewed, or a directory of them; "
        "may be repeated"
    )
    add("--edits", action="append", type=Path, default=[], metavar="PATH", help=text)
    add("--science", type=Path, metavar="DIR", help="with --hits: exposures without labels")
    group = parser.add_argument_group("the network and its training")
    add = group.add_argument
    add("--bayesian", action="store_true", help="the variational network (default: the baseline)")
    text = (
        "begin from a bundled model, a folder, or 'none' (default: the bundled one for HST, unless "
        "that for other CCDs knows the labels clearly better)"
    )
    add("--init", metavar="MODEL", help=text)
    add("--hidden", type=int, default=HIDDEN, metavar="N", help=f"feature maps, of none ({HIDDEN})")
    add("--epochs", type=int, default=EPOCHS, metavar="N", help=f"({EPOCHS})")
    add_options(group, "seed", default=0, help="(0)")
    add("--kl-beta", type=float, default=KL_BETA, metavar="B", help=f"of the KL term ({KL_BETA:g})")
    add_fields(group, TrainingSettings)
    group = parser.add_argument_group("where it runs, and what it leaves")
    add_fields(group, TrainingRun)
    text = "a picture per epoch, FOLDER/examples"
    group.add_argument("--examples", action="store_true", help=text)
    group = parser.add_argument_group("the exposures")
    add = group.add_argument
    add_options(group, "readnoise", "gain")
    add_options(group, "satlevel", help="with --hits: saturation, electrons")
    text = (
        "what a split keeps together: frames that show the same stars and those of a subdirectory "
        "(field), nothing (frame), or a directory (default: field)"
    )
    add("--visits", choices=("field", "frame", "directory"), default="field", help=text)
    for name, text in (
        ("--exposure-scale", "factor on the light, at most 1, with the noise of so little (1,1)"),
        ("--extra-sky", "sky added with its noise, electrons (0,0)"),
        ("--density", "with --hits: hits per pixel (2e-4,4e-3)"),
    ):
        add(name, type=interval, metavar="LOW,HIGH", help=text)
    add("--instrument", default="", metavar="NAME", help="for the model's card")


def run(args):
    """Train, calibrate, compare and write the model."""
    if args.directory is None and args.science is None and not args.edits:
        args.usage_error("give a directory of labelled exposures, --edits, or --hits and --science")
    if args.science is not None and args.hits is None:
        args.usage_error("--science has no labels: give --hits to inject")
    if args.hits is None and args.density is not None:
        args.usage_error("--density is for --hits: pairs have the hits that they have")
    if args.hits is None and args.satlevel is not None:
        args.usage_error("--satlevel is for --hits: labels know what is saturated")
    if args.hits is not None and args.readnoise is None:
        args.usage_error("--hits needs --readnoise, in electrons: labels are held against it")
    if "simulated" in (args.hits or ()) and len(args.hits) > 1:
        args.usage_error("--hits simulated cannot be mixed with others")
    for name in (*MODEL_FILES, "history.ecsv"):
        refuse_existing(args.output / name, args.overwrite)
    from cosmiq_astro.cli._train_files import train_files

    return train_files(args)
