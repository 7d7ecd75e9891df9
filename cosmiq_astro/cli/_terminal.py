"""What goes to the standard error: one line each, coloured on a terminal only."""

import os
import sys

__all__ = ["print_error", "print_warning"]

_RED, _YELLOW = "31", "33"


def print_error(message):
    """
    Print an error.

    Parameters
    ----------
    message : object
        What went wrong.
    """
    print(f"cosmiq-astro: {_painted('error:', _RED)} {message}", file=sys.stderr)


def print_warning(message):
    """
    Print a warning.

    Parameters
    ----------
    message : object
        What to be wary of.
    """
    print(f"{_painted('warning:', _YELLOW)} {message}", file=sys.stderr)


def _painted(word, colour):
    """Colour a word where that shows, and where it is welcome (https://no-color.org)."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return word if plain or not sys.stderr.isatty() else f"\x1b[{colour}m{word}\x1b[0m"
