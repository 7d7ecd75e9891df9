"""The public names for type checkers and editors; `__init__.py` imports them on first use."""

from cosmiq_astro import batch as batch
from cosmiq_astro import calibration as calibration
from cosmiq_astro import catalog as catalog
from cosmiq_astro import cleaning as cleaning
from cosmiq_astro import data as data
from cosmiq_astro import hit_rates as hit_rates
from cosmiq_astro import hst as hst
from cosmiq_astro import plots as plots
from cosmiq_astro import review as review
from cosmiq_astro import simulate as simulate
from cosmiq_astro import training as training
from cosmiq_astro.cosmicray import cosmicray_unet as cosmicray_unet
from cosmiq_astro.cosmicray import cosmicray_vi as cosmicray_vi
from cosmiq_astro.data import load_sample as load_sample
from cosmiq_astro.detector import CosmicRayDetector as CosmicRayDetector
from cosmiq_astro.inference.maps import CosmicRayMaps as CosmicRayMaps
from cosmiq_astro.models.model import load_model as load_model
from cosmiq_astro.models.registry import list_models as list_models
from cosmiq_astro.nddata import CosmicRayCCDData as CosmicRayCCDData

__version__: str
__all__: list[str]
