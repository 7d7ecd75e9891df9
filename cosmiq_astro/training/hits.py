"""Hits for injection: cut out of dark frames; and what science frames hold already."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from os import PathLike
from typing import TYPE_CHECKING

import numpy as np
from astropy.stats import mad_std
from astropy.table import Table
from scipy import ndimage
from scipy.stats import binom

from cosmiq_astro._scatter import scatter_about_zero
from cosmiq_astro._windows import TOUCHING, block_medians
from cosmiq_astro.simulate import Footprints, extract_footprints
from cosmiq_astro.training._pixels import find_images, list_paths, read_pixels, row_blocks
from cosmiq_astro.units import stated_time, to_electrons

if TYPE_CHECKING:
    from astropy import units as u
    from astropy.nddata import CCDData
    from numpy.typing import ArrayLike

    from cosmiq_astro.models.model import Model

__all__ = ["HitLibrary", "cut_hits", "find_hits"]

_THRESHOLD = 5.0
_FEWEST = 3
_BLOCK = 64
# That a good pixel is hit as often as one that is called bad.
_CHANCE = 1e-4
# Of the network that looks for what a frame holds already: better too much than too little.
_PROBABILITY, _GROWTH = 0.2, 2


@dataclass(frozen=True)
class HitLibrary:
    """
    What `~cosmiq_astro.training.cut_hits` returns.

    Attributes
    ----------
    footprints : `~cosmiq_astro.simulate.Footprints`
        The hits, charge in electrons.
    bad : ndarray of bool
        Pixels that are hot, or come and go: no hit is taken from there.
    report : `~astropy.table.Table`
        One row per dark frame: ``level`` (bias and dark current, electron),
        ``n_hits`` and ``hits_per_pixel``.
    """

    footprints: Footprints = field(repr=False)
    bad: np.ndarray = field(repr=False)
    report: Table


def cut_hits(
    darks: Sequence,
    *,
    readnoise: float | u.Quantity,
    gain: float | u.Quantity | None = None,
    mask: ArrayLike | None = None,
    min_charge: float = 250.0,
) -> HitLibrary:
    """
    Cut the hits out of dark frames as they come from the camera.

    Bias and dark current are the median of the frames, pixel by pixel, and are
    taken off, as is what drifts from frame to frame over 64 pixels. A pixel
    that stands out in more frames than chance allows is hot, or comes and
    goes, and no hit that touches it is taken.

    Parameters
    ----------
    darks : sequence of ndarray or `~astropy.nddata.CCDData`
        Three dark frames or more, of one shape and exposure time; in
        electrons, or in adu if ``gain`` is given. Ten frames of 900 s tell hot
        pixels well, and hold hundreds of hits.
    readnoise : float or `~astropy.units.Quantity`
        Electron.
    gain : float or `~astropy.units.Quantity`, optional
        Electron per adu.
    mask : array-like, optional
        True for bad pixels.
    min_charge : float, optional
        Least charge of a hit, electron. Raise it where warm pixels abound.

    Returns
    -------
    library : `~cosmiq_astro.training.HitLibrary`
        The hits, for `~cosmiq_astro.training.InjectionDataset`; their rims
        are marked as unknown.

    Raises
    ------
    ValueError
        If there are too few frames, shapes or exposure times differ, or they
        hold no hit.

    Examples
    --------
    >>> import numpy as np
    >>> from cosmiq_astro.training import cut_hits
    >>> darks = np.random.default_rng(0).normal(300, 4, (5, 64, 64))
    >>> darks[:, 5, 5] += 2000  # a hot pixel
    >>> darks[2, 30, 30:34] += [200, 900, 700, 100]  # a hit
    >>> library = cut_hits(darks, readnoise=4)
    >>> len(library.footprints)
    1
    """
    darks = list(darks)
    times = {stated_time(d.meta) for d in darks if hasattr(d, "meta")}
    if len(times) > 1:
        raise ValueError(
            f"darks have exposure times that differ ({', '.join(map(str, sorted(times, key=str)))})"
            ": their dark current does too; give those of one time in one call"
        )
    images, masks = read_pixels("darks", darks, gain, alike=True)
    if len(images) < _FEWEST:
        raise ValueError(
            f"darks holds {len(images)} frames; {_FEWEST} are needed to tell hits from hot pixels"
        )
    readnoise = to_electrons("readnoise", readnoise, gain=gain)
    levels = [float(np.nanmedian(image[::7, ::7])) for image in images]
    usual, noise, bad = _stack(images, levels, readnoise)
    if mask is not None:
        bad |= np.asarray(mask, dtype=bool)
    cut, rows = [], []
    for image, level, own in zip(images, levels, masks, strict=True):
        charge = image[:, :] - level - usual
        hidden = bad | ~np.isfinite(charge) | (False if own is None else own)
        charge = np.where(hidden, 0, charge - _smooth(np.where(hidden, np.nan, charge)))
        cut.append(extract_footprints(charge, noise, mask=hidden, min_charge=min_charge, rim=True))
        n = len(cut[-1])
        rows.append({"level": level, "n_hits": n, "hits_per_pixel": n / charge.size})
    footprints = Footprints.concatenate(cut)
    if not len(footprints):
        raise ValueError("darks holds no hit: give more or longer dark frames, or check readnoise")
    return HitLibrary(footprints, bad, Table(rows=rows))


def _stack(images, levels, readnoise):
    """Return what a dark frame usually has above its level, its noise, and bad pixels."""
    shape, n = images[0].shape, len(images)
    usual, noise = np.empty(shape, np.float32), np.empty(shape, np.float32)
    counts = np.empty(shape, np.int32)
    for box in row_blocks(shape, planes=n):
        stack = np.stack([image[box] - level for image, level in zip(images, levels, strict=True)])
        middle = np.nanmedian(stack, axis=0)
        scatter = scatter_about_zero(stack - middle, axis=0)
        # Of few frames the scatter is not well known; the current's own noise is.
        least = np.sqrt(readnoise**2 + np.maximum(middle, 0))
        usual[box], noise[box] = middle, np.maximum(scatter, least)
        counts[box] = (stack - middle > _THRESHOLD * noise[box]).sum(axis=0)
    rate = counts.sum() / (n * counts.size)
    often = np.arange(2, n + 1)
    k = int(often[np.argmax(binom.sf(often - 1, n, rate) < _CHANCE)])
    return usual, noise, (counts >= k) | ~np.isfinite(usual)


def _smooth(image):
    """Return what drifts over 64 pixels: medians of blocks, each amplifier for itself or not."""
    ny, nx = image.shape
    level, y, x = block_medians(image, (max(1, ny // _BLOCK), max(1, nx // _BLOCK)))
    return np.nan_to_num(np.repeat(np.repeat(level, np.diff(y), axis=0), np.diff(x), axis=1))


def find_hits(
    images: Sequence[np.ndarray | CCDData],
    *,
    readnoise: float | u.Quantity,
    gain: float | u.Quantity | None = None,
    satlevel: float | u.Quantity | None = None,
    model: str | PathLike | Model = "acs-wfc-unet",
    device: str = "auto",
) -> list[np.ndarray]:
    """
    Mark what frames hold already, so that training with injected hits can leave it out.

    Parameters
    ----------
    images : sequence of ndarray or `~astropy.nddata.CCDData`
        Science frames; in electrons, or in adu if ``gain`` is given.
    readnoise, gain, satlevel : float or `~astropy.units.Quantity`, optional
        Electron, electron per adu, electron.
    model : str, path-like or Model, optional
        What looks for them. Pixels with a probability above 0.2 are marked,
        grown by two pixels: better too much than too little.
    device : str, optional
        Where it computes.

    Returns
    -------
    masks : list of ndarray of bool
        True where a frame is to be left out.
    """
    from cosmiq_astro.detector import CosmicRayDetector

    pixels, own = read_pixels("images", images, gain)
    detector = CosmicRayDetector(model, device=device)
    readnoise = to_electrons("readnoise", readnoise, gain=gain)
    satlevel = to_electrons("satlevel", satlevel, gain=gain)
    masks = []
    for image, mask in zip(pixels, own, strict=True):
        maps = detector(
            image[:, :], mask, sampling="mean", seed=0, readnoise=readnoise, satlevel=satlevel
        )
        found = np.nan_to_num(maps.probability) > _PROBABILITY
        masks.append(ndimage.binary_dilation(found, TOUCHING, iterations=_GROWTH))
    return masks


def read_hits(paths, gain) -> Footprints:
    """
    Read the hits of one or several files.

    Parameters
    ----------
    paths : path-like or sequence of path-like
        Libraries (``.npz``), dark-subtracted dark frames, or directories of such.
    gain : float or `~astropy.units.Quantity` or None
        Electron per adu.

    Returns
    -------
    library : `~cosmiq_astro.simulate.Footprints`
        All of them.
    """
    libraries = []
    for path in list_paths(paths):
        is_library = path.suffix == ".npz"
        hits = Footprints.load(path) if is_library else as_library(find_images(path), gain)
        libraries.append(hits)
    return Footprints.concatenate(libraries)


def as_library(cosmic_rays, gain):
    """
    Take hits as one library; cut them out of images.

    Parameters
    ----------
    cosmic_rays : `~cosmiq_astro.simulate.Footprints` or sequence of ndarray
        A library, or dark-subtracted dark frames or images of charge.
    gain : float or `~astropy.units.Quantity` or None
        Electron per adu.

    Returns
    -------
    library : `~cosmiq_astro.simulate.Footprints`
        The hits, at least one.
    """
    if isinstance(cosmic_rays, Footprints):
        library = cosmic_rays
    else:
        images, masks = read_pixels("cosmic_rays", cosmic_rays, gain)
        cut = []
        for image, mask in zip(images, masks, strict=True):
            charge = image[:, :]
            bad = ~np.isfinite(charge) if mask is None else mask | ~np.isfinite(charge)
            good = charge[~bad]
            # An image of charge alone has no noise.
            noise = max(float(mad_std(good)), 1.0) if good.size else 1.0
            charge = np.where(bad, 0, charge - (np.median(good) if good.size else 0))
            cut.append(extract_footprints(charge, noise, mask=bad, rim=True))
        library = Footprints.concatenate(cut)
    if not len(library):
        raise ValueError("cosmic_rays holds no hit to inject; give more or longer dark frames")
    return library
