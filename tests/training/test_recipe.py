"""The recipe of the bundled models: a training that is interrupted, and its optimiser."""

import sys
from argparse import Namespace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from cosmiq_astro.models.unet import UNetConfig

RECIPE = Path(__file__).parents[2] / "recipes" / "acs_wfc"
STEPS = [5, 4]  # of a cycle with Adam, and of one with Muon


@pytest.fixture
def recipe(monkeypatch):
    """The recipe's module, on the path, with a tiny network, and a checkpoint after each step."""
    monkeypatch.syspath_prepend(str(RECIPE))
    monkeypatch.setattr(sys, "path", [*sys.path])  # the recipe adds its folder
    import train

    config = UNetConfig(channels=train.TOLD, hidden=4, levels=2)
    for name, value in {"CONFIG": config, "BATCH": 4, "POOL": 2, "CHECKPOINT": -1}.items():
        monkeypatch.setattr(train, name, value)
    n_threads = torch.get_num_threads()
    yield train
    torch.set_num_threads(n_threads)
    torch.set_flush_denormal(False)


class Interrupted(Exception):
    """What stops a training."""


class Exposures:
    """Noise with bright pixels, in place of simulated exposures."""

    device = "cpu"

    def batch(self, n, generator):
        from exposures import SimulatedBatch

        label = torch.rand(n, 16, 16, generator=generator) < 0.1
        image = torch.randn(n, 16, 16, generator=generator) + 20 * label
        every, one = torch.ones_like(label), torch.ones(n, 1, 1)
        return SimulatedBatch(image, label, every, every, 0 * one, one, one)


def weights_of(recipe, work):
    """Train to the end; return the weights."""
    arguments = Namespace(work=work, steps=STEPS, device="cpu")
    recipe.fit(Exposures(), Exposures(), 1, range(2), arguments)
    recipe.finish(1, arguments)
    return load_file(work / "weights_1.safetensors")


def test_an_interrupted_training_comes_to_the_same_weights(tmp_path, recipe, monkeypatch):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    whole = weights_of(recipe, tmp_path / "a")
    start = recipe.first_network(recipe.CONFIG, 1).state_dict()
    assert all((whole[name] != start[name]).any() for name in whole)
    step = recipe.Run.step
    for n_done in (3, 2, 2):  # within the first cycle, at its end, and within the second
        left = [n_done]

        def interrupted(self, batch, rate, left=left):
            if not left[0]:
                raise Interrupted
            left[0] -= 1
            return step(self, batch, rate)

        monkeypatch.setattr(recipe.Run, "step", interrupted)
        with pytest.raises(Interrupted):
            weights_of(recipe, tmp_path / "b")
    monkeypatch.setattr(recipe.Run, "step", step)
    stopped = weights_of(recipe, tmp_path / "b")
    assert all(torch.equal(whole[name], stopped[name]) for name in whole)


@pytest.mark.parametrize("shape", [(8, 8), (6, 40), (40, 6)])
def test_muon_brings_singular_values_near_one(recipe, shape):
    from muon import orthogonalized

    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(3))
    changed = orthogonalized(matrix)
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    assert 0.6 < torch.linalg.svdvals(changed).min() <= torch.linalg.svdvals(changed).max() < 1.3
    assert ((left.T @ changed @ right.T).diagonal() > 0.6).all()  # along the same directions
