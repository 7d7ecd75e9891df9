"""What the command line says of an error, in place of a traceback."""

import re
import traceback

from cosmiq_astro.cli._terminal import print_error

EXPECTED = (OSError, ValueError, TypeError, ImportError)
"""Errors whose message is meant for the user; any other is named by its type."""

# What PyTorch says, whose memory grows with the tiles, and what numpy and Python do.
_NO_ROOM_FOR_TILES = re.compile("OutOfMemory|out of memory|not enough memory|can't allocate")
_NO_MEMORY = re.compile("MemoryError|Unable to allocate")


def describe(error, args=None):
    """
    Return one line for the user.

    Parameters
    ----------
    error : Exception
        What was raised.
    args : `argparse.Namespace`, optional
        As for `with_advice`.

    Returns
    -------
    text : str
        Its message; with its type in front if it was not foreseen, and with
        advice if memory ran out.
    """
    text = str(error) if isinstance(error, EXPECTED) else f"{type(error).__name__}: {error}"
    return with_advice(text, args)


def with_advice(text, args=None):
    """
    Say what can be done in words of the command line, also where memory ran out.

    Parameters
    ----------
    text : str
        A message.
    args : `argparse.Namespace`, optional
        Of the command: only options that it has are named, and only those
        that can help.

    Returns
    -------
    text : str
        The message, with advice or as it was.
    """
    text = text.replace("; set overwrite to", "; give --overwrite to")
    in_network = _NO_ROOM_FOR_TILES.search(text)
    if not in_network and not _NO_MEMORY.search(text):
        return text
    names = ("tile_size", "batch_size", "patch_size") if in_network else ()
    helpful = [f"--{name.replace('_', '-')}" for name in names if hasattr(args, name)]
    if getattr(args, "jobs", 1) > 1:
        helpful.append("--jobs")
    advice = f"lower {' or '.join(helpful)}" if helpful else "the data need more than there is"
    return f"memory ran out ({text.splitlines()[0]}): {advice}"


def attempt(args, file, work, *given):
    """
    Work on one of several files: what goes wrong with it is said, and does not stop the others.

    Parameters
    ----------
    args : `argparse.Namespace`
        With ``debug``.
    file : path-like
        The file.
    work : callable
        What to call.
    *given
        With these.

    Returns
    -------
    done : bool
        Whether it went well.
    """
    try:
        work(*given)
    except Exception as error:
        if args.debug:
            traceback.print_exc()
        print_error(f"{file}: {describe(error, args)}")
        return False
    return True
