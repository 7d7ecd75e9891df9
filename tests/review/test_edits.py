"""Edits files: bound to their exposure, applied to the pixel, labels for training."""

import json
import os

import numpy as np
import pytest
from astropy.io import fits

import cosmiq_astro as ca
from cosmiq_astro.cli.main import main
from cosmiq_astro.hst import detect_file, read_chip
from cosmiq_astro.hst.background import read_background
from cosmiq_astro.page.binding import FORMAT
from cosmiq_astro.protect import read_protection
from cosmiq_astro.review import (
    apply_edits,
    edited_mask,
    exposure_digest,
    make_page,
    read_edits,
    training_frame,
)
from cosmiq_astro.simulate import cosmic_ray_footprints
from cosmiq_astro.training import PairedDataset


@pytest.fixture(scope="module")
def reviewed(tmp_path_factory, make_tiny):
    """The sample with a detection on it."""
    path = tmp_path_factory.mktemp("review") / "sample_crvi.fits"
    detect_file(ca.data.sample_path(), path, model="acs-wfc-unet")
    return path


def save(path, ccd, **changes):
    facts = {
        "format": FORMAT,
        "name": "sample",
        "extver": 1,
        "shape": list(ccd.shape),
        "exposure": exposure_digest(ccd.data),
        "mask": exposure_digest(ccd.cr_mask),
        "threshold": 0.5,
        "complete": False,
        "added": [],
        "removed": [],
        "confirmed": [],
        "unsure": [],
    }
    path.write_text(json.dumps(facts | changes))
    return path


def free_run(ccd, n=3):
    """A run of good pixels in a row that are not flagged."""
    good = ~ccd.mask & np.isfinite(ccd.data) & (ccd.cr_probability < 0.01)
    for y, x in np.argwhere(good[100:, : -n - 1]):
        if good[100 + y, x : x + n].all():
            return [int(100 + y), int(x), n]
    raise AssertionError


def one_hit(ccd):
    y, x = np.argwhere(ccd.cr_mask)[0]
    return [int(y), int(x), 1]


def test_the_digest_knows_pixels_not_types():
    image = np.random.default_rng(0).normal(size=(5, 7))
    image[0, 0] = np.nan
    digest = exposure_digest(image)
    assert exposure_digest(image.astype(">f4")) == digest
    assert exposure_digest(image.T) != digest
    changed = image.copy()
    changed[4, 6] += 1e-3
    assert exposure_digest(changed) != digest


@pytest.mark.parametrize("place", [[], ["--in-place"]])
def test_edits_are_written_into_mask_and_dq(reviewed, tmp_path, place, capsys):
    file = tmp_path / "a.fits"
    file.write_bytes(reviewed.read_bytes())
    ccd = read_chip(file)
    run, hit = free_run(ccd), one_hit(ccd)
    edits = save(tmp_path / "e.json", ccd, added=[run], removed=[hit])
    assert main(["apply", str(edits), str(file), *place]) == 0
    assert "3 pixels added, 1 removed" in capsys.readouterr().out
    out = read_chip(file if place else tmp_path / "a_edited.fits")
    expected = ccd.cr_mask.copy()
    expected[run[0], run[1] : run[1] + 3] = True
    expected[hit[0], hit[1]] = False
    np.testing.assert_array_equal(out.cr_mask, expected)
    np.testing.assert_array_equal((out.flags & 16384) != 0, expected)
    np.testing.assert_array_equal(out.flags & ~16384, ccd.flags & ~16384)
    np.testing.assert_array_equal(out.cr_probability, ccd.cr_probability)
    np.testing.assert_array_equal(out.data, ccd.data)
    assert (out.meta["CRVIEADD"], out.meta["CRVIEREM"]) == (3, 1)
    assert out.meta["CRVIEDIT"] == read_edits(edits).sha256[:16]
    assert out.meta["CRVINPIX"] == expected.sum()
    n_hits = [detection.meta["CRVINHIT"] for detection in (ccd, out)]
    assert n_hits[0] != n_hits[1]
    rates = [detection.meta["CRVIRATE"] for detection in (ccd, out)]
    assert rates[1] / rates[0] == pytest.approx(n_hits[1] / n_hits[0], rel=1e-8)
    with fits.open(file if place else tmp_path / "a_edited.fits") as hdus:
        assert "edited by hand" in str(hdus[0].header["HISTORY"])


def test_an_output_replaces_no_input(tmp_path):
    file, edits = tmp_path / "u_c0m.fits", tmp_path / "e.json"
    for path in (file, edits, tmp_path / "u_c1m.fits"):
        path.write_text("mine")
    for name in ("u_c0m.fits", "e.json", "u_c1m.fits", "u.fits"):
        with pytest.raises(ValueError, match=r"is the input itself|would replace"):
            apply_edits(edits, file, tmp_path / name, overwrite=True)
    with pytest.raises(ValueError, match="edits_files is empty"):
        apply_edits([], file)
    assert {path.read_text() for path in tmp_path.iterdir()} == {"mine"}


def test_what_os_lists_is_a_path(tmp_path, frame, tiny_unet):
    out = ca.cosmicray_unet(ca.CosmicRayCCDData(frame, unit="electron"), model=tiny_unet)
    out.write(tmp_path / "a.fits")
    save(tmp_path / "e.json", out)
    fits.writeto(tmp_path / "sky.fits", frame)
    (tmp_path / "a.reg").write_text("image\ncircle(500,1,2)\n")
    with os.scandir(tmp_path) as entries:
        found = {entry.name: entry for entry in entries}
    apply_edits(found["e.json"], tmp_path / "a.fits", tmp_path / "b.fits")
    assert (read_background(found["sky.fits"]).on(1, frame.shape) == frame).all()
    pytest.importorskip("regions")
    assert not read_protection(found["a.reg"]).on(frame.shape).any()


def test_edits_of_a_written_ccddata(tmp_path, frame, tiny_unet):
    ccd = ca.CosmicRayCCDData(frame, unit="electron")
    out = ca.cosmicray_unet(ccd, model=tiny_unet)
    out.write(tmp_path / "a.fits")
    page = make_page(out)
    assert page.html.count("<script") == 3
    y, x = np.argwhere(~out.cr_mask)[0].tolist()
    edits = save(tmp_path / "e.json", out, added=[[y, x, 1]])
    apply_edits(edits, tmp_path / "a.fits", tmp_path / "b.fits")
    back = read_chip(tmp_path / "b.fits")
    assert back.cr_mask[y, x]
    assert back.mask[y, x]
    assert back.cr_mask.sum() == out.cr_mask.sum() + 1


def test_other_exposures_masks_and_chips_are_refused_before_any_work(reviewed, tmp_path):
    ccd = read_chip(reviewed)
    for changes, message in (
        ({"exposure": "0" * 32}, "belong to another exposure"),
        ({"mask": "0" * 32}, "is not the one that was edited"),
        ({"shape": [512, 511]}, "of shape"),
        ({"extver": 2}, "no chip 2"),
        ({"format": "other 1"}, "of the format 'other 1'"),
        ({"added": [[0, 510, 3]]}, "outside the image"),
        ({"added": [[0, -1, 3]]}, "outside the image"),
        ({"added": [[0.5, 1, 3]]}, "whole numbers"),
        ({"shape": [-1, -1]}, "damaged edits file"),
    ):
        edits = save(tmp_path / "e.json", ccd, **changes)
        with pytest.raises(ValueError, match=message):
            apply_edits(edits, reviewed, tmp_path / "out.fits")
    (tmp_path / "e.json").write_text("[1, 2")
    with pytest.raises(ValueError, match="is not an edits file"):
        apply_edits(tmp_path / "e.json", reviewed, tmp_path / "out.fits")
    edits = save(tmp_path / "e.json", ccd)
    with pytest.raises(ValueError, match="two edits files"):
        apply_edits([edits, edits], reviewed, tmp_path / "out.fits")
    with pytest.raises(ValueError, match="holds no detection"):
        apply_edits(edits, ca.data.sample_path(), tmp_path / "out.fits")
    assert not (tmp_path / "out.fits").exists()


def test_bad_pixels_are_never_flagged_by_edits(tmp_path, frame, tiny_unet):
    bad = np.zeros(frame.shape, dtype=bool)
    bad[5, 5:8] = True
    ccd = ca.CosmicRayCCDData(frame, unit="electron", mask=bad)
    out = ca.cosmicray_unet(ccd, model=tiny_unet, threshold=0.999)
    out.write(tmp_path / "a.fits")
    edits = save(tmp_path / "e.json", out, added=[[5, 4, 5]])
    counts = apply_edits(edits, tmp_path / "a.fits", tmp_path / "b.fits")
    assert counts["n_added"] == 2 - out.cr_mask[5, [4, 8]].sum()
    assert not read_chip(tmp_path / "b.fits").cr_mask[bad].any()


def test_corrections_become_labels(reviewed, tmp_path):
    ccd = read_chip(reviewed)
    run, hit = free_run(ccd), one_hit(ccd)
    ambiguous = np.argwhere(
        (ccd.cr_probability > 0.06) & (ccd.cr_probability < 0.94) & ~(ccd.mask & ~ccd.cr_mask)
    ).tolist()
    confirmed, open_ = ambiguous[0], ambiguous[1]
    changes = {
        "added": [run],
        "removed": [hit],
        "confirmed": [[*confirmed, 1]],
        "unsure": [[run[0] + 1, run[1], 1]],
    }
    edits = read_edits(save(tmp_path / "e.json", ccd, **changes))
    image, mask, ignore = training_frame(edits, ccd)
    assert mask[run[0], run[1]]
    assert not mask[hit[0], hit[1]]
    assert not ignore[run[0], run[1]]
    assert not ignore[hit[0], hit[1]]
    assert not ignore[tuple(confirmed)]
    assert ignore[tuple(open_)]
    assert ignore[run[0] + 1, run[1]]
    assert ignore[ccd.mask & ~ccd.cr_mask].all()
    dataset = PairedDataset([image], [mask], [ignore], readnoise=5)
    assert dataset.n_valid_pixels == (~ignore).sum()
    edits = read_edits(save(tmp_path / "e.json", ccd, **changes, complete=True))
    assert not training_frame(edits, ccd)[2][tuple(open_)]
    ccd.cr_mask[tuple(protected := np.argwhere(ccd.cr_mask)[-1])] = False
    edits = read_edits(save(tmp_path / "e.json", ccd, **changes, complete=True))
    assert training_frame(edits, ccd)[2][tuple(protected)]
    np.testing.assert_array_equal(
        edited_mask(edits, ccd.data, ccd.cr_mask)[run[0], run[1] : run[1] + 3], True
    )


def test_a_model_is_trained_on_corrections(tmp_path, capsys):
    """One flag from reviewed files to a model; edits of other exposures are refused at once."""
    rng, hits = np.random.default_rng(3), cosmic_ray_footprints(100, seed=1)
    for i in range(2):
        image = rng.normal(50, 8, (160, 64))
        image += hits.paste(image.shape, 20, rng)
        out = ca.cosmicray_unet(ca.CosmicRayCCDData(image, unit="electron"), readnoise=4)
        out.write(tmp_path / f"f{i}_crvi.fits")
        edits = save(tmp_path / f"f{i}_crvi_edits.json", out, name=f"f{i}_crvi", added=[[9, 9, 3]])
    dataset = PairedDataset.from_directory([edits], readnoise=4)
    patch = dataset.patch(0, 64, np.random.default_rng(0))
    assert dataset.n_valid_pixels < out.data.size
    assert patch.label.any()
    command = ["train", "-o", str(tmp_path / "mine"), "--hidden", "2", "--epochs", "1", "--force"]
    command += ["--patch-size", "32", "--init", "none", "--readnoise", "4", "--device", "cpu"]
    assert main([*command, "--edits", str(tmp_path)]) == 0
    assert "training: 2 frames" in capsys.readouterr().out
    assert ca.load_model(tmp_path / "mine").method == "unet"

    command[2] = str(tmp_path / "other")
    for changes, message in (
        ({"exposure": "0" * 32}, "belong to another exposure than"),
        ({"name": "absent"}, "corrects absent, which is not beside it"),
    ):
        save(edits, out, **{"name": "f1_crvi"} | changes)
        assert main([*command, "--edits", str(edits)]) == 1
        assert message in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert main([*command, "--edits", str(tmp_path / "empty")]) == 1
    assert "holds no edits of a review" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def test_masks_that_are_no_labels_are_refused(tmp_path, frame, tiny_unet):
    image = ca.CosmicRayCCDData(frame, unit="electron")
    out = ca.cosmicray_unet(image, model=tiny_unet, mask_growth=1, threshold=0.9)
    with pytest.raises(ValueError, match="its mask was grown"):
        training_frame(read_edits(save(tmp_path / "e.json", out)), out)
