"""HST files: chips read with the right DQ, unit and mask; detections written beside them."""

from cosmiq_astro.hst.chips import Chip, find_chips, read_chip
from cosmiq_astro.hst.detect import detect_file
from cosmiq_astro.hst.instruments import INSTRUMENTS, Instrument, Readout, identify, readout
from cosmiq_astro.hst.plan import ChipPlan, FilePlan, plan_file
from cosmiq_astro.hst.results import ChipResult, FileResult

__all__ = [
    "INSTRUMENTS",
    "Chip",
    "ChipPlan",
    "ChipResult",
    "FilePlan",
    "FileResult",
    "Instrument",
    "Readout",
    "detect_file",
    "find_chips",
    "identify",
    "plan_file",
    "read_chip",
    "readout",
]
