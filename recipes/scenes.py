"""Noise-free scenes for training, many fields and samplings, written once to a .npy file."""

from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.table import Table

from cosmiq_astro.simulate import hst_psf, moffat_psf, psf_from_image, simulate_scene

SIZE = 512
# Shares of the fields; a blend mixes two of the others.
FIELDS = {"extragalactic": 0.28, "globular": 0.27, "galaxy": 0.2, "nebula": 0.08, "blend": 0.17}
TINYTIM_SCALE = 0.0495
# Pixels of ACS/WFC, WFC3/UVIS and ACS/HRC, and how often each is drawn for the HST models.
HST_SCALES = {0.05: 0.6, 0.04: 0.2, 0.027: 0.2}


def cosmos_galaxies(path):
    """Return sizes (pixels of 0.05 arcsec) and rates (electron / s) of COSMOS2020 galaxies."""
    table = Table.read(path)
    radius = np.asarray(table["FLUX_RADIUS"], dtype=float) * 0.15 / 0.05
    flux = np.asarray(next(table[c] for c in table.colnames if "r_" in c.lower()), dtype=float)
    good = np.isfinite(radius) & np.isfinite(flux) & (flux > 0) & (radius > 0)
    # ACS/WFC in F606W: AB zero point 26.5 mag for one electron per second; 23.9 mag is 1 microJy.
    return {"radius": radius[good], "flux": flux[good] * 10 ** (0.4 * (26.5 - 23.9))}


def draw_psf(rng, data, generic):
    """Draw a PSF: TinyTim or a pupil for HST, a Moffat profile for other telescopes."""
    if generic and rng.random() < 0.6:
        psf = moffat_psf(
            np.exp(rng.uniform(np.log(1.2), np.log(6))),
            beta=rng.uniform(2.5, 4.5),
            ellipticity=rng.uniform(0, 0.15),
            angle=rng.uniform(0, np.pi),
        )
    elif rng.random() < 0.4:
        path = rng.choice(sorted(Path(data, "tinytim_acs_wfc").glob("*.fits.gz")))
        image = fits.getdata(path).astype(float)
        psf = psf_from_image(
            image, TINYTIM_SCALE, pixel_scale=0.05, charge_diffusion=rng.uniform(0.3, 0.55)
        )
    else:
        psf = hst_psf(
            rng.uniform(400, 900),
            pixel_scale=rng.choice(list(HST_SCALES), p=list(HST_SCALES.values())),
            defocus=rng.normal(0, 0.04),
            astigmatism=rng.normal(0, 0.02),
            coma=rng.normal(0, 0.02),
            jitter=abs(rng.normal(0, 0.008)),
            charge_diffusion=rng.uniform(0.3, 0.55),
        )
    if rng.random() < 0.06:
        psf = psf.trailed(rng.uniform(1, 10), rng.uniform(0, np.pi))
    return psf


def draw_scene(seed, data, generic):
    """Draw one scene: field, PSF, density and brightness."""
    rng = np.random.default_rng(seed)
    galaxies = cosmos_galaxies(Path(data, "cosmos2020_sample.fits.gz"))
    field = rng.choice(list(FIELDS), p=list(FIELDS.values()))
    scene = simulate_scene(
        (SIZE, SIZE),
        field,
        draw_psf(rng, data, generic),
        seed=rng,
        galaxies=galaxies if rng.random() < 0.7 else None,
        n_trails=int(rng.random() < 0.06),
    )
    return scene.rate


def build_scenes(path, n, *, data, seed, generic=False, processes=2):
    """Write ``n`` scenes to ``path``, shape (n, 512, 512) float32, unless they are there."""
    path = Path(path)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        seeds = np.random.SeedSequence(seed).generate_state(n)
        with ProcessPoolExecutor(processes) as pool:
            jobs = [pool.submit(draw_scene, int(s), str(data), generic) for s in seeds]
            scenes = np.stack([job.result() for job in jobs])
        np.save(path, scenes)
    return np.load(path, mmap_mode="r")
