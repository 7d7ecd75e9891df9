"""Libraries of cosmic-ray hits: joined, turned, and pasted fast."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

__all__ = ["Footprints"]


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

    def __post_init__(self):
        if not (self.dy.shape == self.dx.shape == self.charge.shape and self.dy.ndim == 1):
            raise ValueError(
                "dy, dx and charge must be one-dimensional and equally long, got shapes "
                f"{self.dy.shape}, {self.dx.shape} and {self.charge.shape}"
            )
        if self.offsets.size == 0 or self.offsets[0] != 0 or self.offsets[-1] != self.dy.size:
            raise ValueError(f"offsets must run from 0 to the number of pixels, {self.dy.size}")

    def __repr__(self):
        return f"<Footprints: {len(self):,} hits of {self.dy.size:,} pixels>"

    def __len__(self):
        return self.offsets.size - 1

    @property
    def n_pixels(self):
        """Number of pixels of each hit: ndarray of int64, shape (n_hits,)."""
        return np.diff(self.offsets)

    @property
    def total_charge(self):
        """Charge of each hit in electrons: ndarray of float64, shape (n_hits,)."""
        return np.bincount(self._hit_of_pixel(), self.charge, minlength=len(self))

    def _hit_of_pixel(self):
        return np.repeat(np.arange(len(self)), self.n_pixels)

    @classmethod
    def from_pixels(cls, hit, y, x, charge):
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
        middle = [
            (ndimage.minimum(v, hit, index) + ndimage.maximum(v, hit, index)).astype(np.int64) // 2
            if n
            else index
            for v in (y, x)
        ]
        dy, dx = y - middle[0][hit], x - middle[1][hit]
        limit = np.iinfo(np.int16).max
        if max(np.abs(dy).max(initial=0), np.abs(dx).max(initial=0)) > limit:
            raise ValueError(f"a hit reaches further than {limit} pixels; check y and x")
        key = (hit * (2 * limit) + dy + limit) * (2 * limit) + dx + limit
        key, first, inverse = np.unique(key, return_index=True, return_inverse=True)
        return cls(
            dy[first].astype(np.int16),
            dx[first].astype(np.int16),
            np.bincount(inverse, charge, key.size).astype(np.float32),
            _offsets(np.bincount(hit[first], minlength=n)),
        )

    @classmethod
    def from_spans(cls, hit, x, y, values, *, gain=1.0):
        """
        Build a library from rows of pixels, the format of DESC imSim's cosmic-ray files.

        Parameters
        ----------
        hit : array_like of int, shape (n_spans,)
            The hit each span belongs to (column ``fp_id``).
        x, y : array_like of int, shape (n_spans,)
            First pixel of each span (columns ``x0``, ``y0``).
        values : sequence of array_like
            Values of the pixels of each span from ``x`` on.
        gain : float, optional
            Electrons per unit of ``values``.

        Returns
        -------
        Footprints
            The hits.
        """
        length = np.array([len(v) for v in values])
        start = np.repeat(np.cumsum(length) - length, length)
        return cls.from_pixels(
            np.repeat(np.asarray(hit), length),
            np.repeat(np.asarray(y), length),
            np.repeat(np.asarray(x), length) + np.arange(length.sum()) - start,
            np.concatenate([np.asarray(v, float) for v in values]) * gain,
        )

    @classmethod
    def concatenate(cls, libraries):
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
        libraries = list(libraries)
        if not libraries:
            raise ValueError("libraries must hold at least one Footprints")
        names = ("dy", "dx", "charge", "n_pixels")
        *pixels, counts = (np.concatenate([getattr(one, n) for one in libraries]) for n in names)
        return cls(*pixels, _offsets(counts))

    def take(self, hits):
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
        offsets = _offsets(length)
        pixels = np.repeat(self.offsets[hits] - offsets[:-1], length) + np.arange(offsets[-1])
        return Footprints(self.dy[pixels], self.dx[pixels], self.charge[pixels], offsets)

    def brighter_than(self, charge):
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
        kept = np.bincount(self._hit_of_pixel()[bright], minlength=len(self))
        return Footprints(self.dy[bright], self.dx[bright], self.charge[bright], _offsets(kept))

    def transform(self, rng, *, turn=True, charge_scale=(1.0, 1.0)):
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
        return Footprints(dy, dx, charge, self.offsets)

    def paste(self, shape, n, rng, *, turn=True, charge_scale=(1.0, 1.0)):
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
        turn, charge_scale : optional
            As in `transform`.

        Returns
        -------
        ndarray of float32
            Charge in electrons, overlapping hits added.
        """
        if n and not len(self):
            raise ValueError(f"the library is empty; n={n} hits cannot be drawn from it")
        hits = self.take(rng.integers(0, max(len(self), 1), n))
        hits = hits.transform(rng, turn=turn, charge_scale=charge_scale)
        return hits.scatter(shape, rng)

    def scatter(self, shape, rng):
        """
        Put every hit once on an image, at a random place.

        Parameters
        ----------
        shape : tuple of int
            Shape ``(ny, nx)`` of the image.
        rng : numpy.random.Generator
            Source of the random numbers.

        Returns
        -------
        ndarray of float32
            Charge in electrons, overlapping hits added.
        """
        ny, nx = shape
        y = np.repeat(rng.integers(0, ny, len(self)), self.n_pixels) + self.dy
        x = np.repeat(rng.integers(0, nx, len(self)), self.n_pixels) + self.dx
        inside = (y >= 0) & (y < ny) & (x >= 0) & (x < nx)
        total = np.bincount(y[inside] * nx + x[inside], self.charge[inside], ny * nx)
        return total.astype(np.float32).reshape(ny, nx)

    def save(self, path):
        """
        Write the library to a compressed NumPy archive.

        Parameters
        ----------
        path : str or path-like
            File name, ending in ``.npz``; an existing file is replaced.
        """
        np.savez_compressed(path, dy=self.dy, dx=self.dx, charge=self.charge, offsets=self.offsets)

    @classmethod
    def load(cls, path):
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
            return cls(*(file[name] for name in ("dy", "dx", "charge", "offsets")))


def _offsets(counts):
    """Return where the pixels of each hit begin, from their numbers."""
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
