"""Sky, noise and channels: the one place where pixels are normalised, in training and in use."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from astropy.stats import sigma_clip
from scipy.ndimage import binary_dilation

from cosmiq_astro._scatter import LARGEST, MAX_SAMPLES, block_scatter, is_blank

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "CHANNELS",
    "LARGEST",
    "ImageStatistics",
    "estimate_statistics",
    "fill_holes",
    "measure_softness",
    "normalize",
    "normalize_tensor",
    "subtract_sky",
]

_MAX_PEAKS = 2**14
# Rings of a hole that are filled.
_MOST_RINGS = 64
# Rows and columns of the eight, and the pixel itself, shape (2, 9, 1).
_NEIGHBOURS = np.mgrid[-1:2, -1:2].reshape(2, 9, 1)
# The peaks that tell how soft stars are: noise standard deviations, share of each neighbour, how
# many it takes, which quantile tells; and their neighbours, the four direct ones first.
BRIGHT, LEAST_SHARE, LEAST_PEAKS, SOFTNESS_QUANTILE = 30.0, 0.06, 5, 0.25
NEAR = ((-1, 0), (0, -1), (0, 1), (1, 0), (-1, -1), (-1, 1), (1, -1), (1, 1))
RING = tuple((y, x) for y in range(-2, 3) for x in range(-2, 3) if max(abs(y), abs(x)) == 2)
# How much larger than read noise and sky tell the noise of a subtracted sky is; and what is left of
# that sky, in units of its noise.
SUBTRACTED, LEFT_OVER = 1.5, 0.3
# Of a source in holes: in units of the noise, and how far it goes up from pixel to pixel.
_BRIGHT, _STEEPEST = 20, 2
# Keeps a saturated star, some 500 standard deviations bright, below 100.
_ANSCOMBE_SCALE = 0.1


@dataclass(frozen=True)
class ImageStatistics:
    """
    Sky level and noise scale of one image.

    Attributes
    ----------
    sky : float
        Sky level, electron per pixel.
    noise : float
        Standard deviation of the noise of a sky pixel, electron; positive.
    softness : float
        How softly stars fall off, in [0, 1], see `measure_softness`; 0 if it is not known.
    """

    sky: float
    noise: float
    softness: float = 0.0


def estimate_statistics(
    image: np.ndarray, valid: np.ndarray, *, readnoise: float | None = None, softness: bool = False
) -> ImageStatistics:
    """
    Estimate the sky level and the noise of a sky pixel, unmoved by stars and cosmic rays.

    The sky is the 3-sigma clipped median of a regular grid of at most about
    65,536 valid pixels. With a known read noise the noise is
    ``sqrt(max(sky, 0) + readnoise**2)``, unless the sky was subtracted: pixels,
    those below the sky too, scatter by more than 1.5 times as much, and the sky
    is below three tenths of that. Then, and without a read noise, it is measured
    from differences of neighbouring pixels, whose scatter is taken block by block;
    a low quantile of the blocks is used, so that a crowded field does not inflate it.

    Two things make many of the differences in a block 0. Where the pixels
    around one are all equal to it, as in vignetted corners and the borders of
    mosaics, it counts as missing, in the sky as well. And pixels whose steps
    are coarser than the noise are mostly equal: what then counts are the
    differences that there are, and never less than the noise of rounding,
    the step over the root of 12, or than one electron. Where nothing differs
    at all, the noise is that of the photons, ``sqrt(max(sky, 0))``.

    Parameters
    ----------
    image : ndarray
        Pixel values, electron, shape ``(ny, nx)``.
    valid : ndarray of bool
        True for pixels that may be used, same shape.
    readnoise : float, optional
        Read noise, electron. Give it whenever it is known: the noise then
        does not depend on what the image shows, unless the sky is subtracted.
        A read noise of 0 is taken at its word: the sky then tells all.
    softness : bool, optional
        Whether to measure the softness too, for networks that are told it.

    Returns
    -------
    statistics : `ImageStatistics`
        Finite for any input; an image without a valid pixel has sky 0 and
        noise 1.
    """
    scatter, has_gaps = block_scatter(image, valid)
    # The grid is fixed on the image, not on the list of valid pixels: masking a pixel must not
    # exchange the sample against another.
    step = max(1, math.ceil(math.sqrt(image.size / MAX_SAMPLES)))
    used = valid[::step, ::step]
    if has_gaps:
        used = used & ~is_blank(image, valid, *(np.arange(0, n, step) for n in image.shape))
    sample = np.asarray(image[::step, ::step][used], dtype=np.float64)
    if sample.size == 0:
        sample = np.asarray(image[valid], dtype=np.float64)
    if sample.size == 0:
        return ImageStatistics(sky=0.0, noise=1.0)
    sample = np.clip(sample, -LARGEST, LARGEST)
    clipped = sigma_clip(
        sample, sigma=3, maxiters=5, cenfunc="median", stdfunc="mad_std", masked=False, copy=False
    )
    sky = float(np.median(clipped))
    photons = math.sqrt(max(sky, 0.0))
    measured = float(np.quantile(scatter, 0.25)) if scatter else photons
    if readnoise is None:
        noise = measured
    else:
        noise = math.hypot(photons, readnoise)
        # Crowding widens the differences, and gradients what lies below the sky: not both.
        measured = min(measured, sky - float(np.quantile(clipped, 0.16)))
        if readnoise > 0 and measured > SUBTRACTED * noise and sky < LEFT_OVER * measured:
            noise = measured
    # The floor keeps a constant or noiseless image finite.
    floor = max(1e-3, 1e-6 * abs(sky))
    statistics = ImageStatistics(sky=sky, noise=min(max(noise, floor), LARGEST))
    if softness:
        return replace(statistics, softness=measure_softness(image, valid, statistics))
    return statistics


def measure_softness(image: np.ndarray, valid: np.ndarray, statistics: ImageStatistics) -> float:
    """
    Measure how softly the peaks of stars fall off: the width of the PSF, before any hit is known.

    Of each local maximum above 30 times the noise, whose four direct neighbours all stand out of
    the pixels around by three times the noise and hold 6 % of the peak each, as those of a star
    do and those of a cosmic ray seldom do: their mean over the peak, both above the (lower)
    median of the 16 pixels at a distance of 2. Of these ratios the lower quartile, as galaxies
    and blends are softer than the PSF: 0.2 for the sharpest optics, 0.42 for ACS/WFC, 0.65 for
    stars 6 pixels wide.

    Parameters
    ----------
    image : ndarray
        Pixel values, electron, shape ``(ny, nx)``.
    valid : ndarray of bool
        True for pixels that may be used, same shape.
    statistics : `ImageStatistics`
        Sky and noise of the image.

    Returns
    -------
    softness : float
        In [0, 1]; 0 where there are fewer than 5 such peaks.
    """
    sky, noise = statistics.sky, statistics.noise
    with np.errstate(invalid="ignore"):
        bright = valid[2:-2, 2:-2] & (image[2:-2, 2:-2] > sky + BRIGHT * noise)
    row, column = np.nonzero(bright)
    step = max(1, row.size // _MAX_PEAKS)
    row, column = row[::step] + 2, column[::step] + 2
    peak, *around = (
        np.where(
            valid[row + y, column + x],
            np.clip(image[row + y, column + x].astype(np.float64), -LARGEST, LARGEST) - sky,
            np.nan,
        )
        for y, x in ((0, 0), *NEAR, *RING)
    )
    near, ring = np.stack(around[: len(NEAR)]), np.stack(around[len(NEAR) :])
    four, background = near[:4], np.partition(ring, 7, axis=0)[7]
    with np.errstate(invalid="ignore"):
        # Comparisons with NaN fail: no peak touches a masked pixel.
        good = (peak > near).all(axis=0) & (four.min(axis=0) > LEAST_SHARE * peak)
        good &= four.min(axis=0) - background > 3 * noise
    if good.sum() < LEAST_PEAKS:
        return 0.0
    ratio = (four.mean(axis=0) - background)[good] / (peak - background)[good]
    return float(np.quantile(np.clip(ratio, 0, 1), SOFTNESS_QUANTILE))


def subtract_sky(
    image: np.ndarray, valid: np.ndarray, sky: float, *, satlevel: float | None = None
) -> np.ndarray:
    """
    Take the sky off and blank the pixels that may not be used.

    Parameters
    ----------
    image : ndarray
        Pixel values, electron, of any real type.
    valid : ndarray of bool
        True for pixels that may be used.
    sky : float
        Sky level, electron.
    satlevel : float, optional
        Saturation level, electron; pixels above are put there.

    Returns
    -------
    pixels : ndarray of float32
        Finite; 0, the sky, where ``valid`` is False.
    """
    pixels = np.empty(image.shape, dtype=np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        np.subtract(image, sky, out=pixels, casting="same_kind")
    highest = LARGEST if satlevel is None else satlevel - sky
    np.clip(pixels, -LARGEST, highest, out=pixels)
    pixels[~valid] = 0
    return pixels


def fill_holes(pixels: np.ndarray, valid: np.ndarray, noise: float) -> None:
    """
    Fill the pixels that may not be used from those around them.

    Sky in the place of a masked core of a star would leave a ring, which looks
    like a hit. Holes are filled ring by ring, inwards: in the sky with the mean
    of the neighbours that are known, on a bright source with the largest
    continuation of the eight profiles, each of which goes on with half of its
    slope (in the logarithm), as a star's does where it turns over.

    Parameters
    ----------
    pixels : ndarray of float32
        Sky-subtracted pixel values, electron, from `subtract_sky`; changed in
        place where ``valid`` is False, no farther than 64 pixels from the rim.
    valid : ndarray of bool
        True for pixels that may be used, same shape.
    noise : float
        Standard deviation of a sky pixel, electron; bright is 20 times that.
    """
    if valid.all():
        return
    known = valid.copy()
    y, x = np.nonzero(binary_dilation(known, np.ones((3, 3))) & ~known)
    for _ in range(_MOST_RINGS):
        if y.size == 0:
            return
        near, far = (
            tuple(
                np.clip(index + distance * offset, 0, n - 1)
                for index, offset, n in zip((y, x), _NEIGHBOURS, pixels.shape, strict=True)
            )
            for distance in (1, 2)
        )
        value = np.where(known[near], pixels[near], 0)
        rises = known[far] & (pixels[far] > _BRIGHT * noise) & (value > pixels[far])
        slope = np.divide(value, pixels[far], out=np.ones_like(value), where=rises)
        highest = (value * np.minimum(np.sqrt(slope), _STEEPEST)).max(axis=0)
        mean = value.sum(axis=0) / known[near].sum(axis=0)
        pixels[y, x] = np.where(highest > _BRIGHT * noise, highest, mean)
        known[y, x] = True
        inner = np.ravel_multi_index(near, pixels.shape)[~known[near]]
        y, x = np.unravel_index(np.unique(inner), pixels.shape)


def normalize(
    image: np.ndarray, statistics: ImageStatistics, channels: Sequence[str]
) -> np.ndarray:
    """
    Turn sky-subtracted pixels into the channels a network sees.

    Parameters
    ----------
    image : ndarray
        Sky-subtracted pixel values, electron, shape ``(…, ny, nx)``; finite.
    statistics : `ImageStatistics`
        Sky and noise of the image the pixels come from.
    channels : sequence of str
        Names from `CHANNELS`, in the order of the network's input.

    Returns
    -------
    inputs : ndarray of float32
        Shape ``(…, n_channels, ny, nx)``.
    """
    # Not for all who import this module, as it takes long.
    import torch

    pixels = torch.from_numpy(np.ascontiguousarray(image, dtype=np.float32))
    return normalize_tensor(pixels, statistics, channels).numpy()


def normalize_tensor(image: Tensor, statistics: ImageStatistics, channels: Sequence[str]) -> Tensor:
    """
    Do as `normalize` does, on the device where the pixels are.

    Parameters
    ----------
    image : Tensor
        Sky-subtracted pixel values, electron, float32, shape ``(…, ny, nx)``; finite.
    statistics : `ImageStatistics`
        Sky and noise of the image the pixels come from.
    channels : sequence of str
        Names from `CHANNELS`.

    Returns
    -------
    inputs : Tensor
        Shape ``(…, n_channels, ny, nx)``.
    """
    import torch

    return torch.stack([CHANNELS[name](image, statistics) for name in channels], dim=-3)


def _asinh(image, statistics):
    # As exact in float32 as numpy.arcsinh, which takes several times as long.
    x = image / statistics.noise
    square = x.square()
    return (x.abs() + square / (1 + (1 + square).sqrt())).log1p().copysign(x)


def _anscombe(image, statistics):
    """Generalised Anscombe transform: noise of one unit (before the scale) at every brightness."""
    deviation = (image + statistics.noise**2).clamp_min(0).sqrt()
    return _ANSCOMBE_SCALE * (2 * deviation - 2 * statistics.noise)


CHANNELS = {
    "asinh": _asinh,
    "anscombe": _anscombe,
    "electron": lambda image, statistics: image + statistics.sky,
    "softness": lambda image, statistics: image.new_full(image.shape, statistics.softness),
}
"""Input channels by name.

``asinh`` is ``arcsinh((image - sky) / noise)``; ``anscombe`` is the
generalised Anscombe transform (Starck, Murtagh & Bijaoui 1998, eq. 2.44, for
unit gain), in units of ten noise standard deviations, so that the noise on a
bright star is as large as that on the sky; ``electron`` is the image as it is; ``softness`` is
that of the image in each pixel, which tells a network how wide the stars are.
"""
