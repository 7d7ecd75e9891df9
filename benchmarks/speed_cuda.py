"""
Seconds per chip of 4096 x 2048 pixels on a GPU, beside deepCR on the same card, in one run.

python benchmarks/speed_cuda.py [--device cuda] [--shape 4096,2048] [--repeats 5] [--budget 140]
                                [--out DIR]

First the maps of the GPU are compared with those of the CPU. Then come times (the calls take turns
in changing order), peak memory, what a chip consists of, operations that the host launches, a
stream of files, and the layers by themselves. What no longer fits into ``--budget`` seconds is
left out and said so. It runs with ``--device cpu --shape 200,160`` too, to try it.
"""

import argparse
import contextlib
import json
import statistics
import subprocess
import tempfile
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from _machine import describe, scene
from astropy.io import fits
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

import cosmiq_astro as ca
from cosmiq_astro._inputs import check_image
from cosmiq_astro.familiarity.stars import measure_stars
from cosmiq_astro.inference import sampling
from cosmiq_astro.inference.frame import Frame, to_host
from cosmiq_astro.inference.tiling import plan_tiles
from cosmiq_astro.preprocess import estimate_statistics

WAYS = {
    "cosmicray_unet": ("acs-wfc-unet", {}),
    "cosmicray_unet, probability alone": ("acs-wfc-unet", {"planes": ("probability",)}),
    "cosmicray_vi, T=16": ("acs-wfc-vi", {"T": 16}),
    "cosmicray_vi, T=16, one view": ("acs-wfc-vi", {"T": 16, "views": 1}),
    "cosmicray_vi, moments": ("acs-wfc-vi", {"sampling": "moments"}),
}
CHECKED = [*WAYS][::2]
LAYERS = [(2, 16, 3, 1), (16, 16, 3, 1), (32, 16, 3, 1), (32, 80, 3, 1), (32, 32, 3, 2)]
READNOISE = 5.0
# That read and write files.
N_THREADS = 6


class Clock:
    """What is left of the time."""

    def __init__(self, budget):
        self.end = time.perf_counter() + budget

    def has(self, seconds, what):
        """Tell whether so many seconds are left; if not, say what is left out."""
        left = self.end - time.perf_counter()
        if left < seconds:
            print(f"LEFT OUT for want of time: {what}", flush=True)
        return left >= seconds


class Operations(TorchDispatchMode):
    """Counts what the host launches: all but what only looks at memory in another way."""

    n = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.n += not function.is_view
        return function(*args, **(kwargs or {}))


def wait(device):
    """Wait until the device has done all."""
    if device == "cuda":
        torch.cuda.synchronize()


def seconds_of(call, device):
    """Return the seconds that a call takes."""
    wait(device)
    start = time.perf_counter()
    call()
    wait(device)
    return time.perf_counter() - start


@contextlib.contextmanager
def rounded_to_ten_bits():
    """Let the GPU use TF32 in convolutions."""
    usual = sampling.computing
    sampling.computing = lambda device, precision: torch.backends.cudnn.flags(
        enabled=True, benchmark=torch.backends.cudnn.benchmark, allow_tf32=True
    )
    try:
        yield
    finally:
        sampling.computing = usual


def rounded(call):
    """Make a call with TF32 in convolutions."""
    with rounded_to_ten_bits():
        return call()


def detectors(device, precision="float32"):
    """Return the detector of each model."""
    models = {model for model, _ in WAYS.values()}
    return {m: ca.CosmicRayDetector(m, device=device, precision=precision) for m in models}


def compare(device):
    """Return the largest differences from the CPU's maps, for each precision."""
    image = scene((700, 600) if device == "cuda" else (100, 120))
    here, there = detectors("cpu"), detectors(device)
    rows = []
    for way in CHECKED:
        model, settings = WAYS[way]
        settings = {"seed": 1, "readnoise": READNOISE, **settings}
        truth = here[model](image, **settings)
        runs = {"float32": (contextlib.nullcontext(), there)}
        if device == "cuda":
            runs["tf32"] = rounded_to_ten_bits(), there
            runs["bfloat16"] = contextlib.nullcontext(), detectors(device, "bfloat16")
        for precision, (context, chosen) in runs.items():
            with context:
                found = chosen[model](image, **settings)
            row = {"way": way, "precision": precision}
            for plane in sampling.PLANES:
                difference = np.abs(getattr(found, plane) - getattr(truth, plane))
                row[plane] = float(difference.max())
            row["flags_differ"] = float(
                np.mean((found.probability > 0.5) != (truth.probability > 0.5))
            )
            row["unfamiliarity"] = abs(found.unfamiliarity - truth.unfamiliarity)
            row["star_unfamiliarity"] = abs(found.star_unfamiliarity - truth.star_unfamiliarity)
            rows.append(row)
            print(json.dumps(row), flush=True)
    return rows


def calls_of(image, device):
    """Return what is timed, by name."""
    calls = {}
    for precision in ("float32", "bfloat16") if device == "cuda" else ("float32",):
        note = "" if precision == "float32" else f", {precision}"
        chosen = detectors(device, precision)
        for way, (model, settings) in WAYS.items():
            settings = {"seed": 1, "readnoise": READNOISE, **settings}
            calls[way + note] = lambda m=chosen[model], s=settings: m(image, **s)
    if device == "cuda":
        for way in CHECKED:
            calls[f"{way}, tf32"] = lambda call=calls[way]: rounded(call)
    try:
        from deepCR import deepCR

        peer = deepCR(mask="ACS-WFC", device="GPU" if device == "cuda" else "CPU")
        calls["deepCR"] = lambda: peer.clean(image, inpaint=False)
        calls["deepCR, 256-pixel segments"] = lambda: peer.clean(
            image, inpaint=False, segment=True, patch=256
        )
    except Exception as error:
        print(f"without deepCR: {error!r}", flush=True)
    return calls


def times(calls, device, repeats, megapixels, clock):
    """Return seconds and peak memory of each call."""
    found, first, peak = {name: [] for name in calls}, {}, {}
    for name, call in list(calls.items()):
        if device == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        try:
            first[name] = seconds_of(call, device)
        except Exception as error:
            print(f"without {name}: {error!r}", flush=True)
            del found[name]
            continue
        peak[name] = torch.cuda.max_memory_allocated() / 2**30 if device == "cuda" else np.nan
        print(f"first call of {name}: {first[name]:.3f} s, {peak[name]:.2f} GiB", flush=True)
    rng = np.random.default_rng(0)
    for _ in range(repeats):
        for name in rng.permutation(list(found)):
            if clock.has(min(2 * first[name], 3.0), name):
                found[name].append(seconds_of(calls[name], device))
    rows = []
    peer = statistics.median(found.get("deepCR") or [np.nan]) / megapixels
    for name, seconds in found.items():
        if not seconds:
            continue
        middle, least, most = (f(seconds) / megapixels for f in (statistics.median, min, max))
        rows.append(
            {
                "method": name,
                "seconds_per_megapixel": round(middle, 5),
                "least": round(least, 5),
                "most": round(most, 5),
                "deepCR_over_this": round(peer / middle, 2),
                "peak_GiB": round(peak[name], 2),
                "first_call_s": round(first[name], 2),
            }
        )
        print(json.dumps(rows[-1]), flush=True)
    return rows


def parts_of(image, device):
    """Return seconds of each step of a detection, waiting after each, and launches per tile."""
    found = {}
    for way in CHECKED:
        model, settings = WAYS[way]
        detector = detectors(device)[model]
        network = detector._network
        steps = {}
        for _ in range(3):  # the last counts
            marks = [time.perf_counter()]

            def mark(marks=marks):
                wait(device)
                marks.append(time.perf_counter())

            pixels, usable, _ = check_image(image, None)
            mark()
            measured = estimate_statistics(pixels, usable, readnoise=READNOISE)
            mark()
            estimate_statistics(pixels, usable)
            mark()
            way_of = settings.get("sampling", "antithetic" if "T" in settings else "mean")
            sampler = sampling.Sampler(
                sampling.draw_weights([network], settings.get("T", 1), sampling=way_of, seed=1),
                sampling=way_of,
                views=network.config.views,
                temperature=1.0,
            )
            mark()
            tiles = plan_tiles(
                image.shape, detector.tile_size, halo=network.receptive_radius, grid=network.grid
            )
            frame = Frame.of(pixels, usable, measured, tiles, device=detector.device)
            mark()
            prediction = sampler.predict(frame, tiles)
            mark()
            measure_stars(frame.image, prediction.planes["probability"], measured.noise)
            mark()
            to_host(prediction.planes)
            mark()
            names = (
                "check", "sky, read noise known", "sky and noise", "draw", "upload", "predict",
                "stars", "to host",
            )  # fmt: skip
            steps = dict(zip(names, np.round(np.diff(marks), 5).tolist(), strict=True))
        with torch.inference_mode(), Operations() as counted:
            sampler._draws_of(
                frame.read(tiles[0], network.config.channels), tiles[0].crop, sampling.PLANES
            )
        found[way] = steps | {"n_tiles": len(tiles), "launched_per_tile": counted.n}
        print(way, json.dumps(found[way]), flush=True)
    return found


def busy_seconds(call, device):
    """Return how long the GPU computes for a call, and its slowest kernels."""
    if device != "cuda":
        return np.nan, []
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA, ProfilerActivity.CPU]) as profiled:
        call()
        torch.cuda.synchronize()
    events = [e for e in profiled.key_averages() if e.self_device_time_total > 0]
    events.sort(key=lambda e: -e.self_device_time_total)
    # Operators of the host count their kernels again.
    kernels = [e for e in events if e.device_type == torch.autograd.DeviceType.CUDA]
    top = [(e.key[:70], round(e.self_device_time_total / 1e3, 2), e.count) for e in kernels[:12]]
    return sum(e.self_device_time_total for e in kernels) / 1e6, top


def stream(image, device, n, way):
    """Return seconds per chip of a stream of files, read and written beside the computing."""
    model, settings = WAYS[way]
    detector = detectors(device)[model]
    seconds = {"read": [], "write": [], "detect": []}

    def timed(what, work, *args):
        start = time.perf_counter()
        result = work(*args)
        seconds[what].append(time.perf_counter() - start)
        return result

    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(N_THREADS) as pool:
        folder = Path(name)

        def read(i):
            return np.float32(fits.getdata(folder / f"in{i}.fits", memmap=False))

        def write(i, maps):
            planes = [fits.ImageHDU(getattr(maps, plane)) for plane in sampling.PLANES]
            fits.HDUList([fits.PrimaryHDU(), *planes]).writeto(folder / f"out{i}.fits")

        def find(array):
            return detector(array, seed=1, readnoise=READNOISE, **settings)

        for i in range(n):
            fits.PrimaryHDU(np.roll(image, 37 * i, axis=0)).writeto(folder / f"in{i}.fits")
        start = time.perf_counter()
        arrays = deque(pool.submit(timed, "read", read, i) for i in range(2))
        written = deque()
        for i in range(n):
            maps = timed("detect", find, arrays.popleft().result())
            if i + 2 < n:
                arrays.append(pool.submit(timed, "read", read, i + 2))
            written.append(pool.submit(timed, "write", write, i, maps))
            if len(written) > N_THREADS:  # memory for so many results, no more
                written.popleft().result()
        for one in written:
            one.result()
        total = time.perf_counter() - start
        part = maps.probability[:512, :1024]
        start = time.perf_counter()
        fits.HDUList(
            [
                fits.PrimaryHDU(),
                fits.CompImageHDU(part, compression_type="GZIP_2", quantize_level=0),
            ]
        ).writeto(folder / "compressed.fits")
        compressed = (time.perf_counter() - start) * image.size / part.size
    found = {what: round(statistics.median(each), 4) for what, each in seconds.items()}
    return {
        "way": way,
        "chips": n,
        "seconds_per_chip": round(total / n, 4),
        **{f"median_seconds_to_{what}": value for what, value in found.items()},
        "seconds_to_compress_one_plane": round(compressed, 3),
    }


def layers_of(device):
    """Return milliseconds per megapixel of single convolutions, by layout and precision."""
    rows = []
    side = 1024 if device == "cuda" else 128
    types = {"float32": torch.float32, "tf32": torch.float32, "bfloat16": torch.bfloat16}
    for n_in, n_out, kernel, stride in LAYERS:
        row = {"layer": f"{n_in} to {n_out} maps, {kernel} x {kernel}, level {stride - 1}"}
        n = side // stride
        for layout in ("channels_last", "contiguous_format"):
            for name, dtype in types.items():
                for tuned in (False, True):
                    memory = getattr(torch, layout)
                    x = torch.randn(1, n_in, n, n, device=device, dtype=dtype)
                    w = torch.randn(n_out, n_in, kernel, kernel, device=device, dtype=dtype)
                    x, w = (t.contiguous(memory_format=memory) for t in (x, w))
                    flags = torch.backends.cudnn.flags(
                        enabled=True, benchmark=tuned, allow_tf32=name == "tf32"
                    )
                    with torch.inference_mode(), flags:
                        for _ in range(3):
                            functional.conv2d(x, w)
                        seconds = seconds_of(
                            lambda x=x, w=w: [functional.conv2d(x, w) for _ in range(20)], device
                        )
                    key = f"{layout.split('_')[0]} {name}{' tuned' if tuned else ''}"
                    row[key] = round(seconds / 20 * 1e3 * (1024 / side) ** 2, 3)
        rows.append(row | fused_layer(n_in, n_out, kernel, n, device))
        print(json.dumps(rows[-1]), flush=True)
    return rows


def fused_layer(n_in, n_out, kernel, n, device):
    """Return milliseconds of a convolution, bias and ReLU, and of cuDNN's three in one."""
    if device != "cuda":
        return {}
    found = {}
    for name, dtype in {"float32": torch.float32, "bfloat16": torch.bfloat16}.items():
        x = torch.randn(1, n_in, n, n, device=device, dtype=dtype)
        w = torch.randn(n_out, n_in, kernel, kernel, device=device, dtype=dtype)
        b = torch.randn(n_out, device=device, dtype=dtype)
        x, w = (t.contiguous(memory_format=torch.channels_last) for t in (x, w))
        ways = {
            "apart": lambda x=x, w=w, b=b: functional.conv2d(x, w, b).relu_(),
            "in one": lambda x=x, w=w, b=b: torch.cudnn_convolution_relu(
                x, w, b, (1, 1), (0, 0), (1, 1), 1
            ),
        }
        for way, call in ways.items():
            flags = torch.backends.cudnn.flags(enabled=True, allow_tf32=False)
            try:
                with torch.inference_mode(), flags:
                    for _ in range(3):
                        call()
                    seconds = seconds_of(lambda call=call: [call() for _ in range(20)], device)
                found[f"with ReLU, {way}, {name}"] = round(seconds / 20 * 1e3, 3)
            except RuntimeError as error:
                print(f"without {way}, {name}: {error}", flush=True)
    return found


def tiles_of(image, device, clock):
    """Return the times by the size of the tiles."""
    calls = {}
    for way in CHECKED[:2]:
        model, settings = WAYS[way]
        for size in (512, 2048, 4096) if device == "cuda" else (64,):
            find = ca.CosmicRayDetector(model, device=device, tile_size=size)
            settings = {"seed": 1, "readnoise": READNOISE, **settings}
            calls[f"{way}, tiles of {size}"] = lambda f=find, s=settings: f(image, **s)
    return times(calls, device, 3, image.size / 1e6, clock)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--shape", default="4096,2048")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--chips", type=int, default=20)
    parser.add_argument("--budget", type=float, default=140.0, help="seconds")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    device, clock = options.device, Clock(options.budget)
    image = scene(tuple(map(int, options.shape.split(","))))
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    report = {
        "commit": commit.stdout.strip() or "unknown",
        "frame": options.shape,
        **describe(device),
    }
    print(json.dumps(report), flush=True)

    def keep(**parts):
        report.update(parts)
        if options.out is not None:
            options.out.mkdir(parents=True, exist_ok=True)
            text = json.dumps(report, indent=1, default=float)
            (options.out / "speed_cuda.json").write_text(text + "\n", encoding="utf-8")

    keep(differences=compare(device))
    calls = calls_of(image, device)
    keep(times=times(calls, device, options.repeats, image.size / 1e6, clock))
    if clock.has(10, "parts"):
        keep(parts=parts_of(image, device))
    for way in CHECKED:
        if clock.has(10, f"kernels of {way}"):
            busy, kernels = busy_seconds(calls[way], device)
            keep(**{f"busy, {way}": busy, f"kernels, {way}": kernels})
            print(f"GPU busy for {way}: {busy:.4f} s\n  {kernels}", flush=True)
    for way in CHECKED[:2]:
        if clock.has(15, f"stream of {way}"):
            found = stream(image, device, options.chips, way)
            found["gpu_busy_share"] = report.get(f"busy, {way}", np.nan) / found["seconds_per_chip"]
            keep(**{f"stream, {way}": found})
            print(json.dumps(found), flush=True)
    if device == "cuda" and clock.has(15, "with cudnn.benchmark"):
        torch.backends.cudnn.benchmark = True
        tuned = {name: calls[name] for name in CHECKED}
        keep(tuned=times(tuned, device, 3, image.size / 1e6, clock))
        torch.backends.cudnn.benchmark = False
    if clock.has(8, "sizes of tiles"):
        keep(tiles=tiles_of(image, device, clock))
    if clock.has(8, "layers"):
        keep(layers=layers_of(device))
    print("done", flush=True)


if __name__ == "__main__":
    main()
