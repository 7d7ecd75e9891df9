"""Training of new models; nothing on the detection path imports it."""

from cosmiq_astro._lazy import lazy_names

_LAZY = {
    "InjectionDataset": "cosmiq_astro.training.injection",
    "ObservingConditions": "cosmiq_astro.training.simulated",
    "ExposureLabels": "cosmiq_astro.training.labels",
    "PairedDataset": "cosmiq_astro.training.datasets",
    "SimulatedDataset": "cosmiq_astro.training.simulated",
    "TrainingResult": "cosmiq_astro.training.loop",
    "TrainingRun": "cosmiq_astro.training.settings",
    "TrainingSettings": "cosmiq_astro.training.settings",
    "ModelComparison": "cosmiq_astro.training.compare",
    "compare_models": "cosmiq_astro.training.compare",
    "HitLibrary": "cosmiq_astro.training.hits",
    "cut_hits": "cosmiq_astro.training.hits",
    "find_hits": "cosmiq_astro.training.hits",
    "calibrate": "cosmiq_astro.training._calibrate",
    "label_exposures": "cosmiq_astro.training.labels",
    "model_card": "cosmiq_astro.training._calibrate",
    "train": "cosmiq_astro.training.loop",
}

__all__ = sorted(_LAZY)
# The loop needs torch.
__getattr__, __dir__ = lazy_names(__name__, _LAZY)
