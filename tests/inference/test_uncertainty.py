import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import entropy as oracle

from cosmiq_astro.inference.uncertainty import RunningMoments, binary_entropy


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


@given(arrays(np.float64, (6, 20), elements=st.floats(0, 1)))
def test_running_moments_are_numpys(draws):
    moments = RunningMoments()
    for draw in draws:
        moments.update(draw)
    np.testing.assert_allclose(moments.mean, draws.mean(0), atol=1e-12)
    np.testing.assert_allclose(moments.std(), draws.std(0), atol=1e-7)


@given(arrays(np.float64, (4, 20), elements=st.floats(0, 1)))
def test_a_weight_is_a_number_of_draws(draws):
    one, other = RunningMoments(), RunningMoments()
    for weight, draw in enumerate(draws, start=1):
        one.update(draw, weight)
        for _ in range(weight):
            other.update(draw)
    assert one.weight == other.weight
    np.testing.assert_allclose(one.mean, other.mean, atol=1e-12)
    np.testing.assert_allclose(one.std(), other.std(), atol=1e-7)
