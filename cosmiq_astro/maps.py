"""`CosmicRayMaps`: what a detector says of an image."""

from dataclasses import dataclass, field

import numpy as np

from cosmiq_astro.inference.stars import StarShape
from cosmiq_astro.preprocess import ImageStatistics

__all__ = ["CosmicRayMaps"]


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
    stars : `~cosmiq_astro.inference.stars.StarShape`
        Width and elongation of the sharpest stars.
    n_draws : ndarray of int32 or None
        Draws that each pixel had, where the sampling is ``'adaptive'``.
    novelty : float
        How far the hits lie from those that the model knows, 1 being what 5 %
        of its validation images exceed
        (`~cosmiq_astro.inference.novelty.KnownHits`). NaN where there are
        fewer than 10 pixels with a probability above 0.5, or the model knows
        none.
    star_novelty : float
        How rare such stars are among those that the model knows; above 1,
        rarer than 95 % of them (`~cosmiq_astro.inference.stars.KnownStars`).
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
