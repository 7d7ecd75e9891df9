"""Files of the benchmarks: tables with the command and commit that made them; kept arrays."""

import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np

__all__ = ["kept", "write"]


def write(table, path, title, description):
    """Write a table to ``path`` (.ecsv) with title, description, command and commit."""
    table.meta = {
        "title": title,
        "command": f"python benchmarks/{Path(sys.argv[0]).name} {_portable(sys.argv[1:])}",
        "commit": _commit(),
        "description": description,
    }
    for name in table.colnames:
        if table[name].dtype.kind == "f":
            table[name] = [float(f"{v:.5g}") for v in table[name]]
    path.parent.mkdir(parents=True, exist_ok=True)
    table.write(path, overwrite=True, format="ascii.ecsv")


def _portable(arguments):
    """Return arguments as typed, of paths the last part alone."""
    return shlex.join([v if "/" not in v else v.rstrip("/").rsplit("/", 1)[-1] for v in arguments])


def _commit():
    """Return the short name of the code's commit, with a plus if it was changed since."""
    here = str(Path(__file__).parent)
    name = ["git", "-C", here, "describe", "--always", "--dirty=+", "--exclude=*"]
    return subprocess.run(name, capture_output=True, text=True, check=True).stdout.strip()


def kept(path, make):
    """Return the arrays in ``path`` (.npz), or those that ``make`` returns, then kept there."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        # An interrupted run must not leave half a file.
        part = path.with_suffix(".part.npz")
        np.savez_compressed(part, **make())
        part.replace(path)
    with np.load(path) as file:
        return dict(file)
