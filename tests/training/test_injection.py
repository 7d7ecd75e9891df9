import numpy as np
import pytest
from astropy import units as u
from astropy.nddata import CCDData

from cosmiq_astro.simulate import Footprints, cosmic_ray_footprints
from cosmiq_astro.training import InjectionDataset
from cosmiq_astro.training._frames import estimate_level

SKY, READNOISE = 100.0, 5.0


def science(n=3, size=96, seed=0):
    """Sky and a bright star, with Poisson and read noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    star = 20_000 * np.exp(-((y - 50) ** 2 + (x - 40) ** 2) / 6)
    return [rng.poisson(SKY + star) + rng.normal(0, READNOISE, y.shape) for _ in range(n)]


def single_pixels(charge):
    """Return a library of one-pixel hits."""
    n = np.arange(4)
    return Footprints.from_pixels(n, 0 * n, 0 * n, np.full(4, charge))


@pytest.mark.parametrize(("sigmas", "labelled"), [(2.5, False), (3.5, True)])
def test_the_label_follows_the_noise_model(sigmas, labelled):
    library = single_pixels(sigmas * np.sqrt(SKY + READNOISE**2))
    dataset = InjectionDataset(
        science(), library, readnoise=READNOISE, density=(0.01, 0.01), charge_scale=(1, 1)
    )
    patch = dataset.patch(0, 32, np.random.default_rng(0))
    frame = np.concatenate([science()[0].ravel(), [0]])
    # Every pixel that is not in the frame as it was has been hit.
    hit = ~np.isin(patch.image, frame.astype(np.float32))
    assert 5 < hit.sum() < 20
    assert (patch.label[hit] == labelled).mean() > 0.9
    assert (patch.valid[hit] == labelled).mean() > 0.9
    assert not patch.label[~hit].any()
    assert patch.valid[~hit].all()


def test_on_a_star_it_takes_more_charge():
    library = single_pixels(300.0)
    dataset = InjectionDataset(
        science(1), library, readnoise=READNOISE, density=(0.2, 0.2), charge_scale=(1, 1)
    )
    patch = dataset.patch(0, 96, np.random.default_rng(1))
    core = np.s_[49:52, 39:42]
    assert not patch.label[core].any()
    assert patch.label.mean() > 0.1


def test_level_is_right_for_sky_and_stars():
    frame = science(1)[0]
    level = estimate_level(frame, READNOISE)
    assert np.quantile(np.abs(level[:30] - SKY), 0.99) < 20
    assert np.abs(level[:30] - SKY).std() < 0.5 * np.abs(frame[:30] - SKY).std()
    assert level[50, 40] == pytest.approx(20_100, rel=0.05)
    assert (estimate_level(-frame, READNOISE) >= 0).all()


def test_own_hits_are_ignored_and_pixels_counted():
    frames = science()
    masks = [np.zeros((96, 96), bool) for _ in frames]
    masks[1][10:14, 20] = True
    ccds = [CCDData(frame, unit=u.electron, mask=frame > 15_000) for frame in frames]
    frames[2][5, 5] = np.nan
    ccds[2].data[5, 5] = np.nan
    dataset = InjectionDataset(ccds, single_pixels(900.0), masks=masks, readnoise=READNOISE)
    n_bright = sum((frame > 15_000).sum() for frame in frames)
    assert n_bright > 0
    assert dataset.n_valid_pixels == 3 * 96 * 96 - 4 - n_bright - 1
    patch = dataset.patch(1, 96, np.random.default_rng(0))
    assert not patch.valid[10:14, 20].any()
    assert patch.usable[10:14, 20].all()
    patch = dataset.patch(2, 96, np.random.default_rng(0))
    assert not patch.usable[5, 5]
    assert np.isnan(patch.image[5, 5])


def test_shorter_exposures_and_brighter_skies_have_their_noise():
    rng = np.random.default_rng(3)
    frame = rng.poisson(400.0, (128, 128)) + rng.normal(0, READNOISE, (128, 128))
    dataset = InjectionDataset(
        [frame],
        single_pixels(900.0),
        readnoise=READNOISE,
        density=(1e-9, 1e-9),
        exposure_scale=(0.25, 0.25),
        extra_sky=(50.0, 50.0),
    )
    patch = dataset.patch(0, 128, np.random.default_rng(0))
    assert patch.image.mean() == pytest.approx(400 / 4 + 50, abs=0.7)
    assert patch.image.var() == pytest.approx(400 / 4 + 50 + READNOISE**2, rel=0.05)


def test_saturated_pixels_gain_nothing():
    frames = [np.minimum(frame, 5000) for frame in science(1)]
    dataset = InjectionDataset(
        frames, single_pixels(4000.0), readnoise=READNOISE, satlevel=5000, density=(0.5, 0.5)
    )
    patch = dataset.patch(0, 96, np.random.default_rng(0))
    full = frames[0] == 5000
    assert patch.image.max() == 5000
    assert not patch.label[full].any()
    assert 0.2 < patch.valid[full].mean() < 0.8


def test_hits_come_from_dark_frames_too():
    library = cosmic_ray_footprints(300, seed=2)
    rng = np.random.default_rng(1)
    charge = library.paste((256, 256), 40, rng)
    dark = charge + rng.normal(3, 5, charge.shape)
    for images in ([dark], [charge], [CCDData(dark / 2, unit=u.adu)]):
        gain = 2.0 if isinstance(images[0], CCDData) else None
        frames = science() if gain is None else [CCDData(f / 2, unit=u.adu) for f in science()]
        dataset = InjectionDataset(frames, images, readnoise=READNOISE, gain=gain)
        assert 20 <= len(dataset._library) <= 40
        found = np.median(dataset._library.total_charge)
        assert found == pytest.approx(np.median(library.total_charge), rel=0.5)


def test_patches_repeat_and_frames_are_untouched():
    frames = science()
    before = [frame.copy() for frame in frames]
    library = cosmic_ray_footprints(100, seed=0)
    settings = {"exposure_scale": (0.5, 1.0), "extra_sky": (0, 50), "visits": ["a", "a", "b"]}
    dataset = InjectionDataset(frames, library, readnoise=READNOISE, **settings)
    one, two = (dataset.patch(1, 64, np.random.default_rng(7)) for _ in range(2))
    np.testing.assert_array_equal(one.image, two.image)
    np.testing.assert_array_equal(one.label, two.label)
    assert one.image.dtype == np.float32
    for frame, old in zip(frames, before, strict=True):
        np.testing.assert_array_equal(frame, old)
    training, validation = dataset.split(0.5, seed=0)
    assert sorted([training.n_frames, validation.n_frames]) == [1, 2]
    assert training.n_valid_pixels == training.n_frames * 96 * 96


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"density": (0, 1e-3)}, r"density must be \(low, high\) with 0 < low <= high, got"),
        ({"charge_scale": (2, 1)}, r"charge_scale must be \(low, high\)"),
        ({"exposure_scale": (0.5, 2)}, "0 < low <= high <= 1, got"),
        ({"extra_sky": (-1, 2)}, "extra_sky must be .* with 0 <= low"),
        ({"readnoise": -1}, "readnoise must be one finite, not negative number"),
        ({"masks": [np.zeros((2, 2))] * 3}, r"masks\[0\] has shape \(2, 2\)"),
        ({"cosmic_rays": [np.zeros((64, 64))]}, "cosmic_rays holds no hit to inject"),
        ({"cosmic_rays": []}, "cosmic_rays is empty"),
        ({"images": []}, "images is empty"),
    ],
)
def test_bad_settings(settings, message):
    given = {"images": science(), "cosmic_rays": single_pixels(900.0), "readnoise": READNOISE}
    with pytest.raises(ValueError, match=message):
        InjectionDataset(**(given | settings))


def test_validation_frames_of_their_own_get_other_hits():
    library = cosmic_ray_footprints(50, seed=1)
    training, validation = (InjectionDataset(science(), library, readnoise=5) for _ in range(2))
    training.part_hits(validation, 0.2, seed=0)
    charges = [set(part._library.total_charge) for part in (training, validation)]
    assert [len(c) for c in charges] == [40, 10]
    assert not charges[0] & charges[1]


def test_the_rim_of_a_cut_hit_is_ignored():
    rng = np.random.default_rng(1)
    dark = rng.normal(0, READNOISE, (96, 96))
    dark[4:92:8, 4:92:8] += 5000
    given = {"readnoise": READNOISE, "density": (0.005, 0.005), "charge_scale": (1, 1)}
    patch = InjectionDataset(science(1), [dark], **given).patch(0, 64, rng)
    n_hits = patch.label.sum()
    assert n_hits > 10
    assert patch.valid[patch.label].all()
    assert 5 * n_hits < (~patch.valid).sum() <= 9 * n_hits
