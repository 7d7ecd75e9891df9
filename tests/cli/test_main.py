import subprocess
import sys

import pytest

import cosmiq_astro
from cosmiq_astro.cli import models
from cosmiq_astro.cli.main import main


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["detect", "--help"],
        ["evaluate", "--help"],
        ["models", "--help"],
        ["simulate", "--help"],
    ],
)
def test_help_is_instant(arguments):
    code = (
        "import sys; from cosmiq_astro.cli.main import main\n"
        f"try: main({arguments})\n"
        "except SystemExit as stop: assert stop.code == 0\n"
        "print({'numpy', 'astropy', 'torch', 'matplotlib'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("set()\n")
    assert "usage: cosmiq-astro" in done.stdout


def test_help_has_examples_and_exit_codes(capsys):
    with pytest.raises(SystemExit):
        main(["detect", "--help"])
    text = capsys.readouterr().out
    assert "cosmiq-astro detect --sample" in text
    assert "exit codes: 0 all went well, 1 a file failed" in text


def test_version(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"cosmiq-astro {cosmiq_astro.__version__}\n"


@pytest.mark.parametrize("arguments", [[], ["destroy"], ["detect"], ["detect", "--nonsense"]])
def test_wrong_usage(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert "usage: cosmiq-astro" in capsys.readouterr().err


def test_interruption(monkeypatch, capsys):
    def interrupt(args):
        raise KeyboardInterrupt

    monkeypatch.setattr(models, "run", interrupt)
    assert main(["models"]) == 130
    assert capsys.readouterr().err == "cosmiq-astro: interrupted\n"


@pytest.mark.parametrize(
    ("on_terminal", "environment", "coloured"),
    [(True, {}, True), (False, {}, False), (True, {"NO_COLOR": "1"}, False)],
)
def test_colours_on_a_terminal_only(monkeypatch, capsys, on_terminal, environment, coloured):
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: on_terminal)
    assert main(["detect", "nonesuch.fits", "--config", "nonesuch.toml"]) == 2
    error = capsys.readouterr().err
    assert ("\x1b[31merror:\x1b[0m" in error) == coloured
    assert coloured or error.startswith("cosmiq-astro: error: ")
