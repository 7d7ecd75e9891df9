"""The bundled models: where they lie and what they are. Needs no torch."""

from __future__ import annotations

import json
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from cosmiq_astro._meant import did_you_mean

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["MODEL_FILES", "find_model", "list_models"]

MODEL_FILES = ("weights.safetensors", "card.md", "config.json")
"""What a model folder holds, in the order in which it is written."""

_WEIGHTS = Path(__file__).parent / "weights"
_COLUMNS = ("name", "version", "instrument", "method", "parameters", "threshold", "temperature")


def list_models() -> Table:
    """
    List the bundled models.

    Returns
    -------
    models : `~astropy.table.Table`
        One row per model: ``name``, ``version``, ``instrument``, ``method``
        (``'vi'`` or ``'unet'``), ``parameters`` (their number),
        ``threshold``, ``temperature`` and ``sha256`` of the weights.

    Examples
    --------
    >>> import cosmiq_astro as ca
    >>> "acs-wfc-vi" in ca.list_models()["name"]
    True
    """
    # To find a model needs no table.
    from astropy.table import Table

    rows = []
    for path in sorted(_WEIGHTS.glob("*/config.json")):
        config = json.loads(path.read_text(encoding="utf-8"))
        rows.append({key: config[key] for key in (*_COLUMNS, "sha256")})
    return Table(rows=rows, names=(*_COLUMNS, "sha256"))


def find_model(model: str | PathLike) -> Path:
    """
    Find the folder of a model.

    Parameters
    ----------
    model : str or path-like
        A bundled model's name, or a model folder.

    Returns
    -------
    folder : `~pathlib.Path`
        A folder with a ``config.json``.

    Raises
    ------
    ValueError
        If there is none; the message lists the bundled models, and says which may be meant.
    """
    candidates = [Path(model)]
    # A name is a single path component: "../x" must not reach outside the bundled folder.
    if Path(model).name == str(model):
        candidates.insert(0, _WEIGHTS / model)
    for folder in candidates:
        if (folder / "config.json").is_file():
            return folder
    known = sorted(path.parent.name for path in _WEIGHTS.glob("*/config.json"))
    raise ValueError(
        f"model {str(model)!r} is neither a bundled model ({', '.join(known)}) nor a folder with "
        f"a config.json{did_you_mean(str(model), known)}"
    )
