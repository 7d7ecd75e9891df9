"""What an output was made from, and how: two digests in its header, to know it again."""

import hashlib
import json
from pathlib import Path

from astropy.io import fits

import cosmiq_astro

__all__ = ["digest_file", "digest_settings", "find_finished"]

_LENGTH = 16


def digest_file(path):
    """
    Return the first 16 digits of a file's SHA-256.

    Parameters
    ----------
    path : path-like
        The file.

    Returns
    -------
    digest : str
        Hexadecimal.
    """
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:_LENGTH]


def digest_settings(model, settings):
    """
    Return a digest of all that the result depends on but the input.

    Parameters
    ----------
    model : `~cosmiq_astro.models.model.Model`
        Its name and the digest of its weights enter.
    settings : dict
        Settings of `~cosmiq_astro.hst.detect_file`; collections in any order.

    Returns
    -------
    digest : str
        Hexadecimal, 16 digits.
    """
    plain = {
        name: sorted(value) if isinstance(value, (list, tuple, set, frozenset)) else value
        for name, value in settings.items()
    }
    facts = [cosmiq_astro.__version__, model.name, model.sha256, model.threshold, plain]
    text = json.dumps(facts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:_LENGTH]


def find_finished(file_out, *, source, settings, **options):
    """
    Look whether an output is there already, made from the same input in the same way.

    Parameters
    ----------
    file_out : path-like
        The output.
    source : str or None
        From `digest_file`; None if the output has replaced the input.
    settings : str
        From `digest_settings`.
    **options
        For `astropy.io.fits.open`.

    Returns
    -------
    headers : list of `~astropy.io.fits.Header`
        Of the images that were searched; empty if the output is another one
        or cannot be read.
    """
    try:
        with fits.open(file_out, **options) as hdus:
            headers = [hdu.header for hdu in hdus if "CRVIKEY" in hdu.header]
    except OSError:
        return []
    same = all(
        header["CRVIKEY"] == settings and source in (None, header.get("CRVISRC"))
        for header in headers
    )
    return headers if same else []
