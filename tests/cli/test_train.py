import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

import cosmiq_astro as ca
from cosmiq_astro.cli.main import main
from cosmiq_astro.simulate import cosmic_ray_footprints
from cosmiq_astro.training import datasets as batches_module

SHORT = ["--hidden", "2", "--epochs", "2", "--patch-size", "32", "--batch-size", "4"]
SHORT += ["--readnoise", "3", "--device", "cpu"]
# Of so little training comes a worse model, and the frames show no stars to be told apart by.
TOY = [*SHORT, "--init", "none", "--force", "--visits", "frame"]


@pytest.fixture
def pairs(tmp_path):
    folder = tmp_path / "pairs"
    folder.mkdir()
    for i in range(8):
        rng = np.random.default_rng(i)
        mask = rng.random((48, 48)) < 0.03
        np.save(folder / f"{i}.npy", rng.normal(50, 8, mask.shape) + 500 * mask)
        np.save(folder / f"{i}_mask.npy", mask)
    return folder


# Of a training as short as this comes a model that may flag what it likes.
@pytest.mark.filterwarnings("ignore:.*of the pixels were flagged")
def test_a_model_is_trained_and_used(pairs, tmp_path, capsys):
    out = tmp_path / "mine"
    settings = [*TOY, "--instrument", "My camera", "--patience", "5"]
    assert main(["train", str(pairs), "-o", str(out), *settings]) == 0
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert lines[0] == "training: 6 frames of 6 fields or visits, 0.01 million pixels"
    assert lines[1] == "validation: 2 frames of 2 fields or visits, 0.00 million pixels"
    assert captured.err.startswith("epoch 1 of 2: training loss ")
    # Held against the bundled model that it began from.
    table = lines[[line.split()[:1] for line in lines].index(["model"]) :]
    names = ["mine ", "acs-wfc-unet, as it was ", "L.A.Cosmic "]
    for line, name in zip(table[2:], names, strict=False):
        assert line.startswith(name)
    assert f"-> {out}" in lines[-1]
    names = ["card.md", "comparison.ecsv", "config.json", "history.ecsv", "weights.safetensors"]
    assert sorted(path.name for path in out.iterdir()) == names
    model = ca.load_model(out)
    assert (model.name, model.instrument, model.method) == ("mine", "My camera", "unet")
    assert model.network.config.maps == (2, 4, 8)
    # What was set for the training is set back: other code may need subnormal numbers.
    assert np.nextafter(np.float32(0), np.float32(1)) * np.float32(1) > 0
    assert len(Table.read(out / "history.ecsv")) == 2
    card = (out / "card.md").read_text()
    assert card.startswith("# mine\n")
    assert "6 labelled exposures (13,824 pixels)" in card
    _, mask = ca.cosmicray_unet(np.load(pairs / "0.npy"), model=str(out), device="cpu")
    assert mask.shape == (48, 48)

    vi = tmp_path / "vi"
    settings = ["--bayesian", "--init", str(out), "--freeze", "down.*", "--kl-beta", "0.01"]
    command = ["train", str(pairs), "-o", str(vi), *TOY, *settings, "-q"]
    assert main([*command, "--validation", str(pairs)]) == 0
    assert capsys.readouterr().out == ""
    assert ca.load_model(vi).method == "vi"
    assert f"begun from {out}" in (vi / "card.md").read_text()
    assert main(command) == 1
    assert "exists already; give --overwrite to replace it" in capsys.readouterr().err


def test_tables_are_whole_or_not_there(pairs, tmp_path, monkeypatch):
    """The disk is full when the second table is written."""
    writer = vars(Table)["write"]

    def fail_halfway(table, path, **options):
        writer.__get__(table, type(table))(path, **options)
        if "comparison" in str(path):
            raise OSError("disk full")

    monkeypatch.setattr(Table, "write", fail_halfway)
    out = tmp_path / "mine"
    assert main(["train", str(pairs), "-o", str(out), *TOY, "--epochs", "1", "-q"]) == 1
    names = {path.name for path in out.iterdir()}
    assert "history.ecsv" in names
    assert "comparison.ecsv" not in names


def test_a_worse_model_is_refused(pairs, tmp_path, capsys):
    out = tmp_path / "mine"
    command = ["train", str(pairs), "-o", str(out), *SHORT, "--init", "none", "--visits", "frame"]
    assert main(command) == 1
    error = capsys.readouterr().err
    assert "the model is worse than acs-wfc-unet: its NLL differs by +" in error
    assert f"it is kept as {out}-refused, --force would take it all the same" in error
    assert not out.exists()
    assert ca.load_model(f"{out}-refused").name == "mine"


def test_frames_of_one_field_are_parted(pairs, tmp_path, capsys):
    """Nothing tells the frames apart: they are one visit, and their upper fifth validates."""
    for path in pairs.glob("*.npy"):
        np.save(path, np.tile(np.load(path), (4, 2)))
    assert main(["train", str(pairs), "-o", str(tmp_path / "m"), *SHORT, "--epochs", "1"]) in (0, 1)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("training: 8 frames of 1 fields or visits")
    assert lines[1].endswith(
        "(the upper fifth of each frame: one field or visit is too few to put whole ones aside)"
    )


def test_ranges_arrive(pairs, tmp_path, capsys, monkeypatch):
    given = {}

    def remember(self, *args, **kwargs):
        given.update(kwargs)
        raise ValueError("enough")

    monkeypatch.setattr("cosmiq_astro.training.PairedDataset.__init__", remember)
    command = ["train", str(pairs), "-o", str(tmp_path / "mine"), *TOY]
    assert main([*command, "--exposure-scale", "0.2,1", "--extra-sky", "0,200"]) == 1
    assert (given["exposure_scale"], given["extra_sky"]) == ((0.2, 1.0), (0.0, 200.0))
    with pytest.raises(SystemExit):
        main([*command, "--extra-sky", "5"])
    assert "'5' is not LOW,HIGH" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give a directory of labelled exposures, --edits, or --hits and --science"),
        (["--science", "s"], "--science has no labels: give --hits"),
        (["p", "--density", "1e-3,1e-2"], "--density is for --hits"),
        (["p", "--satlevel", "5e4"], "--satlevel is for --hits"),
        (["p", "--hits", "h.npz"], "--hits needs --readnoise"),
        (["p", "--hits", "a", "--hits", "simulated", "--readnoise", "3"], "cannot be mixed"),
    ],
)
def test_wrong_usage(arguments, message, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["train", *arguments, "-o", "out"])
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def test_hits_are_injected_into_labelled_and_other_frames(pairs, tmp_path, capsys):
    science, out = tmp_path / "science", tmp_path / "mine"
    science.mkdir()
    rng = np.random.default_rng(0)
    for i in range(2):
        image = rng.normal(25, 4, (160, 64)).astype(np.float32)
        fits.writeto(science / f"{i}.fits", image, fits.Header({"BUNIT": "adu"}))
    dark = rng.normal(0, 3, (64, 64))
    dark[8::8, 8::8] += 900
    dark[8::8, 9::8] += 400
    np.save(tmp_path / "d.npy", dark)
    cosmic_ray_footprints(50, seed=1).save(tmp_path / "h.npz")
    for path in pairs.glob("*.npy"):
        if "mask" not in path.name:
            image = np.load(path).astype(np.float32)
            fits.writeto(path.with_suffix(".fits"), image, fits.Header({"BUNIT": "ELECTRONS"}))
            path.unlink()
    hits = ["--hits", str(tmp_path / "d.npy"), "--hits", str(tmp_path / "h.npz")]
    command = ["train", str(pairs), "--science", str(science), *hits, "-o", str(out), *TOY]
    assert main([*command, "--gain", "2", "--examples"]) == 0
    names = ["card.md", "comparison.ecsv", "config.json", "examples", "history.ecsv"]
    assert sorted(path.name for path in out.iterdir()) == [*names, "weights.safetensors"]
    assert len(list((out / "examples").iterdir())) == 2
    assert "8 exposures with hits of" in (out / "card.md").read_text()
    simulated = ["--hits", "simulated", "--overwrite", "--gain", "2"]
    assert main(["train", "--science", str(science), "-o", str(out), *TOY, *simulated]) == 0


def test_interrupted_it_goes_on(pairs, tmp_path, capsys, monkeypatch):
    def interrupt(*args, **kwargs):
        if (out / "training.ckpt").exists():
            raise KeyboardInterrupt
        return original(*args, **kwargs)

    out, original = tmp_path / "mine", batches_module.make_batch
    monkeypatch.setattr(batches_module, "make_batch", interrupt)
    command = ["train", str(pairs), "-o", str(out), *TOY]
    assert main(command) == 130
    assert capsys.readouterr().err.endswith("cosmiq-astro: interrupted\n")
    monkeypatch.undo()
    assert main(command) == 0
    assert (
        f"goes on from {out / 'training.ckpt'}: 1 of 2 epochs are done" in capsys.readouterr().out
    )
    assert not (out / "training.ckpt").exists()
    assert len(Table.read(out / "history.ecsv")) == 2


def test_bad_directories(tmp_path, capsys):
    assert main(["train", str(tmp_path), "-o", str(tmp_path / "mine"), *TOY]) == 1
    assert "holds no exposures" in capsys.readouterr().err
    assert not (tmp_path / "mine").exists()
