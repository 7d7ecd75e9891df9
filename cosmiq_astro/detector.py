"""`CosmicRayDetector`: configure once, then call on as many images as there are."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from tqdm import tqdm

from cosmiq_astro._counts import check_count
from cosmiq_astro._inputs import (
    check_call,
    check_electrons,
    check_image,
    check_precision,
    check_seed,
    choose_device,
    warn_of_bright,
)
from cosmiq_astro.familiarity.hits import count_alike
from cosmiq_astro.familiarity.stars import measure_stars
from cosmiq_astro.inference.frame import Frame, to_host
from cosmiq_astro.inference.maps import CosmicRayMaps
from cosmiq_astro.inference.sampling import PLANES, Sampler, draw_weights
from cosmiq_astro.inference.tiling import plan_tiles
from cosmiq_astro.inference.uncertainty import binary_entropy
from cosmiq_astro.models.model import Model, load_model
from cosmiq_astro.preprocess import ImageStatistics, estimate_statistics

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from cosmiq_astro._types import Precision, Sampling

__all__ = ["CosmicRayDetector"]

# The caches of a processor hold tiles of this size; a GPU wants more to do at a time.
_TILE_SIZE, _TILE_SIZE_OF_GPU = 352, 1024


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

    def __init__(
        self,
        model: str | PathLike | Model = "acs-wfc-vi",
        *,
        device: str = "auto",
        tile_size: int | None = None,
        precision: Precision = "float32",
    ):
        self.model = model if isinstance(model, Model) else load_model(model)
        self.device = choose_device(device)
        if tile_size is None:
            tile_size = _TILE_SIZE_OF_GPU if self.device.type == "cuda" else _TILE_SIZE
        self.tile_size = tile_size
        check_count("tile_size", tile_size)
        check_precision(precision, self.device)
        self.precision = precision
        # `Module.to` works in place; the model may be in use on another device.
        on_cpu, networks = self.device.type == "cpu", self.model.networks
        self._networks = (
            networks if on_cpu else [copy.deepcopy(one).to(self.device) for one in networks]
        )

    def __repr__(self):
        model = self.model
        kind = "variational" if model.method == "vi" else "deterministic"
        return (
            f"<{type(self).__name__} {model.name} version {model.version} on {self.device}: "
            f"{kind}, threshold {model.threshold:.3g}, {self.precision}>"
        )

    def __call__(
        self,
        image: ArrayLike,
        mask: ArrayLike | None = None,
        *,
        T: int = 16,
        seed: int | None = None,
        sampling: Sampling = "antithetic",
        views: Literal[1, 2, 4] | None = None,
        readnoise: float | None = None,
        satlevel: float | None = None,
        statistics: ImageStatistics | None = None,
        planes: Sequence[str] = PLANES,
        progress_bar: bool = False,
    ) -> CosmicRayMaps:
        """
        Look for cosmic rays in an image.

        Parameters
        ----------
        image : array-like
            Pixel values, electron, two-dimensional, of any real type and
            byte order, sky included. Masked arrays are understood.
        mask : array-like, optional
            True or 1 for pixels to leave out. Their values influence nothing: sky
            and noise are measured on the others, and the network sees in their
            place what the pixels around them suggest
            (`~cosmiq_astro.preprocess.fill_holes`).
        T : int, optional
            Number of weight draws, 1 or more. The Monte Carlo error of the
            probability falls at least as 1/√T; a deterministic model makes one
            pass whatever ``T``.
        seed : int, optional
            Seed of the draws; chosen and reported if None.
        sampling : {'antithetic', 'independent', 'moments', 'mean'}, optional
            ``'moments'`` draws nothing and integrates over the posterior, for
            models whose last layer alone is variational. ``'mean'`` takes each
            network of the model with its posterior means.
        views : {1, 2, 4}, optional
            Ways to turn the image, whose mean counts: as it is, transposed too,
            or also both turned by half a turn. More are more accurate, and take
            as many times as long; the model's own number if None.
        readnoise : float, optional
            Read noise, electron. Give it if you know it; otherwise, and where
            the sky was subtracted, the noise is measured on the image.
        satlevel : float, optional
            Saturation level, electron; higher values are clipped to it.
        statistics : `~cosmiq_astro.preprocess.ImageStatistics`, optional
            Sky and noise of a larger image, where ``image`` is a part of one;
            measured on ``image`` if None.
        planes : sequence of str, optional
            Which of ``probability``, ``uncertainty``, ``entropy`` and
            ``mutual_information`` to make; the probability always is.
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
        config = self.model.network.config
        n_views = config.views if views is None else views
        check_call(T, sampling, n_views, planes)
        check_electrons("readnoise", readnoise)
        check_electrons("satlevel", satlevel)
        seed = int(np.random.default_rng().integers(2**31)) if seed is None else check_seed(seed)
        if self.model.method == "unet":
            sampling = "mean"
        draws = draw_weights(self._networks, T, sampling=sampling, seed=seed)
        sampler = Sampler(
            draws,
            sampling=sampling,
            views=n_views,
            temperature=self.model.temperature,
            precision=self.precision,
        )
        if statistics is None:
            softness = "softness" in config.channels
            statistics = estimate_statistics(image, usable, readnoise=readnoise, softness=softness)
        warn_of_bright(statistics)
        network = self._networks[0]
        tiles = plan_tiles(
            image.shape, self.tile_size, halo=network.receptive_radius, grid=network.grid
        )
        frame = Frame.of(image, usable, statistics, tiles, device=self.device, satlevel=satlevel)
        prediction = sampler.predict(
            frame,
            tiles,
            planes=planes,
            progress=lambda tiles: tqdm(tiles, desc="tiles", unit="tile", disable=not progress_bar),
        )
        # What holes were filled with is no star.
        pixels = frame.image
        if not usable.all():
            pixels = pixels.masked_fill(torch.from_numpy(~usable).to(self.device), 0)
        stars = measure_stars(pixels, prediction.planes["probability"], statistics.noise)
        familiar_hits, familiar_stars = self.model.familiar_hits, self.model.familiar_stars
        found = self._planes(prediction.planes, planes, finite)
        unfamiliarity = star_unfamiliarity = float("nan")
        if familiar_hits is not None:
            unfamiliarity = familiar_hits.unfamiliarity(
                prediction.hits, count_alike(found["probability"])
            )
        if familiar_stars is not None:
            star_unfamiliarity = familiar_stars.unfamiliarity(stars)
        return CosmicRayMaps(
            **found,
            usable=usable,
            model=self.model.name,
            T=len(draws),
            views=n_views,
            sampling=sampling,
            precision=self.precision,
            seed=seed,
            statistics=statistics,
            unfamiliarity=unfamiliarity,
            stars=stars,
            star_unfamiliarity=star_unfamiliarity,
        )

    def _planes(self, predicted, asked, finite) -> dict[str, Any]:
        """Return the planes that a user sees, by name; None for those not asked for."""
        found = to_host(predicted)
        if self.model.recalibration is not None:
            probability = self.model.recalibration(found["probability"]).astype(np.float32)
            found |= {"probability": probability, "entropy": binary_entropy(probability)}
        asked = {"probability", *asked}
        # A single draw leaves out what is 0.
        found |= {name: np.zeros(finite.shape, np.float32) for name in asked - set(found)}
        if not finite.all():
            for name in asked:
                found[name][~finite] = np.nan
        return {name: found[name] if name in asked else None for name in PLANES}

    def clean(self, image: ArrayLike, threshold: float = 0.5, *, binary: bool = True) -> np.ndarray:
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
        maps = self(image)
        return (maps.probability > threshold) & maps.usable if binary else maps.probability

    def clean_vi(
        self,
        image: ArrayLike,
        T: int = 16,
        *,
        return_entropy: bool = False,
        seed: int | None = None,
    ) -> np.ndarray | Any:
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
