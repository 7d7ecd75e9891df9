"""`CosmicRayMaps`: what a detector says of each pixel of an image."""

from dataclasses import dataclass

import numpy as np

from cosmiq_astro.familiarity.stars import StarShape
from cosmiq_astro.preprocess import ImageStatistics

__all__ = ["CosmicRayMaps"]


@dataclass(frozen=True, repr=False)
class CosmicRayMaps:
    """
    What a detector says of an image; planes that were not asked for are None.

    Attributes
    ----------
    probability : ndarray of float32
        Probability of a cosmic ray, mean over the draws and views,
        recalibrated where the model says so, in [0, 1]; NaN where the image
        was not finite.
    uncertainty : ndarray of float32
        Standard deviation (ddof 0), over the draws, of the probability, that
        of a draw being the mean over its views; 0 for a single draw.
    entropy : ndarray of float32
        Entropy of ``probability``, nats, in [0, ln 2].
    mutual_information : ndarray of float32
        Entropy of the draws' mean, before any recalibration, minus the mean
        entropy of the draws, each the mean over its views; nats, not negative.
    usable : ndarray of bool
        True for pixels that were finite and not masked.
    model : str
        Name of the model.
    T : int
        Number of weight draws; 1 where none are drawn.
    views : int
        Ways to turn the image that each draw is the mean of.
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
    unfamiliarity : float
        How far the hits lie from those that the model knows, 1 being what 5 %
        of its validation images exceed
        (`~cosmiq_astro.familiarity.hits.FamiliarHits`). NaN where there are
        fewer than 10 pixels with a probability above 0.5, or the model knows
        none.
    star_unfamiliarity : float
        How rare such stars are among those that the model knows; above 1,
        rarer than 95 % of them (`~cosmiq_astro.familiarity.stars.FamiliarStars`).
        NaN where there are fewer than 10 stars, or the model knows none.
    """

    probability: np.ndarray
    uncertainty: np.ndarray | None
    entropy: np.ndarray | None
    mutual_information: np.ndarray | None
    usable: np.ndarray
    model: str
    T: int
    views: int
    sampling: str
    precision: str
    seed: int
    statistics: ImageStatistics
    stars: StarShape
    unfamiliarity: float = float("nan")
    star_unfamiliarity: float = float("nan")

    def __repr__(self):
        n_likely = np.count_nonzero(self.probability > 0.5)
        return (
            f"<{type(self).__name__} of shape {self.probability.shape}: {self.model}, T {self.T}, "
            f"{self.sampling}, seed {self.seed}, pixels above 0.5: {n_likely}>"
        )
