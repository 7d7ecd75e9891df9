"""What datasets share: frames, cut, split by visits, and observed under other conditions."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Literal, Self

import numpy as np
from scipy.cluster.hierarchy import DisjointSet

from cosmiq_astro.preprocess import ImageStatistics, estimate_statistics
from cosmiq_astro.training import _pixels
from cosmiq_astro.training._siblings import group_fields
from cosmiq_astro.units import to_electrons

_GAP = 16  # pixels between two parts of a frame


class Frames:
    """
    Frames of their own shapes, cut into squares and split by whole visits.

    ``n_valid`` is how many pixels of each count, all of them if None; without
    ``visits`` each frame is one of its own.
    """

    _facts = ("_shapes", "_n_valid", "_visits")  # lists that have an entry for each frame
    _planes = ()  # those whose entries are images
    _ranges = ()  # attributes that say between which limits frames are varied

    def __init__(self, shapes, *, n_valid=None, visits=None):
        self._shapes = shapes
        self._n_valid = [ny * nx for ny, nx in shapes] if n_valid is None else n_valid
        self._visits = list(range(len(shapes)) if visits is None else visits)
        if len(self._visits) != len(shapes):
            raise ValueError(f"visits has {len(self._visits)} entries for {len(shapes)} frames")
        if 0 in self._n_valid:
            raise ValueError(
                f"frame {self._n_valid.index(0)} has no valid pixel: all are ignored, masked or "
                "not finite; leave the frame out"
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
        """Say what must not change between the parts of a training run: counts, ranges by name."""
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
        is_chosen = np.array([visit in chosen for visit in self._visits])
        training, validation = (self._subset(np.flatnonzero(is_chosen == s)) for s in (False, True))
        training._part_others(validation, fraction, seed)
        return training, validation

    def _part_others(self, validation, fraction, seed):
        """Leave to validation frames what is not to be on both sides beside the frames."""

    def cut_patch_size(self, size: int, grid: int) -> int:
        """Return the largest multiple of ``grid`` up to ``size`` that all frames have room for."""
        smallest = min(min(shape) for shape in self._shapes)
        return max(min(size, smallest) // grid * grid, grid)

    def _subset(self, frames):
        part = copy.copy(self)
        for name in (*self._facts, *self._planes):
            setattr(part, name, [getattr(self, name)[i] for i in frames])
        return part


class ObservedFrames(Frames):
    """
    Frames that a telescope took: their sky and noise are measured once, when they are asked for.

    All but ``left_out`` is as for `~cosmiq_astro.training.PairedDataset`: the
    name of the argument, and per frame a plane that is True where a pixel does
    not count, or None.
    """

    _facts = (*Frames._facts, "_statistics", "_rows")
    _planes = ("_images", "_left_out")

    def __init__(self, images, left_out, *, readnoise, gain, exposure_scale, extra_sky, visits):
        self._images, own = _pixels.read_pixels("images", images, gain)
        shapes = [image.shape for image in self._images]
        name, given = left_out
        planes = zip(_pixels.check_frames(name, given, shapes), own, strict=True)
        self._left_out = [_pixels.combine_masks(*pair) for pair in planes]
        self._readnoise = to_electrons("readnoise", readnoise, gain=gain)
        scale = check_interval("exposure_scale", exposure_scale, positive=True, most=1.0)
        self._exposure_scale = scale
        self._extra_sky = check_interval("extra_sky", extra_sky)
        self._statistics = [{} for _ in shapes]
        # Of the sky, by which a frame sees it moved: of those that show the same stars.
        self._rows = [0 for _ in shapes]
        n_valid = _pixels.count_valid(self._images, self._left_out)
        super().__init__(shapes, n_valid=n_valid, visits=visits)

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
        if by not in ("field", "frame", "directory"):
            raise ValueError(f"visits must be 'field', 'frame' or 'directory', got {by!r}")
        folders = [str(file.parent) for file in files]
        self._visits = [str(file) for file in files] if by == "frame" else folders
        if by == "field":
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
        parts = []
        for shape, moved in zip(self._shapes, self._rows, strict=True):
            n = shape[axis]
            border = round((1 - fraction) * n) + (moved if axis == 0 else 0)
            least = min(32, n // 4)
            border = min(max(border, least + _GAP), n - least)
            boxes = [[slice(0, n) for n in shape] for _ in range(2)]
            boxes[0][axis], boxes[1][axis] = slice(0, border - _GAP), slice(border, n)
            parts.append(boxes)
        training, validation = map(self._parts, zip(*parts, strict=True))
        training._part_others(validation, fraction, 0)
        return training, validation

    def _parts(self, boxes):
        part = copy.copy(self)
        part._rows = [0 for _ in boxes]
        for name in self._planes:
            planes = zip(getattr(self, name), boxes, strict=True)
            setattr(part, name, [p if p is None else _pixels.Part(p, box) for p, box in planes])
        part._shapes = [image.shape for image in part._images]
        part._n_valid = _pixels.count_valid(part._images, part._left_out)
        # Those of the whole frame.
        part._statistics = [
            {readnoise: self._measured(i, readnoise) for readnoise in (None, self._readnoise)}
            for i in range(self.n_frames)
        ]
        return part

    def _cut_out(self, frame, size, rng):
        """
        Return place and pixels of a random square, which are finite, and which have a label.

        And the frame's statistics as detection finds them, half of the time without the read noise.
        """
        box = self._cut(frame, size, rng)
        square = _pixels.read_valid(self._images[frame], self._left_out[frame], box)
        readnoise = self._readnoise if rng.random() < 0.5 else None
        return box, *square, self._measured(frame, readnoise)

    def _observe_anew(self, image, bare, statistics, rng):
        """
        Make a square, ``bare`` without hits, one of a shorter exposure under a brighter sky.

        Return it, with the noise of that, its noise without hits, statistics and factor on light.
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


def _joined(*names):
    """Return one name for all frames that share one of theirs, over a chain of them too."""
    joined = DisjointSet(range(len(names[0])))
    for kind in names:
        first = {}
        for i, name in enumerate(kind):
            if name is not None:
                joined.merge(i, first.setdefault(name, i))
    return [joined[i] for i in joined]


def estimate_level(image, readnoise):
    """
    Estimate the electrons that source and sky are expected to leave in each pixel, at least 0.

    The median of the 3 x 3 neighbourhood, which hardly scatters, where the pixel agrees with it
    within three standard deviations; else the pixel itself, since the light of a star's core is
    not that of its neighbours.
    """
    image = np.asarray(image, dtype=np.float32)
    smooth = np.maximum(_median_of_nine(image), 0)
    # The scatter of a pixel about the median of nine is 1.2 times its own.
    near = (image - smooth) ** 2 <= 9 * 1.2**2 * (smooth + readnoise**2)
    return np.where(near, smooth, np.maximum(image, 0))


def _median_of_nine(image):
    """
    Median of each 3 x 3 neighbourhood, reflected at the border.

    Sorted columns are shared by neighbours (Paeth 1990, Graphics Gems, p. 171): 20 times faster
    than `scipy.ndimage.median_filter`, which would take as long as a step of training.
    """
    image = np.pad(image, 1, mode="reflect")
    one, two, three = image[:-2], image[1:-1], image[2:]
    low, high = np.minimum(one, two), np.maximum(one, two)
    middle, high = np.minimum(high, three), np.maximum(high, three)
    low, middle = np.minimum(low, middle), np.maximum(low, middle)
    low, middle, high = ((x[:, :-2], x[:, 1:-1], x[:, 2:]) for x in (low, middle, high))
    return _median(np.maximum.reduce(low), _median(*middle), np.minimum.reduce(high))


def _median(one, two, three):
    return np.maximum(np.minimum(one, two), np.minimum(np.maximum(one, two), three))


def check_interval(name, limits, *, positive=False, most=np.inf):
    """Refuse a range (low, high) that does not lie from 0, or above it if positive, to most."""
    low, high = limits
    if not (0 <= low <= high <= most and (low > 0 or not positive)):
        kind = "0 < low" if positive else "0 <= low"
        end = "" if most == np.inf else f" <= {most:g}"
        raise ValueError(f"{name} must be (low, high) with {kind} <= high{end}, got {limits}")
    return float(low), float(high)


def log_uniform(rng, limits):
    """Draw a number from a range, uniform in its logarithm."""
    return float(np.exp(rng.uniform(*np.log(limits))))
