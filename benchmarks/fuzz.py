"""
Damaged FITS files and model folders, by the thousand: what comes of each.

python benchmarks/fuzz.py [--n 2000] [--seed 0] [--kind files|models|both] [--out DIR] [--show]

Input number i of a seed is always the same. Each is read, searched with a tiny model and written,
under a limit of processor time and of address space, in a process of its own that goes on to the
next one; another takes over where one dies. What is allowed: an output that is whole and can be
read, or an OSError, ValueError or MemoryError that leaves no file behind. Anything else is listed
with its number, and makes the exit code 1; a header that says 'T' where a number belongs must not
end in "'>' not supported between instances of 'str' and 'int'".
"""

import argparse
import gzip
import hashlib
import json
import multiprocessing
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.table import Table

ALLOWED = (
    "OSError", "FileNotFoundError", "FileExistsError", "BadGzipFile", "ValueError", "MemoryError",
)  # fmt: skip
SECONDS = 10  # of processor time, for one input
HUNG = 300  # seconds without a word from the worker
GIBIBYTES = 3
SHAPE = (24, 32)
# Values that a card, or a key of a configuration, must not be trusted to have.
CARD_VALUES = (
    "'T       '", "T", "F", "-1", "0", "1", "2", "3", "8", "99999", "2147483648", "-32", "1E400",
    "1E-300", "-1.5", "''", "'ELECTRONS/S'", "'Jy'", "'(((('", "", "'RICE_1  '", "'GZIP_2  '",
    "'ACS     '", "'WFPC2   '", "'STIS    '", "(1, 2)", "'1PB(9)  '", "'SCI     '", "NaN", "'",
)  # fmt: skip
CONFIG_VALUES = (
    None, True, -1, 0, 1, 2, 7, 10**6, 2**70, 1e-300, 1e300, float("nan"), float("inf"), "", "*",
    "tiny", [], ["*"], ["asinh"], [0, 1], {}, {"method": "beta"}, [[[]]],
)  # fmt: skip


class TooSlow(BaseException):
    pass


def file_templates(folder):
    """Write one sound file of each layout, and return their contents by ending of the name."""
    rng = np.random.default_rng(0)
    image = rng.normal(50, 8, SHAPE).astype(np.float32)
    image[10, 10:16] += 900
    primary = fits.Header({"INSTRUME": "ACS", "DETECTOR": "WFC", "CCDAMP": "C", "EXPTIME": 500.0})
    primary.update(READNSEC=4.0, ATODGNC=2.0, CCDGAIN=2.0, NEXTEND=3)
    sci = fits.Header({"BUNIT": "ELECTRONS", "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN"})
    sci.update(CRPIX1=9.0, CRPIX2=9.0, CRVAL1=6.0, CRVAL2=-72.0, CD1_1=-1e-5, CD2_2=1e-5, CCDCHIP=2)
    chip = (
        fits.ImageHDU(image, sci, name="SCI", ver=1),
        fits.ImageHDU(np.sqrt(np.abs(image)), name="ERR", ver=1),
        fits.ImageHDU(rng.integers(0, 2, SHAPE).astype(np.int16) * 256, name="DQ", ver=1),
    )
    counts = fits.ImageHDU((image * 10).astype(np.uint16), sci.copy(), name="SCI", ver=1)
    counts.header["BUNIT"] = "COUNTS"
    packed = [
        fits.CompImageHDU(image, sci, name="SCI", compression_type="RICE_1"),
        fits.CompImageHDU(chip[2].data, name="DQ", compression_type="GZIP_1"),
    ]
    simple = fits.PrimaryHDU(image, fits.Header({"BUNIT": "electron"}))
    mask = fits.ImageHDU(np.zeros(SHAPE, dtype=np.uint8), name="MASK")
    wfpc2 = fits.Header({"INSTRUME": "WFPC2", "ATODGAIN": 7.0, "EXPTIME": 500.0})
    columns = [
        fits.Column("DETECTOR", "J", array=[1, 2]),
        fits.Column("CRVAL1", "D", array=[1.0, 2.0]),
    ]
    layouts = {
        "flt.fits": [fits.PrimaryHDU(header=primary), *chip],
        "raw.fits": [fits.PrimaryHDU(header=primary), counts],
        "rice.fits": [fits.PrimaryHDU(header=primary), *packed],
        "simple.fits": [simple, mask],
        "c0f.fits": [
            fits.PrimaryHDU(np.stack([image, image]), wfpc2),
            fits.TableHDU.from_columns(columns),
        ],
    }
    contents = {}
    for name, hdus in layouts.items():
        fits.HDUList(hdus).writeto(folder / name)
        contents[f"u_{name}"] = (folder / name).read_bytes()
    contents["u_flt.fits.gz"] = gzip.compress(contents["u_flt.fits"], mtime=0)
    return contents


def mutate_bytes(content, rng):
    """Return damaged bytes: bits, runs, cuts, moved and doubled blocks."""
    content = bytearray(content)
    kind = rng.choice(["bits", "run", "cut", "swap", "double", "append"])
    if kind == "bits":
        for _ in range(rng.integers(1, 20)):
            content[rng.integers(len(content))] ^= 1 << rng.integers(8)
    elif kind == "run":
        start, n = rng.integers(len(content)), rng.integers(1, 200)
        content[start : start + n] = rng.bytes(len(content[start : start + n]))
    elif kind == "cut":
        del content[rng.integers(len(content)) :]
    elif kind == "append":
        content += rng.bytes(rng.integers(1, 6000))
    else:
        block = 2880
        n_blocks = max(1, len(content) // block)
        one, two = (int(k) * block for k in rng.integers(n_blocks, size=2))
        first, second = content[one : one + block], content[two : two + block]
        content[two : two + block] = first
        if kind == "swap":
            content[one : one + block] = second
    return bytes(content)


def mutate_cards(content, rng):
    """Return FITS bytes with cards changed, removed, doubled or exchanged, blocks kept."""
    content = bytearray(content)
    cards = [
        at
        for at in range(0, len(content) - 79, 80)
        if content[at + 8 : at + 10] == b"= " and content[at : at + 8].strip().isascii()
    ]
    if not cards:
        return mutate_bytes(content, rng)
    for _ in range(rng.integers(1, 4)):
        at, other = (int(cards[k]) for k in rng.integers(len(cards), size=2))
        kind = rng.choice(["value", "value", "value", "keyword", "swap", "double", "blank"])
        if kind == "value":
            value = CARD_VALUES[rng.integers(len(CARD_VALUES))]
            content[at + 10 : at + 80] = value.rjust(20).ljust(70).encode()
        elif kind == "keyword":
            content[at : at + 8] = content[other : other + 8]
        elif kind == "swap":
            one, two = content[at : at + 80], content[other : other + 80]
            content[at : at + 80], content[other : other + 80] = two, one
        elif kind == "double":
            content[at : at + 80] = content[other : other + 80]
        else:
            content[at : at + 80] = b" " * 80
    return bytes(content)


def mutate_file(contents, rng):
    """Return a name and the damaged content of one of the layouts."""
    name = sorted(contents)[rng.integers(len(contents))]
    if name.endswith(".gz"):
        if rng.random() < 0.5:
            return name, mutate_bytes(contents[name], rng)
        return name, gzip.compress(mutate_cards(gzip.decompress(contents[name]), rng), mtime=0)
    mutate = mutate_cards if rng.random() < 0.6 else mutate_bytes
    return name, mutate(contents[name], rng)


def mutate_model(folder, rng):
    """Damage a model folder in place; half the time its digest is made to fit the damage."""
    weights, path = folder / "weights.safetensors", folder / "config.json"
    if rng.random() < 0.5:
        config = json.loads(path.read_text())
        for _ in range(rng.integers(1, 3)):
            part = config["network"] if rng.random() < 0.5 and "network" in config else config
            if not isinstance(part, dict):
                part = config
            key = sorted(part)[rng.integers(len(part))]
            if rng.random() < 0.15:
                del part[key]
            else:
                part[key] = CONFIG_VALUES[rng.integers(len(CONFIG_VALUES))]
        path.write_text(json.dumps(config))
    elif rng.random() < 0.3:
        path.write_bytes(mutate_bytes(path.read_bytes(), rng))
    else:
        content = weights.read_bytes()
        n_header = 8 + int.from_bytes(content[:8], "little")
        if rng.random() < 0.6:
            # In its header most of all, where shapes, types and places are declared.
            head = bytearray(content[:n_header])
            for _ in range(rng.integers(1, 5)):
                at = rng.integers(len(head))
                head[at] = rng.choice(list(b'0123456789"[]{},:FIU')) if at > 8 else rng.integers(4)
            content = bytes(head) + content[n_header:]
        else:
            content = mutate_bytes(content, rng)
        weights.write_bytes(content)
        if rng.random() < 0.8:
            config = json.loads(path.read_text())
            config["sha256"] = hashlib.sha256(content).hexdigest()
            path.write_text(json.dumps(config))


def try_file(folder, contents, rng, model):
    """Search one damaged file; raise what `detect_file` raises, or that its output is not whole."""
    from cosmiq_astro.hst import detect_file, read_chip

    name, content = mutate_file(contents, rng)
    file, out = folder / name, folder / "out.fits"
    file.write_bytes(content)
    clean = (None, "medmask", "median")[rng.integers(3)]
    settings = {"clean": clean, "T": 2, "seed": 0, "device": "cpu", "dq_bit": "default"}
    if rng.random() < 0.3:
        settings |= {"gain": 1.5, "readnoise": 4.0}
    try:
        result = detect_file(file, out, model=model, **settings)
    finally:
        if file.read_bytes() != content:
            raise RuntimeError("the input was changed")
        left = {path.name for path in folder.iterdir()} - {name}
        if sys.exc_info()[0] and left:
            raise RuntimeError(f"files were left behind: {sorted(left)}")
    for chip in result.chips:
        ccd = read_chip(out, chip.extver)
        p = ccd.cr_probability
        if not np.all(np.isnan(p) | ((p >= 0) & (p <= 1))):
            raise RuntimeError("probabilities outside [0, 1]")
        # Damaged floats may be finite in counts and not in electrons.
        ordinary = np.abs(ccd.data) < 1e30
        if np.isnan(p[ordinary]).any() or np.isfinite(p[~np.isfinite(ccd.data)]).any():
            raise RuntimeError("probabilities are NaN elsewhere than the image")


def try_model(folder, sound, rng):
    """Load one damaged model folder and use it."""
    import cosmiq_astro as ca

    shutil.copytree(sound, folder / "model")
    mutate_model(folder / "model", rng)
    model = ca.load_model(folder / "model")
    image = np.random.default_rng(1).normal(50, 8, SHAPE)
    from_star = np.indices(SHAPE) % 6 - 3
    image += 5e3 * np.exp(-(from_star**2).sum(axis=0) / 2)
    maps = ca.CosmicRayDetector(model, device="cpu")(image, T=2, seed=0, readnoise=8)
    for name in ("probability", "uncertainty", "entropy", "mutual_information"):
        if not np.isfinite(getattr(maps, name)).all():
            raise RuntimeError(f"{name} is not finite")
    for name in ("unfamiliarity", "star_unfamiliarity"):
        value = getattr(maps, name)
        if value < 0 or np.isinf(value):
            raise RuntimeError(f"{name} is {value}")


def tiny_model():
    """Return a small untrained variational model; its weights do not matter."""
    import torch

    from cosmiq_astro.familiarity.hits import FamiliarHits
    from cosmiq_astro.familiarity.stars import FamiliarStars
    from cosmiq_astro.models.model import Model
    from cosmiq_astro.models.unet import UNetConfig, empty_unet, initialize_weights

    config = UNetConfig(hidden=4, levels=3, variational=("*",))
    network = initialize_weights(empty_unet(config), torch.Generator().manual_seed(0))
    network.head.weight.data.mul_(30)
    n = 2 * network.config.hidden
    hits = FamiliarHits(np.zeros(n), np.eye(n), np.ones(n))
    stars = FamiliarStars(np.linspace(1.5, 3, 100), np.linspace(1, 2, 100))
    network.eval().requires_grad_(False)
    familiar = {"familiar_hits": hits, "familiar_stars": stars}
    return Model("tiny", "1", "test", network, threshold=0.2, **familiar)


def work(connection, seed, start, stop, kind):
    """Try inputs one after the other, and send what came of each."""
    from cosmiq_astro.models.model import save_model

    warnings.simplefilter("ignore")
    signal.signal(signal.SIGPROF, _stop)
    with tempfile.TemporaryDirectory() as scratch:
        model = tiny_model()
        sound = save_model(model, Path(scratch, "sound"), card="")
        (templates := Path(scratch, "templates")).mkdir()
        contents = file_templates(templates)
        # Once without limits, so that everything is loaded.
        _try(Path(scratch), contents, sound, model, seed, 0, kind)
        in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        limit = in_use + GIBIBYTES * 2**30
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        connection.send("ready")
        for i in range(start, stop):
            before = time.process_time()
            signal.setitimer(signal.ITIMER_PROF, SECONDS)
            outcome, detail = _try(Path(scratch), contents, sound, model, seed, i, kind)
            signal.setitimer(signal.ITIMER_PROF, 0)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
            connection.send((i, outcome, detail, time.process_time() - before, peak))
    connection.send(None)


def _stop(number, frame):
    raise TooSlow(f"took more than {SECONDS} s of processor time")


def _try(scratch, contents, sound, model, seed, i, kind):
    rng = np.random.default_rng([seed, i])
    is_model = kind == "models" or (kind == "both" and rng.random() < 0.25)
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        try:
            if is_model:
                try_model(Path(folder), sound, rng)
            else:
                try_file(Path(folder), contents, rng, model)
        except (Exception, TooSlow) as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{Path(last.filename).name}:{last.lineno}"
            name = "MemoryError" if isinstance(error, MemoryError) else type(error).__name__
            message = str(error).replace(folder, "")[:160]
            return name, f"{'model' if is_model else 'file'}: {where}: {message}"
    return "success", ""


def run(n, seed, kind):
    """Yield what came of each input, starting another process where one dies or hangs."""
    context = multiprocessing.get_context("spawn")
    start = 0
    while start < n:
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=work, args=(sender, seed, start, n, kind), daemon=True)
        process.start()
        sender.close()
        if receiver.recv() != "ready":
            raise RuntimeError("the worker did not start")
        try:
            while receiver.poll(HUNG):
                found = receiver.recv()
                if found is None:
                    return
                yield found
                start = found[0] + 1
            yield start, "hung", "killed", 0.0, 0.0
        except EOFError:
            process.join()
            yield start, "died", f"exit code {process.exitcode}", 0.0, 0.0
        finally:
            process.kill()
            process.join()
        start += 1


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--n", type=int, default=2000, help="number of inputs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", choices=("files", "models", "both"), default="both")
    parser.add_argument("--show", action="store_true", help="list the messages of clean errors too")
    parser.add_argument("--out", type=Path, help="where to write fuzz.ecsv, the counts")
    arguments = parser.parse_args()
    if arguments.out is not None:
        arguments.out.mkdir(parents=True, exist_ok=True)
    counts, defects, messages, slowest, peak = Counter(), [], Counter(), 0.0, 0.0
    begin = time.perf_counter()
    for i, outcome, detail, seconds, rss in run(arguments.n, arguments.seed, arguments.kind):
        counts[outcome] += 1
        slowest, peak = max(slowest, seconds), max(peak, rss)
        if outcome != "success" and outcome not in ALLOWED:
            defects.append((i, outcome, detail))
            print(f"{arguments.seed}/{i}: {outcome}: {detail}", flush=True)
        elif arguments.show:
            messages[f"{outcome}: {detail}"] += 1
    for message, number in messages.most_common():
        print(f"{number:6} {message}")
    table = Table(
        rows=[(name, number, name == "success" or name in ALLOWED) for name, number in
              counts.most_common()],
        names=("outcome", "inputs", "allowed"),
    )  # fmt: skip
    table.meta = {
        "seed": arguments.seed,
        "kind": arguments.kind,
        "seconds": round(time.perf_counter() - begin),
        "slowest input, seconds": round(slowest, 2),
        "largest resident size, MiB": round(peak),
    }
    table.pprint_all()
    print(table.meta)
    if arguments.out is not None:
        table.write(arguments.out / "fuzz.ecsv", overwrite=True)
    return 1 if defects else 0


if __name__ == "__main__":
    sys.exit(main())
