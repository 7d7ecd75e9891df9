"""Libraries of cosmic-ray hits: joined, turned, and pasted fast."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import ndimage

__all__ = ["Footprints"]

_PIXELS = "dy", "dx", "charge", "unknown"


@dataclass(frozen=True, eq=False)
class Footprints:
    """
    A library of hits as flat arrays.

    Parameters
    ----------
    dy, dx : ndarray of int16, shape (n_pixels,)
        Position of each pixel relative to the middle of its hit.
    charge : ndarray of float32, shape (n_pixels,)
        Charge in electrons.
    offsets : ndarray of int64, shape (n_hits + 1,)
        The pixels of hit ``i`` are ``offsets[i]:offsets[i + 1]``.
    unknown : ndarray of bool, shape (n_pixels,), optional
        True where the hit may reach, but its charge is a guess: the rim of a
        hit cut out of noise, see `~cosmiq_astro.simulate.extract_footprints`.
        Such pixels are neither hit nor clean in a label. None: no pixel.

    Raises
    ------
    ValueError
        If the arrays do not fit together.

    Examples
    --------
    >>> import numpy as np
    >>> from cosmiq_astro.simulate import cosmic_ray_footprints
    >>> library = cosmic_ray_footprints(100, seed=1)
    >>> len(library)
    100
    >>> image = library.paste((64, 64), 10, np.random.default_rng(2))
    >>> image.shape, image.dtype.name
    ((64, 64), 'float32')
    """

    dy: np.ndarray
    dx: np.ndarray
    charge: np.ndarray
    offsets: np.ndarray
    unknown: np.ndarray | Any = None

    def __post_init__(self):
        if self.unknown is None:
            object.__setattr__(self, "unknown", np.zeros(self.charge.shape, bool))
        shapes = [np.shape(getattr(self, name)) for name in _PIXELS]
        if len(set(shapes)) > 1 or len(shapes[0]) != 1:
            raise ValueError(
                f"{', '.join(_PIXELS)} must be one-dimensional and equally long, got shapes "
                f"{', '.join(map(str, shapes))}"
            )
        if self.offsets.size == 0 or self.offsets[0] != 0 or self.offsets[-1] != self.dy.size:
            raise ValueError(f"offsets must run from 0 to the number of pixels, {self.dy.size}")

    def __repr__(self):
        return f"<Footprints: {len(self):,} hits of {self.dy.size:,} pixels>"

    def __len__(self) -> int:
        return self.offsets.size - 1

    @property
    def n_pixels(self) -> np.ndarray:
        """Number of pixels of each hit: ndarray of int64, shape (n_hits,)."""
        return np.diff(self.offsets)

    @property
    def total_charge(self) -> np.ndarray:
        """Charge of each hit in electrons: ndarray of float64, shape (n_hits,)."""
        return np.bincount(self._hit_of_pixel(), self.charge, minlength=len(self))

    def _hit_of_pixel(self):
        return np.repeat(np.arange(len(self)), self.n_pixels)

    @classmethod
    def from_pixels(
        cls,
        hit: ArrayLike,
        y: ArrayLike,
        x: ArrayLike,
        charge: ArrayLike,
        unknown: ArrayLike | None = None,
    ) -> Footprints:
        """
        Group pixels into hits.

        Parameters
        ----------
        hit : array_like of int
            Which hit each pixel belongs to; any numbers.
        y, x : array_like of int
            Pixel positions. Pixels of one hit that coincide are added up.
        charge : array_like
            Charge in electrons.
        unknown : array_like of bool, optional
            True for pixels whose charge is a guess. None: no pixel.

        Returns
        -------
        Footprints
            The hits in the order of their numbers, positions relative to the
            middle of each hit's bounding box.
        """
        _, hit = np.unique(np.asarray(hit), return_inverse=True)
        y, x = np.asarray(y, np.int64), np.asarray(x, np.int64)
        n = hit.max(initial=-1) + 1
        index = np.arange(n)
        dy, dx = y, x
        if n:
            dy, dx = (
                v - (ndimage.minimum(v, hit, index) + ndimage.maximum(v, hit, index))[hit] // 2
                for v in (y, x)
            )
        limit = np.iinfo(np.int16).max
        if max(np.abs(dy).max(initial=0), np.abs(dx).max(initial=0)) > limit:
            raise ValueError(f"a hit reaches further than {limit} pixels; check y and x")
        key = (hit * (2 * limit) + dy + limit) * (2 * limit) + dx + limit
        key, first, inverse = np.unique(key, return_index=True, return_inverse=True)
        return cls(
            dy=dy[first].astype(np.int16),
            dx=dx[first].astype(np.int16),
            charge=np.bincount(inverse, charge, key.size).astype(np.float32),
            offsets=_offsets(np.bincount(hit[first], minlength=n)),
            unknown=None if unknown is None else np.bincount(inverse, unknown, key.size) > 0,
        )

    @classmethod
    def concatenate(cls, libraries: Sequence[Footprints]) -> Footprints:
        """
        Join several libraries.

        Parameters
        ----------
        libraries : sequence of Footprints
            At least one.

        Returns
        -------
        Footprints
            All their hits, in order.
        """
        if not libraries:
            raise ValueError("libraries must hold at least one Footprints")
        joined = {
            name: np.concatenate([getattr(library, name) for library in libraries])
            for name in (*_PIXELS, "n_pixels")
        }
        return cls(offsets=_offsets(joined.pop("n_pixels")), **joined)

    def take(self, hits: np.ndarray | list) -> Footprints:
        """
        Choose hits.

        Parameters
        ----------
        hits : array_like of int or of bool
            Indices (repeats allowed) or a mask over the hits.

        Returns
        -------
        Footprints
            The chosen hits.
        """
        hits = np.arange(len(self))[hits]
        length = self.n_pixels[hits]
        first = np.cumsum(length) - length
        pixels = np.repeat(self.offsets[hits] - first, length) + np.arange(length.sum())
        return self._choose(pixels, length)

    def _choose(self, pixels, n_pixels):
        """Return the library of these pixels, so many of each hit."""
        chosen = {name: getattr(self, name)[pixels] for name in _PIXELS}
        return Footprints(offsets=_offsets(n_pixels), **chosen)

    def brighter_than(self, charge: float) -> Footprints:
        """
        Drop faint pixels.

        Parameters
        ----------
        charge : float
            Least charge of a pixel, in electrons.

        Returns
        -------
        Footprints
            The same hits; one that loses all its pixels stays as an empty one.
        """
        bright = self.charge >= charge
        return self._choose(bright, np.bincount(self._hit_of_pixel()[bright], minlength=len(self)))

    def transform(
        self,
        rng: np.random.Generator,
        *,
        turn: bool = True,
        charge_scale: tuple[float, float] = (1.0, 1.0),
    ) -> Footprints:
        """
        Return a library of varied hits.

        Parameters
        ----------
        rng : numpy.random.Generator
            Source of the random numbers.
        turn : bool, optional
            Turn each hit by a random multiple of 90 degrees and flip half of
            them. Switch it off where hits have charge-transfer trails.
        charge_scale : tuple of float, optional
            Each hit's charge is multiplied by a factor from this range,
            uniform in its logarithm.

        Returns
        -------
        Footprints
            New hits; this library is unchanged.
        """
        dy, dx, charge, length = self.dy, self.dx, self.charge, self.n_pixels
        if turn:
            swap, up, left = (np.repeat(c, length) for c in rng.random((3, len(self))) < 0.5)
            dy, dx = np.where(swap, dx, dy), np.where(swap, dy, dx)
            dy, dx = np.where(up, -dy, dy), np.where(left, -dx, dx)
        low, high = charge_scale
        if not 0 < low <= high:
            raise ValueError(f"charge_scale must be 0 < low <= high, got {charge_scale}")
        if high > low:
            factor = np.exp(rng.uniform(np.log(low), np.log(high), len(self)))
            charge = charge * np.repeat(factor.astype(np.float32), length)
        return Footprints(dy, dx, charge, self.offsets, self.unknown)

    def paste(
        self,
        shape: tuple[int, int],
        n: int,
        rng: np.random.Generator,
        *,
        turn: bool = True,
        charge_scale: tuple[float, float] = (1.0, 1.0),
        return_unknown: bool = False,
    ) -> np.ndarray | Any:
        """
        Scatter hits over an image.

        Parameters
        ----------
        shape : tuple of int
            Shape ``(ny, nx)`` of the image.
        n : int
            Number of hits, drawn with replacement; their middles are uniform
            over the image, and what lies beyond its edge is lost.
        rng : numpy.random.Generator
            Source of the random numbers.
        turn, charge_scale, return_unknown : optional
            As in `transform` and `scatter`.

        Returns
        -------
        ndarray of float32, or two arrays
            As of `scatter`.
        """
        if n and not len(self):
            raise ValueError(f"the library is empty; n={n} hits cannot be drawn from it")
        hits = self.take(rng.integers(0, max(len(self), 1), n))
        hits = hits.transform(rng, turn=turn, charge_scale=charge_scale)
        return hits.scatter(shape, rng, return_unknown=return_unknown)

    def scatter(
        self, shape: tuple[int, int], rng: np.random.Generator, *, return_unknown: bool = False
    ) -> np.ndarray | Any:
        """
        Put every hit once on an image, at a random place.

        Parameters
        ----------
        shape : tuple of int
            Shape ``(ny, nx)`` of the image.
        rng : numpy.random.Generator
            Source of the random numbers.
        return_unknown : bool, optional
            Also return where the charge is a guess: leave those pixels out of
            losses and scores.

        Returns
        -------
        charge : ndarray of float32
            Charge in electrons, overlapping hits added.
        unknown : ndarray of bool
            True where some hit has an unknown pixel; only with ``return_unknown``.
        """
        ny, nx = shape
        y = np.repeat(rng.integers(0, ny, len(self)), self.n_pixels) + self.dy
        x = np.repeat(rng.integers(0, nx, len(self)), self.n_pixels) + self.dx
        inside = (y >= 0) & (y < ny) & (x >= 0) & (x < nx)
        pixel = y[inside] * nx + x[inside]
        charge = np.bincount(pixel, self.charge[inside], ny * nx).astype(np.float32)
        if not return_unknown:
            return charge.reshape(ny, nx)
        unknown = np.bincount(pixel, self.unknown[inside], ny * nx) > 0
        return charge.reshape(ny, nx), unknown.reshape(ny, nx)

    def save(self, path: str | PathLike) -> None:
        """
        Write the library to a compressed NumPy archive.

        Parameters
        ----------
        path : str or path-like
            File name, ending in ``.npz``; an existing file is replaced.
        """
        pixels = {name: getattr(self, name) for name in _PIXELS}
        np.savez_compressed(path, offsets=self.offsets, **pixels)

    @classmethod
    def load(cls, path: str | PathLike) -> Footprints:
        """
        Read a library written by `save`.

        Parameters
        ----------
        path : str or path-like
            File name.

        Returns
        -------
        Footprints
            The library.
        """
        with np.load(path, allow_pickle=False) as file:
            return cls(**{name: file[name] for name in (*_PIXELS, "offsets")})


def _offsets(n_pixels):
    """Return where each hit begins, of so many pixels each, and where the last one ends."""
    return np.concatenate([[0], np.cumsum(n_pixels)]).astype(np.int64)
