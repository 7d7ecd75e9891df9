"""What goes to the terminal: nothing that it would obey, and colours only where they show."""

import os
import re
import sys

from cosmiq_astro._io import printable

_RED, _YELLOW = "31", "33"


def print_output(text):
    """
    Print lines that somebody may read; the work goes on if nobody does any more.

    Parameters
    ----------
    text : str
        One line or several.
    """
    try:
        print("\n".join(map(printable, text.split("\n"))), flush=True)
    except BrokenPipeError:
        forget_output()
        print_warning("nobody reads the output any more; the work goes on without it")


def print_table(table, form=None):
    """
    Print all rows and columns of a table.

    Parameters
    ----------
    table : `~astropy.table.Table`
        The table.
    form : str, optional
        Format of its real numbers.
    """
    table = table.copy()
    for column in table.itercols():
        if form is not None and column.dtype.kind == "f":
            column.info.format = form
    print("\n".join(table.pformat(max_lines=-1, max_width=-1, align="<")))


def forget_output():
    """Let all that is still to be printed go nowhere, once a pipe's reader has left."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def print_error(message):
    """
    Print an error, on one line.

    Parameters
    ----------
    message : object
        What went wrong.
    """
    print(f"cosmiq-astro: {_painted('error:', _RED)} {_one_line(message)}", file=sys.stderr)


def print_warning(message):
    """
    Print a warning, on one line.

    Parameters
    ----------
    message : object
        What to be wary of.
    """
    print(f"{_painted('warning:', _YELLOW)} {_one_line(message)}", file=sys.stderr)


def _one_line(message):
    return printable(re.sub(r"\s*\n\s*", " ", str(message)))


def _painted(word, colour):
    """Colour a word where that shows, and where it is welcome (https://no-color.org)."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return word if plain or not sys.stderr.isatty() else f"\x1b[{colour}m{word}\x1b[0m"
