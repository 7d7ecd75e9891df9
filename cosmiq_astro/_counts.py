"""Whole numbers that users give."""

import numbers

__all__ = ["check_count"]


def check_count(name, value, *, least=1):
    """
    Refuse what is not a whole number, or too small.

    Parameters
    ----------
    name : str
        Of the setting.
    value : object
        What was given.
    least : {1, 0}, optional
        The smallest that is allowed.

    Raises
    ------
    ValueError
        If it is anything else.
    """
    is_whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not is_whole or value < least:
        kind = "a positive integer" if least else "0 or a positive integer"
        raise ValueError(f"{name} must be {kind}, got {value!r}")
