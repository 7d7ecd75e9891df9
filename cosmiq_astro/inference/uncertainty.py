"""
Spread and entropy of what draws of the network say.

Pure maths: the functions accept what numpy understands, `RunningMoments`
anything that adds and multiplies.
"""

import math

import numpy as np

__all__ = ["PredictiveMoments", "RunningMoments", "binary_entropy", "entropy_of"]


def binary_entropy(probability):
    """
    Entropy of a Bernoulli variable.

    ``H = -p ln p - (1 - p) ln(1 - p)``, with ``0 ln 0 = 0``.

    Parameters
    ----------
    probability : ndarray
        Values in [0, 1]; NaN stays NaN.

    Returns
    -------
    entropy : ndarray
        Nats, in [0, ln 2], of the input's floating type.

    Examples
    --------
    >>> from cosmiq_astro.inference.uncertainty import binary_entropy
    >>> binary_entropy([0.0, 0.5, 1.0])  # doctest: +FLOAT_CMP
    array([0.        , 0.69314718, 0.        ])
    """
    p = np.asarray(probability)
    if not np.issubdtype(p.dtype, np.floating):
        p = p.astype(np.float64)
    q = 1 - p
    # Zero times the logarithm of the smallest number is zero, and NaN stays.
    tiny = np.finfo(p.dtype).tiny
    entropy = p * -np.log(np.maximum(p, tiny)) + q * -np.log(np.maximum(q, tiny))
    return np.minimum(entropy, np.log(p.dtype.type(2)))


class RunningMoments:
    """
    Mean and standard deviation over draws, in memory that does not grow with them.

    Welford's update, with weights (West 1979, Communications of the ACM, 22, 532).

    Attributes
    ----------
    weight : float
        Sum of the weights of the draws seen.
    mean : array-like
        Mean of the draws.
    """

    def __init__(self):
        self.weight = 0.0
        self.mean = 0.0
        self._squares = 0.0

    def update(self, value, weight=1.0):
        """
        Add one draw.

        Parameters
        ----------
        value : array-like
            The draw; an ndarray or a Tensor, always of one shape.
        weight : float, optional
            How much it counts, positive.
        """
        self.weight += weight
        delta = value - self.mean
        self.mean = self.mean + delta * (weight / self.weight)
        self._squares = self._squares + weight * delta * (value - self.mean)

    def std(self):
        """
        Return the standard deviation (ddof 0) over the draws.

        Returns
        -------
        std : array-like
            Of the draws' shape; 0 for a single draw.
        """
        return (self._squares / self.weight) ** 0.5


class PredictiveMoments:
    """
    What draws say of a tile, in memory that does not grow with their number.

    Parameters
    ----------
    with_information : bool
        Whether their mutual information will be asked for.
    """

    def __init__(self, *, with_information):
        self._probability, self._entropy = RunningMoments(), 0.0
        self._with_information = with_information

    def add(self, probability, weight):
        """Add what one draw says; all weights sum up to 1."""
        self._probability.update(probability, weight)
        if self._with_information:
            self._entropy = self._entropy + weight * entropy_of(probability)

    def plane(self, name):
        """Return one of `PLANES`."""
        mean = self._probability.mean
        if name == "probability":
            return mean
        if name == "uncertainty":
            return self._probability.std()
        entropy = entropy_of(mean)
        return entropy if name == "entropy" else (entropy - self._entropy).clamp_min_(0)


def entropy_of(probability):
    """
    Do as `~cosmiq_astro.inference.uncertainty.binary_entropy` does, for tensors.

    Parameters
    ----------
    probability : Tensor
        Values in [0, 1].

    Returns
    -------
    entropy : Tensor
        Nats, in [0, ln 2].
    """
    tiny = np.finfo(np.float32).tiny
    other = 1 - probability
    entropy = probability * probability.clamp_min(tiny).log_()
    entropy.addcmul_(other, other.clamp_min(tiny).log_())
    return entropy.neg_().clamp_max_(math.log(2))
