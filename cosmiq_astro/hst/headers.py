"""What the headers of HST files say: merged cards, coordinates, units."""

import math
import re

from astropy import units as u
from astropy.io import fits
from astropy.io.fits.card import Undefined

__all__ = ["merged_header", "number", "unit_of", "wcs_cards"]

_ELECTRONS, _COUNTS = ("E", "E-", "ELECTRON", "ELECTRONS"), ("COUNT", "COUNTS", "DN", "ADU")
_UNITS = dict.fromkeys(_ELECTRONS, u.electron) | dict.fromkeys(_COUNTS, u.adu)
_PER_SECOND = re.compile(r"(.*?)(/S|/SEC|/SECOND|\.?S-1|\.?S\^-1|S\*\*-1)?", re.DOTALL)
_STRUCTURE = re.compile(
    r"SIMPLE|XTENSION|BITPIX|NAXIS\d*|EXTEND|PCOUNT|GCOUNT|GROUPS|BSCALE|BZERO|BLANK|CHECKSUM"
    r"|DATASUM|EXTNAME|EXTVER|EXTLEVEL|INHERIT|NEXTEND|BUNIT|NPIX\d|PIXVALUE|END"
)
_WCS_CARDS = re.compile(
    r"WCSAXES|WCSNAME|C(TYPE|UNIT|RVAL|RPIX|DELT|ROTA|NAME|RDER|SYER)\d|(CD|PC|PV|PS)\d_\d+|RADESYS"
    r"|EQUINOX|LONPOLE|LATPOLE|[AB]P?_(ORDER|DMAX|\d_\d)"
)


def merged_header(header, primary):
    """
    Complete an image's header by the cards of the primary header that it lacks.

    Parameters
    ----------
    header, primary : `~astropy.io.fits.Header`
        Of the image, and of the primary HDU (which may be the same).

    Returns
    -------
    merged : `~astropy.io.fits.Header`
        Without cards on the file's structure.
    """
    merged = fits.Header()
    for source in (header,) if header is primary else (header, primary):
        for card in source.cards:
            known = card.keyword in merged and card.keyword not in ("HISTORY", "COMMENT")
            if not (known or card.keyword == "" or _STRUCTURE.fullmatch(card.keyword)):
                merged.append(card, end=True)
    return merged


def wcs_cards(header):
    """
    Pick the cards of the linear world coordinates and their SIP distortion.

    Parameters
    ----------
    header : `~astropy.io.fits.Header`
        Of an image.

    Returns
    -------
    cards : list of `~astropy.io.fits.Card`
        The cards found.
    """
    return [card for card in header.cards if _WCS_CARDS.fullmatch(card.keyword)]


def number(header, keyword, default=None):
    """
    Return a card that must hold a number.

    Parameters
    ----------
    header : `~astropy.io.fits.Header`
        Of an image.
    keyword : str
        Of the card.
    default : float, optional
        If there is no such card, or it has no value.

    Returns
    -------
    value : float or None
        Its value.

    Raises
    ------
    ValueError
        If it is a text, a truth value, complex or not finite.
    """
    value = header.get(keyword, default)
    if value is None or value == "" or isinstance(value, Undefined):
        return default
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"{keyword} in the header must be a finite number, got {value!r}")
    return value


def unit_of(header, unit=None):
    """
    Tell the unit of an image.

    Parameters
    ----------
    header : `~astropy.io.fits.Header`
        Of the image.
    unit : str or `~astropy.units.Unit`, optional
        What the user says it is.

    Returns
    -------
    unit : `~astropy.units.UnitBase`
        adu if there is no ``BUNIT``: nothing is then known of the gain.

    Raises
    ------
    ValueError
        If it is not a unit.
    """
    source = "BUNIT" if unit is None else "unit"
    text = str(header.get("BUNIT", "") if unit is None else unit).strip()
    name, per = _PER_SECOND.fullmatch(text.upper().replace(" ", "")).groups()
    if name in _UNITS:
        return _UNITS[name] / u.s if per else _UNITS[name]
    try:
        return u.Unit(text) if text else u.adu
    except ValueError as error:
        raise ValueError(
            f"{source} is {text!r}, which is not understood; it must be ELECTRONS, COUNTS, DN or "
            "ADU, or one of these per second (/S); give unit in its place"
        ) from error
