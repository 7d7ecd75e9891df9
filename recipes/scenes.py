"""Noise-free scenes for training, many fields and samplings, written once to a .npy file."""

import re
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from astropy.io import fits
from cosmos import cosmos_galaxies

from cosmiq_astro.simulate import hst_psf, moffat_psf, psf_from_image, simulate_scene

SIZE = 512
# Shares of the fields; a blend mixes two of the others. Most hits that a model misses are in
# crowded, bright fields: scenes of two kinds, by density and brightness.
FIELDS = {
    "scenes": {
        "extragalactic": 0.2,
        "globular": 0.32,
        "galaxy": 0.26,
        "nebula": 0.06,
        "blend": 0.16,
    },
    "crowded": {"globular": 0.45, "galaxy": 0.45, "blend": 0.1},
}
LIMITS = {
    "scenes": {},
    "crowded": {"density": (1, 20**0.5), "brightness": (1, 3)},
}
TINYTIM_SCALE = 0.0495
# Charge diffusion in TinyTim's kernels for ACS/WFC: nm, and standard deviation in pixels.
DIFFUSION = ((435, 475, 555, 606, 625, 775, 814), (0.61, 0.59, 0.53, 0.50, 0.49, 0.46, 0.44))
# Pixels of ACS/WFC, WFC3/UVIS and ACS/HRC, and how often each is drawn for the HST models.
HST_SCALES = {0.05: 0.6, 0.04: 0.2, 0.027: 0.2}


def draw_diffusion(rng, wavelength):
    """Draw the charge diffusion (pixels) at a wavelength in nm."""
    return np.interp(wavelength, *DIFFUSION) * rng.uniform(0.9, 1.1)


def draw_psf(rng, data):
    """Draw a PSF: TinyTim or a pupil for HST, a Moffat profile for other telescopes."""
    if rng.random() < 0.6:
        psf = moffat_psf(
            np.exp(rng.uniform(np.log(1.2), np.log(6))),
            beta=rng.uniform(2.5, 4.5),
            ellipticity=rng.uniform(0, 0.15),
            angle=rng.uniform(0, np.pi),
        )
    elif rng.random() < 0.4:
        path = rng.choice(sorted(Path(data, "tinytim_acs_wfc").glob("*.fits.gz")))
        image = fits.getdata(path).astype(float)
        wavelength = int(re.search(r"_f(\d+)", path.name)[1])
        psf = psf_from_image(
            image,
            TINYTIM_SCALE,
            pixel_scale=0.05,
            charge_diffusion=draw_diffusion(rng, wavelength),
        )
    else:
        wavelength = rng.uniform(400, 900)
        psf = hst_psf(
            wavelength,
            pixel_scale=rng.choice(list(HST_SCALES), p=list(HST_SCALES.values())),
            defocus=rng.normal(0, 0.04),
            astigmatism=rng.normal(0, 0.02),
            coma=rng.normal(0, 0.02),
            jitter=abs(rng.normal(0, 0.008)),
            charge_diffusion=draw_diffusion(rng, wavelength),
        )
    if rng.random() < 0.06:
        psf = psf.trailed(rng.uniform(1, 10), rng.uniform(0, np.pi))
    return psf


def draw_scene(seed, data, kind):
    """Draw one scene: field, PSF, density and brightness."""
    rng = np.random.default_rng(seed)
    galaxies = cosmos_galaxies(Path(data, "cosmos2020_sample.fits.gz"))
    field = rng.choice(list(FIELDS[kind]), p=list(FIELDS[kind].values()))
    scene = simulate_scene(
        (SIZE, SIZE),
        field,
        draw_psf(rng, data),
        seed=rng,
        galaxies=galaxies if rng.random() < 0.7 else None,
        n_trails=int(rng.random() < 0.06),
        **{name: np.exp(rng.uniform(*np.log(ends))) for name, ends in LIMITS[kind].items()},
    )
    return scene.rate


def all_kinds(part, work, numbers, *, data, seed):
    """Return the scenes of one part; ``numbers`` are how many of each kind, in their order."""
    scenes = []
    for i, (kind, n) in enumerate(zip(FIELDS, numbers, strict=True)):
        path = Path(work, f"{kind}_{part}.npy")
        scenes += [*build_scenes(path, n, kind, data=data, seed=seed + 100 * i)]
    return scenes


def build_scenes(path, n, kind, *, data, seed):
    """Write ``n`` scenes to ``path``, shape (n, 512, 512) float16, unless they are there."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        seeds = np.random.SeedSequence(seed).generate_state(n)
        with ProcessPoolExecutor(2) as pool:
            jobs = [pool.submit(draw_scene, int(s), str(data), kind) for s in seeds]
            # Three digits, far below the noise of any exposure, for half the disk.
            np.save(path, np.stack([job.result().astype(np.float16) for job in jobs]))
    return np.load(path, mmap_mode="r")
