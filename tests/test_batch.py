import functools
import os
import signal
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest
from astropy.io import fits
from astropy.table import QTable
from cosmiq_astro.survey.urls import local_files, name_output

from cosmiq_astro.batch import Outcome, _distribute, detect_files, run_survey
from cosmiq_astro.models.model import save_model


@pytest.fixture(scope="session")
def model(tiny_vi, tmp_path_factory):
    return str(save_model(tiny_vi, tmp_path_factory.mktemp("model"), card="A test."))


@pytest.fixture
def files(tmp_path):
    """Twelve small ACS/WFC files."""
    folder = tmp_path / "in"
    folder.mkdir()
    for i in range(12):
        primary = fits.PrimaryHDU()
        primary.header.update(
            INSTRUME="ACS", DETECTOR="WFC", CCDAMP="C", READNSEC=4.0, EXPTIME=500.0
        )
        image = np.random.default_rng(i).normal(50, 8, (24, 32)).astype(np.float32)
        sci = fits.ImageHDU(image, fits.Header({"BUNIT": "ELECTRONS"}), name="SCI", ver=1)
        fits.HDUList([primary, sci]).writeto(folder / f"j{i:02}_flc.fits")
    return sorted(folder.iterdir())


@pytest.fixture
def out(tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


def test_processes_give_what_one_gives(files, out, model, tmp_path):
    one = detect_files(files[:4], out, model=model, T=2, seed=1, threshold=0.0179)
    two = detect_files(
        files[:4],
        out,
        jobs=2,
        table=tmp_path / "t.ecsv",
        model=model,
        T=2,
        seed=1,
        threshold=0.0179,
        overwrite=True,
    )
    assert list(two["status"]) == ["ok"] * 4
    assert one["n_hits"].sum() > 0
    for name in ("file_in", "file_out", "n_pixels_flagged", "n_hits", "hit_rate"):
        np.testing.assert_array_equal(one[name], two[name])
    written = QTable.read(tmp_path / "t.ecsv")
    np.testing.assert_array_equal(written["hit_rate"], two["hit_rate"])
    assert str(written["hit_rate"].unit) == "1 / (s cm2)"


def test_one_bad_file_does_not_stop_the_rest(files, out, model):
    files[1].write_bytes(files[1].read_bytes()[:3000])
    table = detect_files(files[:3], out, jobs=2, model=model, T=2)
    assert list(table["status"]) == ["ok", "failed", "ok"]
    assert table["error"][1]
    assert sorted(path.name for path in out.iterdir()) == ["j00_flc_crvi.fits", "j02_flc_crvi.fits"]


def test_resume_skips_what_is_there_and_redoes_what_differs(files, out, model):
    settings = {"model": model, "T": 2, "seed": 1, "resume": True}
    assert list(detect_files(files[:2], out, **settings)["status"]) == ["ok", "ok"]
    before = [path.stat().st_mtime_ns for path in sorted(out.iterdir())]
    again = detect_files(files[:3], out, jobs=2, **settings)
    assert list(again["status"]) == ["skipped", "skipped", "ok"]
    assert [path.stat().st_mtime_ns for path in sorted(out.iterdir())][:2] == before
    # Another setting, or another input: what is there is not what was asked for.
    changed = detect_files(files[:1], out, **(settings | {"T": 4}))
    assert "exists already; set overwrite" in changed["error"][0]
    with fits.open(files[0], mode="update") as hdus:
        hdus["SCI"].data += 1
    assert detect_files(files[:1], out, **settings)["status"] == "failed"
    assert detect_files(files[:1], out, **settings, overwrite=True)["status"] == "ok"
    # How the work is done changes nothing.
    assert detect_files(files[:1], out, **settings, tile_size=8)["status"] == "skipped"


def test_resume_in_place(files, model):
    settings = {"model": model, "T": 2, "seed": 1, "resume": True, "in_place": True}
    assert detect_files(files[:1], **settings)["status"] == "ok"
    content = files[0].read_bytes()
    assert detect_files(files[:1], **settings)["status"] == "skipped"
    assert files[0].read_bytes() == content


def test_a_file_written_by_a_worker_that_died_is_done(files, out, model, monkeypatch):
    """The second worker finds the output of the first, which had no time to say so."""
    output = out / "j00_flc_crvi.fits"
    settings = {"model": model, "T": 2, "seed": 1}
    tasks = []

    class Future:
        def __init__(self, value):
            self.value = value

        def exception(self):
            return None

        def result(self):
            return self.value

    class Client:
        def __init__(self, cluster):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *error):
            return None

        def submit(self, function, *args, pure):
            tasks.append(function(*args).status)
            return Future(function(*args))

    monkeypatch.setattr("distributed.Client", Client)
    monkeypatch.setattr("distributed.as_completed", lambda futures: futures)
    pairs = [(files[0], output)]
    (outcome,) = run_survey(pairs, scheduler="tcp://nowhere:1", **settings)
    assert (tasks, outcome.status) == (["ok"], "skipped")
    assert outcome.n_hits >= 0
    # What was there before the survey is not taken for its work.
    (outcome,) = run_survey(pairs, scheduler="tcp://nowhere:1", **settings)
    assert outcome.status == "failed"
    assert "exists already" in outcome.error


def start(files, out, model, *options):
    """Start a survey on the command line, in a process group of its own."""
    line = [sys.executable, "-m", "cosmiq_astro.cli.main", "detect", *map(str, files)]
    line += ["-o", f"{out}{os.sep}", "--model", model, "-T", "2", "--seed", "1", *options]
    return subprocess.Popen(
        line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def wait_for_output(process, out):
    for _ in range(600):
        if process.poll() is not None or any(out.glob("*_crvi.fits")):
            return
        time.sleep(0.05)


def test_a_worker_is_killed_and_nothing_is_lost_or_doubled(files, out, model, tmp_path):
    table = tmp_path / "t.ecsv"
    process = start(files, out, model, "--jobs", "2", "--table", str(table))
    wait_for_output(process, out)
    for child in psutil.Process(process.pid).children():
        if "spawn_main" in " ".join(child.cmdline()):
            child.kill()
            break
    stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 0, stderr
    assert len(stdout.splitlines()) == len(files)
    outcomes = QTable.read(table)
    assert list(outcomes["file_in"]) == [str(file) for file in files]
    assert set(outcomes["status"]) <= {"ok", "skipped"}
    assert len(list(out.iterdir())) == len(files)
    for path in out.iterdir():
        with fits.open(path, checksum=True) as hdus:
            assert np.isfinite(hdus["CRPROB"].data).all()


def test_ctrl_c_leaves_whole_files_and_the_rest_is_done_later(files, out, model, tmp_path):
    table = tmp_path / "t.ecsv"
    process = start(files, out, model, "--jobs", "2", "--table", str(table))
    wait_for_output(process, out)
    os.killpg(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=120)
    done = list(out.iterdir())
    if len(done) < len(files):
        assert process.returncode == 130, stderr
    for path in done:
        assert path.name.startswith("j")
        with fits.open(path, checksum=True) as hdus:
            assert np.isfinite(hdus["CRPROB"].data).all()
    assert set(QTable.read(table)["status"]) <= {"ok"}
    process = start(files, out, model, "--jobs", "2", "--resume", "--table", str(table))
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 0, stderr
    status = list(QTable.read(table)["status"])
    assert status.count("skipped") == len(done)
    assert status.count("ok") == len(files) - len(done)


def test_urls_in_and_out(files, model):
    fsspec = pytest.importorskip("fsspec")
    store = fsspec.filesystem("memory")
    store.pipe("/archive/a_flc.fits", files[0].read_bytes())
    settings = {"model": model, "T": 2, "seed": 1}
    table = detect_files(["memory://archive/a_flc.fits"], "memory://masked", **settings)
    assert table["file_out"][0] == "memory://masked/a_flc_crvi.fits"
    assert table["status"][0] == "ok", table["error"][0]
    with store.open("/masked/a_flc_crvi.fits") as file, fits.open(file, checksum=True) as hdus:
        assert "CRPROB" in hdus
    again = detect_files(["memory://archive/a_flc.fits"], "memory://masked", **settings)
    assert "exists already" in again["error"][0]
    again = detect_files(
        ["memory://archive/a_flc.fits"], "memory://masked", resume=True, **settings
    )
    assert again["status"][0] == "skipped"


def test_wfpc2_at_a_url_has_its_quality_file(model, tmp_path):
    store = pytest.importorskip("fsspec").filesystem("memory")
    image = np.random.default_rng(1).normal(50, 8, (24, 32)).astype(np.float32)
    quality = np.zeros(image.shape, np.int16)
    quality[3] = 2
    for name, plane in (("u_c0m.fits", image), ("u_c1m.fits", quality)):
        primary = fits.PrimaryHDU()
        primary.header.update(INSTRUME="WFPC2", EXPTIME=500.0, ATODGAIN=7.0)
        header = fits.Header({"DETECTOR": 1, "BUNIT": "COUNTS"})
        fits.HDUList([primary, fits.ImageHDU(plane, header, name="SCI", ver=1)]).writeto(
            tmp_path / name
        )
        store.pipe(f"/wfpc2/{name}", (tmp_path / name).read_bytes())
    settings = {"model": model, "T": 2, "seed": 1}
    local = detect_files([tmp_path / "u_c0m.fits"], tmp_path / "out", **settings)
    table = detect_files(["memory://wfpc2/u_c0m.fits"], "memory://wfpc2/out", **settings)
    assert list(local["status"]) == list(table["status"]) == ["ok"], table["error"][0]
    assert local["n_pixels_flagged"][0] == table["n_pixels_flagged"][0]
    assert sorted(path.rsplit("/")[-1] for path in store.ls("/wfpc2/out", detail=False)) == [
        "u_c0m_crvi.fits",
        "u_c1m_crvi.fits",
    ]
    with store.open("/wfpc2/out/u_c1m_crvi.fits") as file, fits.open(file) as hdus:
        assert (hdus["SCI"].data[3] == 2).all()
        assert (hdus["SCI"].data & 16384 > 0).sum() == table["n_pixels_flagged"][0]


def test_names_of_outputs(tmp_path):
    assert name_output("s3://b/x/j_flt.fits.gz") == "s3://b/x/j_flt_crvi.fits"
    assert name_output("s3://b/j_flt.fits", tmp_path) == tmp_path / "j_flt_crvi.fits"
    assert name_output("/a/j_flt.fits", "gs://c/d/") == "gs://c/d/j_flt_crvi.fits"
    with local_files("/a/b.fits", None) as (near, out):
        assert (str(near), out) == ("/a/b.fits", None)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"jobs": 0}, "jobs must be a positive integer, got 0"),
        ({"jobs": 2, "scheduler": "tcp://a:1"}, "give jobs or scheduler, not both"),
    ],
)
def test_bad_settings(options, message):
    with pytest.raises(ValueError, match=message):
        list(run_survey([], **options))


def test_two_inputs_of_one_output(tmp_path):
    with pytest.raises(ValueError, match="would be written to the same file"):
        detect_files([tmp_path / "a.fits", tmp_path / "a.fits.gz"])
    with pytest.raises(ValueError, match="a URL cannot be replaced in place"):
        detect_files(["s3://b/a.fits"], in_place=True)


def test_workers_share_the_cores(monkeypatch):
    """Two workers take half of the cores each; dask's malloc setting, which costs time, is off."""

    def answer(pair):
        found = [os.environ.get(name) for name in ("OMP_NUM_THREADS", "MALLOC_TRIM_THRESHOLD_")]
        return Outcome(*pair, str(found))

    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    tasks = {pair: functools.partial(answer, pair) for pair in (("a", "b"), ("c", "d"))}
    outcomes = list(_distribute(tasks, 2, None))
    assert [outcome.status for outcome in outcomes] == ["['3', None]"] * 2


def test_without_dask(files, model, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ImportError, match="jobs and scheduler need dask: pip install"):
        detect_files(files, jobs=2, model=model)
