"""The public names for type checkers and editors; `__init__.py` imports them on first use."""

from cosmiq_astro.page.binding import exposure_digest as exposure_digest
from cosmiq_astro.page.make import ReviewPage as ReviewPage
from cosmiq_astro.page.make import make_page as make_page
from cosmiq_astro.review.apply import apply_edits as apply_edits
from cosmiq_astro.review.corrected import training_frame as training_frame
from cosmiq_astro.review.edits import Edits as Edits
from cosmiq_astro.review.edits import edited_mask as edited_mask
from cosmiq_astro.review.edits import read_edits as read_edits
from cosmiq_astro.review.export import write_regions as write_regions
from cosmiq_astro.review.export import write_votable as write_votable

__all__: list[str]
