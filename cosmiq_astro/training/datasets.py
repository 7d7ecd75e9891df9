"""Frames to train on: labelled pairs, or science frames with cosmic rays injected on the fly."""

from typing import NamedTuple

import numpy as np

from cosmiq_astro.preprocess import estimate_statistics, normalize, subtract_sky

__all__ = ["PairedDataset", "Patch", "make_batch"]


class Patch(NamedTuple):
    """
    A square of one exposure with its truth.

    Attributes
    ----------
    image : ndarray
        Pixel values, electron, shape ``(size, size)``.
    label : ndarray of bool
        True where a cosmic ray exceeds 3 σ of the local noise without it.
    valid : ndarray of bool
        False where the pixel is bad or its label is to be ignored.
    usable : ndarray of bool
        False where the pixel itself is bad: it is hidden from the network.
    readnoise : float or None
        Electron; None if it is not known.
    """

    image: np.ndarray
    label: np.ndarray
    valid: np.ndarray
    usable: np.ndarray
    readnoise: float | None


def make_batch(dataset, n, size, channels, rng):
    """
    Draw patches, turn and flip them, and normalise them as detection would.

    Parameters
    ----------
    dataset : dataset
        With ``n_frames`` and ``patch(frame, size, rng)``.
    n, size : int
        Number of patches and their side.
    channels : sequence of str
        Input channels, see `~cosmiq_astro.preprocess.normalize`.
    rng : `~numpy.random.Generator`
        Source of all randomness.

    Returns
    -------
    inputs : ndarray of float32
        Shape ``(n, n_channels, size, size)``.
    labels : ndarray of float32
        0 or 1, shape ``(n, 1, size, size)``.
    valid : ndarray of bool
        Pixels that enter the loss, shape ``(n, 1, size, size)``.
    """
    inputs = np.empty((n, len(channels), size, size), dtype=np.float32)
    labels = np.empty((n, 1, size, size), dtype=np.float32)
    valid = np.empty((n, 1, size, size), dtype=bool)
    for i in range(n):
        patch = dataset.patch(int(rng.integers(dataset.n_frames)), size, rng)
        # The detector may or may not be told the read noise: the network sees both.
        readnoise = patch.readnoise if rng.random() < 0.5 else None
        statistics = estimate_statistics(patch.image, patch.usable, readnoise=readnoise)
        pixels = subtract_sky(patch.image, patch.usable, statistics.sky)
        turn = _random_turn(rng)
        inputs[i] = turn(normalize(pixels, statistics, channels))
        labels[i, 0] = turn(patch.label)
        valid[i, 0] = turn(patch.valid & patch.usable)
    return inputs, labels, valid


def _random_turn(rng):
    """One of the eight symmetries of the square, for the last two axes."""
    quarter_turns, flip = int(rng.integers(4)), bool(rng.integers(2))

    def turn(array):
        array = np.rot90(array, quarter_turns, axes=(-2, -1))
        return array[..., ::-1] if flip else array

    return turn


class _Frames:
    """What the datasets share: frames of their own shapes, cut and split by whole frames."""

    def __init__(self, shapes, ignore):
        self._shapes = shapes
        self._ignore = ignore

    @property
    def n_frames(self):
        """Number of frames."""
        return len(self._shapes)

    @property
    def n_pixels(self):
        """Number of pixels of all frames."""
        return sum(ny * nx for ny, nx in self._shapes)

    @property
    def n_valid_pixels(self):
        """Number of distinct pixels that are not ignored: the N of the evidence lower bound."""
        ignored = 0 if self._ignore is None else sum(int(np.sum(i)) for i in self._ignore)
        return self.n_pixels - ignored

    def _cut(self, frame, size, rng):
        """Return the slices of a random square, at most as large as the frame."""
        ny, nx = self._shapes[frame]
        if size > min(ny, nx):
            raise ValueError(f"patch_size {size} is larger than frame {frame} of shape {(ny, nx)}")
        y, x = rng.integers(ny - size + 1), rng.integers(nx - size + 1)
        return slice(y, y + size), slice(x, x + size)

    def split(self, fraction, *, seed):
        """
        Split off some frames for validation: whole frames, so that no exposure is on both sides.

        Parameters
        ----------
        fraction : float
            Share of the frames for validation, in (0, 1).
        seed : int
            Seed of the choice.

        Returns
        -------
        training, validation : dataset
            Views of this dataset.

        Raises
        ------
        ValueError
            If there are fewer than two frames.
        """
        if self.n_frames < 2:
            raise ValueError("one frame cannot be split; give a validation dataset of its own")
        order = np.random.default_rng(seed).permutation(self.n_frames)
        n = min(max(1, round(fraction * self.n_frames)), self.n_frames - 1)
        return self._subset(sorted(order[n:])), self._subset(sorted(order[:n]))


def _checked(name, arrays, shapes):
    """Return a list of 2-D arrays of the given shapes, or say which one differs."""
    if arrays is None:
        return None
    arrays = list(arrays)
    if len(arrays) != len(shapes):
        raise ValueError(f"{name} has {len(arrays)} frames, images has {len(shapes)}")
    for i, (array, shape) in enumerate(zip(arrays, shapes, strict=True)):
        if np.shape(array) != shape:
            raise ValueError(f"{name}[{i}] has shape {np.shape(array)}, images[{i}] has {shape}")
    return arrays


def _checked_images(images):
    images = list(images)
    if not images:
        raise ValueError("images is empty; give at least one frame")
    for i, image in enumerate(images):
        if np.ndim(image) != 2:
            raise ValueError(f"images[{i}] must have two dimensions, got shape {np.shape(image)}")
    return images


class PairedDataset(_Frames):
    """
    Exposures with their cosmic-ray masks (deepCR's ``mode='pair'``).

    Parameters
    ----------
    images : sequence of ndarray
        Exposures, electron, 2-D; memory-mapped arrays are read patch by patch.
    masks : sequence of ndarray
        True or 1 where a cosmic ray hit.
    ignore : sequence of ndarray, optional
        True where the label is unknown: out of the loss and of all metrics.
    readnoise : float, optional
        Electron.

    Raises
    ------
    ValueError
        If numbers of frames or shapes differ, or a mask has other values
        than 0 and 1.
    """

    def __init__(self, images, masks, ignore=None, *, readnoise=None):
        self._images = _checked_images(images)
        shapes = [np.shape(image) for image in self._images]
        self._masks = _checked("masks", masks, shapes)
        for i, mask in enumerate(self._masks):
            if np.asarray(mask).dtype != bool and not np.isin(mask, (0, 1)).all():
                raise ValueError(f"masks[{i}] has values other than 0 and 1")
        super().__init__(shapes, _checked("ignore", ignore, shapes))
        self._readnoise = readnoise

    def patch(self, frame, size, rng):
        """
        Cut a random square out of a frame.

        Parameters
        ----------
        frame, size : int
            Which frame, and the side of the square.
        rng : `~numpy.random.Generator`
            Source of the position.

        Returns
        -------
        patch : `Patch`
            The square.
        """
        cut = self._cut(frame, size, rng)
        image = np.asarray(self._images[frame][cut], dtype=np.float32)
        usable = np.isfinite(image)
        valid = usable if self._ignore is None else usable & ~np.asarray(self._ignore[frame][cut])
        label = np.asarray(self._masks[frame][cut], dtype=bool)
        return Patch(image, label, valid, usable, self._readnoise)

    def _subset(self, frames):
        def pick(arrays):
            return None if arrays is None else [arrays[i] for i in frames]

        return PairedDataset(
            pick(self._images), pick(self._masks), pick(self._ignore), readnoise=self._readnoise
        )
