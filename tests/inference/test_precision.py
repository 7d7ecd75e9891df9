import warnings

import numpy as np
import pytest

from cosmiq_astro import CosmicRayCCDData, CosmicRayDetector, cosmicray_unet, cosmicray_vi

# On a processor that has none.
imitated = pytest.mark.filterwarnings("ignore:this processor does not compute with bfloat16")
PLANES = ("probability", "uncertainty", "entropy", "mutual_information")


@imitated
@pytest.mark.parametrize("sampling", ["antithetic", "independent", "moments", "mean"])
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


@imitated
def test_a_card_says_which(frame):
    ccd = CosmicRayCCDData(frame, unit="electron")
    assert cosmicray_unet(ccd).meta["CRVIPREC"] == "float32"
    assert cosmicray_vi(ccd, T=2, precision="bfloat16").meta["CRVIPREC"] == "bfloat16"


@pytest.mark.parametrize(
    ("abilities", "warns"),
    [
        ({"architecture": "x86_64", "avx512_bf16": False, "amx_bf16": False}, True),
        ({"architecture": "x86_64", "avx512_bf16": True, "amx_bf16": False}, False),
        ({"architecture": "x86_64", "avx512_bf16": False, "amx_bf16": True}, False),
        ({"architecture": "aarch64"}, False),
    ],
)
def test_a_processor_that_imitates_it_is_told(abilities, warns, monkeypatch):
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: abilities, raising=False)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for precision in ("float32", "bfloat16"):
            CosmicRayDetector("acs-wfc-unet", device="cpu", precision=precision)
    assert [str(w.message)[:14] for w in caught] == ["this processor"] * warns
    assert all(w.filename == __file__ for w in caught)


def test_without_knowledge_of_the_processor_nothing_is_said(monkeypatch):
    monkeypatch.delattr("torch.cpu.get_capabilities", raising=False)
    CosmicRayDetector("acs-wfc-unet", device="cpu", precision="bfloat16")


@pytest.mark.parametrize("precision", ["float16", None, 32])
def test_what_there_is_not(precision):
    with pytest.raises(ValueError, match="precision must be one of float32, bfloat16, got"):
        CosmicRayDetector("acs-wfc-unet", precision=precision)
