"""A user's own background, noise and sign, or the model of a spectrum, in place of estimates."""

from dataclasses import dataclass, replace

import numpy as np
from astropy import units as u

from cosmiq_astro.flatten import flatten, noise_variance
from cosmiq_astro.spectra import AXES, spectrum_model

__all__ = ["OwnSky"]

_PLANES = ("probability", "uncertainty", "entropy", "mutual_information")


@dataclass(frozen=True)
class OwnSky:
    """
    What a user knows of an exposure beside its pixels.

    Attributes
    ----------
    background : array-like, object with a ``background``, or None
        In the unit of the exposure.
    uncertainty : array-like, `~astropy.nddata.NDUncertainty`, True or None
        Standard deviations if an array, in the unit of the exposure.
    spectrum : {'x', 'y'} or None
        Axis of the dispersion.
    negative : bool
        Whether to look for negative hits too.
    """

    background: object = None
    uncertainty: object = None
    spectrum: str | None = None
    negative: bool = False

    def check(self, frame, readnoise):
        """
        Refuse what cannot be used, before any work.

        Parameters
        ----------
        frame : `~astropy.nddata.CCDData` or what has its attributes
            The exposure.
        readnoise : float or None
            As the user gave it.

        Raises
        ------
        ValueError
            If a shape differs, a unit does not fit, or what is needed is missing;
            the message names it.
        """
        if self.spectrum is not None and self.spectrum not in AXES:
            raise ValueError(f"spectrum must be None, 'x' or 'y', got {self.spectrum!r}")
        if self.spectrum is not None and self.background is not None:
            raise ValueError("give background or spectrum, which models it, not both")
        if not isinstance(self.negative, (bool, np.bool_)):
            raise ValueError(f"negative must be True or False, got {self.negative!r}")
        # Whoever asks for these has them checked.
        self._background(frame)
        variance = self._variance(frame)
        if self.negative and readnoise is not None and variance is None:
            raise ValueError(
                "of a difference the noise does not follow from the read noise: give uncertainty, "
                "or leave readnoise out to have the noise measured"
            )

    @property
    def is_plain(self):
        """Whether the detector sees the pixels as they are."""
        given = self.background, self.uncertainty, self.spectrum
        return not self.negative and all(part is None or part is False for part in given)

    def detect(self, detector, frame, factor, mask, *, readnoise, satlevel, call):
        """
        Run a detector on what the exposure becomes.

        Parameters
        ----------
        detector : `~cosmiq_astro.CosmicRayDetector`
            Ready to be called.
        frame : `~astropy.nddata.CCDData` or what has its attributes
            The exposure, checked.
        factor : float
            Electrons per unit of it.
        mask : ndarray of bool or None
            Pixels to leave out.
        readnoise, satlevel : float or None
            Electron.
        call : dict
            Further arguments of the detector's call.

        Returns
        -------
        maps : `~cosmiq_astro.CosmicRayMaps`
            With ``negative``, of the sign that is the more probable one at each
            pixel.
        is_negative : ndarray of bool or None
            Where that is the negative one.
        """
        image = frame.data if factor == 1 else frame.data * factor
        levels = {"readnoise": readnoise, "satlevel": satlevel}
        pixels, hidden, levels = self._prepare(image, frame, factor, mask, levels)
        maps = detector(pixels, hidden, **levels, **call)
        if not self.negative:
            return maps, None
        image = np.negative(image, dtype=np.float64)
        levels = {"readnoise": readnoise, "satlevel": None}
        pixels, hidden, levels = self._prepare(image, frame, -factor, mask, levels)
        # The draws of the first side serve the second.
        call = call | {"seed": maps.seed}
        return _more_probable(maps, detector(pixels, hidden, **levels, **call))

    def _prepare(self, image, frame, factor, mask, levels):
        """Return what the detector sees: pixels, mask, and read noise and saturation level."""
        background, variance = self._background(frame), self._variance(frame)
        if background is None and variance is None and self.spectrum is None:
            return image, mask, levels
        usable = np.isfinite(image)
        if mask is not None:
            usable &= ~np.asarray(mask, dtype=bool)
        image = np.where(usable, image, 0)
        if self.spectrum is not None:
            background = spectrum_model(image, usable, self.spectrum)
        elif background is None:
            background = float(np.median(image[usable])) if usable.any() else 0.0
        else:
            background = factor * background
        if variance is not None:
            variance = np.broadcast_to(variance, image.shape) * factor**2
            usable &= np.isfinite(variance)
        known = {"variance": variance, "readnoise": levels["readnoise"]}
        noise = noise_variance(image, usable, background, **known)
        flat = flatten(image, usable, background, variance=noise, satlevel=levels["satlevel"])
        pixels = np.where(np.isfinite(frame.data), flat, np.nan)
        return pixels, ~usable, {"readnoise": 0.0, "satlevel": None}

    def _background(self, frame):
        """Return the background in the unit of the exposure, an array; None if none was given."""
        background = getattr(self.background, "background", self.background)
        return None if background is None else _plane("background", background, frame)

    def _variance(self, frame):
        """Return the variance in the unit of the exposure, squared; None if none was given."""
        # Not for arrays: what takes long to import is there already if it is needed.
        from astropy.nddata import NDUncertainty, UnknownUncertainty, VarianceUncertainty

        given = self.uncertainty
        if given is None or given is False:
            return None
        if given is True:
            given = getattr(frame, "uncertainty", None)
            if given is None:
                raise ValueError("uncertainty=True, but the exposure has none: give an array")
        if isinstance(given, UnknownUncertainty):
            raise ValueError("the kind of uncertainty is unknown: make it a StdDevUncertainty")
        if isinstance(given, NDUncertainty):
            # Pixels of no weight have no variance, and count as masked.
            with np.errstate(divide="ignore"):
                variance = given.represent_as(VarianceUncertainty).array
            return _plane("uncertainty", variance, frame)
        return _plane("uncertainty", given, frame) ** 2


def _plane(name, value, frame):
    """Return what was given in the unit of the exposure, an array of its shape or a number."""
    if isinstance(value, u.Quantity):
        try:
            value = value.to_value(frame.unit)
        except u.UnitConversionError as error:
            raise ValueError(
                f"{name} is in {value.unit}, the exposure in {frame.unit}: give it in that unit"
            ) from error
    value = np.asarray(value)
    if value.dtype.kind not in "fiu":
        raise ValueError(f"{name} must hold real numbers, got dtype {value.dtype}")
    if value.shape not in ((), frame.data.shape):
        raise ValueError(f"{name} has shape {value.shape}, the image has {frame.data.shape}")
    return value.astype(np.float64)


def _more_probable(positive, negative):
    """Return the maps of the sign that is the more probable one at each pixel, and where which."""
    is_negative = negative.probability > positive.probability
    planes = {}
    for name in _PLANES:
        one, other = getattr(positive, name), getattr(negative, name)
        planes[name] = None if one is None else np.where(is_negative, other, one)
    return replace(positive, **planes), is_negative
