"""
Whether the probabilities can be believed: calibration and uncertainty diagnostics.

Every function takes two arrays, or a `~astropy.table.Table` with the columns
``probability`` and ``label`` (and optional ``weight``, ``group``,
``uncertainty``, ``image``), or a list of detection results and a list of
truth images; tables come back as `~astropy.table.QTable`.
`CalibrationAccumulator` counts any number of pixels in fixed memory and has
methods of the same names.
"""

from . import accumulator, hits, metrics, montecarlo, plots, recalibrate, report, tables, thresholds
from .accumulator import *
from .hits import *
from .metrics import *
from .montecarlo import *
from .plots import *
from .recalibrate import *
from .report import *
from .tables import *
from .thresholds import *

_MODULES = (accumulator, hits, metrics, montecarlo, plots, recalibrate, report, tables, thresholds)

__all__ = [name for module in _MODULES for name in module.__all__]
