"""Many files on many processes, their hit rates over time, and images larger than memory."""

import importlib

_LAZY = {
    "detect_array": "cosmiq_astro.survey.arrays",
}

__all__ = sorted(_LAZY)


def __getattr__(name):
    """Import the public names on first use."""
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
