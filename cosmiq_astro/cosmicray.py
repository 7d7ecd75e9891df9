"""`cosmicray_vi` and `cosmicray_unet`: cosmic rays found, in the manner of ccdproc."""

from __future__ import annotations

import functools
import logging
import time
import warnings
from collections.abc import Callable
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar

import numpy as np
from astropy.utils.exceptions import AstropyUserWarning

from cosmiq_astro._detection import Request, find_cosmic_rays
from cosmiq_astro._exposure import check_uncertainty, coerce
from cosmiq_astro._lacosmic import refuse_lacosmic
from cosmiq_astro.cleaning import clean_pixels
from cosmiq_astro.own_sky import OwnSky

if TYPE_CHECKING:
    from astropy import units as u
    from astropy.nddata import CCDData, NDUncertainty
    from numpy.typing import ArrayLike
    from photutils.background import Background2D

    from cosmiq_astro._types import Cleaning, Precision, Sampling, Threshold
    from cosmiq_astro.models.model import Model
    from cosmiq_astro.nddata import CosmicRayCCDData

__all__ = ["cosmicray_unet", "cosmicray_vi"]

_LOGGER = logging.getLogger(__name__)
_P = ParamSpec("_P")
_R = TypeVar("_R")


# Here, since doctest passes over functions that another module made.
def _knows_lacosmic(verb: Callable[_P, _R]) -> Callable[_P, _R]:
    """Let a verb say what serves instead of the parameters of L.A.Cosmic."""

    @functools.wraps(verb)
    def checked(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        refuse_lacosmic(verb.__name__, kwargs)
        return verb(*args, **kwargs)

    return checked


@_knows_lacosmic
def cosmicray_vi(
    ccd: CCDData | ArrayLike,
    T: int = 16,
    *,
    model: str | PathLike | Model = "acs-wfc-vi",
    threshold: Threshold | None = None,
    gain: float | u.Quantity | None = None,
    readnoise: float | u.Quantity | None = None,
    satlevel: float | u.Quantity | None = None,
    exposure_time: float | u.Quantity | None = None,
    mask_growth: int = 0,
    clean: Cleaning | None = None,
    sampling: Sampling = "antithetic",
    views: Literal[1, 2, 4] | None = None,
    seed: int | None = None,
    device: str = "auto",
    tile_size: int | None = None,
    precision: Precision = "float32",
    progress_bar: bool = False,
    add_keyword: bool = True,
    protect: ArrayLike | str | PathLike | None = None,
    background: ArrayLike | Background2D | None = None,
    uncertainty: ArrayLike | NDUncertainty | None = None,
    spectrum: Literal["x", "y"] | None = None,
    negative: bool = False,
) -> CosmicRayCCDData | Any:
    r"""
    Find the cosmic rays of one exposure with a variational U-Net, and say how sure that is.

    The weights are drawn ``T`` times; the mean probability over the draws
    decides on the mask, their scatter and entropy say how far it can be
    trusted. With the bundled models the draws hardly differ: their training
    data leave little doubt about the weights, and what is doubtful about a
    pixel is in the image, where the entropy shows it. A model of several
    networks, an ensemble [3]_, takes turns with them in the draws. The network grows
    out of deepCR [1]_, its weights' posterior out of Bayes by backprop [2]_.

    Parameters
    ----------
    ccd : `~astropy.nddata.CCDData` or array-like
        The exposure, sky included, in electron, adu, count or one of these
        per second. An array is taken to be in electron unless ``gain`` is
        given. It is not modified.
    T : int, optional
        Number of weight draws, 1 or more, best an even number. Raise it for a
        smoother uncertainty plane; a mask needs no more than 2.
    model : str, path-like or Model, optional
        A variational model: a bundled name (see
        `~cosmiq_astro.list_models`), a model folder, or a loaded model.
    threshold : float or {'pure', 'balanced', 'complete'}, optional
        Probability from which a pixel is flagged, in (0, 1); the model's own
        if None. Lower it to catch faint hits at the price of more false
        ones, raise it where every star counts: ``'complete'`` and ``'pure'``
        are the largest F4 and F0.25 of the model's operating curve,
        ``'balanced'`` is its own.
    gain : float or `~astropy.units.Quantity`, optional
        Electron per adu; needed for data in adu or count, refused for
        electron.
    readnoise : float or `~astropy.units.Quantity`, optional
        Read noise, electron. Without it the noise is estimated from the
        pixels.
    satlevel : float or `~astropy.units.Quantity`, optional
        Saturation level, electron. Higher values are clipped to it for the
        network; they are not masked, since bright hits saturate too.
    exposure_time : float or `~astropy.units.Quantity`, optional
        Seconds; needed for rates, else ``EXPTIME`` or ``XPOSURE`` of
        ``meta`` is taken.
    mask_growth : int, optional
        Radius, in pixels, of the disk that the mask is grown by; it never
        grows into masked pixels. 1 catches the faint wings of hits.
    clean : {None, 'median', 'medmask', 'meanmask', 'idw', 'maskfill'}, optional
        How to replace flagged pixels; None leaves the data as they are. The
        uncertainty of replaced pixels, if there is one, becomes that of the
        guess (`~cosmiq_astro.cleaning.cleaned_variance`).
    sampling : {'antithetic', 'independent', 'moments', 'mean'}, optional
        How the weights are drawn. ``'moments'`` draws none, and integrates over
        the posterior, whatever ``T``: for models like the bundled ones, whose
        last layer alone is variational. ``'mean'`` takes each network with
        its means.
    views : {1, 2, 4}, optional
        Ways to turn the image, whose mean counts, in each draw: as it is,
        transposed too, or also both turned by half a turn; the model's own
        number if None. More are more accurate, and slower.
    seed : int, optional
        Seed of the draws; if None, one is chosen and written to the header.
    device : str, optional
        ``'auto'``, ``'cpu'``, ``'cuda'``, ``'mps'`` or any `torch.device`.
    tile_size : int, optional
        Side of the tiles, pixels; the result does not depend on it.
    precision : {'float32', 'bfloat16'}, optional
        Of the network's convolutions. ``'bfloat16'`` is faster where the
        processor has it, and changes few pixels of the mask
        (`~cosmiq_astro.CosmicRayDetector`).
    progress_bar : bool, optional
        Whether to show one.
    add_keyword : bool, optional
        Whether to write model, version, hash, draws, seed, threshold and
        counts to the header (``CRVI…`` cards).
    protect : array-like, path-like or None, optional
        Pixels that are seen but never flagged, by the mask's growth neither: a
        boolean array, rows of ``(x, y, radius)``, or a region file of DS9 or
        CASA (`~cosmiq_astro.protect.read_protection`). ``CRVINPRO`` in the
        header counts those that would have been.
    background : array-like, `~photutils.background.Background2D` or None, optional
        What is in the pixels beside sources and cosmic rays, in the unit of
        ``ccd``: subtracted in place of the sky that is estimated otherwise. For
        frames whose sky was subtracted give 0, with ``uncertainty``.
    uncertainty : array-like, `~astropy.nddata.NDUncertainty`, True or None, optional
        Noise of each pixel, used in place of the estimate: an array holds
        standard deviations, in the unit of ``ccd``; True takes
        ``ccd.uncertainty``. Give it where the noise varies over the frame.
    spectrum : {'x', 'y'} or None, optional
        The axis along which the wavelength of a two-dimensional spectrum
        changes. What is smooth along it or across it is then modelled,
        subtracted, and its noise allowed for
        (`~cosmiq_astro.spectra.spectrum_model`).
    negative : bool, optional
        Whether to look for hits of a frame that was subtracted too, where
        pixels are too low. ``CRVINNEG`` in the header counts their pixels.

    Returns
    -------
    result : `~cosmiq_astro.CosmicRayCCDData` or tuple
        A copy of ``ccd`` with the cosmic rays or-ed into ``mask``, and with
        ``cr_mask``, ``cr_probability``, ``cr_uncertainty``, ``cr_entropy``
        and ``cr_mutual_information``. For an array, ``(data, cr_mask)``, as
        ccdproc returns it.

    Raises
    ------
    TypeError
        If the data or the mask is not of a real numeric type.
    ValueError
        If a unit, a shape or a setting cannot be used; the message names it.

    Notes
    -----
    What was done goes to the logger ``cosmiq_astro`` of `logging`, a line at
    INFO: ``logging.basicConfig(level="INFO")`` shows it.

    References
    ----------
    .. [1] Zhang, K. & Bloom, J. S. 2020, ApJ 889, 24 (arXiv:1907.09500)
    .. [2] Blundell, C. et al. 2015, ICML 37, 1613 (arXiv:1505.05424)
    .. [3] Lakshminarayanan, B. et al. 2017, NIPS 30 (arXiv:1612.01474)

    Examples
    --------
    >>> import cosmiq_astro as ca
    >>> ccd = ca.load_sample()
    >>> out = ca.cosmicray_vi(ccd, T=4, seed=1)
    >>> out.cr_probability.shape == ccd.shape
    True
    """
    request = Request(
        gain=gain,
        readnoise=readnoise,
        satlevel=satlevel,
        exposure_time=exposure_time,
        threshold=threshold,
        mask_growth=mask_growth,
        clean=clean,
        protect=protect,
        own=OwnSky(background, uncertainty, spectrum, negative),
    )
    draws = {"T": T, "sampling": sampling, "seed": seed}
    return _detect(
        ccd,
        model,
        request,
        method="vi",
        hardware={"device": device, "tile_size": tile_size, "precision": precision},
        call=draws | {"views": views, "progress_bar": progress_bar},
        add_keyword=add_keyword,
    )


@_knows_lacosmic
def cosmicray_unet(
    ccd: CCDData | ArrayLike,
    *,
    model: str | PathLike | Model = "acs-wfc-unet",
    threshold: Threshold | None = None,
    gain: float | u.Quantity | None = None,
    readnoise: float | u.Quantity | None = None,
    satlevel: float | u.Quantity | None = None,
    exposure_time: float | u.Quantity | None = None,
    mask_growth: int = 0,
    clean: Cleaning | None = None,
    views: Literal[1, 2, 4] | None = None,
    device: str = "auto",
    tile_size: int | None = None,
    precision: Precision = "float32",
    progress_bar: bool = False,
    add_keyword: bool = True,
    protect: ArrayLike | str | PathLike | None = None,
    background: ArrayLike | Background2D | None = None,
    uncertainty: ArrayLike | NDUncertainty | None = None,
    spectrum: Literal["x", "y"] | None = None,
    negative: bool = False,
) -> CosmicRayCCDData | Any:
    """
    Find the cosmic rays of one exposure with a deterministic U-Net, the baseline.

    One pass of the network: the probability comes without an uncertainty of
    its own (``cr_uncertainty`` and ``cr_mutual_information`` are 0).

    Parameters
    ----------
    ccd : `~astropy.nddata.CCDData` or array-like
        The exposure, as for `cosmicray_vi`.
    model : str, path-like or Model, optional
        A deterministic model, as for `cosmicray_vi`.
    threshold : float or {'pure', 'balanced', 'complete'}, optional
        Probability from which a pixel is flagged.
    gain, readnoise, satlevel, exposure_time : float or `~astropy.units.Quantity`, optional
        Electron per adu, electron, electron, seconds.
    mask_growth : int, optional
        Radius of the disk that the mask is grown by, pixels.
    clean : {None, 'median', 'medmask', 'meanmask', 'idw', 'maskfill'}, optional
        How to replace flagged pixels.
    views, device, tile_size, precision, progress_bar : optional
        As for `cosmicray_vi`.
    add_keyword : bool, optional
        Whether to write ``CRVI…`` cards to the header.
    protect : array-like, path-like or None, optional
        Pixels that are never flagged, as for `cosmicray_vi`.
    background, uncertainty, spectrum, negative : optional
        As for `cosmicray_vi`.

    Returns
    -------
    result : `~cosmiq_astro.CosmicRayCCDData` or tuple
        As for `cosmicray_vi`.

    Raises
    ------
    TypeError
        If the data or the mask is not of a real numeric type.
    ValueError
        If a unit, a shape or a setting cannot be used; the message names it.

    Examples
    --------
    >>> import cosmiq_astro as ca
    >>> out = ca.cosmicray_unet(ca.load_sample())
    >>> out.meta["CRVIMODL"]
    'acs-wfc-unet'
    """
    request = Request(
        gain=gain,
        readnoise=readnoise,
        satlevel=satlevel,
        exposure_time=exposure_time,
        threshold=threshold,
        mask_growth=mask_growth,
        clean=clean,
        protect=protect,
        own=OwnSky(background, uncertainty, spectrum, negative),
    )
    return _detect(
        ccd,
        model,
        request,
        method="unet",
        hardware={"device": device, "tile_size": tile_size, "precision": precision},
        call={"views": views, "progress_bar": progress_bar},
        add_keyword=add_keyword,
    )


def _detect(ccd, model, request, *, method, hardware, call, add_keyword):
    """Detect, say what was done and what is doubtful, and dress the result."""
    frame, is_ccd = coerce(ccd, request.gain)
    if request.clean is not None and is_ccd:
        check_uncertainty(frame)
    if not is_ccd:
        call |= {"planes": ("probability",)}
    begin = time.perf_counter()
    found = find_cosmic_rays(frame, model, request, method=method, hardware=hardware, call=call)
    _LOGGER.info(
        "%s version %s, T %d, %s, threshold %g: pixels flagged %d, hits %d, in %.2f s",
        *(found.model.name, found.model.version, found.maps.T, found.maps.sampling),
        *(found.threshold, np.count_nonzero(found.cr_mask), found.n_hits),
        time.perf_counter() - begin,
    )
    for doubt in found.doubts:
        warnings.warn(doubt, AstropyUserWarning, stacklevel=4)
    if is_ccd:
        # As in `_exposure`: not for arrays.
        from cosmiq_astro._result import dress

        return dress(frame, found, clean=request.clean, add_keyword=add_keyword)
    data = frame.data
    if request.clean is not None:
        data = clean_pixels(data, found.cr_mask, method=request.clean, mask=~found.maps.usable)
    return data, found.cr_mask
