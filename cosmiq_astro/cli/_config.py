"""Settings from a TOML file: a table per command, keys as the long options."""

import argparse
import tomllib
from pathlib import Path

__all__ = ["apply_config", "find_config"]


def find_config(argv):
    """
    Find ``--config FILE`` before anything else is parsed.

    Parameters
    ----------
    argv : list of str or None
        The arguments; those of the process if None.

    Returns
    -------
    path : `~pathlib.Path` or None
        The file; None if none was given.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config", type=Path)
    return parser.parse_known_args(argv)[0].config


def apply_config(path, parsers):
    """
    Make what a file says the defaults of the commands' options.

    Parameters
    ----------
    path : path-like
        A TOML file.
    parsers : dict
        The parser of each command, by its name.

    Raises
    ------
    ValueError
        If the file is not TOML, or has a table or key that is not a command
        or one of its options, or a value that an option does not take.
    """
    try:
        content = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not TOML: {error}") from error
    for command, settings in content.items():
        if command not in parsers or not isinstance(settings, dict):
            raise ValueError(
                f"{path} has {command!r}, which is not a table of a command: "
                f"[{'], ['.join(parsers)}]"
            )
        options = _options(parsers[command])
        for key, value in settings.items():
            if key not in options:
                raise ValueError(
                    f"{path} has {key!r} in [{command}], which is not one of its options: "
                    f"{', '.join(options)}"
                )
            action = options[key]
            parsers[command].set_defaults(**{action.dest: _value(path, key, value, action)})
            action.required = False


def _options(parser):
    """Return the options of a parser by their long names."""
    return {
        name.lstrip("-"): action
        for action in parser._actions
        for name in action.option_strings
        if name == "-T" or (name.startswith("--") and name not in ("--help", "--config"))
    }


def _value(path, key, value, action):
    """Return the value as the option would have it from the command line."""
    if action.nargs == 0:
        if not isinstance(value, bool):
            raise ValueError(f"{path}: {key} must be true or false, got {value!r}")
        return value
    if isinstance(value, (bool, dict)):
        raise ValueError(f"{path}: {key} must be a number, a text or a list, got {value!r}")
    convert = action.type or str
    many = isinstance(action, argparse._AppendAction)
    values = value if isinstance(value, list) else [value]
    if not many and isinstance(value, list):
        values = [",".join(map(str, value))]
    try:
        converted = [convert(str(v)) for v in values]
    except (ValueError, argparse.ArgumentTypeError) as error:
        raise ValueError(f"{path}: {key} cannot be {value!r}: {error}") from error
    if action.choices is not None and not set(converted) <= set(action.choices):
        raise ValueError(f"{path}: {key} must be one of {', '.join(action.choices)}, got {value!r}")
    return converted if many else converted[0]
