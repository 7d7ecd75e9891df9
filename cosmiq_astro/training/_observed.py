"""Frames that a telescope took: measured, parted, and observed anew."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Literal, Self

import numpy as np
from scipy.cluster.hierarchy import DisjointSet

from cosmiq_astro.preprocess import ImageStatistics, estimate_statistics
from cosmiq_astro.training._frames import Frames
from cosmiq_astro.training._noise import estimate_level
from cosmiq_astro.training._pixels import (
    Part,
    check_frames,
    combine_masks,
    count_valid,
    read_pixels,
    read_valid,
)
from cosmiq_astro.training._ranges import check_interval, log_uniform
from cosmiq_astro.training._siblings import group_fields
from cosmiq_astro.units import to_electrons

_GAP = 16  # pixels between two parts of a frame


class ObservedFrames(Frames):
    """
    Frames that a telescope took: their sky and noise are measured once, when they are asked for.

    Parameters
    ----------
    images : sequence
        As `~cosmiq_astro.training._pixels.read_pixels` takes them.
    left_out : tuple
        Name of the argument, and per frame a plane that is True where a pixel
        does not count, or None.
    readnoise, gain, exposure_scale, extra_sky, visits : object
        As for `~cosmiq_astro.training.PairedDataset`.
    """

    _planes = ("_images", "_left_out", "_statistics", "_rows")

    def __init__(self, images, left_out, *, readnoise, gain, exposure_scale, extra_sky, visits):
        self._images, own = read_pixels("images", images, gain)
        shapes = [image.shape for image in self._images]
        name, given = left_out
        planes = zip(check_frames(name, given, shapes), own, strict=True)
        self._left_out = [combine_masks(*pair) for pair in planes]
        self._readnoise = to_electrons("readnoise", readnoise, gain=gain)
        self._exposure_scale = check_interval(
            "exposure_scale", exposure_scale, positive=True, most=1.0
        )
        self._extra_sky = check_interval("extra_sky", extra_sky)
        self._statistics = [{} for _ in shapes]
        # Of the sky, by which a frame sees it moved: of those that show the same stars.
        self._rows = [0 for _ in shapes]
        super().__init__(shapes, n_valid=count_valid(self._images, self._left_out), visits=visits)

    @property
    def readnoise(self) -> float | None:
        """Electron; None if it is not known."""
        return self._readnoise

    def group(
        self, files: list[Path], *, by: Literal["field", "frame", "directory"] = "field"
    ) -> None:
        """
        Say which frames are one visit, so that no star is on both sides of a split.

        Parameters
        ----------
        files : list of `~pathlib.Path`
            Of the frames.
        by : {'field', 'frame', 'directory'}, optional
            ``'field'``: frames that show the same stars, and all of one
            directory where too few are seen, and all of one subdirectory;
            ``'frame'``: each is one of its own; ``'directory'``.

        Raises
        ------
        ValueError
            If ``by`` is none of these.
        """
        folders = [str(file.parent) for file in files]
        if by not in ("field", "frame", "directory"):
            raise ValueError(f"visits must be 'field', 'frame' or 'directory', got {by!r}")
        if by == "frame":
            self._visits = [str(file) for file in files]
        elif by == "directory":
            self._visits = folders
        else:
            fields, self._rows = group_fields(self._images)
            # Frames of a flat directory need not belong together, those of its subdirectories do.
            flat = {str(file.parent.parent) for file in files}
            flat |= set(folders) if len(set(folders)) == 1 else set()
            tied = [
                None if folder in flat and field is not None else folder
                for folder, field in zip(folders, fields, strict=True)
            ]
            self._visits = _joined(fields, tied)

    def split_within(self, fraction: float, *, axis: Literal[0, 1] = 0) -> tuple[Self, Self]:
        """
        Split every frame in two parts: for too few visits to put whole ones aside.

        The border, 16 pixels that belong to neither, moves with the sky, so that
        no star is on both sides where the frames' offsets are known. Hits are split
        as by ``split``.

        Parameters
        ----------
        fraction : float
            Share of the rows, or columns, for validation, in (0, 1).
        axis : {0, 1}, optional
            0 to part rows, 1 to part columns.

        Returns
        -------
        training, validation : dataset
            Views of this dataset.
        """
        first, second = [], []
        for shape, moved in zip(self._shapes, self._rows, strict=True):
            border = round((1 - fraction) * shape[axis]) + (moved if axis == 0 else 0)
            least = min(32, shape[axis] // 4)
            border = min(max(border, least + _GAP), shape[axis] - least)
            first.append(_box(shape, axis, 0, border - _GAP))
            second.append(_box(shape, axis, border, shape[axis]))
        training, validation = self._parts(first), self._parts(second)
        training._part_others(validation, fraction, 0)
        return training, validation

    def _parts(self, boxes):
        part = copy.copy(self)
        part._rows = [0 for _ in boxes]
        for name in self._planes:
            if name not in ("_statistics", "_rows"):
                planes = zip(getattr(self, name), boxes, strict=True)
                setattr(part, name, [p if p is None else Part(p, box) for p, box in planes])
        part._shapes = [image.shape for image in part._images]
        part._n_valid = count_valid(part._images, part._left_out)
        # Those of the whole frame.
        part._statistics = [
            {readnoise: self._measured(i, readnoise) for readnoise in (None, self._readnoise)}
            for i in range(self.n_frames)
        ]
        return part

    def _cut_out(self, frame, size, rng):
        """
        Cut a random square out of a frame.

        Return its place, its pixels, which of them are finite and which have a label, and the
        frame's statistics as detection finds them, half of the time without the read noise.
        """
        box = self._cut(frame, size, rng)
        square = read_valid(self._images[frame], self._left_out[frame], box)
        readnoise = self._readnoise if rng.random() < 0.5 else None
        return box, *square, self._measured(frame, readnoise)

    def _observe_anew(self, image, bare, statistics, rng):
        """
        Make a square one of a shorter exposure under a brighter sky, with the noise of that.

        ``bare`` is the square without hits. Returned are the new one, its noise without hits, its
        statistics and the factor on its light.
        """
        readnoise, level = self._readnoise, estimate_level(bare, self._readnoise)
        factor = log_uniform(rng, self._exposure_scale)
        added = 0.0
        if factor < 1:
            # Scaling scales the noise too far down; this is the variance that is then missing.
            added = rng.normal(0, np.sqrt(_missing(level, factor, readnoise)))
        sky = rng.uniform(*self._extra_sky)
        if sky > 0:
            added = added + rng.poisson(sky, image.shape)
        variance = factor**2 * statistics.noise**2 + sky
        if factor < 1:
            variance += _missing(max(statistics.sky, 0), factor, readnoise)
        new_sky = factor * statistics.sky + sky
        statistics = ImageStatistics(new_sky, math.sqrt(variance), statistics.softness)
        noise = np.sqrt(factor * level + sky + readnoise**2)
        return (factor * image + added).astype(np.float32), noise, statistics, factor

    def _measured(self, frame, readnoise):
        known = self._statistics[frame]
        if readnoise not in known:
            image = self._images[frame][:, :]
            known[readnoise] = estimate_statistics(
                image, np.isfinite(image), readnoise=readnoise, softness=True
            )
        return known[readnoise]


def _missing(level, factor, readnoise):
    return level * factor * (1 - factor) + readnoise**2 * (1 - factor**2)


def _box(shape, axis, start, stop):
    box = [slice(0, n) for n in shape]
    box[axis] = slice(start, stop)
    return tuple(box)


def _joined(*names):
    """Return one name for all frames that share one of theirs, over a chain of them too."""
    joined = DisjointSet(range(len(names[0])))
    for kind in names:
        first = {}
        for i, name in enumerate(kind):
            if name is not None:
                joined.merge(i, first.setdefault(name, i))
    return [joined[i] for i in joined]
