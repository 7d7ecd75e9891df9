"""The page as a file: self-contained, of bounded size, and safe."""

import base64
import json
import re
import zlib
from dataclasses import replace

import numpy as np
import pytest
from astropy.nddata import CCDData

import cosmiq_astro as ca
from cosmiq_astro.calibration import operating_curve
from cosmiq_astro.models.model import load_model, save_model
from cosmiq_astro.review import make_page


@pytest.fixture(scope="module")
def out():
    return ca.cosmicray_unet(ca.load_sample(), model="acs-wfc-unet")


def facts_of(page):
    packed = re.search(r'id="facts">([^<]*)<', page.html)[1]
    return json.loads(zlib.decompress(base64.b64decode(packed)))


def state_of(page, shape):
    packed = re.search(r'id="tiles">([^<]*)<', page.html)[1].split("\n")
    planes = np.frombuffer(zlib.decompress(base64.b64decode(packed[0])), np.uint8)
    return planes.reshape(-1, *shape)[3]


def test_nothing_outside_the_page_is_named(out):
    html = make_page(out).html
    assert not re.search(r'(src|href)="|url\(|@import|https?://', html)


def test_names_cannot_become_markup(out):
    html = make_page(out, name="</script><script>alert(1)</script>%TILES%").html
    assert "alert(1)</script>" not in html
    assert "&lt;/script&gt;" in html
    assert html.count("<script") == 3


def test_hits_come_by_entropy_times_charge(out):
    hits = facts_of(make_page(out))["hits"]
    assert hits["total"] == len(hits["seed"]) >= out.meta["CRVINHIT"]
    y, x = np.divmod(hits["seed"], out.shape[1])
    assert (out.cr_probability[y, x] >= 0.09).all()
    # A hit whose charge is known.
    image = np.full((40, 40), 50.0)
    image[10, 10:14] += 500
    plane = np.zeros(image.shape, dtype=np.float32)
    plane[10, 10:14] = 0.6
    hit = ca.CosmicRayCCDData(
        image, unit="electron", cr_mask=plane > 0, cr_probability=plane, meta={"CRVITHR": 0.5}
    )
    hits = facts_of(make_page(hit))["hits"]
    assert (hits["x"], hits["y"], hits["area"], hits["charge"]) == ([11.5], [10.0], [4], [2000.0])
    assert hits["entropy"] == [pytest.approx(0.673, abs=1e-3)]


def test_bad_and_protected_pixels_are_told_apart(out):
    ccd = ca.load_sample()
    ccd.mask = ccd.mask.copy()
    ccd.mask[3, 4] = True
    ccd.data[5, 6] = np.nan
    again = ca.cosmicray_unet(ccd, model="acs-wfc-unet", protect=[(100, 200, 3)])
    state = state_of(make_page(again, protect=[(100, 200, 3)]), ccd.shape)
    assert state[3, 4] == state[5, 6] == 1
    assert (state[200, 98:103] == 4).all()
    np.testing.assert_array_equal((state & 2) > 0, again.cr_mask)


def test_no_hit_at_all_and_other_units():
    ccd = CCDData(np.random.default_rng(0).normal(100, 5, (70, 60)), unit="adu")
    out = ca.cosmicray_unet(ccd, gain=2.0, model="acs-wfc-unet", threshold=0.999)
    page = make_page(out)
    assert facts_of(page)["unit"] == "adu"
    assert "simulated" in facts_of(page)["curve"]["frames"]
    out.cr_probability[:] = np.nan
    out.cr_mask[:] = False
    assert facts_of(make_page(out))["hits"]["total"] == 0


def test_what_lacks_a_plane_is_refused():
    ccd = ca.CosmicRayCCDData(np.ones((4, 4)), unit="electron")
    with pytest.raises(ValueError, match="out has no cr_mask: give the result of"):
        make_page(ccd)


def test_review_and_show(out, tmp_path):
    out.review(tmp_path / "night1.html")
    assert "<title>night1: review" in (tmp_path / "night1.html").read_text(encoding="utf-8")
    with pytest.raises(FileExistsError, match="exists already"):
        out.review(tmp_path / "night1.html")
    shown = out.show()._repr_html_()
    assert shown.startswith("<iframe srcdoc=")
    assert "<script" not in shown


def test_the_curve_goes_with_the_model(tmp_path, tiny_unet):
    curve = operating_curve([0.1, 0.4, 0.6, 0.9], [0, 1, 0, 1])
    save_model(replace(tiny_unet, operating_curve=curve), tmp_path / "m", card="x")
    assert load_model(tmp_path / "m").operating_curve == curve
    ccd = ca.cosmicray_unet(CCDData(np.ones((32, 32)), unit="electron"), model=tmp_path / "m")
    assert facts_of(make_page(ccd, model=tmp_path / "m"))["curve"] == curve
    config = json.loads((tmp_path / "m" / "config.json").read_text())
    config["operating_curve"]["recall"].pop()
    (tmp_path / "m" / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"config\.json: operating_curve must hold"):
        load_model(tmp_path / "m")
    with pytest.raises(ValueError, match="operating_curve must hold"):
        replace(tiny_unet, operating_curve={"threshold": [0.5, 0.4]})


def test_operating_curve_counts():
    rng = np.random.default_rng(1)
    label = rng.random(4000) < 0.1
    p = np.clip(rng.normal(np.where(label, 0.7, 0.2), 0.2), 0, 1)
    curve = operating_curve(p, label, thresholds=[0.2, 0.5, 0.8])
    for t, precision, recall in zip(
        *(curve[k] for k in ("threshold", "precision", "recall")), strict=True
    ):
        flagged = p >= t
        assert precision == pytest.approx(label[flagged].mean(), abs=1e-4)
        assert recall == pytest.approx(flagged[label].mean(), abs=1e-4)
    assert curve["hit_fraction"] == pytest.approx(label.mean(), rel=1e-3)
    assert json.loads(json.dumps(curve)) == curve
    with pytest.raises(ValueError, match="must rise"):
        operating_curve(p, label, thresholds=[0.5, 0.2])
    with pytest.raises(ValueError, match="both cosmic rays and other pixels"):
        operating_curve(p, label & False)
