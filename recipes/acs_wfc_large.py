"""
Train the bundled models acs-wfc-large-unet and acs-wfc-large-vi.

python recipes/acs_wfc_large.py --data DIR --work DIR [--stage unet|vi|all]
                                [--device cuda --workers N]

Twice the feature maps of acs-wfc-unet, on the scenes of recipes/acs_wfc.py, from random weights.
"""

import acs_wfc
import stages

LIMITS = """\
Wider than acs-wfc-unet and acs-wfc-vi, it misses less than they do, and takes some three times as
long on a CPU; figures are in the documentation, under Validation and Performance.
"""
TEXTS = acs_wfc.TEXTS | {
    "recipe": "acs_wfc_large.py",
    "limits": LIMITS + acs_wfc.TEXTS["limits"],
}


if __name__ == "__main__":
    stages.run(
        "acs-wfc-large",
        acs_wfc.dataset,
        TEXTS,
        version="1",
        hidden=32,
        **acs_wfc.OF_HST | acs_wfc.LENGTHS,
    )
