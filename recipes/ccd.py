"""
Train the bundled models ccd-unet and ccd-vi, for CCDs in general.

python recipes/ccd.py --data DIR --work DIR [--init acs-wfc-unet] [--stage unet|vi|all]

As recipes/acs_wfc.py, whose version 4 they began from (--init), with wider ranges of everything:
PSFs of 1.2 to 6 pixels, brighter skies, more read noise, hits in silicon of 14 to 300 micrometres.
Version 1 was trained as this script had it in commit 2a53cd4: 14 epochs, and 3 more for each model.
DIR of --data holds itl_cosmic_rays_2017.fits.gz as well.
"""

from pathlib import Path

import numpy as np
import real_hits
import scenes
import stages

from cosmiq_astro.simulate import Footprints, cosmic_ray_footprints
from cosmiq_astro.training import ObservingConditions, SimulatedDataset

# Scenes, and more of crowded fields.
N_SCENES = {"training": (192, 144), "validation": (32, 24)}
SEEDS = {"training": 20261126, "validation": 20261127}
FRAMES = {"training": real_hits.STIS_TRAINING, "validation": real_hits.STIS_VALIDATION}
# Shares of the hits: real ones of STIS and of a thick CCD of LSST, simulated ones in thinned and in
# thick silicon.
SHARES = {"stis": 0.3, "itl": 0.15, "thin": 0.25, "thick": 0.3}
THICKNESSES = np.geomspace(25, 300, 8)  # micrometres
CONDITIONS = ObservingConditions(
    exposure_time=(1.0, 2000.0),
    sky_rate=(0.01, 10.0),
    readnoise=(2.0, 12.0),
    full_well=(30_000.0, 250_000.0),
    brightness=(0.2, 5.0),
    hit_scale=(0.4, 2.5),
    trap_density=(0.0, 0.3),
)
TEXTS = {
    "recipe": "ccd.py",
    "of": " of CCDs in general",
    "start": "version 4 of acs-wfc-unet",
    "data": f"""\
Simulated exposures only, but for real hits. {N_SCENES["training"][0]} noise-free scenes of 512 x
512 by `recipes/scenes.py` (extragalactic fields, globular clusters, resolved galaxies, nebulae,
blends), and {N_SCENES["training"][1]} of crowded and bright clusters and galaxies; 60 % with Moffat
PSFs of 1.2 to 6 pixels (FWHM), 40 % with PSFs of HST; a few trailed exposures and satellite trails;
exposed anew each time a patch was drawn: 1-2,000 s (uniform in the square root), sky 0.01-10 e/s,
read noise 2-12 e, saturation, bleeding, charge-transfer trails, warm and hot pixels, bias steps,
bad columns, gain off by up to 25 %. Hits: 30 % cut from seven HST/STIS CCD exposures of 1999
(proposal 7353), 15 % from darks of a 100 micrometre thick LSST CCD (every other one), 25 %
simulated in 14 micrometres of silicon and 30 % in 25 to 300, turned, flipped and scaled by 0.4-2.5.
Scenes and hits of the validation set were not trained on.""",
    "validation": """\
Simulated scenes with hits in the same shares, all conditions above; the real hits are those of two
held-out STIS exposures and the other half of the thick CCD's.""",
    "limits": """\
A score on simulated scenes is exactly that. Drizzled or sky-subtracted images, infrared arrays and
units other than electrons were not trained on; the PSF is round, or that of HST.""",
}


def dataset(part, data, work):
    """Return the simulated exposures of one part; hits and scenes of the parts never overlap."""
    seed = SEEDS[part]
    rates = scenes.all_kinds(part, work, N_SCENES[part], data=data, seed=seed, generic=True)
    thick = [
        cosmic_ray_footprints(1_000, seed=np.random.default_rng([seed, i]), thickness=thickness)
        for i, thickness in enumerate(THICKNESSES)
    ]
    libraries = {
        "stis": real_hits.stis_hits(Path(data, "stis_ccd_1999.fits"), FRAMES[part]),
        "itl": real_hits.itl_hits(Path(data, "itl_cosmic_rays_2017.fits.gz"), part),
        "thin": cosmic_ray_footprints(10_000, seed=seed),
        "thick": Footprints.concatenate(thick),
    }
    return SimulatedDataset(
        rates,
        [(library, SHARES[name]) for name, library in libraries.items()],
        conditions=CONDITIONS,
    )


if __name__ == "__main__":
    stages.run(
        "ccd",
        dataset,
        TEXTS,
        epochs=17,
        vi_epochs=3,
        instrument="CCDs in general",
        version="1",
        conditions=CONDITIONS,
        knows_hits=False,
    )
