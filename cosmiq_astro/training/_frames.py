"""What all datasets share: frames of their own shapes, counted, cut and split by visits."""

import copy
import math

import numpy as np

from cosmiq_astro.preprocess import ImageStatistics, estimate_statistics

__all__ = [
    "Frames",
    "ObservedFrames",
    "check_interval",
    "estimate_level",
    "log_uniform",
    "observe_anew",
]


def log_uniform(rng, limits):
    """
    Draw a number, uniform in its logarithm.

    Parameters
    ----------
    rng : `~numpy.random.Generator`
        Source of the number.
    limits : tuple of float
        Smallest and largest, positive.

    Returns
    -------
    value : float
        The number.
    """
    return float(np.exp(rng.uniform(*np.log(limits))))


def check_interval(name, limits, *, positive=False, most=np.inf):
    """
    Refuse a range that is out of bounds.

    Parameters
    ----------
    name : str
        Name of the argument, for error messages.
    limits : tuple of float
        Smallest and largest.
    positive : bool, optional
        Whether 0 is out of bounds.
    most : float, optional
        What the largest may be.

    Returns
    -------
    limits : tuple of float
        The two.

    Raises
    ------
    ValueError
        If it is.
    """
    low, high = limits
    if not (0 <= low <= high <= most and (low > 0 or not positive)):
        kind = "0 < low" if positive else "0 <= low"
        end = "" if most == np.inf else f" <= {most:g}"
        raise ValueError(f"{name} must be (low, high) with {kind} <= high{end}, got {limits}")
    return float(low), float(high)


class Frames:
    """
    Frames of their own shapes, cut into squares and split by whole visits.

    Parameters
    ----------
    shapes : list of tuple
        Shape of each frame.
    n_valid : list of int, optional
        Pixels of each frame that count; all of them if None.
    visits : sequence of hashable, optional
        Which visit each frame belongs to; each is one of its own if None.
    """

    _planes = ()
    """Names of the lists that have an entry for each frame."""
    _ranges = ()
    """Names of the attributes that say between which limits frames are varied."""

    def __init__(self, shapes, *, n_valid=None, visits=None):
        self._shapes = shapes
        self._n_valid = [ny * nx for ny, nx in shapes] if n_valid is None else n_valid
        self._visits = list(range(len(shapes)) if visits is None else visits)
        if len(self._visits) != len(shapes):
            raise ValueError(f"visits has {len(self._visits)} entries for {len(shapes)} frames")
        for i, n in enumerate(self._n_valid):
            if n == 0:
                raise ValueError(
                    f"frame {i} has no valid pixel: all are ignored, masked or not finite; leave "
                    "the frame out"
                )

    @property
    def n_frames(self):
        """Number of frames."""
        return len(self._shapes)

    @property
    def n_visits(self):
        """Number of visits: what a split cannot part."""
        return len(set(self._visits))

    @property
    def n_pixels(self):
        """Number of pixels of all frames."""
        return sum(ny * nx for ny, nx in self._shapes)

    @property
    def n_valid_pixels(self):
        """Number of distinct pixels that count: the N of the evidence lower bound."""
        return sum(self._n_valid)

    def summary(self):
        """
        Say what must not change between the parts of a training run.

        Returns
        -------
        summary : dict
            ``n_frames``, ``n_valid_pixels`` and the ranges by their names.
        """
        ranges = {name.removeprefix("_"): getattr(self, name) for name in self._ranges}
        return {"n_frames": self.n_frames, "n_valid_pixels": self.n_valid_pixels} | ranges

    def _cut(self, frame, size, rng):
        """Return the slices of a random square, at most as large as the frame."""
        ny, nx = self._shapes[frame]
        if size > min(ny, nx):
            raise ValueError(f"patch_size {size} is larger than frame {frame} of shape {(ny, nx)}")
        y, x = rng.integers(ny - size + 1), rng.integers(nx - size + 1)
        return slice(y, y + size), slice(x, x + size)

    def split(self, fraction, *, seed):
        """
        Split off some frames for validation: whole visits, so that no sky is on both sides.

        Parameters
        ----------
        fraction : float
            Share of the visits for validation, in (0, 1).
        seed : int
            Seed of the choice.

        Returns
        -------
        training, validation : dataset
            Views of this dataset.

        Raises
        ------
        ValueError
            If there are fewer than two visits.
        """
        visits = list(dict.fromkeys(self._visits))
        if len(visits) < 2:
            kind = "one frame" if self.n_frames == 1 else "one visit"
            raise ValueError(f"{kind} cannot be split; give a validation dataset of its own")
        order = np.random.default_rng(seed).permutation(len(visits))
        n = min(max(1, round(fraction * len(visits))), len(visits) - 1)
        chosen = {visits[i] for i in order[:n]}
        sides = ([], [])
        for frame, visit in enumerate(self._visits):
            sides[visit in chosen].append(frame)
        return self._subset(sides[0]), self._subset(sides[1])

    def _subset(self, frames):
        part = copy.copy(self)
        for name in ("_shapes", "_n_valid", "_visits", *self._planes):
            setattr(part, name, [getattr(self, name)[i] for i in frames])
        return part


class ObservedFrames(Frames):
    """
    Frames that a telescope took: their sky and noise are measured once, when they are asked for.

    Parameters
    ----------
    images : list of ndarray
        Electron; may be memory-mapped.
    readnoise : float or None
        Electron; None if it is not known.
    **about
        ``n_valid`` and ``visits`` of `Frames`.
    """

    _planes = ("_images", "_statistics")

    def __init__(self, images, readnoise, **about):
        self._images = images
        self._readnoise = readnoise
        self._statistics = [{} for _ in images]
        super().__init__([image.shape for image in images], **about)

    def _statistics_of(self, frame, rng):
        """Return them as detection finds them, half of the time without the read noise."""
        readnoise = self._readnoise if rng.random() < 0.5 else None
        known = self._statistics[frame]
        if readnoise not in known:
            image = self._images[frame][:, :]
            known[readnoise] = estimate_statistics(image, np.isfinite(image), readnoise=readnoise)
        return known[readnoise]


def estimate_level(image, readnoise):
    """
    Estimate the charge that source and sky are expected to leave in each pixel.

    The median of the 3 x 3 neighbourhood, which hardly scatters, where the
    pixel agrees with it within three standard deviations; else the pixel
    itself, since the light of a star's core is not that of its neighbours.

    Parameters
    ----------
    image : ndarray
        Electron, finite, shape ``(ny, nx)``.
    readnoise : float
        Electron.

    Returns
    -------
    level : ndarray of float32
        Electron, not negative: its noise is ``sqrt(level + readnoise**2)``.
    """
    image = np.asarray(image, dtype=np.float32)
    smooth = np.maximum(_median_of_nine(image), 0)
    # The scatter of a pixel about the median of nine is 1.2 times its own.
    near = (image - smooth) ** 2 <= 9 * 1.2**2 * (smooth + readnoise**2)
    return np.where(near, smooth, np.maximum(image, 0))


def _median_of_nine(image):
    """
    Median of each 3 x 3 neighbourhood, reflected at the border.

    Sorted columns are shared by neighbours (Paeth 1990, Graphics Gems, p. 171): 20 times faster
    than `scipy.ndimage.median_filter`, which would take as long as a step of training.
    """
    image = np.pad(image, 1, mode="reflect")
    one, two, three = image[:-2], image[1:-1], image[2:]
    low, high = np.minimum(one, two), np.maximum(one, two)
    middle, high = np.minimum(high, three), np.maximum(high, three)
    low, middle = np.minimum(low, middle), np.maximum(low, middle)
    return _median(
        np.maximum.reduce(_abreast(low)),
        _median(*_abreast(middle)),
        np.minimum.reduce(_abreast(high)),
    )


def _abreast(columns):
    return columns[:, :-2], columns[:, 1:-1], columns[:, 2:]


def _median(one, two, three):
    return np.maximum(np.minimum(one, two), np.minimum(np.maximum(one, two), three))


def observe_anew(image, level, statistics, readnoise, rng, *, exposure_scale, extra_sky):
    """
    Turn a frame into a shorter exposure under a brighter sky, with the noise that this would have.

    Parameters
    ----------
    image, level : ndarray
        The frame and its expected charge, electron, shape ``(ny, nx)``.
    statistics : `~cosmiq_astro.preprocess.ImageStatistics`
        Sky and noise of the whole frame.
    readnoise : float
        Electron.
    rng : `~numpy.random.Generator`
        Source of all randomness.
    exposure_scale, extra_sky : tuple of float
        Between which two the factor on the light is drawn (log-uniform, at
        most 1), and the sky added (uniform, electron).

    Returns
    -------
    image, level : ndarray of float32
        As observed, and expected.
    statistics : `~cosmiq_astro.preprocess.ImageStatistics`
        As the new frame has them.
    factor : float
        On the light, as drawn.
    """
    factor = log_uniform(rng, exposure_scale)
    noise = 0.0
    if factor < 1:
        # Scaling scales the noise too far down; this is the variance that is then missing.
        noise = rng.normal(0, np.sqrt(_missing(level, factor, readnoise)))
    sky = rng.uniform(*extra_sky)
    if sky > 0:
        noise = noise + rng.poisson(sky, image.shape)
    variance = factor**2 * statistics.noise**2 + sky
    if factor < 1:
        variance += _missing(max(statistics.sky, 0), factor, readnoise)
    new = ImageStatistics(sky=factor * statistics.sky + sky, noise=math.sqrt(variance))
    return (factor * image + noise).astype(np.float32), factor * level + sky, new, factor


def _missing(level, factor, readnoise):
    return level * factor * (1 - factor) + readnoise**2 * (1 - factor**2)
