"""Simulated exposures for `calibration.py`, and the draws of a model on them."""

import numpy as np
from scipy.special import logit

from cosmiq_astro.inference.frame import Frame, to_host
from cosmiq_astro.inference.sampling import Sampler, draw_weights, network_of
from cosmiq_astro.inference.tiling import plan_tiles
from cosmiq_astro.preprocess import estimate_statistics
from cosmiq_astro.simulate import (
    cosmic_ray_footprints,
    expose,
    hst_psf,
    label_from_charge,
    moffat_psf,
    simulate_scene,
)

__all__ = ["FIELDS", "HIT_RATE", "READNOISE", "SETTINGS", "draw_logits", "make_frames"]

FIELDS = ("extragalactic", "globular", "galaxy")
# FWHM of the PSF (pixels; None for HST's own) and thickness of the silicon (micrometres).
SETTINGS = {
    "familiar": (None, 14.0),
    "PSF of 4 pixels": (4.0, 14.0),
    "thick CCD": (None, 100.0),
}
SECONDS = 500.0
READNOISE = 4.5
HIT_RATE = 2.25e-6  # per second and pixel: one per second and cm2, on pixels of 15 um
# Logits are read off float32 probabilities of logits divided by this, or p = 1 would swallow them.
SOFT = 8.0


def make_frames(setting, n, size, seed):
    """Return ``n`` pairs of image and label (NaN where it does not count)."""
    fwhm, thickness = SETTINGS[setting]
    psf = hst_psf(606) if fwhm is None else moffat_psf(fwhm)
    library = cosmic_ray_footprints(3000, seed=seed, thickness=thickness)
    frames = []
    for i in range(n):
        rng = np.random.default_rng([seed, i])
        scene = simulate_scene((size, size), FIELDS[i % len(FIELDS)], psf, seed=rng)
        hits = library.paste((size, size), rng.poisson(HIT_RATE * SECONDS * size**2), rng)
        # As a pipeline leaves them: hot pixels subtracted.
        image, expected, charge = expose(
            scene.rate, SECONDS, hits, seed=rng, readnoise=READNOISE, defects=False
        )
        noise = np.sqrt(np.maximum(expected, 0) + READNOISE**2)
        hit, ignored = label_from_charge(charge, noise)
        frames.append((image, np.where(ignored, np.nan, hit)))
    return frames


def draw_logits(model, image, T, *, sampling="antithetic", seed):
    """Yield the logits of each draw, before any temperature, as the detector sees the image."""
    usable = np.isfinite(image)
    statistics = estimate_statistics(image, usable, readnoise=READNOISE)
    network = model.network
    tiles = plan_tiles(image.shape, 256, halo=network.receptive_radius, grid=network.grid)
    frame = Frame.of(image, usable, statistics, tiles, device=network.head.weight.device)
    if model.method == "unet":
        sampling = "mean"
    views = network.config.views
    for weights in draw_weights(network, T, sampling=sampling, seed=seed):
        one = Sampler(
            network_of(network, weights), [{}], sampling="mean", views=views, temperature=SOFT
        )
        soft = to_host(one.predict(frame, tiles, planes=()).planes)["probability"]
        yield SOFT * logit(np.clip(soft, np.finfo("f4").tiny, 1 - 2.0**-24, dtype=float))
