"""`CosmicRayDetector`: configure once, then call on as many images as there are."""

import copy
from dataclasses import dataclass, field

import numpy as np
from tqdm import tqdm

from cosmiq_astro._inputs import (
    check_electrons,
    check_image,
    check_precision,
    check_seed,
    choose_device,
)
from cosmiq_astro.familiarity.stars import StarShape, measure_stars
from cosmiq_astro.inference.sampling import SAMPLING, draw_networks, predict
from cosmiq_astro.inference.uncertainty import binary_entropy, mutual_information
from cosmiq_astro.models.model import Model, load_model
from cosmiq_astro.preprocess import (
    ImageStatistics,
    estimate_statistics,
    fill_holes,
    normalize,
    subtract_sky,
)

__all__ = ["CosmicRayDetector", "CosmicRayMaps"]

# The caches of a processor hold tiles of this size; a GPU wants more to do at a time.
_TILE_SIZE, _TILE_SIZE_OF_GPU = 352, 1024


@dataclass(frozen=True)
class CosmicRayMaps:
    """
    What a detector says of an image.

    Attributes
    ----------
    probability : ndarray of float32
        Probability of a cosmic ray, mean over the draws, recalibrated where
        the model says so, in [0, 1]; NaN where the image was not finite.
    uncertainty : ndarray of float32
        Standard deviation (ddof 0) of the probability over the draws; 0 for
        a single pass.
    entropy : ndarray of float32
        Entropy of ``probability``, nats, in [0, ln 2].
    mutual_information : ndarray of float32
        Entropy of the draws' mean, before any recalibration, minus the mean
        entropy of the draws, nats, not negative.
    usable : ndarray of bool
        True for pixels that were finite and not masked.
    T : int
        Number of passes made.
    sampling : str
        How the weights were drawn.
    precision : str
        Of the convolutions.
    seed : int
        The seed used; giving it again repeats the maps.
    statistics : `~cosmiq_astro.preprocess.ImageStatistics`
        Sky and noise that the image was normalised with, electron.
    stars : `~cosmiq_astro.familiarity.stars.StarShape`
        Width and elongation of the sharpest stars.
    n_draws : ndarray of int32 or None
        Draws that each pixel had, where the sampling is ``'adaptive'``.
    novelty : float
        How far the hits lie from those that the model knows, 1 being what 5 %
        of its validation images exceed
        (`~cosmiq_astro.familiarity.hits.KnownHits`). NaN where there are
        fewer than 10 pixels with a probability above 0.5, or the model knows
        none.
    star_novelty : float
        How rare such stars are among those that the model knows; above 1,
        rarer than 95 % of them (`~cosmiq_astro.familiarity.stars.KnownStars`).
        NaN where there are fewer than 10 stars, or the model knows none.
    """

    probability: np.ndarray = field(repr=False)
    uncertainty: np.ndarray = field(repr=False)
    entropy: np.ndarray = field(repr=False)
    mutual_information: np.ndarray = field(repr=False)
    usable: np.ndarray = field(repr=False)
    T: int
    sampling: str
    precision: str
    seed: int
    statistics: ImageStatistics
    stars: StarShape
    n_draws: np.ndarray | None = field(default=None, repr=False)
    novelty: float = float("nan")
    star_novelty: float = float("nan")


class CosmicRayDetector:
    """
    A model on a device, ready to be called on images in electrons.

    Parameters
    ----------
    model : str, path-like or `~cosmiq_astro.models.model.Model`, optional
        A bundled model's name, a model folder, or a loaded model.
    device : str, optional
        ``'auto'`` takes CUDA, then MPS, then the CPU; or any name that
        `torch.device` knows.
    tile_size : int, optional
        Side of the tiles, pixels: 352 if None, 1024 with CUDA. The result does
        not depend on it. On a CPU a tile for each of PyTorch's threads, up to
        eight, is in memory at a time; lower it when that is short.
    precision : {'float32', 'bfloat16'}, optional
        Of the network's convolutions; everything before and after them is
        float32. ``'float32'`` means that on a GPU too, where PyTorch would
        round to ten bits. ``'bfloat16'`` takes about 0.6 of the time on
        processors and GPUs that compute with it; on other processors it takes
        many times as long, and a warning says so.
        ``'moments'`` has float32 in its last block.

    Raises
    ------
    ValueError
        If there is no such model, device or precision.

    Examples
    --------
    >>> import numpy as np
    >>> import cosmiq_astro as ca
    >>> rng = np.random.default_rng(1)
    >>> image = rng.normal(50, 8, (64, 64))
    >>> image[20, 20:25] += 1500
    >>> maps = ca.CosmicRayDetector("acs-wfc-unet")(image)
    >>> bool(maps.probability[20, 22] > 0.5)
    True
    """

    def __init__(self, model="acs-wfc-vi", *, device="auto", tile_size=None, precision="float32"):
        self.model = model if isinstance(model, Model) else load_model(model)
        self.device = choose_device(device)
        if tile_size is None:
            tile_size = _TILE_SIZE_OF_GPU if self.device.type == "cuda" else _TILE_SIZE
        self.tile_size = tile_size
        is_whole = isinstance(tile_size, (int, np.integer)) and tile_size is not True
        if not is_whole or tile_size < 1:
            raise ValueError(f"tile_size must be a positive integer, got {tile_size!r}")
        check_precision(precision, self.device)
        self.precision = precision
        # `Module.to` works in place; the model may be in use on another device.
        on_cpu = self.device.type == "cpu"
        network = self.model.network
        self._network = network if on_cpu else copy.deepcopy(network).to(self.device)

    def __call__(
        self,
        image,
        mask=None,
        *,
        T=16,
        seed=None,
        sampling="antithetic",
        readnoise=None,
        satlevel=None,
        progress_bar=False,
    ):
        """
        Look for cosmic rays in an image.

        Parameters
        ----------
        image : array-like
            Pixel values, electron, two-dimensional, of any real type and
            byte order, sky included. Masked arrays are understood.
        mask : array-like, optional
            True or 1 for pixels to leave out: they influence nothing.
        T : int, optional
            Number of weight draws, 1 or more, which see the image in two views
            or four (`~cosmiq_astro.models.unet.UNetConfig`). The Monte Carlo
            error of the probability falls at least as 1/√T; a deterministic
            model makes one pass whatever ``T``.
        seed : int, optional
            Seed of the draws; chosen and reported if None.
        sampling : {'antithetic', 'adaptive', 'independent', 'moments', 'mean'}, optional
            ``'adaptive'`` draws on only where the draws so far have not
            settled the probability, and ``'moments'`` propagates mean and variance instead;
            both are for models that draw weights in their last block alone.
            ``'mean'`` makes one pass with the posterior means: as fast as the
            baseline, without uncertainty.
        readnoise : float, optional
            Read noise, electron. Give it if you know it; otherwise the noise
            is estimated from the image.
        satlevel : float, optional
            Saturation level, electron; pixels above are taken as being there.
        progress_bar : bool, optional
            Whether to show one over the tiles.

        Returns
        -------
        maps : `CosmicRayMaps`
            Planes of the image's shape.

        Raises
        ------
        TypeError
            If the image or the mask is not of a real numeric type.
        ValueError
            If a shape or a setting is out of its range.
        """
        image, usable, finite = check_image(image, mask)
        if not isinstance(T, (int, np.integer)) or isinstance(T, bool) or T < 1:
            raise ValueError(f"T must be an integer of at least 1, got {T!r}")
        if sampling not in SAMPLING:
            raise ValueError(f"sampling must be one of {', '.join(SAMPLING)}, got {sampling!r}")
        check_electrons("readnoise", readnoise)
        check_electrons("satlevel", satlevel)
        seed = int(np.random.default_rng().integers(2**31)) if seed is None else check_seed(seed)
        if self.model.method == "unet":
            sampling = "mean"
        statistics = estimate_statistics(image, usable, readnoise=readnoise)
        networks = self.draw(T, sampling=sampling, seed=seed)
        pixels = _pixels(image, usable, statistics, satlevel)
        result = self._predict(
            pixels,
            networks,
            statistics,
            sampling=sampling,
            progress=lambda tiles: tqdm(tiles, disable=not progress_bar, unit="tile"),
        )
        # What holes were filled with is no star.
        pixels[~usable] = 0
        stars = measure_stars(pixels, result.probability, statistics.noise)
        planes = self._planes(result, networks)
        for plane in planes.values():
            if plane.dtype.kind == "f":
                plane[~finite] = np.nan
        hits, known_stars = self.model.known_hits, self.model.known_stars
        return CosmicRayMaps(
            **planes,
            usable=usable,
            T=len(networks),
            sampling=sampling,
            precision=self.precision,
            seed=seed,
            statistics=statistics,
            novelty=float("nan") if hits is None else hits.novelty(result.hits),
            stars=stars,
            star_novelty=float("nan") if known_stars is None else known_stars.novelty(stars),
        )

    def draw(self, T=16, *, sampling="antithetic", seed):
        """
        Draw the networks that look at every tile.

        Parameters
        ----------
        T, sampling, seed : int, str, int
            As for a call.

        Returns
        -------
        networks : list of `~cosmiq_astro.models.unet.UNet`
            On the detector's device; one of a deterministic model.
        """
        sampling = "mean" if self.model.method == "unet" else sampling
        return draw_networks(self._network, T, sampling=sampling, seed=seed)

    def find(
        self,
        image,
        usable,
        networks,
        statistics,
        *,
        sampling="antithetic",
        satlevel=None,
    ):
        """
        Look for cosmic rays with networks drawn and sky measured already: in a part of an image.

        Parameters
        ----------
        image, usable : ndarray
            Pixel values (electron), and which of them may be used.
        networks : list of `~cosmiq_astro.models.unet.UNet`
            From `draw`.
        statistics : `~cosmiq_astro.preprocess.ImageStatistics`
            Sky and noise of the whole image.
        sampling : str, optional
            What the networks were drawn for.
        satlevel : float, optional
            As for a call.

        Returns
        -------
        planes : dict of ndarray
            ``probability``, ``uncertainty``, ``entropy`` and
            ``mutual_information``; and ``n_draws`` (int32) where the sampling
            is ``'adaptive'``.
        """
        pixels = _pixels(image, usable, statistics, satlevel)
        result = self._predict(pixels, networks, statistics, sampling=sampling)
        return self._planes(result, networks)

    def _predict(self, pixels, networks, statistics, **settings):
        channels = self.model.network.config.channels
        return predict(
            networks,
            lambda tile: normalize(tile.read(pixels), statistics, channels),
            pixels.shape,
            temperature=self.model.temperature,
            tile_size=self.tile_size,
            precision=self.precision,
            **settings,
        )

    def _planes(self, result, networks):
        """Return the planes that a user sees, by name."""
        probability, entropy = result.probability, result.mean_entropy
        if self.model.recalibration is not None:
            probability = self.model.recalibration(probability).astype(np.float32)
        if len(networks) > 1 or probability is not result.probability:
            entropy = binary_entropy(probability)
        planes = {
            "probability": probability,
            "uncertainty": result.std,
            "entropy": entropy,
            "mutual_information": (
                mutual_information(result.probability, result.mean_entropy)
                if len(networks) > 1
                else np.zeros(probability.shape, dtype=np.float32)
            ),
        }
        return planes if result.n_draws is None else planes | {"n_draws": result.n_draws}

    def clean(self, image, threshold=0.5, *, binary=True):
        """
        Find cosmic rays with deepCR's call.

        Parameters
        ----------
        image : array-like
            Pixel values, electron.
        threshold : float, optional
            Probability above which a pixel is flagged.
        binary : bool, optional
            Whether to return the mask rather than the probability.

        Returns
        -------
        result : ndarray
            Mask (bool) or probability (float32). No pixel is replaced: see
            `cosmiq_astro.cleaning`.
        """
        probability = self(image).probability
        return probability > threshold if binary else probability

    def clean_vi(self, image, T=16, *, return_entropy=False, seed=None):
        """
        Find cosmic rays with the CosmiQ research code's call.

        Parameters
        ----------
        image : array-like
            Pixel values, electron.
        T : int, optional
            Number of weight draws.
        return_entropy : bool, optional
            Whether to return the entropy plane too.
        seed : int, optional
            Seed of the draws.

        Returns
        -------
        probability : ndarray of float32
            Mean probability over the draws.
        entropy : ndarray of float32
            Its entropy, nats; only with ``return_entropy``.
        """
        maps = self(image, T=T, seed=seed)
        return (maps.probability, maps.entropy) if return_entropy else maps.probability


def _pixels(image, usable, statistics, satlevel):
    """Return the pixels that the network sees, before they are turned into channels."""
    pixels = subtract_sky(image, usable, statistics.sky, satlevel=satlevel)
    fill_holes(pixels, usable, statistics.noise)
    return pixels
