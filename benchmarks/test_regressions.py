"""
Timings to compare between versions, not part of the tests.

pip install pytest-benchmark
pytest benchmarks/test_regressions.py --benchmark-autosave
pytest benchmarks/test_regressions.py --benchmark-compare --benchmark-compare-fail=median:10%
"""

import pytest
from _machine import scene

import cosmiq_astro as ca
from cosmiq_astro.calibration import CalibrationAccumulator
from cosmiq_astro.preprocess import estimate_statistics

WAYS = {
    "unet": ("acs-wfc-unet", {}),
    "vi-16": ("acs-wfc-vi", {"T": 16}),
    "vi-moments": ("acs-wfc-vi", {"sampling": "moments"}),
}


@pytest.fixture(scope="module")
def image():
    return scene((1024, 1024))


@pytest.mark.parametrize("way", WAYS)
def test_detection(benchmark, image, way):
    model, settings = WAYS[way]
    detector = ca.CosmicRayDetector(model, device="cpu")
    benchmark.pedantic(
        detector, (image,), {"seed": 1, "readnoise": 5, **settings}, rounds=5, warmup_rounds=1
    )


def test_sky_and_noise(benchmark, image):
    benchmark(estimate_statistics, image, image > -1e9)


def test_calibration_of_a_million_pixels(benchmark, image):
    probability = (image / image.max()).clip(0, 1)
    benchmark(lambda: CalibrationAccumulator().update(probability, probability > 0.5))
