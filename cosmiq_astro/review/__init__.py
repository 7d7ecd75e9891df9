"""A person looks at a detection: the review page, its edits, and what becomes of them."""

import importlib

_LAZY = {
    "Edits": "edits",
    "ReviewPage": "page",
    "apply_edits": "apply",
    "edited_mask": "edits",
    "exposure_digest": "edits",
    "make_page": "page",
    "read_edits": "edits",
    "training_frame": "corrected",
    "write_regions": "export",
    "write_votable": "export",
}

__all__ = sorted(_LAZY)


def __getattr__(name):
    """Import the names on first use: the page needs no torch, reading files does (PEP 562)."""
    if name in _LAZY:
        return getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
