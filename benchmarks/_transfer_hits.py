"""Hits for the transfer set, cut from real frames here or given charges on real shapes."""

from dataclasses import dataclass

import numpy as np
from _files import kept
from astropy.io import fits
from astropy.table import Table
from scipy.ndimage import binary_dilation, find_objects, label

__all__ = ["Hits", "itl", "library", "mixed", "stis_library", "uvis"]

_SQUARE = np.ones((3, 3), bool)
_LARGEST = 150  # pixels: larger groups in crowded frames are several hits
_SLIT = slice(400, 620)  # rows of STIS in which the spectrum moves
_PIXEL, _DEPTH = 15.0, 13.0  # micrometres: pixel and silicon of ACS and UVIS
_DEPOSIT = 60.0  # electron per micrometre of a fast proton, the most likely value


@dataclass(frozen=True)
class Hits:
    """Hits as lists of integer offsets (n, 2) and charges (n,), electron."""

    offsets: list
    charges: list

    def __len__(self):
        return len(self.charges)

    def where(self, keep):
        """Return the hits whose number of pixels and total charge ``keep`` accepts."""
        chosen = [i for i, c in enumerate(self.charges) if keep(c.size, c.sum())]
        return Hits([self.offsets[i] for i in chosen], [self.charges[i] for i in chosen])

    def sample(self, n, rng):
        """Return ``n`` hits drawn with replacement."""
        chosen = rng.integers(len(self), size=n)
        return Hits([self.offsets[i] for i in chosen], [self.charges[i] for i in chosen])

    def paste(self, shape, fraction, noise, rng, *, scale=1.0):
        """
        Lay hits on a frame until ``fraction`` of its pixels hold charge.

        Parameters
        ----------
        shape : tuple of int
            Of the frame.
        fraction : float
            Of pixels.
        noise : ndarray
            Local standard deviation, electron; caps what the rim may hold.
        rng : `~numpy.random.Generator`
            Places, turns and scales.
        scale : float
            Factor on all charges.

        Returns
        -------
        charge : ndarray of float32
            Electron.
        rim : ndarray of bool
            Pixels beside a hit that hold none of its known charge.
        """
        charge = np.zeros(shape, np.float32)
        mean = np.mean([c.size for c in self.charges])
        for k in rng.integers(len(self), size=rng.poisson(fraction * charge.size / mean)):
            offset = self.offsets[k]
            if rng.random() < 0.5:
                offset = offset[:, ::-1]
            offset = offset * rng.choice((-1, 1), 2) + rng.integers(0, shape, 2)
            inside = ((offset >= 0) & (offset < shape)).all(axis=1)
            y, x = offset[inside].T
            charge[y, x] += self.charges[k][inside] * (scale * rng.lognormal(0, 0.2))
        hit = charge > 0
        rim = binary_dilation(hit, _SQUARE) & ~hit
        # A real rim is not empty, but below what the cut saw.
        charge[rim] = rng.uniform(0, 1.5, np.count_nonzero(rim)) * noise[rim]
        return charge, rim


def _cut(groups, values):
    """Return each group of a labelled image as a hit."""
    offsets, charges = [], []
    for number, box in enumerate(find_objects(groups), 1):
        inside = groups[box] == number
        if inside.sum() <= _LARGEST:
            offset = np.argwhere(inside)
            offsets.append(offset - offset.mean(axis=0).astype(int))
            charges.append(values[box][inside].astype(np.float32))
    return Hits(offsets, charges)


def stis(path):
    """
    Cut hits from nine STIS exposures of one pointing.

    Groups with a warm pixel are left out: one above 4 standard deviations in
    three of the exposures (real hits meet in the same pixel in one of 50).
    Groups of one pixel count if they are above 150 electron and the pixel is
    quiet in the other exposures.
    """
    with fits.open(path) as hdus:
        rate = hdus["MEDRATE"].data.astype(float)
        hdus = [hdu for hdu in hdus if hdu.name == "SCI"]
        times = [hdu.header["EXPTIME"] for hdu in hdus]
        rest = np.array([h.data - rate * t for h, t in zip(hdus, times, strict=True)])
    spread = 1.4826 * np.median(np.abs(rest), axis=(1, 2))
    dark = rate * np.array(times)[:, None, None]
    score = rest / np.hypot(spread[:, None, None], np.sqrt(np.maximum(dark, 0)))
    often = (score > 4).sum(axis=0)
    bad = (dark.max(axis=0) > 100) | (often >= 3)
    bad[_SLIT] = True
    parts = []
    for snr, values in zip(score, rest, strict=True):
        groups, n = label(snr > 2.5, _SQUARE)
        size = np.bincount(groups.ravel(), minlength=n + 1)
        single_ok = (values > 150) & (often == 1)
        good = (
            np.bincount(groups[(snr > 5) & ((size[groups] > 1) | single_ok)], minlength=n + 1) > 0
        )
        good[groups[bad]] = False
        good[0] = False
        groups[~good[groups]] = 0
        groups = label(groups > 0, _SQUARE)[0]
        parts.append(_cut(groups, values))
    return mixed(*parts)


def uvis(path, rng, *, single, scale=1.0):
    """
    Give charges to the shapes in masks of UVIS darks, which come without.

    A hit deposits what a fast proton leaves on a straight way through the
    silicon, with Moyal's straggling; its pixels share it unevenly. ``scale``
    multiplies all charges. Hits of one pixel are as often short grazes and
    secondaries: log-normal about 700 electron.
    """
    parts = []
    with fits.open(path) as hdus:
        for hdu in hdus[1:]:
            groups, _ = label(hdu.data[:1024], _SQUARE)
            parts.append(_cut(groups, np.ones(groups.shape)))
    hits = mixed(*parts).where(lambda n, total: single or n >= 2)
    charges = []
    for offset in hits.offsets:
        n = len(offset)
        if n == 1:
            charges.append(np.clip(rng.lognormal(np.log(700), 1.1, 1), 60, 20_000) * scale)
            continue
        length = _PIXEL * np.hypot(*np.ptp(offset, axis=0))
        straggling = 1 - 0.35 * (np.log(np.abs(rng.normal()) + 1e-9) + 0.5)
        total = _DEPOSIT * np.hypot(length, _DEPTH) * np.clip(straggling, 0.4, 8)
        near = (np.abs(offset[:, None] - offset).max(axis=2) <= 1).sum(axis=1)
        share = rng.lognormal(0, 0.7, n) * near
        charges.append(total * scale * share / share.sum())
    return Hits(hits.offsets, [c.astype(np.float32) for c in charges])


def itl(path):
    """Return the hits of a thick CCD's darks, spans joined to hits."""
    table = Table.read(path)
    offsets, charges = [], []
    for rows in table.group_by("fp_id").groups:
        at = [(r["y0"], r["x0"] + i) for r in rows for i in range(len(r["pixel_values"]))]
        values = np.concatenate([np.asarray(r["pixel_values"], np.float32) for r in rows])
        if values.size > 1:
            at = np.array(at)
            offsets.append(at - at[0])
            charges.append(np.maximum(values, 0))
    return Hits(offsets, charges)


def mixed(*parts):
    """Return several libraries as one."""
    return Hits(*([v for p in parts for v in getattr(p, n)] for n in ("offsets", "charges")))


def stis_library(data, work):
    """Return the hits of the STIS frames, those of one pixel too, kept in ``work``."""
    return library(work / "stis.npz", lambda: stis(data / "stis_ccd_1999.fits"))


def library(path, make):
    """Return the hits in ``path`` (.npz), or those that ``make`` returns, then kept there."""

    def new():
        hits = make()
        return {
            "offsets": np.concatenate(hits.offsets).astype(np.int16),
            "charges": np.concatenate(hits.charges).astype(np.float32),
            "sizes": np.array([c.size for c in hits.charges]),
        }

    arrays = kept(path, new)
    ends = np.cumsum(arrays["sizes"])[:-1]
    return Hits(np.split(arrays["offsets"].astype(int), ends), np.split(arrays["charges"], ends))
