"""Say which of the bundled models to give to ``--model``."""

import json

from cosmiq_astro.cli._options import add_options
from cosmiq_astro.cli._terminal import print_table

__all__ = ["HELP", "add_arguments", "run"]

HELP = "which model to take, and a list of the bundled ones"

_ADVICE = """\
HST and other CCDs: acs-wfc-vi, the default.
In a hurry: acs-wfc-unet; about the same mask, without uncertainty.
Best for one camera: a model of your own ('cosmiq-astro train --help').
"""
_SHORT = ("name", "instrument", "method", "threshold")


def add_arguments(parser):
    """Offer what the command takes."""
    add_options(parser, "json", help="print one JSON object per model")


def run(args):
    """Print the table of models."""
    from cosmiq_astro.models.registry import list_models

    table = list_models()
    if args.json:
        for row in table:
            print(json.dumps({name: row[name].tolist() for name in table.colnames}))
        return 0
    print(_ADVICE)
    print_table(table if args.verbose else table[_SHORT], ".3g")
    return 0
