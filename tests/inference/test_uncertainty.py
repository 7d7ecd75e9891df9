import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import entropy as oracle

from cosmiq_astro.inference.sampling import PLANES
from cosmiq_astro.inference.uncertainty import PredictiveMoments, binary_entropy, entropy_of


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_entropy_closed_form(dtype):
    p = np.linspace(0, 1, 1001).astype(dtype)
    expected = oracle(np.stack([p, 1 - p]).astype(float))
    h = binary_entropy(p)
    assert h.dtype == dtype
    np.testing.assert_allclose(h, expected, atol=3e-7 if dtype == np.float32 else 1e-14)


@given(arrays(np.float32, 50, elements=st.floats(0, 1, width=32)))
def test_entropy_is_bounded_and_finite(p):
    h = binary_entropy(p)
    assert np.isfinite(h).all()
    assert (h >= 0).all()
    assert (h <= np.float32(np.log(2))).all()


def test_entropy_of_nan_and_of_integers():
    assert np.isnan(binary_entropy(np.float32([np.nan]))).all()
    entropy = binary_entropy(np.array([0, 1], dtype=np.int16))
    assert entropy.tolist() == [0, 0]
    assert entropy.dtype == np.float64


@given(arrays(np.float64, (4, 20), elements=st.floats(0, 1)))
def test_moments_of_weighted_draws_are_numpys(p):
    weights = np.array([0.2, 0.4, 0.6, 0.8])
    moments = PredictiveMoments(with_information=True)
    for one, weight in zip(torch.from_numpy(p), weights, strict=True):
        moments.add(one, weight)
    weights /= weights.sum()
    mean = weights @ p
    found = {name: moments.plane(name).numpy() for name in PLANES}
    np.testing.assert_allclose(found["probability"], mean, atol=1e-12)
    np.testing.assert_allclose(found["uncertainty"], np.sqrt(weights @ (p - mean) ** 2), atol=1e-7)
    np.testing.assert_allclose(found["entropy"], binary_entropy(mean), atol=1e-12)
    information = binary_entropy(mean) - weights @ binary_entropy(p)
    np.testing.assert_allclose(found["mutual_information"], information, atol=1e-12)
    assert (found["mutual_information"] >= 0).all()


def test_mutual_information_closed_form():
    # Two draws that contradict each other with certainty: all of ln 2 is about the weights.
    moments = PredictiveMoments(with_information=True)
    for p in ([0.0, 0.5], [1.0, 0.5]):
        moments.add(torch.tensor(p, dtype=torch.float64), 0.5)
    np.testing.assert_allclose(moments.plane("mutual_information"), [np.log(2), 0], atol=1e-15)


def test_entropy_of_tensors_is_that_of_arrays():
    p = np.concatenate([np.linspace(0, 1, 1001), [1e-12, 1 - 1e-7]]).astype("f4")
    found = entropy_of(torch.from_numpy(p))
    np.testing.assert_allclose(found, binary_entropy(p), rtol=0, atol=2e-7)
    assert found.max() <= np.float32(np.log(2))
