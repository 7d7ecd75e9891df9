"""What the command line says of an error, in place of a traceback."""

import re
import traceback

from cosmiq_astro._io import describe
from cosmiq_astro.cli._terminal import print_error

# Where a message tells what to do with a parameter.
_ADVICE = re.compile(r"\b(set|give|leave) ([A-Za-z_]+)(?:=True)?\b")
# What PyTorch says, whose memory grows with the tiles, and what numpy and Python do.
_NO_ROOM_FOR_TILES = re.compile("OutOfMemory|out of memory|not enough memory|can't allocate")
_NO_MEMORY = re.compile("MemoryError|Unable to allocate")


def with_advice(text, args):
    """
    Say what can be done in words of the command line, also where memory ran out.

    Parameters
    ----------
    text : str
        A message.
    args : `argparse.Namespace`
        Of the command, with ``options``, by parameter: only those are named.

    Returns
    -------
    text : str
        The message, with advice or as it was.
    """
    text = _ADVICE.sub(lambda found: _as_option(found, args.options), text)
    in_network = _NO_ROOM_FOR_TILES.search(text)
    if not in_network and not _NO_MEMORY.search(text):
        return text
    names = ("tile_size", "batch_size", "patch_size") if in_network else ()
    helpful = [args.options[name] for name in names if name in args.options]
    if getattr(args, "jobs", 1) > 1:
        helpful.append("--jobs")
    advice = f"lower {' or '.join(helpful)}" if helpful else "the data need more than there is"
    return f"memory ran out ({text.splitlines()[0]}): {advice}"


def _as_option(found, options):
    """Return ``give --in-place`` where Python says ``set in_place``."""
    verb, name = found[1], found[2]
    if name not in options:
        return found[0]
    return f"{'give' if verb == 'set' else verb} {options[name]}"


def about(file, text):
    """
    Say which file a message is about.

    Parameters
    ----------
    file : path-like
        The file.
    text : str
        The message.

    Returns
    -------
    text : str
        With the file in front, unless it begins with it.
    """
    return text if text.startswith((f"{file} ", f"{file}: ")) else f"{file}: {text}"


def attempt(args, file, work, *given):
    """
    Work on one of several files: what goes wrong with it is said, and does not stop the others.

    Parameters
    ----------
    args : `argparse.Namespace`
        With ``debug``.
    file : path-like
        The file.
    work : callable
        What to call.
    *given
        With these.

    Returns
    -------
    done : bool
        Whether it went well.
    """
    try:
        work(*given)
    except Exception as error:
        if args.debug:
            traceback.print_exc()
        print_error(about(file, with_advice(describe(error), args)))
        return False
    return True
