"""
Cosmic rays in single CCD exposures, with an honest word on each pixel.

`cosmiq_astro` finds cosmic-ray hits in one exposure with a U-Net. The
variational network (`cosmicray_vi`) draws its weights several times and
reports, beside the mask, the probability of a hit, its standard deviation
over the draws, its entropy and the mutual information; `cosmicray_unet` is
the deterministic baseline.
"""

import importlib

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


def __getattr__(name):
    """Import the public names and modules on first use (PEP 562)."""
    if name in _LAZY:
        value = getattr(importlib.import_module(_LAZY[name]), name)
        globals()[name] = value
        return value
    if name in _MODULES:
        return importlib.import_module(f"cosmiq_astro.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted([*__all__, *_MODULES, "__doc__", "__file__", "__name__", "__path__"])
