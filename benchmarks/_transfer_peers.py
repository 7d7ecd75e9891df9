"""Peers on the transfer set, their planes kept: deepCR, CRNet, astroscrappy."""

import numpy as np
from _crnet import crnet
from _files import kept
from _peers import deepcr
from _transfer_scores import FPR, count, rate

__all__ = ["NAMES", "peer"]

NAMES = ("deepCR", "CRNet", "astroscrappy")
# From low to high; a pixel scores by the highest at which it is flagged.
_SIGCLIP = (1.8, 2.2, 2.7, 3.5, 4.5, 6.5, 9, 14, 25, 60)
_SIGCLIP_DEFAULT = 4.5
_OBJLIM = (2.0, 5.0, 10.0)


def peer(name, frames):
    """
    Return a peer as a function from a frame to probabilities.

    Parameters
    ----------
    name : str
        Of `NAMES`.
    frames : `_transfer_frames.Frames`
        Where the planes are kept, and CRNet's weights found.
    """
    if name == "deepCR":
        return _kept("deepcr", deepcr, frames.work)
    if name == "CRNet":
        path = frames.data / "peers" / "crnet_acs_wfc_GN-16.pth"
        return _kept("crnet", lambda: crnet(path), frames.work)
    if name == "astroscrappy":
        at = [_kept(f"astroscrappy_{o:g}", lambda o=o: _lacosmic(o), frames.work) for o in _OBJLIM]
        return lambda frame: max((planes(frame) for planes in at), key=lambda p: _worth(p, frame))
    raise ValueError(f"--peers: {name!r} is none of {', '.join(NAMES)}")


def _kept(name, make, work):
    """Return a function of a frame that keeps what it computes; ``make`` is called if needed."""
    loaded = []

    def planes(frame):
        def new():
            if not loaded:
                loaded.append(make())
            return {"probability": np.asarray(loaded[0](frame), np.float32)}

        return kept(work / name / f"{frame.name}.npz", new)["probability"]

    return planes


def _lacosmic(objlim):
    from astroscrappy import detect_cosmics

    def run(frame):
        image = frame.image.astype(np.float32)
        # Its noise model needs the sky that a sky-subtracted frame lacks.
        spread = 1.4826 * np.median(np.abs(image - np.median(image)))
        sky = max(float(spread**2 - frame.readnoise**2 - np.median(image)), 0)
        sky = np.full(image.shape, sky if np.median(image) < 10 else 0, np.float32)
        highest = np.zeros(image.shape, np.float32)
        for level in _SIGCLIP:
            mask, _ = detect_cosmics(
                image,
                sigclip=level,
                objlim=objlim,
                gain=1,
                readnoise=frame.readnoise,
                satlevel=1e9,
                inbkg=sky,
            )
            highest[mask] = level
        return highest / (highest + _SIGCLIP_DEFAULT)

    return run


def _worth(probability, frame):
    counts = count(probability, 0.5, frame)
    return np.mean([rate(counts, fpr) for fpr in FPR.values()])
