"""What the training sees: sources before the optics, and optics of many telescopes."""

from pathlib import Path

import numpy as np
from astropy.io import fits
from cosmos import cosmos_galaxies

from cosmiq_astro.simulate import draw_sources, hst_psf, moffat_psf, psf_from_image

SIZE, MARGIN = 192, 48
# Most hits that a model misses are in crowded, bright fields: shares of the kinds of scene, with
# the shares of their fields and the limits of density and brightness. A blend mixes two fields.
KINDS = {
    0.4: (
        {
            "extragalactic": 0.2,
            "globular": 0.32,
            "galaxy": 0.26,
            "nebula": 0.06,
            "blend": 0.16,
        },
        {},
    ),
    0.32: (
        {"globular": 0.45, "galaxy": 0.45, "blend": 0.1},
        {"density": (1, 20**0.5), "brightness": (1, 3)},
    ),
    0.28: ({"globular": 0.5, "galaxy": 0.5}, {"density": (2, 8), "brightness": (1, 4)}),
}
TINYTIM_SCALE = 0.0495
# Arcseconds per pixel of ACS/WFC, WFC3/UVIS, ACS/HRC, WFPC2's chips and between, and how often
# each is drawn.
HST_SCALES = {0.05: 0.42, 0.04: 0.2, 0.027: 0.1, 0.07: 0.12, 0.1: 0.16}
# Charge diffusion, standard deviation in pixels: none now and then, as a narrow core with wide
# wings is not a wide core; and the most that a star's peak pixel may hold of its light.
DIFFUSION, NO_DIFFUSION = (0.12, 0.85), 0.15
SHARPEST = 0.42
# Where far spikes are asked for: the share of planes with stars so bright, electron per second,
# that their diffraction spikes are seen as far as the optics of HST reach, in pixels.
BRIGHT, BRIGHT_STARS, REACH = 0.35, (3e3, 3e5), 96


def draw_plane(seed, data, far_spikes):
    """Draw sources on a fine canvas: an array for `SimulatedDataset`."""
    rng = np.random.default_rng(seed)
    fields, limits = list(KINDS.values())[rng.choice(len(KINDS), p=list(KINDS))]
    galaxies = cosmos_galaxies(Path(data, "cosmos2020_sample.fits.gz"))
    sources = draw_sources(
        (SIZE, SIZE),
        rng.choice(list(fields), p=list(fields.values())),
        seed=rng,
        galaxies=galaxies if rng.random() < 0.7 else None,
        n_trails=int(rng.random() < 0.06),
        margin=MARGIN,
        **{name: np.exp(rng.uniform(*np.log(ends))) for name, ends in limits.items()},
    )
    plane = sources.plane()
    if far_spikes and rng.random() < BRIGHT:
        n = 1 + rng.poisson(1)
        points = rng.integers(0, plane.shape, (n, 2))
        flux = np.exp(rng.uniform(*np.log(BRIGHT_STARS), n))
        np.add.at(plane, tuple(points.T), sources.canvas.oversampling**2 * flux)
    return plane


def draw_hst_psf(seed, data, far_spikes):
    """Draw optics of HST, from TinyTim or from a pupil, with charge diffusion of many detectors."""
    rng = np.random.default_rng(seed)
    while True:
        psf = _hst_psf(rng, data, far_spikes)
        if psf.kernel().max() < SHARPEST:
            return _trailed(psf, rng)


def _hst_psf(rng, data, far_spikes):
    scale = rng.choice(list(HST_SCALES), p=list(HST_SCALES.values()))
    diffusion = np.exp(rng.uniform(*np.log(DIFFUSION))) * (rng.random() > NO_DIFFUSION)
    if rng.random() < 0.3:
        path = rng.choice(sorted(Path(data, "tinytim_acs_wfc").glob("*.fits.gz")))
        return psf_from_image(
            fits.getdata(path).astype(float),
            TINYTIM_SCALE,
            pixel_scale=max(scale, TINYTIM_SCALE) * rng.uniform(1, 1.4),
            charge_diffusion=diffusion,
        )
    return hst_psf(
        rng.uniform(300, 950),
        pixel_scale=scale,
        defocus=rng.normal(0, 0.04),
        astigmatism=rng.normal(0, 0.02),
        coma=rng.normal(0, 0.02),
        jitter=abs(rng.normal(0, 0.008)),
        charge_diffusion=diffusion,
        spike_angle=rng.uniform(0, np.pi / 2) if far_spikes else np.pi / 4,
        radius=REACH if far_spikes else MARGIN,
    )


def draw_ground_psf(seed, data, far_spikes):
    """Draw a Moffat profile."""
    rng = np.random.default_rng(seed)
    psf = moffat_psf(
        np.exp(rng.uniform(np.log(1.2), np.log(6.5))),
        beta=rng.uniform(2.5, 4.5),
        ellipticity=rng.uniform(0, 0.2),
        angle=rng.uniform(0, np.pi),
        radius=MARGIN,
    )
    return _trailed(psf, rng)


def _trailed(psf, rng):
    if rng.random() < 0.1:
        return psf.trailed(np.exp(rng.uniform(0, np.log(20))), rng.uniform(0, np.pi))
    return psf
