"""Science frames with cosmic rays added on the fly."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import TYPE_CHECKING, Literal

import numpy as np

from cosmiq_astro.simulate import Footprints, label_from_charge
from cosmiq_astro.training._frames import ObservedFrames, check_interval, log_uniform
from cosmiq_astro.training._pixels import combine_masks, find_exposures
from cosmiq_astro.training.datasets import Patch
from cosmiq_astro.training.hits import as_library, find_hits, read_hits
from cosmiq_astro.units import to_electrons

if TYPE_CHECKING:
    from astropy import units as u
    from astropy.nddata import CCDData

    from cosmiq_astro.models.model import Model

__all__ = ["InjectionDataset"]


class InjectionDataset(ObservedFrames):
    """
    Science frames that get new cosmic rays with each patch (deepCR's ``mode='simulate'``).

    The label is exact: the charge that was added, against the noise of source,
    sky and read-out at that pixel. What the frames hold already is not known
    to the dataset: give ``masks``.

    Parameters
    ----------
    images : sequence of ndarray or `~astropy.nddata.CCDData`
        Science frames, two-dimensional, sky included, with as few hits as
        possible; arrays are in electrons, or in adu if ``gain`` is given.
        Memory-mapped arrays stay on disk.
    cosmic_rays : `~cosmiq_astro.simulate.Footprints` or sequence of ndarray
        A library of hits; or dark-subtracted dark frames, or images of charge
        alone, in the unit of the images: their hits are cut out by
        `~cosmiq_astro.simulate.extract_footprints`. Pixels whose charge is a
        guess (`~cosmiq_astro.simulate.Footprints`) are left out of the loss.
    masks : sequence of ndarray, optional
        True where a frame has a hit of its own or a bad pixel: left out of the
        loss. Take them from repeated exposures
        (`~cosmiq_astro.training.label_exposures`) or from a detection, grown
        by a pixel or two. A mask that comes with
        `~astropy.nddata.CCDData` is added to it.
    readnoise : float or `~astropy.units.Quantity`
        Electron.
    gain : float or `~astropy.units.Quantity`, optional
        Electron per adu.
    satlevel : float or `~astropy.units.Quantity`, optional
        Level at which pixels saturate, electron. Give it if stars saturate: a
        hit on them then leaves nothing to see, and is not asked for.
    density : tuple of float, optional
        Hits per pixel, log-uniform between the two. The default spans a short
        exposure on the ground and 1000 s in low Earth orbit; hits as dense as
        you will meet give the best calibrated probabilities.
    charge_scale : tuple of float, optional
        Factor on the charge of each hit, log-uniform.
    exposure_scale : tuple of float, optional
        Factor on the frame's light, at most 1, log-uniform, with the noise
        that such a shorter exposure would have. Widen it if you have only
        long exposures and will meet short ones.
    extra_sky : tuple of float, optional
        Sky added with its Poisson noise, electron per pixel, uniform. Widen it
        if your frames were all taken in dark nights.
    visits : sequence, optional
        Which visit each frame belongs to: frames of one visit stay on one side
        of a split. Give it when frames show the same field.

    Raises
    ------
    ValueError
        If frames do not fit together, a range is out of bounds, or there is
        no hit to inject.

    Examples
    --------
    >>> import numpy as np
    >>> from cosmiq_astro.simulate import cosmic_ray_footprints
    >>> from cosmiq_astro.training import InjectionDataset
    >>> frames = [np.random.default_rng(i).normal(100, 11, (64, 64)) for i in range(3)]
    >>> hits = cosmic_ray_footprints(50, seed=1)
    >>> dataset = InjectionDataset(frames, hits, readnoise=4.5)
    >>> dataset.n_frames, dataset.n_valid_pixels
    (3, 12288)
    """

    _ranges = ("_density", "_charge_scale", "_exposure_scale", "_extra_sky")

    def __init__(
        self,
        images: Sequence[np.ndarray | CCDData],
        cosmic_rays: Footprints | Sequence[np.ndarray],
        *,
        masks: Sequence | None = None,
        readnoise: float | u.Quantity,
        gain: float | u.Quantity | None = None,
        satlevel: float | u.Quantity | None = None,
        density: tuple[float, float] = (2e-4, 4e-3),
        charge_scale: tuple[float, float] = (0.5, 2.0),
        exposure_scale: tuple[float, float] = (1.0, 1.0),
        extra_sky: tuple[float, float] = (0.0, 0.0),
        visits: Sequence | None = None,
    ):
        super().__init__(
            images,
            ("masks", masks),
            readnoise=readnoise,
            gain=gain,
            exposure_scale=exposure_scale,
            extra_sky=extra_sky,
            visits=visits,
        )
        self._library = as_library(cosmic_rays, gain)
        self._satlevel = to_electrons("satlevel", satlevel, gain=gain)
        self._density = check_interval("density", density, positive=True)
        self._charge_scale = check_interval("charge_scale", charge_scale, positive=True)

    @classmethod
    def from_directory(
        cls,
        path: str | PathLike | Sequence[str | PathLike],
        cosmic_rays: Footprints | str | PathLike | Sequence[str | PathLike],
        *,
        readnoise: float | u.Quantity,
        gain: float | u.Quantity | None = None,
        satlevel: float | u.Quantity | None = None,
        density: tuple[float, float] = (2e-4, 4e-3),
        exposure_scale: tuple[float, float] = (1.0, 1.0),
        extra_sky: tuple[float, float] = (0.0, 0.0),
        finder: str | PathLike | Model | None = None,
        visits: Literal["field", "frame", "directory"] = "field",
    ) -> InjectionDataset:
        """
        Read science frames; pixels are fetched when they are needed.

        Files are laid out as for `PairedDataset.from_directory
        <cosmiq_astro.training.PairedDataset.from_directory>`, but masks may be
        missing: what ``NAME_mask`` and ``NAME_ignore`` mark, hits that a
        frame has already and bad pixels, is left out of the loss.

        Parameters
        ----------
        path : path-like or sequence of path-like
            The directory, or several.
        cosmic_rays : `~cosmiq_astro.simulate.Footprints` or path-like, or a sequence of path-like
            A library of hits, or files: libraries (``.npz``, as ``cosmiq-astro
            hits`` writes them), dark-subtracted dark frames in the unit of the
            science frames, or directories of such.
        readnoise, gain, satlevel, density, exposure_scale, extra_sky : object, optional
            As for the class.
        finder : str, path-like or Model, optional
            A model that looks for the hits of frames that have no mask
            (`~cosmiq_astro.training.find_hits`); they are left out of the loss.
        visits : {'field', 'frame', 'directory'}, optional
            As for `PairedDataset.from_directory
            <cosmiq_astro.training.PairedDataset.from_directory>`.

        Returns
        -------
        dataset : `~cosmiq_astro.training.InjectionDataset`
            Takes memory for a patch at a time, and a byte per pixel where
            ``finder`` has looked, however many files there are.

        Raises
        ------
        ValueError
            If there is no frame, no hit, or what is in the files cannot be
            used.
        """
        images, masks, ignore, files = find_exposures(path, gain=gain, need_masks=False)
        readnoise = to_electrons("readnoise", readnoise, gain=gain)
        satlevel = to_electrons("satlevel", satlevel, gain=gain)
        unknown = [i for i, mask in enumerate(masks) if mask is None]
        if finder is not None and unknown:
            frames = [images[i] for i in unknown]
            found = find_hits(frames, readnoise=readnoise, satlevel=satlevel, model=finder)
            for i, mask in zip(unknown, found, strict=True):
                masks[i] = mask
        if not isinstance(cosmic_rays, Footprints):
            cosmic_rays = read_hits(cosmic_rays, gain)
        masks = [combine_masks(*pair) for pair in zip(masks, ignore, strict=True)]
        dataset = cls(
            images,
            cosmic_rays,
            masks=masks,
            readnoise=readnoise,
            satlevel=satlevel,
            density=density,
            exposure_scale=exposure_scale,
            extra_sky=extra_sky,
        )
        dataset.group(files, by=visits)
        return dataset

    def _part_others(self, validation, fraction, seed):
        self.part_hits(validation, fraction, seed=seed)

    def part_hits(self, validation: InjectionDataset, fraction: float, *, seed: int) -> None:
        """
        Leave a part of the hits to validation frames of their own: no hit is on both sides.

        Parameters
        ----------
        validation : `~cosmiq_astro.training.InjectionDataset`
            Other frames; changed in place, as is this dataset.
        fraction : float
            Share of the hits for validation, in (0, 1).
        seed : int
            Seed of the choice.

        Raises
        ------
        ValueError
            If there are fewer than two hits.
        """
        n = len(self._library)
        if n < 2:
            raise ValueError(f"cosmic_rays holds {n} hit, which cannot be split; give more")
        order = np.random.default_rng([seed, 1]).permutation(n)
        n_validation = min(max(1, round(fraction * n)), n - 1)
        validation._library = self._library.take(order[:n_validation])
        self._library = self._library.take(order[n_validation:])

    def patch(self, frame: int, size: int, rng: np.random.Generator) -> Patch:
        """
        Cut a random square out of a frame and let cosmic rays hit it.

        Parameters
        ----------
        frame, size : int
            Which frame, and the side of the square.
        rng : `~numpy.random.Generator`
            Source of all randomness.

        Returns
        -------
        patch : `~cosmiq_astro.training.datasets.Patch`
            The square and its labels (3 σ of the noise without the hit).
        """
        # Stray hits move neither sky nor noise: those of the frame are those with the hits.
        _, image, usable, valid, statistics = self._cut_out(frame, size, rng)
        image = np.where(usable, image, statistics.sky)
        image, noise, statistics, _ = self._observe_anew(image, image, statistics, rng)
        n = rng.poisson(log_uniform(rng, self._density) * image.size)
        scale = self._charge_scale
        charge, unknown = self._library.paste(
            image.shape, n, rng, charge_scale=scale, return_unknown=True
        )
        hit = image + charge
        if self._satlevel is not None:
            # A frame may lie above the level already; a hit never lowers a pixel.
            hit = np.where(charge > 0, np.maximum(np.minimum(hit, self._satlevel), image), image)
        label, ignore = label_from_charge(hit - image, np.maximum(noise, 1e-3))
        # Where a hit is lost in a saturated star, there is nothing to learn.
        ignore |= (charge > 3 * noise) & ~label
        # What a cut hit holds there is not known: it is not said to be nothing.
        ignore |= unknown & ~label
        hit = np.where(usable, hit, np.nan).astype(np.float32)
        return Patch(hit, label, valid & ~ignore, usable, statistics)
