"""
What comes out is what came out before, number by number.

The numbers in ``reference.json`` are those of tiny seeded networks, a simulated
exposure and its scores: they depend on no bundled weights. After a change that
is meant to change them, ``python tests/test_reference.py`` writes them anew.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from cosmiq_astro import CosmicRayDetector
from cosmiq_astro.calibration import fit_beta, score_table
from cosmiq_astro.cleaning import clean_pixels
from cosmiq_astro.models.model import Model
from cosmiq_astro.models.unet import UNetConfig, empty_unet, initialize_weights
from cosmiq_astro.simulate import simulate_exposure

STORED = Path(__file__).with_name("reference.json")
# What is drawn, by the way of sampling.
SAMPLINGS = {
    "antithetic": ("merge.0.*", "head"),
    "independent": ("merge.0.*", "head"),
    "moments": ("head",),
    "mean": ("merge.0.*", "head"),
}
PLANES = ("probability", "uncertainty", "entropy", "mutual_information")
SCORES = ("brier", "nll_non_trivial", "ece", "ece_adaptive_non_trivial", "roc_auc", "aurc")


def tiny_model(variational):
    """Return a network of 3 feature maps with weights that give probabilities of all sizes."""
    config = UNetConfig(hidden=3, levels=2, variational=variational)
    network = initialize_weights(empty_unet(config), torch.Generator().manual_seed(7))
    with torch.no_grad():
        network.head.weight.mul_(12)
        network.head.bias.fill_(-4.0)
    return Model("tiny", "1", "any", network.eval().requires_grad_(False), temperature=1.3)


def numbers():
    """Return everything that is stored, by name."""
    ccd, truth = simulate_exposure((61, 74), 900.0, cosmic_ray_rate=3.0, seed=5)
    image = np.asarray(ccd.data)
    picked = (slice(4, None, 14), slice(3, None, 19))
    found = {
        "image": image[picked],
        "charge": truth.cosmic_ray_charge[truth.label][::9],
        "n_label": [truth.label.sum(), truth.ignore.sum()],
        "median cleaned": clean_pixels(image, truth.label, method="median")[truth.label][::9],
    }
    label = np.where(truth.ignore, np.nan, truth.label)
    for sampling, variational in {"baseline": (), **SAMPLINGS}.items():
        detector = CosmicRayDetector(tiny_model(variational), device="cpu")
        settings = {"sampling": sampling} if variational else {}
        maps = detector(image, T=4, seed=3, readnoise=4.5, **settings)
        for plane in PLANES if sampling in ("antithetic", "independent", "moments") else PLANES[:1]:
            found[f"{sampling} {plane}"] = getattr(maps, plane)[picked]
        if sampling == "antithetic":
            scores = score_table(maps.probability, label)[0]
            found["scores"] = [scores[score] for score in SCORES]
            beta = fit_beta(maps.probability, label)
            found["beta"] = [beta.a, beta.b, beta.c]
    return {name: np.ravel(np.asarray(values, dtype=float)) for name, values in found.items()}


@pytest.fixture(scope="module")
def computed():
    return numbers()


EXPECTED = json.loads(STORED.read_text(encoding="utf-8")) if STORED.exists() else {}


@pytest.mark.parametrize("name", EXPECTED)
def test_numbers_are_those_stored(computed, name):
    np.testing.assert_allclose(computed[name], EXPECTED[name], rtol=2e-4, atol=1e-5)


def test_all_that_is_stored_is_computed(computed):
    assert computed.keys() == EXPECTED.keys()
    spread = np.ptp(computed["antithetic probability"])
    assert spread > 0.3  # a network that says the same everywhere would test nothing


if __name__ == "__main__":
    rounded = {n: [float(f"{x:.7g}") for x in values] for n, values in numbers().items()}
    lines = (f"{json.dumps(name)}: {json.dumps(values)}" for name, values in rounded.items())
    STORED.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
