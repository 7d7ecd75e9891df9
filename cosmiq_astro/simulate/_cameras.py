"""The HST cameras as the simulator knows them, and the headers their files have."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits


@dataclass(frozen=True)
class Camera:
    """
    One camera.

    Attributes
    ----------
    instrume, detector : str
        Keywords of the header.
    chips : dict
        Amplifiers and number of the chip by ``EXTVER``.
    shape : tuple of int
        ``(ny, nx)`` of a chip.
    filters : dict
        Pivot wavelength, nm, by name.
    gain, readnoise : dict
        Electron per DN, and electron, by amplifier (WFPC2: by chip).
    full_well : float
        Electrons at which a pixel saturates, be it the well or the converter.
    bits : tuple of int
        Of DQ: hot pixel, warm pixel, bad column, saturated.
    scale : dict
        Arcseconds per pixel by number of the chip; of all, if there is only one.
    pixel_size : float
        µm.
    in_counts : bool
        Whether the pixels are in DN instead of electrons.
    """

    instrume: str
    detector: str
    chips: dict
    shape: tuple
    filters: dict
    gain: dict
    readnoise: dict
    full_well: float
    bits: tuple
    scale: dict
    pixel_size: float = 15.0
    in_counts: bool = False


_TWO_CHIPS = {1: ("CD", 2), 2: ("AB", 1)}

# Gain and read noise as headers of these cameras have them (ACS/WFC: after 2009); WFPC2: Instrument
# Handbook, table 4.2. Full wells: see `cosmiq_astro.hst.INSTRUMENTS`.
CAMERAS = {
    "ACS/WFC": Camera(
        "ACS",
        "WFC",
        _TWO_CHIPS,
        (2048, 4096),
        {"F435W": 433, "F606W": 592, "F814W": 806},
        {"A": 2.02, "B": 1.886, "C": 2.017, "D": 2.011},
        {"A": 4.35, "B": 3.75, "C": 4.05, "D": 5.05},
        84_700.0,
        (16, 64, 128, 256),
        {1: 0.05, 2: 0.05},
    ),
    "ACS/HRC": Camera(
        "ACS",
        "HRC",
        {1: ("C", 1)},
        (1024, 1024),
        {"F435W": 433, "F606W": 592, "F814W": 806},
        {"C": 2.216},
        {"C": 4.71},
        145_200.0,
        (16, 64, 128, 256),
        {1: 0.027},
        pixel_size=21.0,
    ),
    "WFC3/UVIS": Camera(
        "WFC3",
        "UVIS",
        _TWO_CHIPS,
        (2051, 4096),
        {"F438W": 433, "F606W": 589, "F814W": 804},
        {"A": 1.559, "B": 1.559, "C": 1.577, "D": 1.574},
        {"A": 2.98, "B": 3.03, "C": 3.16, "D": 3.12},
        72_000.0,
        (16, 64, 128, 256),
        {1: 0.04, 2: 0.04},
    ),
    "WFPC2": Camera(
        "WFPC2",
        "",
        {n: (str(n), n) for n in (1, 2, 3, 4)},
        (800, 800),
        {"F439W": 431, "F606W": 600, "F814W": 800},
        {"1": 7.12, "2": 7.12, "3": 6.90, "4": 7.10},
        {"1": 5.24, "2": 5.51, "3": 5.22, "4": 5.19},
        28_000.0,
        (512, 512, 4, 8),
        {1: 0.0455, 2: 0.0996, 3: 0.0996, 4: 0.0996},
        in_counts=True,
    ),
    "STIS/CCD": Camera(
        "STIS",
        "CCD",
        {1: ("D", 1)},
        (1024, 1024),
        {"Clear": 585},
        {"D": 1.0},
        {"D": 5.4},
        33_000.0,
        (16, 16, 4, 256),
        {1: 0.0507},
        pixel_size=21.0,
        in_counts=True,
    ),
}
"""The cameras by name, as in `cosmiq_astro.hst.INSTRUMENTS`."""


def primary_header(name, camera, chips, exposure_time, filter_name):
    """
    Make the primary header of a calibrated exposure.

    Parameters
    ----------
    name : str
        Name of the file.
    camera : `Camera`
        The camera.
    chips : dict
        Those in the file, as in ``camera.chips``.
    exposure_time : float
        Seconds.
    filter_name : str
        One of ``camera.filters``.

    Returns
    -------
    header : `~astropy.io.fits.Header`
        With the cards that tell camera, filter, exposure and read-out.
    """
    cards = {
        "FILENAME": (name, "name of file"),
        "FILETYPE": ("SCI", "type of data found in data file"),
        "NEXTEND": ((1 if camera.instrume == "WFPC2" else 3) * len(chips), "number of extensions"),
        "TELESCOP": ("HST", "telescope"),
        "INSTRUME": (camera.instrume, "instrument"),
        "DETECTOR": (camera.detector, "detector"),
        **_filter_cards(camera, filter_name),
        "ROOTNAME": (Path(name).stem.split("_")[0][:9], "rootname of the observation set"),
        "TARGNAME": ("SIMULATED", "simulated, not observed"),
        "EXPTIME": (float(exposure_time), "exposure duration (seconds)"),
        "EXPSTART": (56000.0, "exposure start time (Modified Julian Date)"),
        "EXPEND": (56000.0 + exposure_time / 86400, "exposure end time (Modified Julian Date)"),
        "FLASHDUR": (0.0, "exposure time of post flash (seconds)"),
        "SUBARRAY": (len(chips) < len(camera.chips), "data from a subarray (T) or full frame (F)"),
        **_readout_cards(camera, chips),
        "PCTECORR": ("COMPLETE", "CTE correction"),
        "CRCORR": ("OMIT", "combine observations to reject cosmic rays"),
    }
    if camera.instrume in ("STIS", "WFPC2"):
        del cards["FLASHDUR"], cards["PCTECORR"]
    if camera.instrume == "WFPC2":
        del cards["DETECTOR"], cards["SUBARRAY"]
    if camera.instrume == "STIS":
        # The exposure time of each image is in its own header.
        cards["TEXPTIME"] = cards.pop("EXPTIME")
    header = fits.Header()
    header.update(cards)
    return header


def _filter_cards(camera, name):
    comments = ("element of the first filter wheel", "element of the second filter wheel")
    if camera.instrume == "ACS":
        wheels = (name, "CLEAR2L") if name == "F606W" else ("CLEAR1L", name)
        return dict(zip(("FILTER1", "FILTER2"), zip(wheels, comments, strict=True), strict=True))
    if camera.instrume == "WFPC2":
        return {"FILTNAM1": (name, comments[0]), "FILTNAM2": ("", comments[1])}
    return {"FILTER": (name, "element of the filter wheel")}


def _readout_cards(camera, chips):
    used = "".join(sorted("".join(amplifiers for amplifiers, _ in chips.values())))
    if camera.instrume == "WFPC2":
        return {"ATODGAIN": (7.0, "nominal analogue-to-digital gain (electrons/DN)")}
    cards = {"CCDAMP": (used, "amplifiers used")}
    if camera.instrume == "STIS":
        return cards | {
            "CCDGAIN": (1, "commanded gain of CCD"),
            "ATODGAIN": (camera.gain["D"], "calibrated gain (electrons/DN)"),
            "READNSE": (camera.readnoise["D"], "calibrated read noise (electrons)"),
            "BINAXIS1": (1, "axis 1 data bin size"),
            "BINAXIS2": (1, "axis 2 data bin size"),
        }
    cards["CCDGAIN"] = (round(2 * max(camera.gain.values())) / 2, "commanded gain of CCD")
    for a in camera.gain:
        cards[f"ATODGN{a}"] = (camera.gain[a], f"gain of amplifier {a} (e/DN)")
        cards[f"READNSE{a}"] = (camera.readnoise[a], f"read noise of {a} (e)")
    return cards


def image_header(camera, number, shape, exposure_time, *, is_quality=False):
    """
    Make the header of one plane of a chip.

    Parameters
    ----------
    camera : `Camera`
        The camera.
    number : int
        Of the chip.
    shape : tuple of int
        ``(ny, nx)``.
    exposure_time : float
        Seconds.
    is_quality : bool, optional
        Whether the plane holds data-quality bits.

    Returns
    -------
    header : `~astropy.io.fits.Header`
        With chip, unit and coordinates. All chips look at the same place, which
        no real camera's do.
    """
    unit = "COUNTS" if camera.in_counts else "ELECTRONS"
    cards = {
        "LTV1": (0.0, "offset in X to subsection start"),
        "LTV2": (0.0, "offset in Y to subsection start"),
        "BUNIT": ("UNITLESS" if is_quality else unit, "brightness units"),
    }
    if camera.instrume == "WFPC2":
        cards["DETECTOR"] = (number, "CCD detector: PC 1, WFC 2-4")
    elif camera.instrume == "STIS":
        cards["EXPTIME"] = (float(exposure_time), "exposure duration (seconds)")
        cards["NCOMBINE"] = (1, "number of image sets combined")
    else:
        cards["CCDCHIP"] = (number, "CCD chip (1 or 2)")
    scale = camera.scale[number] / 3600
    cosine, sine = (scale * function(np.radians(30)) for function in (np.cos, np.sin))
    for axis, (ctype, value) in enumerate((("RA---TAN", 150.1), ("DEC--TAN", 2.2)), start=1):
        cards[f"CTYPE{axis}"] = (ctype, "coordinate type")
        cards[f"CRVAL{axis}"] = (value, "coordinate at reference pixel (deg)")
        cards[f"CRPIX{axis}"] = (shape[2 - axis] / 2 + 0.5, "reference pixel")
        cards[f"CUNIT{axis}"] = ("deg", "unit of the coordinate")
    cards |= {"CD1_1": -cosine, "CD1_2": sine, "CD2_1": sine, "CD2_2": cosine}
    header = fits.Header()
    header.update(cards)
    return header
