"""
Train the bundled models acs-wfc-fast-unet and acs-wfc-fast-vi.

python recipes/acs_wfc_fast.py --data DIR --work DIR [--stage trunk|unet|vi|all]

Half the feature maps of acs-wfc-unet at full resolution and more of them below, on the scenes of
recipes/acs_wfc.py, from random weights.
"""

import acs_wfc
import stages

LIMITS = """\
Narrower than its sibling, for speed, and trained for 14 epochs: it misses about 1.6 times as much,
around crowded galaxies no less than deepCR.
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
        epochs=12,
        last_epochs=2,
        version="2",
        hidden=8,
        growth=3,
        learning_rate=2e-3,
        **acs_wfc.OF_HST,
    )
