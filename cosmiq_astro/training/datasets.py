"""Labelled pairs to train on, and batches of patches from any dataset."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from os import PathLike
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from cosmiq_astro.cleaning import clean_pixels
from cosmiq_astro.preprocess import ImageStatistics, normalize, subtract_sky
from cosmiq_astro.training._frames import ObservedFrames
from cosmiq_astro.training._pixels import check_frames, find_exposures, row_blocks
from cosmiq_astro.units import to_electrons

if TYPE_CHECKING:
    from astropy import units as u
    from astropy.nddata import CCDData

    from cosmiq_astro._types import Dataset

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
    statistics : `~cosmiq_astro.preprocess.ImageStatistics`
        Sky and noise, as detection would find them. The detector may or may
        not be told the read noise: let the network see both.
    """

    image: np.ndarray
    label: np.ndarray
    valid: np.ndarray
    usable: np.ndarray
    statistics: ImageStatistics


def draw_patch(dataset, size, rng):
    """
    Draw a patch of any frame.

    Parameters
    ----------
    dataset : dataset
        With ``n_frames`` and ``patch(frame, size, rng)``.
    size : int
        Side of the patch.
    rng : `~numpy.random.Generator`
        Source of all randomness.

    Returns
    -------
    patch : `Patch`
        The patch.
    """
    return dataset.patch(int(rng.integers(dataset.n_frames)), size, rng)


def make_batch(
    dataset: Dataset,
    n: int,
    size: int,
    channels: Sequence[str],
    rng: np.random.Generator,
    *,
    margin: int = 0,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """
    Draw patches, turn and flip them, and normalise them as detection would.

    Detection reflects an image at its border, so patches are reflected too:
    a network that pads with zeros would otherwise learn its own border.

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
    margin : int, optional
        Pixels of reflection around each patch, left out of the loss.

    Returns
    -------
    inputs : ndarray of float32
        Shape ``(n, n_channels, size + 2 * margin, size + 2 * margin)``.
    labels : ndarray of float32
        0 or 1, shape ``(n, 1, size + 2 * margin, size + 2 * margin)``.
    valid : ndarray of bool
        Pixels that have a label, shape as ``labels``.
    silent : ndarray of bool
        Pixels that the network sees and that have none, shape as ``labels``.
    """
    full = size + 2 * margin
    inside = slice(margin, margin + size)
    inputs = np.empty((n, len(channels), full, full), dtype=np.float32)
    labels = np.zeros((n, 1, full, full), dtype=np.float32)
    valid, silent = (np.zeros((n, 1, full, full), dtype=bool) for _ in range(2))
    for i in range(n):
        patch = draw_patch(dataset, size, rng)
        pixels = subtract_sky(patch.image, patch.usable, patch.statistics.sky)
        # One of the eight symmetries of the square.
        turns, flip = int(rng.integers(4)), 1 - 2 * int(rng.integers(2))
        pixels = np.pad(np.rot90(pixels, turns)[:, ::flip], margin, mode="symmetric")
        inputs[i] = normalize(pixels, patch.statistics, channels)
        known, unknown = patch.valid & patch.usable, patch.usable & ~patch.valid
        for planes, plane in ((labels, patch.label), (valid, known), (silent, unknown)):
            planes[i, 0, inside, inside] = np.rot90(plane, turns)[:, ::flip]
    return inputs, labels, valid, silent


def prepare_batches(network, dataset, n, size, seeds, workers=0):
    """
    Yield batches, each seeded by its place in the run alone.

    Parameters
    ----------
    network : `~cosmiq_astro.models.unet.UNet` or `~cosmiq_astro.training.network.Networks`
        For which they are.
    dataset : dataset
        With ``n_frames`` and ``patch(frame, size, rng)``.
    n, size : int
        Patches in each batch, and their side.
    seeds : iterable of tuple of int
        What `numpy.random.default_rng` takes, one for each batch.
    workers : int, optional
        Processes; 0 for a thread, which needs no ``if __name__ == "__main__"`` in a script.

    Yields
    ------
    inputs, labels, valid, silent : Tensor
        As in `make_batch`; the same for any ``workers``.
    """
    import torch
    from torch.utils.data import DataLoader

    make = partial(_seeded_batch, dataset, n, size, network.config.channels, network.grid)
    if workers:
        # Its own generator: the global one would be advanced.
        own = {"num_workers": workers, "generator": torch.Generator()}
        yield from DataLoader(list(seeds), batch_size=None, collate_fn=make, **own)
        return
    with ThreadPoolExecutor(1) as pool:
        # One is made while the one before it is used.
        waiting = deque()
        for seed in seeds:
            waiting.append(pool.submit(make, seed))
            if len(waiting) > 1:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _seeded_batch(dataset, n, size, channels, margin, seed):
    import torch

    rng = np.random.default_rng(seed)
    arrays = make_batch(dataset, n, size, channels, rng, margin=margin)
    return tuple(torch.from_numpy(array) for array in arrays)


class PairedDataset(ObservedFrames):
    """
    Exposures with their cosmic-ray masks (deepCR's ``mode='pair'``).

    Parameters
    ----------
    images : sequence of ndarray or `~astropy.nddata.CCDData`
        Exposures, two-dimensional, sky included; arrays are in electrons, or
        in adu if ``gain`` is given. Memory-mapped arrays stay on disk and are
        read patch by patch.
    masks : sequence of ndarray
        True or 1 where a cosmic ray hit.
    ignore : sequence of ndarray, optional
        True where the label is unknown: out of all metrics, and out of the
        loss but for what `~cosmiq_astro.training.train` does with ``init``. A
        mask that comes with `~astropy.nddata.CCDData` is added to it.
    readnoise : float or `~astropy.units.Quantity`, optional
        Electron. Give it if you know it: the network then learns to work with
        and without it.
    gain : float or `~astropy.units.Quantity`, optional
        Electron per adu; needed for adu.
    exposure_scale : tuple of float, optional
        Factor on all charge, stars, sky and hits, at most 1, log-uniform between
        the two, with the noise that so little light has: a shorter exposure, or
        a less sensitive detector. Needs ``readnoise``. Labels of hits that sink
        below 3 σ are ignored. Widen it if all exposures are alike and you will
        meet others.
    extra_sky : tuple of float, optional
        Sky added with its Poisson noise, electron per pixel, uniform; as
        ``exposure_scale``. Widen it if all nights were dark.
    visits : sequence, optional
        Which visit each exposure belongs to, by any name: exposures of one
        visit stay on one side of a split. Give it whenever several exposures
        show the same field.

    Raises
    ------
    ValueError
        If numbers of frames, shapes or units differ, a mask has other values
        than 0 and 1, a frame has no valid pixel, or a range is out of bounds.

    Examples
    --------
    >>> import numpy as np
    >>> from cosmiq_astro.training import PairedDataset
    >>> image = np.random.default_rng(0).normal(50, 8, (32, 32))
    >>> image[10, 10:14] += 900
    >>> PairedDataset([image], [image > 400], readnoise=4).n_valid_pixels
    1024
    """

    _planes = (*ObservedFrames._planes, "_masks")
    _ranges = ("_exposure_scale", "_extra_sky")

    def __init__(
        self,
        images: Sequence[np.ndarray | CCDData],
        masks: Sequence[np.ndarray],
        ignore: Sequence[np.ndarray] | None = None,
        *,
        readnoise: float | u.Quantity | None = None,
        gain: float | u.Quantity | None = None,
        exposure_scale: tuple[float, float] = (1.0, 1.0),
        extra_sky: tuple[float, float] = (0.0, 0.0),
        visits: Sequence | None = None,
    ):
        super().__init__(
            images,
            ("ignore", ignore),
            readnoise=readnoise,
            gain=gain,
            exposure_scale=exposure_scale,
            extra_sky=extra_sky,
            visits=visits,
        )
        self._masks = check_frames("masks", masks, self._shapes)
        for i, mask in enumerate(self._masks):
            if np.asarray(mask[:1]).dtype != bool and not all(
                np.isin(mask[box], (0, 1)).all() for box in row_blocks(mask.shape)
            ):
                raise ValueError(f"masks[{i}] has values other than 0 and 1")
        self._as_they_are = self._exposure_scale == (1, 1) and self._extra_sky == (0, 0)
        if readnoise is None and not self._as_they_are:
            raise ValueError("exposure_scale and extra_sky need readnoise, to get the noise right")

    @classmethod
    def from_directory(
        cls,
        path: str | PathLike | Sequence[str | PathLike],
        *,
        readnoise: float | u.Quantity | None = None,
        gain: float | u.Quantity | None = None,
        exposure_scale: tuple[float, float] = (1.0, 1.0),
        extra_sky: tuple[float, float] = (0.0, 0.0),
        visits: Literal["field", "frame", "directory"] = "field",
    ) -> PairedDataset:
        """
        Read pairs of files; pixels are fetched when they are needed.

        Each exposure is ``NAME.fits`` or ``NAME.npy``, with its mask in
        ``NAME_mask.fits`` or ``NAME_mask.npy`` beside it, and, if there is
        one, ``NAME_ignore.fits`` or ``NAME_ignore.npy``. Of a FITS file the
        first two-dimensional image is taken, in the unit of its ``BUNIT``
        (adu if there is none), rates with ``EXPTIME`` or ``XPOSURE``; ``.npy`` files are in
        electrons, or in adu if ``gain`` is given. ``cosmiq-astro label`` makes
        such files. An edits file of a review page (``.json``), beside the
        file that was reviewed, makes that one an exposure too: its mask is the
        corrected one (`~cosmiq_astro.review.training_frame`).

        Parameters
        ----------
        path : path-like or sequence of path-like
            The directory, or an edits file, or several of either.
        readnoise, gain, exposure_scale, extra_sky : object, optional
            As for the class.
        visits : {'field', 'frame', 'directory'}, optional
            Exposures that belong together, so that no star is on both sides of
            a split. ``'field'``: those of a subdirectory, and all that show
            the same stars, wherever they lie; without enough stars to tell,
            those of a directory. ``'frame'``: each is on its own; only where
            you know that no two show one field. ``'directory'``.

        Returns
        -------
        dataset : `~cosmiq_astro.training.PairedDataset`
            Takes memory for a patch at a time, however many files there are.

        Raises
        ------
        ValueError
            If there is no exposure, a mask is missing, or what is in them
            cannot be used.
        """
        images, masks, ignore, files = find_exposures(path, gain=gain)
        dataset = cls(
            images,
            masks,
            ignore,
            readnoise=to_electrons("readnoise", readnoise, gain=gain),
            exposure_scale=exposure_scale,
            extra_sky=extra_sky,
        )
        dataset.group(files, by=visits)
        return dataset

    def patch(self, frame: int, size: int, rng: np.random.Generator) -> Patch:
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
        box, image, usable, valid, statistics = self._cut_out(frame, size, rng)
        label = np.asarray(self._masks[frame][box], dtype=bool)
        if self._as_they_are:
            return Patch(image, label, valid, usable, statistics)
        image = np.where(usable, image, statistics.sky)
        bare = clean_pixels(image, label & usable, mask=~usable)
        new, noise, statistics, factor = self._observe_anew(image, bare, statistics, rng)
        # By its definition the label ends where a hit no longer exceeds three standard deviations.
        sunk = label & (factor * (image - bare) <= 3 * noise)
        new = np.where(usable, new, np.nan).astype(np.float32)
        return Patch(new, label & ~sunk, valid & ~sunk, usable, statistics)
