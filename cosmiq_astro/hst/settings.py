"""What `detect_file` is asked for."""

import hashlib
import json
from collections.abc import Collection
from dataclasses import dataclass, replace

import cosmiq_astro
from cosmiq_astro.hst.background import read_background
from cosmiq_astro.hst.provenance import digest_model
from cosmiq_astro.models.model import Model, load_model
from cosmiq_astro.own_sky import OwnSky
from cosmiq_astro.protect import read_protection

__all__ = ["PLANE_NAMES", "DetectSettings"]

PLANE_NAMES = {
    "prob": "probability",
    "std": "uncertainty",
    "ent": "entropy",
    "mi": "mutual_information",
}
"""Short names of the planes that can be left out, and those in `~cosmiq_astro.CosmicRayMaps`."""

# What the result does not depend on.
_INDIFFERENT = ("model", "device", "tile_size", "progress_bar", "overwrite", "in_place")


@dataclass(frozen=True)
class DetectSettings:
    """
    What `detect_file` is asked for.

    Attributes
    ----------
    model, T, threshold, sampling, views, seed, mask_growth, clean, in_place, extver, dq_bit,
    dq_ignore, planes, gain, readnoise, satlevel, exposure_time, unit, device, tile_size, precision,
    overwrite, progress_bar, protect, background, uncertainty, spectrum, negative
        As for `~cosmiq_astro.hst.detect_file`.
    """

    model: object = "acs-wfc-vi"
    T: int = 16
    threshold: float | str | None = None
    sampling: str = "antithetic"
    views: int | None = None
    seed: int | None = None
    mask_growth: int = 0
    clean: str | None = None
    in_place: bool = False
    extver: object = None
    dq_bit: object = "default"
    dq_ignore: int | None = None
    planes: Collection[str] = tuple(PLANE_NAMES)
    gain: float | None = None
    readnoise: float | None = None
    satlevel: float | None = None
    exposure_time: float | None = None
    unit: object = None
    device: str = "auto"
    tile_size: int | None = None
    precision: str = "float32"
    overwrite: bool = False
    progress_bar: bool = False
    protect: object = None
    background: object = None
    uncertainty: bool | None = None
    spectrum: str | None = None
    negative: bool = False

    def __post_init__(self):
        unknown = set(self.planes) - set(PLANE_NAMES)
        if unknown:
            raise ValueError(f"planes can be {', '.join(PLANE_NAMES)}; got {sorted(unknown)}")
        if not (self.uncertainty is None or isinstance(self.uncertainty, bool)):
            raise ValueError(
                f"uncertainty must be None, or True for that of the file, got {self.uncertainty!r}"
            )
        # Their content counts, not their name.
        object.__setattr__(self, "protect", read_protection(self.protect))
        object.__setattr__(self, "background", read_background(self.background))

    def loaded(self):
        """
        Return the same with the model itself in place of its name.

        Returns
        -------
        settings : `DetectSettings`
            With ``model`` a `~cosmiq_astro.models.model.Model`.
        """
        is_loaded = isinstance(self.model, Model)
        return self if is_loaded else replace(self, model=load_model(self.model))

    def own_sky(self, extver, shape):
        """
        Return what is said of sky, noise and sign.

        Parameters
        ----------
        extver : int
            Number of the chip.
        shape : tuple of int
            Of its image.

        Returns
        -------
        own : `~cosmiq_astro.own_sky.OwnSky`
            For a detection.

        Raises
        ------
        ValueError
            If the background does not fit.
        """
        background = self.background and self.background.on(extver, shape)
        return OwnSky(background, self.uncertainty, self.spectrum, self.negative)

    def only(self, names):
        """
        Return some of the settings.

        Parameters
        ----------
        names : sequence of str
            Which.

        Returns
        -------
        settings : dict
            Keyword arguments.
        """
        return {name: getattr(self, name) for name in names}

    def digest(self):
        """Return the digest of all that the result depends on but the input; 16 digits."""
        # Collections are the same in any order.
        settings = {
            name: sorted(value) if isinstance(value, (list, tuple, set, frozenset)) else value
            for name, value in vars(self).items()
            if name not in _INDIFFERENT
        }
        facts = [cosmiq_astro.__version__, self.model.name, digest_model(self.model), settings]
        text = json.dumps(facts, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]
