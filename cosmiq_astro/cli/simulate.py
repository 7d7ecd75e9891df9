"""
Simulate exposures of HST cameras, with their truth.

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

exit codes: 0 all went well, 1 failed, 2 wrong usage, 130 interrupted
"""

import json
from pathlib import Path

from cosmiq_astro._io import refuse_existing
from cosmiq_astro.cli._options import add_options, positive

__all__ = ["HELP", "add_arguments", "run"]

_ENDINGS = {
    "ACS/WFC": "flc",
    "ACS/HRC": "flt",
    "WFC3/UVIS": "flc",
    "WFPC2": "c0m",
    "STIS/CCD": "flt",
}


HELP = "make exposures whose cosmic rays are known"


def add_arguments(parser):
    """Offer what the command takes."""
    add = parser.add_argument
    add("-o", "--output", type=Path, required=True, metavar="DIR", help="made if missing")
    add("-n", "--number", type=positive, default=1, metavar="N", help="of exposures (1)")
    add("--name", default="simulated", metavar="NAME", help="that their names begin with")
    add_options(parser, "seed", default=0, help="the same one makes the same files (0)")
    add_options(parser, "overwrite", "json")
    group = parser.add_argument_group("the camera")
    add = group.add_argument
    add("--camera", choices=tuple(_ENDINGS), default="ACS/WFC", help="(ACS/WFC)")
    add("--filter", metavar="NAME", help="such as F814W (default: F606W)")
    add_options(group, "size")
    add("--subarray", action="store_true", help="one chip only")
    group = parser.add_argument_group("the exposure")
    add_options(group, "exposure-time", default=500.0, help="(500)")
    add_options(group, "field")
    text = "per cm2 and second (1; up to 1100 in the South Atlantic Anomaly)"
    group.add_argument("--cosmic-ray-rate", type=float, default=1.0, metavar="R", help=text)


def run(args):
    """Write the exposures."""
    import numpy as np

    from cosmiq_astro.cli._truth import write_frame

    args.output.mkdir(parents=True, exist_ok=True)
    fields = args.field or ["extragalactic"]
    for i in range(args.number):
        file = args.output / f"{args.name}_{i:03}_{_ENDINGS[args.camera]}.fits"
        refuse_existing(file, args.overwrite)
        settings = {
            "camera": args.camera,
            "exposure_time": args.exposure_time,
            "field": fields[i % len(fields)],
            "chip_shape": None if args.size is None else (args.size, args.size),
            "subarray": args.subarray,
            "filter_name": args.filter,
            "cosmic_ray_rate": args.cosmic_ray_rate,
            "seed": np.random.default_rng([args.seed, i]),
        }
        truth = write_frame(file, settings, overwrite=args.overwrite)
        n_hit = sum(int(chip.label.sum()) for chip in truth.values())
        n_pixels = sum(chip.label.size for chip in truth.values())
        if args.json:
            facts = {"file_out": str(file), "n_pixels": n_pixels, "n_pixels_hit": n_hit}
            print(json.dumps(facts), flush=True)
        elif not args.quiet:
            print(f"{file}: {n_hit} of {n_pixels} pixels hit", flush=True)
    return 0
