"""`CosmicRayCCDData`: a CCDData that carries the cosmic-ray planes with it."""

from pathlib import Path

import numpy as np
from astropy.io import fits, registry
from astropy.nddata import CCDData, fits_ccddata_reader

__all__ = ["PLANES", "CosmicRayCCDData"]

PLANES = {
    "cr_mask": "CRVIMASK",
    "cr_probability": "CRPROB",
    "cr_uncertainty": "CRSTD",
    "cr_entropy": "CRENT",
    "cr_mutual_information": "CRMI",
    "cr_draws": "CRDRAWS",
}
"""FITS extension name of each plane, by attribute."""
_DTYPES = {"cr_mask": bool, "cr_draws": np.int32}


class CosmicRayCCDData(CCDData):
    """
    A `~astropy.nddata.CCDData` with the planes of a cosmic-ray detection.

    The planes go with the data through slicing, copying, pickling, writing
    and reading FITS, and `ccdproc.trim_image`; arithmetic that keeps the
    shape keeps the planes of the left operand. A plane that was never set
    is None. Flags (HST's DQ) are sliced and copied with the data, unlike
    those of `~astropy.nddata.CCDData`; arithmetic and FITS drop them.

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
    cr_draws : ndarray of int32, optional
        Weight draws that each pixel had, if they were not the same for all.
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

    def __init__(
        self,
        *args,
        cr_mask=None,
        cr_probability=None,
        cr_uncertainty=None,
        cr_entropy=None,
        cr_mutual_information=None,
        cr_draws=None,
        **kwargs,
    ):
        super().__init__(*args, **kwargs)
        source = args[0] if args else kwargs.get("data")
        given = {
            "cr_mask": cr_mask,
            "cr_probability": cr_probability,
            "cr_uncertainty": cr_uncertainty,
            "cr_entropy": cr_entropy,
            "cr_mutual_information": cr_mutual_information,
            "cr_draws": cr_draws,
        }
        for name, plane in given.items():
            if plane is None:
                plane = getattr(source, name, None)
            if plane is not None:
                dtype = _DTYPES.get(name, np.float32)
                plane = np.array(plane, dtype=dtype, copy=kwargs.get("copy") or None)
                if plane.shape != self.data.shape:
                    raise ValueError(
                        f"{name} has shape {plane.shape}, the data has {self.data.shape}"
                    )
            setattr(self, name, plane)

    def _slice(self, item):
        kwargs = super()._slice(item)
        # CCDData drops its flags here.
        kwargs["flags"] = None if self.flags is None else np.asarray(self.flags)[item]
        for name in PLANES:
            plane = getattr(self, name)
            kwargs[name] = None if plane is None else plane[item]
        return kwargs

    def _arithmetic(self, operation, operand, *args, **kwargs):
        result, init = super()._arithmetic(operation, operand, *args, **kwargs)
        if np.shape(result) == self.data.shape:
            for name in PLANES:
                plane = getattr(self, name, None)
                init[name] = None if plane is None else plane.copy()
        return result, init

    def review(self, path, *, name=None, model=None, protect=None, overwrite=False):
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
        from cosmiq_astro.review import make_page

        name = Path(path).stem if name is None else name
        page = make_page(self, name=name, model=model, protect=protect)
        page.write(path, overwrite=overwrite)

    def show(self, *, name="exposure", model=None, protect=None):
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
        from cosmiq_astro.review import make_page

        return make_page(self, name=name, model=model, protect=protect)

    def to_hdu(self, *args, **kwargs):
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
            ``CRPROB``, ``CRSTD``, ``CRENT`` and ``CRMI`` (float32), and
            ``CRDRAWS`` (int32), as far as they are set.
        """
        hdus = super().to_hdu(*args, **kwargs)
        for name, extension in PLANES.items():
            plane = getattr(self, name)
            if plane is not None:
                pixels = plane.astype(np.uint8) if name == "cr_mask" else plane
                hdus.append(fits.ImageHDU(pixels, name=extension))
        return hdus


def _read(filename, *args, **kwargs):
    """Read what `CosmicRayCCDData.write` wrote; planes that are not there stay None."""
    ccd = fits_ccddata_reader(filename, *args, **kwargs)
    with fits.open(filename) as hdus:
        planes = {
            name: hdus[extension].data for name, extension in PLANES.items() if extension in hdus
        }
    return CosmicRayCCDData(ccd, **planes)


with registry.delay_doc_updates(CosmicRayCCDData):
    registry.register_reader("fits", CosmicRayCCDData, _read)
