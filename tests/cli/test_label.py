import numpy as np
import pytest
import simulated_camera
from astropy.io import fits
from astropy.table import Table

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
    assert f"% of their pixels labelled -> {out}" in text
    names = [f"f{i}{end}.fits" for i in range(3) for end in ("", "_ignore", "_mask")]
    names.append("labels.ecsv")
    assert sorted(path.name for path in out.iterdir()) == sorted(names)
    assert fits.getdata(out / "f1_mask.fits")[20, 10:15].all()
    assert fits.getdata(out / "f0_mask.fits").sum() == 0
    assert fits.getdata(out / "f1_ignore.fits")[19, 10:15].all()
    assert fits.getheader(out / "f1.fits")["BUNIT"] == "ELECTRONS"
    np.testing.assert_allclose(fits.getdata(out / "f1.fits"), 2 * fits.getdata(files[1]))
    pairs = PairedDataset.from_directory(tmp_path / "pairs", readnoise=3)
    assert (pairs.n_frames, pairs.n_visits) == (3, 1)


def test_stamps_and_bad_pixels(files, tmp_path):
    pytest.importorskip("matplotlib")
    bad = np.zeros((40, 48), np.uint8)
    bad[20, 12] = 1
    fits.writeto(tmp_path / "bad.fits", bad)
    out = tmp_path / "o"
    command = ["label", *files, "-o", str(out), "--gain", "2", "--readnoise", "3", "-q"]
    assert main([*command, "--plot", "--mask", str(tmp_path / "bad.fits")]) == 0
    assert (out / "labels.png").stat().st_size > 5000
    assert all(fits.getdata(out / f"f{i}_ignore.fits")[20, 12] for i in range(3))
    report = Table.read(out / "labels.ecsv")
    assert list(report["exposure"]) == ["f0", "f1", "f2"]


def test_an_exposure_unlike_the_others_is_left_out(tmp_path, capsys):
    camera = simulated_camera.small(simulated_camera.SCORED_ON)
    exposures, _ = camera.visit(camera.field(2), 4, 4, trap="drift", dither=0.0)
    files = []
    for i, image in enumerate(exposures):
        simulated_camera.write(tmp_path / f"f{i}.fits", image)
        files.append(str(tmp_path / f"f{i}.fits"))
    known = ["--gain", str(camera.gain), "--readnoise", "8", "--satlevel", str(camera.satlevel)]
    out = tmp_path / "o"
    assert main(["label", *files, "-o", str(out), *known]) == 0
    captured = capsys.readouterr()
    assert "exposure f2 is left out: its stars are elongated" in captured.err
    assert "3 of 4 exposures used" in captured.out
    assert sorted(path.name for path in out.glob("f?.fits")) == ["f0.fits", "f1.fits", "f3.fits"]
    forced = ["--force", "--overwrite"]
    assert main(["label", *files, "-o", str(out), *known, *forced]) == 0
    assert "exposure f2 is unlike the others but used" in capsys.readouterr().err
    assert (out / "f2_mask.fits").exists()
    assert main(["label", *files, "-o", str(out), *known, "--overwrite"]) == 0
    assert not list(out.glob("f2*"))


def test_nothing_usable_fails(tmp_path, capsys):
    camera = simulated_camera.small(simulated_camera.SCORED_ON)
    files = []
    for i in range(2):
        simulated_camera.write(tmp_path / f"f{i}.fits", camera.expose(camera.field(i), i)[0])
        files.append(str(tmp_path / f"f{i}.fits"))
    known = ["--gain", str(camera.gain), "--readnoise", "8", "-o", str(tmp_path / "o")]
    assert main(["label", *files, *known, "--offsets", "measure"]) == 1
    assert (
        "no two exposures can be compared (f0: its stars are not where" in capsys.readouterr().err
    )
    assert not (tmp_path / "o").exists()


def test_outputs_are_not_replaced_unasked(files, tmp_path, capsys):
    command = ["label", *files, "-o", str(tmp_path / "o"), "--gain", "2", "--readnoise", "3", "-q"]
    assert main(command) == 0
    assert capsys.readouterr().out == ""
    assert main(command) == 1
    assert "f0.fits exists already; give --overwrite" in capsys.readouterr().err
    assert main([*command, "--overwrite"]) == 0


def test_settings_arrive(files, tmp_path, capsys):
    command = ["label", *files, "-o", str(tmp_path / "o"), "--readnoise", "3"]
    assert main(command) == 1
    assert "the data are in adu: give --gain" in capsys.readouterr().err
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
