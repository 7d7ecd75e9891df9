import json

import numpy as np
import pytest
from astropy.io import fits

from cosmiq_astro.cli.main import main
from cosmiq_astro.hst import identify


def simulate(folder, *options):
    return main(["simulate", "-o", str(folder), "--size", "48", "--seed", "3", *options])


@pytest.mark.parametrize(
    ("camera", "name", "n_chips"),
    [("ACS/WFC", "simulated_000_flc.fits", 2), ("WFPC2", "simulated_000_c0m.fits", 4)],
)
def test_files_with_their_truth(tmp_path, capsys, camera, name, n_chips):
    assert simulate(tmp_path / "new", "--camera", camera, "--cosmic-ray-rate", "20", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    file = tmp_path / "new" / name
    assert facts["file_out"] == str(file)
    assert facts["n_pixels"] == n_chips * 48**2
    with fits.open(file) as hdus:
        assert identify(hdus[0].header).name == camera
        assert (hdus[0].header["FILENAME"], hdus[0].header["ROOTNAME"]) == (name, "simulated_000")
        assert hdus[0].header["NEXTEND"] == len(hdus) - 1
        hit = sum(int(hdus["TRUTH", v].data.sum()) for v in range(1, n_chips + 1))
        assert hit == facts["n_pixels_hit"] > 0
    assert len(list((tmp_path / "new").iterdir())) == (2 if camera == "WFPC2" else 1)


def test_seed_number_and_fields(tmp_path, capsys):
    fields = ["--field", "globular", "--field", "galaxy"]
    assert simulate(tmp_path / "a", "-n", "2", "--subarray", *fields) == 0
    assert simulate(tmp_path / "b", "-n", "1", "--subarray", *fields) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    first, second = (tmp_path / "a" / f"simulated_00{i}_flc.fits" for i in (0, 1))
    assert [fits.getval(file, "FIELD") for file in (first, second)] == ["globular", "galaxy"]
    again = fits.getdata(tmp_path / "b" / first.name, ("SCI", 1))
    assert np.array_equal(fits.getdata(first, ("SCI", 1)), again)
    assert not np.array_equal(fits.getdata(second, ("SCI", 1)), again)


def test_nothing_is_overwritten_unasked(tmp_path, capsys):
    assert simulate(tmp_path, "--subarray", "-q") == 0
    before = (tmp_path / "simulated_000_flc.fits").read_bytes()
    assert simulate(tmp_path, "--subarray", "-q") == 1
    assert "exists already; give --overwrite" in capsys.readouterr().err
    assert (tmp_path / "simulated_000_flc.fits").read_bytes() == before
    assert simulate(tmp_path, "--subarray", "-q", "--overwrite") == 0
    assert simulate(tmp_path, "--name", "x", "--filter", "F999W") == 1
    assert "filter_name must be one of" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["simulated_000_flc.fits"]
