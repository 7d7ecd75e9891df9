"""The cosmic-ray rate over time, from what detections have written to their files."""

from __future__ import annotations

import math
from collections import ChainMap
from collections.abc import Sequence
from os import PathLike
from typing import TYPE_CHECKING

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.table import QTable
from astropy.time import Time

from cosmiq_astro._rate import RATE, stated_rate
from cosmiq_astro.units import stated_time

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["hit_rates", "plot_hit_rates"]


def hit_rates(files: Sequence[str | PathLike]) -> QTable:
    """
    Put the cosmic-ray rates of many exposures into a table, by time.

    Parameters
    ----------
    files : sequence of path-like
        Outputs of `~cosmiq_astro.hst.detect_file`. Only their headers are read.

    Returns
    -------
    rates : `~astropy.table.QTable`
        One row per file, by time: ``file``; ``time``, the middle of the
        exposure (`~astropy.time.Time`); ``exposure_time`` (s); ``n_hits``;
        ``hit_rate``, the mean over the chips, weighted by the pixels searched,
        and its Poisson standard error ``hit_rate_error`` (1 / (cm2 s); NaN
        where the size of the pixels or the exposure time is not known).

    Raises
    ------
    ValueError
        If a file holds no detection, does not tell when it was taken, or has a time that is
        not a number.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from cosmiq_astro.data import sample_path
    >>> from cosmiq_astro.hst import detect_file
    >>> from cosmiq_astro.hit_rates import hit_rates
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder) / "sample_crvi.fits"
    ...     result = detect_file(sample_path(), file, model="acs-wfc-unet")
    ...     rates = hit_rates([file])
    >>> print(rates["time"][0].isot, rates["exposure_time"][0])
    2002-04-13T20:40:52.644 60.0 s
    """
    rows = [_read(file) for file in files]
    names = ["file", "time", "exposure_time", "n_hits", "hit_rate", "hit_rate_error"]
    table = QTable(rows=rows or None, names=names)
    table["time"] = Time(table["time"].astype(float), format="mjd", scale="utc")
    for name, unit in (("exposure_time", u.s), ("hit_rate", RATE), ("hit_rate_error", RATE)):
        table[name] = table[name].astype(float) * unit
    table["time"].format = "isot"
    return table[np.argsort(table["time"].mjd, kind="stable")]


def plot_hit_rates(rates: QTable, ax: Axes | None = None) -> Axes:
    """
    Draw the rates over time, with their errors.

    Parameters
    ----------
    rates : `~astropy.table.QTable`
        From `hit_rates`.
    ax : `~matplotlib.axes.Axes`, optional
        Where to draw. Default: the current axes.

    Returns
    -------
    ax : `~matplotlib.axes.Axes`
        With the rates added.
    """
    import matplotlib.pyplot as plt

    ax = plt.gca() if ax is None else ax
    ax.errorbar(
        rates["time"].datetime64,
        rates["hit_rate"].to_value(RATE),
        yerr=rates["hit_rate_error"].to_value(RATE),
        fmt="o",
        markersize=4,
    )
    ax.set(xlabel="time (UTC)", ylabel="hits per cm$^2$ and second")
    return ax


def _read(file):
    """Return the row of a file."""
    # A header of a compressed image has the same cards, and is read much faster as it is stored.
    with fits.open(file, disable_image_compression=True) as hdus:
        primary = hdus[0].header
        headers = [hdu.header for hdu in hdus if "CRVINHIT" in hdu.header]
    if not headers:
        raise ValueError(f"{file} holds no detection: give outputs of a detection")
    stated = stated_time(ChainMap(headers[0], primary))
    exposure_time = math.nan if stated is None else _number(file, "EXPTIME (or XPOSURE)", stated)
    n_hits = sum(header["CRVINHIT"] for header in headers)
    rate = stated_rate(headers)
    error = rate * math.sqrt(n_hits) / max(n_hits, 1)
    middle = _start(file, headers[0], primary) + np.nan_to_num(exposure_time) / 2 / 86400
    return str(file), middle, exposure_time, n_hits, rate, error


def _start(file, header, primary):
    """Return when the exposure began, MJD."""
    for source in (header, primary):
        if "EXPSTART" in source:
            return _number(file, "EXPSTART", source["EXPSTART"])
        if "DATE-OBS" in source:
            date = str(source["DATE-OBS"]).strip()
            clock = str(source.get("TIME-OBS", source.get("UT", ""))).strip()
            date = date if "T" in date or not clock else f"{date}T{clock}"
            try:
                return Time(date, scale="utc").mjd
            except ValueError as error:
                raise ValueError(f"{file}: DATE-OBS is {date!r}, not a date: correct it") from error
    raise ValueError(f"{file} has neither EXPSTART nor DATE-OBS: the time of its rate is unknown")


def _number(file, card, value):
    """Return what a card says, also where its number stands as a text."""
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{file}: {card} is {value!r}, not a number: correct it") from error
