"""The detection on one chip, and what is to be written of it."""

import time
from dataclasses import replace

import numpy as np
from astropy import units as u
from astropy.time import Time
from scipy import ndimage

from cosmiq_astro import __version__
from cosmiq_astro._detection import Request, find_cosmic_rays
from cosmiq_astro._rate import RATE, rate_of
from cosmiq_astro._result import cards_of
from cosmiq_astro._windows import TOUCHING
from cosmiq_astro.cleaning import clean_pixels
from cosmiq_astro.hst.chips import read_chip
from cosmiq_astro.hst.instruments import identify
from cosmiq_astro.hst.output import ChipOutput
from cosmiq_astro.hst.results import ChipResult
from cosmiq_astro.hst.settings import PLANE_NAMES
from cosmiq_astro.nddata import PLANES

__all__ = ["detect_chip", "without_hot_pixels"]


def detect_chip(file, chip_plan, settings, *, seed, source, run=""):
    """
    Find the cosmic rays on one chip.

    Parameters
    ----------
    file : path-like
        The file that it is in.
    chip_plan : `~cosmiq_astro.hst.ChipPlan`
        How it was read out.
    settings : `~cosmiq_astro.hst.settings.DetectSettings`
        What `detect_file` was asked for, with the model loaded.
    seed : int
        Of the draws, the same for all chips.
    source, run : str
        Digest of the input file; name of the run over many files, or empty.

    Returns
    -------
    found : `~cosmiq_astro._detection.Detection`
        Mask and planes.
    result : `~cosmiq_astro.hst.ChipResult`
        The same in numbers.
    output : `~cosmiq_astro.hst.output.ChipOutput`
        What is to be written of it.
    """
    start = time.perf_counter()
    extver = chip_plan.chip.extver
    ccd = read_chip(file, extver, dq_ignore=settings.dq_ignore, unit=settings.unit)
    request = Request(
        **vars(chip_plan.readout),
        exposure_time=chip_plan.exposure_time,
        **settings.only(("threshold", "mask_growth", "clean", "protect")),
        own=settings.own_sky(extver, ccd.shape),
    )
    method = settings.model.method
    call = {"seed": seed, **settings.only(("views", "progress_bar"))}
    if method == "vi":
        call |= settings.only(("T", "sampling"))
    hardware = settings.only(("device", "tile_size", "precision"))
    found = find_cosmic_rays(
        ccd, settings.model, request, method=method, hardware=hardware, call=call
    )
    if chip_plan.chip.is_hst:
        hot = identify(ccd.meta).hot_bits & ~(settings.dq_ignore or 0)
        found = without_hot_pixels(found, ccd.flags, hot)
    data = None
    if settings.clean is not None:
        masked = ~found.maps.usable
        data = clean_pixels(ccd.data, found.cr_mask, method=settings.clean, mask=masked)
    n_pixels = int(found.maps.usable.sum())
    result = ChipResult(
        extver=extver,
        n_pixels=n_pixels,
        n_pixels_flagged=int(found.cr_mask.sum()),
        n_hits=found.n_hits,
        hit_rate=_hit_rate(found.n_hits, n_pixels, chip_plan),
        doubts=found.doubts,
        seconds=time.perf_counter() - start,
    )
    cards = cards_of(found, clean=settings.clean)
    cards["CRVIDQ"] = (chip_plan.dq_bit or 0, "DQ bit set on flagged pixels")
    cards["CRVINUSE"] = (n_pixels, "pixels searched")
    if result.hit_rate is not None:
        rate = float(f"{result.hit_rate.to_value(RATE):.10g}")
        cards["CRVIRATE"] = (rate, "hits per cm2 and second")
    cards["CRVISRC"] = (source, "SHA-256 of the input file (first 16)")
    cards["CRVIKEY"] = (settings.digest(), "digest of model and settings")
    if run:
        cards["CRVIRUN"] = (run, "the same for all files of a run")
    return found, result, _output(chip_plan, found, cards, settings.planes, data)


def _output(chip_plan, found, cards, names, data):
    chip, maps = chip_plan.chip, found.maps
    planes = {PLANES[f"cr_{name}"]: getattr(maps, name) for name in map(PLANE_NAMES.get, names)}
    return ChipOutput(
        chip=chip,
        planes={"CRVIMASK": found.cr_mask, **planes},
        cards=cards,
        history=(
            f"cosmiq_astro {__version__} {Time.now().isot[:19]}: cosmic rays of "
            f"{'SCI' if chip.is_hst else 'the image'},{chip.extver} by {found.model.name}, "
            f"T={maps.T}, seed {maps.seed}, threshold {found.threshold:g}"
        ),
        dq_bit=chip_plan.dq_bit,
        data=data,
    )


def _hit_rate(n_hits, n_pixels, chip_plan):
    if chip_plan.pixel_area is None or not chip_plan.exposure_time or not n_pixels:
        return None
    exposure = u.Quantity(chip_plan.exposure_time, u.s)
    return rate_of(n_hits, n_pixels * chip_plan.pixel_area, exposure)


def without_hot_pixels(found, flags, bits):
    """
    Take groups of flagged pixels off a detection that are hot pixels and nothing else.

    A network cannot tell a hot pixel from a hit of one pixel; the bits can. A hot
    pixel in a group with others, which a hit passed over, stays.

    Parameters
    ----------
    found : `~cosmiq_astro._detection.Detection`
        What was found.
    flags : ndarray of int or None
        Data-quality bits; None if there are none.
    bits : int
        Those of hot and warm pixels.

    Returns
    -------
    found : `~cosmiq_astro._detection.Detection`
        With mask and number of hits corrected; probabilities are as they were.
    """
    if flags is None:
        return found
    groups, n = ndimage.label(found.cr_mask, TOUCHING)
    # What a mask was grown by says nothing of what it grew from.
    seen = found.cr_mask & (found.maps.probability >= found.threshold) & ((flags & bits) == 0)
    is_hit = np.zeros(n + 1, bool)
    is_hit[groups[seen]] = True
    return replace(found, cr_mask=is_hit[groups], n_hits=int(is_hit.sum()))
