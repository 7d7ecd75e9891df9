"""`CosmicRayCCDData`: a CCDData that carries the cosmic-ray planes with it."""

from __future__ import annotations

import base64
import copy
import html
import io
import warnings
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.io import fits, registry
from astropy.nddata import CCDData, fits_ccddata_reader
from astropy.utils.exceptions import AstropyUserWarning
from scipy import ndimage

from cosmiq_astro._picture import thumbnail
from cosmiq_astro._windows import TOUCHING

if TYPE_CHECKING:
    from astropy import units as u
    from numpy.typing import ArrayLike

    from cosmiq_astro.page.make import ReviewPage

__all__ = ["PLANES", "CosmicRayCCDData"]

PLANES = {
    "cr_mask": "CRVIMASK",
    "cr_probability": "CRPROB",
    "cr_uncertainty": "CRSTD",
    "cr_entropy": "CRENT",
    "cr_mutual_information": "CRMI",
}
"""FITS extension name of each plane, by attribute."""


class CosmicRayCCDData(CCDData):
    """
    A `~astropy.nddata.CCDData` with the planes of a cosmic-ray detection.

    The planes go with the data through slicing, copying, pickling, writing
    and reading FITS, `convert_unit_to`, and `ccdproc.trim_image`; arithmetic
    that keeps the shape keeps the planes of the left operand. Data that were
    turned, moved or resampled drop them, with a warning, since the planes do
    not follow. A plane that was never set is None. Flags (HST's DQ) are sliced
    and copied with the data, unlike those of `~astropy.nddata.CCDData`;
    arithmetic and FITS drop them.

    Parameters
    ----------
    *args
        As for `~astropy.nddata.CCDData`. If the data is a
        `CosmicRayCCDData`, its planes are taken over.
    cr_mask : ndarray of bool, optional
        True for the pixels flagged as cosmic rays; never where the input was
        masked or not finite.
    cr_probability : ndarray of float32, optional
        Probability that a cosmic ray deposited more than three standard
        deviations of the local noise, in [0, 1]; NaN where the input was not
        finite.
    cr_uncertainty : ndarray of float32, optional
        Standard deviation of the probability over the weight draws.
    cr_entropy : ndarray of float32, optional
        Entropy of the probability, nats, in [0, ln 2].
    cr_mutual_information : ndarray of float32, optional
        The part of the entropy that is due to not knowing the weights, nats.
    **kwargs
        As for `~astropy.nddata.CCDData`.

    Raises
    ------
    ValueError
        If a plane's shape differs from that of the data.

    Examples
    --------
    >>> import numpy as np
    >>> from cosmiq_astro import CosmicRayCCDData
    >>> ccd = CosmicRayCCDData(np.ones((4, 4)), unit="electron", cr_mask=np.eye(4, dtype=bool))
    >>> int(ccd[:2, :2].cr_mask.sum())
    2
    """

    cr_mask: np.ndarray | Any
    cr_probability: np.ndarray | Any
    cr_uncertainty: np.ndarray | Any
    cr_entropy: np.ndarray | Any
    cr_mutual_information: np.ndarray | Any

    def __init__(
        self,
        *args: Any,
        cr_mask: np.ndarray | None = None,
        cr_probability: np.ndarray | None = None,
        cr_uncertainty: np.ndarray | None = None,
        cr_entropy: np.ndarray | None = None,
        cr_mutual_information: np.ndarray | None = None,
        **kwargs: Any,
    ):
        super().__init__(*args, **kwargs)
        source = args[0] if args else kwargs.get("data")
        given = (cr_mask, cr_probability, cr_uncertainty, cr_entropy, cr_mutual_information)
        for name, plane in zip(PLANES, given, strict=True):
            if plane is None:
                plane = getattr(source, name, None)
            if plane is not None:
                dtype = bool if name == "cr_mask" else np.float32
                plane = np.array(plane, dtype=dtype, copy=kwargs.get("copy") or None)
                _check_shape(name, plane, self.data)
            setattr(self, name, plane)

    def __repr__(self):
        return self._summary() or super().__repr__()

    def _repr_html_(self):
        summary = self._summary()
        if summary is None:
            return None
        text = f"<code>{html.escape(summary)}</code>"
        try:
            png, (height, width) = thumbnail(self.data, self.cr_mask)
        except ImportError:
            return text
        # Small images are shown larger.
        scale = max(1, 256 // max(height, width))
        return (
            f'{text}<br><img width="{scale * width}" height="{scale * height}" '
            f'style="image-rendering: pixelated" alt="The image, cosmic rays in red" '
            f'src="data:image/png;base64,{base64.b64encode(png).decode()}">'
        )

    def _summary(self):
        """Say what was found in a line; None where there is no detection, or no image."""
        hits = getattr(self, "cr_mask", None)
        meta = self.meta
        no_image = np.ndim(self.data) != 2 or np.size(self.data) == 0
        if hits is None or "CRVIMODL" not in meta or no_image or np.shape(hits) != self.data.shape:
            return None
        known = {"T": meta.get("CRVIT"), "threshold": meta.get("CRVITHR")}
        stated = "".join(f", {name} {value}" for name, value in known.items() if value is not None)
        # Of a part of the frame the header does not tell.
        n_hits = ndimage.label(hits, structure=TOUCHING)[1]
        return (
            f"<{type(self).__name__} of shape {self.data.shape} in "
            f"{self.unit.to_string() or 'no unit'}: {meta['CRVIMODL']}{stated}, "
            f"pixels flagged {np.count_nonzero(hits)}, hits {n_hits}>"
        )

    def _planes(self):
        """Return the planes that are set, by attribute."""
        planes = {name: getattr(self, name, None) for name in PLANES}
        return {name: plane for name, plane in planes.items() if plane is not None}

    def _slice(self, item):
        kwargs = super()._slice(item)
        # CCDData drops its flags here.
        kwargs["flags"] = None if self.flags is None else np.asarray(self.flags)[item]
        return kwargs | {name: plane[item] for name, plane in self._planes().items()}

    def _arithmetic(self, operation, operand, *args, **kwargs):
        result, init = super()._arithmetic(operation, operand, *args, **kwargs)
        if np.shape(result) == self.data.shape:
            init |= {name: plane.copy() for name, plane in self._planes().items()}
        return result, init

    def convert_unit_to(
        self, unit: str | u.UnitBase, equivalencies: Sequence = ()
    ) -> CosmicRayCCDData:
        """
        Return a copy in another unit; the planes, which have none, stay.

        Parameters
        ----------
        unit, equivalencies : optional
            As for `astropy.nddata.CCDData.convert_unit_to`.

        Returns
        -------
        result : `CosmicRayCCDData`
            With planes and flags of its own.
        """
        result = super().convert_unit_to(unit, list(equivalencies))
        for name in ("flags", *PLANES):
            setattr(result, name, copy.copy(getattr(self, name)))
        return result

    @property
    def data(self) -> np.ndarray:
        """Pixel values; other ones that no longer lie where the planes do drop these."""
        return self._data

    @data.setter
    def data(self, value: np.ndarray) -> None:
        before, self._data = self._data, value
        moved = np.shape(value) != np.shape(before) or (
            value is not before
            and np.may_share_memory(value, before)
            and value.__array_interface__ != before.__array_interface__
        )
        self._was_assigned = value is not before
        if moved:
            self._drop_planes()

    @property
    def mask(self) -> np.ndarray | Any:
        """Mask; one that was moved with the data, away from the hits, drops the planes."""
        return self._mask

    @mask.setter
    def mask(self, value: ArrayLike | None) -> None:
        before, self._mask = getattr(self, "_mask", None), value
        # ccdproc.transform_image assigns data of the same shape, then the mask.
        was_assigned, self._was_assigned = getattr(self, "_was_assigned", False), False
        hits = getattr(self, "cr_mask", None)
        if not was_assigned or hits is None or before is None or value is None:
            return
        if np.all(np.asarray(before)[hits]) and not np.all(np.asarray(value)[hits]):
            self._drop_planes()

    def _drop_planes(self):
        if not self._planes():
            return
        for name in PLANES:
            setattr(self, name, None)
        warnings.warn(
            "the data were turned, moved or resampled, and the cosmic-ray planes with them no "
            "longer agree: they are dropped; detect anew, or turn them with the same function "
            "before",
            AstropyUserWarning,
            stacklevel=3,
        )

    def review(
        self,
        path: str | PathLike,
        *,
        name: str | None = None,
        model: object = None,
        protect: ArrayLike | str | PathLike | None = None,
        overwrite: bool = False,
    ) -> None:
        """
        Write a page on which a person looks at the detection and corrects it.

        Parameters
        ----------
        path : path-like
            Where to, as in ``page.html``: one file that needs no network.
        name : str, optional
            Of the exposure; that of ``path`` if None.
        model, protect, overwrite : optional
            As for `cosmiq_astro.review.make_page` and its ``write``.
        """
        name = Path(path).stem if name is None else name
        page = self.show(name=name, model=model, protect=protect)
        page.write(path, overwrite=overwrite)

    def show(
        self,
        *,
        name: str = "exposure",
        model: object = None,
        protect: ArrayLike | str | PathLike | None = None,
    ) -> ReviewPage:
        """
        Show the page of `review` in a notebook.

        Parameters
        ----------
        name, model, protect : optional
            As for `cosmiq_astro.review.make_page`.

        Returns
        -------
        page : `~cosmiq_astro.review.ReviewPage`
            A notebook displays it.
        """
        from cosmiq_astro.page.make import make_page

        return make_page(self, name=name, model=model, protect=protect)

    def to_hdu(self, *args: Any, **kwargs: Any) -> fits.HDUList:
        """
        Return an HDU list with the planes appended.

        Parameters
        ----------
        *args, **kwargs
            As for `astropy.nddata.CCDData.to_hdu`.

        Returns
        -------
        hdulist : `~astropy.io.fits.HDUList`
            What `~astropy.nddata.CCDData` makes, then ``CRVIMASK`` (uint8),
            ``CRPROB``, ``CRSTD``, ``CRENT`` and ``CRMI`` (float32), as
            far as they are set.

        Raises
        ------
        ValueError
            If a plane's shape differs from that of the data.
        """
        hdus = super().to_hdu(*args, **kwargs)
        for name, plane in self._planes().items():
            _check_shape(name, plane, self.data)
            pixels = plane.astype(np.uint8) if name == "cr_mask" else plane
            hdus.append(fits.ImageHDU(pixels, name=PLANES[name]))
        return hdus


def _check_shape(name, plane, data):
    if np.shape(plane) != np.shape(data):
        raise ValueError(f"{name} has shape {np.shape(plane)}, the data has {np.shape(data)}")


def _read(file, *args, **kwargs):
    """Read what `CosmicRayCCDData.write` wrote; planes that are not there stay None."""
    if hasattr(file, "read"):
        # An open file, as astropy makes one of a compressed one, is closed by whoever reads it.
        content = file.read()
        ccd = fits_ccddata_reader(io.BytesIO(content), *args, **kwargs)
        file = io.BytesIO(content)
    else:
        ccd = fits_ccddata_reader(file, *args, **kwargs)
    with fits.open(file) as hdus:
        planes = {
            name: hdus[extension].data for name, extension in PLANES.items() if extension in hdus
        }
    return CosmicRayCCDData(ccd, **planes)


with registry.delay_doc_updates(CosmicRayCCDData):
    registry.register_reader("fits", CosmicRayCCDData, _read)
