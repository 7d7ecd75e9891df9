"""The detection on one chip, ready to be written."""

import time
import warnings

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.time import Time
from astropy.utils.exceptions import AstropyUserWarning

import cosmiq_astro
from cosmiq_astro.hst.chips import read_chip
from cosmiq_astro.hst.output import ChipDetection
from cosmiq_astro.hst.results import ChipResult
from cosmiq_astro.nddata import PLANES, CosmicRayCCDData
from cosmiq_astro.preprocess import estimate_statistics
from cosmiq_astro.verdict import verdict_line

__all__ = ["detect_chip"]


def detect_chip(file, chip_plan, settings, *, dq_ignore, names):
    """
    Find the cosmic rays on one chip.

    Parameters
    ----------
    file : path-like
        The file that it is in.
    chip_plan : `~cosmiq_astro.hst.ChipPlan`
        How it was read out.
    settings : dict
        What `~cosmiq_astro.cosmicray_vi` or `~cosmiq_astro.cosmicray_unet`
        are called with.
    dq_ignore : int or None
        Data-quality bits that shall not mask a pixel.
    names : sequence of str
        Planes to keep beside the mask, by attribute.

    Returns
    -------
    detection : `~cosmiq_astro.hst.output.ChipDetection`
        What is to be written.
    result : `~cosmiq_astro.hst.ChipResult`
        What is to be said.
    """
    start = time.perf_counter()
    extver = chip_plan.chip.extver
    ccd = _read_afresh(file, extver, dq_ignore)
    known = chip_plan.readout
    _warn_if_sky_subtracted(ccd, extver, known.readnoise)
    verb = cosmiq_astro.cosmicray_vi
    if settings["model"].method == "unet":
        verb = cosmiq_astro.cosmicray_unet
    out = verb(
        ccd,
        gain=known.gain,
        readnoise=known.readnoise,
        satlevel=known.satlevel,
        exposure_time=chip_plan.exposure_time,
        **settings,
    )
    usable = np.isfinite(ccd.data)
    if ccd.mask is not None:
        usable &= ~ccd.mask
    n_pixels = int(usable.sum())
    rate = _hit_rate(out.meta["CRVINHIT"], n_pixels, chip_plan)
    cards = _cards(out.meta, chip_plan.dq_bit, settings, rate)
    found = ChipDetection(
        chip=chip_plan.chip,
        planes={
            PLANES[name]: getattr(out, name)
            for name in ("cr_mask", *names)
            if getattr(out, name) is not None
        },
        cards=cards,
        history=(
            f"cosmiq_astro {cards['CRVIVERS']} {Time.now().isot[:19]}: cosmic rays of "
            f"{'SCI' if chip_plan.chip.is_hst else 'the image'},{extver} by {cards['CRVIMODL']}, "
            f"T={cards['CRVIT']}, seed {cards['CRVISEED']}, threshold {cards['CRVITHR']:g}"
        ),
        dq_bit=chip_plan.dq_bit,
        data=out.data if settings["clean"] is not None else None,
    )
    return found, ChipResult(
        extver=extver,
        n_pixels=n_pixels,
        n_pixels_flagged=cards["CRVINPIX"],
        n_hits=cards["CRVINHIT"],
        hit_rate=rate,
        seconds=time.perf_counter() - start,
        verdict=verdict_line(out.meta),
    )


def _read_afresh(file, extver, dq_ignore):
    """Read a chip as if nothing had been found on it before."""
    ccd = read_chip(file, extver, dq_ignore=dq_ignore)
    if isinstance(ccd, CosmicRayCCDData):
        for keyword in [keyword for keyword in ccd.meta if keyword.startswith("CRVI")]:
            ccd.meta.remove(keyword)
        # Masked pixels are never flagged: taking the hits off restores the mask as it was.
        if ccd.cr_mask is not None:
            ccd.mask = ccd.mask & ~ccd.cr_mask
    return ccd


def _cards(meta, dq_bit, settings, rate):
    cards = fits.Header([card for card in meta.cards if card.keyword.startswith("CRVI")])
    cards["CRVIDQ"] = (dq_bit or 0, "DQ bit set on flagged pixels")
    cards["CRVIGROW"] = (settings["mask_growth"], "radius the mask was grown by (pixels)")
    if settings["clean"] is not None:
        cards["CRVICLN"] = (settings["clean"], "how flagged pixels were replaced")
    if rate is not None:
        cards["CRVIRATE"] = (float(f"{rate.value:.4g}"), "hits per cm2 and second")
    return cards


def _hit_rate(n_hits, n_pixels, chip_plan):
    if chip_plan.pixel_area is None or not chip_plan.exposure_time or not n_pixels:
        return None
    exposure = u.Quantity(chip_plan.exposure_time, u.s)
    return (n_hits / (n_pixels * chip_plan.pixel_area * exposure)).to(u.cm**-2 / u.s)


def _warn_if_sky_subtracted(ccd, extver, readnoise):
    """Warn where the pixels scatter far more than their level allows."""
    if readnoise is None or ccd.unit != u.electron:
        return
    valid = np.isfinite(ccd.data)
    if ccd.mask is not None:
        valid &= ~ccd.mask
    measured = estimate_statistics(ccd.data, valid)
    expected = estimate_statistics(ccd.data, valid, readnoise=readnoise)
    if measured.sky < 1 and measured.noise > 1.5 * expected.noise:
        warnings.warn(
            f"SCI,{extver} has a sky of {measured.sky:.2g} electrons and a noise of "
            f"{measured.noise:.2g} where {expected.noise:.2g} is expected: the sky seems to be "
            "subtracted; use the file from before that, or give readnoise="
            f"{measured.noise:.2g}",
            AstropyUserWarning,
            stacklevel=2,
        )
