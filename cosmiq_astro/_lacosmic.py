"""What serves instead of the parameters of L.A.Cosmic, for whoever comes from it."""

__all__ = ["refuse_lacosmic"]

_TUNING = "the model has learnt what stars and hits look like"
_SKY = "leave the sky in, or give background and uncertainty"
_INSTEAD = {
    **dict.fromkeys(("sigclip", "sigfrac"), "give threshold, a probability"),
    **dict.fromkeys(("objlim", "fsmode", "psfmodel", "psffwhm"), _TUNING),
    **dict.fromkeys(("psfsize", "psfk", "psfbeta"), _TUNING),
    **dict.fromkeys(("niter", "sepmed"), "nothing is iterated or filtered"),
    **dict.fromkeys(("pssl", "inbkg"), _SKY),
    "invar": "give uncertainty",
    "inmask": "give a masked array, or a CCDData with a mask",
    "gain_apply": "the data and their unit stay as they are",
    "cleantype": "give clean",
    "verbose": "give progress_bar",
}


def refuse_lacosmic(function, given):
    """
    Refuse the parameters of L.A.Cosmic, and say what serves instead.

    Parameters
    ----------
    function : str
        Name of the function.
    given : iterable of str
        Names of the keyword arguments that it is given.

    Raises
    ------
    TypeError
        If one of them is a parameter of ``ccdproc.cosmicray_lacosmic`` or of
        ``astroscrappy.detect_cosmics`` that the function has not.
    """
    found = [f"no {name} ({_INSTEAD[name]})" for name in given if name in _INSTEAD]
    if found:
        raise TypeError(
            f"{function}() has {', '.join(found)}: see 'Coming from another tool' in the "
            "documentation, section 'From L.A.Cosmic'"
        )
