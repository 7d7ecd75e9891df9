"""deepCR's checkpoints, against a network built here the way deepCR builds its own."""

import numpy as np
import pytest
import torch
from torch import nn

import cosmiq_astro as ca
from cosmiq_astro.models.model import load_deepcr
from cosmiq_astro.training import PairedDataset, TrainingRun, TrainingSettings, train


def block(n_in, n_out, normalisation):
    if normalisation == "batch":
        layers = [
            nn.Conv2d(n_in, n_out, 3, padding=1),
            nn.BatchNorm2d(n_out),
            nn.ReLU(),
            nn.Conv2d(n_out, n_out, 3, padding=1),
            nn.BatchNorm2d(n_out),
            nn.ReLU(),
        ]
    else:
        layers = [
            nn.Conv2d(n_in, n_out, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(n_out, n_out, 3, padding=1),
            nn.ReLU(),
        ]
    return nn.ModuleDict({"conv": nn.Sequential(*layers)})


class Reference(nn.Module):
    """Two or three levels, with deepCR's names."""

    def __init__(self, levels, hidden, normalisation):
        super().__init__()
        width = [hidden * 2**level for level in range(levels)]
        self.levels = levels
        self.inc = nn.ModuleDict({"conv": block(1, hidden, normalisation)})
        for level in range(1, levels):
            inner = block(width[level - 1], width[level], normalisation)
            down = nn.ModuleDict({"mpconv": nn.ModuleList([nn.MaxPool2d(2), inner])})
            setattr(self, f"down{level}", down)
            up = {
                "up": nn.ConvTranspose2d(width[level], width[level - 1], 2, stride=2),
                "conv": block(width[level], width[level - 1], normalisation),
            }
            setattr(self, f"up{9 - level}", nn.ModuleDict(up))
        self.outc = nn.ModuleDict({"conv": nn.Conv2d(hidden, 1, 1)})

    def forward(self, x):
        skips = [self.inc["conv"]["conv"](x)]
        for level in range(1, self.levels):
            pool, inner = getattr(self, f"down{level}")["mpconv"]
            skips.append(inner["conv"](pool(skips[-1])))
        x = skips.pop()
        for level in reversed(range(1, self.levels)):
            up = getattr(self, f"up{9 - level}")
            x = up["conv"]["conv"](torch.cat([skips.pop(), up["up"](x)], dim=1))
        return self.outc["conv"](x)


def checkpoint(path, *, levels=2, hidden=4, normalisation="batch"):
    """Write a random checkpoint; return the network that it is of, and its prefix."""
    generator = torch.Generator().manual_seed(0)
    network = Reference(levels, hidden, normalisation).eval()
    state = network.state_dict()
    for name, tensor in state.items():
        if tensor.is_floating_point():
            tensor.normal_(0, 0.4, generator=generator)
            if "running_var" in name:
                tensor.abs_().add_(0.5)
    if normalisation == "weight":
        for name in [n for n in state if n.endswith("weight") and ".conv.conv." in f".{n}"]:
            weight = state[name]
            if weight.shape[-1] != 3:
                continue
            norm = weight.flatten(1).norm(dim=1).reshape(-1, 1, 1, 1)
            del state[name]
            state[f"{name}_g"], state[f"{name}_v"] = norm, 3 * weight
    torch.save({f"module.{name}": tensor for name, tensor in state.items()}, path)
    return network


@pytest.mark.parametrize("normalisation", ["batch", "weight"])
@pytest.mark.parametrize("levels", [2, 3])
def test_same_logits(tmp_path, levels, normalisation):
    path = tmp_path / "mask.pth"
    reference = checkpoint(path, levels=levels, normalisation=normalisation)
    model = load_deepcr(path)
    x = torch.randn(1, 1, 32, 40, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(model.network(x), reference(x), rtol=1e-3, atol=1e-3)
    assert model.method == "unet"
    assert (model.network.config.levels, model.network.config.hidden) == (levels, 4)
    assert (model.threshold, model.temperature) == (0.5, 1.0)


def test_scale_divides_the_image(tmp_path):
    reference = checkpoint(tmp_path / "mask.pth")
    model = load_deepcr(tmp_path / "mask.pth", scale=100)
    x = torch.randn(1, 1, 16, 16, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(model.network(100 * x), reference(x), rtol=1e-3, atol=1e-3)
    with pytest.raises(ValueError, match="scale must be positive, got 0"):
        load_deepcr(tmp_path / "mask.pth", scale=0)


@pytest.mark.filterwarnings("ignore:.* of what may be hits is undecided")  # of random weights
def test_works_like_any_model(tmp_path, frame):
    checkpoint(tmp_path / "mask.pth")
    model = load_deepcr(tmp_path / "mask.pth", scale=1000)
    whole, tiled = (
        ca.CosmicRayDetector(model, device="cpu", tile_size=size)(frame).probability
        for size in (256, 24)
    )
    np.testing.assert_allclose(tiled, whole, atol=1e-5)
    assert ca.load_model(tmp_path / "mask.pth").sha256 == model.sha256
    data, mask = ca.cosmicray_unet(frame, model=model, device="cpu")
    np.testing.assert_array_equal(data, frame)
    assert mask.dtype == bool
    with pytest.raises(ValueError, match="use cosmicray_unet"):
        ca.cosmicray_vi(frame, model=model, device="cpu")


@pytest.mark.parametrize("bayesian", [False, True])
def test_is_a_warm_start(tmp_path, frame, bayesian, monkeypatch):
    monkeypatch.setattr("cosmiq_astro.training.loop._PATCHES", 1)
    checkpoint(tmp_path / "mask.pth")
    dataset = PairedDataset([frame] * 2, [frame > 500] * 2)
    settings = TrainingSettings(patch_size=32, batch_size=2, learning_rate=1e-9)
    given = {"epochs": 1, "seed": 0, "settings": settings, "run": TrainingRun(device="cpu")}
    model = load_deepcr(tmp_path / "mask.pth", scale=1000)
    result = train(dataset, bayesian, init=model, **given)
    for name, tensor in model.network.state_dict().items():
        trained = result.model.network.state_dict()[name]
        torch.testing.assert_close(trained, tensor, rtol=1e-4, atol=1e-6)


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "no.pth"
    path.write_bytes(b"nonsense")
    with pytest.raises(ValueError, match=r"no\.pth is not a checkpoint of deepCR's mask network"):
        load_deepcr(path)
    torch.save({"conv.weight": torch.ones(1, 1, 3, 3)}, path)
    with pytest.raises(ValueError, match="is not a checkpoint of deepCR's mask network"):
        load_deepcr(path)
    checkpoint(path)
    state = torch.load(path, weights_only=True)
    torch.save({k: v for k, v in state.items() if not k.startswith("module.up8.up")}, path)
    with pytest.raises(ValueError, match="is not a checkpoint of deepCR's mask network"):
        load_deepcr(path)
    with pytest.raises(FileNotFoundError):
        load_deepcr(tmp_path / "missing.pth")
