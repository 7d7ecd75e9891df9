import numpy as np
import pytest

from cosmiq_astro import CosmicRayCCDData, CosmicRayDetector, cosmicray_unet, cosmicray_vi

PLANES = ("probability", "uncertainty", "entropy", "mutual_information")


@pytest.mark.parametrize("sampling", ["antithetic", "adaptive", "independent", "moments", "mean"])
def test_bfloat16_is_close_to_float32(frame, sampling):
    maps = [
        CosmicRayDetector("acs-wfc-vi", device="cpu", precision=precision)(
            frame, T=12, seed=1, sampling=sampling, readnoise=5.0
        )
        for precision in ("float32", "bfloat16")
    ]
    assert [m.precision for m in maps] == ["float32", "bfloat16"]
    for name in PLANES:
        one, other = (getattr(m, name) for m in maps)
        assert other.dtype == np.float32
        np.testing.assert_allclose(other, one, rtol=0, atol=0.1, err_msg=name)
    assert (maps[0].probability != maps[1].probability).any()
    hit, other = (m.probability > 0.5 for m in maps)
    assert hit.sum() > 5
    np.testing.assert_array_equal(hit, other)


def test_a_card_says_which(frame):
    ccd = CosmicRayCCDData(frame, unit="electron")
    assert cosmicray_unet(ccd).meta["CRVIPREC"] == "float32"
    assert cosmicray_vi(ccd, T=2, precision="bfloat16").meta["CRVIPREC"] == "bfloat16"


@pytest.mark.parametrize("precision", ["float16", None, 32])
def test_what_there_is_not(precision):
    with pytest.raises(ValueError, match="precision must be one of float32, bfloat16, got"):
        CosmicRayDetector("acs-wfc-unet", precision=precision)
