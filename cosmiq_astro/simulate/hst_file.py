"""Files laid out as calibrated exposures of the HST cameras."""

from __future__ import annotations

from contextlib import ExitStack
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from astropy.io import fits
from astropy.table import vstack

from cosmiq_astro._io import atomic_write
from cosmiq_astro.simulate import effects
from cosmiq_astro.simulate._cameras import CAMERAS, image_header, primary_header
from cosmiq_astro.simulate.cosmic_rays import simulate_cosmic_rays
from cosmiq_astro.simulate.exposure import expose
from cosmiq_astro.simulate.optics import hst_psf
from cosmiq_astro.simulate.scenes import Scene, simulate_scene
from cosmiq_astro.simulate.truth import ExposureTruth

if TYPE_CHECKING:
    from cosmiq_astro._types import Field

__all__ = ["simulate_hst_file"]

_BLOCK = 1024  # a scene's canvas takes 16 times the memory of its image


def simulate_hst_file(
    path: str | PathLike,
    *,
    camera: Literal["ACS/WFC", "ACS/HRC", "WFC3/UVIS", "WFPC2", "STIS/CCD"] = "ACS/WFC",
    exposure_time: float = 500.0,
    field: Field = "extragalactic",
    chip_shape: tuple[int, int] | None = None,
    subarray: bool = False,
    filter_name: str | None = None,
    sky_rate: float = 0.06,
    cosmic_ray_rate: float = 1.0,
    cte: float = 0.05,
    seed: int | np.random.Generator | None = None,
    overwrite: bool = False,
) -> dict[int, ExposureTruth]:
    """
    Write a simulated exposure in the layout of a calibrated HST file.

    Parameters
    ----------
    path : str or path-like
        Name of the file to write. That of WFPC2 must contain ``_c0m``; its
        data-quality file is written beside it as ``_c1m``.
    camera : {'ACS/WFC', 'ACS/HRC', 'WFC3/UVIS', 'WFPC2', 'STIS/CCD'}, optional
        The camera, which sets chips, pixels, header and data-quality bits.
    exposure_time : float, optional
        Exposure time in seconds, > 0.
    field : str, optional
        Kind of scene, as in `simulate_scene`.
    chip_shape : tuple of int, optional
        Shape ``(ny, nx)`` of each chip, by default the camera's; lower it for
        quick tests.
    subarray : bool, optional
        Write one chip (the one with the highest EXTVER, as EXTVER 1) instead
        of all.
    filter_name : str, optional
        Filter, which sets the PSF: F606W, F814W, and F435W (ACS), F438W (UVIS)
        or F439W (WFPC2); STIS has Clear only. Default: F606W, or Clear.
    sky_rate : float, optional
        Sky and dark current, in electron / s per pixel.
    cosmic_ray_rate : float, optional
        Hits per square centimetre and second, as ``rate`` of `simulate_cosmic_rays`.
    cte : float, optional
        Strength of the charge-transfer trails, as in `cte_trails`; the readout
        register is at the first row, of WFC1 and UVIS1 at the last.
    seed : int or numpy.random.Generator, optional
        Seed; None draws a fresh one.
    overwrite : bool, optional
        Whether an existing file may be replaced.

    Returns
    -------
    dict of int to ExposureTruth
        The truth of each chip by its EXTVER, in electrons whatever the unit of
        the file.

    Raises
    ------
    ValueError
        If ``camera``, ``filter_name`` or ``field`` is unknown, ``exposure_time``
        is not positive, or the name of a WFPC2 file lacks ``_c0m``.
    FileExistsError
        If the file exists and ``overwrite`` is False.

    Notes
    -----
    Chips larger than 1024 pixels repeat one scene, mirrored at the seams; noise,
    cosmic rays and defects are drawn over the whole chip. HDUs: PRIMARY, then SCI,
    ERR (float32) and DQ (int16) of each EXTVER. ACS and WFC3 are in electrons, with
    EXTVER 1 for chip 2 and EXTVER 2 for chip 1; STIS is in counts (DN), as is WFPC2,
    whose file has SCI only. DQ holds the camera's bits for hot and warm pixels,
    saturation and bad columns; no pixel carries a cosmic-ray bit. Stars, sky and
    bad pixels per pixel are those of ACS/WFC; PSF, pixel scale, pixel size, gain,
    read noise and full well are the camera's.

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
    path = Path(path)
    known, filter_name = _check(path, camera, filter_name, exposure_time)
    rng = np.random.default_rng(seed)
    chips = known.chips[-1:] if subarray else known.chips
    rows, columns = known.shape if chip_shape is None else chip_shape
    shape = rows, columns
    primary = primary_header(path.name, known, chips, exposure_time, filter_name)
    hdus = [fits.PrimaryHDU(header=primary)]
    defocus = rng.normal(0.02, 0.015)
    truth = {}
    with ExitStack() as stack:
        temporary = stack.enter_context(atomic_write(path, overwrite=overwrite))
        for extver, (amplifiers, number, scale) in enumerate(chips, start=1):
            hits = simulate_cosmic_rays(
                shape, exposure_time, seed=rng, rate=cosmic_ray_rate, pixel_size=known.pixel_size
            )
            psf = hst_psf(
                known.filters[filter_name],
                pixel_scale=scale,
                defocus=defocus,
                spike_angle=np.radians(known.spike_degrees),
            )
            scene = _mirrored_scene(shape, field, psf, rng)
            image, quality, truth[extver] = _chip(
                scene, exposure_time, hits, known, amplifiers, sky_rate=sky_rate, cte=cte, rng=rng
            )
            per_count = np.float32(known.amplifiers[amplifiers[0]][0] if known.in_counts else 1)
            planes = {"SCI": image / per_count, "ERR": truth[extver].noise / per_count}
            header = image_header(known, number, scale, shape, exposure_time)
            hdus += [fits.ImageHDU(planes[n], header, name=n, ver=extver) for n in planes]
            header["BUNIT"] = "UNITLESS"
            hdus.append(fits.ImageHDU(quality, header, name="DQ", ver=extver))
        if camera == "WFPC2":
            beside = path.with_name(path.name.replace("_c0m", "_c1m"))
            quality = stack.enter_context(atomic_write(beside, overwrite=overwrite))
            primary = fits.PrimaryHDU(header=primary)
            primary.header["FILENAME"] = beside.name
            for hdu in hdus[3::3]:
                hdu.name = "SCI"  # as the archive names the planes of this file
            fits.HDUList([primary, *hdus[3::3]]).writeto(quality)
            hdus = [hdus[0], *hdus[1::3]]
        fits.HDUList(hdus).writeto(temporary)
    return truth


def _check(path, camera, filter_name, exposure_time):
    """Return what is known of the camera, and the filter."""
    if camera not in CAMERAS:
        raise ValueError(f"camera must be one of {', '.join(CAMERAS)}, got {camera!r}")
    known = CAMERAS[camera]
    if filter_name is None:
        filter_name = "F606W" if "F606W" in known.filters else next(iter(known.filters))
    if filter_name not in known.filters:
        names = ", ".join(known.filters)
        raise ValueError(f"filter_name must be one of {names}, got {filter_name!r}")
    if exposure_time <= 0:
        raise ValueError(f"exposure_time must be positive, got {exposure_time}")
    if camera == "WFPC2" and "_c0m" not in path.name:
        raise ValueError(f"the name of a WFPC2 file must contain _c0m, got {path.name!r}")
    return known, filter_name


def _mirrored_scene(shape, field, psf, rng):
    """Fill a large chip with mirror images of one block: rate and stars."""
    block = tuple(min(n, _BLOCK) for n in shape)
    scene = simulate_scene(block, field, psf, seed=rng)
    beyond = [(0, n - b) for n, b in zip(shape, block, strict=True)]
    rate = np.pad(scene.rate, beyond, mode="symmetric")
    parts = []
    for i, j in np.ndindex(*(-(-n // b) for n, b in zip(shape, block, strict=True))):
        stars = scene.stars.copy()
        stars["y"] = _mirrored(stars["y"], i, block[0])
        stars["x"] = _mirrored(stars["x"], j, block[1])
        parts.append(stars[(stars["y"] < shape[0] - 0.5) & (stars["x"] < shape[1] - 0.5)])
    return Scene(rate, vstack(parts))


def _mirrored(position, i, size):
    return i * size + (size - 1 - position if i % 2 else position)


def _chip(scene, exposure_time, hits, camera, amplifiers, *, sky_rate, cte, rng):
    """One chip's image, data quality and truth."""
    shape = scene.rate.shape
    dark = effects.hot_pixels(shape, rng) + effects.warm_pixels(shape, rng)
    rate = scene.rate * effects.flat_residual(shape, rng) + dark
    gains, readnoises = zip(*(camera.amplifiers[a] for a in amplifiers), strict=True)
    amplifier = np.arange(shape[1]) * len(amplifiers) // shape[1]
    readnoise = np.array(readnoises, np.float32)[amplifier]
    order = slice(None, None, -1) if amplifiers == "AB" else slice(None)  # readout row first
    planes = expose(
        rate[order],
        exposure_time,
        hits[order],
        seed=rng,
        sky_rate=sky_rate,
        readnoise=readnoise,
        gain=gains[0],
        full_well=camera.full_well,
        cte=cte,
        defects=False,
    )
    image, expected, charge = (plane[order] for plane in planes)
    columns = effects.bad_columns(shape, rng, n=max(1, shape[1] // 500))
    offset = columns + effects.bias_steps(shape, rng)
    image, expected = image + offset, expected + offset
    quality = np.zeros(shape, np.int16)
    hot, warm, bad, full = camera.bits
    quality[dark >= 0.06] = warm
    quality[dark >= 0.14] = hot
    quality[columns != 0] |= bad
    quality[image > 0.97 * camera.full_well] |= full
    truth = ExposureTruth.of(charge, expected, readnoise, scene.stars)
    return image, quality, truth.without(dark > 0)
