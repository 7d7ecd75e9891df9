"""The detection that `cosmicray_vi`, `cosmicray_unet` and `hst.detect_file` have in common."""

import logging
from dataclasses import dataclass, field

import numpy as np
import scipy

from cosmiq_astro._counts import check_count
from cosmiq_astro._exposure import own_mask, seconds_of
from cosmiq_astro._operating_curve import check_threshold, find_threshold
from cosmiq_astro._windows import TOUCHING
from cosmiq_astro.cleaning import CLEAN_METHODS, grow_mask
from cosmiq_astro.detector import CosmicRayDetector
from cosmiq_astro.familiarity.verdict import doubts
from cosmiq_astro.inference.maps import CosmicRayMaps
from cosmiq_astro.models.model import Model
from cosmiq_astro.own_sky import OwnSky
from cosmiq_astro.protect import read_protection, withhold
from cosmiq_astro.units import electrons_per_unit, stated_time, to_electrons

__all__ = ["Detection", "Request", "find_cosmic_rays"]

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Request:
    """
    What is known of an exposure, and what shall be made of the probabilities.

    Attributes
    ----------
    gain, readnoise, satlevel, exposure_time, threshold, mask_growth, clean, protect
        As for `~cosmiq_astro.cosmicray_vi`.
    own : `~cosmiq_astro.own_sky.OwnSky`
        Background, uncertainty, spectrum and sign.
    """

    gain: object = None
    readnoise: object = None
    satlevel: object = None
    exposure_time: object = None
    threshold: float | str | None = None
    mask_growth: int = 0
    clean: str | None = None
    protect: object = None
    own: OwnSky = field(default_factory=OwnSky)

    def __post_init__(self):
        check_threshold(self.threshold)
        check_count("mask_growth", self.mask_growth, least=0)
        if self.clean is not None and self.clean not in CLEAN_METHODS:
            raise ValueError(
                f"clean must be None or one of {', '.join(CLEAN_METHODS)}, got {self.clean!r}"
            )


@dataclass(frozen=True)
class Detection:
    """
    What was found on an exposure.

    Attributes
    ----------
    cr_mask : ndarray of bool
        Pixels flagged.
    mask : ndarray of bool or None
        The exposure's own mask, without the hits of an earlier detection.
    maps : `~cosmiq_astro.CosmicRayMaps`
        The planes.
    model : `~cosmiq_astro.models.model.Model`
        By which.
    threshold : float
        Probability from which a pixel was flagged.
    n_hits : int
        Groups of flagged pixels that touch.
    doubts : tuple of str
        Why the probabilities need not be right, a sentence each.
    mask_growth : int
        Radius that the mask was grown by, pixels.
    n_withheld : int or None
        Protected pixels that would have been flagged; None if none were protected.
    n_negative : int or None
        Pixels flagged for being too low; None if none were looked for.
    """

    cr_mask: np.ndarray = field(repr=False)
    mask: np.ndarray | None = field(repr=False)
    maps: CosmicRayMaps
    model: Model
    threshold: float
    n_hits: int
    doubts: tuple
    mask_growth: int = 0
    n_withheld: int | None = None
    n_negative: int | None = None


def find_cosmic_rays(frame, model, request, *, method, hardware, call):
    """
    Check, convert, detect.

    Parameters
    ----------
    frame : `~astropy.nddata.CCDData` or what `~cosmiq_astro._exposure.coerce` returns
        The exposure.
    model : str, path-like or Model
        As for `~cosmiq_astro.cosmicray_vi`.
    request : `Request`
        What is known, and what is wanted.
    method : {'vi', 'unet'}
        That the model must be of.
    hardware : dict
        Keyword arguments of `~cosmiq_astro.CosmicRayDetector`.
    call : dict
        Keyword arguments of its call: draws, seed, progress bar.

    Returns
    -------
    detection : `Detection`
        What was found.

    Raises
    ------
    ValueError
        If a unit or a setting cannot be used, or the model is of the other method.
    """
    protected = read_protection(request.protect)
    if protected is not None:
        protected = protected.on(frame.data.shape, getattr(frame, "wcs", None))
    own = request.own
    own.check(frame, request.readnoise)
    time = request.exposure_time
    if time is None:
        time = stated_time(frame.meta)
    factor = electrons_per_unit(
        frame.unit, gain=request.gain, exposure_time=time, header=frame.meta
    )
    levels = {
        name: to_electrons(name, getattr(request, name), gain=request.gain)
        for name in ("readnoise", "satlevel")
    }
    detector = CosmicRayDetector(model, **hardware)
    model = detector.model
    if model.method != method:
        other = {"vi": "cosmicray_unet", "unet": "cosmicray_vi"}[method]
        raise ValueError(f"model {model.name!r} is of method {model.method!r}; use {other} for it")
    threshold = find_threshold(model, request.threshold)
    mask = own_mask(frame)
    maps, is_negative = own.detect(detector, frame, factor, mask, **levels, call=call)
    # NaN compares False: pixels that were not finite are never flagged.
    cr_mask = (maps.probability >= threshold) & maps.usable
    cr_mask, n_withheld = withhold(cr_mask, protected)
    if n_withheld:
        _LOGGER.info("%d protected pixels would have been flagged", n_withheld)
    fixed = ~maps.usable if protected is None else ~maps.usable | protected
    cr_mask = grow_mask(cr_mask, request.mask_growth, mask=fixed)
    labels, n_hits = scipy.ndimage.label(cr_mask, TOUCHING)
    # What the detector saw in place of the pixels tells nothing of gain and noise.
    pixels = frame.data if factor == 1 else frame.data * factor
    known = {
        "pixels": pixels if own.is_plain else None,
        "exposure_time": seconds_of(time),
        **levels,
    }
    return Detection(
        cr_mask=cr_mask,
        mask=mask,
        maps=maps,
        model=model,
        threshold=threshold,
        n_hits=int(n_hits),
        doubts=doubts(model, maps, labels, **known),
        mask_growth=int(request.mask_growth),
        n_withheld=None if protected is None else n_withheld,
        n_negative=None if is_negative is None else int((cr_mask & is_negative).sum()),
    )
