"""
Sky level, noise scale and the network's input channels: the one place where pixels are normalised.

Training and detection call the same functions, so that what a network sees
in use is what it saw in training.
"""

import math
from dataclasses import dataclass

import numpy as np
from astropy.stats import sigma_clip

__all__ = [
    "CHANNELS",
    "LARGEST",
    "ImageStatistics",
    "estimate_statistics",
    "normalize",
    "normalize_tensor",
    "restore",
    "subtract_sky",
]

_MAX_SAMPLES = 2**16
_BLOCK = 32
_MAD_TO_SIGMA = 1.482602218505602
LARGEST = 1e9
"""Electron; beyond any detector's full well. Pixels are taken as no more: float32 stays finite."""
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
    """

    sky: float
    noise: float


def estimate_statistics(image, valid, *, readnoise=None):
    """
    Estimate the sky level and the noise of a sky pixel, unmoved by stars and cosmic rays.

    The sky is the 3-sigma clipped median of a regular grid of at most about
    65,536 valid pixels. With a known read noise the noise is
    ``sqrt(max(sky, 0) + readnoise**2)``. Without one it is measured from
    differences of neighbouring pixels, whose scatter is taken block by
    block; a low quantile of the blocks is used, so that a crowded field does
    not inflate it.

    Parameters
    ----------
    image : ndarray
        Pixel values, electron, shape ``(ny, nx)``.
    valid : ndarray of bool
        True for pixels that may be used, same shape.
    readnoise : float, optional
        Read noise, electron. Give it whenever it is known: the noise then
        does not depend on what the image shows.

    Returns
    -------
    statistics : `ImageStatistics`
        Finite for any input; an image without a valid pixel has sky 0 and
        noise 1.
    """
    # The grid is fixed on the image, not on the list of valid pixels: masking a pixel must not
    # exchange the sample against another.
    step = max(1, math.ceil(math.sqrt(image.size / _MAX_SAMPLES)))
    sample = np.asarray(image[::step, ::step][valid[::step, ::step]], dtype=np.float64)
    if sample.size == 0:
        sample = np.asarray(image[valid], dtype=np.float64)
    if sample.size == 0:
        return ImageStatistics(sky=0.0, noise=1.0)
    sample = np.clip(sample, -LARGEST, LARGEST)
    clipped = sigma_clip(
        sample, sigma=3, maxiters=5, cenfunc="median", stdfunc="mad_std", masked=False, copy=False
    )
    sky = float(np.median(clipped))
    if readnoise is not None:
        noise = math.sqrt(max(sky, 0.0) + float(readnoise) ** 2)
    else:
        noise = _difference_noise(image, valid)
    # The floor keeps a constant or noiseless image finite.
    floor = max(1e-3, 1e-6 * abs(sky))
    return ImageStatistics(sky=sky, noise=min(max(noise, floor), LARGEST))


def _difference_noise(image, valid):
    """Noise from differences of neighbours along a row, a low quantile over blocks."""
    height, width = (min(_BLOCK, n) for n in image.shape)
    # Blocks on a regular grid, of about as many pixels as the sky sample has.
    n_blocks = max(1, math.isqrt(_MAX_SAMPLES // (height * width)))
    scatter = []
    for y in np.unique(np.linspace(0, image.shape[0] - height, n_blocks).astype(int)):
        for x in np.unique(np.linspace(0, image.shape[1] - width, n_blocks).astype(int)):
            box = np.s_[y : y + height, x : x + width]
            values = np.clip(image[box].astype(np.float64), -LARGEST, LARGEST)
            values = np.where(valid[box], values, np.nan)
            difference = np.diff(values, axis=1 if width > 1 else 0)
            difference = difference[np.isfinite(difference)]
            if difference.size:
                # Differences scatter around zero: no need to find their median first.
                scatter.append(_MAD_TO_SIGMA * np.median(np.abs(difference)) / math.sqrt(2))
    return float(np.quantile(scatter, 0.25)) if scatter else 1.0


def subtract_sky(image, valid, sky, *, satlevel=None):
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


def normalize(image, statistics, channels):
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


def normalize_tensor(image, statistics, channels):
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


def restore(inputs, statistics):
    """
    Invert the ``asinh`` channel of `normalize`.

    Parameters
    ----------
    inputs : ndarray
        The ``asinh`` channel.
    statistics : `ImageStatistics`
        Sky and noise used to make it.

    Returns
    -------
    image : ndarray
        Pixel values with the sky, electron.
    """
    return np.sinh(inputs) * statistics.noise + statistics.sky


def _asinh(image, statistics):
    # As exact in float32 as numpy.arcsinh, which takes several times as long.
    x = image / statistics.noise
    square = x.square()
    return (x.abs() + square / (1 + (1 + square).sqrt())).log1p().copysign(x)


def _anscombe(image, statistics):
    """Generalised Anscombe transform: noise of one unit (before the scale) at every brightness."""
    deviation = (image + statistics.noise**2).clamp_min(0).sqrt()
    return _ANSCOMBE_SCALE * (2 * deviation - 2 * statistics.noise)


def _electron(image, statistics):
    return image + statistics.sky


CHANNELS = {"asinh": _asinh, "anscombe": _anscombe, "electron": _electron}
"""Input channels by name.

``asinh`` is ``arcsinh((image - sky) / noise)``; ``anscombe`` is the
generalised Anscombe transform (Starck, Murtagh & Bijaoui 1998, eq. 2.44, for
unit gain), in units of ten noise standard deviations, so that the noise on a
bright star is as large as that on the sky; ``electron`` is the image as it is.
"""
