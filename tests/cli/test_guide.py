"""The guide to training followed on a simulated camera: each of its commands, in its order."""

import json
import re
import shlex
import warnings
from pathlib import Path

import pytest
import simulated_camera
from astropy.table import Table

import cosmiq_astro as ca
from cosmiq_astro.cli.main import main
from cosmiq_astro.page.binding import FORMAT
from cosmiq_astro.review import exposure_digest

GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "training.rst"
CAMERA = simulated_camera.small(simulated_camera.SCORED_ON, 128)
# The guide's camera is not this one, and a test has seconds.
QUICK = "--epochs 1 --patch-size 32 --batch-size 8 --device cpu --force --overwrite"


def commands():
    """Return the commands of the section that has all of them."""
    if not GUIDE.exists():
        pytest.skip("the guide is not here")
    text = GUIDE.read_text(encoding="utf-8")
    section = re.split("[Tt]hree commands\n", text)[1].split("An example:")[0]
    lines = [line.strip() for line in section.splitlines()]
    return [line.removeprefix("$ ") for line in lines if line.startswith("$ cosmiq-astro")]


@pytest.fixture
def work(tmp_path, monkeypatch):
    """What the user of the guide has: two nights, darks, science frames, one of them reviewed."""
    for name in ("night1", "night2", "darks", "science", "reviewed"):
        (tmp_path / name).mkdir()
    for night in (1, 2):
        exposures, _ = CAMERA.visit(CAMERA.field(night), night, 3, dither=2.0)
        for i, image in enumerate(exposures):
            simulated_camera.write(tmp_path / f"night{night}" / f"f{night}{i}.fits", image)
    for i in range(6):
        simulated_camera.write(tmp_path / "darks" / f"d{i}.fits", CAMERA.dark_frame(i))
    for i in range(3):
        image, _ = CAMERA.expose(CAMERA.field(10 + i), 10 + i)
        simulated_camera.write(tmp_path / "science" / f"s{i}.fits", image)
    review(tmp_path / "science" / "s0.fits", tmp_path / "reviewed")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def review(file, folder):
    """Find the cosmic rays of an exposure, and say that many were missed."""
    found = folder / "s0_crvi.fits"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ca.hst.detect_file(file, found, model="acs-wfc-unet", gain=CAMERA.gain)
    ccd = ca.hst.read_chip(found)
    edits = {"format": FORMAT, "name": "s0_crvi", "extver": 1, "shape": ccd.shape}
    edits |= {"exposure": exposure_digest(ccd.data), "mask": exposure_digest(ccd.cr_mask)}
    edits |= {"threshold": 0.5, "complete": True}
    added = [[y, x, 2] for y in range(4, 124, 8) for x in range(4, 120, 10)]
    edits |= {"added": added, "removed": [], "confirmed": [], "unsure": []}
    (folder / "s0_crvi_edits.json").write_text(json.dumps(edits))


def test_every_command_of_the_guide(work, capsys):
    given = {"--gain": CAMERA.gain, "--readnoise": CAMERA.readnoise, "--satlevel": CAMERA.satlevel}
    seen = []
    for command in commands():
        name, *words = shlex.split(command)[1:]
        arguments = []
        for word in words:
            found = sorted(map(str, Path().glob(word))) if "*" in word else [word]
            arguments += found
        for option, value in given.items():
            if option in arguments:
                arguments[arguments.index(option) + 1] = str(value)
        if name == "label":
            arguments += ["--satlevel", str(CAMERA.satlevel), "--plot"]
        quick = QUICK.split() if name == "train" else []
        assert main([name, *arguments, *quick]) == 0, command
        seen.append(name)
    assert seen == ["label", "label", "hits", "train", "train", "train", "train"]
    assert (work / "pairs" / "night1" / "labels.png").exists()
    model = ca.load_model(work / "mycam-unet")
    assert model.name == "mycam-unet"
    table = Table.read(work / "mycam-unet" / "comparison.ecsv")
    new, start, peer = table["model"]
    assert (new, peer) == ("mycam-unet", "L.A.Cosmic")
    assert start == "acs-wfc-unet, as it was"
    assert "2 fields or visits are too few to put whole ones aside" in capsys.readouterr().out
