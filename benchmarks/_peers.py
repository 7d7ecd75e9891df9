"""The tools that `accuracy.py` compares, each a function from a frame to planes."""

import dataclasses
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from _crnet import crnet
from _files import kept
from scipy.special import expit

from cosmiq_astro.calibration import tpr_at_fpr
from cosmiq_astro.detector import CosmicRayDetector
from cosmiq_astro.inference.uncertainty import binary_entropy
from cosmiq_astro.models.model import load_model

__all__ = ["Tool", "deepcr", "make_peers", "model_tool", "reference"]

# From high to low; a pixel scores by the highest at which it is flagged.
_SIGCLIP = (60, 25, 14, 9, 6.5, 4.5, 3.5, 2.7, 2.2, 1.8)
_SIGCLIP_DEFAULT = 4.5
_OBJLIM = (2.0, 3.5, 5.0, 8.0, 12.0)


@dataclass(frozen=True)
class Tool:
    """
    A detector under test.

    ``run`` takes a frame and returns a dictionary of ``probability`` and, from
    models, ``mutual_information``, ``entropy``, ``sky`` and ``noise``;
    ``calibrated`` says whether the probability is meant as one.
    """

    name: str
    threshold: float
    run: Callable
    calibrated: bool = True


def reference():
    """Return the pixelwise detector that knows the scene: its score is charge over noise."""

    def run(frame):
        return {"probability": expit((frame.image - frame.expected) / frame.truth()[0] - 3)}

    return Tool("known scene", 0.5, run, calibrated=False)


def model_tool(name, T):
    """
    Return a model of this package.

    Parameters
    ----------
    name : str
        Model name or folder, with ``@T`` for another number of passes,
        ``@mean`` or ``@moments`` for another way of sampling, ``@raw`` for no
        temperature, or ``@transposed`` for one that sees the frame transposed;
        several joined by ``+`` are an ensemble. What stands before ``=`` is its
        name in the tables.
    T : int
        Passes of a variational model.
    """
    label, _, spec = name.rpartition("=")
    parts = [part.partition("@")[::2] for part in spec.split("+")]
    models = [load_model(part) for part, _ in parts]
    finders = []
    for i, (_, setting) in enumerate(parts):
        if setting == "raw":
            models[i] = dataclasses.replace(models[i], temperature=1.0)
        option = {"T": int(setting) if setting.isdigit() else T, "seed": i}
        if setting in ("mean", "moments"):
            option["sampling"] = setting
        precision = setting if setting == "bfloat16" else "float32"
        detector = CosmicRayDetector(models[i], device="cpu", precision=precision)
        finders.append(_finder(detector, option, transposed=setting == "transposed"))

    def run(frame):
        maps = [find(frame) for find in finders]
        probability = np.mean([m.probability for m in maps], axis=0)
        entropy = binary_entropy(probability)
        aleatoric = np.mean([m.entropy - m.mutual_information for m in maps], axis=0)
        return {
            "probability": probability,
            "entropy": entropy,
            "mutual_information": np.maximum(entropy - aleatoric, 0),
            "sky": maps[0].statistics.sky,
            "noise": maps[0].statistics.noise,
            "novelty": maps[0].novelty,
            "star_novelty": maps[0].star_novelty,
        }

    if not label:
        label = spec.rsplit("/", 1)[-1]
        if len(models) == 1 and models[0].method == "vi" and not parts[0][1]:
            label += f"@{T}"
    return Tool(label, float(np.mean([m.threshold for m in models])), run)


def _finder(detector, options, *, transposed):
    """Return a function of a frame that returns the maps of a detector."""

    def find(frame):
        image = frame.image.T if transposed else frame.image
        maps = detector(image, readnoise=frame.readnoise, **options)
        planes = ("probability", "entropy", "mutual_information") if transposed else ()
        return dataclasses.replace(maps, **{name: getattr(maps, name).T for name in planes})

    return find


def make_peers(names, work, tuning, data):
    """
    Return the peers by name, their planes kept in ``work``.

    Parameters
    ----------
    names : list of str
        Of 'deepcr', 'crnet', 'cosmic-conn', 'astroscrappy'.
    work : `~pathlib.Path`
        Folder of the planes.
    tuning : list of tuple
        Field and frame, to tune astroscrappy on.
    data : `~pathlib.Path`
        Folder of CRNet's weights, in ``peers``.
    """
    tools = []
    if "deepcr" in names:
        tools.append(Tool("deepCR", 0.5, _kept(work / "deepcr", deepcr())))
    if "crnet" in names:
        path = data / "peers" / "crnet_acs_wfc_GN-16.pth"
        tools.append(Tool("CRNet", 0.5, _kept(work / "crnet", crnet(path))))
    if "cosmic-conn" in names:
        tools.append(Tool("Cosmic-CoNN", 0.5, _kept(work / "cosmic-conn", cosmic_conn())))
    if "astroscrappy" in names:
        run = astroscrappy(work, tuning)
        tools.append(Tool("astroscrappy", 0.5, run, calibrated=False))
    return tools


def _kept(folder, function):
    """Return a tool's function of a frame that keeps what it has computed."""

    def run(frame):
        return kept(
            folder / f"{frame.name}.npz",
            lambda: {"probability": np.asarray(function(frame), np.float32)},
        )

    return run


def deepcr():
    """Return deepCR's ACS/WFC mask network."""
    from deepCR import deepCR

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch.load
        network = deepCR(mask="ACS-WFC", inpaint="ACS-WFC-F606W-2-32", device="CPU")
    return lambda frame: network.clean(frame.image, binary=False, inpaint=False)


def cosmic_conn():
    """Return Cosmic-CoNN's network for ACS/WFC."""
    from cosmic_conn import init_model

    network = init_model("HST_ACS_WFC")
    return lambda frame: network.detect_cr(frame.image)


def astroscrappy(work, tuning):
    """Return astroscrappy with the ``objlim`` that is best for each field."""
    from astroscrappy import detect_cosmics

    def at(objlim):
        def score(frame):
            highest = np.zeros(frame.image.shape, np.float32)
            for level in reversed(_SIGCLIP):
                mask, _ = detect_cosmics(
                    frame.image,
                    sigclip=level,
                    objlim=objlim,
                    gain=1,
                    readnoise=frame.readnoise,
                    satlevel=80_000,
                )
                highest[mask] = level
            return highest / (highest + _SIGCLIP_DEFAULT)

        return _kept(work / f"astroscrappy_{objlim:g}", score)

    best = {}
    for field in dict.fromkeys(field for field, _ in tuning):
        frames = [frame for f, frame in tuning if f == field]
        reached = [np.mean([_mean_rate(at(o)(f), f) for f in frames]) for o in _OBJLIM]
        best[field] = _OBJLIM[int(np.argmax(reached))]
        print(f"astroscrappy, {field}: objlim {best[field]:g}")

    def run(frame):
        field = next((f for f in best if f in frame.name), "globular")
        return at(best.get(field, 5.0))(frame)

    return run


def _mean_rate(planes, frame):
    """Return the detection rate, averaged over the two false-positive rates of the table."""
    _, label, ignore = frame.truth()
    p = planes["probability"][~ignore]
    return np.mean([tpr_at_fpr(p, label[~ignore], fpr=fpr) for fpr in (5e-4, 5e-3)])
