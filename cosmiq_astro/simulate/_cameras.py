"""The HST cameras as the simulator knows them, and the headers their files have."""

import json
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
    name : str
        As in `cosmiq_astro.hst.INSTRUMENTS`: INSTRUME and, if there is any, DETECTOR.
    chips : list of list
        Amplifiers, number and arcseconds per pixel of each chip, from ``EXTVER`` 1.
    shape : list of int
        ``(ny, nx)`` of a chip.
    filters : dict
        Pivot wavelength, nm, by name.
    amplifiers : dict of list
        Gain, electron per DN, and read noise, electron, by amplifier (WFPC2: by chip).
    full_well : float
        Electrons at which a pixel saturates, be it the well or the converter.
    bits : list of int
        Of DQ: hot pixel, warm pixel, bad column, saturated.
    pixel_size : float
        µm.
    spike_degrees : float
        Direction of the diffraction spikes, from x towards y, to some 5 degrees.
    """

    name: str
    chips: list
    shape: list
    filters: dict
    amplifiers: dict
    full_well: float
    bits: list
    pixel_size: float
    spike_degrees: float

    @property
    def in_counts(self):
        """Whether the pixels are in DN instead of electrons."""
        return self.name in ("WFPC2", "STIS/CCD")


# Gain and read noise as headers of these cameras have them (ACS/WFC: after 2009); WFPC2: Instrument
# Handbook, table 4.2. Full wells: see `cosmiq_astro.hst.INSTRUMENTS`. HST's struts lie along V2 and
# V3, and so do the pixels of ACS (the spikes of TinyTim's images show it). The others' lie at 45
# degrees to them.
_TABLE = Path(__file__).with_name("cameras.json")
CAMERAS = {name: Camera(name, **row) for name, row in json.loads(_TABLE.read_text()).items()}
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
    chips : list
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
    instrument, _, detector = camera.name.partition("/")
    header = fits.Header()
    header["FILENAME"] = name, "name of file"
    header["FILETYPE"] = "SCI", "type of data found in data file"
    n_planes = 1 if instrument == "WFPC2" else 3
    header["NEXTEND"] = n_planes * len(chips), "number of extensions"
    header["TELESCOP"] = "HST", "telescope"
    header["INSTRUME"] = instrument, "instrument"
    if detector:
        header["DETECTOR"] = detector, "detector"
    _add_filter(header, instrument, filter_name)
    header["ROOTNAME"] = Path(name).stem.split("_")[0][:9], "rootname of the observation set"
    header["TARGNAME"] = "SIMULATED", "simulated, not observed"
    if instrument != "STIS":
        header["EXPTIME"] = float(exposure_time), "exposure duration (seconds)"
    header["EXPSTART"] = 56000.0, "exposure start time (Modified Julian Date)"
    end = 56000.0 + exposure_time / 86400
    header["EXPEND"] = end, "exposure end time (Modified Julian Date)"
    _add_readout(header, instrument, camera, chips)
    header["CRCORR"] = "OMIT", "combine observations to reject cosmic rays"
    if instrument == "STIS":
        # The exposure time of each image is in its own header.
        header["TEXPTIME"] = float(exposure_time), "exposure duration (seconds)"
    return header


def _add_filter(header, instrument, name):
    first, second = "element of the first filter wheel", "element of the second filter wheel"
    if instrument == "ACS":
        header["FILTER1"] = name if name == "F606W" else "CLEAR1L", first
        header["FILTER2"] = "CLEAR2L" if name == "F606W" else name, second
    elif instrument == "WFPC2":
        header["FILTNAM1"] = name, first
        header["FILTNAM2"] = "", second
    else:
        header["FILTER"] = name, "element of the filter wheel"


def _add_readout(header, instrument, camera, chips):
    if instrument == "WFPC2":
        header["ATODGAIN"] = 7.0, "nominal analogue-to-digital gain (electrons/DN)"
        return
    if instrument != "STIS":
        header["FLASHDUR"] = 0.0, "exposure time of post flash (seconds)"
    is_part = len(chips) < len(camera.chips)
    header["SUBARRAY"] = is_part, "data from a subarray (T) or full frame (F)"
    used = sorted(amplifier for amplifiers, *_ in chips for amplifier in amplifiers)
    header["CCDAMP"] = "".join(used), "amplifiers used"
    if instrument == "STIS":
        gain, readnoise = camera.amplifiers["D"]
        header["CCDGAIN"] = 1, "commanded gain of CCD"
        header["ATODGAIN"] = gain, "calibrated gain (electrons/DN)"
        header["READNSE"] = readnoise, "calibrated read noise (electrons)"
        header["BINAXIS1"] = 1, "axis 1 data bin size"
        header["BINAXIS2"] = 1, "axis 2 data bin size"
        return
    highest = max(gain for gain, _ in camera.amplifiers.values())
    header["CCDGAIN"] = round(2 * highest) / 2, "commanded gain of CCD"
    for name, (gain, readnoise) in camera.amplifiers.items():
        header[f"ATODGN{name}"] = gain, f"gain of amplifier {name} (e/DN)"
        header[f"READNSE{name}"] = readnoise, f"read noise of {name} (e)"
    header["PCTECORR"] = "COMPLETE", "CTE correction"


def image_header(camera, number, scale, shape, exposure_time):
    """
    Make the header of a plane of a chip, in the unit of its pixels.

    Parameters
    ----------
    camera : `Camera`
        The camera.
    number : int
        Of the chip.
    scale : float
        Arcseconds per pixel.
    shape : tuple of int
        ``(ny, nx)``.
    exposure_time : float
        Seconds.

    Returns
    -------
    header : `~astropy.io.fits.Header`
        With chip, unit and coordinates. All chips look at the same place, which
        no real camera's do.
    """
    header = fits.Header()
    header["LTV1"] = 0.0, "offset in X to subsection start"
    header["LTV2"] = 0.0, "offset in Y to subsection start"
    header["BUNIT"] = "COUNTS" if camera.in_counts else "ELECTRONS", "brightness units"
    if camera.name == "WFPC2":
        header["DETECTOR"] = number, "CCD detector: PC 1, WFC 2-4"
    elif camera.name == "STIS/CCD":
        header["EXPTIME"] = float(exposure_time), "exposure duration (seconds)"
        header["NCOMBINE"] = 1, "number of image sets combined"
    else:
        header["CCDCHIP"] = number, "CCD chip (1 or 2)"
    for axis, (ctype, value) in enumerate((("RA---TAN", 150.1), ("DEC--TAN", 2.2)), start=1):
        header[f"CTYPE{axis}"] = ctype, "coordinate type"
        header[f"CRVAL{axis}"] = value, "coordinate at reference pixel (deg)"
        header[f"CRPIX{axis}"] = shape[2 - axis] / 2 + 0.5, "reference pixel"
        header[f"CUNIT{axis}"] = "deg", "unit of the coordinate"
    cosine, sine = (scale / 3600 * function(np.radians(30)) for function in (np.cos, np.sin))
    header.update({"CD1_1": -cosine, "CD1_2": sine, "CD2_1": sine, "CD2_2": cosine})
    return header
