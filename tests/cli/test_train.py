import numpy as np
import pytest
from astropy.table import Table

import cosmiq_astro as ca
from cosmiq_astro.cli.main import main
from cosmiq_astro.training import _batches as batches_module

SHORT = ["--hidden", "2", "--epochs", "2", "--patch-size", "32", "--batch-size", "4"]
SHORT += ["--readnoise", "3", "--device", "cpu"]


@pytest.fixture
def pairs(tmp_path):
    folder = tmp_path / "pairs"
    folder.mkdir()
    for i in range(6):
        rng = np.random.default_rng(i)
        mask = rng.random((48, 48)) < 0.03
        np.save(folder / f"{i}.npy", rng.normal(50, 8, mask.shape) + 500 * mask)
        np.save(folder / f"{i}_mask.npy", mask)
    return folder


def test_a_model_is_trained_and_used(pairs, tmp_path, capsys):
    out = tmp_path / "mine"
    settings = [*SHORT, "--instrument", "My camera", "--patience", "5", "--growth", "3"]
    assert main(["train", str(pairs), "-o", str(out), *settings]) == 0
    assert "threshold" in capsys.readouterr().out
    names = ["card.md", "config.json", "history.ecsv", "weights.safetensors"]
    assert sorted(path.name for path in out.iterdir()) == names
    model = ca.load_model(out)
    assert (model.name, model.instrument, model.method) == ("mine", "My camera", "unet")
    assert model.network.config.maps == (2, 6, 18)
    assert len(Table.read(out / "history.ecsv")) == 2
    card = (out / "card.md").read_text()
    assert card.startswith("# mine\n")
    assert "4 labelled exposures (9,216 pixels)" in card
    _, mask = ca.cosmicray_unet(np.load(pairs / "0.npy"), model=str(out), device="cpu")
    assert mask.shape == (48, 48)

    vi = tmp_path / "vi"
    settings = ["--bayesian", "--init", str(out), "--freeze", "down.*", "--kl-beta", "0.01"]
    command = ["train", str(pairs), "-o", str(vi), *SHORT, *settings, "-q"]
    assert main([*command, "--validation", str(pairs)]) == 0
    assert capsys.readouterr().out == ""
    assert ca.load_model(vi).method == "vi"
    assert f"begun from {out}" in (vi / "card.md").read_text()
    assert main(command) == 1
    assert "exists already; set overwrite to replace it" in capsys.readouterr().err


def test_ranges_arrive(pairs, tmp_path, capsys, monkeypatch):
    given = {}

    def remember(self, *args, **kwargs):
        given.update(kwargs)
        raise ValueError("enough")

    monkeypatch.setattr("cosmiq_astro.training.PairedDataset.__init__", remember)
    command = ["train", str(pairs), "-o", str(tmp_path / "mine"), *SHORT]
    assert main([*command, "--exposure-scale", "0.2,1", "--extra-sky", "0,200"]) == 1
    assert (given["exposure_scale"], given["extra_sky"]) == ((0.2, 1.0), (0.0, 200.0))
    assert main([*command, "--density", "1e-3,1e-2"]) == 1
    assert "--density is for --hits" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([*command, "--extra-sky", "5"])
    assert "'5' is not LOW,HIGH" in capsys.readouterr().err


def test_hits_of_dark_frames_are_injected(tmp_path, capsys):
    science, darks, out = tmp_path / "science", tmp_path / "darks", tmp_path / "mine"
    science.mkdir()
    darks.mkdir()
    rng = np.random.default_rng(0)
    for i in range(5):
        np.save(science / f"{i}.npy", rng.normal(50, 8, (48, 48)))
    np.save(science / "0_mask.npy", rng.random((48, 48)) < 0.25)
    dark = rng.normal(0, 3, (64, 64))
    dark[8::8, 8::8] += 900
    dark[8::8, 9::8] += 400
    np.save(darks / "d.npy", dark)
    command = ["train", str(science), "--hits", str(darks), "-o", str(out), *SHORT]
    assert main([*command, "--log", "csv", "--examples"]) == 0
    names = ["card.md", "config.json", "examples", "history.ecsv", "log", "weights.safetensors"]
    assert sorted(path.name for path in out.iterdir()) == names
    assert len(list((out / "examples").iterdir())) == 2
    assert "exposures with hits of" in (out / "card.md").read_text()
    capsys.readouterr()
    short = ["-o", str(tmp_path / "other"), "--hidden", "2", "--epochs", "1"]
    assert main(["train", str(science), "--hits", str(darks), *short]) == 1
    assert "--hits needs --readnoise" in capsys.readouterr().err
    simulated = ["--hits", "simulated", "--patch-size", "32", "--overwrite", "--readnoise", "3"]
    assert main(["train", str(science), *short, *simulated]) == 0


def test_interrupted_it_goes_on(pairs, tmp_path, capsys, monkeypatch):
    def interrupt(*args, **kwargs):
        if (out / "training.ckpt").exists():
            raise KeyboardInterrupt
        return original(*args, **kwargs)

    out, original = tmp_path / "mine", batches_module.make_batch
    monkeypatch.setattr(batches_module, "make_batch", interrupt)
    command = ["train", str(pairs), "-o", str(out), *SHORT]
    assert main(command) == 130
    assert capsys.readouterr().err.endswith("cosmiq-astro: interrupted\n")
    monkeypatch.undo()
    assert main(command) == 0
    assert not (out / "training.ckpt").exists()
    assert len(Table.read(out / "history.ecsv")) == 2


def test_too_few_visits_and_bad_directories(pairs, tmp_path, capsys):
    visit = pairs / "visit"
    visit.mkdir()
    for path in sorted(pairs.glob("*.npy")):
        path.rename(visit / path.name)
    command = ["train", str(pairs), "-o", str(tmp_path / "mine"), *SHORT]
    assert main(command) == 1
    assert "pairs holds 1 visits; three are needed" in capsys.readouterr().err
    assert main([*command, "--validation", str(pairs)]) == 1
    assert "holds one visit; two are needed for validation" in capsys.readouterr().err
    assert main(["train", str(tmp_path), "-o", str(tmp_path / "mine")]) == 1
    assert "holds no exposures" in capsys.readouterr().err
    assert not (tmp_path / "mine").exists()
