"""Files that are written whole or not at all, in runs whose files are known before they begin."""

import contextlib
import os
import shutil
import stat
import tempfile
import time
from pathlib import Path

from cosmiq_astro._fits_sizes import check_sizes

__all__ = [
    "atomic_write",
    "check_run",
    "describe",
    "printable",
    "read_bounded",
    "readable",
    "refuse_existing",
    "remove_leftovers",
    "temporary_folder",
]

_PREFIX = ".cosmiq_astro-"
_DAY = 86400  # seconds
# Errors whose message is meant for the user; any other is named by its type.
_FORESEEN = (OSError, ValueError, TypeError, ImportError)


@contextlib.contextmanager
def readable(path):
    """
    Say of a damaged FITS file that it is one.

    Parameters
    ----------
    path : path-like
        The file that is read in the block.

    Raises
    ------
    ValueError
        If it is no FITS file, is truncated, or a header declares a size that
        is none, before astropy reads it; and in place of whatever astropy
        raises where it cannot make sense of a header. Its own `OSError` and
        `ValueError` pass.

    Examples
    --------
    >>> from cosmiq_astro._io import readable
    >>> with readable("a.fits"):
    ...     {}["NAXIS1"]
    Traceback (most recent call last):
    ValueError: a.fits is damaged, or breaks the rules of FITS (KeyError: 'NAXIS1')
    """
    check_sizes(path)
    try:
        yield
    except Exception as error:
        is_meant = isinstance(error, (OSError, MemoryError, ValueError))
        if is_meant and not isinstance(error, UnicodeError):
            raise
        # KeyError, TypeError, AttributeError, struct.error, astropy's VerifyError, CfitsioException
        raise ValueError(
            f"{path} is damaged, or breaks the rules of FITS ({type(error).__name__}: {error})"
        ) from error


def describe(error):
    """
    Say what went wrong, without a traceback.

    Parameters
    ----------
    error : Exception
        What was raised.

    Returns
    -------
    text : str
        Its message, with the file in front that the system could not use;
        with its type in front if it was not foreseen.

    Examples
    --------
    >>> from cosmiq_astro._io import describe
    >>> describe(FileNotFoundError(2, "No such file or directory", "a.fits"))
    'a.fits: No such file or directory'
    >>> describe(KeyError("a"))
    "KeyError: 'a'"
    """
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error) if isinstance(error, _FORESEEN) else f"{type(error).__name__}: {error}"


def printable(text):
    """
    Write out what a terminal would obey, and what no encoding has.

    Parameters
    ----------
    text : object
        A file's name, say, which may hold anything.

    Returns
    -------
    text : str
        On one line, with escapes in place of control characters and of bytes
        that are not UTF-8.

    Examples
    --------
    >>> from cosmiq_astro._io import printable
    >>> print(printable("a\\nb\\x1b[2J.fits"))
    a\\nb\\x1b[2J.fits
    """
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in str(text)
    )


def read_bounded(path, most):
    """
    Read a file that must not be large.

    Parameters
    ----------
    path : path-like
        The file.
    most : int
        Bytes that it may have.

    Returns
    -------
    content : bytes
        All of it.

    Raises
    ------
    ValueError
        If it is larger, or is no regular file: a device need not end, and a
        pipe need not begin.
    """
    state = os.stat(path)
    if not stat.S_ISREG(state.st_mode):
        raise ValueError(f"{path} is not a regular file")
    if state.st_size > most:
        raise ValueError(f"{path} has {state.st_size} bytes; more than {most} are not read")
    with open(path, "rb") as file:
        return file.read(most)


def check_run(rows=(), others=(), *, overwrite=False, in_place=False):
    """
    Refuse a run that would write over its inputs, or write one file twice.

    Every writer of files calls this before the first one is opened. Names
    are compared by the files that they lead to: through links, and as
    devices and inodes.

    Parameters
    ----------
    rows : sequence of tuple
        Inputs and outputs, two sequences of path-like, for each piece of
        work. Whether an output is there already is left to `atomic_write`,
        so that it concerns its own row only.
    others : sequence of path-like
        Outputs of the run as a whole: tables, plots.
    overwrite : bool, optional
        Whether ``others`` may be there already.
    in_place : bool, optional
        Whether an output may be an input of its own row.

    Raises
    ------
    ValueError
        If an output is an input, is the output of another row, or is there
        and no regular file.
    FileExistsError
        If one of ``others`` is there and ``overwrite`` is False.
    FileNotFoundError
        If the directory of one of ``others`` is missing.
    """
    inputs = {_identity(path): path for given, _ in rows for path in given}
    written = {}
    for given, outputs in [*rows, *(((), [path]) for path in others)]:
        own = {_identity(path) for path in given} if in_place else set()
        for path in outputs:
            _refuse_special(path)
            key = _identity(path)
            source = given[0] if given else path
            if key in written:
                raise ValueError(
                    f"{written[key]} and {source} would be written to the same file, {path}"
                )
            if key in inputs and key not in own:
                raise ValueError(
                    f"{path} is the input itself; name another file, or set in_place"
                    if inputs[key] in given
                    else f"{path} would replace {inputs[key]}, which is an input too: name another"
                )
            written[key] = source
    for path in others:
        refuse_existing(path, overwrite)
        if not os.path.isdir(folder := os.path.dirname(os.path.abspath(path))):
            raise FileNotFoundError(f"{path} cannot be written: there is no directory {folder}")


@contextlib.contextmanager
def atomic_write(path, *, overwrite=False):
    """
    Give a temporary name to write to, and move it to its place when all went well.

    The temporary file has the name of ``path``, in a hidden directory
    beside it. If the block raises, both are removed, and ``path`` is as it
    was before.

    Parameters
    ----------
    path : path-like
        Where the finished file shall lie. A link is followed.
    overwrite : bool, optional
        Whether a file already there may be replaced.

    Yields
    ------
    temporary : `~pathlib.Path`
        A name that does not exist yet.

    Raises
    ------
    FileExistsError
        If ``path`` exists, before or after the block, and ``overwrite`` is
        False. Of two writers at once, one succeeds.
    ValueError
        If ``path`` exists and is no regular file.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from cosmiq_astro._io import atomic_write
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with atomic_write(Path(folder) / "a.txt") as temporary:
    ...         _ = temporary.write_text("whole")
    ...     (Path(folder) / "a.txt").read_text()
    'whole'
    """
    target = Path(os.path.realpath(path))
    _refuse_special(path)
    refuse_existing(path, overwrite)
    with temporary_folder(target.parent) as folder:
        temporary = folder / target.name
        yield temporary
        with temporary.open("r+b") as file:
            os.fsync(file.fileno())
        if overwrite:
            _refuse_special(path)
            if target.exists():
                temporary.chmod(target.stat().st_mode)
            temporary.replace(target)
            return
        try:
            os.link(temporary, target)  # fails where a file is by now
        except OSError as error:
            refuse_existing(path, overwrite=False)
            if isinstance(error, FileExistsError):
                raise
            temporary.replace(target)  # a file system without hard links


@contextlib.contextmanager
def temporary_folder(where=None):
    """
    Make a directory for the time of a block, under a name that `remove_leftovers` knows.

    Parameters
    ----------
    where : path-like, optional
        Where it is made; in the system's directory for temporary files if None.

    Yields
    ------
    folder : `~pathlib.Path`
        The directory.
    """
    with tempfile.TemporaryDirectory(
        dir=where, prefix=_PREFIX, ignore_cleanup_errors=True
    ) as folder:
        yield Path(folder)


def remove_leftovers(folders):
    """
    Remove what killed processes have left behind, if it is older than a day.

    Parameters
    ----------
    folders : iterable of path-like
        Where `temporary_folder` was used; they need not exist.
    """
    for folder in {os.path.realpath(folder) for folder in folders}:
        with contextlib.suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                if not entry.name.startswith(_PREFIX) or not entry.is_dir(follow_symlinks=False):
                    continue
                state = entry.stat(follow_symlinks=False)
                is_mine = not hasattr(os, "getuid") or state.st_uid == os.getuid()
                if is_mine and time.time() - state.st_mtime > _DAY:
                    shutil.rmtree(entry.path, ignore_errors=True)


def _identity(path):
    """Return what two names of one file have in common, whether it exists or not."""
    path = os.path.realpath(path)
    missing = []
    while not os.path.exists(path) and os.path.dirname(path) != path:
        path, name = os.path.split(path)
        missing.append(name)
    state = os.stat(path)
    return state.st_dev, state.st_ino, *missing


def _refuse_special(path):
    if os.path.exists(path) and not os.path.isfile(path):
        raise ValueError(f"{path} is there and not a regular file; name another file")


def refuse_existing(path, overwrite):
    """
    Refuse a name that is taken.

    Parameters
    ----------
    path : path-like
        An output.
    overwrite : bool
        Whether it may be replaced.

    Raises
    ------
    FileExistsError
        If it exists and may not be replaced.
    """
    if not overwrite and os.path.exists(path):
        raise FileExistsError(
            f"{path} exists already; set overwrite to replace it, or name another file"
        )
