"""
Train the bundled models acs-wfc-fast-unet and acs-wfc-fast-vi, half as wide as acs-wfc-unet.

python recipes/acs_wfc_fast.py --data DIR --work DIR [--stage trunk|unet|vi|all]

On the scenes of recipes/acs_wfc.py, from random weights.
"""

import acs_wfc
import stages

from cosmiq_astro.training import ObservingConditions

TEXTS = acs_wfc.TEXTS | {"recipe": "acs_wfc_fast.py"}


if __name__ == "__main__":
    stages.run(
        "acs-wfc-fast",
        acs_wfc.dataset,
        TEXTS,
        epochs=8,
        last_epochs=2,
        instrument="HST ACS/WFC, ACS/HRC, WFC3/UVIS",
        version="1",
        conditions=ObservingConditions(),
        hidden=8,
        learning_rate=2e-3,
    )
