"""The public names for type checkers and editors; `__init__.py` imports them on first use."""

from cosmiq_astro.training._calibrate import calibrate as calibrate
from cosmiq_astro.training._calibrate import model_card as model_card
from cosmiq_astro.training.compare import ModelComparison as ModelComparison
from cosmiq_astro.training.compare import compare_models as compare_models
from cosmiq_astro.training.datasets import PairedDataset as PairedDataset
from cosmiq_astro.training.hits import HitLibrary as HitLibrary
from cosmiq_astro.training.hits import cut_hits as cut_hits
from cosmiq_astro.training.hits import find_hits as find_hits
from cosmiq_astro.training.injection import InjectionDataset as InjectionDataset
from cosmiq_astro.training.labels import ExposureLabels as ExposureLabels
from cosmiq_astro.training.labels import label_exposures as label_exposures
from cosmiq_astro.training.loop import TrainingResult as TrainingResult
from cosmiq_astro.training.loop import train as train
from cosmiq_astro.training.settings import TrainingRun as TrainingRun
from cosmiq_astro.training.settings import TrainingSettings as TrainingSettings
from cosmiq_astro.training.simulated import ObservingConditions as ObservingConditions
from cosmiq_astro.training.simulated import SimulatedDataset as SimulatedDataset

__all__: list[str]
