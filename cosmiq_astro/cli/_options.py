"""How a command is made, and the options that several of them have: each in one place."""

import argparse
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import get_args

from cosmiq_astro._operating_curve import OPERATING_POINTS
from cosmiq_astro._types import Field


def positive(text):
    """Return a positive integer."""
    if not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive integer")
    return int(text)


def interval(text):
    """Return two numbers."""
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not LOW,HIGH, as in 0.2,1") from None
    return low, high


def chip(text):
    """Return the EXTVER of a chip."""
    name, _, number = text.rpartition(",")
    if name.strip().upper() not in ("", "SCI") or not number.strip().isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not a chip, as in SCI,1")
    return int(number)


def operating_point(text):
    """Return a threshold: a number, or the name of one."""
    return text if text in OPERATING_POINTS else float(text)


def bits(text):
    """Return bits of DQ as one number."""
    total = 0
    for part in text.replace("+", ",").split(","):
        if not part.strip().isdigit():
            raise argparse.ArgumentTypeError(f"{text!r} is not a list of bits, as in 128,512")
        total |= int(part)
    return total


def _flag(text):
    return {"action": "store_true", "help": text}


def _number(metavar, text, kind: Callable = float):
    return {"type": kind, "metavar": metavar, "help": text}


_OPTIONS = {
    "overwrite": _flag("replace outputs that exist"),
    "in-place": _flag("replace the inputs"),
    "json": _flag("print one JSON object per file"),
    "model": {"metavar": "NAME", "help": "or a folder (default: acs-wfc-vi)"},
    "T": _number("T", "weight draws, cheap in the bundled models (default: 16)", int)
    | {"default": 16},
    "threshold": _number(
        "P",
        "probability from which a pixel is flagged, or pure, balanced, complete (default: the "
        "model's)",
        operating_point,
    ),
    "seed": _number("N", "makes the result repeatable", int),
    "device": {"default": "auto", "metavar": "D", "help": "auto, cpu, cuda, mps (default: auto)"},
    "tile-size": _number("PIXELS", "lower it to save memory", int),
    "ext": {
        "dest": "extver",
        "type": chip,
        "action": "append",
        "metavar": "SCI,N",
        "help": "this chip only; may be repeated (default: all)",
    },
    "dq-ignore": _number("BITS", "bits, as in 128,512, that shall not mask a pixel", bits),
    "protect": _number("REGIONS", "a region file of DS9 or CASA: pixels never flagged", Path),
    "gain": _number("G", "electrons per adu"),
    "readnoise": _number("R", "electrons"),
    "satlevel": _number("S", "electrons; give it if stars saturate"),
    "exposure-time": _number("SECONDS", "for rates"),
    "mask": _number("FILE", "bad pixels of the detector: not 0", Path),
    "field": {
        "choices": get_args(Field),
        "action": "append",
        "help": "kind of scene; if repeated, in turn (default: extragalactic)",
    },
    "size": _number("PIXELS", "side of a chip (default: the camera's)", positive),
}


def add_command(commands, module):
    """
    Add a command, whose name is that of its module.

    Parameters
    ----------
    commands : object
        What `argparse.ArgumentParser.add_subparsers` returned.
    module : module
        Of its doc the first paragraph stands before the options, the rest behind them. It
        has ``HELP``, perhaps ``USAGE``, ``add_arguments``, and ``run``, which takes the parsed
        arguments (with ``usage_error``, and ``options``, by parameter) and returns the exit code.

    Returns
    -------
    parser : `argparse.ArgumentParser`
        That of the command.
    """
    description, _, epilog = (module.__doc__ or "").strip().partition("\n\n")
    parser = commands.add_parser(
        module.__name__.rpartition(".")[2],
        formatter_class=argparse.RawDescriptionHelpFormatter,
        help=module.HELP,
        usage=getattr(module, "USAGE", None),
        description=description,
        epilog=epilog,
    )
    module.add_arguments(parser)
    options = {a.dest: a.option_strings[-1] for a in parser._actions if a.option_strings}
    parser.set_defaults(run=module.run, usage_error=parser.error, options=options)
    return parser


def add_options(group, *names, **changes):
    """
    Offer options that several commands have.

    Parameters
    ----------
    group : object
        A parser, or a group of one.
    *names : str
        As they are written on the command line.
    **changes
        For ``argparse``, of all these options, where they differ for this command.
    """
    for name in names:
        dashes = "-" if len(name) == 1 else "--"
        group.add_argument(f"{dashes}{name}", **_OPTIONS[name] | changes)


def add_fields(group, settings):
    """
    Offer the fields of a group of settings that have a text for it.

    Parameters
    ----------
    group : object
        A parser, or a group of one.
    settings : type
        A dataclass whose fields have ``help``, ``kind``, ``metavar`` and ``repeated``.
    """
    for field in fields(settings):
        if not field.metadata:
            continue
        about = field.metadata
        action, default, note = "store", field.default, f" ({field.default})"
        if about["repeated"]:
            action, default, note = "append", None, "; may be repeated"
        elif default is None:
            note = ""
        group.add_argument(
            f"--{field.name.replace('_', '-')}",
            action=action,
            type=about["kind"],
            default=default,
            metavar=about["metavar"] or "N",
            help=about["help"] + note,
        )
