"""The output file: a copy of the input with the planes, the cards and the bits added."""

import io
from dataclasses import dataclass, field

import numpy as np
from astropy.io import fits

from cosmiq_astro._io import atomic_write, readable
from cosmiq_astro._result import remove_cards
from cosmiq_astro.hst.chips import Chip
from cosmiq_astro.hst.headers import wcs_cards
from cosmiq_astro.nddata import PLANES

__all__ = ["ChipOutput", "write_detections"]

_COMPANIONS = ("SCI", "ERR", "DQ", "MASK", "UNCERT")
_PLANES = {
    "CRVIMASK": "1 for cosmic rays, 0 elsewhere",
    "CRPROB": "probability of a cosmic ray",
    "CRSTD": "standard deviation of CRPROB over the draws",
    "CRENT": "entropy of CRPROB",
    "CRMI": "mutual information of label and weights",
}
_ENTROPIES = ("CRENT", "CRMI")
# Finer than any draw's scatter; a power of two, so that multiples are exact and lie within [0, 1].
_STEP = 2.0**-20


@dataclass(frozen=True)
class ChipOutput:
    """
    What is to be written of one chip.

    Attributes
    ----------
    chip : `~cosmiq_astro.hst.Chip`
        Where it lies in the input file.
    planes : dict
        Arrays by extension name; ``CRVIMASK`` is always there.
    cards : dict
        What is to be noted in the image's header, value and comment by keyword.
    history : str
        A line for the primary header.
    dq_bit : int or None
        Bit to set on the flagged pixels.
    data : ndarray or None
        New pixels of the image, if it was cleaned.
    """

    chip: Chip
    planes: dict[str, np.ndarray] = field(repr=False)
    cards: dict[str, tuple[str | float, str]] = field(repr=False)
    history: str
    dq_bit: int | None
    data: np.ndarray | None = field(default=None, repr=False)


def write_detections(file_in, file_out, outputs, *, dq_out=None, overwrite=False):
    """
    Copy a file, with the detections on its chips added.

    Every HDU and card is kept, compressed HDUs as they are. Planes of an
    earlier detection on the same chips are replaced, and the bits that it
    set are cleared first.

    Parameters
    ----------
    file_in, file_out : path-like
        Where from, where to; they may be the same.
    outputs : sequence of `ChipOutput`
        What is to be written.
    dq_out : path-like, optional
        Where a copy of WFPC2's data-quality file goes, with the hits set in it.
    overwrite : bool, optional
        Whether ``file_out`` and ``dq_out`` may be replaced.

    Raises
    ------
    FileExistsError
        If one of them exists and ``overwrite`` is False.
    """
    # The image comes last: where it is, the file with its data quality is too.
    if dq_out is not None:
        _write_dq_file(file_in, dq_out, outputs, overwrite=overwrite)
    as_stored = {"disable_image_compression": True, "do_not_scale_image_data": True}
    with (
        # The context that renames the file comes first, so that its input is closed by then.
        atomic_write(file_out, overwrite=overwrite) as temporary,
        fits.open(file_in) as pixels,
        fits.open(file_in, **as_stored) as stored,
        readable(file_in),
    ):
        _write(_assemble(pixels, stored, outputs), temporary)


def _write_dq_file(file_in, dq_out, outputs, *, overwrite):
    dq_file = outputs[0].chip.dq_file
    with (
        atomic_write(dq_out, overwrite=overwrite) as temporary,
        fits.open(file_in) as pixels,
        readable(dq_file),
        fits.open(dq_file) as quality,
    ):
        out = list(quality)
        for output in outputs:
            if (number := output.chip.dq) is not None:
                out[number] = _flagged(pixels, quality[number], output) or out[number]
        if "CRVIRUN" in outputs[0].cards:
            out[0].header["CRVIRUN"] = outputs[0].cards["CRVIRUN"]
        _write(fits.HDUList(out), temporary)


def _write(hdus, path):
    # By this card a file that was cut between two HDUs is known.
    hdus[0].header["NEXTEND"] = len(hdus) - 1
    # Old headers break rules that do not hinder reading; they are copied, not judged.
    hdus.writeto(path, checksum=True, output_verify="silentfix+ignore")
    # A header of the input that lies about the size of its data hides all that comes after it.
    with fits.open(path) as written:
        if len(written) != len(hdus):
            raise ValueError(
                f"the copy would have {len(written)} readable HDUs in place of {len(hdus)}: "
                "the input is damaged"
            )


def _assemble(pixels, stored, outputs):
    replaced = {(name, o.chip.extver) for o in outputs for name in PLANES.values()}
    out = list(stored)
    for output in outputs:
        chip = output.chip
        if output.data is not None:
            out[chip.sci] = _with_data(pixels[chip.sci], output.data)
        if chip.dq is not None and chip.dq_file is None and (chip.is_hst or _is_mask(pixels, chip)):
            out[chip.dq] = _flagged(pixels, pixels[chip.dq], output) or out[chip.dq]
        header = out[chip.sci].header
        remove_cards(header)
        header.update(output.cards)
        out[0].header["HISTORY"] = output.history
    kept = [hdu for hdu in out if (hdu.name, hdu.ver) not in replaced]
    last = max(
        number
        for number, hdu in enumerate(kept)
        if hdu.name in _COMPANIONS or any(hdu is out[o.chip.sci] for o in outputs)
    )
    kept[last + 1 : last + 1] = _new_hdus(pixels, outputs)
    return fits.HDUList(kept)


def _is_mask(pixels, chip):
    """Tell whether a simple image has a mask that takes the hits, as `CCDData` knows it."""
    return chip.dq is not None and pixels[chip.dq].name == "MASK"


def _flagged(pixels, dq, output):
    """Return DQ (or MASK) with the hits set, those of an earlier run cleared; None if unchanged."""
    chip = output.chip
    bit = output.dq_bit if chip.is_hst else 1
    earlier_bit = pixels[chip.sci].header.get("CRVIDQ", 0) if chip.is_hst else 1
    earlier = ("CRVIMASK", chip.extver) in pixels and earlier_bit
    if dq.data is None or not (bit or earlier):
        return None
    flags = dq.data.copy()
    if earlier:
        hits = pixels["CRVIMASK", chip.extver].data.reshape(flags.shape) != 0
        flags[hits] &= ~flags.dtype.type(earlier_bit)
    if bit:
        if bit > np.iinfo(flags.dtype).max:
            flags = flags.astype(np.int16)
        flags[output.planes["CRVIMASK"].reshape(flags.shape)] |= flags.dtype.type(bit)
    return _with_data(dq, flags)


def _with_data(hdu, data):
    """Return an HDU like another one, with other pixels; floats become of the type that it has."""
    if data.dtype.kind == "f":
        old = hdu.data.dtype
        if old.kind in "iu":
            limits = np.iinfo(old)
            data = np.clip(np.rint(data), limits.min, limits.max)
        data = data.astype(old)
    data, header = data.reshape(hdu.shape), hdu.header.copy()
    if isinstance(hdu, fits.CompImageHDU):
        if data.dtype.kind in "iu":
            return fits.CompImageHDU(data, header, compression_type=hdu.compression_type)
        return _losslessly_compressed(data, header)
    for keyword in ("BSCALE", "BZERO", "BLANK"):
        header.remove(keyword, ignore_missing=True)
    kind = fits.PrimaryHDU if isinstance(hdu, fits.PrimaryHDU) else fits.ImageHDU
    return kind(data, header)


def _new_hdus(pixels, outputs):
    for output in outputs:
        chip = output.chip
        if not (chip.is_hst or _is_mask(pixels, chip)):
            mask = output.planes["CRVIMASK"]
            if chip.dq is not None:
                mask = mask | (pixels[chip.dq].data.reshape(mask.shape) != 0)
            yield fits.ImageHDU(mask.astype(np.uint8), name="MASK", ver=chip.extver)
        for name, plane in output.planes.items():
            header = fits.Header(wcs_cards(pixels[chip.sci].header))
            header["EXTNAME"] = (name, _PLANES[name])
            header["EXTVER"] = (chip.extver, "chip, as that of the image")
            if name in _ENTROPIES:
                header["BUNIT"] = "nat"
                # Rounding must not lift them above their bound.
                plane = np.minimum(plane, np.floor(np.log(2) / _STEP) * _STEP)
            yield _compressed(plane, header)


def _compressed(plane, header):
    """Return a mask, or floats rounded to whole steps, in Rice tiles that hold them exactly."""
    if plane.dtype == bool:
        return fits.CompImageHDU(plane.astype(np.uint8), header, compression_type="RICE_1")
    rounded = np.float32(np.round(plane / _STEP) * _STEP)
    return fits.CompImageHDU(rounded, header, compression_type="RICE_1", quantize_level=-_STEP)


def _losslessly_compressed(data, header):
    """Return an image of floats in GZIP_2 tiles, as the table that it is stored as."""
    image = fits.CompImageHDU(data, header, compression_type="GZIP_2", quantize_level=0)
    with io.BytesIO() as stream:
        fits.HDUList([fits.PrimaryHDU(), image]).writeto(stream)
        stored = fits.HDUList.fromstring(stream.getvalue(), disable_image_compression=True)[1]
    # Without this card, which astropy does not write, DS9 takes the floats for integers.
    stored.header.set("ZQUANTIZ", "NONE", "floats as they are", after="ZCMPTYPE")
    return stored
