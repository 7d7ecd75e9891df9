"""Frames with a known truth: read from files, or simulated into them."""

import tempfile
from pathlib import Path

import numpy as np
from astropy.io import fits

from cosmiq_astro._io import atomic_write, readable
from cosmiq_astro.hst import find_chips
from cosmiq_astro.simulate import simulate_hst_file
from cosmiq_astro.training._pixels import FitsImage

# Of the exposures that are simulated to be evaluated.
_FIELDS, _SIZE = ("extragalactic", "globular", "galaxy"), 512


def read_truth(file, truth, chip_plan):
    """
    Read which pixels of a chip were hit.

    Parameters
    ----------
    file : `~pathlib.Path`
        The exposure.
    truth : `~pathlib.Path` or str
        Another file: its extension ``TRUTH`` of the chip's ``EXTVER``, or, if
        it has none, its image of that chip. Or the name of an extension of
        ``file``.
    chip_plan : `~cosmiq_astro.hst.ChipPlan`
        The chip.

    Returns
    -------
    label : ndarray of float32
        1 for a cosmic ray, 0 for none, NaN where it does not count: where
        the truth is NaN, ``IGNORE`` of the same file and ``EXTVER`` is set, or
        the file ``NAME_ignore`` beside a truth ``NAME_mask``, as
        ``cosmiq-astro label`` writes them.

    Raises
    ------
    ValueError
        If there is no such image, or it has another shape or other values.
    """
    extver = chip_plan.chip.extver
    inside = isinstance(truth, str)
    name, source = (truth, file) if inside else ("TRUTH", truth)
    with readable(source), fits.open(source) as hdus:
        if (name, extver) in hdus:
            planes = [hdus[name, extver].data]
        elif inside:
            known = ", ".join(hdu.name for hdu in hdus)
            raise ValueError(
                f"there is no extension {name},{extver} to take the truth from, only {known}; give "
                "--truth"
            )
        else:
            chips = {chip.extver: chip.sci for chip in find_chips(source, hdus)}
            if extver not in chips:
                raise ValueError(f"{source} has no truth for the chip of extver {extver}")
            planes = [hdus[chips[extver]].data]
        if ("IGNORE", extver) in hdus:
            planes.append(hdus["IGNORE", extver].data)
    beside = source.with_name(source.name.replace("_mask.", "_ignore.", 1))
    if not inside and beside != source and beside.is_file():
        planes.append(FitsImage(beside)[:, :])
    for plane in planes:
        if plane is None or plane.shape != chip_plan.shape:
            shape = None if plane is None else plane.shape
            raise ValueError(f"the truth in {source} has shape {shape}, not {chip_plan.shape}")
    label = planes[0].astype(np.float32)
    others = label[~np.isin(label, (0, 1)) & ~np.isnan(label)]
    if others.size:
        raise ValueError(f"the truth in {source} must hold 0, 1 and NaN only, not {others[0]:g}")
    for ignore in planes[1:]:
        label[ignore != 0] = np.nan
    return label


def simulate_frames(args, folder):
    """
    Write simulated exposures with their truth, one when it is asked for.

    Parameters
    ----------
    args : `argparse.Namespace`
        ``simulate``, ``exposure_time``, ``seed``.
    folder : `~pathlib.Path`
        Where they go; a file is deleted before the next one is made.

    Yields
    ------
    file : `~pathlib.Path`
        In the layout of an ACS/WFC subarray, with ``TRUTH`` and ``IGNORE``
        (uint8, 0 or 1).
    """
    for i in range(args.simulate):
        file = folder / f"simulated_{i:03}_flc.fits"
        settings = {
            "chip_shape": (_SIZE, _SIZE),
            "subarray": True,
            "field": _FIELDS[i % len(_FIELDS)],
            "exposure_time": args.exposure_time or 500.0,
            "seed": np.random.default_rng([args.seed, i]),
        }
        write_frame(file, settings, overwrite=False)
        yield file
        file.unlink()


def write_frame(file, settings, *, overwrite):
    """
    Write one simulated exposure with its truth.

    Parameters
    ----------
    file : `~pathlib.Path`
        Its name.
    settings : dict
        Arguments of `~cosmiq_astro.simulate.simulate_hst_file`, ``field`` among them.
    overwrite : bool
        Whether it may be replaced.

    Returns
    -------
    truth : dict
        As that function returns it.
    """
    with tempfile.TemporaryDirectory(dir=file.parent, prefix=".simulated-") as folder:
        # Under its own name, which is in the header, and of WFPC2 names a second file.
        made = Path(folder, file.name)
        truth = simulate_hst_file(made, **settings)
        _append_truth(made, truth, settings["field"])
        # The image comes last: where it is, all of it is.
        for path in sorted(Path(folder).iterdir(), key=lambda path: path == made):
            with atomic_write(file.with_name(path.name), overwrite=overwrite) as temporary:
                path.rename(temporary)
    return truth


def _append_truth(file, truth, field):
    with fits.open(file, mode="update") as hdus:
        for extver, known in truth.items():
            for extension, plane in (("TRUTH", known.label), ("IGNORE", known.ignore)):
                hdus.append(fits.ImageHDU(plane.astype(np.uint8), name=extension, ver=extver))
        header = hdus[0].header
        header["ROOTNAME"] = file.stem.rsplit("_", 1)[0]
        header["NEXTEND"] = len(hdus) - 1
        header["FIELD"] = (field, "kind of scene")
