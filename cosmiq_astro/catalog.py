"""A table of cosmic-ray hits, their rate, and the sources of a catalogue that they touch."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.table import QTable
from scipy import ndimage

from cosmiq_astro._hits import electrons, make_table, measure
from cosmiq_astro._rate import rate_of
from cosmiq_astro._windows import TOUCHING
from cosmiq_astro.units import stated_time

if TYPE_CHECKING:
    from astropy.nddata import CCDData
    from astropy.table import Table
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike

    from cosmiq_astro.nddata import CosmicRayCCDData

__all__ = ["cosmicray_catalog", "hit_rate", "plot_catalog", "sources_touching"]

_PIXEL_SIZE = 15 * u.um

_POSITION_NAMES = (
    ("x", "y"),
    ("xcentroid", "ycentroid"),
    ("x_centroid", "y_centroid"),
    ("x_fit", "y_fit"),
)


def cosmicray_catalog(
    ccd: CCDData | ArrayLike,
    cr_mask: ArrayLike | None = None,
    *,
    gain: float | u.Quantity | None = None,
    exposure_time: float | u.Quantity | None = None,
    satlevel: float | u.Quantity | None = None,
    pixel_size: u.Quantity = _PIXEL_SIZE,
) -> QTable:
    """
    Measure the cosmic-ray hits of an image.

    A hit is a set of flagged pixels that touch at sides or corners.

    Parameters
    ----------
    ccd : `~astropy.nddata.CCDData` or array_like
        An image that has **not been cleaned**, shape ``(ny, nx)``: the result
        of `~cosmiq_astro.cosmicray_vi`, or any image if ``cr_mask`` is given.
        In electron, in adu or count (give ``gain``), or in one of these per
        second (the exposure time is needed). An array is in electron, or in
        adu if ``gain`` is given.
    cr_mask : array_like of bool, optional
        Flagged pixels, same shape. Default: ``ccd.cr_mask``.
    gain : float or `~astropy.units.Quantity`, optional
        Electron per adu; refused where the image is in electron.
    exposure_time : float or `~astropy.units.Quantity`, optional
        Second. Default: ``EXPTIME`` or ``XPOSURE`` of ``ccd.meta``; without
        them, no hit rate.
    satlevel : float or `~astropy.units.Quantity`, optional
        Electron at which a pixel counts as saturated. Default: none does.
    pixel_size : `~astropy.units.Quantity`, optional
        Side of a pixel on the detector, for the rate. The default is that of
        ACS/WFC, WFC3/UVIS and many other CCDs.

    Returns
    -------
    catalog : `~astropy.table.QTable`
        One row per hit: ``id``; ``x``, ``y`` (0-based pixel); ``sky`` if the
        image has a celestial WCS; ``area`` and ``length`` (pix); ``charge``
        and ``peak`` (electron); ``angle`` (deg, [0, 180), 0 where the hit has
        no direction); ``mean_probability`` and ``mean_entropy`` (nat; NaN if
        the image has no such planes); the flags ``edge``, ``saturated`` and
        ``near_source``. Without a hit the table is empty and has the same
        columns. ``catalog.meta`` holds ``n_hits``, ``n_pixels`` (the pixels
        that could be hit), ``pixel_size``, ``exposure_time``, ``hit_rate``
        and its Poisson standard error ``hit_rate_error`` (1 / (cm2 s)); the
        last three are None where the exposure time is unknown or 0.

    Raises
    ------
    ValueError
        If no ``cr_mask`` is at hand, its shape differs from the image's, or
        the unit cannot be turned into electron.

    Warns
    -----
    AstropyUserWarning
        If no good pixel is near a hit: its charge is NaN.

    See Also
    --------
    photutils.segmentation.SourceCatalog : Measures positions and charges.

    Notes
    -----
    The background of each flagged pixel is the median of the unflagged ones
    in the 7 by 7 pixels around it that do not touch a flagged one
    (``'medmask'`` of `~cosmiq_astro.cleaning.clean_pixels`, after growing the
    mask by a pixel and a half, as the faint rim of a hit is often missed).
    Charge beyond the flagged pixels is not counted.

    With λ the larger eigenvalue of the second moments of the footprint, each
    pixel of weight 1, the length is :math:`\\sqrt{12 λ + 1}`: exactly *N* for
    *N* pixels in a row, 1 for a single pixel. A hit is ``near_source`` if its
    mean background exceeds the sky by 3 standard deviations of the noise of a
    sky pixel: flagged star cores are such hits, too.

    Examples
    --------
    >>> import numpy as np
    >>> from cosmiq_astro.catalog import cosmicray_catalog
    >>> image = np.full((32, 32), 20.0)
    >>> image[10, 4:8] += 500.0
    >>> hits = cosmicray_catalog(image, image > 100, exposure_time=500)
    >>> hits['x', 'y', 'charge', 'length'].pprint()
     x   y   charge length
            electron  pix
    --- ---- -------- ------
    5.5 10.0   2000.0    4.0
    >>> print(hits.meta['hit_rate'].round(3))
    0.868 1 / (s cm2)
    """
    cr_mask = getattr(ccd, "cr_mask", None) if cr_mask is None else cr_mask
    if cr_mask is None:
        raise ValueError("cr_mask=None, and ccd has no cr_mask: give the flagged pixels")
    meta = getattr(ccd, "meta", {})
    exposure = stated_time(meta) if exposure_time is None else exposure_time
    exposure = None if exposure is None else u.Quantity(exposure, u.s)
    image = electrons(ccd, gain, exposure)
    cr_mask = np.asarray(cr_mask, dtype=bool)
    if cr_mask.shape != image.shape:
        raise ValueError(f"cr_mask has the shape {cr_mask.shape}, the image {image.shape}")
    mask = getattr(ccd, "mask", None)
    invalid = ~np.isfinite(image) if mask is None else ~np.isfinite(image) | (mask & ~cr_mask)
    cr_mask = cr_mask & ~invalid

    labels, n_hits = ndimage.label(cr_mask, TOUCHING)
    level = np.inf if satlevel is None else u.Quantity(satlevel, u.electron).value
    planes = [getattr(ccd, name, None) for name in ("cr_probability", "cr_entropy")]
    values = measure(image, labels, invalid, level, planes) if n_hits else None
    catalog = make_table(values)
    wcs = getattr(ccd, "wcs", None)
    sky = None if wcs is None else wcs.pixel_to_world(catalog["x"].value, catalog["y"].value)
    if isinstance(sky, SkyCoord):  # not where the world coordinates are others
        catalog.add_column(sky, name="sky", index=3)
    n_pixels = int(np.count_nonzero(~invalid))
    catalog.meta.update(_rate(n_hits, n_pixels, exposure, pixel_size))
    return catalog


def hit_rate(
    hits: int | Table,
    shape: tuple[int, int],
    *,
    exposure_time: float | u.Quantity,
    pixel_size: u.Quantity = _PIXEL_SIZE,
) -> u.Quantity:
    """
    Rate of cosmic-ray hits per area and time.

    Parameters
    ----------
    hits : int or `~astropy.table.Table`
        Number of hits, or a table with one row per hit.
    shape : tuple of int
        Shape of the exposed part of the detector; ``(n_pixels,)`` serves for
        a part of any form.
    exposure_time : float or `~astropy.units.Quantity`
        Second, positive. Where a CCD also collects hits while it waits to be
        read out, add half the readout time.
    pixel_size : `~astropy.units.Quantity`, optional
        Side of a pixel.

    Returns
    -------
    rate : `~astropy.units.Quantity`
        In 1 / (cm2 s); its Poisson standard error is ``rate / sqrt(n_hits)``.

    Raises
    ------
    ValueError
        If ``exposure_time`` is not positive or the detector has no pixels.

    Examples
    --------
    >>> from cosmiq_astro.catalog import hit_rate
    >>> print(hit_rate(10_000, (2048, 4096), exposure_time=500).round(2))
    1.06 1 / (s cm2)
    """
    n_hits = hits if isinstance(hits, (int, float, np.number)) else len(hits)
    exposure_time = u.Quantity(exposure_time, u.s)
    if not exposure_time > 0 * u.s:
        raise ValueError(f"exposure_time={exposure_time} is not positive: a rate needs one")
    if math.prod(shape) == 0:
        raise ValueError(f"shape={shape} has no pixels: a rate needs an exposed area")
    return rate_of(n_hits, math.prod(shape) * u.Quantity(pixel_size) ** 2, exposure_time)


def sources_touching(
    sources: Table, ccd: CosmicRayCCDData, *, radius: float, uncertain: float = 0.325
) -> QTable:
    """
    Count the flagged and the uncertain pixels within a radius of each source.

    Parameters
    ----------
    sources : `~astropy.table.Table`
        Positions, 0-based pixel, in columns ``x``, ``y`` or one of the pairs
        that photutils writes.
    ccd : `CosmicRayCCDData`
        The result of `~cosmiq_astro.cosmicray_vi`.
    radius : float
        Pixels whose centres are at most this far from the position belong to
        the source. Give the radius of the photometric aperture.
    uncertain : float, optional
        Pixels with an entropy above this, nat, are uncertain. The default is
        that of a probability of 0.1 or 0.9. Lower it to be stricter.

    Returns
    -------
    sources : `~astropy.table.QTable`
        A copy with the columns ``n_flagged``, ``n_uncertain``,
        ``max_probability``, ``max_entropy`` (nat; NaN where no pixel has a
        value, such as for sources off the image) and ``touched``: whether any
        pixel is flagged or uncertain.

    Raises
    ------
    ValueError
        If the position columns are missing or ``radius`` is not positive.

    Examples
    --------
    >>> import numpy as np
    >>> from types import SimpleNamespace
    >>> from astropy.table import Table
    >>> from cosmiq_astro.catalog import sources_touching
    >>> hit = np.zeros((9, 9), dtype=bool)
    >>> hit[4, 2] = True
    >>> ccd = SimpleNamespace(cr_mask=hit, cr_probability=0.99 * hit, cr_entropy=0.06 * hit)
    >>> stars = Table({'x': [3.2, 7.0], 'y': [4.1, 7.0]})
    >>> sources_touching(stars, ccd, radius=2)['n_flagged', 'touched'].pprint()
    n_flagged touched
    --------- -------
            1    True
            0   False
    """
    result = QTable(sources, copy=True)
    pair = next((pair for pair in _POSITION_NAMES if set(pair) <= set(result.colnames)), None)
    if pair is None:
        raise ValueError(f"sources has the columns {result.colnames}: name one pair x, y")
    if not (math.isfinite(radius) and radius > 0):
        raise ValueError(f"radius={radius!r} is not a positive number of pixels")
    x, y = (np.asarray(u.Quantity(result[name]).value, dtype=float) for name in pair)
    reach = math.ceil(radius)
    known = np.isfinite(x) & np.isfinite(y)
    column, row = (np.rint(np.where(known, v, -1e6)).astype(int) for v in (x, y))
    planes = [ccd.cr_mask, ccd.cr_entropy, ccd.cr_probability]
    n_flagged, n_uncertain = np.zeros((2, len(result)), dtype=int)
    entropy, probability = np.full((2, len(result)), np.nan)
    ny, nx = np.shape(ccd.cr_mask)
    # Pixel by pixel of the aperture, all sources at once: memory does not grow with the radius.
    for dy in range(-reach, reach + 1):
        for dx in range(-reach, reach + 1):
            i, j = row + dy, column + dx
            chosen = (np.hypot(j - x, i - y) <= radius) & (i >= 0) & (i < ny) & (j >= 0) & (j < nx)
            flagged, h, p = (plane[i[chosen], j[chosen]] for plane in planes)
            n_flagged[chosen] += flagged
            n_uncertain[chosen] += h > uncertain
            entropy[chosen] = np.fmax(entropy[chosen], h)
            probability[chosen] = np.fmax(probability[chosen], p)
    result["n_flagged"], result["n_uncertain"] = n_flagged, n_uncertain
    result["max_probability"], result["max_entropy"] = probability, entropy
    result["touched"] = (n_flagged > 0) | (n_uncertain > 0)
    return result


def plot_catalog(catalog: QTable, ax: Axes | None = None) -> Axes:
    """
    Draw each hit as a line of its length and direction, coloured by its charge.

    Parameters
    ----------
    catalog : `~astropy.table.QTable`
        From `cosmicray_catalog`.
    ax : `~matplotlib.axes.Axes`, optional
        Where to draw, for instance over the image. Default: the current axes.

    Returns
    -------
    ax : `~matplotlib.axes.Axes`
        With the hits added, and a colour bar if there are any.
    """
    import matplotlib.pyplot as plt
    from matplotlib.collections import LineCollection
    from matplotlib.colors import LogNorm

    ax = plt.gca() if ax is None else ax
    ax.set(xlabel="x (pixel)", ylabel="y (pixel)", aspect="equal")
    if len(catalog) == 0:
        return ax
    angle = catalog["angle"].to_value(u.rad)
    half = 0.5 * catalog["length"].value * np.array([np.cos(angle), np.sin(angle)])
    centre = np.array([catalog["x"], catalog["y"]])
    lines = LineCollection(
        list(np.stack([centre - half, centre + half]).transpose(2, 0, 1)),
        array=np.fmax(catalog["charge"].value, 1),
        norm=LogNorm(),
        capstyle="round",
        linewidths=2,
    )
    # Over an image the limits stay those of the image.
    ax.add_collection(lines, autolim=not ax.has_data())
    ax.autoscale_view()
    ax.figure.colorbar(lines, ax=ax, label="charge (electron)")
    return ax


def _rate(n_hits, n_pixels, exposure, pixel_size):
    """Entries of the catalogue's meta."""
    rate = error = None
    if exposure is not None and exposure > 0 * u.s and n_pixels:
        rate = hit_rate(n_hits, (n_pixels,), exposure_time=exposure, pixel_size=pixel_size)
        error = rate * math.sqrt(n_hits) / max(n_hits, 1)
    return {
        "n_hits": n_hits,
        "n_pixels": n_pixels,
        "pixel_size": pixel_size,
        "exposure_time": exposure if rate is not None else None,
        "hit_rate": rate,
        "hit_rate_error": error,
    }
