"""What several signatures share: sets of words, which are choices on the command line too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    import numpy as np

Cleaning = Literal["median", "medmask", "meanmask", "idw", "maskfill"]
Field = Literal["extragalactic", "globular", "galaxy", "nebula", "blend"]
Precision = Literal["float32", "bfloat16"]
Sampling = Literal["antithetic", "independent", "moments", "mean"]
Threshold = float | Literal["pure", "balanced", "complete"]


class Dataset(Protocol):
    """Anything that can be trained on."""

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        ...

    @property
    def n_pixels(self) -> int:
        """Number of pixels of all frames."""
        ...

    @property
    def n_valid_pixels(self) -> int:
        """Number of distinct pixels that count."""
        ...

    def patch(self, frame: int, size: int, rng: np.random.Generator) -> Any:
        """Cut a random patch out of a frame."""
        ...

    def split(self, fraction: float, *, seed: int) -> Any:
        """Split off some frames for validation."""
        ...
