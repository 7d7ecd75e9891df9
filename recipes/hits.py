"""
The libraries of hits that the models are trained and validated on.

python recipes/hits.py --data DIR --output DIR

DIR of --data holds stis_ccd_1999.fits, wfc3_uvis_dark_hits.fits and itl_cosmic_rays_2017.fits.gz;
of each library one file NAME_training.npz and NAME_validation.npz is written to --output.
"""

import argparse
from pathlib import Path

import numpy as np
import real_hits

from cosmiq_astro.simulate import Footprints, cosmic_ray_footprints

SEEDS = {"training": 20261130, "validation": 20261131}
# Pixels: spread of charge from the illuminated surface, from fully depleted CCDs to old ones.
DIFFUSIONS = (0.12, 0.2, 0.3, 0.45, 0.65, 0.85)
THICKNESSES = np.geomspace(25, 300, 8)  # micrometres
PIXEL = 15.0  # micrometres
SINGLE_MEDIAN, SINGLE_RANGE = 700.0, (60.0, 20_000.0)  # electron


def libraries(part, data):
    """
    Make all libraries of one part, ``'training'`` or ``'validation'``; they share no real hit.

    Returns a dictionary: ``'stis'``, ``'uvis'`` (shapes of masks with charges of ``'stis'``),
    ``'itl'``, ``'tracks-0.12'`` ... simulated in thin silicon by diffusion in pixels, ``'thick'``
    simulated in thick silicon, ``'single'`` artefacts of one pixel.
    """
    seed, data = SEEDS[part], Path(data)
    stis = real_hits.stis_hits(data / "stis_ccd_1999.fits", real_hits.STIS_FRAMES[part])
    uvis = real_hits.uvis_hits(data / "wfc3_uvis_dark_hits.fits", part, stis, seed=seed)
    found = {
        "stis": stis,
        "uvis": uvis,
        "itl": real_hits.itl_hits(data / "itl_cosmic_rays_2017.fits.gz", part),
        "single": single_pixels(5_000, seed),
    }
    for i, width in enumerate(DIFFUSIONS):
        found[f"tracks-{width}"] = cosmic_ray_footprints(
            5_000, seed=[seed, i], pixel_size=PIXEL, diffusion=width * PIXEL
        )
    thick = [
        cosmic_ray_footprints(1_000, seed=[seed, 100 + i], thickness=thickness)
        for i, thickness in enumerate(THICKNESSES)
    ]
    return found | {"thick": Footprints.concatenate(thick)}


def single_pixels(n, seed):
    """Charge in one pixel: log-normal, a factor of five each way, cut to what is ever seen."""
    rng = np.random.default_rng(seed)
    charge = np.empty(0)
    while charge.size < n:
        more = SINGLE_MEDIAN * rng.lognormal(0, np.log(5), n)
        low, high = SINGLE_RANGE
        charge = np.append(charge, more[(more > low) & (more < high)])
    place = np.zeros(n, int)
    return Footprints.from_pixels(np.arange(n), place, place, charge[:n])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    for part in SEEDS:
        for name, library in libraries(part, arguments.data).items():
            library.save(arguments.output / f"{name}_{part}.npz")
            print(f"{name:12} {part:10} {len(library):6} hits, {library.charge.size:8} pixels")


if __name__ == "__main__":
    main()
