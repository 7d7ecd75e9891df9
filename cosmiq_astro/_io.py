"""Files that are written whole or not at all."""

import contextlib
import os
import re
import secrets
from pathlib import Path

from cosmiq_astro._fits_sizes import check_sizes

__all__ = ["readable", "remove_temporaries", "written_whole"]

_TEMPORARY = re.compile(r"\.[0-9a-f]{8}\.(.+)")


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
        If a header declares a size that is none, before astropy reads it; and
        in place of whatever astropy raises where it cannot make sense of a
        header. Its own `OSError` and `ValueError` pass.

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
    except (OSError, MemoryError):
        raise
    except Exception as error:
        if isinstance(error, ValueError) and not isinstance(error, UnicodeError):
            raise
        # KeyError, TypeError, AttributeError, struct.error, astropy's VerifyError, CfitsioException
        raise ValueError(
            f"{path} is damaged, or breaks the rules of FITS ({type(error).__name__}: {error})"
        ) from error


@contextlib.contextmanager
def written_whole(path, *, overwrite=False):
    """
    Give a temporary name to write to, and move it to its place when all went well.

    The temporary file lies in the directory of ``path`` and ends like it
    (``.fits.gz`` makes astropy compress). If the block raises, it is
    removed, and ``path`` is as it was before.

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
        False.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from cosmiq_astro._io import written_whole
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with written_whole(Path(folder) / "a.txt") as temporary:
    ...         _ = temporary.write_text("whole")
    ...     (Path(folder) / "a.txt").read_text()
    'whole'
    """
    target = Path(os.path.realpath(path))
    _refuse_existing(target, overwrite)
    temporary = target.with_name(f".{secrets.token_hex(4)}.{target.name}")
    try:
        yield temporary
        with temporary.open("r+b") as file:
            os.fsync(file.fileno())
        _refuse_existing(target, overwrite)
        if target.exists():
            temporary.chmod(target.stat().st_mode)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def remove_temporaries(paths):
    """
    Remove what `written_whole` left beside files when its process was killed.

    Parameters
    ----------
    paths : iterable of path-like
        Files that nobody is writing any more.
    """
    targets = {Path(os.path.realpath(path)) for path in paths}
    for folder in {target.parent for target in targets}:
        for path in folder.iterdir():
            match = _TEMPORARY.fullmatch(path.name)
            if match and folder / match[1] in targets:
                path.unlink(missing_ok=True)


def _refuse_existing(target, overwrite):
    if target.exists() and not overwrite:
        raise FileExistsError(
            f"{target} exists already; set overwrite to replace it, or name another file"
        )
