"""``cosmiq-astro simulate``: exposures of HST cameras with a known truth."""

import argparse
import json
from pathlib import Path

__all__ = ["add_parser", "run"]

_ENDINGS = {
    "ACS/WFC": "flc",
    "ACS/HRC": "flt",
    "WFC3/UVIS": "flc",
    "WFPC2": "c0m",
    "STIS/CCD": "flt",
}
_FIELDS = ("extragalactic", "globular", "galaxy", "nebula", "blend")

_EPILOG = """\
examples:
  cosmiq-astro simulate -o frames/ --seed 1
      one full ACS/WFC exposure of 500 s
  cosmiq-astro simulate -o frames/ -n 20 --camera WFC3/UVIS --size 512 --field globular
      twenty small ones of a globular cluster
  cosmiq-astro evaluate frames/*.fits
      how good are the probabilities on them?

output: NAME_000_flc.fits and so on, laid out as the camera's calibrated files
(_flt, _c0m with _c1m), with TRUTH (1 = cosmic ray) and IGNORE (1 = undecided)
for every chip.

exit codes: 0 all went well, 1 failed, 2 wrong usage, 130 interrupted"""


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
        "simulate",
        help="make exposures whose cosmic rays are known",
        description="Simulate exposures of HST cameras, with their truth.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("-o", "--output", type=Path, required=True, metavar="DIR", help="made if missing")
    add("-n", "--number", type=_positive, default=1, metavar="N", help="of exposures (1)")
    add("--name", default="simulated", metavar="NAME", help="that their names begin with")
    add("--overwrite", action="store_true", help="replace files that exist")
    add("--seed", type=int, default=0, metavar="N", help="the same one makes the same files (0)")
    add("--json", action="store_true", help="print one JSON object per file")
    group = parser.add_argument_group("the camera")
    add = group.add_argument
    add("--camera", choices=tuple(_ENDINGS), default="ACS/WFC", help="(ACS/WFC)")
    add("--filter", metavar="NAME", help="such as F814W (default: F606W)")
    add("--size", type=_positive, metavar="PIXELS", help="side of a chip (default: the camera's)")
    add("--subarray", action="store_true", help="one chip only")
    add("--cte", type=float, default=0.05, metavar="C", help="strength of the trails (0.05)")
    group = parser.add_argument_group("the exposure")
    add = group.add_argument
    add("--exposure-time", type=float, default=500.0, metavar="SECONDS", help="(500)")
    add(
        "--field",
        choices=_FIELDS,
        action="append",
        help="kind of scene; if repeated, in turn (default: extragalactic)",
    )
    add("--sky-rate", type=float, default=0.06, metavar="R", help="electrons per second (0.06)")
    add(
        "--cosmic-ray-rate",
        type=float,
        default=1.0,
        metavar="R",
        help="per cm2 and second (1; up to 1100 in the South Atlantic Anomaly)",
    )
    parser.set_defaults(run=run, usage_error=parser.error)
    return parser


def _positive(text):
    if not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive integer")
    return int(text)


def run(args):
    """
    Write the exposures.

    Parameters
    ----------
    args : `argparse.Namespace`
        Parsed arguments.

    Returns
    -------
    code : int
        0.
    """
    import numpy as np

    from cosmiq_astro.cli._truth import write_frame

    args.output.mkdir(parents=True, exist_ok=True)
    fields = args.field or ["extragalactic"]
    for i in range(args.number):
        file = args.output / f"{args.name}_{i:03}_{_ENDINGS[args.camera]}.fits"
        if file.exists() and not args.overwrite:
            raise FileExistsError(f"{file} exists already; give --overwrite to replace it")
        truth = write_frame(
            file,
            camera=args.camera,
            exposure_time=args.exposure_time,
            field=fields[i % len(fields)],
            chip_shape=None if args.size is None else (args.size, args.size),
            subarray=args.subarray,
            filter_name=args.filter,
            sky_rate=args.sky_rate,
            cosmic_ray_rate=args.cosmic_ray_rate,
            cte=args.cte,
            seed=np.random.default_rng([args.seed, i]),
            overwrite=args.overwrite,
        )
        n_hit = sum(int(chip.label.sum()) for chip in truth.values())
        n_pixels = sum(chip.label.size for chip in truth.values())
        if args.json:
            facts = {"file_out": str(file), "n_pixels": n_pixels, "n_pixels_hit": n_hit}
            print(json.dumps(facts), flush=True)
        elif not args.quiet:
            print(f"{file}: {n_hit} of {n_pixels} pixels hit", flush=True)
    return 0
