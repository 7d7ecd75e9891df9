import numpy as np
import pytest

from cosmiq_astro.simulate import cosmic_ray_footprints
from cosmiq_astro.training import ObservingConditions, PairedDataset, SimulatedDataset
from cosmiq_astro.training.datasets import make_batch

CHANNELS = ("asinh", "anscombe")


@pytest.fixture
def pairs():
    rng = np.random.default_rng(0)
    images = [rng.normal(50, 8, (40 + i, 48)) for i in range(6)]
    masks = [rng.random(image.shape) < 0.02 for image in images]
    ignore = [rng.random(image.shape) < 0.1 for image in images]
    return PairedDataset(images, masks, ignore, readnoise=5.0)


def test_counts(pairs):
    assert pairs.n_frames == 6
    assert pairs.n_pixels == sum((40 + i) * 48 for i in range(6))
    ignored = sum(i.sum() for i in pairs._ignore)
    assert pairs.n_valid_pixels == pairs.n_pixels - ignored


def test_splits_are_by_frame_and_cover_all(pairs):
    training, validation = pairs.split(0.3, seed=1)
    assert (training.n_frames, validation.n_frames) == (4, 2)
    shapes = sorted(training._shapes + validation._shapes)
    assert shapes == sorted(pairs._shapes)
    again = pairs.split(0.3, seed=1)[1]
    assert again._shapes == validation._shapes
    with pytest.raises(ValueError, match="one frame cannot be split"):
        validation._subset([0]).split(0.5, seed=0)


def test_batches_keep_image_label_and_ignore_together(pairs):
    """A hit made of one bright pixel must stay under its label, whatever the turn."""
    for image, mask in zip(pairs._images, pairs._masks, strict=True):
        image[mask] = 5000
    inputs, labels, valid = make_batch(pairs, 8, 32, CHANNELS, np.random.default_rng(3))
    assert inputs.shape == (8, 2, 32, 32)
    assert inputs.dtype == np.float32
    np.testing.assert_array_equal(inputs[:, :1] > 4, labels > 0)
    assert 0.05 < 1 - valid.mean() < 0.15
    again = make_batch(pairs, 8, 32, CHANNELS, np.random.default_rng(3))
    np.testing.assert_array_equal(inputs, again[0])


def test_nan_pixels_are_hidden_and_do_not_count(pairs):
    for image in pairs._images:
        image[::2] = np.nan
    inputs, _, valid = make_batch(pairs, 4, 32, CHANNELS, np.random.default_rng(3))
    assert np.isfinite(inputs).all()
    assert valid.mean() < 0.5


@pytest.mark.parametrize(
    ("images", "masks", "ignore", "message"),
    [
        ([], [], None, "images is empty"),
        ([np.ones(5)], [np.ones(5)], None, "must have two dimensions"),
        ([np.ones((4, 4))], [], None, "masks has 0 frames, images has 1"),
        ([np.ones((4, 4))], [np.ones((4, 5))], None, r"masks\[0\] has shape \(4, 5\)"),
        (
            [np.ones((4, 4))],
            [np.full((4, 4), 3)],
            None,
            r"masks\[0\] has values other than 0 and 1",
        ),
        ([np.ones((4, 4))], [np.ones((4, 4))], [np.ones((2, 2))], r"ignore\[0\] has shape"),
    ],
)
def test_bad_pairs(images, masks, ignore, message):
    with pytest.raises(ValueError, match=message):
        PairedDataset(images, masks, ignore)


def test_patch_larger_than_a_frame(pairs):
    with pytest.raises(ValueError, match="patch_size 64 is larger than frame"):
        pairs.patch(0, 64, np.random.default_rng(0))


def test_simulated_patches_hold_to_the_label():
    library = cosmic_ray_footprints(500, seed=0)
    conditions = ObservingConditions(
        exposure_time=(1000, 1000), trap_density=(0, 0), full_well=(84_700, 84_700)
    )
    dataset = SimulatedDataset(
        [np.zeros((96, 96), "f4")] * 2, [(library, 1.0)], conditions=conditions
    )
    rng = np.random.default_rng(1)
    patches = [dataset.patch(0, 96, rng) for _ in range(30)]
    hits = np.concatenate([p.image[p.label & p.valid] for p in patches])
    sky = np.concatenate([(p.image - np.median(p.image))[~p.label & p.valid] for p in patches])
    assert hits.size > 100
    assert np.median(hits) > 50
    assert np.quantile(np.abs(sky), 0.99) < 200
    one, two = (dataset.patch(1, 32, np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(one.image, two.image)
    training, validation = dataset.split(0.5, seed=0)
    assert (training.n_frames, validation.n_frames) == (1, 1)
