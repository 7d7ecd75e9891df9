"""What a detection on a file found, in numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

from astropy import units as u

from cosmiq_astro._rate import RATE, mean_rate
from cosmiq_astro.familiarity.verdict import verdict_line

__all__ = ["ChipResult", "FileResult"]


@dataclass(frozen=True)
class ChipResult:
    """
    What was found on one chip.

    Attributes
    ----------
    extver : int
        Number of the chip.
    n_pixels : int
        Pixels searched: those neither masked nor without a finite value.
    n_pixels_flagged : int
        Pixels flagged.
    n_hits : int
        Groups of flagged pixels that touch by a side or a corner.
    hit_rate : `~astropy.units.Quantity` or None
        Hits per area searched and exposure time, cm⁻² s⁻¹; None if the
        pixel size or the exposure time is unknown.
    doubts : tuple of str
        Why the probabilities need not be right: stars, hits, noise or settings
        unlike those that the model knows. Empty for a familiar exposure.
    seconds : float
        Time taken.
    """

    extver: int
    n_pixels: int
    n_pixels_flagged: int
    n_hits: int
    hit_rate: u.Quantity | None
    doubts: tuple[str, ...]
    seconds: float


@dataclass(frozen=True)
class FileResult:
    """
    What `detect_file` did.

    Attributes
    ----------
    file_in, file_out : `~pathlib.Path`
        Input and output.
    instrument : str
        Name of the camera.
    model : str
        Name of the model.
    T : int
        Passes of the network made.
    seed : int
        Seed of the draws, the same for every chip.
    threshold : float
        Probability from which a pixel was flagged.
    chips : tuple of `ChipResult`
        One per chip.
    notes : tuple of str
        What speaks against the input, or must be known to use the output.
    seconds : float
        Time taken, reading and writing included.
    """

    file_in: Path
    file_out: Path
    instrument: str
    model: str
    T: int
    seed: int
    threshold: float
    chips: tuple[ChipResult, ...] = field(repr=False)
    notes: tuple[str, ...]
    seconds: float

    @property
    def doubts(self) -> tuple[str, ...]:
        """Why the probabilities need not be right, of all chips, each once."""
        return tuple(dict.fromkeys(doubt for chip in self.chips for doubt in chip.doubts))

    @property
    def verdict(self) -> str:
        """One line on whether to trust the masks, of the chips that differ."""
        lines = {}
        for chip in self.chips:
            lines.setdefault(verdict_line(chip.doubts), []).append(str(chip.extver))
        if len(lines) < 2:
            return next(iter(lines), "")
        return "; ".join(f"chip {', '.join(chips)}: {line}" for line, chips in lines.items())

    @property
    def n_pixels_flagged(self) -> int:
        """Pixels flagged on all chips."""
        return sum(chip.n_pixels_flagged for chip in self.chips)

    @property
    def n_hits(self) -> int:
        """Groups of flagged pixels on all chips."""
        return sum(chip.n_hits for chip in self.chips)

    @property
    def hit_rate(self) -> u.Quantity | None:
        """Mean over the chips, weighted by the pixels searched; None if it is unknown."""
        rates = [None if c.hit_rate is None else c.hit_rate.to_value(RATE) for c in self.chips]
        rate = mean_rate(rates, [chip.n_pixels for chip in self.chips])
        return None if math.isnan(rate) else rate * RATE
