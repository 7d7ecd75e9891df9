import json
from typing import get_args

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import QTable
from astropy.utils.exceptions import AstropyUserWarning

from cosmiq_astro import cosmicray_vi, load_model
from cosmiq_astro._types import Field
from cosmiq_astro.calibration import brier_score, negative_log_likelihood
from cosmiq_astro.cli._stamps import Mistakes, draw_mistakes
from cosmiq_astro.cli.main import build_parser, main
from cosmiq_astro.hst import detect_file, read_chip
from cosmiq_astro.models.model import save_model
from cosmiq_astro.simulate import FIELDS


@pytest.fixture(scope="session")
def models(tiny_vi, tiny_unet, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return [
        str(save_model(model, folder / name, card="A test."))
        for name, model in (("vi", tiny_vi), ("unet", tiny_unet))
    ]


@pytest.fixture
def run(models):
    """Run ``cosmiq-astro evaluate`` with a tiny model."""

    def run(*arguments):
        given = [str(argument) for argument in arguments]
        return main(["evaluate", *given, "--model", models[0], "-T", "2", "--seed", "1"])

    return run


@pytest.fixture
def make_frame(tmp_path):
    """Return a function that writes a simple image, and the truth into one place or another."""

    def make(name="a.fits", seed=1, inside=None, beside=None, **cards):
        rng = np.random.default_rng(seed)
        truth = (rng.random((32, 80)) < 0.05).astype(np.float32)
        image = rng.normal(50, 8, truth.shape) + 500 * truth
        truth[:2] = np.nan
        hdu = fits.PrimaryHDU(image.astype(np.float32), fits.Header({"BUNIT": "electron"} | cards))
        hdus = fits.HDUList([hdu])
        if inside is not None:
            hdus.append(fits.ImageHDU(truth, name=inside))
        if beside is not None:
            fits.writeto(tmp_path / beside, truth)
        hdus.writeto(tmp_path / name)
        return tmp_path / name, truth

    return make


def scores(capsys):
    return json.loads(capsys.readouterr().out)["groups"]["all"]


def test_scores_are_those_of_the_verb(make_frame, run, models, capsys):
    frames = [make_frame(f"{i}.fits", seed=i, inside="TRUTH") for i in range(2)]
    assert run(*(file for file, _ in frames), "--readnoise", "5", "--json") == 0
    found = scores(capsys)
    p = [
        cosmicray_vi(read_chip(file), model=models[0], T=2, seed=1, readnoise=5).cr_probability
        for file, _ in frames
    ]
    truths = [truth for _, truth in frames]
    assert found["brier"] == pytest.approx(brier_score(p, truths), rel=1e-12)
    assert found["nll"] == pytest.approx(negative_log_likelihood(p, truths), rel=1e-12)
    assert (found["n_pixels"], found["n_left_out"]) == (2 * 30 * 80, 2 * 2 * 80)


def test_truth_beside_and_in_any_extension(make_frame, run, tmp_path, capsys):
    file, _ = make_frame("a.fits", inside="HITS", beside="a_mask.fits")
    other, _ = make_frame("b.fits", seed=2, inside="HITS", beside="b_mask.fits")
    assert run(file, other, "--json", "--truth", "HITS") == 0
    first = scores(capsys)
    masks = [tmp_path / "a_mask.fits", tmp_path / "b_mask.fits"]
    assert run(file, other, "--json", "--truth", *masks) == 0
    assert scores(capsys) == first
    assert run(file, other, "--json", "--truth", *masks[::-1]) == 0
    assert scores(capsys)["nll"] != first["nll"]


def test_names_do_not_reach_the_terminal_as_they_are(make_frame, run, capsys):
    file, _ = make_frame("a\x1b[31m.fits", inside="TRUTH")
    assert run(file) == 0
    assert "\x1b" not in capsys.readouterr().out


def test_masked_and_ignored_pixels_do_not_count(make_frame, run, capsys):
    file, _ = make_frame(inside="TRUTH")
    ignore, mask = np.zeros((2, 32, 80), dtype=np.uint8)
    ignore[5, :7] = mask[10, :5] = 1
    fits.append(file, ignore, fits.Header({"EXTNAME": "IGNORE"}))
    fits.append(file, mask, fits.Header({"EXTNAME": "MASK"}))
    assert run(file, "--json") == 0
    assert scores(capsys)["n_pixels"] == 30 * 80 - 12


@pytest.mark.parametrize("stem", ["a", "field1.5"])
def test_what_label_could_not_decide_does_not_count(make_frame, run, tmp_path, capsys, stem):
    file, truth = make_frame(beside=f"{stem}_mask.fits")
    assert run(file, "--truth", tmp_path / f"{stem}_mask.fits", "--json") == 0
    n_all = scores(capsys)["n_pixels"]
    ignore = np.zeros(truth.shape, np.uint8)
    ignore[10:13] = 1
    fits.writeto(tmp_path / f"{stem}_ignore.fits", ignore)
    assert run(file, "--truth", tmp_path / f"{stem}_mask.fits", "--json") == 0
    assert scores(capsys)["n_pixels"] == n_all - ignore.sum()


def test_a_cube_of_wfpc2_is_scored_as_its_chips_are(run, tmp_path, capsys):
    rng = np.random.default_rng(1)
    truth = rng.random((4, 32, 80)) < 0.05
    cube = (rng.normal(50, 8, truth.shape) + 500 * truth).astype(np.float32)
    primary = fits.PrimaryHDU(cube)
    primary.header.update(INSTRUME="WFPC2", ATODGAIN=7.0, EXPTIME=500.0, BUNIT="COUNTS")
    table = fits.TableHDU.from_columns([fits.Column("DETECTOR", "J", array=[1, 2, 3, 4])])
    fits.HDUList([primary, table]).writeto(tmp_path / "u1_c0f.fits")
    planes = [
        fits.ImageHDU(plane.astype(np.uint8), name="TRUTH", ver=number)
        for number, plane in enumerate(truth, start=1)
    ]
    fits.HDUList([fits.PrimaryHDU(), *planes]).writeto(tmp_path / "truth.fits")
    files = [tmp_path / "u1_c0f.fits", "--truth", tmp_path / "truth.fits"]
    assert run(*files, "--json") == 0
    found = scores(capsys)
    assert found["n_pixels"] == truth.size
    assert found["base_rate"] == pytest.approx(truth.mean())


def test_an_earlier_detection_hides_no_pixels(make_frame, run, models, tmp_path, capsys):
    file, _ = make_frame(beside="truth.fits")
    options = ["--json", "--truth", tmp_path / "truth.fits"]
    assert run(file, *options) == 0
    before = scores(capsys)
    with pytest.warns(AstropyUserWarning):
        result = detect_file(file, model=models[0], seed=1, threshold=0.1)
    assert result.n_pixels_flagged > 0
    assert run(result.file_out, *options) == 0
    assert scores(capsys) == before


def test_simulated_frames_are_those_of_the_command(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("cosmiq_astro.cli._truth._SIZE", 64)
    assert run("--simulate", "2", "--json", "--group", "FIELD") == 0
    first = json.loads(capsys.readouterr().out)["groups"]
    assert list(first) == ["all", "extragalactic", "globular"]
    frames = tmp_path / "frames"
    settings = ["--size", "64", "--subarray", "--field", "extragalactic", "--field", "globular"]
    assert main(["simulate", "-o", str(frames), "-n", "2", "--seed", "1", "-q", *settings]) == 0
    files = sorted(frames.iterdir())
    assert [file.name for file in files] == ["simulated_000_flc.fits", "simulated_001_flc.fits"]
    with fits.open(files[1]) as hdus:
        assert [hdu.name for hdu in hdus] == ["PRIMARY", "SCI", "ERR", "DQ", "TRUTH", "IGNORE"]
        assert hdus[0].header["FILENAME"] == files[1].name
        assert hdus["TRUTH"].data.any()
    assert run(*files, "--json", "--group", "FIELD") == 0
    assert json.loads(capsys.readouterr().out)["groups"] == first


def test_report_of_two_models(make_frame, run, models, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    file, _ = make_frame(inside="TRUTH", FILTER="R")
    report = tmp_path / "report"
    more = ["--model", models[1], "-o", report, "--group", "FILTER"]
    assert run(file, *more) == 0
    text = capsys.readouterr().out
    assert text.startswith("a.fits: scored 2,400 pixels, ")
    assert text.endswith(f"{report / 'index.html'}\n")
    table = QTable.read(report / "scores.ecsv")
    assert list(table["group"]) == ["all", "R", "all", "R"]
    # Both are called 'tiny', so that the names given tell them apart.
    assert set(table["model"]) == set(models)
    assert np.isfinite(table["nll_low"]).all()  # one frame is resampled by its blocks
    assert (table.meta["T"], table.meta["SEED"]) == (2, 1)
    assert set(QTable.read(report / "differences.ecsv")["against"]) == {models[1]}
    assert (report / "stamps.png").read_bytes().startswith(b"\x89PNG")
    assert 'src="stamps.png"' in (report / "index.html").read_text()
    assert run(file, *more) == 1
    assert "index.html exists already; give --overwrite" in capsys.readouterr().err
    assert run(file, *more, "--overwrite", "-q") == 0
    assert capsys.readouterr().out == ""


def test_stamps_show_the_largest_mistakes():
    label, p = np.zeros((2, 60, 80))
    for i in range(6):  # hits of 1 to 6 pixels, of which the third is found
        label[4, 12 * i : 12 * i + i + 1] = 1
    p[4, 24] = 0.9
    p[20:22, 70:72] = 0.8  # false
    p[37:43, 10:13] = 0.8  # in part where nothing is known
    label[39:45] = np.nan
    seen = Mistakes(0.5)
    image = np.arange(4800.0).reshape(60, 80)
    for name in ("a", "b"):
        seen.add(name, image, p, label)
    assert (seen.n_hits, seen.n_missed, seen.n_detections, seen.n_false) == (12, 10, 4, 2)
    assert [stamp["title"] for stamp in seen.missed] == [
        *("a\n(62, 4)", "b\n(62, 4)", "a\n(50, 4)", "b\n(50, 4)")
    ]
    assert [stamp["title"] for stamp in seen.false] == ["a\n(70, 20)", "b\n(70, 20)"]
    first = seen.missed[0]
    np.testing.assert_array_equal(first["image"], image[:32, 46:78])
    assert first["label"][4, 14:20].all()
    pytest.importorskip("matplotlib")
    figure = draw_mistakes({"mine": seen, "other": Mistakes(0.5)})
    figure.canvas.draw()
    titles = [part.get_suptitle() for part in figure.subfigs]
    assert titles[:2] == ["mine: 10 of 12 hits missed", "2 of 4 detections false"]
    assert sum(ax.axison for part in figure.subfigs for ax in part.axes) == 2 * (4 + 2)


def test_own_thresholds(make_frame, tiny_vi, tmp_path, capsys):
    file, _ = make_frame(inside="TRUTH")
    folder = str(save_model(tiny_vi, tmp_path / "m", card=""))
    config = json.loads((tmp_path / "m" / "config.json").read_text()) | {"threshold": 1e-6}
    (tmp_path / "m" / "config.json").write_text(json.dumps(config))
    assert load_model(folder).threshold == 1e-6
    arguments = ["evaluate", str(file), "--model", folder, "-T", "1", "--json"]
    assert main(arguments) == 0
    assert scores(capsys)["tpr"] == 1
    assert main([*arguments, "--threshold", "0.999999"]) == 0
    assert scores(capsys)["tpr"] < 1


def test_nothing_is_written_unasked(make_frame, run, tmp_path, monkeypatch, capsys):
    file, _ = make_frame(inside="TRUTH")
    before = file.read_bytes()
    monkeypatch.chdir(tmp_path)
    assert run(file) == 0
    assert "mean negative log-likelihood" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == [file]
    assert file.read_bytes() == before


def test_one_bad_file_does_not_stop_the_rest(make_frame, run, tmp_path, capsys):
    good, _ = make_frame("good.fits", inside="TRUTH")
    bare, _ = make_frame("bare.fits")
    assert run(good, bare, tmp_path / "missing.fits", "--json") == 1
    captured = capsys.readouterr()
    assert json.loads(captured.out)["groups"]["all"]["n_pixels"] == 2400
    assert f"{bare}: there is no extension TRUTH,1 to take the truth from" in captured.err
    assert captured.err.endswith("cosmiq-astro: 2 of 3 files failed\n")
    assert "Traceback" not in captured.err


def test_all_files_failed(make_frame, run, capsys):
    bare, _ = make_frame("bare.fits")
    assert run(bare, "--debug") == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Traceback (most recent call last)" in captured.err


@pytest.mark.parametrize(
    ("truth", "message"),
    [
        (np.zeros((4, 4)), r"has shape (4, 4), not (32, 80)"),
        (np.full((32, 80), 8192), "must hold 0, 1 and NaN only, not 8192"),
    ],
)
def test_bad_truth(make_frame, run, tmp_path, capsys, truth, message):
    file, _ = make_frame()
    fits.writeto(tmp_path / "mask.fits", truth)
    assert run(file, "--truth", tmp_path / "mask.fits") == 1
    assert message in capsys.readouterr().err


def test_missing_group(make_frame, run, capsys):
    file, _ = make_frame(inside="TRUTH")
    assert run(file, "--group", "FILTER1") == 1
    assert "there is no keyword FILTER1 to group by" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give FITS files, or --simulate N without any"),
        (["a.fits", "--simulate", "2"], "give FITS files, or --simulate N without any"),
        (["--simulate", "0"], "'0' is not a positive integer"),
        (["--simulate", "1", "--truth", "HITS"], "--truth is for FITS files"),
        (["a.fits", "b.fits", "--truth", "t.fits"], "--truth has 1 files for 2"),
        (["--simulate", "1", "--model", "m", "--model", "m"], "--model is given twice: m m"),
    ],
)
def test_wrong_usage(capsys, arguments, message):
    with pytest.raises(SystemExit) as stop:
        main(["evaluate", *arguments])
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def test_report_without_matplotlib(make_frame, run, tmp_path, monkeypatch, capsys):
    file, _ = make_frame(inside="TRUTH")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert run(file, "-o", tmp_path / "report") == 1
    assert "pip install 'cosmiq_astro[plot]'" in capsys.readouterr().err
    assert not (tmp_path / "report").exists()


def test_fields_are_those_of_the_simulator():
    args = build_parser().parse_args(
        ["simulate", "-o", "x", *(f"--field={field}" for field in FIELDS)]
    )
    assert args.field == list(FIELDS) == list(get_args(Field))
