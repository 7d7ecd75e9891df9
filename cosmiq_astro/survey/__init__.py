"""Many files on many processes, their hit rates over time, and images larger than memory."""

import importlib

_LAZY = {
    "Outcome": "cosmiq_astro.survey.files",
    "detect_array": "cosmiq_astro.survey.arrays",
    "detect_files": "cosmiq_astro.survey.files",
    "hit_rates": "cosmiq_astro.survey.rates",
    "outcomes_table": "cosmiq_astro.survey.files",
    "plot_hit_rates": "cosmiq_astro.survey.rates",
    "run_survey": "cosmiq_astro.survey.files",
}

__all__ = sorted(_LAZY)


def __getattr__(name):
    """Import the public names on first use."""
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
