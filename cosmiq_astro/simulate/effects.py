"""What the detector does to an image in electrons: saturation, trails, defects and noise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import gaussian_filter, zoom
from scipy.signal import lfilter

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = [
    "add_noise",
    "apply_saturation",
    "bad_columns",
    "bias_steps",
    "cte_trails",
    "flat_residual",
    "hot_pixels",
    "warm_pixels",
]

_SLOPE = 1.5  # of the integral distribution of the dark current of hot pixels, a power law


def apply_saturation(image: ArrayLike, *, full_well: float = 84_700.0) -> np.ndarray:
    """
    Clip at the full well and let the excess bleed along the columns (axis 0).

    Parameters
    ----------
    image : array_like, shape (ny, nx)
        Charge in electrons.
    full_well : float, optional
        Charge a pixel holds, in electrons, > 0: 84,700 for ACS/WFC.

    Returns
    -------
    ndarray of float32
        The image; half of the excess goes up the column, half down, and what
        reaches the edge is lost.

    Raises
    ------
    ValueError
        If ``full_well`` is not positive.

    Examples
    --------
    >>> import numpy as np
    >>> from cosmiq_astro.simulate import apply_saturation
    >>> column = np.array([[0.0], [0.0], [300.0], [0.0], [50.0]])
    >>> apply_saturation(column, full_well=100).ravel()
    array([  0., 100., 100., 100.,  50.], dtype=float32)
    """
    if full_well <= 0:
        raise ValueError(f"full_well must be positive, got {full_well}")
    image = np.array(image, np.float32)
    columns = np.flatnonzero((image > full_well).any(axis=0))
    if columns.size:
        held = np.minimum(image[:, columns], full_well)
        half = (image[:, columns] - held) / 2
        _bleed(held, half, full_well)
        _bleed(held[::-1], half[::-1], full_well)
        image[:, columns] = held
    return image


def _bleed(held, excess, full_well):
    """Carry ``excess`` towards higher rows into whatever room ``held`` has left, in place."""
    rows = np.flatnonzero(excess.any(axis=1))
    carried = np.zeros(held.shape[1], held.dtype)
    for row in range(rows[0], len(held)):
        carried += excess[row]
        taken = np.minimum(carried, np.maximum(full_well - held[row], 0))
        held[row] += taken
        carried -= taken
        if row >= rows[-1] and not carried.any():
            break


def add_noise(
    image: ArrayLike, readnoise: float | ArrayLike, rng: np.random.Generator
) -> np.ndarray:
    """
    Add photon noise and read noise.

    Parameters
    ----------
    image : array_like
        Expected charge in electrons; negative values have read noise only.
    readnoise : float or array_like
        Standard deviation of the read noise in electrons, >= 0.
    rng : numpy.random.Generator
        Source of the random numbers.

    Returns
    -------
    ndarray of float32
        One exposure, in electrons.
    """
    image = np.asarray(image, np.float32)
    bright = np.maximum(image, 0)
    # beyond 1,000 electrons a Gaussian is within 0.1 sigma of Poisson and several times faster
    noisy = bright + np.sqrt(bright) * rng.standard_normal(image.shape, np.float32)
    faint = bright < 1000
    noisy[faint] = rng.poisson(bright[faint])
    noisy += np.minimum(image, 0)
    return noisy + np.asarray(readnoise, np.float32) * rng.standard_normal(image.shape, np.float32)


def hot_pixels(
    shape: tuple[int, int], rng: np.random.Generator, *, fraction: float = 0.005, rate: float = 0.14
) -> np.ndarray:
    """
    Dark current of hot pixels.

    Parameters
    ----------
    shape : tuple of int
        Shape ``(ny, nx)``.
    rng : numpy.random.Generator
        Source of the random numbers.
    fraction : float, optional
        Share of pixels that are hot, in [0, 1].
    rate : float, optional
        Least dark current of a hot pixel, in electron / s; 0.14 is the limit
        of the hot bit of ACS.

    Returns
    -------
    ndarray of float32
        Dark current in electron / s, 0 in good pixels, at most 300 ``rate``.
    """
    n = rng.binomial(shape[0] * shape[1], fraction)
    return _scattered(rate * np.minimum((1 - rng.random(n)) ** (-1 / _SLOPE), 300), shape, rng)


def warm_pixels(
    shape: tuple[int, int], rng: np.random.Generator, *, fraction: float = 0.01
) -> np.ndarray:
    """
    Dark current of warm pixels.

    Parameters
    ----------
    shape : tuple of int
        Shape ``(ny, nx)``.
    rng : numpy.random.Generator
        Source of the random numbers.
    fraction : float, optional
        Share of pixels that are warm, in [0, 1].

    Returns
    -------
    ndarray of float32
        Dark current in electron / s, 0 in good pixels, 0.06 to 0.14 in warm ones, as
        by the warm bit of ACS.
    """
    n = rng.binomial(shape[0] * shape[1], fraction)
    return _scattered(rng.uniform(0.06, 0.14, n), shape, rng)


def _scattered(values, shape, rng):
    """Return an image of zeros with the values at random places."""
    image = np.zeros(shape, np.float32)
    image.flat[rng.integers(0, image.size, values.size)] = values
    return image


def bias_steps(
    shape: tuple[int, int],
    rng: np.random.Generator,
    *,
    amplitude: float = 1.0,
    stripe: float = 0.3,
    n_amplifiers: int = 2,
) -> np.ndarray:
    """
    Offsets left by the bias subtraction.

    Parameters
    ----------
    shape : tuple of int
        Shape ``(ny, nx)``.
    rng : numpy.random.Generator
        Source of the random numbers.
    amplitude : float, optional
        Standard deviation of the offset of each amplifier, in electrons.
    stripe : float, optional
        Standard deviation of the offset of each row, in electrons (the striping
        of ACS after 2009).
    n_amplifiers : int, optional
        Amplifiers side by side along a row.

    Returns
    -------
    ndarray of float32
        Offset in electrons.
    """
    ny, nx = shape
    amplifier = np.arange(nx) * n_amplifiers // nx
    step = rng.normal(0, amplitude, n_amplifiers)[amplifier]
    return (step + rng.normal(0, stripe, (ny, 1))).astype(np.float32)


def bad_columns(shape: tuple[int, int], rng: np.random.Generator, *, n: int = 1) -> np.ndarray:
    """
    Columns with a bias of their own, from a random row to the edge.

    Parameters
    ----------
    shape : tuple of int
        Shape ``(ny, nx)``.
    rng : numpy.random.Generator
        Source of the random numbers.
    n : int, optional
        Number of bad columns.

    Returns
    -------
    ndarray of float32
        Offset in electrons, 20 of either sign in the mean.
    """
    ny, nx = shape
    image = np.zeros(shape, np.float32)
    for column in rng.integers(0, nx, n):
        size = rng.exponential(20.0) * rng.choice([-1, 1])
        image[rng.integers(0, ny) :, column] += size
    return image


# Release times (pixels) and weights of the three trap species of ACS/WFC, and the power of the
# charge that traps see, after Massey, R., et al. 2010, MNRAS 401, 371
_RELEASE = np.array([0.74, 7.7, 37.0])
_WEIGHTS = np.array([0.17, 0.45, 0.38])
_POWER = 0.48


def cte_trails(
    image: ArrayLike, strength: float, *, first_row: int = 0, full_well: float = 84_700.0
) -> np.ndarray:
    """
    Charge-transfer trails away from the readout register at row 0.

    Parameters
    ----------
    image : array_like, shape (ny, nx)
        Charge in electrons.
    strength : float
        Traps per pixel, >= 0: about 0.1 per year that ACS had been in orbit.
        After pixel-based correction a tenth of that is left.
    first_row : int, optional
        Transfers that row 0 itself undergoes; choose it for cutouts.
    full_well : float, optional
        Charge at which a cloud meets all traps, in electrons.

    Returns
    -------
    ndarray of float32
        The image after transfer. A uniform image stays as it is, away from its
        first rows.

    Notes
    -----
    A linearised form of the model of [1]_: a pixel of charge n in row y loses
    ``y * strength * (n / full_well) ** 0.48`` electrons, never more than a
    third of n, which come back behind it in three exponentials. What one pixel
    gives back fills the traps that the next would fill.

    References
    ----------
    .. [1] Massey, R., Stoughton, C., Leauthaud, A., et al. 2010, MNRAS 401, 371.
    """
    image = np.asarray(image, np.float32)
    if strength <= 0:
        return image.copy()
    charge = np.maximum(image, 0)
    rows = (first_row + np.arange(image.shape[0], dtype=np.float32))[:, None]
    seen = strength * rows * (charge / np.float32(full_well)) ** np.float32(_POWER)
    captured = np.minimum(seen, charge / 3)
    released = np.zeros_like(captured)
    for time, weight in zip(_RELEASE, _WEIGHTS, strict=True):
        decay = np.exp(-1 / time)
        before = weight * captured[:1]  # as if the first row went on before the edge
        behind, _ = lfilter([0, weight * (1 - decay)], [1, -decay], captured, axis=0, zi=before)
        released += behind
    return image - captured + released


def flat_residual(
    shape: tuple[int, int], rng: np.random.Generator, *, pixel: float = 0.005, smooth: float = 0.003
) -> np.ndarray:
    """
    Relative error of the flat field.

    Parameters
    ----------
    shape : tuple of int
        Shape ``(ny, nx)``.
    rng : numpy.random.Generator
        Source of the random numbers.
    pixel : float, optional
        Standard deviation from pixel to pixel.
    smooth : float, optional
        Standard deviation of what is smooth over 60 pixels.

    Returns
    -------
    ndarray of float32
        Factor around 1 by which to multiply the image.
    """
    coarse = shape[0] // 60 + 2, shape[1] // 60 + 2
    waves = gaussian_filter(rng.standard_normal(coarse), 0.5, mode="nearest")
    field = zoom(waves, np.divide(shape, coarse), order=1)
    return (1 + smooth * field + pixel * rng.standard_normal(shape)).astype(np.float32)
