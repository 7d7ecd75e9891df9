"""
What goes wrong in a long run, on purpose: nothing is lost, doubled or half written.

python benchmarks/batch_faults.py [--files N] [--kills N] [--out DIR]

Small files, and each of these in turn: workers killed in a run over thousands of files; the whole
run, a training, a labelling and an evaluation killed at random moments; two runs with the same
outputs; a worker over its memory limit; callers that were started by fork, by spawn, or have no
guard. After each, every file that is there is read: a FITS file with its checksums, a table, a
picture, a model. Inputs must be as they were, and a run that is given again must finish the work.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import psutil
from astropy.io import fits
from astropy.table import QTable, Table

import cosmiq_astro as ca
from cosmiq_astro.batch import detect_files
from cosmiq_astro.hst.provenance import is_complete

MODEL = "acs-wfc-unet"
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}

# Loads once, and forks a child for each command line read, which is killed after the seconds that
# come with it, counted from when there is anything in a folder, if one is given.
KILLER = """
import json, os, signal, sys, time
import cosmiq_astro.training, cosmiq_astro.calibration.report, cosmiq_astro.batch
from cosmiq_astro.cli.main import main
def run(line, moment, folder):
    begin = time.perf_counter()
    pid = os.fork()
    if pid == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(1, 2)
        os._exit(main(line))
    ended, status = 0, 0
    while not ended:
        time.sleep(0.002)
        ended, status = os.waitpid(pid, os.WNOHANG)
        if folder is not None and any(files for _, _, files in os.walk(folder)):
            folder, moment = None, moment + time.perf_counter() - begin
        is_over = moment is not None and time.perf_counter() - begin > moment
        if not ended and folder is None and is_over:
            os.kill(pid, signal.SIGKILL)
            ended, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status), time.perf_counter() - begin
print(json.dumps(None), flush=True)
for line in sys.stdin:
    print(json.dumps(run(*json.loads(line))), flush=True)
"""

CALLER = """
import json, multiprocessing, sys
from cosmiq_astro.batch import detect_files
def work(given):
    files, out, model = given
    return list(detect_files(files, out, settings={"model": model}, jobs=2)["status"])
method, *given = json.loads(sys.argv[1])
if method == "none":
    print(json.dumps(work(given)))
elif __name__ == "__main__":
    with multiprocessing.get_context(method).Pool(1) as pool:
        print(json.dumps(pool.apply(work, [given])))
"""


class Killer:
    """A process that runs command lines, and kills them."""

    def __init__(self):
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", KILLER],
            env=ENVIRONMENT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.process.stdout.readline()

    def __call__(self, line, moment=None, folder=None):
        """Return the exit status of a command (-9 if it was killed), and how long it ran."""
        self.process.stdin.write(json.dumps([list(map(str, line)), moment, folder]) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


def write_frames(folder, n, shape=(32, 32)):
    """Write n exposures of one sky, with hits of their own."""
    folder.mkdir()
    primary = fits.PrimaryHDU()
    primary.header.update(INSTRUME="ACS", DETECTOR="WFC", CCDAMP="C", READNSEC=4.0, EXPTIME=500.0)
    files = [folder / f"j{i:05}_flc.fits" for i in range(n)]
    for seed, file in enumerate(files):
        rng = np.random.default_rng(seed)
        truth = rng.random(shape) < 0.02
        image = (rng.normal(50, 8, shape) + 900 * truth).astype(np.float32)
        sci = fits.ImageHDU(image, fits.Header({"BUNIT": "ELECTRONS"}), name="SCI", ver=1)
        known = fits.ImageHDU(truth.astype(np.uint8), name="TRUTH", ver=1)
        fits.HDUList([primary, sci, known]).writeto(file)
    return files


def write_pairs(folder, n=8, side=48):
    """Write exposures with their masks, for a training."""
    folder.mkdir()
    for i in range(n):
        rng = np.random.default_rng(i)
        mask = rng.random((side, side)) < 0.03
        np.save(folder / f"{i}.npy", rng.normal(50, 8, mask.shape) + 500 * mask)
        np.save(folder / f"{i}_mask.npy", mask)


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def is_damaged(path):
    """Tell whether a file cannot be read to its end."""
    try:
        if path.suffix == ".fits":
            with fits.open(path, checksum=True) as hdus:
                for hdu in hdus:
                    _ = hdu.data
            return "CHECKSUM" in hdus[0].header and not is_complete(path)
        if path.suffix == ".ecsv":
            Table.read(path)
        if path.suffix == ".png":
            from PIL import Image

            with Image.open(path) as image:
                image.load()
        if path.name == "config.json":
            ca.load_model(path.parent)
        if path.suffix == ".html" and not path.read_text().rstrip().endswith("</html>"):
            return True
    except Exception as error:
        print(f"{path}: {error!r}", file=sys.stderr)
        return True
    return False


def visible(folder):
    """Files that a person sees: not what a killed process left in a hidden directory."""
    if not folder.exists():
        return []
    files = (path for path in folder.rglob("*") if path.is_file())
    return [
        p for p in files if not any(part.startswith(".") for part in p.relative_to(folder).parts)
    ]


def row(what, n_runs, start, *, damaged, lost, remark=""):
    found = {
        "what": what,
        "runs": n_runs,
        "damaged": damaged,
        "lost": lost,
        "seconds": round(time.perf_counter() - start),
        "remark": remark,
    }
    print(found, flush=True)
    return found


def killed_workers(folder, n_files, interval):
    """Kill a worker every few seconds in a run over many files."""
    files, start, killed, over = write_frames(folder / "in", n_files), 0, [], threading.Event()

    def kill():
        while not over.wait(interval):
            children = psutil.Process().children()
            workers = [c for c in children if "serve()" in " ".join(c.cmdline())]
            if workers:
                random.choice(workers).kill()
                killed.append(1)

    killer, memory = threading.Thread(target=kill), psutil.Process().memory_info
    before, start = memory().rss, time.perf_counter()
    killer.start()
    try:
        settings = {"model": MODEL, "device": "cpu"}
        table = detect_files(files, folder / "out", settings=settings, jobs=2)
    finally:
        over.set()
        killer.join()
    outputs = list((folder / "out").glob("*.fits"))
    return row(
        f"{n_files} files, workers killed",
        len(killed),
        start,
        damaged=sum(not is_complete(path) for path in outputs),
        lost=n_files - min(len(outputs), int((table["status"] == "ok").sum())),
        remark=f"supervisor: {(memory().rss - before) / 2**20:+.0f} MiB",
    )


def killed_commands(folder, name, killer, inputs, line, out, n_kills):
    """Kill a command at random moments, and let it finish at the end."""
    before, rng = contents(inputs), random.Random(name)
    _, taken = killer(line)
    expected = {path.name for path in visible(out)}
    if not expected:
        raise SystemExit(f"{name} writes nothing, even if it is left alone")
    start, damaged, whole, cut = time.perf_counter(), 0, 0, 0
    for number in range(n_kills):
        shutil.rmtree(out, ignore_errors=True)
        if number % 2:
            code, _ = killer(line, rng.uniform(0.02, 1.1) * taken)
        else:  # while it writes
            code, _ = killer(line, rng.uniform(0, 0.1), str(out))
        cut += code == -signal.SIGKILL
        found = visible(out)
        damaged += any(map(is_damaged, found))
        whole += bool(found)
    lost = contents(inputs) != before
    shutil.rmtree(out, ignore_errors=True)
    code, _ = killer(line)
    lost += code not in (0, 1) or {path.name for path in visible(out)} != expected
    remark = f"{cut} killed before their end, {whole} left files"
    return row(f"{name} killed", n_kills, start, damaged=damaged, lost=int(lost), remark=remark)


def killed_runs(folder, n_kills, n_files=24):
    """Kill whole runs with their workers' supervisor, and give them again with --resume."""
    files = write_frames(folder / "in", n_files)
    before, rng, start = contents(folder / "in"), random.Random("run"), time.perf_counter()
    damaged = lost = orphans = 0
    for number in range(n_kills):
        out = folder / f"out{number}"
        line = [sys.executable, "-W", "ignore", "-m", "cosmiq_astro.cli.main", "detect"]
        line += [*map(str, files), "-o", f"{out}/", "--model", MODEL, "--jobs", "2", "-q"]
        line += ["--resume", "--table", str(folder / f"{number}.ecsv")]
        process = subprocess.Popen(line, env=ENVIRONMENT)
        while process.poll() is None and len(visible(out)) < rng.randrange(1, n_files):
            time.sleep(0.02)
        workers = psutil.Process(process.pid).children() if process.poll() is None else []
        process.kill()
        process.wait()
        _, alive = psutil.wait_procs(workers, timeout=30)
        orphans += len(alive)
        damaged += any(map(is_damaged, visible(out)))
        code = subprocess.run(line, env=ENVIRONMENT, check=False).returncode
        table = QTable.read(folder / f"{number}.ecsv")
        done = np.isin(table["status"], ["ok", "skipped"])
        lost += code != 0 or len(visible(out)) != n_files or done.sum() != n_files
    lost += contents(folder / "in") != before
    remark = f"{orphans} workers outlived their supervisor"
    return row("batch killed, resumed", n_kills, start, damaged=damaged, lost=lost, remark=remark)


def two_writers(folder, n_runs, n_files=24):
    """Start two runs with the same outputs: each output is of one of them, and both say so."""
    files, start = write_frames(folder / "in", n_files), time.perf_counter()
    damaged = lost = 0
    for number in range(n_runs):
        out, tables = folder / f"out{number}", [folder / f"{number}{k}.ecsv" for k in "ab"]
        line = [sys.executable, "-W", "ignore", "-m", "cosmiq_astro.cli.main", "detect"]
        line += [*map(str, files), "-o", f"{out}/", "--model", MODEL, "--jobs", "2", "-q"]
        runs = [
            subprocess.Popen([*line, "--table", table], env=ENVIRONMENT, stderr=subprocess.DEVNULL)
            for table in tables
        ]
        for run in runs:
            run.wait()
        damaged += any(map(is_damaged, visible(out)))
        told = np.array([QTable.read(table)["status"] == "ok" for table in tables])
        owners = {}
        for file, first in zip(files, told[0], strict=True):
            header = fits.getheader(out / f"{file.stem}_crvi.fits", "SCI")
            owners.setdefault(bool(first), set()).add(header["CRVIRUN"])
        # Each file is 'ok' in one of the tables, and bears the name of that run.
        lost += not (told.sum(axis=0) == 1).all() or any(len(each) > 1 for each in owners.values())
    return row("two runs, the same outputs", n_runs, start, damaged=damaged, lost=lost)


def over_memory(folder):
    """Give two workers a limit of address space, and one file that needs more."""
    files, start = write_frames(folder / "in", 3), time.perf_counter()
    big = folder / "in" / "big_flc.fits"
    with fits.open(files[0]) as hdus:
        hdus["SCI"].data = np.zeros((16000, 16000), np.float32)
        del hdus["TRUTH"]
        hdus.writeto(big)
    limit = 6 * 2**30
    code = (
        f"import resource, sys; resource.setrlimit(resource.RLIMIT_AS, ({limit}, {limit}))\n"
        "from cosmiq_astro.cli.main import main; sys.exit(main())"
    )
    line = ["detect", *map(str, files), str(big), "--model", MODEL, "-o", f"{folder}/out/"]
    line += ["--jobs", "2", "--tile-size", "12000", "--table", f"{folder}/t.ecsv"]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, *line],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    table = QTable.read(folder / "t.ecsv")
    failed = table[table["status"] == "failed"]
    as_told = list(failed["file_in"]) == [str(big)] and "memory" in failed["error"][0].lower()
    outputs = visible(folder / "out")
    return row(
        "a worker over its memory limit",
        1,
        start,
        damaged=sum(map(is_damaged, outputs)),
        lost=3 - len(outputs) + (not as_told) + ("Traceback" in done.stderr),
        remark="one file failed, three done",
    )


def callers(folder):
    """Run from a script without a guard, and in pools made by fork and by spawn."""
    files, start = write_frames(folder / "in", 4), time.perf_counter()
    (folder / "script.py").write_text(CALLER)
    lost, methods = 0, ("none", "fork", "spawn")
    for method in methods:
        given = json.dumps([method, list(map(str, files)), str(folder / method), MODEL])
        done = subprocess.run(
            [sys.executable, "-W", "ignore", folder / "script.py", given],
            env=ENVIRONMENT,
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        lost += done.stdout.strip() != json.dumps(["ok"] * len(files))
    damaged = sum(is_damaged(path) for method in methods for path in visible(folder / method))
    what = "callers: no guard, fork, spawn"
    return row(what, len(methods), start, damaged=damaged, lost=lost)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--files", type=int, default=5000)
    parser.add_argument("--kills", type=int, default=30, help="of each command")
    parser.add_argument("--interval", type=float, default=20.0, help="seconds between two workers")
    parser.add_argument("--out", type=Path, help="directory for the table")
    arguments = parser.parse_args()
    toy = ["--hidden", "2", "--epochs", "2", "--patch-size", "32", "--batch-size", "4", "-q"]
    toy += ["--readnoise", "3", "--device", "cpu", "--init", "none", "--force"]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        for name in ("train", "label", "evaluate", "runs", "writers", "memory", "callers", "many"):
            (folder / name).mkdir()
        killer, n_kills = Killer(), arguments.kills
        at = folder / "train"
        write_pairs(at / "in")
        line = ["train", at / "in", "-o", at / "out", "--visits", "frame", *toy]
        rows.append(killed_commands(at, "train", killer, at / "in", line, at / "out", n_kills))
        at = folder / "label"
        files = write_frames(at / "in", 4, shape=(128, 128))
        line = ["label", *files, "-o", at / "out", "--readnoise", "4", "--plot", "--force", "-q"]
        rows.append(killed_commands(at, "label", killer, at / "in", line, at / "out", n_kills))
        at = folder / "evaluate"
        files = write_frames(at / "in", 4, shape=(128, 128))
        line = ["evaluate", *files, "-o", at / "out", "--model", MODEL, "--device", "cpu", "-q"]
        rows.append(killed_commands(at, "evaluate", killer, at / "in", line, at / "out", n_kills))
        rows.append(killed_runs(folder / "runs", max(3, n_kills // 3)))
        rows.append(two_writers(folder / "writers", max(3, n_kills // 10)))
        rows.append(over_memory(folder / "memory"))
        rows.append(callers(folder / "callers"))
        rows.append(killed_workers(folder / "many", arguments.files, arguments.interval))
    if arguments.out is not None:
        Table(rows).write(arguments.out / "batch_faults.ecsv", overwrite=True)
    if any(found["damaged"] or found["lost"] for found in rows):
        raise SystemExit("something was lost")


if __name__ == "__main__":
    main()
