"""Simulated exposures: scenes, cosmic rays and detector effects, all from explicit seeds."""

from . import (
    cosmic_rays,
    effects,
    exposure,
    extraction,
    footprints,
    hst_file,
    optics,
    psf,
    scenes,
    truth,
)
from ._fields import Canvas
from .cosmic_rays import *
from .effects import *
from .exposure import *
from .extraction import *
from .footprints import *
from .hst_file import *
from .optics import *
from .psf import *
from .scenes import *
from .truth import *

__all__ = ["Canvas"]
__all__ += cosmic_rays.__all__
__all__ += effects.__all__
__all__ += exposure.__all__
__all__ += extraction.__all__
__all__ += footprints.__all__
__all__ += hst_file.__all__
__all__ += optics.__all__
__all__ += psf.__all__
__all__ += scenes.__all__
__all__ += truth.__all__
