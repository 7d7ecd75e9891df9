import numpy as np
import pytest
from astropy.io import fits

from cosmiq_astro.cli.main import main
from cosmiq_astro.simulate import Footprints


@pytest.fixture
def darks(tmp_path):
    """Five darks in adu, one with a hit, all with a hot pixel."""
    folder = tmp_path / "darks"
    folder.mkdir()
    for i in range(5):
        image = np.random.default_rng(i).normal(300, 2, (64, 64))
        image[20, 20] += 1000
        if i == 3:
            image[40, 40:43] += 400
        fits.writeto(folder / f"d{i}.fits", image.astype(np.float32), fits.Header({"BUNIT": "ADU"}))
    return folder


def test_a_library_is_written(darks, tmp_path, capsys):
    out = tmp_path / "new" / "hits.npz"
    command = ["hits", str(darks), "-o", str(out), "--gain", "2", "--readnoise", "4"]
    assert main(command) == 0
    assert f"1 hits of 5 darks, 0 pixels hot or unsteady -> {out}" in capsys.readouterr().out
    library = Footprints.load(out)
    assert library.total_charge[0] == pytest.approx(2400, rel=0.02)
    assert main(command) == 1
    assert "hits.npz exists already; give --overwrite" in capsys.readouterr().err
    assert main([*command, "--overwrite", "-q"]) == 0
    assert capsys.readouterr().out == ""
    mask = np.zeros((64, 64), np.uint8)
    mask[40, 41] = 1
    fits.writeto(tmp_path / "bad.fits", mask)
    assert main([*command, "--overwrite", "--mask", str(tmp_path / "bad.fits")]) == 1
    assert "darks holds no hit" in capsys.readouterr().err


def test_wrong_usage(darks, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["hits", str(darks), "-o", "hits.fits", "--readnoise", "4"])
    assert stop.value.code == 2
    assert "--output must end in .npz" in capsys.readouterr().err
