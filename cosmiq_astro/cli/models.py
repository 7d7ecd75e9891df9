"""``cosmiq-astro models``: what can be given to ``--model``."""

import json

__all__ = ["add_parser", "run"]


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
        "models", help="list the bundled models", description="List the models."
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object per model")
    parser.set_defaults(run=run)
    return parser


def run(args):
    """
    Print the table of models.

    Parameters
    ----------
    args : `argparse.Namespace`
        Parsed arguments.

    Returns
    -------
    code : int
        0.
    """
    from cosmiq_astro.models.registry import list_models

    table = list_models()
    if args.json:
        for row in table:
            print(json.dumps({name: row[name].tolist() for name in table.colnames}))
        return 0
    if not args.verbose:
        # Enough to recognise the weights by; --verbose and --json give all of it.
        table["sha256"] = [digest[:16] for digest in table["sha256"]]
    print("\n".join(table.pformat(max_lines=-1, max_width=-1, align="<")))
    return 0
