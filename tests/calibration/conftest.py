import numpy as np
import pytest
from scipy.special import expit


@pytest.fixture
def pixels():
    """Return 4000 calibrated probabilities with their labels; no exact ties."""
    rng = np.random.default_rng(1)
    p = expit(rng.normal(-1.5, 2.5, 4000))
    return p, rng.random(4000) < p


@pytest.fixture
def images():
    """Return 6 images of calibrated probabilities (float32) and their labels."""
    rng = np.random.default_rng(2)
    p = [expit(rng.normal(-3, 3, (32, 40))).astype(np.float32) for _ in range(6)]
    return p, [rng.random(x.shape) < x for x in p]
