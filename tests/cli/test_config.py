import json
import subprocess

import pytest

from cosmiq_astro.cli.main import build_parser, main


@pytest.fixture
def config(tmp_path):
    def write(text):
        path = tmp_path / "night.toml"
        path.write_text(text)
        return str(path)

    return write


def test_the_file_gives_defaults_and_the_command_line_goes_first(config):
    path = config(
        '[detect]\nmodel = "acs-wfc-unet"\nT = 8\nplanes = ["prob", "ent"]\nresume = true\n'
        'ext = ["SCI,1", "SCI,2"]\nreadnoise = 5\ndq-bit = 8192\n[train]\noutput = "mine"\n'
    )
    parser = build_parser(path)
    args = parser.parse_args(["detect", "a.fits", "-T", "4", "--config", path])
    assert (args.model, args.T, args.planes) == ("acs-wfc-unet", 4, ("prob", "ent"))
    assert (args.resume, args.ext, args.readnoise, args.dq_bit) == (True, [1, 2], 5.0, 8192)
    assert str(parser.parse_args(["train", "pairs"]).output) == "mine"


def test_it_is_read_where_it_is_named(config, tmp_path, capsys):
    path = config('[detect]\nsampling = "mean"\njson = true\ndry-run = true\n')
    assert main(["detect", "--sample", "-o", f"{tmp_path}/s.fits", "--config", path]) == 0
    assert json.loads(capsys.readouterr().out)["status"] == "planned"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[detect]\nmodle = 1", "has 'modle' in [detect], which is not one of its options: sample"),
        ("[detetc]\nT = 1", "has 'detetc', which is not a table of a command: [detect], [eval"),
        ("T = 1", "has 'T', which is not a table of a command"),
        ("[detect]\nT = many", "is not TOML"),
        ('[detect]\nT = "many"', "T cannot be 'many': invalid literal for int()"),
        ("[detect]\nresume = 1", "resume must be true or false, got 1"),
        ('[detect]\nclean = "soap"', "clean must be one of median, medmask"),
        ("[detect]\nT = true", "T must be a number, a text or a list, got True"),
        ('[detect]\ndq-bit = "5"', "dq-bit cannot be '5': '5' is not 4096, 8192, 16384 or none"),
    ],
)
def test_bad_files(config, text, message, capsys):
    assert main(["detect", "a.fits", "--config", config(text)]) == 2
    assert message in capsys.readouterr().err


def test_a_missing_file(capsys):
    assert main(["detect", "a.fits", "--config", "nowhere.toml"]) == 2
    assert "nowhere.toml" in capsys.readouterr().err


def test_completion_for_the_shell(capsys, tmp_path):
    with pytest.raises(SystemExit) as end:
        main(["--print-completion", "bash"])
    assert end.value.code == 0
    script = tmp_path / "completion.bash"
    script.write_text(capsys.readouterr().out)
    words = "COMP_WORDS=(cosmiq-astro detect --sched) COMP_CWORD=2"
    command = f"source {script}; {words}; _shtab_cosmiq_astro; echo ${{COMPREPLY[@]}}"
    found = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert "--scheduler" in found.stdout.split()
    with pytest.raises(SystemExit):
        main(["--print-completion", "cmd.exe"])
    assert "SHELL must be one of bash" in capsys.readouterr().err
