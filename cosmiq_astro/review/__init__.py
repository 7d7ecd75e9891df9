"""A person looks at a detection: the review page, its edits, and what becomes of them."""

from cosmiq_astro._lazy import lazy_names

_LAZY = {
    "Edits": "cosmiq_astro.review.edits",
    "ReviewPage": "cosmiq_astro.page.make",
    "apply_edits": "cosmiq_astro.review.apply",
    "edited_mask": "cosmiq_astro.review.edits",
    "exposure_digest": "cosmiq_astro.page.binding",
    "make_page": "cosmiq_astro.page.make",
    "read_edits": "cosmiq_astro.review.edits",
    "training_frame": "cosmiq_astro.review.corrected",
    "write_regions": "cosmiq_astro.review.export",
    "write_votable": "cosmiq_astro.review.export",
}

__all__ = sorted(_LAZY)
# The page needs no torch, reading files does.
__getattr__, __dir__ = lazy_names(__name__, _LAZY)
