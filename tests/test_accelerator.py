"""Detection and training on a GPU, where there is one, beside those on the CPU."""

import numpy as np
import pytest
import torch

from cosmiq_astro import CosmicRayDetector
from cosmiq_astro.simulate import simulate_exposure
from cosmiq_astro.training import PairedDataset, TrainingRun, TrainingSettings, train

DEVICES = [
    name
    for name, there in (
        ("cuda", torch.cuda.is_available()),
        ("mps", torch.backends.mps.is_available()),
    )
    if there
]
pytestmark = pytest.mark.skipif(not DEVICES, reason="no GPU")


@pytest.fixture(scope="module")
def image():
    return np.asarray(simulate_exposure((300, 277), 800.0, seed=3)[0].data)


@pytest.fixture(scope="module", params=DEVICES or ["none"])
def device(request):
    return request.param


@pytest.mark.parametrize(
    ("model", "sampling"),
    [
        ("acs-wfc-unet", "mean"),
        ("acs-wfc-vi", "mean"),
        ("acs-wfc-vi", "antithetic"),
        ("acs-wfc-vi", "independent"),
        ("acs-wfc-vi", "moments"),
    ],
)
def test_maps_are_those_of_the_cpu(image, device, model, sampling):
    there, here = (
        CosmicRayDetector(model, device=name)(image, seed=5, sampling=sampling, readnoise=5)
        for name in (device, "cpu")
    )
    for plane in ("probability", "uncertainty", "entropy", "mutual_information"):
        difference = np.abs(getattr(there, plane) - getattr(here, plane))
        assert difference.max() < 1e-4, plane
    np.testing.assert_allclose(there.unfamiliarity, here.unfamiliarity, atol=1e-3)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="a setting of CUDA")
def test_global_settings_stay(image):
    before = torch.backends.cudnn.allow_tf32
    CosmicRayDetector("acs-wfc-unet", device="cuda")(image)
    assert torch.backends.cudnn.allow_tf32 == before


def test_tiles_leave_no_seam(image, device):
    whole, tiled = (
        CosmicRayDetector("acs-wfc-unet", device=device, tile_size=size)(image).probability
        for size in (512, 64)
    )
    assert np.abs(whole - tiled).max() < 1e-4


def test_half_precision_comes_close(image, device):
    full, half = (
        CosmicRayDetector("acs-wfc-unet", device=device, precision=precision)(image).probability
        for precision in ("float32", "bfloat16")
    )
    assert np.mean((full > 0.5) != (half > 0.5)) < 1e-3


@pytest.mark.parametrize("bayesian", [False, True])
def test_training_runs_and_learns(device, bayesian):
    rng = np.random.default_rng(0)
    masks = [rng.random((64, 64)) < 0.02 for _ in range(4)]
    images = [rng.normal(50, 8, mask.shape) + 500 * mask for mask in masks]
    result = train(
        PairedDataset(images, masks, readnoise=3.0),
        bayesian,
        hidden=4,
        epochs=15,
        kl_beta=0.01,
        seed=1,
        settings=TrainingSettings(patch_size=32, batch_size=4, learning_rate=1e-2),
        run=TrainingRun(device=device),
    )
    assert result.history["train_loss"][-1] < 0.5 * result.history["train_loss"][0]
    assert next(result.model.network.parameters()).device.type == "cpu"
