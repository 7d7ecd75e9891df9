"""From file to file: plan, detect, write."""

from __future__ import annotations

import time
import warnings
from collections.abc import Collection
from os import PathLike
from typing import TYPE_CHECKING, Literal

import numpy as np
from astropy.utils.exceptions import AstropyUserWarning

from cosmiq_astro.hst.detect_chip import detect_chip
from cosmiq_astro.hst.output import write_detections
from cosmiq_astro.hst.plan import PLAN_SETTINGS, plan_file
from cosmiq_astro.hst.provenance import digest_file
from cosmiq_astro.hst.results import FileResult
from cosmiq_astro.hst.settings import PLANE_NAMES, DetectSettings
from cosmiq_astro.hst.waivered import as_extensions

if TYPE_CHECKING:
    from astropy import units as u
    from numpy.typing import ArrayLike

    from cosmiq_astro._types import Cleaning, Precision, Sampling, Threshold
    from cosmiq_astro.models.model import Model

__all__ = ["detect_file", "run_detection"]


def detect_file(
    file_in: str | PathLike,
    file_out: str | PathLike | None = None,
    *,
    model: str | PathLike | Model = "acs-wfc-vi",
    T: int = 16,
    threshold: Threshold | None = None,
    sampling: Sampling = "antithetic",
    views: Literal[1, 2, 4] | None = None,
    seed: int | None = None,
    mask_growth: int = 0,
    clean: Cleaning | None = None,
    in_place: bool = False,
    extver: Collection[int] | None = None,
    dq_bit: int | Literal["default"] | None = "default",
    dq_ignore: int | None = None,
    planes: Collection[str] = tuple(PLANE_NAMES),
    gain: float | None = None,
    readnoise: float | None = None,
    satlevel: float | None = None,
    exposure_time: float | None = None,
    unit: str | u.UnitBase | None = None,
    device: str = "auto",
    tile_size: int | None = None,
    precision: Precision = "float32",
    overwrite: bool = False,
    progress_bar: bool = False,
    protect: ArrayLike | str | PathLike | None = None,
    background: float | ArrayLike | str | PathLike | None = None,
    uncertainty: bool | None = None,
    spectrum: Literal["x", "y"] | None = None,
    negative: bool = False,
) -> FileResult:
    """
    Find the cosmic rays in a file, and write a copy that holds them.

    The copy keeps every HDU and card. For each chip it adds ``CRVIMASK``
    and the planes asked for, with the image's ``EXTVER``, sets a bit of DQ
    on the flagged pixels, and notes in the image's header how it was done.
    It is written whole or not at all.

    Parameters
    ----------
    file_in : path-like
        An HST file, or one with a simple image. It is not changed.
    file_out : path-like, optional
        The copy; beside the input with ``_crvi`` in its name if None. Its
        directory is made if missing.
    model : str, path-like or Model, optional
        A variational or deterministic model, by name, folder, or loaded.
    T : int, optional
        Number of weight draws of a variational model.
    threshold : float or {'pure', 'balanced', 'complete'}, optional
        Probability from which a pixel is flagged; the model's own if None.
    sampling : {'antithetic', 'independent', 'moments', 'mean'}, optional
        How the weights are drawn, as in `~cosmiq_astro.cosmicray_vi`.
    views : {1, 2, 4}, optional
        Ways to turn the image, whose mean counts; the model's own number if
        None.
    seed : int, optional
        Seed of the draws; chosen and written to the header if None.
    mask_growth : int, optional
        Radius, pixels, that the mask is grown by.
    clean : {None, 'median', 'medmask', 'meanmask', 'idw', 'maskfill'}, optional
        How to replace the flagged pixels of the image; None leaves it as it
        is. ERR is never changed.
    in_place : bool, optional
        Whether to replace the input by the copy instead.
    extver : collection of int, optional
        The chips to search; all if None.
    dq_bit : int or None or 'default', optional
        The bit of DQ to set: 16384 for all known cameras by default, 4096 or
        8192. None leaves DQ as it is. AstroDrizzle wipes 4096 unless it is
        run with ``resetbits=0``.
    dq_ignore : int, optional
        Data-quality bits, summed, that shall not mask a pixel. Give those of hot
        and warm pixels to have these flagged as well where they stand alone.
    planes : collection of {'prob', 'std', 'ent', 'mi'}, optional
        The planes to write beside the mask.
    gain, readnoise, satlevel, exposure_time : float, optional
        Electron/adu, electron, electron, seconds; from the headers if None.
    unit : str or `~astropy.units.Unit`, optional
        Unit of the pixels, in place of ``BUNIT``.
    device : str, optional
        ``'auto'``, ``'cpu'``, ``'cuda'``, ``'mps'`` or any `torch.device`.
    tile_size : int, optional
        Side of the tiles, pixels.
    precision : {'float32', 'bfloat16'}, optional
        Of the network's convolutions, as in `~cosmiq_astro.cosmicray_vi`.
    overwrite : bool, optional
        Whether an output that exists, or an earlier detection in the input,
        may be replaced. The bit that the earlier detection set is cleared
        from its pixels, whoever else had set it.
    progress_bar : bool, optional
        Whether to show one.
    protect : array-like, path-like or None, optional
        Pixels of every chip searched that are never flagged, as for
        `~cosmiq_astro.cosmicray_vi`; regions on the sky find their chip.
    background : float, array-like or path-like, optional
        Sky, in the unit of the exposure, in place of an estimate: a number, an
        array, or a FITS file with one image, or with a SCI for each chip.
    uncertainty : bool, optional
        Whether to take the noise from ERR, or UNCERT, in place of an estimate.
    spectrum, negative : optional
        As for `~cosmiq_astro.cosmicray_vi`.

    Returns
    -------
    result : `FileResult`
        Counts and hit rates.

    Raises
    ------
    FileExistsError
        If the output exists or the input holds a detection already, and
        ``overwrite`` is False.
    ValueError
        If the file or a setting cannot be used.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from cosmiq_astro.data import sample_path
    >>> from cosmiq_astro.hst import detect_file
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     out = Path(folder) / "sample_crvi.fits"
    ...     result = detect_file(sample_path(), out, model="acs-wfc-unet")
    >>> result.n_hits > 0
    True
    """
    settings = DetectSettings(
        model=model,
        T=T,
        threshold=threshold,
        sampling=sampling,
        views=views,
        seed=seed,
        mask_growth=mask_growth,
        clean=clean,
        in_place=in_place,
        extver=extver,
        dq_bit=dq_bit,
        dq_ignore=dq_ignore,
        planes=planes,
        gain=gain,
        readnoise=readnoise,
        satlevel=satlevel,
        exposure_time=exposure_time,
        unit=unit,
        device=device,
        tile_size=tile_size,
        precision=precision,
        overwrite=overwrite,
        progress_bar=progress_bar,
        protect=protect,
        background=background,
        uncertainty=uncertainty,
        spectrum=spectrum,
        negative=negative,
    )
    return run_detection(file_in, file_out, settings)


def run_detection(file_in, file_out, settings, *, run=""):
    """
    Do what `detect_file` does.

    Parameters
    ----------
    file_in, file_out : path-like, path-like or None
        As for `detect_file`.
    settings : `~cosmiq_astro.hst.settings.DetectSettings`
        Its other arguments.
    run : str, optional
        What tells the outputs of one run over many files from those of another, for ``CRVIRUN``.

    Returns
    -------
    result : `FileResult`
        Counts and hit rates.
    """
    start = time.perf_counter()
    # As a user sees it: whether the output can be written is known before anything is unpacked.
    names = plan_file(file_in, file_out, **settings.only(PLAN_SETTINGS))
    for note in names.notes:
        warnings.warn(note, AstropyUserWarning, stacklevel=3)
    settings = settings.loaded()
    for chip in names.chips:
        settings.own_sky(chip.chip.extver, chip.shape)
    names.file_out.parent.mkdir(parents=True, exist_ok=True)
    # One seed for all chips: they are one exposure, seen by the same networks.
    seed = int(np.random.default_rng().integers(2**31)) if settings.seed is None else settings.seed
    source = digest_file(names.file_in)
    with as_extensions(names.file_in) as near:
        plan = names
        if near != names.file_in:
            as_given = settings.only(PLAN_SETTINGS) | {"overwrite": True}
            plan = plan_file(near, names.file_out, **as_given)
        done = [
            detect_chip(plan.file_in, chip, settings, seed=seed, source=source, run=run)
            for chip in plan.chips
        ]
        (first, *_), results, outputs = zip(*done, strict=True)
        for doubt in dict.fromkeys(doubt for result in results for doubt in result.doubts):
            chips = ", ".join(str(chip.extver) for chip in results if doubt in chip.doubts)
            warnings.warn(f"chip {chips}: {doubt}", AstropyUserWarning, stacklevel=3)
        overwrite = settings.overwrite or settings.in_place
        write_detections(
            plan.file_in, plan.file_out, outputs, dq_out=plan.dq_out, overwrite=overwrite
        )
    return FileResult(
        file_in=names.file_in,
        file_out=names.file_out,
        instrument=names.instrument.name,
        model=settings.model.name,
        T=first.maps.T,
        seed=first.maps.seed,
        threshold=first.threshold,
        chips=results,
        notes=names.notes,
        seconds=time.perf_counter() - start,
    )
