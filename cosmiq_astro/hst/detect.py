"""From file to file: plan, detect, write."""

import os
import time
import warnings

import numpy as np
from astropy.utils.exceptions import AstropyUserWarning

import cosmiq_astro
from cosmiq_astro.hst.detect_chip import detect_chip
from cosmiq_astro.hst.instruments import INSTRUMENTS
from cosmiq_astro.hst.output import write_detections, write_dq_file
from cosmiq_astro.hst.plan import PLAN_SETTINGS, plan_file
from cosmiq_astro.hst.provenance import digest_file, digest_settings
from cosmiq_astro.hst.results import FileResult
from cosmiq_astro.hst.waivered import as_extensions
from cosmiq_astro.protect import read_protection

__all__ = ["PLANE_NAMES", "detect_file", "digest_of"]

PLANE_NAMES = {
    "prob": "cr_probability",
    "std": "cr_uncertainty",
    "ent": "cr_entropy",
    "mi": "cr_mutual_information",
    "draws": "cr_draws",
}
"""Short names of the planes that can be left out, and the attributes they stand for."""

# What the result does not depend on.
_INDIFFERENT = ("model", "device", "tile_size", "progress_bar", "overwrite", "in_place")


def detect_file(
    file_in,
    file_out=None,
    *,
    model="acs-wfc-vi",
    T=16,
    threshold=None,
    sampling="antithetic",
    seed=None,
    mask_growth=0,
    clean=None,
    in_place=False,
    extver=None,
    dq_bit="default",
    dq_ignore=None,
    planes=tuple(PLANE_NAMES),
    gain=None,
    readnoise=None,
    satlevel=None,
    exposure_time=None,
    device="auto",
    tile_size=None,
    precision="float32",
    overwrite=False,
    progress_bar=False,
    protect=None,
    uncertainty=None,
    spectrum=None,
    negative=False,
):
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
    threshold : float, optional
        Probability from which a pixel is flagged; the model's own if None.
    sampling : {'antithetic', 'adaptive', 'independent', 'moments', 'mean'}, optional
        How the weights are drawn, as in `~cosmiq_astro.cosmicray_vi`.
    seed : int, optional
        Seed of the draws; chosen and written to the header if None.
    mask_growth : int, optional
        Radius, pixels, that the mask is grown by.
    clean : {None, 'median', 'medmask', 'meanmask', 'idw'}, optional
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
        Data-quality bits, summed, that shall not mask a pixel.
    planes : collection of {'prob', 'std', 'ent', 'mi', 'draws'}, optional
        The planes to write beside the mask; the last is there only if the
        sampling is ``'adaptive'``.
    gain, readnoise, satlevel, exposure_time : float, optional
        Electron/adu, electron, electron, seconds; from the headers if None.
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
    uncertainty, spectrum, negative : optional
        As for `~cosmiq_astro.cosmicray_vi`; ``uncertainty=True`` takes ERR.

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
    given = {name: value for name, value in locals().items() if not name.startswith("file_")}
    start = time.perf_counter()
    unknown = set(planes) - set(PLANE_NAMES)
    if unknown:
        raise ValueError(f"planes can be {', '.join(PLANE_NAMES)}; got {sorted(unknown)}")
    given["protect"] = read_protection(protect)
    # As a user sees it: whether the output can be written is known before anything is unpacked.
    names = plan_file(file_in, file_out, **{name: given[name] for name in PLAN_SETTINGS})
    for note in names.notes:
        warnings.warn(note, AstropyUserWarning, stacklevel=2)
    if isinstance(model, (str, os.PathLike)):
        given["model"] = cosmiq_astro.load_model(model)
    _warn_of_camera(names, given["model"])
    names.file_out.parent.mkdir(parents=True, exist_ok=True)
    if seed is None:
        # One seed for all chips: they are one exposure, seen by the same networks.
        given["drawn_seed"] = int(np.random.default_rng().integers(2**31))
    provenance = {
        "CRVISRC": (digest_file(names.file_in), "SHA-256 of the input file (first 16)"),
        "CRVIKEY": (digest_of(given), "digest of model and settings"),
    }
    with as_extensions(names.file_in) as near:
        plan = names
        if near != names.file_in:
            settings = {name: given[name] for name in PLAN_SETTINGS} | {"overwrite": True}
            plan = plan_file(near, names.file_out, **settings)
        found = _detect(plan, given)
        detections = [detection for detection, _ in found]
        for detection in detections:
            detection.cards.update(provenance)
        _write(plan, detections, overwrite=overwrite or in_place)
    cards = detections[0].cards
    return FileResult(
        file_in=names.file_in,
        file_out=names.file_out,
        instrument=names.instrument.name,
        model=given["model"].name,
        T=cards["CRVIT"],
        seed=cards["CRVISEED"],
        threshold=cards["CRVITHR"],
        chips=tuple(result for _, result in found),
        seconds=time.perf_counter() - start,
    )


def _warn_of_camera(plan, model):
    """Warn where a model of HST's cameras is given an image of another one."""
    name = plan.instrument.name
    if "HST" in model.instrument and name not in model.instrument:
        camera = name if name in INSTRUMENTS else "the camera, not one of HST's,"
        warnings.warn(
            f"{camera} is not what the model {model.name} was trained for ({model.instrument}): "
            f"its probabilities need not be right here; ccd-{model.method} was trained for CCDs in "
            "general",
            AstropyUserWarning,
            stacklevel=3,
        )


def _detect(plan, given):
    """Return what is to be written of each chip, and what is to be said of it."""
    settings = {
        name: given[name]
        for name in (
            "model",
            "threshold",
            "mask_growth",
            "clean",
            "device",
            "tile_size",
            "precision",
            "protect",
            "uncertainty",
            "spectrum",
            "negative",
        )
    }
    settings["progress_bar"] = given["progress_bar"]
    if given["model"].method == "vi":
        seed = given.get("drawn_seed", given["seed"])
        settings |= {"T": given["T"], "sampling": given["sampling"], "seed": seed}
    names = [PLANE_NAMES[name] for name in given["planes"]]
    return [
        detect_chip(plan.file_in, chip, settings, dq_ignore=given["dq_ignore"], names=names)
        for chip in plan.chips
    ]


def digest_of(settings):
    """
    Return the digest of a call that its output's ``CRVIKEY`` holds.

    Parameters
    ----------
    settings : dict
        Keyword arguments of `detect_file`, with the model loaded; what is not
        given has its default.

    Returns
    -------
    digest : str
        Hexadecimal, 16 digits.
    """
    defaults = detect_file.__kwdefaults__
    known = {name: settings.get(name, value) for name, value in defaults.items()}
    known["protect"] = read_protection(known["protect"])
    kept = {name: value for name, value in known.items() if name not in _INDIFFERENT}
    return digest_settings(settings["model"], kept)


def _write(plan, detections, *, overwrite):
    # The image comes last: where it is, the file with its data quality is too.
    if detections[0].chip.dq_file is not None and plan.chips[0].dq_bit:
        write_dq_file(plan.file_in, _dq_output(plan), detections, overwrite=overwrite)
    write_detections(plan.file_in, plan.file_out, detections, overwrite=overwrite)


def _dq_output(plan):
    """Name the copy of WFPC2's data-quality file after that of the image."""
    if plan.file_out == plan.file_in:
        return plan.chips[0].chip.dq_file
    name = plan.file_out.name
    for image, quality in (("_c0m", "_c1m"), ("_c0f", "_c1f")):
        if image in name:
            return plan.file_out.with_name(name.replace(image, quality))
    return plan.file_out.with_name(f"{plan.file_out.stem}_c1m.fits")
