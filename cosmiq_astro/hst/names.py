"""What the files of a detection are called."""

from pathlib import Path

__all__ = ["file_names", "output_name", "quality_beside", "stem_of"]


def file_names(file_in, file_out):
    """
    Name all files that a detection reads and writes.

    Parameters
    ----------
    file_in, file_out : `~pathlib.Path`
        Input and output.

    Returns
    -------
    inputs, outputs : list of `~pathlib.Path`
        The files given; where WFPC2's data-quality file lies beside the
        input, that file and its copy come second.
    """
    beside = quality_beside(file_in)
    if beside is None:
        return [file_in], [file_out]
    name = file_out.name.replace("_c0m", "_c1m").replace("_c0f", "_c1f")
    if name == file_out.name:
        name = f"{file_out.stem}_c1m.fits"
    return [file_in, beside], [file_out, file_out.with_name(name)]


def quality_beside(file):
    """
    Find WFPC2's data-quality file.

    Parameters
    ----------
    file : `~pathlib.Path`
        The image's file.

    Returns
    -------
    beside : `~pathlib.Path` or None
        The ``_c1m`` of a ``_c0m``, the ``_c1f`` of a ``_c0f``; None if there is none.
    """
    for image, quality in (("_c0m", "_c1m"), ("_c0f", "_c1f")):
        beside = file.parent / file.name.replace(image, quality)
        if beside != file and beside.is_file():
            return beside
    return None


def output_name(file_in, folder=None):
    """
    Name the output after the input.

    Parameters
    ----------
    file_in : path-like
        The input.
    folder : path-like, optional
        Where the output goes; beside the input if None.

    Returns
    -------
    file_out : `~pathlib.Path`
        ``j8bt06nyq_flt_crvi.fits`` for ``j8bt06nyq_flt.fits.gz``.
    """
    file_in = Path(file_in)
    return (file_in.parent if folder is None else Path(folder)) / f"{stem_of(file_in)}_crvi.fits"


def stem_of(file):
    """
    Take the endings of FITS files off a name, in capitals too.

    Parameters
    ----------
    file : path-like
        The file.

    Returns
    -------
    stem : str
        ``j8bt06nyq_flt`` of ``j8bt06nyq_flt.fits.gz``.
    """
    stem = Path(file).name
    for ending in (".gz", ".fz", ".bz2", ".fits", ".fit", ".fts"):
        if stem.lower().endswith(ending):
            stem = stem[: -len(ending)]
    return stem
