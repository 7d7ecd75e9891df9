"""Frames of one field: which they are, which are unlike the others, and what in them is no hit."""

import math
from dataclasses import replace

import numpy as np
from scipy import fft, ndimage

from cosmiq_astro._windows import TOUCHING
from cosmiq_astro.familiarity.stars import measure_stars
from cosmiq_astro.preprocess import estimate_statistics
from cosmiq_astro.training._scene import align, find_places

# What an exposure must exceed to be unlike the others: chosen on a simulated camera with one bad
# exposure in each visit, and held on another (benchmarks/own_camera.py).
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
# Of a hit, in pixels: the longest tracks are ignored with what is no track.
_MOST_PIXELS, _LONGEST = 400, 100
# A trail crosses the frame, or much of it; more lines than this are something else.
_TRAIL_LENGTH, _TRAIL_PIXELS, _MOST_TRAILS = 100, 40, 6
_BIN, _NEAR, _WIDEST = 16, 2.0, 15
# A bleed runs along a row or a column, towards a bright star unless it is this long.
_BLEED_LENGTH, _BLEED_ALONE, _GAP, _TO_STAR, _GROWTH = 8, 30, 5, 60, 12


def compress(image, sky, noise):
    """Return an image, 0 where no star is, in which a star does not count by its top alone."""
    # Nor must a hit that is brighter yet.
    return np.arcsinh(np.maximum((image - sky) / noise - 2, 0) / 10)


def place_exposures(scene, exposures, offsets):
    """Return a scene with places, and what can be said of each exposure before any is compared."""
    images, statistics = scene.images, scene.statistics
    compressed = [
        compress(np.where(usable, image, now.sky), now.sky, now.noise)
        for image, usable, now in zip(images, scene.usable, statistics, strict=True)
    ]
    places = find_places(offsets, exposures, compressed)
    rows = _check_places(compressed, scene.usable, places)
    for row, place, image, now in zip(rows, places, images, statistics, strict=True):
        stars = measure_stars(image - now.sky, np.zeros(image.shape), now.noise)
        row |= {"fwhm": stars.fwhm, "elongation": stars.elongation}
        if isinstance(place, np.ndarray):
            row["dy"], row["dx"] = map(float, place)
    return replace(scene, places=places), rows


def _check_places(compressed, usable, places):
    """
    Check whether the stars of each exposure are where they are said to be.

    Returned are, of each exposure, medians over the others: ``agreement``, the correlation of the
    two, 1 at best, and ``misplaced``, by how many pixels the stars lie elsewhere; NaN where there
    are too few stars to tell. ``places`` are those that `align` takes.
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
            is_told = both.sum() > _ENOUGH
            agreement = _correlation(soft[i][both], aligned[both]) if is_told else 0.0
            found["agreement"].append(agreement)
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

    ``rows`` are those of `place_exposures`; the reason is empty for one like the others.
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
    """Say which exposures differ from their siblings in ``mismatch`` and ``n_hits`` of each."""
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
    Return the number of the field that each frame shows, and by how many rows it sees it moved.

    None where there are too few stars to tell; moved with respect to the first frame of the field.
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
            surface = fft.irfft2(np.conj(transform) * fft.rfft2(thumbnail), shape)
            if float(surface.max()) > _SAME:
                ny, row = shape[0], int(np.unravel_index(np.argmax(surface), shape)[0])
                return number, row if row < ny / 2 else row - ny
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


def find_trails(stands_out):
    """
    Find straight trails of satellites and aeroplanes, in pieces or not.

    The lines that most pixels lie on (Hough transform) are trails where the pixels that stand out,
    3 standard deviations or so, are spread along at least 100 of their pixels. Returned are the
    pixels of trails, each over the whole frame and as wide as it stands out, and their number.
    """
    from skimage.transform import hough_line, hough_line_peaks

    left = stands_out.copy()
    found, n = np.zeros_like(left), 0
    angles = np.linspace(-np.pi / 2, np.pi / 2, 720, endpoint=False)
    y, x = np.indices(left.shape)
    while n < _MOST_TRAILS:
        space, theta, distance = hough_line(left, angles)
        if space.max() < _TRAIL_PIXELS:
            break
        _, (angle,), (offset,) = hough_line_peaks(space, theta, distance, num_peaks=1)
        across = x * np.cos(angle) + y * np.sin(angle) - offset
        along = y * np.cos(angle) - x * np.sin(angle)
        near = np.abs(across) < _NEAR
        if not _is_spread(along[near & left], along[near]):
            break
        width = _width_of(left, np.abs(across))
        found |= np.abs(across) < width
        left &= ~(np.abs(across) < width + 1)
        n += 1
    return found, n


def _is_spread(positions, all_positions):
    """Tell whether pixels lie along much of a line rather than at one place of it."""
    chord = np.ptp(all_positions)
    edges = np.arange(all_positions.min(), all_positions.max() + _BIN, _BIN)
    full = np.histogram(positions, edges)[0] >= 2
    # The longest stretch most of which is there.
    filled = ndimage.binary_closing(np.pad(full, 2), np.ones(3))[2:-2]
    groups, _ = ndimage.label(filled)
    longest = max(np.bincount(groups)[1:], default=0) * _BIN
    return longest >= min(_TRAIL_LENGTH, 0.6 * chord)


def _width_of(stands_out, across):
    """Return how far from a line pixels stand out more than elsewhere."""
    usual = max(4 * stands_out[across > 2 * _WIDEST].mean(), 0.03)
    for width in range(2, _WIDEST):
        ring = (across >= width) & (across < width + 1)
        if stands_out[ring].mean() < usual:
            break
    return width + 2


def find_bleeds(stands_out, bright):
    """
    Find charge that has run along rows or columns from bright stars.

    Returned are its pixels, grown along their row or column, and by a pixel to both sides, and the
    number of runs.
    """
    found, n = np.zeros_like(stands_out), 0
    for axis in (0, 1):
        runs = _along(ndimage.binary_closing, np.pad(stands_out, _GAP), axis, _GAP)
        runs = runs[_GAP:-_GAP, _GAP:-_GAP]
        runs = _along(ndimage.binary_opening, runs, axis, _BLEED_LENGTH)
        # What is as wide as it is long is a star.
        runs &= ~_along(ndimage.binary_opening, runs, 1 - axis, _BLEED_LENGTH)
        to_star = _grown(bright, axis, 2 * _TO_STAR + 1, 5)
        groups, _ = ndimage.label(runs, TOUCHING)
        for number, box in enumerate(ndimage.find_objects(groups), start=1):
            length = box[axis].stop - box[axis].start
            own = groups[box] == number
            narrow = own.sum(axis=1 - axis).max(initial=0) <= max(3, length / 6)
            if narrow and (length >= _BLEED_ALONE or to_star[box][own].any()):
                bleed = np.zeros_like(found)
                bleed[box] = own
                found |= _grown(bleed, axis, 2 * _GROWTH + 1, 3)
                n += 1
    return found, n


def _along(operation, mask, axis, length):
    return operation(mask, np.ones(_sides(axis, length, 1), dtype=bool))


def _grown(mask, axis, along, across):
    """Dilate a mask by a rectangle of so many pixels; a filter does so one axis at a time."""
    return ndimage.maximum_filter(mask, _sides(axis, along, across), mode="constant")


def _sides(axis, along, across):
    return (along, across) if axis == 0 else (across, along)


def find_large(groups, is_hit):
    """Return the pixels and the number of groups that are too large, or too long, for a hit."""
    too_large = np.zeros_like(is_hit)
    n_pixels = np.bincount(groups.ravel(), minlength=is_hit.size)
    for number, box in enumerate(ndimage.find_objects(groups), start=1):
        if box is not None and is_hit[number]:
            extent = max(part.stop - part.start for part in box)
            too_large[number] = n_pixels[number] > _MOST_PIXELS or extent > _LONGEST
    return too_large[groups], int(too_large.sum())
