"""
Spread and entropy of what draws of the network say.

Pure maths, on the device where the draws are.
"""

import math

import numpy as np

__all__ = ["PredictiveMoments", "binary_entropy", "entropy_of"]


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


class PredictiveMoments:
    """
    What draws say of a tile, in memory that does not grow with their number.

    Mean and variance are those of the differences from the first draw, which are small (Chan, Golub
    & LeVeque 1983, The American Statistician, 37, 242).

    Parameters
    ----------
    with_information : bool
        Whether their mutual information will be asked for.
    """

    def __init__(self, *, with_information):
        self._with_information = with_information
        self._weight, self._first = 0.0, None
        self._sum, self._squares, self._entropy = None, None, None

    def add(self, probability, weight):
        """
        Add what one draw says.

        Parameters
        ----------
        probability : Tensor
            Always of one shape, values in [0, 1]. It is kept.
        weight : float
            How much it counts, positive.
        """
        self._weight += weight
        if self._first is None:
            self._first = probability
            zeros = probability.new_zeros(probability.shape)
            self._sum, self._squares, self._entropy = zeros, zeros.clone(), zeros.clone()
        else:
            step = probability - self._first
            self._sum.add_(step, alpha=weight)
            self._squares.addcmul_(step, step, value=weight)
        if self._with_information:
            _add_entropy(self._entropy, probability, weight)

    def plane(self, name):
        """
        Return what the draws say.

        Parameters
        ----------
        name : {'probability', 'uncertainty', 'entropy', 'mutual_information'}
            Mean and standard deviation (ddof 0) over the draws, entropy of the
            mean, and this less the mean entropy, at least 0 (Houlsby et al.
            2011, arXiv:1112.5745, eq. 1); entropies in nats.

        Returns
        -------
        plane : Tensor
            Of the draws' shape.
        """
        shift = self._sum / self._weight
        if name == "uncertainty":
            variance = (self._squares / self._weight).addcmul_(shift, shift, value=-1)
            return variance.clamp_min_(0).sqrt_()
        mean = self._first + shift
        if name == "probability":
            return mean
        entropy = entropy_of(mean)
        if name == "entropy":
            return entropy
        return entropy.sub_(self._entropy, alpha=1 / self._weight).clamp_min_(0)


def entropy_of(probability):
    """
    Do as `binary_entropy` does, for tensors.

    Parameters
    ----------
    probability : Tensor
        Values in [0, 1].

    Returns
    -------
    entropy : Tensor
        Nats, in [0, ln 2].
    """
    entropy = probability.new_zeros(probability.shape)
    _add_entropy(entropy, probability, 1.0)
    return entropy.clamp_max_(math.log(2))


def _add_entropy(total, probability, weight):
    """Add the entropy of probabilities, in nats, times a weight."""
    # Zero times the logarithm of the smallest number is zero.
    tiny = np.finfo(np.float32).tiny
    for p in (probability, 1 - probability):
        total.addcmul_(p.clamp_min(tiny).log_(), p, value=-weight)
