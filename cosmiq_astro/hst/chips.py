"""One chip of an HST file, or a simple image, as CCDData: the right DQ, unit, mask and header."""

from __future__ import annotations

import math
import re
import warnings
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from astropy.io import fits
from astropy.nddata import CCDData, InverseVariance, StdDevUncertainty, VarianceUncertainty
from astropy.utils.exceptions import AstropyUserWarning
from astropy.wcs import WCS, FITSFixedWarning, WcsError

from cosmiq_astro._io import readable
from cosmiq_astro.hst.headers import merged_header, unit_of, wcs_cards
from cosmiq_astro.hst.instruments import identify, overscan
from cosmiq_astro.hst.names import quality_beside
from cosmiq_astro.hst.waivered import as_extensions
from cosmiq_astro.nddata import PLANES, CosmicRayCCDData

if TYPE_CHECKING:
    from astropy import units as u

__all__ = ["Chip", "find_chips", "left_out", "plane_shape", "read_chip"]

# Names of masks and of errors, the first that there are as many of as images wins.
_MASKS = ("MASK", "BPM", "DQ")
_ERRORS = ("UNCERT", "ERR")
_KINDS = {kind.__name__: kind for kind in (StdDevUncertainty, VarianceUncertainty, InverseVariance)}
# What CCDData and this package write beside an image.
_KNOWN_COMPANIONS = ("MASK", "UNCERT", "PSFIMAGE", *PLANES.values())
# Names of what is no image of the sky.
_COMPANION = re.compile(
    r"(MASK|BPM|DQ|FLAGS?|TRUTH|LABEL|IGNORE|UNCERT|PSF|ERR|ERROR|SIG|SIGMA|STD|STDEV|RMS|VAR|IVAR"
    r"|WHT|WEIGHT|WGT|EXP|CTX|SKY|BKG|BACK|BACKGROUND|BIAS|DARK|FLAT|OVERSCAN|"
    + "|".join(PLANES.values())
    + r")(\W|_|\d|$)"
)


@dataclass(frozen=True)
class Chip:
    """
    Where the pixels of one chip lie in a file.

    Attributes
    ----------
    extver : int
        Number of the chip, as SCI, ERR and DQ have it.
    sci : int
        Index of the HDU with the image.
    err : int or None
        Index of the HDU with its standard deviation; of a simple image,
        ``UNCERT``, as `~astropy.nddata.CCDData` writes it, or ``ERR``.
    dq : int or None
        Index of the HDU with its data-quality bits; of a simple image, with
        its mask (``MASK``, as `~astropy.nddata.CCDData` writes it, ``BPM`` or
        ``DQ``), where 0 is good.
    dq_file : `~pathlib.Path` or None
        The file that ``dq`` lies in, if another one (WFPC2).
    is_hst : bool
        False for a simple image, of a file without ``SCI``.
    """

    extver: int
    sci: int
    err: int | None = None
    dq: int | None = None
    dq_file: Path | None = None
    is_hst: bool = True


def find_chips(file: str | PathLike, hdus: fits.HDUList) -> tuple[Chip, ...]:
    """
    List the chips of an open file.

    Parameters
    ----------
    file : path-like
        Its name; WFPC2's data-quality file is looked for beside it.
    hdus : `~astropy.io.fits.HDUList`
        Its contents.

    Returns
    -------
    chips : tuple of `Chip`
        One for every ``SCI`` that has data. In a file without ``SCI``, one for
        every two-dimensional image (further axes of length 1 do not count) of the first
        one's shape and unit whose name is not that of an error, a weight or a mask,
        numbered from 1. A mask of each,
        in the same order, is taken from ``MASK``, else ``BPM``, else ``DQ``.

    Raises
    ------
    ValueError
        If there is no image.
    """
    index = {(hdu.name, hdu.ver): number for number, hdu in enumerate(hdus)}
    versions = [hdu.ver for hdu in hdus if hdu.name == "SCI" and plane_shape(hdu) is not None]
    if versions:
        is_wfpc2 = identify(hdus[0].header).name == "WFPC2"
        has_dq = any(hdu.name == "DQ" for hdu in hdus)
        dq_file = quality_beside(Path(file)) if is_wfpc2 and not has_dq else None
        if dq_file is not None:
            with fits.open(dq_file) as others:
                dq = {hdu.ver: n for n, hdu in enumerate(others) if hdu.name in ("SCI", "DQ")}
        else:
            dq = {version: index.get(("DQ", version)) for version in versions}
        return tuple(
            Chip(v, index["SCI", v], index.get(("ERR", v)), dq.get(v), dq_file) for v in versions
        )
    images = [number for number, hdu in enumerate(hdus) if _is_searched(hdu)]
    # What has another unit than the first image, or none beside it, is made of it.
    like = [(plane_shape(hdus[number]), hdus[number].header.get("BUNIT")) for number in images]
    images = [number for number, one in zip(images, like, strict=True) if one == like[0]]
    if images:
        masks, errors = (_companions(hdus, images, kinds) for kinds in (_MASKS, _ERRORS))
        return tuple(
            Chip(count, number, errors.get(number), masks.get(number), is_hst=False)
            for count, number in enumerate(images, start=1)
        )
    shapes = [hdu.shape for hdu in hdus if plane_shape(hdu) is not None]
    raise ValueError(
        f"{file} has neither a SCI extension with data nor a two-dimensional image; "
        f"shapes seen: {shapes}"
        + (" (call once per plane of a cube)" if any(len(shape) > 2 for shape in shapes) else "")
    )


def _is_searched(hdu):
    """Tell whether an HDU of a file without SCI is an image of the sky, by its shape and name."""
    return len(plane_shape(hdu) or ()) == 2 and not _COMPANION.match(hdu.name)


def _companions(hdus, images, kinds):
    """Return the number of the mask, or error, of each image: of the same shape and rank."""
    shape = plane_shape(hdus[images[0]])
    alike = [(n, hdu.name) for n, hdu in enumerate(hdus) if plane_shape(hdu) == shape]
    for kind in kinds:
        found = [n for n, name in alike if re.match(rf"{kind}(\W|_|\d|$)", name)]
        if len(found) == len(images):
            return dict(zip(images, found, strict=True))
    return {}


def left_out(hdus, chips):
    """
    Name the images of a file without ``SCI`` that are not searched, nor used as masks or errors.

    Parameters
    ----------
    hdus : `~astropy.io.fits.HDUList`
        The contents of a file.
    chips : sequence of `Chip`
        What `find_chips` returned.

    Returns
    -------
    notes : tuple of str
        At most one.
    """
    used = {number for chip in chips for number in (chip.sci, chip.err, chip.dq)}
    others = [
        f"{hdu.name or 'unnamed'} (HDU {number}, shape {hdu.shape})"
        for number, hdu in enumerate(hdus)
        if not chips[0].is_hst
        and number not in used
        and plane_shape(hdu) is not None
        and hdu.name not in _KNOWN_COMPANIONS
    ]
    return (f"not searched, nor used as a mask: {', '.join(others)}",) if others else ()


def read_chip(
    file: str | PathLike,
    extver: int = 1,
    *,
    dq_ignore: int | None = None,
    unit: str | u.UnitBase | None = None,
) -> CCDData:
    """
    Read one chip of an HST file.

    SCI, ERR and DQ are those of the same ``EXTVER``. For ACS/WFC and
    WFC3/UVIS, ``EXTVER`` 1 is chip 2 (WFC2, UVIS2), ``EXTVER`` 2 is chip 1.

    Parameters
    ----------
    file : path-like
        An HST file (``_flt``, ``_flc``, ``_raw``, ``_crj``, ``_drz``,
        ``_c0m``, ``_c0f``), or a simple image; compressed ones too.
    extver : int, optional
        Number of the chip.
    dq_ignore : int, optional
        Data-quality bits, summed, that shall not mask a pixel though their
        `Instrument` says they do. Cosmic-ray, hot, warm, trap and full-well
        bits never do.
    unit : str or `~astropy.units.Unit`, optional
        Unit of the pixels, in place of ``BUNIT``.

    Returns
    -------
    ccd : `~astropy.nddata.CCDData`
        The image in electron, adu or one of these per second; ``mask`` from
        the bits that make a pixel unusable, and of the overscan of a raw frame
        of ACS or STIS; the bits themselves in ``flags``;
        ``uncertainty`` from ERR; ``wcs``; and in ``meta`` the chip's header
        completed by the primary header, so that ``EXPTIME`` is found. If the
        file holds the planes of a detection, a
        `~cosmiq_astro.CosmicRayCCDData` with them and their mask.

    Raises
    ------
    ValueError
        If the file has no such chip, or a unit that is not understood.

    Examples
    --------
    >>> from cosmiq_astro.data import sample_path
    >>> from cosmiq_astro.hst import read_chip
    >>> ccd = read_chip(sample_path())
    >>> ccd.unit, ccd.meta["EXPTIME"]
    (Unit("electron"), 60.0)
    """
    with as_extensions(file) as near, readable(file), fits.open(near) as hdus:
        chips = {chip.extver: chip for chip in find_chips(near, hdus)}
        if extver not in chips:
            known = ", ".join(map(str, chips))
            raise ValueError(f"{file} has no chip with extver {extver!r}; it has {known}")
        return _read(hdus, chips[extver], dq_ignore, unit)


def _read(hdus, chip, dq_ignore, unit):
    hdu = hdus[chip.sci]
    header = merged_header(hdu.header, hdus[0].header)
    wcs = _read_wcs(hdus, hdu.header)
    if wcs is not None:
        for card in wcs_cards(header):
            header.remove(card.keyword, ignore_missing=True)
    shape = plane_shape(hdu)
    flags = _read_flags(hdus, chip, shape)
    mask = None
    if flags is not None:
        bits = identify(header).unusable_bits & ~(dq_ignore or 0) if chip.is_hst else -1
        mask = (flags & bits) != 0
    dark = overscan(header, shape) if chip.is_hst else None
    if dark is not None:
        mask = dark if mask is None else mask | dark
    planes = {
        attribute: hdus[extension, chip.extver].data
        for attribute, extension in PLANES.items()
        if (extension, chip.extver) in hdus
    }
    result = CCDData
    if planes:
        result = CosmicRayCCDData
        if "cr_mask" in planes:
            hit = planes["cr_mask"] != 0
            mask = hit if mask is None else mask | hit
    return result(
        _native(hdu.data).reshape(shape),
        unit=unit_of(hdu.header, unit),
        mask=mask,
        uncertainty=None if chip.err is None else _uncertainty(hdus[chip.err], shape),
        wcs=wcs,
        meta=header,
        flags=flags if chip.is_hst else None,
        **planes,
    )


def _uncertainty(hdu, shape):
    kind = _KINDS.get(hdu.header.get("UTYPE"), StdDevUncertainty)
    return None if hdu.data is None else kind(_native(hdu.data).reshape(shape))


def _read_flags(hdus, chip, shape):
    """Return the data-quality bits, or the mask of a simple image; None if there is no array."""
    if chip.dq is None:
        return None
    if chip.dq_file is None:
        flags = hdus[chip.dq].data
    else:
        with fits.open(chip.dq_file) as others:
            flags = others[chip.dq].data
    if flags is None:
        return None
    if flags.size != math.prod(shape) or flags.shape[-2:] != shape:
        raise ValueError(f"DQ {chip.extver} has shape {flags.shape}, SCI has {shape}")
    return flags.reshape(shape).astype(np.int16 if flags.dtype.str[1:] == "i2" else np.int32)


def _read_wcs(hdus, header):
    """Return the celestial coordinates, distortion tables included; None if there are none."""
    with warnings.catch_warnings():
        # Every old HST header has dates that wcslib rewrites.
        warnings.simplefilter("ignore", FITSFixedWarning)
        try:
            wcs = WCS(header, fobj=hdus)
        except WcsError as error:
            reason = str(error).strip().splitlines()[-1]
            warnings.warn(
                f"the world coordinates are left out, since they are not understood: {reason}",
                AstropyUserWarning,
                stacklevel=2,
            )
            return None
    return wcs.celestial if wcs.has_celestial else None


def _native(data):
    """Return floats in the machine's byte order; float32 where that loses nothing."""
    return data.astype(np.float32 if np.can_cast(data.dtype, np.float32) else np.float64)


def plane_shape(hdu):
    """
    Return an image's shape without leading axes of length 1.

    Parameters
    ----------
    hdu : HDU
        Its data are not read.

    Returns
    -------
    shape : tuple of int or None
        None without data.
    """
    # An HDU whose header breaks the rules has no shape at all.
    if not hdu.is_image or not getattr(hdu, "shape", ()):
        return None
    extra = hdu.shape[:-2]
    return hdu.shape[-2:] if set(extra) == {1} else hdu.shape
