"""
Train the bundled models acs-wfc-large-unet and acs-wfc-large-vi.

python recipes/acs_wfc_large.py --data DIR --work DIR [--init NAME] [--stage unet|vi|all]
                                [--device cuda --workers N]

Twice the feature maps of acs-wfc-unet, on the scenes of recipes/acs_wfc.py. Version 2
began from version 1 (--init acs-wfc-large-unet, as it was in commit 9dcf0a7), and that from random
weights. Version 3 of the variational model is version 2 with the means set back to the weights of
the baseline, which is still version 2.
"""

import acs_wfc

LIMITS = """\
Wider than acs-wfc-unet and acs-wfc-vi, it misses less than they do, and takes three to four times
as long on a CPU; figures are in the documentation, under Validation and Performance.
"""

if __name__ == "__main__":
    acs_wfc.train_family(
        "acs-wfc-large",
        "3",
        recipe="acs_wfc_large.py",
        limits=LIMITS,
        hidden=32,
        views=4,
        keep_means=False,
    )
