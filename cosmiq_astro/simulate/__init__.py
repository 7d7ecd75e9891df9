"""Simulated exposures: scenes, cosmic rays and detector effects, all from explicit seeds."""

from cosmiq_astro.simulate._fields import Canvas
from cosmiq_astro.simulate.cosmic_rays import cosmic_ray_footprints, simulate_cosmic_rays
from cosmiq_astro.simulate.detector import (
    add_noise,
    apply_saturation,
    bad_columns,
    bias_steps,
    cte_trails,
    flat_residual,
    hot_pixels,
    warm_pixels,
)
from cosmiq_astro.simulate.exposure import ExposureTruth, expose, simulate_exposure
from cosmiq_astro.simulate.extraction import extract_footprints
from cosmiq_astro.simulate.footprints import Footprints
from cosmiq_astro.simulate.hst_file import simulate_hst_file
from cosmiq_astro.simulate.labels import label_from_charge
from cosmiq_astro.simulate.optics import hst_psf, moffat_psf, psf_from_image
from cosmiq_astro.simulate.psf import PSF
from cosmiq_astro.simulate.scenes import FIELDS, Scene, Sources, draw_sources, simulate_scene

__all__ = [
    "FIELDS",
    "PSF",
    "Canvas",
    "ExposureTruth",
    "Footprints",
    "Scene",
    "Sources",
    "add_noise",
    "apply_saturation",
    "bad_columns",
    "bias_steps",
    "cosmic_ray_footprints",
    "cte_trails",
    "draw_sources",
    "expose",
    "extract_footprints",
    "flat_residual",
    "hot_pixels",
    "hst_psf",
    "label_from_charge",
    "moffat_psf",
    "psf_from_image",
    "simulate_cosmic_rays",
    "simulate_exposure",
    "simulate_hst_file",
    "simulate_scene",
    "warm_pixels",
]
