"""
Scores on tiles whose scenes are fitted until deepCR scores what it did on its real test set.

Only deepCR's F606W network takes part in the fit; CRNet and L.A.Cosmic are
predicted, untouched, and shown beside their published rates.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from _anchored_frames import CONDITIONS, Maker, shares
from _crnet import crnet
from _peers import model_tool
from _table import write
from astropy.table import Table

FIELDS = ("EX", "GC", "GAL")
FPR = (5e-4, 5e-3)
# Zhang & Bloom 2020, and CRNet's own ROC curves, F606W.
PUBLISHED = {
    "deepCR F606W": {"EX": (0.885, 0.987), "GC": (0.933, 0.995), "GAL": (0.752, 0.912)},
    "CRNet GN": {"EX": (0.873, 0.987), "GC": (0.841, 0.968), "GAL": (0.619, 0.858)},
    "CRNet AttGN": {"EX": (0.867, 0.987), "GC": (0.842, 0.968), "GAL": (0.602, 0.858)},
    "CRNet BN": {"EX": (0.743, 0.930), "GC": (0.793, 0.950), "GAL": (0.559, 0.810)},
    "L.A.Cosmic": {"EX": (0.573, 0.695), "GC": (0.583, 0.739), "GAL": (0.338, 0.534)},
}
_OBJLIM = {"EX": 2.0, "GC": 3.5, "GAL": 5.0}  # as tuned by field in deepCR's paper
_SIGCLIP = (1.0, 1.4, 1.8, 2.2, 2.7, 3.5, 4.5, 6.5, 9, 14, 25, 60)
