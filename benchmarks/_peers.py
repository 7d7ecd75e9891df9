"""The tools that the benchmarks compare, each a function from a frame to planes."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass

from cosmiq_astro.detector import CosmicRayDetector
from cosmiq_astro.models.model import load_model

__all__ = ["Tool", "deepcr", "model_tool"]


@dataclass(frozen=True)
class Tool:
    """
    A model under test.

    ``run`` takes a frame (``image`` in electron, ``readnoise``) and returns its maps.
    """

    name: str
    threshold: float
    run: Callable


def model_tool(name, T):
    """
    Return a model of this package.

    Parameters
    ----------
    name : str
        Model name or folder; with ``@T`` for another number of passes, ``@mean`` or ``@moments``
        for another way of sampling, or ``@bfloat16``. What stands before ``=`` is its name in
        the tables.
    T : int
        Passes of a variational model.
    """
    label, _, spec = name.rpartition("=")
    model, _, setting = spec.partition("@")
    model = load_model(model)
    options = {"T": int(setting) if setting.isdigit() else T, "seed": 0}
    if setting in ("mean", "moments"):
        options["sampling"] = setting
    precision = "bfloat16" if setting == "bfloat16" else "float32"
    detector = CosmicRayDetector(model, device="cpu", precision=precision)

    def run(frame):
        return detector(frame.image, readnoise=frame.readnoise, **options)

    return Tool(label or spec.rsplit("/", 1)[-1], model.threshold, run)


def deepcr():
    """Return deepCR's ACS/WFC mask network."""
    from deepCR import deepCR

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch.load
        network = deepCR(mask="ACS-WFC", inpaint="ACS-WFC-F606W-2-32", device="CPU")
    return lambda frame: network.clean(frame.image, binary=False, inpaint=False)
