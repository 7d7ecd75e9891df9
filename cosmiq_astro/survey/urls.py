"""Files in object stores, by fsspec URLs: fetched before, put back after."""

import contextlib
import tempfile
from pathlib import Path

__all__ = ["is_url", "local_files", "name_output"]


def is_url(name):
    """
    Tell whether a name is a URL, such as ``s3://bucket/a.fits``.

    Parameters
    ----------
    name : str or path-like
        A file.

    Returns
    -------
    is_url : bool
        True if it has a protocol.
    """
    return "://" in str(name)


def name_output(file_in, folder=None):
    """
    Name the output after the input, as `cosmiq_astro.hst.detect_file` does, URLs included.

    Parameters
    ----------
    file_in : str or path-like
        The input.
    folder : str or path-like, optional
        Where the output goes; beside the input if None.

    Returns
    -------
    file_out : str or `~pathlib.Path`
        A string for a URL.
    """
    # Only here: the command line asks for its parser alone when it shows its help.
    from cosmiq_astro.hst.plan import output_name

    where = str(file_in).rsplit("/", 1)[0] if folder is None else folder
    name = str(file_in).rsplit("/", 1)[-1] if is_url(file_in) else file_in
    if is_url(where):
        return f"{str(where).rstrip('/')}/{output_name(name).name}"
    return output_name(name, folder)


@contextlib.contextmanager
def local_files(file_in, file_out=None, *, overwrite=False):
    """
    Give local names for an input and an output of which either may be a URL.

    What is at a URL is fetched into a temporary directory, with the
    data-quality file that WFPC2 has beside its image; what lies in the
    output's directory is put in its place when the block ends without an
    error.

    Parameters
    ----------
    file_in, file_out : str, path-like or None
        Files or URLs that fsspec understands.
    overwrite : bool, optional
        Whether an output at a URL may be replaced.

    Yields
    ------
    file_in, file_out : `~pathlib.Path` or None
        On this machine.

    Raises
    ------
    FileExistsError
        If the output is at a URL, exists, and ``overwrite`` is False.
    ImportError
        If fsspec, or the package it needs for a protocol, is not installed.
    """
    remote = is_url(file_out) if file_out is not None else False
    if not remote and not is_url(file_in):
        yield Path(file_in), None if file_out is None else Path(file_out)
        return
    from fsspec.core import url_to_fs

    with tempfile.TemporaryDirectory(prefix="cosmiq_astro-") as folder:
        near_in, near_out = file_in, file_out
        if remote:
            store, there = url_to_fs(str(file_out))
            if store.exists(there) and not overwrite:
                raise FileExistsError(
                    f"{file_out} exists already; set overwrite to replace it, or name another file"
                )
            near_out = Path(folder, "out", Path(there).name)
            near_out.parent.mkdir()
        if is_url(file_in):
            source, path = url_to_fs(str(file_in))
            near_in = Path(folder, Path(path).name)
            source.get_file(path, str(near_in))
            beside = near_in.name.replace("_c0", "_c1")
            if beside != near_in.name and source.exists(path.replace(near_in.name, beside)):
                source.get_file(path.replace(near_in.name, beside), str(near_in.with_name(beside)))
        yield Path(near_in), None if near_out is None else Path(near_out)
        if remote:
            # The image comes last, as on a disk.
            for made in sorted(near_out.parent.iterdir(), key=lambda made: made == near_out):
                store.put_file(str(made), there.removesuffix(near_out.name) + made.name)
