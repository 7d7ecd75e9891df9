from pathlib import Path

import numpy as np
import pytest
import simulated_camera

from cosmiq_astro.simulate import cosmic_ray_footprints
from cosmiq_astro.training import InjectionDataset, PairedDataset
from cosmiq_astro.training._siblings import group_fields

CAMERA = simulated_camera.small(simulated_camera.SCORED_ON, 192)


def frames(fields, offsets):
    return [
        CAMERA.gain * CAMERA.expose(CAMERA.field(f), i, offset=o)[0]
        for i, (f, o) in enumerate(zip(fields, offsets, strict=True))
    ]


@pytest.fixture(scope="module")
def mixed():
    return frames([1, 2, 1, 2, 3], [(0, 0), (0, 0), (9, -4), (-12, 3), (0, 0)])


def test_frames_of_one_field_are_told(mixed):
    fields, offsets = group_fields(mixed)
    assert fields == [0, 1, 0, 1, 2]
    assert offsets == [0, 0, 9, -12, 0]
    noise = np.random.default_rng(0).normal(100, 10, (192, 192))
    assert group_fields([noise]) == ([None], [0])


def test_visits_follow_fields_and_directories(mixed):
    blank = [np.random.default_rng(i).normal(100, 10, (192, 192)) for i in range(2)]
    images = [*mixed, *blank]
    pairs = PairedDataset(images, [np.zeros((192, 192), bool)] * 7)
    pairs.group([Path(f"d/{i}.fits") for i in range(7)])
    # Three fields, and two frames of which nothing is known but that they lie together.
    assert pairs.n_visits == 4
    pairs.group([Path(f"d/{'ab'[i > 2]}/{i}.fits") for i in range(7)])
    # A subdirectory is a visit, and the same stars tie both.
    assert pairs.n_visits == 1
    pairs.group([Path(f"d/{i}.fits") for i in range(7)], by="frame")
    assert pairs.n_visits == 7
    with pytest.raises(ValueError, match="visits must be 'field', 'frame' or 'directory'"):
        pairs.group([], by="night")


def test_a_field_is_parted_with_the_sky():
    images = frames([1, 1], [(0, 0), (12, 0)])
    masks = [np.zeros(image.shape, bool) for image in images]
    masks[0][150, 7] = True
    hits = cosmic_ray_footprints(50, seed=1)
    for dataset in (
        PairedDataset(images, masks, readnoise=8.0),
        InjectionDataset(images, hits, masks=masks, readnoise=8.0),
    ):
        dataset.group([Path("d/0.fits"), Path("d/1.fits")])
        training, validation = dataset.split_within(0.25)
        # Rows 0 to 128 of the first, and of the second up to the same stars.
        assert training._shapes == [(128, 192), (140, 192)]
        assert validation._shapes == [(48, 192), (36, 192)]
        patch = validation.patch(0, 48, np.random.default_rng(3))
        assert patch.image.shape == (48, 48)
        assert validation.cut_patch_size(128, 8) == 32
        left, right = validation.split_within(0.5, axis=1)
        assert left._shapes[0][1] + right._shapes[0][1] == 192 - 16
    training, validation = PairedDataset(images, masks, readnoise=8.0).split_within(0.25)
    assert np.asarray(validation._masks[0][0:48, 0:192]).sum() == 1
    np.testing.assert_array_equal(validation._images[0][6:9, 5:9], images[0][150:153, 5:9])
    # Sky and noise are those of the whole frame.
    rng = np.random.default_rng(0)
    whole = PairedDataset(images, masks, readnoise=8.0)
    assert validation._measured(0, 8.0) == whole._measured(0, 8.0)
    assert training.patch(0, 32, rng).statistics.noise > 0
