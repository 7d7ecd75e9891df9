"""Names that a package imports on first use (PEP 562), so that importing it is instant."""

import importlib
import sys

# What a package has of its own.
_OWN = ("__all__", "__doc__", "__file__", "__name__", "__path__")


def lazy_names(package, names, modules=()):
    """
    Make the functions by which a package imports its public names on first use.

    Parameters
    ----------
    package : str
        Its ``__name__``.
    names : dict of str
        The module that each name is in.
    modules : sequence of str, optional
        Modules of the package that are public themselves.

    Returns
    -------
    getattr, dir : callable
        Its ``__getattr__`` and its ``__dir__``.
    """

    def __getattr__(name):
        if name in names:
            value = getattr(importlib.import_module(names[name]), name)
            setattr(sys.modules[package], name, value)
            return value
        if name in modules:
            return importlib.import_module(f"{package}.{name}")
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    def __dir__():
        return sorted({*sys.modules[package].__all__, *modules, *_OWN})

    return __getattr__, __dir__
