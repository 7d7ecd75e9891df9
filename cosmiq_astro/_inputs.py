"""What a detector is given, checked before any work."""

import sys
import warnings

import numpy as np
import torch
from astropy import units as u
from astropy.utils.exceptions import AstropyUserWarning

from cosmiq_astro._counts import check_count
from cosmiq_astro._pixels import refuse_files
from cosmiq_astro.inference.sampling import PLANES, PRECISION, SAMPLING
from cosmiq_astro.models.unet import VIEWS
from cosmiq_astro.preprocess import LARGEST

__all__ = [
    "check_call",
    "check_electrons",
    "check_image",
    "check_precision",
    "check_seed",
    "choose_device",
    "warn_of_bright",
]


def choose_device(device):
    """Return the device of a name; refuse one that cannot be used."""
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        # A tensor without data, as on the device 'meta', cannot be read back.
        torch.empty(1, device=chosen).cpu()
    except (RuntimeError, AssertionError, TypeError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"device {device!r} cannot be used ({reason}); 'auto' takes the best there is"
        ) from error
    return chosen


def check_precision(precision, device):
    """Refuse a precision that is none, and warn of one that the processor can only imitate."""
    if precision not in PRECISION:
        raise ValueError(f"precision must be one of {', '.join(PRECISION)}, got {precision!r}")
    # Older versions of PyTorch do not tell.
    abilities = getattr(torch.cpu, "get_capabilities", dict)()
    imitates = abilities.get("architecture") == "x86_64" and not (
        abilities.get("avx512_bf16") or abilities.get("amx_bf16")
    )
    if precision == "bfloat16" and device.type == "cpu" and imitates:
        warnings.warn(
            "this processor does not compute with bfloat16 but imitates it, many times slower: "
            "give precision='float32'",
            AstropyUserWarning,
            stacklevel=3,
        )


def check_electrons(name, value):
    """Refuse what is not a number of electrons, or None."""
    if value is not None and not (np.ndim(value) == 0 and 0 <= value < np.inf):
        raise ValueError(f"{name} must be a finite number of electrons, 0 or more, got {value!r}")


def check_seed(seed) -> int:
    """Return a seed as an integer; refuse what is none."""
    if not isinstance(seed, (int, np.integer)) or isinstance(seed, bool) or not 0 <= seed < 2**63:
        raise ValueError(f"seed must be an integer in [0, 2**63), got {seed!r}")
    return int(seed)


def check_image(image, mask) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the image as a real 2-D array, which pixels may be used, and which are finite."""
    refuse_files("image", image)
    nddata = sys.modules.get("astropy.nddata")
    if nddata is not None and isinstance(image, nddata.NDData):
        raise TypeError(
            f"image must be an array in electron, got {type(image).__name__}: give it to "
            "cosmicray_vi or cosmicray_unet, which know its unit and mask, or give its data"
        )
    if isinstance(image, u.Quantity):
        if image.unit != u.electron:
            raise ValueError(f"image must be in electron, got unit {str(image.unit)!r}")
        image = image.value
    hidden = np.ma.getmaskarray(image) if isinstance(image, np.ma.MaskedArray) else None
    image = np.asarray(image)
    if image.dtype.kind not in "fiu":
        raise TypeError(f"image must hold real numbers, got dtype {image.dtype}")
    if image.ndim != 2 or image.size == 0:
        raise ValueError(
            f"image must be two-dimensional and not empty, got shape {image.shape}; "
            "call once per plane of a cube"
        )
    finite = np.isfinite(image)
    usable = finite if hidden is None else finite & ~hidden
    if mask is not None:
        mask = np.asarray(mask)
        if mask.shape != image.shape:
            raise ValueError(f"mask has shape {mask.shape}, the image has {image.shape}")
        if mask.dtype.kind not in "bfiu" or not np.isin(mask, (0, 1)).all():
            raise TypeError("mask must be boolean, or hold 0 for good and 1 for bad pixels only")
        usable = usable & ~mask.astype(bool)
    return image, usable, finite


def check_call(T, sampling, views, planes):
    """Refuse settings of a detector's call that are out of their range."""
    check_count("T", T)
    if sampling not in SAMPLING:
        raise ValueError(f"sampling must be one of {', '.join(SAMPLING)}, got {sampling!r}")
    if views not in VIEWS or isinstance(views, bool):
        raise ValueError(f"views must be one of {', '.join(map(str, VIEWS))}, got {views!r}")
    if not set(planes) <= set(PLANES):
        raise ValueError(f"planes must be some of {', '.join(PLANES)}, got {planes!r}")


def warn_of_bright(statistics):
    """Warn of an image that is brighter than any detector's."""
    if statistics.sky >= LARGEST:
        warnings.warn(
            f"most pixels of the image are above {LARGEST:g} electrons, no detector's values: "
            "they are all taken as that, and no cosmic ray is found. Check unit and gain",
            AstropyUserWarning,
            stacklevel=3,
        )
