"""What came of many files, as a table on disk."""

import contextlib

import numpy as np
from astropy import units as u
from astropy.table import QTable, vstack

from cosmiq_astro._io import atomic_write, printable
from cosmiq_astro._rate import RATE

__all__ = ["RATE", "read_earlier", "save", "tabulate"]

_COLUMNS = {
    "file_in": str,
    "status": str,
    "file_out": str,
    "n_pixels_flagged": int,
    "n_hits": int,
    "hit_rate": float,
    "seconds": float,
    "error": str,
    "verdict": str,
    "notes": str,
}


def tabulate(outcomes):
    """Return a table with a row for each `~cosmiq_astro.batch.Outcome`, by input."""

    def cell(outcome, name):
        value = getattr(outcome, name)
        value = "; ".join(value) if isinstance(value, tuple) else value
        return printable(value) if isinstance(value, str) else value

    ordered = sorted(outcomes, key=lambda outcome: outcome.file_in)
    columns = [[cell(outcome, name) for outcome in ordered] for name in _COLUMNS]
    table = QTable(columns, names=list(_COLUMNS), dtype=list(_COLUMNS.values()))
    table["hit_rate"] = table["hit_rate"] * RATE
    table["seconds"] = table["seconds"] * u.s
    return table


def read_earlier(path):
    """Return the table of an earlier run; None if there is nothing, or something else."""
    with contextlib.suppress(Exception):
        earlier = QTable.read(path, format="ascii.ecsv")
        return earlier if earlier.colnames == list(_COLUMNS) else None
    return None


def save(path, found, earlier, *, overwrite):
    """Write a table, with the rows of an earlier one for files that it does not have."""
    if path is None:
        return
    if earlier is not None:
        found = vstack([found, earlier[~np.isin(earlier["file_in"], found["file_in"])]])
        found.sort("file_in")
    with atomic_write(path, overwrite=overwrite) as temporary:
        found.write(temporary, format="ascii.ecsv")
