import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.special import expit

from cosmiq_astro.calibration import draw_spread, draws_needed

LOGIT = np.linspace(-4, 4, 40)


def draw(rng, T, *, antithetic):
    """Return T draws of 40 pixels whose logits share one Gaussian noise."""
    noise = rng.normal(size=(T // 2 if antithetic else T, 1))
    if antithetic:
        noise = np.stack([noise, -noise], axis=1).reshape(T, 1)
    return expit(LOGIT + 0.8 * noise)


@pytest.mark.parametrize("antithetic", [False, True])
def test_predicted_error_is_the_spread_of_repeated_means(antithetic):
    rng = np.random.default_rng(0)
    spread = draw_spread(draw(rng, 4000, antithetic=antithetic), antithetic=antithetic)
    T = 8
    means = [draw(rng, T, antithetic=antithetic).mean(0) for _ in range(3000)]
    assert_allclose(spread / np.sqrt(T), np.std(means, axis=0), rtol=0.15)


def test_antithetic_draws_need_fewer():
    rng = np.random.default_rng(1)
    need = {
        kind: draws_needed(
            draw_spread(draw(rng, 2000, antithetic=kind), antithetic=kind),
            error=0.01,
            antithetic=kind,
        )
        for kind in (False, True)
    }
    assert need[True] < need[False] / 3
    assert need[True] % 2 == 0


def test_draws_needed():
    assert draws_needed([0.0, 0.0], error=0.1) == 1
    assert draws_needed([0.0], error=0.1, antithetic=True) == 2
    assert draws_needed([0.03, 0.04, np.nan], error=0.01) == 13  # 12.5
    assert draws_needed([0.03, 0.04], error=0.01, quantile=1.0) == 16
    assert draws_needed([0.03, 0.04], error=0.01, antithetic=True) == 14


def test_refusals():
    with pytest.raises(ValueError, match="error must be positive, not 0"):
        draws_needed([0.1], error=0)
    with pytest.raises(ValueError, match="spread has no finite pixel"):
        draws_needed([np.nan], error=1)
    with pytest.raises(ValueError, match="multiple of 1, 2 or more; T is 1"):
        draw_spread([[0.1]])
    for T in (2, 5):
        with pytest.raises(ValueError, match=f"multiple of 2, 4 or more; T is {T}"):
            draw_spread(np.full((T, 3), 0.5), antithetic=True)


def test_the_draws_of_a_network_are_opposite_two_by_two():
    torch = pytest.importorskip("torch")
    from cosmiq_astro.inference.sampling import draw_weights
    from cosmiq_astro.models.unet import UNetConfig, empty_unet, initialize_weights

    config = UNetConfig(hidden=2, levels=2, variational=("head",), views=4)
    network = initialize_weights(empty_unet(config), torch.Generator().manual_seed(0))
    biases = [float(draw["head.bias"]) for _, draw in draw_weights([network], 8, seed=1)]
    # As `draw_spread` takes them by default: a draw is the mean over its views.
    middle = np.add(biases[::2], biases[1::2]) / 2
    assert_allclose(middle, float(network.head.bias.detach()), rtol=1e-6)
    assert np.std(biases) > 0
