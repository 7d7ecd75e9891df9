"""List the bundled models: what can be given to ``--model``."""

import json

from cosmiq_astro.cli._options import add_options
from cosmiq_astro.cli._terminal import print_table

__all__ = ["HELP", "add_arguments", "run"]

HELP = "list the bundled models"


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
    if not args.verbose:
        # Enough to recognise the weights by; --verbose and --json give all of it.
        table["sha256"] = [digest[:16] for digest in table["sha256"]]
    print_table(table, ".3g")
    return 0
