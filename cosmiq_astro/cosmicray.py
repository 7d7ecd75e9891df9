"""`cosmicray_vi` and `cosmicray_unet`: cosmic rays found, in the manner of ccdproc."""

import logging
from dataclasses import replace
from numbers import Real

import numpy as np
from astropy.io import fits

from cosmiq_astro._exposure import check_uncertainty, coerce, seconds_of
from cosmiq_astro.cleaning import CLEAN_METHODS, clean_pixels, grow_mask
from cosmiq_astro.detector import CosmicRayDetector
from cosmiq_astro.familiarity.warn import warn_of_novelty, warn_of_ranges
from cosmiq_astro.own_sky import OwnSky
from cosmiq_astro.preprocess import estimate_statistics
from cosmiq_astro.protect import read_protection, withhold
from cosmiq_astro.units import electrons_per_unit, to_electrons
from cosmiq_astro.verdict import judge, measure_exposure, note_verdict

__all__ = ["cosmicray_unet", "cosmicray_vi"]

_LOGGER = logging.getLogger(__name__)


def cosmicray_vi(
    ccd,
    T=16,
    *,
    model="acs-wfc-vi",
    threshold=None,
    gain=None,
    readnoise=None,
    satlevel=None,
    exposure_time=None,
    mask_growth=0,
    clean=None,
    sampling="antithetic",
    seed=None,
    device="auto",
    tile_size=None,
    precision="float32",
    progress_bar=False,
    add_keyword=True,
    protect=None,
    background=None,
    uncertainty=None,
    spectrum=None,
    negative=False,
):
    r"""
    Find the cosmic rays of one exposure with a variational U-Net, and say how sure that is.

    The network's weights are drawn ``T`` times; the mean probability over
    the draws decides on the mask, their scatter and entropy say how far it
    can be trusted. The network grows out of deepCR [1]_, its weights'
    posterior out of Bayes by backprop [2]_.

    Parameters
    ----------
    ccd : `~astropy.nddata.CCDData` or array-like
        The exposure, sky included, in electron, adu, count or one of these
        per second. An array is taken to be in electron unless ``gain`` is
        given. It is not modified.
    T : int, optional
        Number of weight draws, 1 or more, best a multiple of 4, of 8 for
        ``acs-wfc-large-vi``. Every other one sees the image transposed, and
        half of those of that model see it turned by half a turn. Lower it to
        save time (a mask needs no more than 4), raise it for a smoother
        uncertainty plane.
    model : str, path-like or Model, optional
        A variational model: a bundled name (see
        `~cosmiq_astro.list_models`), a model folder, or a loaded model.
    threshold : float, optional
        Probability from which a pixel is flagged, in (0, 1); the model's own
        if None. Lower it to catch faint hits at the price of more false
        ones, raise it where every star counts.
    gain : float or `~astropy.units.Quantity`, optional
        Electron per adu; needed for data in adu or count, refused for
        electron.
    readnoise : float or `~astropy.units.Quantity`, optional
        Read noise, electron. Without it the noise is estimated from the
        pixels.
    satlevel : float or `~astropy.units.Quantity`, optional
        Saturation level, electron. Pixels above are taken as being there;
        they are not masked, since bright hits saturate too.
    exposure_time : float or `~astropy.units.Quantity`, optional
        Seconds; needed for rates, else ``meta['EXPTIME']`` is taken.
    mask_growth : int, optional
        Radius, in pixels, of the disk that the mask is grown by; it never
        grows into masked pixels. 1 catches the faint wings of hits.
    clean : {None, 'median', 'medmask', 'meanmask', 'idw', 'maskfill'}, optional
        How to replace flagged pixels; None leaves the data as they are. The
        uncertainty of replaced pixels, if there is one, becomes that of the
        guess (`~cosmiq_astro.cleaning.cleaned_variance`).
    sampling : {'antithetic', 'adaptive', 'independent', 'moments', 'mean'}, optional
        How the weights are drawn. ``'adaptive'`` makes two draws of all blocks
        of 4 × 4 pixels, more of those where a pixel may be a hit, and all of
        those whose probabilities have not settled before (``cr_draws`` counts
        them): a fourth to a third of the time of 64 draws for a sparse field,
        up to all of it elsewhere; the probability stays within about 0.001 of
        that with all draws, and within 0.005 with the fast model.
        ``'moments'`` draws none, and propagates mean and variance, whatever
        ``T``. Both are for models like the bundled one that draw weights in
        their last block alone. ``'mean'`` makes one pass with their means, as
        fast as the baseline and without uncertainty.
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
        and ``cr_mutual_information`` (and ``cr_draws`` if the sampling is
        ``'adaptive'``). For an array,
        ``(data, cr_mask)``, as ccdproc returns it.

    Raises
    ------
    TypeError
        If the data or the mask is not of a real numeric type.
    ValueError
        If a unit, a shape or a setting cannot be used; the message names it.

    References
    ----------
    .. [1] Zhang, K. & Bloom, J. S. 2020, ApJ 889, 24 (arXiv:1907.09500)
    .. [2] Blundell, C. et al. 2015, ICML 37, 1613 (arXiv:1505.05424)

    Examples
    --------
    >>> import cosmiq_astro as ca
    >>> ccd = ca.load_sample()
    >>> out = ca.cosmicray_vi(ccd, T=4, seed=1)
    >>> out.cr_probability.shape == ccd.shape
    True
    """
    return _detect(
        ccd,
        "vi",
        model,
        call={"T": T, "sampling": sampling, "seed": seed, "progress_bar": progress_bar},
        threshold=threshold,
        gain=gain,
        readnoise=readnoise,
        satlevel=satlevel,
        exposure_time=exposure_time,
        mask_growth=mask_growth,
        clean=clean,
        device=device,
        tile_size=tile_size,
        precision=precision,
        add_keyword=add_keyword,
        protect=protect,
        own=OwnSky(background, uncertainty, spectrum, negative),
    )


def cosmicray_unet(
    ccd,
    *,
    model="acs-wfc-unet",
    threshold=None,
    gain=None,
    readnoise=None,
    satlevel=None,
    exposure_time=None,
    mask_growth=0,
    clean=None,
    device="auto",
    tile_size=None,
    precision="float32",
    progress_bar=False,
    add_keyword=True,
    protect=None,
    background=None,
    uncertainty=None,
    spectrum=None,
    negative=False,
):
    """
    Find the cosmic rays of one exposure with a deterministic U-Net, the baseline.

    One pass of the network: the probability comes without an uncertainty of
    its own (``cr_uncertainty`` and ``cr_mutual_information`` are 0).

    Parameters
    ----------
    ccd : `~astropy.nddata.CCDData` or array-like
        The exposure, as for `cosmicray_vi`.
    model : str, path-like or Model, optional
        A deterministic model.
    threshold : float, optional
        Probability from which a pixel is flagged, in (0, 1).
    gain : float or `~astropy.units.Quantity`, optional
        Electron per adu.
    readnoise : float or `~astropy.units.Quantity`, optional
        Read noise, electron.
    satlevel : float or `~astropy.units.Quantity`, optional
        Saturation level, electron.
    exposure_time : float or `~astropy.units.Quantity`, optional
        Seconds.
    mask_growth : int, optional
        Radius of the disk that the mask is grown by, pixels.
    clean : {None, 'median', 'medmask', 'meanmask', 'idw', 'maskfill'}, optional
        How to replace flagged pixels.
    device : str, optional
        As for `cosmicray_vi`.
    tile_size : int, optional
        Side of the tiles, pixels.
    precision : {'float32', 'bfloat16'}, optional
        As for `cosmicray_vi`.
    progress_bar : bool, optional
        Whether to show one.
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
    return _detect(
        ccd,
        "unet",
        model,
        call={"progress_bar": progress_bar},
        threshold=threshold,
        gain=gain,
        readnoise=readnoise,
        satlevel=satlevel,
        exposure_time=exposure_time,
        mask_growth=mask_growth,
        clean=clean,
        device=device,
        tile_size=tile_size,
        precision=precision,
        add_keyword=add_keyword,
        protect=protect,
        own=OwnSky(background, uncertainty, spectrum, negative),
    )


def _detect(
    ccd,
    method,
    model,
    *,
    call,
    threshold,
    gain,
    readnoise,
    satlevel,
    exposure_time,
    mask_growth,
    clean,
    device,
    tile_size,
    precision,
    add_keyword,
    protect,
    own,
):
    """Check, convert, detect, and dress the result."""
    frame, is_ccd = coerce(ccd, gain)
    if exposure_time is None:
        exposure_time = frame.meta.get("EXPTIME")
    factor = electrons_per_unit(frame.unit, gain=gain, exposure_time=exposure_time)
    if threshold is not None and not (isinstance(threshold, Real) and 0 < threshold < 1):
        raise ValueError(f"threshold must be in (0, 1), got {threshold!r}")
    is_whole = isinstance(mask_growth, (int, np.integer)) and not isinstance(mask_growth, bool)
    if not is_whole or mask_growth < 0:
        raise ValueError(f"mask_growth must be an integer, 0 or more, got {mask_growth!r}")
    if clean is not None and clean not in CLEAN_METHODS:
        raise ValueError(f"clean must be None or one of {', '.join(CLEAN_METHODS)}, got {clean!r}")
    if clean is not None and is_ccd:
        check_uncertainty(frame)
    protected = read_protection(protect)
    if protected is not None:
        protected = protected.on(frame.data.shape, getattr(frame, "wcs", None))
    own.check(frame, readnoise)
    settings = {"device": device, "tile_size": tile_size, "precision": precision}
    detector = CosmicRayDetector(model, **settings)
    if detector.model.method != method:
        other = {"vi": "cosmicray_unet", "unet": "cosmicray_vi"}[method]
        raise ValueError(
            f"model {detector.model.name!r} is of method {detector.model.method!r}; "
            f"use {other} for it"
        )
    warn_of_ranges(
        detector.model,
        exposure_time=seconds_of(exposure_time),
        readnoise=to_electrons("readnoise", readnoise, gain=gain),
    )
    levels = {
        "readnoise": to_electrons("readnoise", readnoise, gain=gain),
        "satlevel": to_electrons("satlevel", satlevel, gain=gain),
    }
    maps, is_negative = own.detect(detector, frame, factor, **levels, call=call)
    warn_of_novelty(detector.model, maps)
    threshold = detector.model.threshold if threshold is None else threshold
    # NaN compares False: pixels that were not finite are never flagged.
    cr_mask = (maps.probability >= threshold) & maps.usable
    cr_mask, n_withheld = withhold(cr_mask, protected)
    if n_withheld:
        _LOGGER.info("%d protected pixels would have been flagged", n_withheld)
    fixed = ~maps.usable if protected is None else ~maps.usable | protected
    cr_mask = grow_mask(cr_mask, mask_growth, mask=fixed)
    if not is_ccd:
        data = frame.data
        if clean is not None:
            data = clean_pixels(data, cr_mask, method=clean, mask=~maps.usable)
        return data, cr_mask
    # As in `_exposure`: not for arrays.
    from cosmiq_astro._result import clean_frame, write_cards
    from cosmiq_astro.nddata import CosmicRayCCDData

    result = CosmicRayCCDData(
        frame,
        copy=True,
        cr_mask=cr_mask,
        cr_probability=maps.probability,
        cr_uncertainty=maps.uncertainty,
        cr_entropy=maps.entropy,
        cr_mutual_information=maps.mutual_information,
        cr_draws=maps.n_draws,
    )
    if clean is not None:
        result.data, result.uncertainty = clean_frame(frame, clean, cr_mask, ~maps.usable)
    result.mask = cr_mask.copy() if frame.mask is None else frame.mask.astype(bool) | cr_mask
    if add_keyword:
        write_cards(result, detector.model, maps, threshold)
        note_verdict(result.meta, _verdict(frame, factor, maps, cr_mask, detector.model, levels))
        if own.negative:
            result.meta["CRVINNEG"] = int((cr_mask & is_negative).sum())
        if protected is not None:
            result.meta["CRVINPRO"] = n_withheld
            if isinstance(result.meta, fits.Header):
                result.meta.comments["CRVINPRO"] = "protected pixels that would be flagged"
    return result


def _verdict(frame, factor, maps, cr_mask, model, levels):
    """Return whether to trust the mask."""
    image = frame.data if factor == 1 else frame.data * factor
    readnoise = levels["readnoise"]
    found = estimate_statistics(image, maps.usable)
    known = None
    if readnoise is not None:
        known = estimate_statistics(image, maps.usable, readnoise=readnoise)
    measured = measure_exposure(
        image,
        maps,
        cr_mask,
        scatter=found.noise,
        expected=float("nan") if known is None else known.noise,
        satlevel=levels["satlevel"],
    )
    # The level that gain and read noise are judged by is that of the pixels as they came.
    return judge(replace(measured, sky=found.sky), model=model.name)
