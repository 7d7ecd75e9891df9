import contextlib
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
from astropy.io import fits
from astropy.table import QTable

from cosmiq_astro import _workers
from cosmiq_astro.batch import _Work, detect_files
from cosmiq_astro.cli.main import main
from cosmiq_astro.hit_rates import hit_rates
from cosmiq_astro.hst.settings import DetectSettings
from cosmiq_astro.models.model import load_model, save_model

SETTINGS = {"T": 2, "seed": 1}


@pytest.fixture(scope="session")
def model(tiny_vi, tmp_path_factory):
    return str(save_model(tiny_vi, tmp_path_factory.mktemp("model"), card="A test."))


@pytest.fixture
def settings(model):
    return {"model": model, **SETTINGS}


def write_frame(path, seed=0, *, instrument="ACS", detector="WFC", unit="ELECTRONS"):
    primary = fits.PrimaryHDU()
    primary.header.update(INSTRUME=instrument, CCDAMP="C", READNSEC=4.0, EXPTIME=500.0)
    if instrument == "WFPC2":
        primary.header["ATODGAIN"] = 7.0
    else:
        primary.header["DETECTOR"] = detector
    image = np.random.default_rng(seed).normal(50, 8, (24, 32)).astype(np.float32)
    header = fits.Header({"BUNIT": unit})
    if instrument == "WFPC2":
        header["DETECTOR"] = 1
    fits.HDUList([primary, fits.ImageHDU(image, header, name="SCI", ver=1)]).writeto(path)
    return path


def write_wfpc2(folder):
    """Write an image and its data-quality file."""
    image = write_frame(folder / "u_c0m.fits", instrument="WFPC2", unit="COUNTS")
    with fits.open(image) as hdus:
        hdus["SCI"].data = np.full((24, 32), 2, np.int16)
        hdus.writeto(folder / "u_c1m.fits")
    return image, folder / "u_c1m.fits"


@pytest.fixture
def files(tmp_path):
    """Twelve small ACS/WFC files."""
    folder = tmp_path / "in"
    folder.mkdir()
    return [write_frame(folder / f"j{i:02}_flc.fits", i) for i in range(12)]


@pytest.fixture
def out(tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def assert_whole(path):
    with fits.open(path, checksum=True) as hdus:
        assert hdus[0].header["NEXTEND"] == len(hdus) - 1
        assert np.isfinite(hdus["CRPROB"].data).all()


def test_processes_give_what_one_gives(files, out, settings, tmp_path):
    settings |= {"threshold": 0.0179}
    one = detect_files(files[:4], out, settings=settings)
    settings |= {"overwrite": True}
    two = detect_files(files[:4], out, settings=settings, jobs=2, table=tmp_path / "t.ecsv")
    assert list(two["status"]) == ["ok"] * 4
    assert one["n_hits"].sum() > 0
    for name in ("file_in", "file_out", "n_pixels_flagged", "n_hits", "hit_rate"):
        np.testing.assert_array_equal(one[name], two[name])
    written = QTable.read(tmp_path / "t.ecsv")
    np.testing.assert_array_equal(written["hit_rate"], two["hit_rate"])
    assert str(written["hit_rate"].unit) == "1 / (s cm2)"


def test_a_file_has_one_hit_rate(files, out, settings):
    with fits.open(files[0]) as hdus:
        image, header = hdus["SCI"].data[::-1], hdus["SCI"].header
        masked = np.full(image.shape, 4, np.int16)
        masked[:10] = 0
        hdus[0].header["EXPSTART"] = 56000.0
        hdus.append(fits.ImageHDU(image, header, name="SCI", ver=2))
        hdus.append(fits.ImageHDU(masked, name="DQ", ver=2))
        hdus.writeto(files[0], overwrite=True)
    settings |= {"threshold": 0.0179}
    reported = []
    detect_files(files[:1], out, settings=settings, report=reported.append)
    again = detect_files(files[:1], out, settings=settings, resume=True)
    assert again["status"][0] == "skipped"
    first = reported[0].result
    chips = [chip.hit_rate.value for chip in first.chips]
    assert [chip.n_pixels for chip in first.chips] == [24 * 32, 10 * 32]
    assert abs(chips[0] - chips[1]) > 0.1 * max(chips)
    expected = (24 * chips[0] + 10 * chips[1]) / 34
    rates = hit_rates(out.glob("*.fits"))["hit_rate"].value
    found = [first.hit_rate.value, reported[0].hit_rate, again["hit_rate"].value[0], rates[0]]
    np.testing.assert_allclose(found, expected, rtol=1e-8)


@pytest.mark.parametrize("jobs", [1, 2])
def test_one_bad_file_does_not_stop_the_rest(files, out, settings, jobs):
    files[1].write_bytes(files[1].read_bytes()[:3000])
    table = detect_files(files[:3], out, settings=settings, jobs=jobs)
    assert list(table["status"]) == ["ok", "failed", "ok"]
    assert table["error"][1]
    assert sorted(path.name for path in out.iterdir()) == ["j00_flc_crvi.fits", "j02_flc_crvi.fits"]


def test_errors_have_the_names_that_were_given(files, settings, monkeypatch):
    monkeypatch.chdir(files[0].parent)
    Path("a_crvi.fits").touch()
    Path("a.fits").write_bytes(files[0].read_bytes())
    table = detect_files(["a.fits", "no.fits"], settings=settings)
    assert list(table["error"]) == [
        "a_crvi.fits exists already; set overwrite to replace it, or name another file",
        "no.fits: No such file or directory",
    ]


def test_warnings_reach_the_caller_and_the_table(files, out, settings):
    settings |= {"dq_bit": 4096}
    with pytest.warns(UserWarning, match=r"j00_flc.fits: run AstroDrizzle with resetbits=0"):
        table = detect_files(files[:1], out, settings=settings)
    assert "resetbits=0" in table["notes"][0]


def test_resume_skips_what_is_there_and_redoes_what_differs(files, out, settings):
    def run(n, **changes):
        return detect_files(files[:n], out, settings=settings | changes, resume=True)

    assert list(run(2)["status"]) == ["ok", "ok"]
    before = [path.stat().st_mtime_ns for path in sorted(out.iterdir())]
    again = detect_files(files[:3], out, settings=settings, resume=True, jobs=2)
    assert list(again["status"]) == ["skipped", "skipped", "ok"]
    assert [path.stat().st_mtime_ns for path in sorted(out.iterdir())][:2] == before
    # Another setting, or another input: what is there is not what was asked for.
    assert "exists already; set overwrite" in run(1, T=4)["error"][0]
    with fits.open(files[0], mode="update") as hdus:
        hdus["SCI"].data += 1
    assert run(1)["status"] == "failed"
    assert run(1, overwrite=True)["status"] == "ok"
    # How the work is done changes nothing.
    assert run(1, tile_size=8)["status"] == "skipped"


def test_resume_in_place(files, settings):
    settings |= {"in_place": True}
    assert detect_files(files[:1], settings=settings, resume=True)["status"] == "ok"
    content = files[0].read_bytes()
    assert detect_files(files[:1], settings=settings, resume=True)["status"] == "skipped"
    assert files[0].read_bytes() == content


@pytest.mark.filterwarnings("ignore:File may have been truncated")
def test_resume_takes_no_damaged_output_for_done(files, out, settings):
    (row,) = detect_files(files[:1], out, settings=settings)
    output = Path(row["file_out"])
    whole = output.read_bytes()
    with fits.open(output) as hdus:
        ends = [hdu.fileinfo()["hdrLoc"] for hdu in hdus][2:]
        last = hdus[-1].fileinfo()["datLoc"]
    flipped = bytearray(whole)
    flipped[last] ^= 1
    damaged = [whole[:end] for end in (*ends, 0, 100, len(whole) // 2, len(whole) - 2880)]
    for content in [*damaged, bytes(flipped)]:
        output.write_bytes(content)
        assert detect_files(files[:1], out, settings=settings, resume=True)["status"] == "failed"
        again = settings | {"overwrite": True}
        assert detect_files(files[:1], out, settings=again, resume=True)["status"] == "ok"
        assert_whole(output)


def test_resume_wants_wfpc2s_quality_file_too(settings, tmp_path):
    image, _ = write_wfpc2(tmp_path)
    settings |= {"overwrite": True}
    assert detect_files([image], settings=settings, resume=True)["status"] == "ok"
    assert detect_files([image], settings=settings, resume=True)["status"] == "skipped"
    copy = tmp_path / "u_c1m_crvi.fits"
    for content in (None, copy.read_bytes()[:-2880]):
        copy.unlink() if content is None else copy.write_bytes(content)
        assert detect_files([image], settings=settings, resume=True)["status"] == "ok"
        assert fits.getdata(copy, 1).shape == (24, 32)


def test_resume_tells_models_and_versions_apart(files, out, settings, make_tiny, monkeypatch):
    def run(**model):
        given = settings | {"model": make_tiny(variational=("*",), **model)}
        return detect_files(files[:1], out, settings=given, resume=True)["status"][0]

    assert run() == "ok"
    assert run() == "skipped"
    # Neither the weights nor a name tells these apart: none was saved.
    assert run(seed=1) == "failed"
    assert run(temperature=1.5) == "failed"
    assert run(threshold=0.4) == "failed"
    monkeypatch.setattr("cosmiq_astro.__version__", "99.0")
    assert run() == "failed"


def test_a_model_trained_again_is_the_one_that_is_used(files, out, settings, make_tiny, tmp_path):
    folder = tmp_path / "mycam"

    def run(overwrite, **options):
        given = settings | {"model": folder, "overwrite": overwrite}
        detect_files(files[:4], out, settings=given, **options)
        return {fits.getheader(path, "SCI")["CRVISHA"] for path in out.glob("*.fits")}

    def train(seed):
        return save_model(
            make_tiny(variational=("*",), seed=seed), folder, card="", overwrite=seed > 0
        )

    train(0)
    first = run(False)
    train(1)
    assert run(True).isdisjoint(first)
    # In a run, all files get the model that it began with.
    for jobs in (1, 2):
        train(2 * jobs)
        sha = load_model(folder).sha256[:16]
        seen = run(True, jobs=jobs, report=lambda outcome: train(3))
        assert seen == {sha}


class TestNothingIsLost:
    """What is there stays, whatever an output is called."""

    def refused(self, files, outputs, settings, error=ValueError, **options):
        folder = Path(files[0]).parent
        before = contents(folder)
        with pytest.raises(error) as caught:
            detect_files(files, outputs, settings=settings, **options)
        assert contents(folder) == before
        return str(caught.value)

    def test_a_table_is_not_overwritten(self, files, out, settings, tmp_path):
        table = tmp_path / "t.ecsv"
        for content in ("mine", "# %ECSV 1.0\n# ---\n# datatype:\n# - {name: a}\na\n1\n"):
            table.write_text(content)
            for resume in (False, True):
                said = self.refused(
                    files, out, settings, FileExistsError, table=table, resume=resume
                )
                assert "exists already; set overwrite" in said
        assert not list(out.iterdir())
        settings |= {"overwrite": True}
        detect_files(files[:1], out, settings=settings, table=table)
        assert len(QTable.read(table)) == 1

    def test_resume_keeps_the_rows_of_other_files(self, files, out, settings, tmp_path):
        options = {"settings": settings, "table": tmp_path / "t.ecsv", "resume": True}
        detect_files(files[:2], out, **options)
        assert len(detect_files(files[1:3], out, **options)) == 2
        written = QTable.read(tmp_path / "t.ecsv")
        assert list(written["file_in"]) == list(map(str, files[:3]))
        assert list(written["status"]) == ["ok", "skipped", "ok"]

    def test_a_table_is_no_input_device_or_output(self, files, out, settings, tmp_path):
        settings |= {"overwrite": True}
        (tmp_path / "link").symlink_to(files[3])
        for table, message in {
            files[2]: "which is an input too",
            tmp_path / "link": "which is an input too",
            "/dev/null": "not a regular file",
            out: "not a regular file",
            out / "j01_flc_crvi.fits": "would be written to the same file",
        }.items():
            assert message in self.refused(files, out, settings, table=table)
        said = self.refused(files, out, settings, FileNotFoundError, table=tmp_path / "no/t.ecsv")
        assert "there is no directory" in said
        assert not os.path.isfile("/dev/null")

    def test_an_output_is_no_input_of_another_row(self, files, settings, tmp_path):
        settings |= {"overwrite": True}
        (tmp_path / "soft.fits").symlink_to(files[1])
        os.link(files[1], tmp_path / "hard.fits")
        (tmp_path / "in2").symlink_to(files[1].parent)
        for name in (files[1], tmp_path / "soft.fits", tmp_path / "hard.fits"):
            said = self.refused(files[:2], [name, tmp_path / "b.fits"], settings)
            assert "which is an input too" in said
        name = tmp_path / "in2" / files[1].name
        assert "input too" in self.refused(files[:2], [name, tmp_path / "b.fits"], settings)
        assert "is the input itself" in self.refused(files[1:2], [name], settings)

    def test_two_rows_have_no_output_in_common(self, files, out, settings, tmp_path):
        (tmp_path / "out2").symlink_to(out)
        names = [out / "a.fits", tmp_path / "out2" / "a.fits"]
        assert "would be written to the same file" in self.refused(files[:2], names, settings)
        os.link(files[0], tmp_path / "hard.fits")
        in_place = settings | {"in_place": True}
        said = self.refused([files[0], tmp_path / "hard.fits"], None, in_place)
        assert "would be written to the same file" in said

    def test_wfpc2s_quality_files(self, settings, tmp_path):
        image, quality = write_wfpc2(tmp_path)
        settings |= {"overwrite": True}
        # Named after the output, the copy would be the file that it is made from.
        assert "is the input itself" in self.refused([image], [tmp_path / "u.fits"], settings)
        (tmp_path / "x_c1m.fits").symlink_to(quality)
        assert "is the input itself" in self.refused([image], [tmp_path / "x_c0m.fits"], settings)
        said = self.refused([image, quality], tmp_path / "out", settings)
        assert "would be written to the same file" in said

    def test_an_output_is_no_device(self, files, settings):
        settings |= {"overwrite": True}
        assert "not a regular file" in self.refused(files[:1], ["/dev/null"], settings)

    @pytest.mark.parametrize("name", ["weights.safetensors", "card.md", "config.json"])
    def test_a_folder_that_holds_a_part_of_a_model(self, tiny_vi, tmp_path, name):
        (tmp_path / name).write_text("mine")
        with pytest.raises(FileExistsError, match=f"{name} exists already"):
            save_model(tiny_vi, tmp_path, card="")
        assert contents(tmp_path) == {name: b"mine"}

    def test_train_and_label_look_before_they_work(self, files, tmp_path, capsys):
        (tmp_path / "m").mkdir()
        (tmp_path / "m" / "history.ecsv").write_text("mine")
        assert main(["train", str(files[0].parent), "-o", str(tmp_path / "m")]) == 1
        assert "history.ecsv exists already" in capsys.readouterr().err
        before = contents(files[0].parent)
        folder = str(files[0].parent)
        arguments = [*map(str, files[:2]), "-o", folder, "--overwrite", "--readnoise", "4"]
        assert main(["label", *arguments]) == 1
        assert "is the input itself" in capsys.readouterr().err
        assert contents(files[0].parent) == before


WORK = """
import os, pathlib, signal, time

class Work:
    def __init__(self, folder):
        self.folder = folder

    def __call__(self, task):
        time.sleep(0.05)
        if task.startswith("bad"):
            with open(os.path.join(self.folder, "attempts"), "a") as file:
                file.write("x")
            os.kill(os.getpid(), signal.SIGKILL)
        print("a library that prints")
        return task.upper(), {name: os.environ.get(name) for name in os.environ}, os.getcwd()
"""


@pytest.fixture
def make_work(tmp_path, monkeypatch):
    folder = tmp_path / "module"
    folder.mkdir()
    (folder / "killing_work.py").write_text(WORK)
    monkeypatch.syspath_prepend(folder)
    import killing_work

    yield killing_work.Work
    sys.modules.pop("killing_work")


def test_a_task_that_kills_its_workers_fails_alone_after_three(make_work, tmp_path):
    tasks = ["a", "b", "bad", "c", "d", "e"]
    found = dict(_workers.in_processes(make_work(str(tmp_path)), tasks, 2))
    assert (tmp_path / "attempts").read_text() == "xxx"
    assert found.pop("bad").startswith("3 workers died of it, the last by SIGKILL")
    assert {task: answer[0] for task, answer in found.items()} == {
        task: task.upper() for task in "abcde"
    }


def test_workers_share_the_cores_and_the_caller_keeps_its_environment(
    make_work, tmp_path, monkeypatch
):
    for name in _workers._THREADS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(6)), raising=False)
    before = dict(os.environ)
    run = _workers.in_processes(make_work(str(tmp_path)), ["a", "b"], 2)
    seen = [answer[1] for _, answer in run]
    assert dict(os.environ) == before
    assert [environment["OMP_NUM_THREADS"] for environment in seen] == ["3", "3"]
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    run = _workers.in_processes(make_work(str(tmp_path)), ["a", "b"], 2)
    assert {answer[1]["OMP_NUM_THREADS"] for _, answer in run} == {"1"}


def test_workers_that_cannot_start(make_work, tmp_path, monkeypatch):
    work = make_work(str(tmp_path))
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(
        RuntimeError, match="3 workers could not start, the last ended by exit status 1"
    ):
        list(_workers.in_processes(work, ["a"], 2))


@pytest.mark.skipif(not hasattr(signal, "SIGRTMIN"), reason="needs signals of real time")
def test_a_worker_that_a_nameless_signal_kills():
    worker = _workers._Worker(dict(os.environ))
    number = signal.SIGRTMIN + 1
    os.kill(worker.process.pid, number)
    assert worker.end() == f"exit status -{number}"


def test_a_run_that_is_given_up_leaves_no_process(make_work, tmp_path):
    before = set(psutil.Process().children())
    run = _workers.in_processes(make_work(str(tmp_path)), list("abcdefgh"), 2)
    next(run)
    assert len(set(psutil.Process().children()) - before) == 2
    run.close()
    assert set(psutil.Process().children()) <= before


def test_half_of_an_output_is_made_again(tmp_path, settings):
    """The first worker died between the data quality and the image, which are two files."""
    folder = tmp_path / "wfpc2"
    folder.mkdir()
    image, quality = write_wfpc2(folder)
    settings = DetectSettings(**settings | {"model": load_model(settings["model"])})
    work = _Work(settings, resume=False, run="1")
    task = (str(image), str(tmp_path / "x_c0m.fits"))
    assert work(task).status == "ok"
    (tmp_path / "x_c0m.fits").unlink()
    assert work(task).status == "ok"
    (tmp_path / "x_c0m.fits").unlink()
    other = replace(work, run="2")(task)
    assert "exists already" in other.error
    assert quality.exists()


def test_a_file_written_by_a_worker_that_died_is_done(files, out, settings):
    """The second worker finds the output of the first, which had no time to say so."""
    settings = DetectSettings(**settings | {"model": load_model(settings["model"])})
    work = _Work(settings, resume=False, run="1")
    task = (str(files[0]), str(out / "a.fits"))
    first, second = work(task), pickle.loads(pickle.dumps(work))(task)
    assert (first.status, second.status) == ("ok", "ok")
    assert first.n_hits == second.n_hits
    assert second.result is None
    # The work of another run, before or at the same time, is not taken for this one's.
    later = replace(work, run="2")(task)
    assert later.status == "failed"
    assert "exists already" in later.error
    assert replace(work, run="2", resume=True)(task).status == "skipped"
    in_place = replace(work, settings=replace(settings, in_place=True))
    task = (str(files[1]), str(files[1]))
    assert [in_place(task).status, in_place(task).status] == ["ok", "ok"]


def listening(process):
    """Sockets that a process and its children listen on."""
    found = set()
    for each in [process, *process.children(recursive=True)]:
        with contextlib.suppress(psutil.Error):
            for connection in each.net_connections(kind="all"):
                # Of Unix sockets nothing tells which listen: those with a name can be reached.
                is_unix = connection.family == getattr(__import__("socket"), "AF_UNIX", None)
                if connection.status == psutil.CONN_LISTEN or (is_unix and connection.laddr):
                    found.add((connection.family, connection.type, str(connection.laddr)))
    return found


def test_no_socket_listens_during_a_run(files, out, settings):
    here = psutil.Process()
    before, during, n_children, over = listening(here), set(), [0], threading.Event()

    def look():
        while not over.is_set():
            during.update(listening(here))
            n_children.append(len(here.children()))
            time.sleep(0.02)

    watcher = threading.Thread(target=look)
    watcher.start()
    table = detect_files(files, out, settings=settings, jobs=2)
    over.set()
    watcher.join()
    assert set(table["status"]) == {"ok"}
    assert max(n_children) >= 2
    assert during <= before


CALLER = """
import json, multiprocessing, sys
from cosmiq_astro.batch import detect_files

def work(given):
    files, out, model = given
    table = detect_files(files, out, settings={"model": model, "T": 1}, jobs=2)
    return list(table["status"])

method, *given = json.loads(sys.argv[1])
if method == "none":
    print(json.dumps(work(given)))  # no guard
elif __name__ == "__main__":
    with multiprocessing.get_context(method).Pool(1) as pool:
        print(json.dumps(pool.apply(work, [given])))
"""


@pytest.mark.parametrize("method", ["none", "fork", "spawn"])
def test_callers_of_every_kind(files, out, model, tmp_path, method):
    """A script without a guard, and processes of a pool, which may have no children of its kind."""
    (tmp_path / "script.py").write_text(CALLER)
    given = json.dumps([method, list(map(str, files[:3])), str(out), model])
    done = subprocess.run(
        [sys.executable, "-W", "ignore", tmp_path / "script.py", given],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, timeout=600, check=True,
    )  # fmt: skip
    assert json.loads(done.stdout) == ["ok"] * 3


def test_a_worker_over_its_memory_limit_fails_alone(files, out, model, tmp_path):
    resource = pytest.importorskip("resource")
    if not hasattr(resource, "RLIMIT_AS"):
        pytest.skip("needs RLIMIT_AS")
    big = files[0].parent / "big_flc.fits"
    with fits.open(files[0]) as hdus:
        hdus["SCI"].data = np.zeros((16000, 16000), np.float32)
        hdus.writeto(big)
    limit = 6 * 2**30  # address space: a process with PyTorch alone takes some of it
    code = (
        f"import resource, sys; resource.setrlimit(resource.RLIMIT_AS, ({limit}, {limit}))\n"
        "from cosmiq_astro.cli.main import main; sys.exit(main())"
    )
    given = [*map(str, files[:3]), str(big), "--model", model, "-T", "1", "-o", f"{out}/"]
    done = subprocess.run(
        [sys.executable, "-c", code, "detect", *given, "--jobs", "2", "--tile-size", "12000"],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert f"{big}: " in done.stderr
    assert "memory" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(list(out.iterdir())) == 3


def test_two_runs_with_the_same_outputs(files, out, model, tmp_path):
    """Each output is whole, and is of one run: of the other, the file has failed."""
    tables = [tmp_path / "1.ecsv", tmp_path / "2.ecsv"]
    runs = [
        start(files, out, model, "--jobs", "2", "-q", "--table", str(table)) for table in tables
    ]
    said = [run.communicate(timeout=600)[1] for run in runs]
    assert sum(text.count("exists already; give --overwrite") for text in said) == len(files), said
    first, second = map(QTable.read, tables)
    for one, other in zip(first, second, strict=True):
        assert {one["status"], other["status"]} == {"ok", "failed"}
        assert one["file_in"] == other["file_in"]
    written = {}
    for path in out.iterdir():
        assert_whole(path)
        written.setdefault(fits.getheader(path, "SCI")["CRVIRUN"], set()).add(str(path))
    by_table = [set(table["file_out"][table["status"] == "ok"]) for table in (first, second)]
    assert sorted(written.values(), key=min) == sorted(filter(None, by_table), key=min)


def start(files, out, model, *options):
    """Start a batch on the command line, in a process group of its own."""
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
        if "serve()" in " ".join(child.cmdline()):
            child.kill()
            break
    stdout, stderr = process.communicate(timeout=600)
    assert process.returncode == 0, stderr
    # A line of counts and a verdict for each.
    assert len(stdout.splitlines()) == 2 * len(files)
    outcomes = QTable.read(table)
    assert list(outcomes["file_in"]) == [str(file) for file in files]
    assert set(outcomes["status"]) == {"ok"}
    # A killed process may leave a hidden directory.
    assert len(list(out.glob("*.fits"))) == len(files)
    for path in out.glob("*.fits"):
        assert_whole(path)


def test_ctrl_c_leaves_whole_files_and_the_rest_is_done_later(files, out, model, tmp_path):
    table = tmp_path / "t.ecsv"
    process = start(files, out, model, "--jobs", "2", "--table", str(table))
    wait_for_output(process, out)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    _, stderr = process.communicate(timeout=600)
    done = list(out.iterdir())
    if len(done) < len(files):
        assert process.returncode == 130, stderr
        assert stderr == "cosmiq-astro: interrupted\n"
    for path in done:
        assert path.name.startswith("j")
        assert_whole(path)
    assert set(QTable.read(table)["status"]) <= {"ok"}
    process = start(files, out, model, "--jobs", "2", "--resume", "--table", str(table))
    _, stderr = process.communicate(timeout=600)
    assert process.returncode == 0, stderr
    status = list(QTable.read(table)["status"])
    assert status.count("skipped") == len(done)
    assert status.count("ok") == len(files) - len(done)


def test_nobody_reads_the_output(files, out, model):
    """``| head -1`` is not the end of the work."""
    process = start(files[:4], out, model)
    process.stdout.readline()
    process.stdout.close()
    stderr = process.stderr.read()
    process.stderr.close()
    assert process.wait(600) == 0
    assert len(list(out.iterdir())) == 4
    assert stderr == "warning: nobody reads the output any more; the work goes on without it\n"


ODD = ["new\nline.fits", "esc\x1b[2J\x07.fits", os.fsdecode(b"latin-\xe9.fits"), "caf\u00e9.fits"]


@pytest.mark.parametrize("jobs", ["1", "2"])
@pytest.mark.parametrize("options", [[], ["--json"], ["--dry-run"]])
def test_names_of_every_kind(files, model, tmp_path, jobs, options):
    folder = tmp_path / "odd"
    folder.mkdir()
    for name in ODD:
        shutil.copy(files[0], folder / name)
    table = tmp_path / "t.ecsv"
    names = [folder / name for name in ODD]
    process = start(names, tmp_path / "o", model, "--jobs", jobs, "--table", str(table), *options)
    stdout, stderr = process.communicate(timeout=600)
    assert process.returncode == 0, stderr
    for char in "\x1b\x07":
        assert char not in stdout + stderr
    if "--dry-run" in options:
        assert stdout.count("ACS/WFC -> ") == len(ODD)
        return
    # A line of counts and a verdict for each, which are one in JSON.
    assert len(stdout.splitlines()) == len(ODD) * (1 if "--json" in options else 2)
    assert len(list((tmp_path / "o").iterdir())) == len(ODD)
    written = QTable.read(table)
    assert list(written["status"]) == ["ok"] * len(ODD)
    assert any(r"latin-\udce9.fits" in name for name in written["file_in"])
    assert any(r"new\nline.fits" in name for name in written["file_in"])


def test_names_of_every_kind_in_errors(files, model, tmp_path):
    bad = tmp_path / "a\n\x1b]0;b.fits"
    bad.write_text("no FITS")
    process = start([bad, files[0]], tmp_path / "o", model)
    _, stderr = process.communicate(timeout=600)
    assert "\x1b" not in stderr
    assert stderr.splitlines()[0].startswith("cosmiq-astro: error: ")
    assert len(stderr.splitlines()) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"jobs": 0}, "jobs must be a positive integer, got 0"),
        ({"jobs": True}, "jobs must be a positive integer, got True"),
        ({"jobs": 2, "scheduler": "tls://a:1"}, "give jobs or scheduler, not both"),
        ({"settings": {"modle": "a"}}, r"settings has \['modle'\], which detect_file does not"),
        ({"settings": {"in_place": True}, "outputs": "a"}, "set in_place or give outputs"),
        ({"scheduler": "tcp://a:1"}, "whoever reaches a scheduler without TLS can run code"),
    ],
)
def test_bad_settings(options, message, model):
    settings = {"model": model} | options.pop("settings", {})
    with pytest.raises(ValueError, match=message):
        detect_files([], settings=settings, **options)


def test_without_dask(files, out, settings, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ImportError, match="a scheduler needs dask: pip install"):
        detect_files(files, out, settings=settings, scheduler="tls://a:1")
    # One machine needs none.
    assert set(detect_files(files[:2], out, settings=settings, jobs=2)["status"]) == {"ok"}


def test_names_hold_in_any_directory(files, settings, tmp_path, monkeypatch):
    monkeypatch.chdir(files[0].parent)
    settings = DetectSettings(**settings | {"model": load_model(settings["model"])})
    work = _Work(settings, resume=False, run="1")
    monkeypatch.chdir(tmp_path)
    outcome = work((files[0].name, "new/a.fits"))
    assert outcome.status == "ok", outcome.error
    assert (outcome.file_in, outcome.file_out) == (files[0].name, "new/a.fits")
    assert (outcome.result.file_in, outcome.result.file_out) == (
        Path(files[0].name),
        Path("new/a.fits"),
    )
    assert (files[0].parent / "new" / "a.fits").is_file()


@pytest.fixture
def certificate(tmp_path):
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=test", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    return {"tls_ca_file": str(certificate), "require_encryption": True} | {
        f"tls_{who}_{what}": str(path)
        for who in ("scheduler", "worker", "client")
        for what, path in (("key", key), ("cert", certificate))
    }


@pytest.mark.filterwarnings("ignore")
def test_a_cluster_with_certificates(files, out, settings, certificate, monkeypatch):
    distributed = pytest.importorskip("distributed")
    security = distributed.Security(**certificate)
    monkeypatch.chdir(files[0].parent)
    names = [file.name for file in files[:3]]
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, protocol="tls", security=security,
        dashboard_address=None,
    ) as cluster:  # fmt: skip
        table = detect_files(
            names, out, settings=settings, scheduler=cluster.scheduler_address, security=security
        )
    assert cluster.scheduler_address.startswith("tls://")
    assert list(table["status"]) == ["ok"] * 3, table["error"]
    assert list(table["file_in"]) == names
