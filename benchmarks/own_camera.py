"""
Train for a camera that no model has seen, as the guide does, and score on other fields.

python benchmarks/own_camera.py --camera scored --work DIR [--steps make,label,hits,way0,score]

The camera is simulated (tests/simulated_camera.py): visits of a few exposures, 20 darks and ten
science frames without repeats; each command of the guide is run as a user would.
"""

import argparse
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from astropy.table import Table

import cosmiq_astro as ca
from cosmiq_astro.calibration import negative_log_likelihood, tpr_at_fpr

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import simulated_camera

CAMERAS = {"tuned": simulated_camera.TUNED_ON, "scored": simulated_camera.SCORED_ON}
N_DARKS, N_SCIENCE, N_TEST = 20, 10, 24
WAYS = {
    "own, labels as masks + hits": ["pairs", "--hits", "hits.npz"],
    "own, labels as pairs": ["pairs"],
    "own, science frames + hits": ["--science", "science", "--hits", "hits.npz"],
    "own, labels as masks + hits, vi": ["pairs", "--hits", "hits.npz", "--bayesian"],
}
STEPS = ("make", "label", "hits", *(f"way{n}" for n in range(len(WAYS))), "score")


def make(camera, work, n_visits, n_exposures):
    """Write what the camera took."""
    for name in ("raw", "darks", "science"):
        (work / name).mkdir(parents=True)
    for visit in range(n_visits):
        exposures, _ = camera.visit(camera.field(100 + visit), 100 + visit, n_exposures)
        for i, image in enumerate(exposures):
            simulated_camera.write(work / "raw" / f"v{visit}_{i}.fits", image)
    for i in range(N_DARKS):
        simulated_camera.write(work / "darks" / f"d{i:02}.fits", camera.dark_frame(i))
    for i in range(N_SCIENCE):
        fwhm = camera.fwhm * np.random.default_rng(i).lognormal(0, 0.08)
        image, _ = camera.expose(camera.field(200 + i), 200_000 + i, fwhm=fwhm)
        simulated_camera.write(work / "science" / f"s{i:02}.fits", image)


def run(work, *arguments):
    """Run a command of the guide in the folder; return its seconds and peak memory in GB."""
    command = [sys.executable, "-m", "cosmiq_astro.cli.main", *map(str, arguments)]
    print("$ cosmiq-astro", *arguments, flush=True)
    start = time.monotonic()
    code = subprocess.run(command, cwd=work, check=False).returncode
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6
    print(f"  exit {code}, {time.monotonic() - start:.0f} s, peak so far {peak:.2f} GB", flush=True)


def score(camera, test, model):
    """Score a model on exposures of other fields; hot pixels are neither hits nor sky."""
    detector = ca.CosmicRayDetector(model, device="cpu")
    probability, label, hot = [], [], []
    for image, truth in test:
        maps = detector(
            camera.gain * image, seed=1, readnoise=camera.readnoise, satlevel=camera.satlevel
        )
        counts = ~(truth["ignore"] | truth["hot"])
        probability.append(maps.probability[counts])
        label.append(truth["label"][counts])
        hot.append(maps.probability[truth["hot"]] >= detector.model.threshold)
    p, y = np.concatenate(probability), np.concatenate(label)
    flagged = p >= detector.model.threshold
    order = np.argsort(-p, kind="stable")
    precision = np.cumsum(y[order]) / np.arange(1, y.size + 1)
    enough = np.flatnonzero(precision >= 0.85)
    return {
        "recall": flagged[y].mean(),
        "precision": y[flagged].mean(),
        "recall_at_precision_0.85": y[order][: enough[-1] + 1].sum() / y.sum(),
        "tpr_at_0.0005": float(tpr_at_fpr(p, y, fpr=5e-4)),
        "nll": float(negative_log_likelihood(p, y)),
        "hot_flagged": np.concatenate(hot).mean(),
    }


def score_lacosmic(camera, test):
    """Score L.A.Cosmic with its defaults on the same exposures."""
    from ccdproc import cosmicray_lacosmic

    n, hot = np.zeros(3), []
    for image, truth in test:
        image = (camera.gain * image).astype(np.float32)
        flagged = cosmicray_lacosmic(image, readnoise=camera.readnoise)[1]
        counts = ~(truth["ignore"] | truth["hot"])
        n += [truth["label"].sum(), (flagged & counts).sum(), (flagged & truth["label"]).sum()]
        hot.append(flagged[truth["hot"]])
    return {
        "recall": n[2] / n[0],
        "precision": n[2] / n[1],
        "hot_flagged": np.concatenate(hot).mean(),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--camera", choices=CAMERAS, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--visits", type=int, default=4)
    parser.add_argument("--exposures", type=int, default=3, help="of each visit")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--steps", default=",".join(STEPS), help=",".join(STEPS))
    arguments = parser.parse_args()
    camera, work = CAMERAS[arguments.camera], arguments.work
    steps = arguments.steps.split(",")
    known = ["--readnoise", camera.readnoise, "--gain", camera.gain]
    if "make" in steps:
        make(camera, work, arguments.visits, arguments.exposures)
    if "label" in steps:
        for visit in range(arguments.visits):
            files = [f"raw/v{visit}_{i}.fits" for i in range(arguments.exposures)]
            level = ["--satlevel", camera.satlevel, "--offsets", "measure", "--plot"]
            run(work, "label", *files, "-o", f"pairs/v{visit}", *known, *level)
    if "hits" in steps:
        run(work, "hits", "darks", "-o", "hits.npz", *known)
    for number, given in enumerate(WAYS.values()):
        if f"way{number}" in steps:
            level = ["--satlevel", camera.satlevel] if "--hits" in given else []
            out = ["-o", f"way{number}", "--epochs", arguments.epochs, "--overwrite"]
            run(work, "train", *given, *out, *known, *level)
    if "score" in steps:
        test = [camera.expose(camera.field(400 + i), 400_000 + i) for i in range(N_TEST)]
        rows = [
            {"model": n, "frames": 0} | score(camera, test, n)
            for n in ("acs-wfc-unet", "acs-wfc-vi")
        ]
        n_pairs = arguments.visits * arguments.exposures
        for number, (name, given) in enumerate(WAYS.items()):
            about = {"model": name, "frames": n_pairs if "pairs" in given else N_SCIENCE}
            folders = [work / f"way{number}", work / f"way{number}-refused"]
            folders = [folder for folder in folders if (folder / "config.json").exists()]
            rows += [about | score(camera, test, folder) for folder in folders]
        rows.append({"model": "L.A.Cosmic", "frames": 0} | score_lacosmic(camera, test))
        table = Table(rows=rows)
        for column in table.colnames[2:]:
            table[column].format = ".5f" if column == "nll" else ".3f"
        title = f"The {arguments.camera} camera, on {N_TEST} exposures of other fields"
        table.meta = {"title": title, "command": "python benchmarks/own_camera.py --camera …"}
        table.write(work / "own_camera.ecsv", overwrite=True)
        print("\n".join(table.pformat(max_width=-1)))


if __name__ == "__main__":
    main()
