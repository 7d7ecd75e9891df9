"""What all datasets share: frames of their own shapes, counted, cut and split by visits."""

import copy

import numpy as np

from cosmiq_astro.preprocess import estimate_statistics
from cosmiq_astro.training._pixels import Part, count_valid
from cosmiq_astro.training._siblings import group_fields

_GAP = 16  # pixels between two parts of a frame


def log_uniform(rng, limits):
    """
    Draw a number, uniform in its logarithm.

    Parameters
    ----------
    rng : `~numpy.random.Generator`
        Source of the number.
    limits : tuple of float
        Smallest and largest, positive.

    Returns
    -------
    value : float
        The number.
    """
    return float(np.exp(rng.uniform(*np.log(limits))))


def check_interval(name, limits, *, positive=False, most=np.inf):
    """
    Refuse a range that is out of bounds.

    Parameters
    ----------
    name : str
        Name of the argument, for error messages.
    limits : tuple of float
        Smallest and largest.
    positive : bool, optional
        Whether 0 is out of bounds.
    most : float, optional
        What the largest may be.

    Returns
    -------
    limits : tuple of float
        The two.

    Raises
    ------
    ValueError
        If it is.
    """
    low, high = limits
    if not (0 <= low <= high <= most and (low > 0 or not positive)):
        kind = "0 < low" if positive else "0 <= low"
        end = "" if most == np.inf else f" <= {most:g}"
        raise ValueError(f"{name} must be (low, high) with {kind} <= high{end}, got {limits}")
    return float(low), float(high)


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
    def n_frames(self):
        """Number of frames."""
        return len(self._shapes)

    @property
    def n_visits(self):
        """Number of visits: what a split cannot part."""
        return len(set(self._visits))

    @property
    def n_pixels(self):
        """Number of pixels of all frames."""
        return sum(ny * nx for ny, nx in self._shapes)

    @property
    def n_valid_pixels(self):
        """Number of distinct pixels that count: the N of the evidence lower bound."""
        return sum(self._n_valid)

    def summary(self):
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

    def split(self, fraction, *, seed):
        """
        Split off some frames for validation: whole visits, so that no sky is on both sides.

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
            If there are fewer than two visits.
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
        return self._subset(sides[0]), self._subset(sides[1])

    def cut_patch_size(self, size, grid):
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


class ObservedFrames(Frames):
    """
    Frames that a telescope took: their sky and noise are measured once, when they are asked for.

    Parameters
    ----------
    images : list of ndarray
        Electron; may be memory-mapped.
    readnoise : float or None
        Electron; None if it is not known.
    left_out : list of array-like or None
        Per frame, True where a pixel does not count.
    visits : sequence of hashable, optional
        As for `Frames`.
    """

    _planes = ("_images", "_left_out", "_statistics", "_rows")

    def __init__(self, images, readnoise, left_out, *, visits=None):
        self._images = images
        self._left_out = left_out
        self._readnoise = readnoise
        self._statistics = [{} for _ in images]
        # Of the sky, by which a frame sees it moved: of those that show the same stars.
        self._rows = [0 for _ in images]
        shapes = [image.shape for image in images]
        super().__init__(shapes, n_valid=count_valid(images, left_out), visits=visits)

    @property
    def readnoise(self):
        """Electron; None if it is not known."""
        return self._readnoise

    def group(self, files, *, by="field"):
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

    def split_within(self, fraction, *, axis=0):
        """
        Split every frame in two parts: for too few visits to put whole ones aside.

        The border, 16 pixels that belong to neither, moves with the sky, so that
        no star is on both sides where the frames' offsets are known.

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
        return self._parts(first), self._parts(second)

    def _parts(self, boxes):
        part = copy.copy(self)
        part._rows = [0 for _ in boxes]
        for name in self._planes:
            if name not in ("_statistics", "_rows"):
                planes = zip(getattr(self, name), boxes, strict=True)
                setattr(part, name, [p if p is None else Part(p, box) for p, box in planes])
        part._shapes = [image.shape for image in part._images]
        part._n_valid = count_valid(part._images, part._left_out)
        part._statistics = [_whole(self, i) for i in range(self.n_frames)]
        return part

    def _statistics_of(self, frame, rng):
        """Return them as detection finds them, half of the time without the read noise."""
        readnoise = self._readnoise if rng.random() < 0.5 else None
        return self._measured(frame, readnoise)

    def _measured(self, frame, readnoise):
        known = self._statistics[frame]
        if readnoise not in known:
            image = self._images[frame][:, :]
            known[readnoise] = estimate_statistics(
                image, np.isfinite(image), readnoise=readnoise, softness=True
            )
        return known[readnoise]


def _whole(dataset, frame):
    """Return the statistics of a whole frame, for its parts."""
    return {
        readnoise: dataset._measured(frame, readnoise) for readnoise in {None, dataset._readnoise}
    }


def _box(shape, axis, start, stop):
    box = [slice(0, n) for n in shape]
    box[axis] = slice(start, stop)
    return tuple(box)


def _joined(*names):
    """Return one name for all frames that share one of theirs, over a chain of them too."""
    group = list(range(len(names[0])))

    def root(i):
        while group[i] != i:
            i = group[i]
        return i

    for kind in names:
        first = {}
        for i, name in enumerate(kind):
            if name is not None:
                group[root(i)] = root(first.setdefault(name, i))
    return [root(i) for i in range(len(group))]
