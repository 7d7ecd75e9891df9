"""Point-spread functions, integrated over pixels, at any sub-pixel phase."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy import fft, ndimage

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = ["PSF"]

_RADII = (3, 6, 12, 24, 48, 96)


@dataclass(frozen=True, eq=False)
class PSF:
    """
    A point-spread function on a grid finer than the pixels.

    Parameters
    ----------
    grid : ndarray of float32, shape (n, n)
        The PSF convolved with the pixel, sampled ``oversampling`` times per
        pixel, centred on ``n // 2`` (``n`` odd); each phase sums to about 1.
    oversampling : int, optional
        Grid points per pixel. Stars are placed at multiples of its inverse.

    Attributes
    ----------
    radius : int
        The largest stamp radius, in pixels.
    envelope : ndarray of float32
        The largest value at or beyond each radius (in pixels).
    """

    grid: np.ndarray
    oversampling: int = 8
    radius: int = field(init=False)
    envelope: np.ndarray = field(init=False, repr=False)

    def __post_init__(self):
        n = self.grid.shape[0]
        if self.grid.ndim != 2 or self.grid.shape[1] != n or n % 2 == 0:
            raise ValueError(f"grid must be square with an odd side, got {self.grid.shape}")
        radius = (n // 2 - self.oversampling) // self.oversampling
        if radius < 1:
            raise ValueError(
                f"grid of {n} points is too small; it must span at least 4 pixels of "
                f"{self.oversampling} points"
            )
        axis = np.abs(np.arange(n) - n // 2) // self.oversampling
        ring = np.maximum.outer(axis, axis)
        peak = ndimage.maximum(self.grid, ring, np.arange(radius + 1))
        envelope = np.maximum.accumulate(np.asarray(peak)[::-1])[::-1].astype(np.float32)
        object.__setattr__(self, "radius", radius)
        object.__setattr__(self, "envelope", envelope)

    def __repr__(self):
        return f"<PSF: FWHM {self.fwhm:.2f} pixels, out to {self.radius} pixels>"

    @property
    def fwhm(self) -> float:
        """Full width at half maximum of the pixel-integrated PSF, in pixels (area-equivalent)."""
        area = np.count_nonzero(self.grid > self.grid.max() / 2)
        return float(2 * np.sqrt(area / np.pi) / self.oversampling)

    def kernel(self, oversampling: int = 1, *, radius: int | None = None) -> np.ndarray:
        """
        Return the centred PSF on a coarser grid, for convolution of extended light.

        Parameters
        ----------
        oversampling : int, optional
            Points per pixel; a divisor of the PSF's own.
        radius : int, optional
            Half size in pixels; default: all.

        Returns
        -------
        ndarray of float32
            Kernel that sums to 1.

        Raises
        ------
        ValueError
            If ``oversampling`` does not divide that of the PSF.
        """
        step, remainder = divmod(self.oversampling, oversampling)
        if remainder:
            raise ValueError(f"oversampling must divide {self.oversampling}, got {oversampling}")
        half = min(radius or self.radius, self.radius) * oversampling
        centre = self.grid.shape[0] // 2
        index = centre + step * np.arange(-half, half + 1)
        kernel = self.grid[np.ix_(index, index)]
        return kernel / kernel.sum()

    def render(
        self,
        shape: tuple[int, int],
        y: ArrayLike,
        x: ArrayLike,
        flux: ArrayLike,
        *,
        cutoff: float = 2e-5,
    ) -> np.ndarray:
        """
        Draw stars.

        Parameters
        ----------
        shape : tuple of int
            Shape ``(ny, nx)`` of the image.
        y, x : array_like
            Positions in pixels, 0 at the centre of the first pixel; rounded to
            the PSF's grid. Stars outside the image still give their wings.
        flux : array_like
            Flux of each star, in any unit.
        cutoff : float, optional
            Stamps end where the star falls below this, in the unit of
            ``flux``. Raise it to draw crowded fields faster.

        Returns
        -------
        ndarray of float32
            The image, in the unit of ``flux``.
        """
        s = self.oversampling
        iy, py = np.divmod(np.rint(np.asarray(y, float) * s).astype(np.int64), s)
        ix, px = np.divmod(np.rint(np.asarray(x, float) * s).astype(np.int64), s)
        flux = np.asarray(flux, np.float32)
        reach = np.searchsorted(-self.envelope, -cutoff / np.maximum(flux, 1e-30))
        image = np.zeros(shape, np.float32)
        radii = [*(r for r in _RADII if r < self.radius), self.radius]
        size = np.minimum(np.searchsorted(radii, reach), len(radii) - 1)
        for i, radius in enumerate(radii):
            rows = np.flatnonzero(size == i)
            self._add(image, iy[rows], ix[rows], py[rows], px[rows], flux[rows], radius)
        return image

    def _add(self, image, iy, ix, py, px, flux, radius):
        """Add stamps of one radius to ``image``, a block of stars at a time."""
        ny, nx = image.shape
        seen = (iy >= -radius) & (iy < ny + radius) & (ix >= -radius) & (ix < nx + radius)
        iy, ix, py, px, flux = (a[seen] for a in (iy, ix, py, px, flux))
        if not flux.size:
            return
        span = np.arange(-radius, radius + 1)
        s = self.oversampling
        at = self.grid.shape[0] // 2 + s * span[None, :] - np.arange(s)[:, None]
        # Stamps at every sub-pixel phase: (s, s, 2 radius + 1, 2 radius + 1)
        phases = self.grid[at[:, None, :, None], at[None, :, None, :]]
        tall, wide = ny + 4 * radius, nx + 4 * radius  # room for stamps centred off the image
        offset = (span[:, None] * wide + span).ravel() + 2 * radius * (wide + 1)
        total = np.zeros(tall * wide)
        block = max(1, 2_000_000 // span.size**2)
        for start in range(0, flux.size, block):
            part = slice(start, start + block)
            stamp = phases[py[part], px[part]].reshape(-1, span.size**2) * flux[part, None]
            index = (iy[part, None] * wide + ix[part, None]) + offset
            total += np.bincount(index.ravel(), stamp.ravel(), total.size)
        inner = slice(2 * radius, 2 * radius + ny), slice(2 * radius, 2 * radius + nx)
        image += total.reshape(tall, wide)[inner]

    def trailed(self, length: float, angle: float) -> PSF:
        """
        Return this PSF smeared along a straight line, as by a guiding error.

        Parameters
        ----------
        length : float
            Length of the trail in pixels.
        angle : float
            Direction in radians, from the x axis towards the y axis.

        Returns
        -------
        PSF
            A PSF with the same sum.
        """
        n = int(np.ceil(abs(length) * self.oversampling)) + 1
        padded = fft.next_fast_len(self.grid.shape[0] + n, real=True)
        fy, fx = fft.fftfreq(padded)[:, None], fft.rfftfreq(padded)[None, :]
        along = fy * np.sin(angle) + fx * np.cos(angle)
        transfer = np.sinc(along * length * self.oversampling).astype(np.float32)
        smeared = fft.irfft2(fft.rfft2(self.grid, (padded, padded)) * transfer, (padded, padded))
        m = self.grid.shape[0]
        return replace(self, grid=np.maximum(smeared[:m, :m], 0).astype(np.float32))
