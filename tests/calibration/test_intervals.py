import numpy as np
import pytest
import scipy
from astropy.utils.exceptions import AstropyUserWarning
from numpy.testing import assert_array_equal
from scipy.special import expit

from cosmiq_astro.calibration import (
    block_index,
    brier_score,
    calibration_report,
    expected_calibration_error,
    negative_log_likelihood,
    score_table,
)
from cosmiq_astro.calibration._input import as_sample
from cosmiq_astro.calibration._scores import Scores

FEW = pytest.mark.filterwarnings("ignore:the intervals rest on")


def test_is_that_of_students_t_for_a_mean():
    # Pixels of an image share one error, so an image is worth a single draw.
    offset = np.random.default_rng(0).random(40)
    p = [np.full((10, 10), x) for x in offset]
    y = [np.zeros((10, 10))] * 40
    error = (offset**2).std(ddof=1) / np.sqrt(40)
    low, high = scipy.stats.t.interval(0.9, 39, (offset**2).mean(), error)
    row = score_table(p, y, level=0.9)[0]
    assert (row["brier_low"], row["brier_high"]) == pytest.approx((low, high))


def rms_calibration_error(p, y, image):
    return score_table(p, y, image=image)["rms_calibration_error"][0]


def draw(rng, n, *, temperature=1.0):
    """Return n images unlike each other, whose true logits are ``temperature`` times as large."""
    centre, spread = rng.normal(-2, 0.7, (n, 1)), np.exp(rng.normal(0.5, 0.3, (n, 1)))
    z = centre + spread * rng.normal(size=(n, 400))
    y = rng.random(z.shape) < expit(temperature * z)
    return expit(z), y, np.broadcast_to(np.arange(n)[:, None], z.shape)


@FEW
@pytest.mark.parametrize(("n", "temperature"), [(5, 1.0), (20, 1.0), (20, 0.7)])
def test_intervals_cover(n, temperature):
    rng = np.random.default_rng(1)
    p, y, image = draw(rng, 2000, temperature=temperature)
    truth = {
        "brier": brier_score(p, y),
        "nll": negative_log_likelihood(p, y),
        "rms_calibration_error": rms_calibration_error(p, y, image=image),
    }
    covered = dict.fromkeys(truth, 0)
    n_trials = 200
    for _ in range(n_trials):
        p, y, image = draw(rng, n, temperature=temperature)
        sums = Scores(as_sample(p, y, image=image))._sum_scores(0.95)
        for name, value in truth.items():
            covered[name] += sums[f"{name}_low"] <= value <= sums[f"{name}_high"]
    for name, number in covered.items():
        assert number / n_trials > 0.9, name


def test_calibration_error_is_right_on_average_where_the_plain_one_is_not():
    rng = np.random.default_rng(2)
    plain, free = [], []
    for _ in range(100):
        p, y, image = draw(rng, 6)
        plain.append(expected_calibration_error(p, y))
        free.append(rms_calibration_error(p, y, image=image))
    assert np.median(free) < np.median(plain) / 2
    assert np.mean(np.array(free) == 0) > 0.3  # more noise than seen in about half of the cases
    p, y, image = draw(rng, 2000, temperature=0.7)
    # With this many pixels noise hardly adds to the plain error.
    gap = np.average((p - expit(0.7 * np.log(p / (1 - p)))) ** 2) ** 0.5
    assert rms_calibration_error(p, y, image=image) == pytest.approx(gap, rel=0.1)


def test_scores_that_noise_only_raises_have_no_interval():
    p, y, image = draw(np.random.default_rng(3), 25)
    names = score_table(p, y, image=image, level=0.95).colnames
    assert "brier_low" in names
    assert not {"ece_low", "mce_low", "ece_sky_low"} & set(names)
    report = calibration_report({"a": (p, y), "b": (p**1.1, y)}, image=image)
    rows = report.tables["differences"]
    assert np.isfinite(rows["low"][rows["score"] == "nll"]).all()
    assert np.isnan(rows["low"][rows["score"] == "ece"]).all()
    assert np.isnan(score_table(p, y)["rms_calibration_error"][0])


def test_intervals_of_few_images_warn(images):
    for make in (
        lambda: score_table(*images, level=0.95),
        lambda: calibration_report(*images),
    ):
        with pytest.warns(AstropyUserWarning, match=r"rest on 6 images: below 20") as caught:
            make()
        assert caught[0].filename == __file__


def test_blocks_of_one_image():
    blocks = block_index((192, 40), size=16)
    assert_array_equal(np.unique(blocks), np.arange(12 * 3))
    assert_array_equal(np.unique(blocks[16:32, 32:]), [5])
