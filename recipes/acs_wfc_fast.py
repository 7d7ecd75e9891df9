"""
Train the bundled model acs-wfc-fast-unet: half the feature maps, a third of the time.

python recipes/acs_wfc_fast.py --data DIR --work DIR

As recipes/acs_wfc.py, on the same scenes and hits, but with 8 feature maps at the first level in
place of 16, and from random weights.
"""

import acs_wfc
import stages

from cosmiq_astro.training import ObservingConditions

if __name__ == "__main__":
    stages.run(
        "acs-wfc-fast",
        acs_wfc.dataset,
        acs_wfc.TEXTS | {"recipe": "acs_wfc_fast.py"},
        epochs=18,
        stages={"unet": {"learning_rate": 2e-3, "hidden": 8}},
        instrument=acs_wfc.INSTRUMENT,
        version="1",
        conditions=ObservingConditions(),
    )
