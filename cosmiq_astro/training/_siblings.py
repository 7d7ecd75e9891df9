"""Which frames show the same stars, and which are unlike the others of their field."""

import math

import numpy as np
from scipy import fft, ndimage

from cosmiq_astro.familiarity.stars import measure_stars
from cosmiq_astro.preprocess import estimate_statistics
from cosmiq_astro.training._align import align

# The bounds of this module were chosen on a simulated camera with one bad exposure in each visit,
# and held on another (benchmarks/own_camera.py).
_LEAST_AGREEMENT, _SHARE_OF_AGREEMENT, _MISPLACED = 0.3, 0.6, 1.0
_SHAPES = {
    "fwhm": (1.45, "its stars are {:.1f} pixels wide, the others' {:.1f}"),
    "elongation": (1.25, "its stars are elongated ({:.2f}, the others' {:.2f})"),
}
_MISMATCH, _LEAST_MISMATCH, _SHARE_OF_MISMATCH = 0.25, 0.03, 2.5
_HITS, _HIT_SIGMA = 1.7, 5.0
_ENOUGH = 100
_MOST_SIBLINGS = 6
_LARGEST = 1024
# Correlation at the best shift: other stars reach a tenth, the same ones more than a half.
_SAME = 0.35
# Fewer bright pixels may all be hits, and one star is like any other.
_ENOUGH_BRIGHT = 300


def compress(image, sky, noise):
    """
    Return an image in which a star does not count by its brightest pixel.

    Parameters
    ----------
    image : ndarray
        Electron, finite.
    sky, noise : float
        Of the image.

    Returns
    -------
    compressed : ndarray
        0 where there is no star.
    """
    # Nor must a hit that is brighter yet.
    return np.arcsinh(np.maximum((image - sky) / noise - 2, 0) / 10)


def describe_stars(image, statistics):
    """
    Measure how sharp and how round the stars of an exposure are.

    Parameters
    ----------
    image : ndarray
        Electron, finite.
    statistics : `~cosmiq_astro.preprocess.ImageStatistics`
        Sky and noise.

    Returns
    -------
    stars : dict
        ``fwhm`` (pixels) and ``elongation``; NaN where there are too few.
    """
    pixels = image - statistics.sky
    stars = measure_stars(pixels, np.zeros(pixels.shape), statistics.noise)
    return {"fwhm": stars.fwhm, "elongation": stars.elongation}


def check_places(compressed, usable, places):
    """
    Check whether the stars of each exposure are where they are said to be.

    Parameters
    ----------
    compressed : list of ndarray
        From `compress`.
    usable : list of ndarray of bool
        Pixels that may be used.
    places : list
        Where they are said to be, as `align` takes it.

    Returns
    -------
    rows : list of dict
        Medians over the other exposures: ``agreement``, the correlation of the
        two, 1 at best, and ``misplaced``, by how many pixels the stars lie
        elsewhere; NaN where there are too few stars to tell.
    """
    from skimage.registration import phase_cross_correlation

    n = len(compressed)
    # Seeing must not count, nor a hit.
    soft = [ndimage.gaussian_filter(np.minimum(image, 3), 2.0) for image in compressed]
    # A few bright pixels may all be hits.
    enough = [(image > 0.5).sum() >= 2 * _ENOUGH for image in compressed]
    rows = []
    for i in range(n):
        found = {"agreement": [], "misplaced": []}
        for j in [(i + k) % n for k in range(1, n)][:_MOST_SIBLINGS]:
            if not (enough[i] and enough[j]):
                continue
            aligned, hidden = align(soft[j], ~usable[j], places[j], places[i])
            both = ~hidden & usable[i]
            found["agreement"].append(
                _correlation(soft[i][both], aligned[both]) if both.sum() > _ENOUGH else 0.0
            )
            own, other = (np.where(both, image, 0) for image in (soft[i], aligned))
            shift = phase_cross_correlation(own, other, upsample_factor=5, normalization=None)[0]
            found["misplaced"].append(float(np.hypot(*shift)))
        rows.append({k: float(np.median(v)) if v else math.nan for k, v in found.items()})
    return rows


def _correlation(one, two):
    one, two = one - one.mean(), two - two.mean()
    norm = math.sqrt(float((one**2).sum() * (two**2).sum()))
    return float((one * two).sum()) / norm if norm else 0.0


def why_unlike_stars(rows):
    """
    Say which exposures show other stars, or other images of them, than their siblings.

    Parameters
    ----------
    rows : list of dict
        ``agreement``, ``misplaced``, ``fwhm`` and ``elongation`` of each exposure.

    Returns
    -------
    reasons : list of str
        Empty for an exposure like the others.
    """
    reasons = [[] for _ in rows]
    usual = {name: _median(rows, name) for name in ("agreement", "fwhm", "elongation")}
    for row, why in zip(rows, reasons, strict=True):
        if row["agreement"] < max(_LEAST_AGREEMENT, _SHARE_OF_AGREEMENT * usual["agreement"]):
            why.append(
                f"its stars are not where its offset says (agreement {row['agreement']:.2f}, the "
                f"others {usual['agreement']:.2f})"
            )
        if row["misplaced"] > _MISPLACED:
            why.append(f"its stars lie {row['misplaced']:.1f} pixels from where its offset says")
        for name, (most, text) in _SHAPES.items():
            if row[name] > most * usual[name]:
                why.append(text.format(row[name], usual[name]))
    return ["; ".join(why) for why in reasons]


def why_unlike(rows):
    """
    Say which exposures differ from their siblings in what was found in them.

    Parameters
    ----------
    rows : list of dict
        ``mismatch`` and ``n_hits`` of each exposure.

    Returns
    -------
    reasons : list of str
        Empty for an exposure like the others.
    """
    reasons = [[] for _ in rows]
    for i, (row, why) in enumerate(zip(rows, reasons, strict=True)):
        others = rows[:i] + rows[i + 1 :]
        usual, n = _median(others, "mismatch"), _median(others, "n_hits")
        bound = _MISMATCH
        # Of two others, each may be the odd one.
        if len(others) > 2:
            bound = min(bound, max(_LEAST_MISMATCH, _SHARE_OF_MISMATCH * usual))
        if row["mismatch"] > bound:
            why.append(
                f"its stars differ by {100 * row['mismatch']:.1f} % from the others' (they by "
                f"{100 * usual:.1f} %)"
            )
        if len(rows) > 2 and row["n_hits"] > max(_HITS * n, n + _HIT_SIGMA * math.sqrt(n + 1)):
            why.append(f"it has {row['n_hits']} hits, the others {n:g}")
    return ["; ".join(why) for why in reasons]


def _median(rows, name):
    known = [row[name] for row in rows if math.isfinite(row[name])]
    return float(np.median(known)) if known else math.nan


def group_fields(images):
    """
    Find out which frames show the same field.

    Parameters
    ----------
    images : list
        In electrons; anything that slices to an array.

    Returns
    -------
    fields : list of int or None
        Number of the field of each frame; None where there are too few stars
        to tell.
    offsets : list of int
        Rows by which each frame sees its field moved with respect to the first
        frame that shows it.
    """
    fields, offsets, references = [], [], []
    for image in images:
        thumbnail, factor = _thumbnail(image)
        field, rows = (None, 0) if thumbnail is None else _field_of(thumbnail, references)
        fields.append(field)
        offsets.append(rows * factor)
    return fields, offsets


def _field_of(thumbnail, references):
    """Return the number of its field and by how many rows it is moved; a new field is added."""
    for number, (shape, transform) in enumerate(references):
        if shape == thumbnail.shape:
            correlation, rows = _correlate(transform, thumbnail)
            if correlation > _SAME:
                return number, rows
    references.append((thumbnail.shape, fft.rfft2(thumbnail)))
    return len(references) - 1, 0


def _thumbnail(image):
    """Return a frame as seen from afar, its stars alike in brightness, and by what it shrank."""
    pixels = np.nan_to_num(np.asarray(image[:, :], dtype=np.float32))
    statistics = estimate_statistics(pixels, np.ones(pixels.shape, bool))
    stars = np.minimum(compress(pixels, statistics.sky, statistics.noise), 2)
    # A lone bright pixel is a hit, or hot.
    stars = np.minimum(stars, ndimage.maximum_filter(ndimage.median_filter(stars, 3), 3))
    if (stars > 0.3).sum() < _ENOUGH_BRIGHT:
        return None, 1
    factor = math.ceil(max(stars.shape) / _LARGEST)
    stars = ndimage.gaussian_filter(stars, 1.5 * factor)[::factor, ::factor]
    stars -= stars.mean()
    return stars / math.sqrt(float((stars**2).sum())), factor


def _correlate(transform, thumbnail):
    surface = fft.irfft2(np.conj(transform) * fft.rfft2(thumbnail), thumbnail.shape)
    row = int(np.unravel_index(np.argmax(surface), surface.shape)[0])
    ny = thumbnail.shape[0]
    return float(surface.max()), row if row < ny / 2 else row - ny
