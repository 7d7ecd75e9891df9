"""Small models and frames that the tests share, and a simulated camera."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from cosmiq_astro.models.model import Model
from cosmiq_astro.models.unet import UNetConfig, empty_unet, initialize_weights

# Benchmarks take it from there as well.
sys.path.insert(0, str(Path(__file__).parent))


UNTRAINED = {"make_tiny", "tiny_vi", "tiny_unet"}
DOUBTS = (
    ".* of the pixels were flagged, more than",
    ".* things found are longer than",
    ".* of what may be hits is undecided",
    ".*the noise seems to be .* electrons",
)


def pytest_collection_modifyitems(items):
    """Untrained models find what is none, on toy frames without noise: these doubts are right."""
    for item in items:
        if UNTRAINED & set(getattr(item, "fixturenames", ())):
            for doubt in DOUBTS:
                item.add_marker(pytest.mark.filterwarnings(f"ignore:{doubt}"))


def make_model(
    *,
    variational=(),
    levels=3,
    views=2,
    channels=("asinh", "anscombe"),
    seed=0,
    n_networks=1,
    **kwargs,
):
    """An untrained model; its weights are large enough for p to move far from one half."""
    config = UNetConfig(channels, 4, levels, variational=variational, views=views)
    networks = []
    for i in range(n_networks):
        network = initialize_weights(empty_unet(config), torch.Generator().manual_seed(seed + i))
        network.head.weight.data.mul_(10)
        network.head.bias.data.zero_()
        network = network.eval().requires_grad_(False).to(memory_format=torch.channels_last)
        networks.append(network)
    about = {"name": "tiny", "version": "1", "instrument": "test"}
    return Model(**about, network=networks[0], others=tuple(networks[1:]), **kwargs)


@pytest.fixture(scope="session")
def make_tiny():
    return make_model


@pytest.fixture(scope="session")
def tiny_vi():
    return make_model(variational=("*",))


@pytest.fixture(scope="session")
def tiny_unet():
    return make_model()


@pytest.fixture
def frame():
    """A sky of 50 electrons with a star and a hit."""
    rng = np.random.default_rng(42)
    y, x = np.mgrid[:77, :101]
    image = rng.poisson(50 + 4000 * np.exp(-((y - 40) ** 2 + (x - 30) ** 2) / 4.0)).astype(float)
    image += rng.normal(0, 5, image.shape)
    image[20, 60:66] += 900
    return image
