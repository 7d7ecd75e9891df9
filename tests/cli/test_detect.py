import dataclasses
import gzip
import json
import logging
import warnings

import numpy as np
import pytest
from astropy.io import fits

from cosmiq_astro.cleaning import CLEAN_METHODS
from cosmiq_astro.cli import detect as command
from cosmiq_astro.cli.main import build_parser, main
from cosmiq_astro.familiarity.verdict import noted_doubts, verdict_line
from cosmiq_astro.hst.settings import DetectSettings
from cosmiq_astro.models.model import save_model


@pytest.fixture(scope="session")
def model(tiny_vi, tmp_path_factory):
    return str(save_model(tiny_vi, tmp_path_factory.mktemp("model"), card="A test."))


@pytest.fixture
def make_file(tmp_path):
    """Return a function that writes a small ACS/WFC file."""

    def make(name="j1_flc.fits", **cards):
        primary = fits.PrimaryHDU()
        primary.header.update(
            INSTRUME="ACS", DETECTOR="WFC", CCDAMP="C", READNSEC=4.0, EXPTIME=500.0, **cards
        )
        image = np.random.default_rng(1).normal(50, 8, (24, 32)).astype(np.float32)
        sci = fits.ImageHDU(image, fits.Header({"BUNIT": "ELECTRONS"}), name="SCI", ver=1)
        dq = fits.ImageHDU(np.zeros(image.shape, dtype=np.int16), name="DQ", ver=1)
        fits.HDUList([primary, sci, dq]).writeto(tmp_path / name)
        return tmp_path / name

    return make


@pytest.fixture
def run(model):
    """Run ``cosmiq-astro detect`` with a tiny model."""

    def run(*arguments):
        given = [str(argument) for argument in arguments]
        return main(["detect", "--model", model, "-T", "2", "--seed", "1", *given])

    return run


def test_summary_line(make_file, run, capsys):
    file = make_file()
    assert run(file, "--threshold", "0.0179") == 0
    out = file.with_name("j1_flc_crvi.fits")
    with fits.open(out) as hdus:
        header = hdus["SCI"].header
    text = capsys.readouterr().out
    assert text.startswith(
        f"{file}: {header['CRVINPIX']} pixels flagged, {header['CRVINHIT']} hits, "
        f"{header['CRVIRATE']:.3g} hits/cm2/s, "
    )
    first, verdict = text.splitlines()
    assert first.endswith(f" s -> {out}")
    assert verdict == f"  {verdict_line(noted_doubts(header))}"
    assert header["CRVITHR"] == 0.0179
    assert (header["CRVIT"], header["CRVISEED"]) == (2, 1)


def test_settings_arrive(make_file, run):
    file = make_file()
    settings = ["--dq-bit", "8192", "--planes", "prob", "--mask-growth", "2", "--clean", "idw"]
    assert (
        run(file, *settings, "--ext", "SCI,1", "--sampling", "mean", "--threshold", "0.0179") == 0
    )
    with fits.open(file.with_name("j1_flc_crvi.fits")) as hdus:
        header = hdus["SCI"].header
        assert [hdu.name for hdu in hdus] == ["PRIMARY", "SCI", "DQ", "CRVIMASK", "CRPROB"]
    assert header["CRVIDQ"] == 8192
    assert (header["CRVIGROW"], header["CRVICLN"], header["CRVISAMP"]) == (2, "idw", "mean")


def test_verbose_and_quiet(make_file, run, capsys):
    file = make_file()
    assert run(file, "-v") == 0
    text = capsys.readouterr().out
    assert "\n  chip 1: " in text
    assert "\n  ACS/WFC, model tiny, T=2, seed 1, threshold 0.5\n" in text
    assert run(file, "-q", "--overwrite", "--dq-bit", "4096") == 0
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


def test_warnings_are_one_line(make_file, run, capsys):
    logger = logging.getLogger("cosmiq_astro")
    before = (logger.level, list(logger.handlers), list(warnings.filters), warnings.showwarning)
    file = make_file()
    assert run(file, "--dq-bit", "4096") == 0
    err = capsys.readouterr().err
    note = "run AstroDrizzle with resetbits=0, or it wipes the DQ bit 4096 set here"
    assert err == f"warning: {file}: {note}\n"
    after = (logger.level, list(logger.handlers), list(warnings.filters), warnings.showwarning)
    assert after == before


def test_one_bad_file_does_not_stop_the_rest(make_file, run, tmp_path, capsys):
    bad = tmp_path / "bad.fits"
    bad.write_text("no FITS")
    files = [bad, tmp_path / "missing.fits", make_file()]
    assert run(*files, "--json") == 1
    captured = capsys.readouterr()
    rows = [json.loads(line) for line in captured.out.splitlines()]
    assert [row["file_in"] for row in rows] == [str(file) for file in files]
    assert [row["status"] for row in rows] == ["failed", "failed", "ok"]
    assert rows[0]["error"] == f"{bad} is not a FITS file: give one that is"
    assert "Traceback" not in captured.err
    assert captured.err.endswith("cosmiq-astro: 2 of 3 files failed\n")
    assert (tmp_path / "j1_flc_crvi.fits").exists()


def test_json_has_all_numbers(make_file, run, capsys):
    assert run(make_file(), "--json") == 0
    row = json.loads(capsys.readouterr().out)
    assert set(row) == {
        *("file_in", "file_out", "status", "instrument", "model", "T", "seed", "threshold"),
        *("n_pixels_flagged", "n_hits", "hit_rate", "seconds", "chips", "doubts", "verdict"),
    }
    assert row["chips"][0]["n_pixels"] == 24 * 32
    assert row["chips"][0]["extver"] == 1


def test_unforeseen_errors_are_named(make_file, run, monkeypatch, capsys):
    def fail(*args, **kwargs):
        raise RuntimeError("no such kernel")

    monkeypatch.setattr("cosmiq_astro.batch.run_detection", fail)
    file = make_file()
    assert run(file) == 1
    assert capsys.readouterr().err == f"cosmiq-astro: error: {file}: RuntimeError: no such kernel\n"
    assert run(file, "--debug") == 1
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_unknown_model_stops_everything(make_file, capsys):
    file = make_file()
    assert main(["detect", str(file), "--model", "acs-wfc-iv"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("cosmiq-astro: error: model 'acs-wfc-iv' is neither a bundled model")
    assert err.endswith("; did you mean acs-wfc-vi?\n")
    assert list(file.parent.iterdir()) == [file]


def test_dry_run_writes_nothing(make_file, run, capsys):
    file = make_file()
    assert run(file, "--dry-run") == 0
    text = capsys.readouterr().out
    assert text.splitlines()[0] == f"{file}: ACS/WFC -> {file.with_name('j1_flc_crvi.fits')}"
    assert "  24x32 pixels, extver 1, unit electron, readnoise 4, " in text
    assert run(file, "--dry-run", "--json", "--dq-bit", "4096") == 0
    row = json.loads(capsys.readouterr().out)
    assert row["status"] == "planned"
    assert row["chips"][0]["dq_bit"] == 4096
    assert row["notes"] == [
        "run AstroDrizzle with resetbits=0, or it wipes the DQ bit 4096 set here"
    ]
    assert list(file.parent.iterdir()) == [file]


def test_dry_run_names_the_pictures(make_file, run, capsys, tmp_path):
    pytest.importorskip("matplotlib")
    one, two = make_file("one_flt.fits"), make_file("two_flt.fits")
    options = ["--plot", "--resume", "-o", f"{tmp_path / 'new'}/"]
    pictures = [tmp_path / "new" / f"{name}_flt_crvi.png" for name in ("one", "two")]
    assert run(one, *options) == 0
    pictures[0].rename(tmp_path / "a.png")
    capsys.readouterr()
    assert run(one, two, "--dry-run", *options) == 0
    text = capsys.readouterr().out
    assert [line for line in text.splitlines() if "picture: " in line] == [
        f"  picture: {picture}" for picture in pictures
    ]
    assert run(one, two, "--dry-run", "--json", *options) == 0
    rows = map(json.loads, capsys.readouterr().out.splitlines())
    assert [row["picture"] for row in rows] == [str(picture) for picture in pictures]
    # One that is there already is not drawn again.
    (tmp_path / "a.png").rename(pictures[0])
    assert run(one, "--dry-run", *options) == 0
    assert "picture: " not in capsys.readouterr().out
    assert run(one, "--dry-run", "--overwrite", *options) == 0
    assert f"  picture: {pictures[0]}\n" in capsys.readouterr().out


def test_dry_run_finds_what_would_fail(make_file, run, capsys):
    file = make_file()
    file.with_name("j1_flc_crvi.fits").touch()
    assert run(file, "--dry-run") == 1
    assert "exists already; give --overwrite to replace it" in capsys.readouterr().err


def test_dry_run_tells_what_is_done_already(make_file, run, capsys, tmp_path):
    one, two = make_file("one_flt.fits"), make_file("two_flt.fits")
    options = ["--resume", "--seed", "1", "-o", f"{tmp_path / 'new'}/"]
    assert run(one, *options) == 0
    capsys.readouterr()
    assert run(one, two, "--dry-run", *options) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{one}: skipped, ")
    assert lines[1].startswith(f"{two}: ACS/WFC -> ")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["one_flt_crvi.fits"]


def test_in_place(make_file, run, tmp_path):
    file = make_file()
    assert run(file, "--in-place") == 0
    assert list(tmp_path.iterdir()) == [file]
    with fits.open(file) as hdus:
        assert "CRVIMASK" in hdus
    assert run(file, "--in-place") == 1
    assert run(file, "--in-place", "--overwrite") == 0


def test_output_file_and_directory(make_file, run, tmp_path):
    one, two = make_file("one_flt.fits"), make_file("two_flt.fits")
    assert run(one, "-o", tmp_path / "out.fits") == 0
    folder = tmp_path / "masked"
    folder.mkdir()
    assert run(one, two, "-o", folder) == 0
    assert run(one, "-o", folder, "--overwrite") == 0
    assert {path.name for path in folder.iterdir()} == {"one_flt_crvi.fits", "two_flt_crvi.fits"}
    assert (tmp_path / "out.fits").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sample", "a.fits"], "give FITS files, or --sample without any"),
        (["--sample", "--in-place"], "the sample cannot be replaced"),
        (["a/x.fits", "b/x.fits", "-o", "out"], "a/x.fits and b/x.fits would be written to"),
        (["a.fits", "-o", "b.fits", "--in-place"], "not allowed with argument -o"),
        (["a.fits", "--dq-bit", "16"], "'16' is not 4096, 8192, 16384 or none"),
        (["a.fits", "--dq-ignore", "hot"], "'hot' is not a list of bits"),
        (["a.fits", "--planes", "prob,h"], "'prob,h' is not a list of prob, std, ent, mi"),
        (["a.fits", "--ext", "ERR,1"], "'ERR,1' is not a chip, as in SCI,1"),
        (["a.fits", "--clean", "magic"], "invalid choice: 'magic'"),
    ],
)
def test_wrong_usage(run, capsys, arguments, message):
    with pytest.raises(SystemExit) as stop:
        run(*arguments)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def test_parsed_values():
    args = build_parser().parse_args(
        ["detect", "a.fits", "--dq-bit", "none", "--dq-ignore", "128,512", "--ext", "2"]
    )
    assert args.dq_bit is None
    assert args.dq_ignore == 640
    assert args.extver == [2]
    assert args.run is command.run
    assert build_parser().parse_args(["detect", "a.fits", "--planes", "none"]).planes == ()


def test_settings_and_options_are_the_same():
    options = vars(build_parser().parse_args(["detect", "a.fits"]))
    settings = {field.name: field.default for field in dataclasses.fields(DetectSettings)}
    del settings["progress_bar"]  # the terminal decides
    assert {name: options.get(name, "no option") for name in settings} == settings


def test_clean_choices_are_those_of_the_verb(capsys):
    with pytest.raises(SystemExit):
        main(["detect", "--help"])
    assert "{" + ",".join(CLEAN_METHODS) + "}" in "".join(capsys.readouterr().out.split())


def test_errors_name_a_file_once(make_file, run, tmp_path, monkeypatch, capsys):
    content = make_file("a.fits").read_bytes()
    (tmp_path / "cut.fits").write_bytes(content[:-3000])
    (tmp_path / "cut.fits.gz").write_bytes(gzip.compress(content)[:-30])
    (tmp_path / "x.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (tmp_path / "folder").mkdir()
    (tmp_path / "a_crvi.fits").touch()
    said = {
        "no.fits": "no.fits: No such file or directory",
        "folder": "folder: Is a directory",
        "cut.fits": "cut.fits is truncated: copy or download it again",
        "cut.fits.gz": "cut.fits.gz is truncated: copy or download it again",
        "x.png": "x.png is a PNG image, not a FITS file: give the FITS file",
        "a.fits": "a.fits: a_crvi.fits exists already; give --overwrite to replace it, or name "
        "another file",
    }
    monkeypatch.chdir(tmp_path)
    for name, text in said.items():
        assert run(name, "--ext", "1") == 1
        assert capsys.readouterr().err == f"cosmiq-astro: error: {text}\n"


def test_files_of_options_are_named(make_file, run, tmp_path, capsys):
    picture = tmp_path / "x.png"
    picture.write_bytes(b"\x89PNG\r\n\x1a\n")
    kind = "is a PNG image, not a FITS file: give the FITS file"
    assert run(make_file(), "--background", picture) == 1
    assert capsys.readouterr().err == f"cosmiq-astro: error: {picture} {kind}\n"
    pair = [str(picture), str(make_file("b.fits"))]
    assert main(["label", *pair, "-o", str(tmp_path / "o"), "--readnoise", "5"]) == 1
    assert capsys.readouterr().err == f"cosmiq-astro: error: {picture} {kind}\n"
    assert main(["evaluate", str(pair[1]), "--truth", str(picture), "-T", "1"]) == 1
    assert capsys.readouterr().err == f"cosmiq-astro: error: {pair[1]}: {picture} {kind}\n"


def test_a_detection_that_is_there_already(make_file, run, capsys):
    file = make_file()
    assert run(file, "--in-place", "-q") == 0
    assert run(file, "--in-place", "-q") == 1
    assert capsys.readouterr().err == (
        f"cosmiq-astro: error: {file} holds a detection already (CRVIMASK,1); start from the "
        "original file, or give --overwrite\n"
    )


def test_pictures(make_file, run, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    files = [make_file(name) for name in ("one_flt.fits", "two_flt.fits")]
    out = tmp_path / "new"
    command = [*files, "--plot", "-o", f"{out}/"]
    assert run(*command, "--jobs", "2") == 0
    text = capsys.readouterr().out
    pictures = [out / f"{name}_flt_crvi.png" for name in ("one", "two")]
    assert all(f"{path}: image, mask, probability, entropy\n" in text for path in pictures)
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in pictures)
    # What is there already is left alone, unless something else was asked for.
    pictures[0].write_text("mine")
    (out / "two_flt_crvi.fits").unlink()
    assert run(*command) == 1
    assert capsys.readouterr().err == (
        f"cosmiq-astro: error: {pictures[0]} exists already; give --overwrite to replace it, or "
        "name another file\n"
    )
    assert not (out / "two_flt_crvi.fits").exists()
    pictures[1].unlink()
    assert run(*command, "--resume") == 0
    assert pictures[0].read_text() == "mine"
    assert pictures[1].exists()
    assert run(*command, "--overwrite", "-q") == 0
    assert pictures[0].read_bytes().startswith(b"\x89PNG")


def test_a_picture_has_every_chip(make_file, run, tmp_path):
    plt = pytest.importorskip("matplotlib.pyplot")
    one, two = make_file("one_flt.fits"), tmp_path / "two_flt.fits"
    with fits.open(one) as hdus:
        more = [hdu.copy() for hdu in hdus[1:]]
        for hdu in more:
            hdu.ver = 2
        fits.HDUList([*hdus, *more]).writeto(two)
    assert run(one, two, "--in-place", "--plot") == 0
    heights = [len(plt.imread(tmp_path / f"{name}_flt_crvi.png")) for name in ("one", "two")]
    assert heights[1] == pytest.approx(2 * heights[0], abs=2)


def test_a_picture_is_no_output_of_another_file(make_file, run, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    file = make_file()
    with pytest.raises(SystemExit):
        run(file, "--plot", "-o", tmp_path / "out.fits", "--table", tmp_path / "out.png")
    assert "would be written to the same file" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [file]


def test_pictures_need_what_they_show(make_file, run, tmp_path, monkeypatch, capsys):
    file = make_file()
    with pytest.raises(SystemExit):
        run(file, "--plot", "--planes", "prob,std")
    assert "--plot draws probability and entropy" in capsys.readouterr().err
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert run(file, "--plot") == 1
    message = "--plot draws with matplotlib: pip install 'cosmiq_astro[plot]'"
    assert capsys.readouterr().err == f"cosmiq-astro: error: {message}\n"
    assert list(tmp_path.iterdir()) == [file]


def test_sample(run, tmp_path, monkeypatch, capsys):
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    assert run("--sample", "-T", "1") == 0
    names = ["j8bt06nyq_sample_crvi.fits", "j8bt06nyq_sample_crvi.png"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    assert (tmp_path / names[1]).read_bytes().startswith(b"\x89PNG")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("j8bt06nyq_sample.fits: ")
    assert lines[0].endswith(f" s -> {names[0]}")
    assert lines[-1] == f"{names[1]}: image, mask, probability, entropy"
    (tmp_path / names[0]).unlink()
    assert run("--sample") == 1
    assert f"{names[1]} exists already" in capsys.readouterr().err
    assert not (tmp_path / names[0]).exists()


def test_sample_without_matplotlib(run, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert run("--sample") == 1
    assert "pip install 'cosmiq_astro[plot]'" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
