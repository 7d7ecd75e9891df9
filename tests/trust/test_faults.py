"""The machine fails at the worst moment: files are whole or absent, and the input is as it was."""

import errno
import glob
import hashlib
import json
import locale
import os
import random
import shutil
import subprocess
import sys
import threading
import time
import types

import numpy as np
import pytest
from astropy.io import fits

from cosmiq_astro.cli.main import main
from cosmiq_astro.hst import detect_file, read_chip
from cosmiq_astro.models.model import load_model, save_model

# COSMIQ_TEST_KILLS=50 for a release.
N_KILLS = int(os.environ.get("COSMIQ_TEST_KILLS", "10"))

SHAPE = (60, 80)

# Loads once, which takes seconds, and forks children that write, which takes milliseconds. Of each
# line read, a kind of work; how often each child ends it at least, however slow the machine; when
# to kill them after that, in units of the time that the work takes; and how many children.
_PROGRAM = """
import json, os, signal, sys, time
from cosmiq_astro.hst import detect_file
from cosmiq_astro.models.model import load_model, save_model
source, target, folder, bundle = json.loads(sys.argv[1])
model = load_model(folder)
settings = dict(model=model, T=1, device="cpu", overwrite=True, seed=0)
works = {
    "copy": lambda: detect_file(source, target, **settings),
    "in place": lambda: detect_file(source, in_place=True, **settings),
    "model": lambda: save_model(model, bundle, card="x" * 100000, overwrite=True),
}
taken = {}
for kind, work in works.items():
    work()
    begin = time.perf_counter()
    work()
    taken[kind] = time.perf_counter() - begin
def child(work):
    reader, writer = os.pipe()
    pid = os.fork()
    while pid == 0:
        work()
        os.write(writer, b".")
    os.close(writer)
    return pid, reader
print("ready", flush=True)
for line in sys.stdin:
    kind, times, moment, n = json.loads(line)
    children = [child(works[kind]) for _ in range(n)]
    for _, reader in children:
        for _ in range(times):
            os.read(reader, 1)
    time.sleep(moment * taken[kind])
    for pid, reader in children:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(reader)
    print("killed", flush=True)
"""


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def killed(tmp_path_factory, model_folder):
    """Return a function that lets processes write, and kills them; and what they write on."""
    if not hasattr(os, "fork"):
        pytest.skip("needs fork and SIGKILL")
    folder = tmp_path_factory.mktemp("killed")
    at = types.SimpleNamespace(
        source=folder / "j_flc.fits", target=folder / "out.fits", bundle=folder / "bundle"
    )
    write_frame(at.source)
    at.bare = at.source.read_bytes()
    arguments = [str(at.source), str(at.target), str(model_folder), str(at.bundle)]
    process = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, json.dumps(arguments)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def run(kind, times, moment, n=1):
        reset(at)
        process.stdin.write(json.dumps([kind, times, moment, n]) + "\n")
        process.stdin.flush()
        assert process.stdout.readline() == "killed\n"

    at.run = run
    assert process.stdout.readline() == "ready\n"
    yield at
    process.stdin.close()
    assert process.wait(60) == 0
    process.stdout.close()


def reset(at):
    """Put everything back to what it was before anything was written."""
    at.source.write_bytes(at.bare)
    at.target.unlink(missing_ok=True)
    shutil.rmtree(at.bundle, ignore_errors=True)
    for path in at.source.parent.glob(".cosmiq_astro-*"):
        shutil.rmtree(path)


def assert_whole(path):
    """Every HDU is there, and its checksum is right: a wrong one would warn, which is an error."""
    with fits.open(path, checksum=True) as hdus:
        assert hdus[0].header["NEXTEND"] == len(hdus) - 1
        for hdu in hdus:
            assert hdu.data is None or hdu.data.shape == SHAPE
        assert {"SCI", "DQ", "CRVIMASK", "CRPROB", "CRSTD", "CRENT", "CRMI"} <= {
            hdu.name for hdu in hdus
        }


def write_frame(path):
    primary = fits.PrimaryHDU()
    primary.header.update(INSTRUME="ACS", DETECTOR="WFC", CCDAMP="C", READNSEC=4.0, EXPTIME=500.0)
    primary.header["NEXTEND"] = 2
    image = np.random.default_rng(1).normal(50, 8, SHAPE).astype(np.float32)
    sci = fits.ImageHDU(image, fits.Header({"BUNIT": "ELECTRONS"}), name="SCI", ver=1)
    dq = fits.ImageHDU(np.zeros(SHAPE, dtype=np.int16), name="DQ", ver=1)
    fits.HDUList([primary, sci, dq]).writeto(path)


@pytest.fixture
def source(tmp_path):
    write_frame(tmp_path / "j_flc.fits")
    return tmp_path / "j_flc.fits"


@pytest.mark.parametrize("kind", ["copy", "in place", "model"])
def test_killed_at_any_moment(killed, kind):
    moments = random.Random(f"1 {kind}")
    n_whole = 0
    # Half of them have written something before, on a busy machine too.
    for n_done in [*[0] * (N_KILLS // 2), *[1] * (N_KILLS // 2)]:
        killed.run(kind, n_done, moments.uniform(0.1, 2))
        untouched = killed.source.read_bytes() == killed.bare
        if kind == "in place" and not untouched:
            assert_whole(killed.source)
            n_whole += 1
        else:
            assert untouched
        if kind == "copy" and killed.target.exists():
            assert_whole(killed.target)
            n_whole += 1
        if kind == "model" and (killed.bundle / "config.json").exists():
            # Its digest would refuse the weights of another moment.
            load_model(killed.bundle)
            n_whole += 1
        # A temporary file may be left, under a name that the shell's *.fits does not give.
        seen = glob.glob(str(killed.source.parent / "*.fits"))
        assert set(seen) <= {str(killed.source), str(killed.target)}
    assert n_whole >= N_KILLS // 2


def test_two_processes_write_one_output(killed):
    """Whoever is last wins, and what a reader sees is always whole."""
    seen = set()
    # A reader that gets no turn sees nothing, and tries again.
    for _ in range(20):
        running = threading.Thread(target=killed.run, args=("copy", 6, 0, 2))
        running.start()
        while running.is_alive():
            try:
                # An open file stays what it is when another takes its name.
                assert_whole(killed.target)
                seen.add(killed.target.stat().st_ino)
            except FileNotFoundError:
                time.sleep(0.01)
        running.join()
        assert_whole(killed.target)
        if len(seen) >= 2:
            return
    pytest.fail("the reader never saw two files")


@pytest.fixture
def full_disk(tmp_path):
    """A directory of 600 kB: a file system of its own where one can be mounted."""
    folder = tmp_path / "full"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        pytest.skip("needs the right to mount a tmpfs")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_is_full(full_disk, source, model_folder, capsys):
    before = digest(source)
    out = full_disk / "out.fits"
    out.write_bytes(b"what was there before")
    arguments = ["detect", str(source), "-o", str(out), "--model", str(model_folder), "-T", "1"]
    (full_disk / "ballast").write_bytes(bytes(590_000))
    assert main([*arguments, "--overwrite"]) == 1
    said = capsys.readouterr().err
    assert "No space left on device" in said or "Not enough space on disk" in said
    assert "Traceback" not in said
    assert out.read_bytes() == b"what was there before"
    assert sorted(os.listdir(full_disk)) == ["ballast", "out.fits"]
    assert digest(source) == before


@pytest.mark.parametrize("what", ["write", "fsync", "replace"])
@pytest.mark.parametrize("in_place", [False, True])
def test_no_space_left_at_any_step(source, tiny_vi, tmp_path, monkeypatch, what, in_place):
    before = digest(source)

    def fail(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    name = {"write": "astropy.io.fits.hdu.base._BaseHDU._writeto", "fsync": "os.fsync"}
    monkeypatch.setattr(name.get(what, "pathlib.Path.replace"), fail)
    if what == "replace":
        monkeypatch.setattr("os.link", fail)
    target = {"in_place": True} if in_place else {"file_out": tmp_path / "out.fits"}
    with pytest.raises(OSError, match="No space left on device"):
        detect_file(source, model=tiny_vi, T=1, device="cpu", **target)
    monkeypatch.undo()
    assert os.listdir(tmp_path) == [source.name]
    assert digest(source) == before


def test_no_space_left_for_a_model(tiny_vi, tmp_path, monkeypatch):
    folder = save_model(tiny_vi, tmp_path / "m", card="old")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def fail(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(type(folder), "write_bytes", fail)
    with pytest.raises(OSError, match="No space left"):
        save_model(tiny_vi, folder, card="new", overwrite=True)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_the_second_is_refused_not_mixed_in(source, tiny_vi, tmp_path, monkeypatch):
    """Another process writes the output between the plan and the end."""
    target = tmp_path / "out.fits"
    fsync = os.fsync

    def be_overtaken(descriptor):
        target.write_bytes(b"of another process")
        fsync(descriptor)

    monkeypatch.setattr("os.fsync", be_overtaken)
    with pytest.raises(FileExistsError, match="exists already"):
        detect_file(source, target, model=tiny_vi, T=1, device="cpu")
    assert target.read_bytes() == b"of another process"
    assert sorted(os.listdir(tmp_path)) == sorted([source.name, "out.fits"])


def pixels(file):
    ccd = read_chip(file)
    return b"".join(
        getattr(ccd, name).tobytes() for name in ("cr_mask", "cr_probability", "cr_entropy")
    )


def comma_locale():
    """Return the name of a locale that writes 0,5; None if none is installed."""
    for name in ("de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8", "fr_FR.utf8", "de_DE", "nl_NL.UTF-8"):
        try:
            locale.setlocale(locale.LC_ALL, name)
        except locale.Error:
            continue
        if locale.localeconv()["decimal_point"] == ",":
            return name
    return None


def test_locale_changes_nothing(source, model_folder, tiny_vi, tmp_path):
    settings = {"T": 2, "seed": 1, "device": "cpu", "threshold": 0.25}
    expected = detect_file(source, tmp_path / "a.fits", model=tiny_vi, **settings).file_out
    saved = locale.setlocale(locale.LC_ALL)
    try:
        names = [name for name in ("C", comma_locale()) if name]
        for name in names:
            locale.setlocale(locale.LC_ALL, name)
            model = load_model(model_folder)
            out = tmp_path / "b.fits"
            detect_file(source, out, model=model, overwrite=True, **settings)
            assert pixels(out) == pixels(expected)
            assert fits.getheader(out, "SCI")["CRVITHR"] == 0.25
    finally:
        locale.setlocale(locale.LC_ALL, saved)


def test_ascii_locale_on_the_command_line(make_hst, model_folder, tmp_path):
    """In the C locale without UTF-8 mode, names and messages still come out."""
    file = make_hst("j\N{LATIN SMALL LETTER E WITH ACUTE}_flt.fits")
    environment = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    environment["OMP_NUM_THREADS"] = "1"
    code = "import sys; from cosmiq_astro.cli.main import main; sys.exit(main())"
    command = [sys.executable, "-c", code, "detect", str(file), "--model", str(model_folder)]
    done = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert b"Traceback" not in done.stderr
    assert done.returncode == 0
    assert len(list(tmp_path.glob("*_crvi.fits"))) == 1


@pytest.mark.parametrize("shift", [-3e9, -1e9, 1e9, 3e9])
def test_clock_changes_nothing(source, tiny_vi, tmp_path, monkeypatch, shift):
    settings = {"model": tiny_vi, "T": 2, "seed": 1, "device": "cpu"}
    expected = detect_file(source, tmp_path / "a.fits", **settings).file_out
    now, ticks = time.time, time.perf_counter
    # The wall clock is years off, and the other one runs backwards.
    monkeypatch.setattr("time.time", lambda: now() + shift)
    monkeypatch.setattr("time.perf_counter", lambda: -ticks())
    out = detect_file(source, tmp_path / "b.fits", **settings).file_out
    monkeypatch.undo()
    assert pixels(out) == pixels(expected)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("[enforce fail at alloc_cpu.cpp:121] . can't allocate memory: you tried to"),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 40 bytes."),
        RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("place", ["detector.Sampler.predict", "hst.settings.load_model"])
def test_out_of_memory_comes_with_advice(
    make_hst, model_folder, tmp_path, monkeypatch, capsys, error, place
):
    def fail(*args, **kwargs):
        raise error

    file = make_hst()
    arguments = ["detect", str(file), "--model", str(model_folder)]
    monkeypatch.setattr(f"cosmiq_astro.{place}", fail)
    assert main(arguments) == 1
    said = capsys.readouterr().err
    assert "memory ran out" in said
    assert "lower --tile-size" in said
    assert "Traceback" not in said
    assert len(said.splitlines()) == 1
    assert os.listdir(tmp_path) == [file.name]


def test_memory_that_is_truly_out(make_hst, model_folder, tmp_path):
    """Address space for the program and little more: a sentence, and no file."""
    resource = pytest.importorskip("resource")
    file = make_hst(shape=(2000, 2000))
    code = (
        "import resource, sys, numpy as np, cosmiq_astro as ca\n"
        "from cosmiq_astro.cli import _detect_files\n"
        "from cosmiq_astro.cli.main import main\n"
        "ca.cosmicray_vi(np.ones((9, 9)), T=1, model=sys.argv[sys.argv.index('--model') + 1])\n"
        "pages = int(open('/proc/self/statm').read().split()[0])\n"
        "limit = pages * resource.getpagesize() + 100 * 2**20\n"
        "resource.setrlimit(resource.RLIMIT_AS, (limit, limit))\n"
        "sys.exit(main())"
    )
    if not os.path.exists("/proc/self/statm") or not hasattr(resource, "RLIMIT_AS"):
        pytest.skip("needs /proc and RLIMIT_AS")
    command = [sys.executable, "-c", code, "detect", str(file), "--model", str(model_folder)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, "--tile-size", "4096"], env=environment, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "memory ran out" in done.stderr
    assert "Traceback" not in done.stderr
    assert os.listdir(tmp_path) == [file.name]
    assert np.isfinite(read_chip(file).data).all()
