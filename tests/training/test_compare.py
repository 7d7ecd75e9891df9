import numpy as np
from astropy.table import Table

from cosmiq_astro import load_model
from cosmiq_astro.training import PairedDataset, compare_models
from cosmiq_astro.training.compare import find_causes


def make_pairs(n=3, size=96, seed=0, ignore=None):
    rng = np.random.default_rng(seed)
    images, masks = [], []
    for _ in range(n):
        image = rng.normal(50, 8, (size, size))
        mask = np.zeros(image.shape, bool)
        for y, x in rng.integers(4, size - 8, (40, 2)):
            mask[y, x : x + 3] = True
        image[mask] += rng.exponential(300, mask.sum()) + 60
        images.append(image)
        masks.append(mask)
    ignore = None if ignore is None else [ignore] * n
    return PairedDataset(images, masks, ignore, readnoise=3.0)


def test_what_is_flagged_without_a_label_is_counted():
    every_other = np.arange(96) % 2 * np.ones((96, 1)) > 0
    for ignore, sees in ((None, False), (every_other, True)):
        comparison = compare_models({"new": load_model("acs-wfc-unet")}, make_pairs(ignore=ignore))
        found = comparison.table["silent"]
        assert np.isfinite(found).all() == sees
        assert not sees or (0.01 < found[0] < 0.04 and 0 < found[1] < 0.1)


def test_a_good_model_is_better_than_an_untrained_one(tiny_unet):
    good = load_model("acs-wfc-unet")
    comparison = compare_models({"new": good, "old": tiny_unet}, make_pairs(), patch_size=64)
    assert comparison.worse == []
    assert list(comparison.table["model"]) == ["new", "old", "L.A.Cosmic"]
    first = comparison.table[0]
    for name in ("recall", "precision", "tpr", "nll"):
        assert first[f"{name}_low"] <= first[name] <= first[f"{name}_high"]
    assert first["tpr"] > 0.9
    lines = str(comparison).splitlines()
    assert lines[0].split()[0] == "model"
    assert lines[-1].rstrip().endswith("-")
    worse = compare_models({"new": tiny_unet, "old": good}, make_pairs(), patch_size=64).worse
    assert len(worse) == 2
    assert worse[0].startswith("its NLL differs by +")
    assert compare_models({"new": good, "old": good}, make_pairs(), patch_size=64).worse == []


def history(train=0.01, val=0.01, kl=0.0):
    return Table({"train_loss": [train], "val_loss": [val], "kl": [kl]})


def test_causes_are_told():
    pairs = make_pairs()
    assert find_causes(pairs, make_pairs(seed=1), history(), 1.0) == []
    trail = np.zeros((96, 96), bool)
    trail[30:36] = True
    image = np.random.default_rng(0).normal(50, 8, trail.shape) + 500 * trail
    trailed = PairedDataset([image], [trail], readnoise=3.0)
    (cause, *_) = find_causes(trailed, pairs, history(), 1.0)
    assert "one group of pixels holds 100 % of all labelled pixels" in cause
    (cause,) = find_causes(pairs, pairs, history(val=0.05), 1.0)
    assert "5.0 times the training loss" in cause
    (cause,) = find_causes(pairs, pairs, history(kl=0.5), 0.1)
    assert "the KL term (0.05 nats per pixel) exceeds the data term (0.01)" in cause
    sparse = PairedDataset(
        [np.random.default_rng(0).normal(50, 8, (96, 96))],
        [np.eye(96) * (np.arange(96) < 20) > 0],
        readnoise=3.0,
    )
    (cause,) = find_causes(pairs, sparse, history(), 1.0)
    assert "of the pixels are hit in training" in cause
