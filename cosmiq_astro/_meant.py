"""What was meant by a word that is none of those known."""

import difflib
from collections.abc import Iterable

__all__ = ["did_you_mean"]


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """
    Ask whether a word was meant that looks alike.

    Parameters
    ----------
    word : str
        As it was given.
    known : iterable of str
        Those that there are.

    Returns
    -------
    question : str
        To follow a message; empty if none looks alike.
    """
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""
