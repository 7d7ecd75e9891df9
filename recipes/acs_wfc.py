"""
Train the bundled models acs-wfc-unet and acs-wfc-vi.

python recipes/acs_wfc.py --data DIR --work DIR [--init NAME] [--stage unet|vi|all]
                          [--device cuda --workers N]

DIR of --data holds stis_ccd_1999.fits, tinytim_acs_wfc/ and cosmos2020_sample.fits.gz;
--work keeps scenes, checkpoints and histories, so that an interrupted run goes on. Version 6 was
made by this file as it was in commit 9dcf0a7, by 32 epochs of 288 scenes of each kind, from
version 5 (--init acs-wfc-unet, as it was in commit 2a53cd4), that from version 4 (690ead6), that
from version 3 (5ca8a30), that from version 2 (25b0a3f), and that from version 1 (7fec865). The
wider and the narrower models were trained on with what is here. Without --init the weights begin
at random, and need some 40 --epochs.
"""

from pathlib import Path

import real_hits
import scenes
import stages

from cosmiq_astro.simulate import cosmic_ray_footprints
from cosmiq_astro.training import ObservingConditions, SimulatedDataset

# Scenes, crowded ones, and dense and bright ones.
N_SCENES = {"training": (384, 384, 384), "validation": (48, 24)}
N_PLAIN, N_CROWDED, N_DENSE = N_SCENES["training"]
SEEDS = {"training": 20261124, "validation": 20261125}
FRAMES = {"training": real_hits.STIS_TRAINING, "validation": real_hits.STIS_VALIDATION}
STIS_SHARE = 0.6
TEXTS = {
    "of": " of HST's ACS/WFC, and ACS/HRC and WFC3/UVIS",
    "start": "the version before of the same baseline\n(in the history of the repository)",
    "data": f"""\
No labelled ACS/WFC exposure was used. {N_PLAIN} noise-free scenes of 512 x 512
pixels simulated by `recipes/scenes.py` (extragalactic fields with COSMOS2020 sizes and fluxes,
globular clusters, resolved galaxies, nebulae, blends; TinyTim ACS/WFC and computed HST PSFs at
0.05, 0.04 and 0.027 arcsec per pixel; a few trailed exposures and satellite trails), and
{N_CROWDED} more of crowded and bright clusters and galaxies and {N_DENSE} of dense ones, exposed
anew each time a patch was drawn: 10-2,000 s (uniform in the square root), sky 0.01-0.5 e/s, read
noise 3-6 e, saturation, bleeding, charge-transfer trails, warm and hot pixels, bias steps, bad
columns, gain off by up to 25 %.
Hits: 60 % cut from seven HST/STIS CCD exposures of 1999 (proposal 7353), turned, flipped and
scaled by 0.5-2; 40 % simulated. Scenes, STIS exposures and simulated hits of the validation set
were not trained on; the parameters of the simulated hits were fitted to STIS exposures that
include the two held out here.""",
    "validation": """\
Simulated scenes with hits of two held-out STIS exposures (60 %) and simulated hits (40 %), all
conditions above; both halves draw on the same two STIS exposures.""",
    "limits": """\
A score on simulated scenes with real STIS hits is exactly that. Other instruments, thick CCDs,
ground-based images, drizzled or sky-subtracted images and units other than electrons lie outside
the training range; there the probability need not be calibrated.""",
}


def dataset(part, data, work):
    """Return the simulated exposures of one part; hits and scenes of the parts never overlap."""
    rates = scenes.all_kinds(part, work, N_SCENES[part], data=data, seed=SEEDS[part])
    stis = real_hits.stis_hits(Path(data, "stis_ccd_1999.fits"), FRAMES[part])
    simulated = cosmic_ray_footprints(20_000, seed=SEEDS[part])
    return SimulatedDataset(rates, [(stis, STIS_SHARE), (simulated, 1 - STIS_SHARE)])


def train_family(family, version, *, recipe, limits="", **network):
    """Train a baseline and its variational model on these scenes; all families alike."""
    stages.run(
        family,
        dataset,
        TEXTS | {"recipe": recipe, "limits": limits + TEXTS["limits"]},
        version=version,
        instrument="HST ACS/WFC, ACS/HRC, WFC3/UVIS",
        conditions=ObservingConditions(),
        epochs=7,
        vi_epochs=1,
        batch_size=16,
        learning_rate=2e-3,
        **network,
    )


if __name__ == "__main__":
    train_family("acs-wfc", "6", recipe="acs_wfc.py")
