"""Ranges that what is varied is drawn from."""

import numpy as np


def check_interval(name, limits, *, positive=False, most=np.inf):
    """
    Refuse a range that is out of bounds.

    Parameters
    ----------
    name : str
        Name of the argument, for error messages.
    limits : tuple of float
        Smallest and largest.
    positive : bool, optional
        Whether 0 is out of bounds.
    most : float, optional
        What the largest may be.

    Returns
    -------
    limits : tuple of float
        The two.

    Raises
    ------
    ValueError
        If it is.
    """
    low, high = limits
    if not (0 <= low <= high <= most and (low > 0 or not positive)):
        kind = "0 < low" if positive else "0 <= low"
        end = "" if most == np.inf else f" <= {most:g}"
        raise ValueError(f"{name} must be (low, high) with {kind} <= high{end}, got {limits}")
    return float(low), float(high)


def log_uniform(rng, limits):
    """
    Draw a number, uniform in its logarithm.

    Parameters
    ----------
    rng : `~numpy.random.Generator`
        Source of the number.
    limits : tuple of float
        Smallest and largest, positive.

    Returns
    -------
    value : float
        The number.
    """
    return float(np.exp(rng.uniform(*np.log(limits))))
