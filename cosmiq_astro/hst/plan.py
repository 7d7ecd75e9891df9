"""What a detection on a file would do, found out from the headers alone."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Literal

from astropy import units as u
from astropy.io import fits

from cosmiq_astro._io import check_run, readable, refuse_existing
from cosmiq_astro.hst.chips import Chip, find_chips, left_out, plane_shape
from cosmiq_astro.hst.headers import merged_header, number, unit_of
from cosmiq_astro.hst.instruments import (
    GAIN_CARDS,
    INSTRUMENTS,
    Instrument,
    Readout,
    identify,
    is_drizzled,
    is_raw,
    readout,
)
from cosmiq_astro.hst.names import file_names, output_name
from cosmiq_astro.hst.waivered import as_extensions
from cosmiq_astro.units import electrons_per_unit, needs_gain

__all__ = ["PLAN_SETTINGS", "ChipPlan", "FilePlan", "plan_file"]

PLAN_SETTINGS = (
    "in_place", "extver", "dq_bit", "gain", "readnoise", "satlevel", "exposure_time", "unit",
    "overwrite",
)  # fmt: skip
"""Settings of `detect_file` that decide on the plan."""

_MOST_CHIPS = 256
# What a camera can have: electron per adu, electron, electron, seconds. A bias frame has 0 s.
_BELIEVED = {
    "gain": (1e-3, 1e4),
    "readnoise": (0, 1e5),
    "satlevel": (1, 1e12),
    "exposure_time": (0, 1e8),
}


@dataclass(frozen=True)
class ChipPlan:
    """
    What is known of a chip before its pixels are read.

    Attributes
    ----------
    chip : `Chip`
        Where it lies.
    shape : tuple of int
        Of the image, ``(ny, nx)``.
    unit : `~astropy.units.UnitBase`
        Of the image.
    readout : `Readout`
        Gain (only where the unit needs it), read noise and saturation level.
    exposure_time : float or None
        Seconds.
    pixel_area : `~astropy.units.Quantity` or None
        Of a detector pixel, binning included; None if unknown or resampled.
    dq_bit : int or None
        The bit of DQ that would be set; None where DQ has no data.
    """

    chip: Chip
    shape: tuple[int, int]
    unit: u.UnitBase
    readout: Readout
    exposure_time: float | None
    pixel_area: u.Quantity | None
    dq_bit: int | None


@dataclass(frozen=True)
class FilePlan:
    """
    What `detect_file` would do.

    Attributes
    ----------
    file_in, file_out : `~pathlib.Path`
        Input and output.
    dq_out : `~pathlib.Path` or None
        Where the copy of WFPC2's data-quality file goes; None if none is
        written.
    instrument : `Instrument`
        The camera.
    chips : tuple of `ChipPlan`
        The chips that would be searched.
    notes : tuple of str
        What speaks against the input, or must be known to use the output.
    """

    file_in: Path
    file_out: Path
    dq_out: Path | None
    instrument: Instrument
    chips: tuple[ChipPlan, ...]
    notes: tuple[str, ...]


def plan_file(
    file_in: str | PathLike,
    file_out: str | PathLike | None = None,
    *,
    in_place: bool = False,
    extver: Collection[int] | None = None,
    dq_bit: int | Literal["default"] | None = "default",
    gain: float | None = None,
    readnoise: float | None = None,
    satlevel: float | None = None,
    exposure_time: float | None = None,
    unit: str | u.UnitBase | None = None,
    overwrite: bool = False,
) -> FilePlan:
    """
    Find out what `detect_file` would do, from the headers alone.

    Parameters
    ----------
    file_in, file_out, in_place, extver, dq_bit, gain, readnoise, satlevel, exposure_time : optional
        As for `detect_file`.
    unit, overwrite : optional
        As for `detect_file`.

    Returns
    -------
    plan : `FilePlan`
        Output name, chips, and how they were read out.

    Raises
    ------
    FileExistsError
        If the output exists or the input holds a detection already, and
        ``overwrite`` is False.
    ValueError
        If the file or a setting cannot be used.
    """
    if in_place and file_out is not None:
        raise ValueError(f"set in_place or give file_out={str(file_out)!r}, not both")
    file_in = Path(file_in)
    file_out = file_in if in_place else Path(output_name(file_in) if file_out is None else file_out)
    inputs, outputs = file_names(file_in, file_out)
    check_run([(inputs, outputs)], in_place=in_place)
    for path in outputs:
        refuse_existing(path, overwrite or in_place)
    given = {
        "gain": gain,
        "readnoise": readnoise,
        "satlevel": satlevel,
        "exposure_time": exposure_time,
    }
    for name, value in given.items():
        if not _is_believed(name, value):
            low, high = _BELIEVED[name]
            raise ValueError(f"{name} must be in [{low:g}, {high:g}], got {value!r}")
    with as_extensions(file_in) as near, readable(file_in), fits.open(near) as hdus:
        if in_place and near != file_in:
            raise ValueError(
                f"{file_in} is waivered FITS, which has no place for the planes: leave in_place out"
            )
        chips = [c for c in find_chips(near, hdus) if extver is None or c.extver in extver]
        if not chips:
            raise ValueError(f"{file_in} has none of the chips asked for, extver {extver!r}")
        _refuse_odd_numbers(file_in, chips)
        is_hst, own, primary = chips[0].is_hst, hdus[chips[0].sci].header, hdus[0].header
        header = merged_header(own, primary)
        instrument = identify(header)
        dq_bit = _check_bit(dq_bit, instrument, is_hst)
        for chip in chips:
            _refuse_processed(file_in, hdus, chip, overwrite)
        notes = [*left_out(hdus, chips)]
        if is_hst:
            notes += _notes(header, instrument, dq_bit)
        plans = tuple(_plan_chip(hdus, chip, unit, given, dq_bit, notes) for chip in chips)
        known_gain = plans[0].readout.gain
        if not is_hst and gain is None and known_gain is not None:
            notes.append(
                f"the gain, {known_gain:g} electrons per {u.adu}, is that of the header "
                f"({' or '.join(GAIN_CARDS)}); if it is another one, give gain"
            )
    return FilePlan(
        file_in=file_in,
        file_out=file_out,
        dq_out=outputs[1] if chips[0].dq_file is not None and plans[0].dq_bit else None,
        instrument=instrument,
        chips=plans,
        notes=tuple(dict.fromkeys(notes)),
    )


def _refuse_odd_numbers(file_in, chips):
    extver, count = Counter(chip.extver for chip in chips).most_common(1)[0]
    if count > 1:
        raise ValueError(f"{file_in} has {count} chips of extver {extver}: give each its own")
    if len(chips) > _MOST_CHIPS:
        raise ValueError(
            f"{file_in} has {len(chips)} chips, more than {_MOST_CHIPS}: give extver for some"
        )


def _refuse_processed(file_in, hdus, chip, overwrite):
    if ("CRVIMASK", chip.extver) not in hdus:
        return
    if "CRVICLN" in hdus[chip.sci].header:
        raise ValueError(
            f"{file_in} is the output of a detection that replaced the flagged pixels; "
            "start from the original file"
        )
    if not overwrite:
        raise FileExistsError(
            f"{file_in} holds a detection already (CRVIMASK,{chip.extver}); start from the "
            "original file, or set overwrite"
        )


def _plan_chip(hdus, chip, unit, given, dq_bit, notes):
    hdu = hdus[chip.sci]
    header, unit = merged_header(hdu.header, hdus[0].header), unit_of(hdu.header, unit)
    shape = plane_shape(hdu)
    if len(shape) != 2:
        raise ValueError(f"SCI,{chip.extver} has shape {shape}; it must have two dimensions")
    known = {**vars(readout(header)), "exposure_time": _exposure_time(header, unit, notes)}
    for name, value in known.items():
        if given[name] is None and not _is_believed(name, value):
            notes.append(f"the headers' {name} of {value:g} cannot be, and is not used: give it")
            known[name] = None
    known |= {name: value for name, value in given.items() if value is not None}
    gain = known["gain"] if needs_gain(unit) else given["gain"]
    if needs_gain(unit) and gain is None:
        raise ValueError(
            f"the image is in {unit} and its headers do not tell the gain{_doubted_gain(header)}: "
            f"give gain, in electrons per {u.adu} (1 if the pixels are electrons)"
        )
    # What it lacks is known before any work.
    electrons_per_unit(unit, gain=gain, exposure_time=known["exposure_time"], header=header)
    instrument = identify(header)
    area = None
    if instrument.pixel_size is not None and not is_drizzled(header):
        binning = number(header, "BINAXIS1", 1) * number(header, "BINAXIS2", 1)
        area = instrument.pixel_size**2 * binning
    has_dq = chip.dq is not None and (chip.dq_file is not None or bool(hdus[chip.dq].shape))
    return ChipPlan(
        chip=chip,
        shape=shape,
        unit=unit,
        readout=Readout(gain, known["readnoise"], known["satlevel"]),
        exposure_time=known["exposure_time"],
        pixel_area=area,
        dq_bit=dq_bit if has_dq else None,
    )


def _exposure_time(header, unit, notes):
    """Return EXPTIME, or XPOSURE; one that is no number is an error only where it is needed."""
    try:
        time = number(header, "EXPTIME")
        return number(header, "XPOSURE") if time is None else time
    except ValueError as error:
        if u.s in unit.bases:
            raise
        notes.append(f"{error}: there is no hit rate")
        return None


def _is_believed(name, value):
    """Tell whether a camera can have such a value, if it is a number."""
    low, high = _BELIEVED[name]
    value = getattr(value, "value", value)
    return not isinstance(value, (int, float)) or (math.isfinite(value) and low <= value <= high)


def _doubted_gain(header):
    said = [f"{name} is {header[name]!r}" for name in GAIN_CARDS if name in header]
    return f" ({', '.join(said)}: no electrons per count)" if said else ""


def _check_bit(dq_bit, instrument, is_hst):
    if dq_bit is None:
        return None
    if dq_bit == "default":
        return instrument.default_bit if is_hst else None
    if not is_hst:
        raise ValueError(f"dq_bit is {dq_bit!r}, but a simple image has no DQ; leave it out")
    if dq_bit not in instrument.settable_bits:
        allowed = ", ".join(map(str, instrument.settable_bits))
        raise ValueError(f"dq_bit must be None or one of {allowed}, got {dq_bit!r}")
    return dq_bit


def _notes(header, instrument, dq_bit):
    notes = []
    if instrument.name not in INSTRUMENTS:
        camera = f"{header.get('INSTRUME', '?')}/{header.get('DETECTOR', '?')}"
        notes.append(
            f"camera {camera} is not one of {', '.join(INSTRUMENTS)}: any DQ bit but 4096, 8192 "
            "and 16384 hides a pixel, DQ stays as it is, and there is no hit rate"
        )
    if is_drizzled(header):
        notes.append(
            "the image was drizzled: its sky is subtracted and its noise correlated, unlike in the "
            "frames that the models were trained on; use the _flt or _flc files if you can"
        )
    if is_raw(header):
        notes.append(
            "the image is raw: the bias level is still in its pixels; use the calibrated file if "
            "there is one"
        )
    if dq_bit == 4096:
        notes.append("run AstroDrizzle with resetbits=0, or it wipes the DQ bit 4096 set here")
    return tuple(notes)
