"""Exposures of one field placed, made alike and compared: what stands out, and of what noise."""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from cosmiq_astro._scatter import scatter_about_zero
from cosmiq_astro._windows import TOUCHING
from cosmiq_astro.preprocess import estimate_statistics
from cosmiq_astro.training._pixels import combine_masks, read_pixels

HALF_WIDTH = 3
"""Pixels that the kernel reaches to each side."""
_SIDE = 2 * HALF_WIDTH + 1
# Of offsets: what counts as whole, and how finely they are measured.
_WHOLE, _UPSAMPLING = 1e-3, 50
# Of the fit of a kernel: brightness of its pixels, share of light that is not fitted, clipping.
_KERNEL_BRIGHT, _SYSTEMATIC, _CLIP, _ROUNDS = 10.0, 0.02, 4.0, 4
_PIXELS_PER_UNKNOWN, _MOST_PIXELS = 20, 20_000
_FIRST_PASS = 5.0
_BRIGHT = 20.0
_LEAST_MISMATCH = 0.01
_ENOUGH = 100
# More exposures than this hardly lower the noise of their mean.
_MOST_OTHERS = 6


def find_places(offsets, exposures, compressed):
    """
    Return where each exposure lies, as `align` takes it: rows, columns from the first, or its WCS.

    ``offsets`` are those of `~cosmiq_astro.training.label_exposures`, ``compressed`` the images
    for `measure_offsets`. ValueError if they are none of these, or a WCS is missing.
    """
    n = len(exposures)
    if offsets is None:
        return list(np.zeros((n, 2)))
    if isinstance(offsets, str):
        if offsets == "measure":
            return list(measure_offsets(compressed))
        if offsets != "wcs":
            raise ValueError(f"offsets must be None, 'measure', 'wcs' or an array, got {offsets!r}")
        places = [getattr(exposure, "wcs", None) for exposure in exposures]
        missing = [i for i, wcs in enumerate(places) if wcs is None]
        if missing:
            raise ValueError(f"offsets='wcs', but exposures {missing} have no WCS")
        return places
    offsets = np.asarray(offsets, dtype=float)
    if offsets.shape != (n, 2) or not np.isfinite(offsets).all():
        raise ValueError(
            f"offsets must be finite, a (dy, dx) per exposure: shape ({n}, 2), got {offsets.shape}"
        )
    return list(offsets)


def measure_offsets(images):
    """
    Measure by how many rows and columns each image is moved with respect to the first: (n, 2).

    The peak of the cross-correlation of the images, compressed
    (`~cosmiq_astro.training._siblings.compress`) and of one shape, to a fiftieth
    of a pixel (Guizar-Sicairos, Thurman & Fienup 2008, Opt. Lett. 33, 156).
    """
    from skimage.registration import phase_cross_correlation

    settings = {"upsample_factor": _UPSAMPLING, "normalization": None}
    shifts = [phase_cross_correlation(images[0], image, **settings)[0] for image in images]
    # The function gives what would move the second image onto the first.
    return 0.0 - np.array(shifts)


def align(image, hidden, own, other):
    """
    Put an image on the grid of another exposure.

    ``own`` and ``other`` are the places of both, from `find_places`; ``hidden`` pixels are not to
    be used, nor those of the second plane returned, that nothing or a hidden one contributed to.
    """
    if not isinstance(own, np.ndarray):
        from reproject import reproject_interp

        settings = {"shape_out": image.shape, "return_footprint": False}
        aligned = reproject_interp((image, own), other, order="bicubic", **settings)
        touched = reproject_interp((hidden.astype(float), own), other, **settings)
        return np.nan_to_num(aligned).astype(np.float32), ~(touched < 0.05)
    shift = other - own
    whole = np.abs(shift - np.rint(shift)).max() < _WHOLE
    order = 0 if whole else 3
    shift = np.rint(shift) if whole else shift
    aligned = ndimage.shift(image, shift, order=order, mode="nearest")
    touched = ndimage.shift(hidden.astype(np.float32), shift, order=min(order, 1), cval=1.0)
    return aligned.astype(np.float32), touched > 0.05


def match_image(expected, image, good, sky, readnoise):
    """
    Convolve an image, and add a constant, so that it fits another best.

    The kernel has a free value per pixel (Bramich 2008, MNRAS 386, L77) and
    comes from weighted least squares on the stars, with outliers clipped.

    Pixels that are not ``good`` do not count. Returned are the convolved image, ``expected``
    itself where there are too few stars, and the factor on the variance of its noise. ``sky`` and
    ``readnoise`` are those of both images, electron.
    """
    # Not where the kernel reaches over the border, or over a pixel that may not be used.
    usable = ndimage.binary_erosion(good, np.ones((_SIDE, _SIDE)))
    light = expected - sky
    bright = usable & (light > _KERNEL_BRIGHT * np.sqrt(max(sky, 0) + readnoise**2))
    n_unknown = _SIDE**2 + 1
    if bright.sum() < _PIXELS_PER_UNKNOWN * n_unknown:
        return expected, 1.0
    # As many pixels of the sky, or its level would not be held.
    y, x = (np.concatenate(p) for p in zip(_some(bright), _some(usable & ~bright), strict=True))
    offsets = range(-HALF_WIDTH, HALF_WIDTH + 1)
    columns = [light[y + dy, x + dx] for dy in offsets for dx in offsets]
    design = np.stack([*columns, np.ones(y.size)], axis=1).astype(float)
    target = (image[y, x] - sky).astype(float)
    variance = np.maximum(expected[y, x], 0) + readnoise**2
    weight = 1 / np.sqrt(variance + (_SYSTEMATIC * light[y, x]) ** 2)
    kept = np.ones(y.size, dtype=bool)
    for _ in range(_ROUNDS):
        rows = design[kept] * weight[kept, None]
        # Of the normal equations: as many as unknowns, not as pixels.
        solution = np.linalg.lstsq(rows.T @ rows, rows.T @ (target * weight)[kept], rcond=1e-10)[0]
        residual = (target - design @ solution) * weight
        scatter = scatter_about_zero(residual[kept])
        kept = np.abs(residual) < _CLIP * max(scatter, 1.0)
    kernel = solution[:-1].reshape((_SIDE,) * 2)
    matched = ndimage.correlate(light, kernel, mode="nearest") + solution[-1] + sky
    return matched, float((kernel**2).sum())


def _some(chosen):
    """Return the positions of at most so many of the pixels, spread evenly."""
    positions = np.flatnonzero(chosen)
    step = -(-positions.size // _MOST_PIXELS) or 1
    return np.unravel_index(positions[::step], chosen.shape)


class Comparison(NamedTuple):
    """
    An exposure against what is expected of it.

    Attributes
    ----------
    residual, noise, total, expected : ndarray
        Difference, noise of the exposure, noise of both, and what is expected;
        electron.
    mismatch : float
        Share of the local range that ``total`` holds for seeing and interpolation.
    """

    residual: np.ndarray
    noise: np.ndarray
    total: np.ndarray
    expected: np.ndarray
    mismatch: float


@dataclass(frozen=True)
class Scene:
    """
    The exposures of a field in electrons, finite, and how they lie to each other.

    Attributes
    ----------
    images, usable, full : list of ndarray
        Pixels, which of them may be used, and which are saturated.
    statistics : list of `~cosmiq_astro.preprocess.ImageStatistics`
        Sky and noise of each.
    readnoise : float
        Electron.
    places : list, optional
        Where each lies, from `find_places`.
    """

    images: list
    usable: list
    full: list
    statistics: list
    readnoise: float
    places: list | None = None

    def take(self, chosen):
        """Return the scene as some of the exposures see it."""
        lists = ("images", "usable", "full", "statistics", "places")
        return replace(self, **{n: [getattr(self, n)[i] for i in chosen] for n in lists})

    @property
    def inside(self):
        """Pixels that no matched image is wrong in because its kernel reaches over the border."""
        inside = np.zeros(self.images[0].shape, dtype=bool)
        inside[HALF_WIDTH:-HALF_WIDTH, HALF_WIDTH:-HALF_WIDTH] = True
        return inside

    def onto(self, i, j, image, hidden):
        """Return exposure ``j`` on the grid, at the sky and in the light of ``i``."""
        if j == i:
            return image, hidden, 1.0
        aligned, hidden = align(image, hidden, self.places[j], self.places[i])
        own, other = self.statistics[i], self.statistics[j]
        light, own_light = aligned - other.sky, self.images[i] - own.sky
        bright = ~hidden & self.usable[i]
        bright &= (light > _BRIGHT * other.noise) & (own_light > _BRIGHT * own.noise)
        # With too little light the two cannot be told apart.
        enough = bright.sum() >= _ENOUGH
        scale = float(np.median(own_light[bright] / light[bright])) if enough else 1.0
        return light * scale + own.sky, hidden, scale

    def first_pass(self, i):
        """Return what stands out of the median of all, what is to be hidden, and all without it."""
        own = self.images[i]
        planes = []
        for j, (image, usable) in enumerate(zip(self.images, self.usable, strict=True)):
            aligned, hidden, _ = self.onto(i, j, image, ~usable)
            planes.append(np.where(hidden, own, aligned))
        # The median of two is their mean, which a hit in either would spoil.
        expected = np.median(planes, axis=0) if len(planes) > 2 else np.min(planes, axis=0)
        expected = np.where(self.usable[i], expected, own)
        compared = self._residual(i, expected, self.usable[i], len(planes))
        high = self.usable[i] & (compared.residual > _FIRST_PASS * compared.total)
        low = self.usable[i] & (compared.residual < -_FIRST_PASS * compared.total)
        # A spline through a hit would ring over its surroundings.
        near = ndimage.binary_dilation(high | low, TOUCHING)
        return high, near | ~self.usable[i], np.where(near, own - compared.residual, own)

    def second_pass(self, i, images, hidden):
        """Compare an exposure with the mean of others, each made to look like it."""
        total, n_covering, scale = 0.0, np.zeros(images[i].shape), 1.0
        weight = np.zeros(images[i].shape)
        others = [j for j in range(len(images)) if j != i]
        for j in sorted(others, key=lambda j: (j != 0, (j - i) % len(images)))[:_MOST_OTHERS]:
            aligned, out, to_own = self.onto(i, j, images[j], hidden[j])
            good = ~out & self.usable[i] & ~hidden[i]
            matched, amplification = match_image(
                aligned, self.images[i], good, self.statistics[i].sky, self.readnoise
            )
            total = total + np.where(out, 0, matched)
            n_covering += ~out
            weight += np.where(out, 0, amplification)
            scale = to_own if j == 0 else scale
        covered = n_covering > 0
        n_covering = np.maximum(n_covering, 1)
        expected = np.where(covered, total / n_covering, self.images[i])
        # Each of the others was smoothed by its kernel: that much noise is left in their mean.
        n_alone = n_covering**2 / np.maximum(weight, 1e-3)
        compared = self._residual(i, expected, covered & self.usable[i], n_alone)
        return compared, covered, scale

    def _residual(self, i, expected, good, n_covering):
        """Compare an exposure with what is expected; ``total`` is the noise of both."""
        own = self.images[i]
        expected, amplification = match_image(
            expected, own, good, self.statistics[i].sky, self.readnoise
        )
        residual = own - expected
        variance = np.maximum(expected, 0) + self.readnoise**2
        comparison = variance * (1 + amplification / n_covering)
        highest, lowest = (f(expected, 5) for f in (ndimage.maximum_filter, ndimage.minimum_filter))
        # Unlike a gradient, the range over 5 x 5 pixels is not zero at the top of a star.
        local_range = highest - lowest
        steep = good & (local_range**2 > _BRIGHT**2 * comparison)
        tops = steep & ndimage.binary_dilation(expected == highest, TOUCHING)
        mismatch = _LEAST_MISMATCH
        # Under better seeing than that of the others, the tops differ by more than the flanks do.
        for pixels in (steep, tops):
            if pixels.sum() >= _ENOUGH:
                share = scatter_about_zero(residual[pixels] / local_range[pixels])
                by_noise = np.median(comparison[pixels] / local_range[pixels] ** 2)
                mismatch = max(mismatch, float(np.sqrt(max(share**2 - by_noise, 0))))
        total = np.sqrt(comparison + (mismatch * local_range) ** 2)
        return Comparison(residual, np.sqrt(variance), total, expected, mismatch)


def read_scene(exposures, readnoise, gain, satlevel, mask):
    """
    Read exposures in electrons, every pixel finite, as a `Scene` without places.

    The arguments are those of `~cosmiq_astro.training.label_exposures`, levels in electrons.
    """
    pixels, masks = read_pixels("exposures", exposures, gain, alike=True)
    if len(pixels) < 2:
        raise ValueError("exposures holds 1 frame; give two or more of one field")
    if mask is not None and np.shape(mask) != pixels[0].shape:
        raise ValueError(f"mask has shape {np.shape(mask)}, the exposures have {pixels[0].shape}")
    images, usable, full, statistics = [], [], [], []
    for i, (image, own_mask) in enumerate(zip(pixels, masks, strict=True)):
        image = image[:, :]
        full.append(np.zeros(image.shape, bool) if satlevel is None else image >= satlevel)
        good = np.isfinite(image) & ~combine_masks(_spilt(full[i]), own_mask, mask)[:, :]
        if not good.any():
            raise ValueError(f"exposures[{i}] has no pixel that may be used")
        images.append(np.where(np.isfinite(image), image, np.median(image[good])))
        usable.append(good)
        statistics.append(estimate_statistics(images[i], good, readnoise=readnoise))
    return Scene(images, usable, full, statistics, readnoise)


def _spilt(full):
    """
    Return saturated pixels, what a kernel mixes with them, and where their charge may have run.

    It ends elsewhere in each exposure, further the longer the run is.
    """
    # A spline rings over two more.
    spilt = ndimage.binary_dilation(full, np.ones((2 * (HALF_WIDTH + 2) + 1,) * 2, dtype=bool))
    groups, _ = ndimage.label(full, TOUCHING)
    for box in ndimage.find_objects(groups):
        sides = [part.stop - part.start for part in box]
        axis = int(np.argmax(sides))
        if sides[axis] >= 2 * sides[1 - axis]:
            reach = [HALF_WIDTH, HALF_WIDTH]
            reach[axis] += sides[axis] // 4
            y, x = (slice(max(p.start - r, 0), p.stop + r) for p, r in zip(box, reach, strict=True))
            # The box of a run is little wider than the run.
            spilt[y, x] = True
    return spilt
