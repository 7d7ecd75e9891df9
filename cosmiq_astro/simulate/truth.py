"""The truth of a simulated exposure, and what counts as a cosmic-ray pixel: one definition."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from astropy.table import Table

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = ["ExposureTruth", "label_from_charge"]


def label_from_charge(
    charge: ArrayLike, noise: ArrayLike | float, *, threshold: float = 3.0, floor: float = 0.1
) -> tuple[np.ndarray, np.ndarray]:
    """
    Split pixels into cosmic ray, undecided and clean, by charge over local noise.

    Two rules go with it. An artefact of one pixel, sharper than the optics
    allow, is a cosmic ray here whatever its cause: nothing in one exposure tells
    a hit from a hot pixel, so such charge belongs to ``charge``, or is ignored,
    but is never left among the clean pixels. And where a hit reaches with a
    charge that nobody knows (`Footprints.unknown`), the pixel is ignored.

    Parameters
    ----------
    charge : array_like
        Cosmic-ray charge, charge-transfer trail included, in electrons.
    noise : array_like or float
        Standard deviation of the pixel without the hit (source, sky and read
        noise), in electrons, > 0; broadcast against ``charge``.
    threshold : float, optional
        Charge, in units of ``noise``, above which a pixel is a cosmic ray.
    floor : float, optional
        Charge, in units of ``noise``, below which the hit is negligible and
        the pixel is clean. A simulated charge cloud has no end: without a
        floor most of the frame would be undecided in crowded exposures.

    Returns
    -------
    label : ndarray of bool
        True where ``charge > threshold * noise``.
    ignore : ndarray of bool
        True where ``floor * noise < charge <= threshold * noise``: neither
        class, left out of losses and scores.

    Raises
    ------
    ValueError
        If ``noise`` is not positive everywhere, or not
        ``0 <= floor < threshold``.

    Examples
    --------
    >>> from cosmiq_astro.simulate import label_from_charge
    >>> label, ignore = label_from_charge([0.0, 0.4, 12.0, 16.0], 5.0)
    >>> label.tolist(), ignore.tolist()
    ([False, False, False, True], [False, False, True, False])
    """
    if not 0 <= floor < threshold:
        raise ValueError(f"floor must be in [0, threshold={threshold}), got {floor}")
    noise = np.asarray(noise)
    if not np.all(noise > 0):
        raise ValueError("noise must be positive in every pixel; add the read noise in quadrature")
    ratio = np.asarray(charge) / noise
    label = ratio > threshold
    return label, (ratio > floor) & ~label


@dataclass(frozen=True, eq=False)
class ExposureTruth:
    """
    What a simulated exposure is made of; all images have its shape.

    Attributes
    ----------
    cosmic_ray_charge : ndarray of float32
        Charge that the cosmic rays add, in electrons: what is left of it after
        saturation, with bleeding and charge-transfer trails.
    expected : ndarray of float32
        Expected charge without cosmic rays, sky included, in electrons.
    noise : ndarray of float32
        Standard deviation without cosmic rays, in electrons.
    label, ignore : ndarray of bool
        As `label_from_charge` gives them with its defaults; hot and warm pixels
        are ignored, too.
    stars : astropy.table.Table
        As in `Scene`.
    """

    cosmic_ray_charge: np.ndarray
    expected: np.ndarray
    noise: np.ndarray
    label: np.ndarray
    ignore: np.ndarray
    stars: Table

    @classmethod
    def of(
        cls, charge: np.ndarray, expected: np.ndarray, readnoise: float | np.ndarray, stars: Table
    ) -> ExposureTruth:
        """
        Return the truth of an exposure, its labels by the one definition.

        Parameters
        ----------
        charge, expected : ndarray
            As the attributes.
        readnoise : float or ndarray
            Electron.
        stars : astropy.table.Table
            As the attribute.

        Returns
        -------
        truth : ExposureTruth
            With noise and labels.
        """
        noise = np.sqrt(np.maximum(expected, 0) + np.float32(readnoise) ** 2)
        return cls(charge, expected, noise, *label_from_charge(charge, noise), stars)

    def without(self, hot: np.ndarray) -> ExposureTruth:
        """
        Ignore hot and warm pixels, which are neither hits nor sky, unless they were hit.

        Parameters
        ----------
        hot : ndarray of bool
            Which these are.

        Returns
        -------
        truth : ExposureTruth
            With more pixels ignored.
        """
        return replace(self, ignore=self.ignore | (hot & ~self.label))

    def __repr__(self):
        ny, nx = self.label.shape
        hit = np.count_nonzero(self.label)
        return f"<ExposureTruth: {hit:,} of {ny} x {nx} pixels hit, {len(self.stars):,} stars>"
