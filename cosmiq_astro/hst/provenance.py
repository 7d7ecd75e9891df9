"""What an output was made from, and how: two digests in its header, to know it again."""

import contextlib
import hashlib
import json
import warnings
from pathlib import Path

from astropy.io import fits

__all__ = ["digest_file", "digest_model", "find_detected", "is_complete", "run_of"]


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
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def digest_model(model):
    """
    Return a digest of all that a model's probabilities and mask depend on.

    Parameters
    ----------
    model : `~cosmiq_astro.models.model.Model`
        Loaded from anywhere, or never saved.

    Returns
    -------
    digest : str
        Hexadecimal, of 64 digits.
    """
    digest = hashlib.sha256()
    for network in model.networks:
        for name, tensor in network.state_dict().items():
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    recalibration = model.recalibration and model.recalibration.to_dict()
    decision = [model.threshold, model.temperature, recalibration, model.operating_curve]
    facts = [model.network.config.as_dict(), *decision]
    digest.update(json.dumps(facts, sort_keys=True, default=str).encode())
    return digest.hexdigest()


def is_complete(path):
    """
    Tell whether every HDU of a file is there as it was written, by its checksums.

    Parameters
    ----------
    path : path-like
        A file whose HDUs all have ``CHECKSUM`` and ``DATASUM``.

    Returns
    -------
    complete : bool
        False also if it is missing or cannot be read.
    """
    return bool(_inspect(path, _is_whole))


def find_detected(file_out, settings):
    """
    Look whether an output is there already that was made in the same way.

    Parameters
    ----------
    file_out : path-like
        The output.
    settings : `~cosmiq_astro.hst.settings.DetectSettings`
        Of the run, loaded.

    Returns
    -------
    headers : list of `~astropy.io.fits.Header`
        Of the images that were searched; empty if the output is another one
        or cannot be read. Whether it is whole is left to `is_complete`.
    """

    def searched(hdus):
        return [hdu.header for hdu in hdus if "CRVIKEY" in hdu.header]

    headers = _inspect(file_out, searched) or []
    key = settings.digest()
    return headers if all(header["CRVIKEY"] == key for header in headers) else []


def run_of(path):
    """
    Tell in which run over many files one was written.

    Parameters
    ----------
    path : path-like
        An output.

    Returns
    -------
    run : str or None
        From ``CRVIRUN``; None if there is no such file, or it was written on its own.
    """
    runs = _inspect(path, lambda hdus: [hdu.header.get("CRVIRUN") for hdu in hdus]) or ()
    return next((run for run in runs if run is not None), None)


def _is_whole(hdus):
    return hdus[0].header.get("NEXTEND") == len(hdus) - 1 and all(
        hdu.verify_datasum() == 1 == hdu.verify_checksum() for hdu in hdus
    )


def _inspect(path, find):
    """Return what a function finds in a file as it is stored; None if it cannot be read."""
    # Not only OSError: a cut file raises, or warns of, whatever its reader meets first.
    with contextlib.suppress(Exception), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with fits.open(path, disable_image_compression=True, lazy_load_hdus=False) as hdus:
            return find(hdus)
    return None
