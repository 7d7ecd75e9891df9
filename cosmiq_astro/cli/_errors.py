"""What the command line says of an error, in place of a traceback."""

import re

__all__ = ["EXPECTED", "describe", "with_advice"]

EXPECTED = (OSError, ValueError, TypeError, ImportError)
"""Errors whose message is meant for the user; any other is named by its type."""

_NO_MEMORY = re.compile(
    "MemoryError|OutOfMemory|out of memory|not enough memory|can't allocate|unable to allocate",
    re.IGNORECASE,
)


def describe(error):
    """
    Return one line for the user.

    Parameters
    ----------
    error : Exception
        What was raised.

    Returns
    -------
    text : str
        Its message; with its type in front if it was not foreseen, and with
        advice if memory ran out.
    """
    text = str(error) if isinstance(error, EXPECTED) else f"{type(error).__name__}: {error}"
    return with_advice(text)


def with_advice(text):
    """
    Add what can be done to a message that says that memory ran out.

    Parameters
    ----------
    text : str
        A message.

    Returns
    -------
    text : str
        The message, with advice or as it was.
    """
    if not _NO_MEMORY.search(text):
        return text
    return (
        f"memory ran out ({text.splitlines()[0]}): lower --tile-size (tile_size in Python; 352 by "
        "default, 1024 with CUDA) and --jobs"
    )
