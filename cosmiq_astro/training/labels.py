"""Labels from repeated exposures: what only one of them shows is a cosmic ray."""

from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from astropy.table import Table
from scipy import ndimage

from cosmiq_astro.preprocess import estimate_statistics
from cosmiq_astro.training._align import align, measure_offsets, read_offsets
from cosmiq_astro.training._pixels import read_pixels
from cosmiq_astro.training._psf_match import HALF_WIDTH, match_image
from cosmiq_astro.units import to_electrons

__all__ = ["ExposureLabels", "label_exposures"]

_EIGHT = np.ones((3, 3), dtype=bool)
_LABEL = 3.0
_FIRST_PASS = 5.0
_BRIGHT = 20.0
_LEAST_MISMATCH = 0.01
_MAD_TO_SIGMA = 1.4826
_ENOUGH = 100


@dataclass(frozen=True)
class ExposureLabels:
    """
    What `~cosmiq_astro.training.label_exposures` returns.

    The first three go into `~cosmiq_astro.training.PairedDataset` as they are.

    Attributes
    ----------
    images : list of ndarray of float32
        The exposures, electron.
    masks : list of ndarray of bool
        True where a cosmic ray hit.
    ignore : list of ndarray of bool
        True where that could not be decided.
    report : `~astropy.table.Table`
        One row per exposure: ``dy`` and ``dx`` (its offset from the first,
        pixels), ``scale`` (its light relative to the first), ``mismatch``
        (share of the range over 5 x 5 pixels by which it differs from the
        others where stars are: the price of seeing and interpolation; above
        0.1, look at the frames), ``n_hits``,
        ``hit_fraction`` and ``labelled_fraction`` (of its pixels).
    """

    images: list = field(repr=False)
    masks: list = field(repr=False)
    ignore: list = field(repr=False)
    report: Table

    @property
    def labelled_fraction(self):
        """Share of all pixels that got a label."""
        n = sum(plane.size for plane in self.ignore)
        return 1 - sum(int(plane.sum()) for plane in self.ignore) / n


def label_exposures(
    exposures, *, readnoise, gain=None, offsets=None, satlevel=None, significance=6.0
):
    """
    Label the cosmic rays in two or more exposures of one field.

    Each exposure is compared with the mean of the others, hits left out, which
    is brought to its place, sky, light and seeing. A group of pixels is a hit
    if one exceeds it by ``significance`` standard deviations; its pixels above
    3 get the label. The noise is that of source, sky and read-out, that of
    the mean, and a share of the local range of values, which is measured:
    where seeing, guiding or interpolation make a star differ still, a pixel
    must stand out by more. This is the scheme of Fruchter & Hook (2002, PASP
    114, 144, section 4.4), with the seeing matched and the share measured.

    Parameters
    ----------
    exposures : sequence of ndarray or `~astropy.nddata.CCDData`
        Two or more exposures of one shape, sky included, with the same filter;
        their exposure times and skies may differ. Arrays are in electrons, or
        in adu if ``gain`` is given. Masked pixels are ignored.
    readnoise : float or `~astropy.units.Quantity`
        Electron.
    gain : float or `~astropy.units.Quantity`, optional
        Electron per adu.
    offsets : array-like, ``'measure'`` or ``'wcs'``, optional
        Rows and columns by which each exposure sees the sky moved with respect
        to the first, shape ``(n, 2)``; ``'measure'`` finds them from the
        stars; ``'wcs'`` reprojects each exposure by its WCS, rotation and
        distortion included. Without it the exposures are aligned. Dithered
        exposures are better: what stays on its pixel is a defect.
    satlevel : float or `~astropy.units.Quantity`, optional
        Level at which pixels saturate, electron; such pixels and their
        neighbours are ignored. Give it wherever stars saturate.
    significance : float, optional
        Above 3. Raise it if stars get labels, lower it if faint hits are left
        undecided.

    Returns
    -------
    labels : `~cosmiq_astro.training.ExposureLabels`
        Masks, what to ignore, and a report.

    Raises
    ------
    ValueError
        If there are fewer than two exposures, shapes or units differ, or a
        setting is out of its range.

    Notes
    -----
    Ignored are: pixels above 3 in no hit or within 3 pixels of the border, the
    neighbours of a hit's pixels (its wings are fainter than can be told),
    saturated and masked pixels, those that no other exposure covers, and those
    that stand out at one place of the detector in half of the exposures. Hot
    pixels that come or go between exposures look like hits: use exposures of
    one night, or mask them. The measured charge has noise of its own, so the
    label of pixels near 3 standard deviations is less sure than that of an
    injected hit.

    Examples
    --------
    >>> import numpy as np
    >>> from cosmiq_astro.training import label_exposures
    >>> rng = np.random.default_rng(0)
    >>> exposures = rng.normal(100, 11, (3, 64, 64))
    >>> exposures[1, 20, 30:34] += 800
    >>> labels = label_exposures(exposures, readnoise=5)
    >>> [int(mask.sum()) for mask in labels.masks]
    [0, 4, 0]
    """
    if not significance > _LABEL:
        raise ValueError(f"significance must be above {_LABEL:g}, got {significance!r}")
    exposures = list(exposures)
    readnoise = to_electrons("readnoise", readnoise, gain=gain)
    scene = _read(exposures, readnoise, gain, to_electrons("satlevel", satlevel, gain=gain))
    scene = replace(scene, **_geometry(scene, exposures, offsets))
    n = len(exposures)
    hits, smoothed = zip(*(_first_pass(scene, i) for i in range(n)), strict=True)
    hidden = [ndimage.binary_dilation(hits[i], _EIGHT) | ~scene.usable[i] for i in range(n)]
    # A defect moves with the detector, not with the sky.
    defect = np.sum(hits, axis=0) >= max(2, n / 2)
    masks, ignore, rows = [], [], []
    for i in range(n):
        mask, undecided, row = _second_pass(scene, i, smoothed, hidden, significance)
        masks.append(mask & ~defect & scene.usable[i])
        ignore.append((undecided | defect | ~scene.usable[i]) & ~masks[i])
        row["n_hits"] = ndimage.label(masks[i], _EIGHT)[1]
        row["hit_fraction"] = float(masks[i].mean())
        rows.append(row | {"labelled_fraction": float(1 - ignore[i].mean())})
    return ExposureLabels(scene.images, masks, ignore, Table(rows=rows))


@dataclass(frozen=True)
class _Scene:
    """The exposures in electrons, finite, and how they lie to each other."""

    images: list
    usable: list
    statistics: list
    readnoise: float
    offsets: np.ndarray | None = None
    wcs: list | None = None

    def onto(self, i, j, image, hidden):
        """Return exposure ``j`` on the grid, at the sky and in the light of ``i``."""
        if j == i:
            return image, hidden, 1.0
        if self.wcs is not None:
            aligned, hidden = align(image, hidden, wcs=(self.wcs[j], self.wcs[i]))
        else:
            aligned, hidden = align(image, hidden, shift=self.offsets[i] - self.offsets[j])
        own, other = self.statistics[i], self.statistics[j]
        light, own_light = aligned - other.sky, self.images[i] - own.sky
        bright = ~hidden & self.usable[i]
        bright &= (light > _BRIGHT * other.noise) & (own_light > _BRIGHT * own.noise)
        # With too little light the two cannot be told apart.
        enough = bright.sum() >= _ENOUGH
        scale = float(np.median(own_light[bright] / light[bright])) if enough else 1.0
        return light * scale + own.sky, hidden, scale


def _read(exposures, readnoise, gain, satlevel):
    """Return the exposures in electrons, every pixel finite."""
    pixels, masks = read_pixels("exposures", exposures, gain)
    if len(pixels) < 2:
        raise ValueError("exposures holds 1 frame; give two or more of one field")
    images, usable, statistics = [], [], []
    for i, (image, mask) in enumerate(zip(pixels, masks, strict=True)):
        if image.shape != pixels[0].shape:
            raise ValueError(
                f"exposures[{i}] has shape {image.shape}, exposures[0] has {pixels[0].shape}"
            )
        image = image[:, :]
        good = np.isfinite(image)
        if satlevel is not None:
            good &= ~ndimage.binary_dilation(image >= satlevel, _EIGHT)
        if mask is not None:
            good &= ~mask
        if not good.any():
            raise ValueError(f"exposures[{i}] has no pixel that may be used")
        images.append(np.where(np.isfinite(image), image, np.median(image[good])))
        usable.append(good)
        statistics.append(estimate_statistics(images[i], good, readnoise=readnoise))
    return _Scene(images, usable, statistics, readnoise)


def _geometry(scene, exposures, offsets):
    """Return offsets or WCS of the exposures."""
    wanted = read_offsets(offsets, exposures)
    if wanted is not None:
        return {"offsets": wanted}
    if offsets == "wcs":
        return {"wcs": [exposure.wcs for exposure in exposures]}
    scaled = [
        np.where(usable, image - now.sky, 0) / now.noise
        for image, usable, now in zip(scene.images, scene.usable, scene.statistics, strict=True)
    ]
    return {"offsets": measure_offsets(scaled)}


def _first_pass(scene, i):
    """Return what stands out of the median of all exposures, and the exposure without it."""
    own = scene.images[i]
    planes = []
    for j, (image, usable) in enumerate(zip(scene.images, scene.usable, strict=True)):
        aligned, hidden, _ = scene.onto(i, j, image, ~usable)
        planes.append(np.where(hidden, own, aligned))
    # The median of two is their mean, which a hit in either would spoil.
    expected = np.median(planes, axis=0) if len(planes) > 2 else np.min(planes, axis=0)
    expected = np.where(scene.usable[i], expected, own)
    compared = _residual(scene, i, expected, scene.usable[i], len(planes))
    hits = scene.usable[i] & (compared.residual > _FIRST_PASS * compared.total)
    # A spline through a hit would ring over its surroundings.
    hidden = ndimage.binary_dilation(hits, _EIGHT)
    return hits, np.where(hidden, own - compared.residual, own)


def _second_pass(scene, i, images, hidden, significance):
    """Return hits, undecided pixels and what was measured, from the mean of the other exposures."""
    total, n_covering, scale = 0.0, np.zeros(images[i].shape), 1.0
    for j in range(len(images)):
        if j == i:
            continue
        aligned, out, to_own = scene.onto(i, j, images[j], hidden[j])
        total = total + np.where(out, 0, aligned)
        n_covering += ~out
        scale = to_own if j == 0 else scale
    covered = n_covering > 0
    n_covering = np.maximum(n_covering, 1)
    expected = np.where(covered, total / n_covering, scene.images[i])
    compared = _residual(scene, i, expected, covered & scene.usable[i], n_covering)
    stands_out = covered & (compared.residual > _LABEL * compared.total)
    groups, n = ndimage.label(stands_out, _EIGHT)
    is_hit = np.zeros(n + 1, dtype=bool)
    is_hit[groups[stands_out & (compared.residual > significance * compared.total)]] = True
    # The matched image is not to be trusted where the kernel reaches over the border.
    inside = np.zeros_like(stands_out)
    inside[HALF_WIDTH:-HALF_WIDTH, HALF_WIDTH:-HALF_WIDTH] = True
    mask = is_hit[groups] & inside
    undecided = ~covered | ndimage.binary_dilation(mask, _EIGHT)
    undecided |= compared.residual > _LABEL * compared.noise
    offset = (np.nan, np.nan) if scene.offsets is None else scene.offsets[i]
    row = dict(zip(("dy", "dx"), map(float, offset), strict=True))
    row |= {"scale": scale, "mismatch": compared.mismatch}
    return mask, undecided, row


class _Comparison(NamedTuple):
    residual: np.ndarray
    noise: np.ndarray
    total: np.ndarray
    mismatch: float


def _residual(scene, i, expected, good, n_covering):
    """Compare an exposure with what is expected; ``total`` is the noise of both."""
    own = scene.images[i]
    expected, amplification = match_image(
        expected, own, good, scene.statistics[i].sky, scene.readnoise
    )
    residual = own - expected
    variance = np.maximum(expected, 0) + scene.readnoise**2
    comparison = variance * (1 + amplification / n_covering)
    highest, lowest = (f(expected, 5) for f in (ndimage.maximum_filter, ndimage.minimum_filter))
    # Unlike a gradient, the range over 5 x 5 pixels is not zero at the top of a star.
    local_range = highest - lowest
    steep = good & (local_range**2 > _BRIGHT**2 * comparison)
    tops = steep & ndimage.binary_dilation(expected == highest, _EIGHT)
    mismatch = _LEAST_MISMATCH
    # Under better seeing than that of the others, the tops differ by more than the flanks do.
    for pixels in (steep, tops):
        if pixels.sum() >= _ENOUGH:
            share = _MAD_TO_SIGMA * np.median(np.abs(residual[pixels]) / local_range[pixels])
            by_noise = np.median(comparison[pixels] / local_range[pixels] ** 2)
            mismatch = max(mismatch, float(np.sqrt(max(share**2 - by_noise, 0))))
    total = np.sqrt(comparison + (mismatch * local_range) ** 2)
    return _Comparison(residual, np.sqrt(variance), total, mismatch)
