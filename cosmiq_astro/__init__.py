"""
Cosmic rays in single CCD exposures, with an honest word on each pixel.

`cosmiq_astro` finds cosmic-ray hits in one exposure with a U-Net. The
variational network (`cosmicray_vi`) draws its weights several times and
reports, beside the mask, the probability of a hit, its standard deviation
over the draws, its entropy and the mutual information; `cosmicray_unet` is
the deterministic baseline.
"""

from cosmiq_astro._lazy import lazy_names

try:
    from cosmiq_astro._version import version as __version__
except ImportError:  # a source tree that was never built
    __version__ = "0.0.0+unknown"

_LAZY = {
    "CosmicRayCCDData": "cosmiq_astro.nddata",
    "CosmicRayDetector": "cosmiq_astro.detector",
    "CosmicRayMaps": "cosmiq_astro.inference.maps",
    "cosmicray_unet": "cosmiq_astro.cosmicray",
    "cosmicray_vi": "cosmiq_astro.cosmicray",
    "list_models": "cosmiq_astro.models.registry",
    "load_model": "cosmiq_astro.models.model",
    "load_sample": "cosmiq_astro.data",
}
_MODULES = (
    *("batch", "calibration", "catalog", "cleaning", "data", "hit_rates", "hst", "plots"),
    *("review", "simulate", "training"),
)

__all__ = [*sorted(_LAZY), "__version__"]
__getattr__, __dir__ = lazy_names(__name__, _LAZY, _MODULES)
