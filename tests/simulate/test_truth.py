import numpy as np
import pytest

from cosmiq_astro.simulate import label_from_charge


def test_edges_of_the_definition():
    charge = np.array([0.0, 0.5, 0.51, 15.0, 15.01])
    label, ignore = label_from_charge(charge, np.full(5, 5.0))
    np.testing.assert_array_equal(label, [False, False, False, False, True])
    np.testing.assert_array_equal(ignore, [False, False, True, True, False])


def test_noise_per_pixel_counts():
    label, ignore = label_from_charge(np.full(2, 20.0), np.array([5.0, 10.0]))
    np.testing.assert_array_equal(label, [True, False])
    np.testing.assert_array_equal(ignore, [False, True])


def test_refuses_noise_without_read_noise():
    with pytest.raises(ValueError, match="noise must be positive"):
        label_from_charge(np.ones(3), np.array([1.0, 0.0, 1.0]))


def test_refuses_floor_above_threshold():
    with pytest.raises(ValueError, match=r"floor must be in \[0, threshold=3.0\), got 4"):
        label_from_charge(1.0, 1.0, floor=4)
