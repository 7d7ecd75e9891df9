"""What all datasets share: frames of their own shapes, counted, cut and split by visits."""

from __future__ import annotations

import copy
from typing import Self

import numpy as np


class Frames:
    """
    Frames of their own shapes, cut into squares and split by whole visits.

    Parameters
    ----------
    shapes : list of tuple
        Shape of each frame.
    n_valid : list of int, optional
        Pixels of each frame that count; all of them if None.
    visits : sequence of hashable, optional
        Which visit each frame belongs to; each is one of its own if None.
    """

    _planes = ()
    """Names of the lists that have an entry for each frame."""
    _ranges = ()
    """Names of the attributes that say between which limits frames are varied."""

    def __init__(self, shapes, *, n_valid=None, visits=None):
        self._shapes = shapes
        self._n_valid = [ny * nx for ny, nx in shapes] if n_valid is None else n_valid
        self._visits = list(range(len(shapes)) if visits is None else visits)
        if len(self._visits) != len(shapes):
            raise ValueError(f"visits has {len(self._visits)} entries for {len(shapes)} frames")
        for i, n in enumerate(self._n_valid):
            if n == 0:
                raise ValueError(
                    f"frame {i} has no valid pixel: all are ignored, masked or not finite; leave "
                    "the frame out"
                )

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        return len(self._shapes)

    @property
    def n_visits(self) -> int:
        """Number of visits: what a split cannot part."""
        return len(set(self._visits))

    @property
    def n_pixels(self) -> int:
        """Number of pixels of all frames."""
        return sum(ny * nx for ny, nx in self._shapes)

    @property
    def n_valid_pixels(self) -> int:
        """Number of distinct pixels that count: the N of the evidence lower bound."""
        return sum(self._n_valid)

    def summary(self) -> dict:
        """
        Say what must not change between the parts of a training run.

        Returns
        -------
        summary : dict
            ``n_frames``, ``n_valid_pixels`` and the ranges by their names.
        """
        ranges = {name.removeprefix("_"): getattr(self, name) for name in self._ranges}
        return {"n_frames": self.n_frames, "n_valid_pixels": self.n_valid_pixels} | ranges

    def _cut(self, frame, size, rng):
        """Return the slices of a random square, at most as large as the frame."""
        ny, nx = self._shapes[frame]
        if size > min(ny, nx):
            raise ValueError(f"patch_size {size} is larger than frame {frame} of shape {(ny, nx)}")
        y, x = rng.integers(ny - size + 1), rng.integers(nx - size + 1)
        return slice(y, y + size), slice(x, x + size)

    def split(self, fraction: float, *, seed: int) -> tuple[Self, Self]:
        """
        Split off some frames for validation: whole visits, so that no sky is on both sides.

        Where hits are injected they are split, too: neither side sees those of the other.

        Parameters
        ----------
        fraction : float
            Share of the visits for validation, in (0, 1).
        seed : int
            Seed of the choice.

        Returns
        -------
        training, validation : dataset
            Views of this dataset.

        Raises
        ------
        ValueError
            If there are fewer than two visits, or two hits to inject.
        """
        visits = list(dict.fromkeys(self._visits))
        if len(visits) < 2:
            kind = "one frame" if self.n_frames == 1 else "one visit"
            raise ValueError(f"{kind} cannot be split; give a validation dataset of its own")
        order = np.random.default_rng(seed).permutation(len(visits))
        n = min(max(1, round(fraction * len(visits))), len(visits) - 1)
        chosen = {visits[i] for i in order[:n]}
        sides = ([], [])
        for frame, visit in enumerate(self._visits):
            sides[visit in chosen].append(frame)
        training, validation = self._subset(sides[0]), self._subset(sides[1])
        training._part_others(validation, fraction, seed)
        return training, validation

    def _part_others(self, validation, fraction, seed):
        """Leave to validation frames what is not to be on both sides beside the frames."""

    def cut_patch_size(self, size: int, grid: int) -> int:
        """
        Return the largest patch size that all frames have room for.

        Parameters
        ----------
        size : int
            What is wanted at most.
        grid : int
            What it must be a multiple of.

        Returns
        -------
        size : int
            At least ``grid``.
        """
        smallest = min(min(shape) for shape in self._shapes)
        return max(min(size, smallest) // grid * grid, grid)

    def _subset(self, frames):
        part = copy.copy(self)
        for name in ("_shapes", "_n_valid", "_visits", *self._planes):
            setattr(part, name, [getattr(self, name)[i] for i in frames])
        return part
