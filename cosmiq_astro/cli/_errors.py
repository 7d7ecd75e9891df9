"""What the command line says of an error, in place of a traceback."""

import re

__all__ = ["EXPECTED", "describe", "with_advice"]

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
    Add what can be done to a message that says that memory ran out.

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
    in_network = _NO_ROOM_FOR_TILES.search(text)
    if not in_network and not _NO_MEMORY.search(text):
        return text
    names = ("tile_size", "batch_size", "patch_size") if in_network else ()
    helpful = [f"--{name.replace('_', '-')}" for name in names if hasattr(args, name)]
    if getattr(args, "jobs", 1) > 1:
        helpful.append("--jobs")
    advice = f"lower {' or '.join(helpful)}" if helpful else "the data need more than there is"
    return f"memory ran out ({text.splitlines()[0]}): {advice}"
