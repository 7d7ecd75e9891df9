"""
Train the bundled models acs-wfc-fast-unet and acs-wfc-fast-vi.

python recipes/acs_wfc_fast.py --data DIR --work DIR [--init NAME] [--stage unet|vi|all]
                               [--device cuda --workers N]

Half the feature maps of acs-wfc-unet at full resolution and more of them below, on the scenes of
recipes/acs_wfc.py. Version 4 began from version 3 (--init acs-wfc-fast-unet, as it was in
commit 9dcf0a7), and that from random weights.
"""

import acs_wfc

LIMITS = """\
Narrower than acs-wfc-unet and acs-wfc-vi, for speed, it misses more than they do; how much more is
in the documentation, under Validation.
"""

if __name__ == "__main__":
    acs_wfc.train_family(
        "acs-wfc-fast",
        "4",
        recipe="acs_wfc_fast.py",
        limits=LIMITS,
        hidden=8,
        growth=3,
    )
