"""Files laid out as calibrated HST ACS/WFC exposures."""

from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.table import Table

from cosmiq_astro._files import written_whole
from cosmiq_astro.simulate.cosmic_rays import simulate_cosmic_rays
from cosmiq_astro.simulate.detector import (
    bad_columns,
    bias_steps,
    flat_residual,
    hot_pixels,
    warm_pixels,
)
from cosmiq_astro.simulate.exposure import ExposureTruth, expose
from cosmiq_astro.simulate.labels import label_from_charge
from cosmiq_astro.simulate.optics import hst_psf
from cosmiq_astro.simulate.scenes import Scene, simulate_scene

__all__ = ["simulate_hst_file"]

_BLOCK = 1024  # a scene's canvas takes 16 times the memory of its image
_READNOISE = {"A": 4.35, "B": 3.75, "C": 4.05, "D": 5.05}  # electrons, ACS/WFC after 2009
_GAIN = {"A": 2.02, "B": 1.886, "C": 2.017, "D": 2.011}  # electron / DN
_WAVELENGTH = {"F435W": 433, "F606W": 592, "F814W": 806}  # pivot, nm
_CHIPS = {1: ("CD", 2), 2: ("AB", 1)}  # EXTVER: amplifiers, CCDCHIP


def simulate_hst_file(
    path,
    *,
    exposure_time=500.0,
    field="extragalactic",
    chip_shape=(2048, 4096),
    subarray=False,
    filter_name="F606W",
    sky_rate=0.06,
    cosmic_ray_rate=1.0,
    cte=0.05,
    seed=None,
    overwrite=False,
):
    """
    Write a simulated exposure in the layout of an ACS/WFC ``flc`` file.

    Parameters
    ----------
    path : str or path-like
        Name of the file to write.
    exposure_time : float, optional
        Exposure time in seconds, > 0.
    field : str, optional
        Kind of scene, as in `simulate_scene`.
    chip_shape : tuple of int, optional
        Shape ``(ny, nx)`` of each chip; lower it for quick tests.
    subarray : bool, optional
        Write one chip (WFC1, as EXTVER 1) instead of two.
    filter_name : {'F435W', 'F606W', 'F814W'}, optional
        Filter, which sets the PSF.
    sky_rate : float, optional
        Sky and dark current, in electron / s per pixel.
    cosmic_ray_rate : float, optional
        Primaries per square centimetre and second.
    cte : float, optional
        Strength of the charge-transfer trails, as in `cte_trails`; the readout
        register is at the first row of WFC2 and at the last row of WFC1.
    seed : int or numpy.random.Generator, optional
        Seed; None draws a fresh one.
    overwrite : bool, optional
        Whether an existing file may be replaced.

    Returns
    -------
    dict of int to ExposureTruth
        The truth of each chip by its EXTVER.

    Raises
    ------
    ValueError
        If ``filter_name`` or ``field`` is unknown, or ``exposure_time`` is not
        positive.
    FileExistsError
        If the file exists and ``overwrite`` is False.

    Notes
    -----
    Chips larger than 1024 pixels repeat one scene, mirrored at the seams; noise,
    cosmic rays and defects are drawn over the whole chip. HDUs: PRIMARY, then SCI,
    ERR (float32, electrons) and DQ (int16) of EXTVER 1 (WFC2, CCDCHIP 2) and 2
    (WFC1, CCDCHIP 1). DQ holds hot (16), warm (64), full-well (256) and
    bad-column (128) bits; no pixel carries a cosmic-ray bit.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from astropy.io import fits
    >>> from cosmiq_astro.simulate import simulate_hst_file
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "jsim01abq_flc.fits"
    ...     truth = simulate_hst_file(path, chip_shape=(64, 128), seed=1)
    ...     fits.getdata(path, ("SCI", 2)).shape == truth[2].label.shape
    True
    """
    if filter_name not in _WAVELENGTH:
        known = ", ".join(_WAVELENGTH)
        raise ValueError(f"filter_name must be one of {known}, got {filter_name!r}")
    if exposure_time <= 0:
        raise ValueError(f"exposure_time must be positive, got {exposure_time}")
    rng = np.random.default_rng(seed)
    chips = {1: _CHIPS[2]} if subarray else _CHIPS
    hdus = [_primary(Path(path).name, exposure_time, filter_name, chips)]
    psf = hst_psf(_WAVELENGTH[filter_name], defocus=rng.normal(0.02, 0.015))
    truth = {}
    with written_whole(path, overwrite=overwrite) as temporary:
        for extver, (amplifiers, chip) in chips.items():
            hits = simulate_cosmic_rays(chip_shape, exposure_time, seed=rng, rate=cosmic_ray_rate)
            scene = _mirrored_scene(chip_shape, field, psf, rng)
            image, quality, truth[extver] = _chip(
                scene, exposure_time, hits, amplifiers, sky_rate=sky_rate, cte=cte, rng=rng
            )
            hdus += _triplet(image, quality, truth[extver].noise, extver, chip)
        fits.HDUList(hdus).writeto(temporary)
    return truth


def _mirrored_scene(shape, field, psf, rng):
    """Fill a large chip with mirror images of one block: rate and stars."""
    block = tuple(min(n, _BLOCK) for n in shape)
    scene = simulate_scene(block, field, psf, seed=rng)
    beyond = [(0, n - b) for n, b in zip(shape, block, strict=True)]
    rate = np.pad(scene.rate, beyond, mode="symmetric")
    columns = {name: [] for name in scene.stars.colnames}
    for i in range(-(-shape[0] // block[0])):
        for j in range(-(-shape[1] // block[1])):
            y = _mirrored(scene.stars["y"], i, block[0])
            x = _mirrored(scene.stars["x"], j, block[1])
            inside = (y < shape[0] - 0.5) & (x < shape[1] - 0.5)
            for name, values in (("y", y), ("x", x), ("flux", scene.stars["flux"])):
                columns[name].append(np.asarray(values)[inside])
    stars = Table({name: np.concatenate(parts) for name, parts in columns.items()})
    return Scene(rate, stars)


def _mirrored(position, i, size):
    position = np.asarray(position)
    return i * size + (size - 1 - position if i % 2 else position)


def _chip(scene, exposure_time, hits, amplifiers, *, sky_rate, cte, rng):
    """One chip's image, data quality and truth."""
    shape = scene.rate.shape
    dark = hot_pixels(shape, rng) + warm_pixels(shape, rng)
    rate = scene.rate * flat_residual(shape, rng) + dark
    amplifier = np.arange(shape[1]) * 2 // shape[1]
    readnoise = np.array([_READNOISE[a] for a in amplifiers], np.float32)[amplifier]
    order = slice(None, None, -1) if amplifiers == "AB" else slice(None)  # readout row first
    planes = expose(
        rate[order],
        exposure_time,
        hits[order],
        seed=rng,
        sky_rate=sky_rate,
        readnoise=readnoise,
        gain=_GAIN[amplifiers[0]],
        cte=cte,
        defects=False,
    )
    image, expected, charge = (plane[order] for plane in planes)
    columns = bad_columns(shape, rng, n=max(1, shape[1] // 500))
    offset = columns + bias_steps(shape, rng)
    image, expected = image + offset, expected + offset
    noise = np.sqrt(np.maximum(expected, 0) + readnoise**2)
    quality = np.zeros(shape, np.int16)
    quality[dark >= 0.06] |= 64
    quality[dark >= 0.14] ^= 64 | 16
    quality[columns != 0] |= 128
    quality[image > 0.97 * 84_700] |= 256
    label, ignore = label_from_charge(charge, noise)
    return image, quality, ExposureTruth(charge, expected, noise, label, ignore, scene.stars)


def _primary(name, exposure_time, filter_name, chips):
    header = fits.Header()
    wheel = ("F606W", "CLEAR2L") if filter_name == "F606W" else ("CLEAR1L", filter_name)
    cards = {
        "FILENAME": (name, "name of file"),
        "FILETYPE": ("SCI", "type of data found in data file"),
        "NEXTEND": (3 * len(chips), "number of extensions"),
        "TELESCOP": ("HST", "telescope"),
        "INSTRUME": ("ACS", "instrument"),
        "DETECTOR": ("WFC", "detector"),
        "FILTER1": (wheel[0], "element of the first filter wheel"),
        "FILTER2": (wheel[1], "element of the second filter wheel"),
        "ROOTNAME": (Path(name).stem.split("_")[0][:9], "rootname of the observation set"),
        "TARGNAME": ("SIMULATED", "simulated, not observed"),
        "EXPTIME": (float(exposure_time), "exposure duration (seconds)"),
        "EXPSTART": (56000.0, "exposure start time (Modified Julian Date)"),
        "EXPEND": (56000.0 + exposure_time / 86400, "exposure end time (Modified Julian Date)"),
        "FLASHDUR": (0.0, "exposure time of post flash (seconds)"),
        "SUBARRAY": (len(chips) == 1, "data from a subarray (T) or full frame (F)"),
        "CCDAMP": ("".join(sorted("".join(a for a, _ in chips.values()))), "amplifiers used"),
        "CCDGAIN": (2.0, "commanded gain of CCD"),
        "PCTECORR": ("COMPLETE", "CTE correction"),
        "CRCORR": ("OMIT", "combine observations to reject cosmic rays"),
    }
    for amplifier in "ABCD":
        cards[f"ATODGN{amplifier}"] = (_GAIN[amplifier], f"gain of amplifier {amplifier} (e/DN)")
        cards[f"READNSE{amplifier}"] = (_READNOISE[amplifier], f"read noise of {amplifier} (e)")
    header.update(cards)
    return fits.PrimaryHDU(header=header)


def _triplet(image, quality, noise, extver, chip):
    """SCI, ERR and DQ extensions of one chip."""
    cards = {
        "CCDCHIP": (chip, "CCD chip (1 or 2)"),
        "LTV1": (0.0, "offset in X to subsection start"),
        "LTV2": (0.0, "offset in Y to subsection start"),
    }
    hdus = []
    for name, data in (("SCI", image), ("ERR", noise), ("DQ", quality)):
        hdu = fits.ImageHDU(data, name=name, ver=extver)
        hdu.header.update(cards)
        hdu.header["BUNIT"] = ("UNITLESS" if name == "DQ" else "ELECTRONS", "brightness units")
        hdus.append(hdu)
    return hdus
