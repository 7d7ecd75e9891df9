import numpy as np
import pytest
from scipy.special import expit

from cosmiq_astro.calibration import CalibrationAccumulator, choose_threshold


def test_false_positive_rate(pixels):
    p, y = pixels
    for target in (0.0, 0.003, 0.1):
        choice = choose_threshold(p, y, fpr=target)
        assert np.mean(p[~y] >= choice.threshold) <= target
        below = p[p < choice.threshold].max()
        assert np.mean(p[~y] >= below) > target
        assert choice.fpr == np.mean(p[~y] >= float(choice))
        assert choice.tpr == np.mean(p[y] >= float(choice))
        assert choice.precision == pytest.approx(np.mean(y[p >= float(choice)]))
    with pytest.raises(ValueError, match=r"no threshold reaches fpr=0.1: .* already have 0.5"):
        choose_threshold([1.0, 1.0, 0.0], [0, 1, 0], fpr=0.1)


@pytest.mark.parametrize("beta", [0.5, 1, 3])
def test_f_beta(pixels, beta):
    sklearn = pytest.importorskip("sklearn.metrics")
    p, y = pixels
    choice = choose_threshold(p, y, f_beta=beta)
    scores = [sklearn.fbeta_score(y, p >= t, beta=beta) for t in np.unique(p)[::20]]
    assert sklearn.fbeta_score(y, p >= float(choice), beta=beta) >= max(scores)


def test_cost_of_calibrated_probabilities_has_a_closed_form():
    rng = np.random.default_rng(0)
    p = rng.random(400_000)
    y = rng.random(p.size) < p
    for price in (0.25, 4.0):
        assert float(choose_threshold(p, y, cost=price)) == pytest.approx(
            price / (1 + price), abs=0.03
        )


def test_weights_and_counted_pixels(pixels):
    p, y = pixels
    twice = choose_threshold(np.tile(p, 2), np.tile(y, 2), fpr=0.01)
    assert choose_threshold(p, y, fpr=0.01, weight=np.full(p.size, 2.0)) == twice
    counts = CalibrationAccumulator()
    counts.update(p, y)
    assert float(choose_threshold(counts.to_table(), fpr=0.01)) == pytest.approx(
        float(twice), abs=1e-3
    )


def draw_images(rng, n):
    """Return images whose difficulty varies from one to the next."""
    truth = [rng.random(300) < 0.1 for _ in range(n)]
    shift = rng.normal(0, 1.5, n)
    p = [
        expit(rng.normal(0, 1, 300) + np.where(y, 2 + s, -3))
        for y, s in zip(truth, shift, strict=True)
    ]
    return p, truth


def missed(p, y, threshold):
    return np.mean(p[y] < threshold) if y.any() else 0.0


@pytest.mark.parametrize("n", [19, 60])
def test_conformal_guarantee_by_simulation(n):
    rng = np.random.default_rng(n)
    alpha, n_trials = 0.1, 300
    losses = np.empty(n_trials)
    for i in range(n_trials):
        threshold = float(choose_threshold(*draw_images(rng, n), conformal_fnr=alpha))
        p, y = draw_images(rng, 4)
        losses[i] = np.mean([missed(*image, threshold) for image in zip(p, y, strict=True)])
    error = losses.std() / np.sqrt(n_trials)
    assert losses.mean() <= alpha + 3 * error
    # Angelopoulos et al., theorem 2: it is not wasteful either, by more than 2 / (n + 1).
    assert losses.mean() >= alpha - 2 / (n + 1) - 3 * error


def test_conformal_threshold_is_the_largest_that_is_allowed():
    p, y = draw_images(np.random.default_rng(3), 30)
    alpha = 0.15
    choice = choose_threshold(p, y, conformal_fnr=alpha)

    def bound(threshold):
        return (sum(missed(a, b, threshold) for a, b in zip(p, y, strict=True)) + 1) / 31

    assert choice.n_images == 30
    assert bound(choice.threshold) <= alpha
    values = np.sort(np.concatenate([a[b] for a, b in zip(p, y, strict=True)]))
    assert bound(values[np.searchsorted(values, choice.threshold) + 1]) > alpha


def test_conformal_refuses_what_n_images_cannot_promise():
    p, y = draw_images(np.random.default_rng(0), 19)
    assert choose_threshold(p, y, conformal_fnr=0.05).tpr == 1
    with pytest.raises(ValueError, match=r"below 1/\(n \+ 1\) = 0.05 for the n=19 .* needs 24"):
        choose_threshold(p, y, conformal_fnr=0.04)
    # An image without cosmic rays is no evidence.
    y[0] = np.zeros(300, bool)
    with pytest.raises(ValueError, match=r"n=18 images .* needs 19 images"):
        choose_threshold(p, y, conformal_fnr=0.05)
    with pytest.raises(ValueError, match="conformal_fnr needs image="):
        choose_threshold(p[1], y[1], conformal_fnr=0.5)


def test_refusals():
    p, y = [0.1, 0.9], [0, 1]
    with pytest.raises(ValueError, match=r"exactly one of fpr, f_beta, cost, .* got none"):
        choose_threshold(p, y)
    with pytest.raises(ValueError, match=r"got \['fpr', 'cost'\]"):
        choose_threshold(p, y, fpr=0.1, cost=1)
    with pytest.raises(ValueError, match="both classes"):
        choose_threshold(p, [0, 0], fpr=0.1)
    for name, value in {"fpr": 2, "f_beta": 0, "cost": -1, "conformal_fnr": 1}.items():
        with pytest.raises(ValueError, match=f"{name} must .* not {value}"):
            choose_threshold(p, y, **{name: value}, image=[0, 1])
