import numpy as np
import pytest
from astropy.io import fits

from cosmiq_astro.cli.main import main
from cosmiq_astro.training import PairedDataset


@pytest.fixture
def files(tmp_path):
    """Three exposures of one sky in adu, the second with a hit."""
    paths = []
    for i in range(3):
        image = np.random.default_rng(i).normal(100, 7, (40, 48))
        if i == 1:
            image[20, 10:15] += 400
        path = tmp_path / f"f{i}.fits.gz"
        fits.writeto(path, image.astype(np.float32), fits.Header({"BUNIT": "ADU"}))
        paths.append(str(path))
    return paths


def test_pairs_are_written(files, tmp_path, capsys):
    out = tmp_path / "pairs" / "visit"
    assert main(["label", *files, "-o", str(out), "--gain", "2", "--readnoise", "3"]) == 0
    text = capsys.readouterr().out
    assert text.splitlines()[0].split()[:4] == ["exposure", "dy", "dx", "scale"]
    assert f"% of the pixels labelled -> {out}" in text
    names = [f"f{i}{end}.fits" for i in range(3) for end in ("", "_ignore", "_mask")]
    assert sorted(path.name for path in out.iterdir()) == sorted(names)
    assert fits.getdata(out / "f1_mask.fits")[20, 10:15].all()
    assert fits.getdata(out / "f0_mask.fits").sum() == 0
    assert fits.getdata(out / "f1_ignore.fits")[19, 10:15].all()
    assert fits.getheader(out / "f1.fits")["BUNIT"] == "ELECTRONS"
    np.testing.assert_allclose(fits.getdata(out / "f1.fits"), 2 * fits.getdata(files[1]))
    pairs = PairedDataset.from_directory(tmp_path / "pairs", readnoise=3)
    assert (pairs.n_frames, pairs.n_visits) == (3, 1)


def test_outputs_are_not_replaced_unasked(files, tmp_path, capsys):
    command = ["label", *files, "-o", str(tmp_path / "o"), "--gain", "2", "--readnoise", "3", "-q"]
    assert main(command) == 0
    assert capsys.readouterr().out == ""
    assert main(command) == 1
    assert "f0.fits exists already; set overwrite" in capsys.readouterr().err
    assert main([*command, "--overwrite"]) == 0


def test_settings_arrive(files, tmp_path, capsys):
    command = ["label", *files, "-o", str(tmp_path / "o"), "--readnoise", "3"]
    assert main(command) == 1
    assert "the data are in adu: give gain" in capsys.readouterr().err
    assert main([*command, "--gain", "2", "--significance", "2"]) == 1
    assert "significance must be above 3, got 2" in capsys.readouterr().err
    assert main([*command, "--gain", "2", "--offsets", "wcs"]) == 1
    assert "have no WCS" in capsys.readouterr().err
    assert main([*command, "--gain", "2", "--satlevel", "1"]) == 1
    assert "has no pixel that may be used" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a.fits", "-o", "d", "--readnoise", "3"], "give two or more exposures"),
        (["a.fits", "b/a.fits.gz", "-o", "d", "--readnoise", "3"], "have the same name"),
        (["a.fits", "b.fits", "-o", "d"], "required: --readnoise"),
    ],
)
def test_wrong_usage(arguments, message, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["label", *arguments])
    assert stop.value.code == 2
    assert message in capsys.readouterr().err
