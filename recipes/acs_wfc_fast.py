"""
Train the bundled models acs-wfc-fast-unet and acs-wfc-fast-vi, half as wide as acs-wfc-unet.

python recipes/acs_wfc_fast.py --data DIR --work DIR [--stage trunk|unet|vi|all]

On the scenes of recipes/acs_wfc.py, from random weights.
"""

import acs_wfc
import stages

LIMITS = """\
Half as wide as its sibling, for speed, and trained for ten epochs: it misses about twice as much,
in sparse fields and around galaxies no less than deepCR.
"""
TEXTS = acs_wfc.TEXTS | {
    "recipe": "acs_wfc_fast.py",
    "limits": LIMITS + acs_wfc.TEXTS["limits"],
}


if __name__ == "__main__":
    stages.run(
        "acs-wfc-fast",
        acs_wfc.dataset,
        TEXTS,
        epochs=8,
        last_epochs=2,
        version="1",
        hidden=8,
        learning_rate=2e-3,
        **acs_wfc.OF_HST,
    )
