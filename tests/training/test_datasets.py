import tracemalloc

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.nddata import CCDData

from cosmiq_astro.preprocess import estimate_statistics
from cosmiq_astro.simulate import cosmic_ray_footprints
from cosmiq_astro.training import ObservingConditions, PairedDataset, SimulatedDataset
from cosmiq_astro.training.datasets import make_batch

CHANNELS = ("asinh", "anscombe")


@pytest.fixture
def planes():
    """Six images with their masks and what to ignore."""
    rng = np.random.default_rng(0)
    images = [rng.normal(50, 8, (40 + i, 48)) for i in range(6)]
    masks = [rng.random(image.shape) < 0.02 for image in images]
    ignore = [rng.random(image.shape) < 0.1 for image in images]
    return images, masks, ignore


@pytest.fixture
def pairs(planes):
    return PairedDataset(*planes, readnoise=5.0)


def test_counts(planes):
    images, masks, ignore = planes
    images[0][0] = np.nan
    pairs = PairedDataset(images, masks, ignore)
    assert pairs.n_frames == 6
    assert pairs.n_pixels == sum((40 + i) * 48 for i in range(6))
    invalid = sum((i | np.isnan(image)).sum() for i, image in zip(ignore, images, strict=True))
    assert pairs.n_valid_pixels == pairs.n_pixels - invalid
    training, validation = pairs.split(0.5, seed=0)
    assert training.n_valid_pixels + validation.n_valid_pixels == pairs.n_valid_pixels


def test_splits_are_by_frame_and_cover_all(pairs):
    training, validation = pairs.split(0.3, seed=1)
    assert (training.n_frames, validation.n_frames) == (4, 2)
    shapes = sorted(training._shapes + validation._shapes)
    assert shapes == sorted(pairs._shapes)
    again = pairs.split(0.3, seed=1)[1]
    assert again._shapes == validation._shapes
    with pytest.raises(ValueError, match="one frame cannot be split"):
        validation._subset([0]).split(0.5, seed=0)


def test_visits_stay_together(planes):
    pairs = PairedDataset(*planes, visits=["a", "b", "b", "a", "c", "c"])
    for seed in range(5):
        training, validation = pairs.split(0.34, seed=seed)
        assert len(set(validation._visits)) == 1
        assert not set(training._visits) & set(validation._visits)
        assert (training.n_frames, validation.n_frames) == (4, 2)
    with pytest.raises(ValueError, match="one visit cannot be split"):
        validation.split(0.5, seed=0)
    with pytest.raises(ValueError, match="visits has 2 entries for 6 frames"):
        PairedDataset(*planes, visits=["a", "b"])


def test_batches_keep_image_label_and_ignore_together(planes):
    """A hit made of one bright pixel must stay under its label, whatever the turn."""
    for image, mask in zip(*planes[:2], strict=True):
        image[mask] = 5000
    pairs = PairedDataset(*planes, readnoise=5.0)
    inputs, labels, valid, silent = make_batch(pairs, 8, 32, CHANNELS, np.random.default_rng(3))
    assert inputs.shape == (8, 2, 32, 32)
    assert inputs.dtype == np.float32
    np.testing.assert_array_equal(inputs[:, :1] > 4, labels > 0)
    assert 0.05 < 1 - valid.mean() < 0.15
    np.testing.assert_array_equal(silent, ~valid)
    again = make_batch(pairs, 8, 32, CHANNELS, np.random.default_rng(3))
    np.testing.assert_array_equal(inputs, again[0])


def test_a_margin_is_reflected_and_left_out_of_the_loss(planes):
    pairs = PairedDataset(*planes, readnoise=5.0)
    bare = make_batch(pairs, 4, 32, CHANNELS, np.random.default_rng(3))
    rng = np.random.default_rng(3)
    inputs, labels, valid, silent = make_batch(pairs, 4, 32, CHANNELS, rng, margin=4)
    around = [(0, 0), (0, 0), (4, 4), (4, 4)]
    np.testing.assert_allclose(inputs, np.pad(bare[0], around, mode="symmetric"), rtol=1e-6)
    np.testing.assert_array_equal(labels, np.pad(bare[1], around))
    np.testing.assert_array_equal(valid, np.pad(bare[2], around))
    np.testing.assert_array_equal(silent, np.pad(bare[3], around))


def test_pairs_are_normalised_by_their_whole_frame_as_detection_does(planes):
    pairs = PairedDataset(*planes, readnoise=5.0)
    seen = {pairs.patch(1, 32, np.random.default_rng(i)).statistics for i in range(20)}
    image = planes[0][1].astype(np.float32)
    known = (None, 5.0)
    assert seen == {estimate_statistics(image, image > 0, readnoise=r) for r in known}


def test_shorter_exposures_under_brighter_skies_have_their_noise():
    rng = np.random.default_rng(3)
    image = rng.poisson(400.0, (128, 128)) + rng.normal(0, 5.0, (128, 128))
    mask = np.zeros(image.shape, bool)
    mask[20, 10:14] = mask[60, 90] = True
    image[20, 10:14] += 2000.0
    image[60, 90] += 100.0  # five sigma, and 1.9 of what is left of it
    image[0, 0] = np.nan
    pairs = PairedDataset(
        [image], [mask], readnoise=5.0, exposure_scale=(0.25, 0.25), extra_sky=(50.0, 50.0)
    )
    sky = np.median(image[1:])
    for seed in range(4):  # with and without the read noise told
        patch = pairs.patch(0, 128, np.random.default_rng(seed))
        bare = patch.image[~mask & patch.usable]
        assert bare.mean() == pytest.approx(400 / 4 + 50, abs=0.5)
        assert bare.var() == pytest.approx(400 / 4 + 50 + 25, rel=0.05)
        assert patch.statistics.sky == pytest.approx(sky / 4 + 50, rel=0.01)
        assert patch.statistics.noise == pytest.approx(bare.std(), rel=0.05)
        assert patch.label[20, 10:14].all()
        assert patch.image[20, 10:14].mean() == pytest.approx(650, abs=40)
        assert patch.label.sum() == 4
        assert not patch.valid[60, 90]
        assert patch.valid.sum() == image.size - 2
        assert np.isnan(patch.image[0, 0])
    again = pairs.patch(0, 128, np.random.default_rng(3))
    np.testing.assert_array_equal(patch.image, again.image)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"extra_sky": (0, 50)}, "exposure_scale and extra_sky need readnoise"),
        ({"readnoise": 5, "exposure_scale": (0.5, 2)}, r"must be \(low, high\) with 0 < low"),
        ({"readnoise": 5, "extra_sky": (9, 1)}, r"extra_sky must be .* got \(9, 1\)"),
    ],
)
def test_bad_ranges(planes, settings, message):
    with pytest.raises(ValueError, match=message):
        PairedDataset(*planes, **settings)


def test_nan_pixels_are_hidden_and_do_not_count(planes):
    for image in planes[0]:
        image[::2] = np.nan
    pairs = PairedDataset(*planes, readnoise=5.0)
    inputs, _, valid, silent = make_batch(pairs, 4, 32, CHANNELS, np.random.default_rng(3))
    assert np.isfinite(inputs).all()
    assert valid.mean() < 0.5
    assert silent.mean() < 0.1


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


def test_ccddata(planes):
    images, masks, ignore = planes
    rates = [
        CCDData(image / 20, unit=u.adu / u.s, mask=image > 70, meta={"EXPTIME": 10.0})
        for image in images
    ]
    pairs = PairedDataset(rates, masks, ignore, gain=2.0, readnoise=2 * u.adu)
    patch = pairs.patch(2, 32, np.random.default_rng(0))
    hidden = [i | (image > 70) for i, image in zip(ignore, images, strict=True)]
    plain = PairedDataset(images, masks, hidden, readnoise=4.0)
    expected = plain.patch(2, 32, np.random.default_rng(0))
    np.testing.assert_allclose(patch.image, expected.image, rtol=1e-6)
    np.testing.assert_array_equal(patch.valid, expected.valid)
    assert (patch.image > 70).any()
    assert patch.statistics.noise == pytest.approx(expected.statistics.noise, rel=1e-6)
    assert pairs.n_valid_pixels == plain.n_valid_pixels


def test_units(planes):
    images, masks, _ = planes
    mixed = [CCDData(image, unit=u.electron) for image in images]
    mixed[1] = CCDData(images[1], unit=u.adu)
    with pytest.raises(ValueError, match=r"images have units that differ \(adu, electron\)"):
        PairedDataset(mixed, masks)
    with pytest.raises(ValueError, match="the data are in adu: give gain"):
        PairedDataset([mixed[1]], masks[1:2])
    with pytest.raises(ValueError, match="their meta has no EXPTIME"):
        PairedDataset([images[0] * u.electron / u.s], masks[:1])
    in_adu = PairedDataset(images, masks, gain=2.0).patch(0, 40, np.random.default_rng(0))
    electrons = PairedDataset(images, masks).patch(0, 40, np.random.default_rng(0))
    np.testing.assert_allclose(in_adu.image, 2 * electrons.image)


def test_a_frame_without_valid_pixel_is_refused(planes):
    images, masks, ignore = planes
    ignore[3][:] = True
    with pytest.raises(ValueError, match="frame 3 has no valid pixel"):
        PairedDataset(images, masks, ignore)


def write_pairs(folder, planes, suffix):
    for i, (image, mask, ignore) in enumerate(zip(*planes, strict=True)):
        visit = folder / f"visit{i // 2}"
        visit.mkdir(exist_ok=True)
        files = {f"e{i}": image, f"e{i}_mask": mask, f"e{i}_ignore": ignore}
        if i == 5:
            del files["e5_ignore"]
        for name, plane in files.items():
            path = visit / f"{name}{suffix}"
            if suffix == ".npy":
                np.save(path, plane)
            else:
                header = fits.Header({"BUNIT": "ELECTRONS"}) if plane is image else None
                data = plane if plane is image else plane.astype(np.uint8)
                fits.writeto(path, data, header)


@pytest.mark.parametrize("suffix", [".npy", ".fits"])
def test_directory_of_pairs(tmp_path, planes, suffix):
    write_pairs(tmp_path, planes, suffix)
    pairs = PairedDataset.from_directory(tmp_path, readnoise=5.0)
    planes[2][5][:] = False
    plain = PairedDataset(*planes, readnoise=5.0)
    assert pairs.n_valid_pixels == plain.n_valid_pixels
    assert [len(set(pairs._visits[i : i + 2])) for i in (0, 2, 4)] == [1, 1, 1]
    assert pairs.n_visits == 3
    for a, b in zip(
        make_batch(pairs, 6, 32, CHANNELS, np.random.default_rng(3)),
        make_batch(plain, 6, 32, CHANNELS, np.random.default_rng(3)),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("card", ["EXPTIME", "XPOSURE"])
def test_scaled_integers_and_rates_in_files(tmp_path, card):
    image = np.arange(40_000, 40_000 + 32 * 32, dtype=np.uint16).reshape(32, 32)
    mask = (image > 40_500).astype(np.uint8)
    primary = fits.PrimaryHDU(header=fits.Header({card: 5.0}))
    hdu = fits.ImageHDU(image, fits.Header({"BUNIT": "COUNTS/S"}))
    fits.HDUList([primary, hdu]).writeto(tmp_path / "a.fits")
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(mask)]).writeto(tmp_path / "a_mask.fits")
    pairs = PairedDataset.from_directory(tmp_path, gain=2.0)
    patch = pairs.patch(0, 32, np.random.default_rng(0))
    np.testing.assert_array_equal(patch.image, image * 10.0)
    np.testing.assert_array_equal(patch.label, mask > 0)
    assert pairs.n_visits == 1


def test_memory_does_not_grow_with_the_files(tmp_path):
    for i in range(8):
        noise = np.random.default_rng(i).normal(50, 7, (1024, 1024))
        np.save(tmp_path / f"{i}.npy", noise.astype(np.float32))
        np.save(tmp_path / f"{i}_mask.npy", np.zeros((1024, 1024), bool))
    tracemalloc.start()
    pairs = PairedDataset.from_directory(tmp_path)
    make_batch(pairs, 16, 32, CHANNELS, np.random.default_rng(0))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6  # the files hold 42 MB, a frame in float32 4


def test_bad_directories(tmp_path):
    with pytest.raises(ValueError, match=r"holds no exposures: NAME\.fits or NAME\.npy"):
        PairedDataset.from_directory(tmp_path)
    np.save(tmp_path / "a.npy", np.zeros((8, 8)))
    with pytest.raises(ValueError, match=r"has no a_mask\.fits or a_mask\.npy beside it"):
        PairedDataset.from_directory(tmp_path)
    np.save(tmp_path / "a_mask.npy", np.full((8, 8), 2))
    with pytest.raises(ValueError, match=r"masks\[0\] has values other than 0 and 1"):
        PairedDataset.from_directory(tmp_path)
    (tmp_path / "a.npy").unlink()
    fits.writeto(tmp_path / "a.fits", np.zeros(5))
    with pytest.raises(ValueError, match="has no two-dimensional image"):
        PairedDataset.from_directory(tmp_path)


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
