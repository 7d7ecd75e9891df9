"""Protected pixels: they inform their neighbours, but are never flagged."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from astropy.wcs import WCS
    from numpy.typing import ArrayLike

__all__ = ["Protection", "read_protection", "withhold"]


@dataclass(frozen=True)
class Protection:
    """
    What shall not be flagged, in any of the forms that it can be given in.

    Attributes
    ----------
    pixels : ndarray of bool or None
        The pixels themselves.
    circles : ndarray or None
        Rows of x, y and radius, 0-based pixels.
    regions : sequence or None
        Of `regions.Region`, in pixels or on the sky.
    key : str
        Digest of it all; also its text, so that it can be a setting of a run.
    """

    pixels: np.ndarray | None = field(default=None, repr=False)
    circles: np.ndarray | None = None
    regions: tuple | None = None
    key: str = ""

    def __str__(self):
        return self.key

    def on(self, shape: tuple[int, int], wcs: WCS | None = None) -> np.ndarray:
        """
        Return the protected pixels of an image.

        Parameters
        ----------
        shape : tuple of int
            Of the image.
        wcs : `~astropy.wcs.WCS`, optional
            Of the image; needed for regions on the sky.

        Returns
        -------
        pixels : ndarray of bool
            True where nothing may be flagged.

        Raises
        ------
        ValueError
            If the shapes differ, or a region has no place in the image.
        """
        if self.pixels is not None:
            if self.pixels.shape != tuple(shape):
                raise ValueError(
                    f"protect has shape {self.pixels.shape}, the image has {tuple(shape)}"
                )
            return self.pixels
        protected = np.zeros(shape, dtype=bool)
        if self.circles is not None:
            for x, y, radius in self.circles:
                _add_disk(protected, x, y, radius)
            return protected
        for region in self.regions or ():
            is_added = region.meta.get("include", True) not in (False, "-")
            protected[_region_pixels(region, shape, wcs)] = is_added
        return protected


def read_protection(protect: ArrayLike | str | PathLike | Protection | None) -> Protection | None:
    """
    Understand what a user gives as ``protect``, before any work.

    Parameters
    ----------
    protect : None, array-like, path-like or `Protection`
        A boolean array of the image's shape, True where nothing may be
        flagged; rows of ``(x, y, radius)``, 0-based pixels; or a file of regions
        of DS9 or CASA (CRTF), in pixels or on the sky, which needs the package
        `regions`. A region with a minus in front takes away from those before
        it.

    Returns
    -------
    protection : `Protection` or None
        None for None.

    Raises
    ------
    ImportError
        If a file is given and `regions` is not installed.
    OSError
        If there is no such file.
    ValueError
        If it is none of these, or the file cannot be read.

    Examples
    --------
    >>> from cosmiq_astro.protect import read_protection
    >>> int(read_protection([(5, 5, 1)]).on((10, 10)).sum())
    5
    """
    if protect is None or isinstance(protect, Protection):
        return protect
    if isinstance(protect, (str, PathLike)):
        return _read_file(Path(protect))
    try:
        array = np.asarray(protect)
    except ValueError:
        array = np.asarray(0.0)
    if array.dtype == bool and array.ndim == 2:
        return Protection(pixels=array, key=_digest(str(array.shape), np.packbits(array)))
    circles = array.dtype.kind in "fiu" and array.ndim == 2 and array.shape[1] == 3
    if not circles or not np.isfinite(array).all() or (array[:, 2] < 0).any():
        raise ValueError(
            "protect must be a boolean array of the image's shape, rows of (x, y, radius) with "
            f"finite numbers, or a region file; got {_short(protect)}"
        )
    array = array.astype(np.float64)
    return Protection(circles=array, key=_digest("circles", array))


def withhold(cr_mask: np.ndarray, protected: np.ndarray | None) -> tuple[np.ndarray, int]:
    """
    Take protected pixels out of a mask.

    Parameters
    ----------
    cr_mask : ndarray of bool
        Pixels that would be flagged.
    protected : ndarray of bool or None
        From `Protection.on`.

    Returns
    -------
    cr_mask : ndarray of bool
        Without the protected pixels.
    n_withheld : int
        How many there were.
    """
    if protected is None:
        return cr_mask, 0
    return cr_mask & ~protected, int((cr_mask & protected).sum())


def _read_file(path):
    text = path.read_text(encoding="utf-8", errors="replace")
    try:
        from regions import Regions
    except ImportError as error:
        raise ImportError(
            f"to read {path} needs regions: pip install 'cosmiq_astro[regions]'"
        ) from error
    kind = "crtf" if text.startswith("#CRTF") else "ds9"
    try:
        found = tuple(Regions.parse(text, format=kind))
    except Exception as error:  # its parsers raise whatever they meet
        raise ValueError(f"{path} cannot be read as {kind} regions: {error}") from error
    if not found:
        raise ValueError(f"{path} holds no region that is understood (read as {kind})")
    return Protection(regions=found, key=_digest("regions", np.frombuffer(text.encode(), np.uint8)))


def _region_pixels(region, shape, wcs):
    if hasattr(region, "to_pixel"):
        if wcs is None:
            raise ValueError(
                "protect has regions on the sky, but the image has no world coordinates: give "
                "them in pixels (DS9: image)"
            )
        region = region.to_pixel(wcs)
    try:
        inside = region.to_mask(mode="center").to_image(shape)
    except (NotImplementedError, AttributeError) as error:
        raise ValueError(
            f"protect has a {type(region).__name__}, which has no pixels inside: use a circle, an "
            "ellipse, a box or a polygon"
        ) from error
    return np.zeros(shape, dtype=bool) if inside is None else inside > 0


def _add_disk(pixels, x, y, radius):
    """Set the pixels whose centre is within the radius; no more of the image is looked at."""
    ny, nx = pixels.shape
    x0, x1 = (int(np.clip(v, 0, nx)) for v in (np.floor(x - radius), np.ceil(x + radius) + 1))
    y0, y1 = (int(np.clip(v, 0, ny)) for v in (np.floor(y - radius), np.ceil(y + radius) + 1))
    rows, columns = np.ogrid[y0:y1, x0:x1]
    pixels[y0:y1, x0:x1] |= (rows - y) ** 2 + (columns - x) ** 2 <= radius**2


def _digest(kind, content):
    return hashlib.sha256(kind.encode() + np.ascontiguousarray(content).tobytes()).hexdigest()[:16]


def _short(value):
    text = repr(value).replace("\n", " ")
    return text if len(text) < 80 else f"{text[:77]}..."
