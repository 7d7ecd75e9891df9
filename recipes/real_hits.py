"""Hits of real cosmic rays: HST/STIS frames, masks of WFC3/UVIS darks, and a thick LSST CCD."""

from functools import cache

import numpy as np
from astropy.io import fits
from astropy.table import Table
from scipy import ndimage

from cosmiq_astro.simulate import Footprints, extract_footprints

STIS_NOISE = 6.6
# Both exposures of one data set are never trained on.
STIS_TRAINING = (1, 2, 3, 4, 5, 8, 9)
STIS_VALIDATION = (6, 7)
STIS_FRAMES = {"training": STIS_TRAINING, "validation": STIS_VALIDATION}
STIS_PARTNER = {2: 3, 3: 2, 4: 5, 5: 4, 6: 7, 7: 6, 8: 9, 9: 8}  # exposures of one data set
UVIS_EXPOSURES = {"training": ("IB910IRXQ", "IB910JYYQ"), "validation": ("IB910KXLQ",)}
_EIGHT = np.ones((3, 3), bool)
_SMALL = 6  # pixels: up to so many, charges come from a STIS hit of the very same shape
_RIM_CHARGE = 20.0  # electron: what the masks' own threshold may have left unseen


@cache
def stis_hits(path, frames):
    """
    Cut the hits out of HST/STIS exposures of one pointing (proposal 7353).

    Their rims are marked as unknown. A pixel that stands out alone, and in the other exposure of
    its pair as well, or alone in any other of the nine, is a hot one and left out; so are groups of
    one or two pixels below 300 electrons, where flickering pixels outnumber the hits.
    """
    with fits.open(path) as hdus:
        rate = hdus["MEDRATE"].data.astype(float)
        dark = {i: rate * hdus["SCI", i].header["EXPTIME"] for i in range(1, 10)}
        excess = {i: hdus["SCI", i].data - dark[i] for i in dark}
    noise = {i: np.sqrt(STIS_NOISE**2 + np.maximum(dark[i], 0)) for i in dark}
    bright = {i: excess[i] > 2.5 * noise[i] for i in dark}
    alone = {i: _alone(bright[i]) for i in dark}
    libraries = []
    for i in frames:
        mask = dark[i] > 400
        mask[400:620] = True  # the slit spectrum moves between exposures
        again = [bright[j] if j == STIS_PARTNER.get(i) else alone[j] for j in alone if j != i]
        hot = alone[i] & np.any(again, axis=0)
        frame = np.where(hot, 0, excess[i])
        hits = extract_footprints(frame, noise[i], mask=mask, min_charge=60, rim=True)
        hit = np.repeat(np.arange(len(hits)), hits.n_pixels)
        size = np.bincount(hit, ~hits.unknown, minlength=len(hits))
        libraries.append(hits.take((size > 2) | (hits.total_charge > 300)))
    return Footprints.concatenate(libraries)


def _alone(bright):
    """Pixels without a bright neighbour."""
    return bright & (ndimage.uniform_filter(bright.astype(np.float32), 3) < 1.5 / 9)


def itl_hits(path, part):
    """
    Read footprints from darks of a 100 µm thick LSST CCD (DESC imSim).

    Those with an even number are of part ``'training'``, the others of ``'validation'``.
    """
    table = Table.read(path)
    # Rows of pixels, each from (x0, y0) on.
    values = [np.asarray(v, dtype=float) for v in table["pixel_values"]]
    span = np.repeat(np.arange(len(values)), [len(v) for v in values])
    x = np.concatenate([x0 + np.arange(len(v)) for x0, v in zip(table["x0"], values, strict=True)])
    hits = Footprints.from_pixels(
        table["fp_id"][span], table["y0"][span], x, np.concatenate(values)
    )
    return hits.take(np.arange(len(hits)) % 2 == (part == "validation"))


def uvis_shapes(path, part):
    """
    List the groups of hit pixels in masks of WFC3/UVIS darks: ``(y, x)`` of each.

    The exposures of the parts differ. A pixel that is flagged alone and in another exposure as
    well is a hot one and left out: six in ten of the single pixels are (chance: one in thirty).
    """
    with fits.open(path) as hdus:
        masks = {hdu.name: hdu.data > 0 for hdu in hdus[1:]}
    shapes = []
    for name, mask in masks.items():
        if name[:-1] not in UVIS_EXPOSURES[part]:
            continue
        again = [m for other, m in masks.items() if other != name and other[-1] == name[-1]]
        groups, _ = ndimage.label(mask & ~(_alone(mask) & np.any(again, axis=0)), _EIGHT)
        for i, box in enumerate(ndimage.find_objects(groups), 1):
            shapes.append(np.nonzero(groups[box] == i))
    return shapes


def uvis_hits(path, part, charges, *, seed, n=15_000):
    """
    Give ``n`` of the shapes of `uvis_shapes` the charges of real hits, a library as of `stis_hits`.

    A group of up to six pixels gets those of a hit of the same shape, turned and flipped to fit;
    a larger one the ranked charges of a hit of about as many pixels, highest in its middle. The
    rim is marked as unknown and holds a random part of what diffusion may bring there.
    """
    rng = np.random.default_rng(seed)
    by_shape, by_size = {}, {}
    for low, high in zip(charges.offsets[:-1], charges.offsets[1:], strict=True):
        known = np.arange(low, high)[~charges.unknown[low:high]]
        charge = charges.charge[known]
        by_size.setdefault(known.size, []).append(np.sort(charge))
        if known.size <= _SMALL:
            shape, order = _normal(charges.dy[known], charges.dx[known], rng)
            by_shape.setdefault(shape, []).append(charge[order])
    sizes = np.array(sorted(by_size))
    pixels = []
    shapes = uvis_shapes(path, part)
    for number in rng.permutation(len(shapes))[:n]:
        y, x = shapes[number]
        shape, order = _normal(y, x, rng) if y.size <= _SMALL else (None, None)
        if shape in by_shape:
            charge = np.empty(y.size)
            charge[order] = _any_of(by_shape[shape], rng)
        else:
            near = sizes[np.argmin(np.abs(np.log(sizes / y.size)))]
            ranked = _any_of(by_size[near], rng)
            ranked = np.interp(np.linspace(0, 1, y.size), np.linspace(0, 1, near), ranked)
            charge = np.empty(y.size)
            charge[np.argsort(_depth(y, x) * rng.lognormal(0, 0.3, y.size))] = ranked
        pixels.append(_with_rim(number, y, x, charge, rng))
    return Footprints.from_pixels(*(np.concatenate(column) for column in zip(*pixels, strict=True)))


def _any_of(items, rng):
    return items[rng.integers(len(items))]


def _normal(y, x, rng):
    """One of the eight views of a group, the same for all of them, and its order of pixels."""
    views = []
    for turn in rng.permutation(8):
        a, b = (x, y) if turn & 4 else (y, x)
        a, b = (-a if turn & 1 else a), (-b if turn & 2 else b)
        a, b = a - a.min(), b - b.min()
        order = np.lexsort((b, a))
        views.append((tuple(zip(a[order].tolist(), b[order].tolist(), strict=True)), order))
    return min(views, key=lambda view: view[0])


def _image(y, x, value, margin):
    image = np.zeros((y.max() + 2 * margin + 1, x.max() + 2 * margin + 1))
    image[y + margin, x + margin] = value
    return image


def _depth(y, x):
    """How far inside its group each pixel lies."""
    return ndimage.gaussian_filter(_image(y, x, 1.0, 4), 1.0)[y + 4, x + 4]


def _with_rim(number, y, x, charge, rng):
    """Columns of `Footprints.from_pixels` of one hit with the pixels around it."""
    image = _image(y, x, charge, 1)
    known = _image(y, x, 1.0, 1) > 0
    leaked = ndimage.convolve(image, [[0.01, 0.04, 0.01], [0.04, 0, 0.04], [0.01, 0.04, 0.01]])
    rim = np.minimum(leaked, _RIM_CHARGE) * rng.random(image.shape)
    rows, columns = np.nonzero(ndimage.binary_dilation(known, _EIGHT))
    unknown = ~known[rows, columns]
    value = np.where(unknown, rim[rows, columns], image[rows, columns])
    return np.full(rows.size, number), rows, columns, value, unknown
