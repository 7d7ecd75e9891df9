import argparse
import subprocess
import sys
import warnings

import pytest

import cosmiq_astro
from cosmiq_astro.cli import models
from cosmiq_astro.cli._errors import with_advice
from cosmiq_astro.cli.main import build_parser, main


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

    def fail(args):
        raise ValueError("something is wrong")

    monkeypatch.setattr(models, "run", fail)
    assert main(["models", "-q"]) == 1
    error = capsys.readouterr().err
    assert ("\x1b[31merror:\x1b[0m" in error) == coloured
    assert coloured or error.startswith("cosmiq-astro: error: ")


def test_a_warning_is_shown_once(monkeypatch, capsys):
    """A file is opened more than once, and astropy says of a card each time what it is."""

    def warn_again(args):
        for text in ("a card", "a card", "another"):
            warnings.warn(text, UserWarning, stacklevel=1)
        return 0

    monkeypatch.setattr(models, "run", warn_again)
    for _ in range(2):
        assert main(["models"]) == 0
        assert capsys.readouterr().err == "warning: a card\nwarning: another\n"


@pytest.fixture
def options(tmp_path):
    def write(text):
        path = tmp_path / "night.txt"
        path.write_text(text)
        return f"@{path}"

    return write


def test_options_from_a_file(options):
    path = options(
        "--model acs-wfc-unet  # fast\n-T 8\n\n--ext SCI,1 --ext 2\n--resume\n-o 'my dir'"
    )
    args = build_parser().parse_args(["detect", "a.fits", path, "-T", "4"])
    assert (args.model, args.T, args.extver, args.resume) == ("acs-wfc-unet", 4, [1, 2], True)
    assert args.output == "my dir"
    assert build_parser().parse_args(["train", "pairs", options("-o mine")]).output.name == "mine"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("--modle a", "unrecognized arguments: --modle a"),
        ("-T many", "invalid int value: 'many'"),
        ("--output a --in-place", "not allowed with argument"),
        ("@{}", "cannot be read: maximum recursion depth exceeded"),
        ("'", "cannot be read: No closing quotation"),
    ],
)
def test_bad_files_of_options(options, tmp_path, text, message, capsys):
    try:
        code = main(["detect", "a.fits", options(text.format(tmp_path / "night.txt"))])
    except SystemExit as stop:
        code = stop.code
    assert code == 2
    assert message in capsys.readouterr().err


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


def test_a_reader_that_leaves():
    command = [sys.executable, "-m", "cosmiq_astro.cli.main", "models"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == 141


@pytest.mark.parametrize(
    ("message", "options", "advice"),
    [
        ("RuntimeError: CUDA out of memory", {"tile_size": None, "jobs": 1}, ": lower --tile-size"),
        (
            "RuntimeError: can't allocate memory",
            {"tile_size": 8, "jobs": 2},
            "--tile-size or --jobs",
        ),
        ("CUDA out of memory", {"batch_size": 1, "patch_size": 2}, "--batch-size or --patch-size"),
        ("MemoryError: Unable to allocate 74.5 GiB", {"tile_size": 8}, "data need more than there"),
        ("MemoryError: Unable to allocate 1 GiB", {"tile_size": 8, "jobs": 4}, ": lower --jobs"),
        ("CUDA out of memory", {}, "the data need more than there is"),
    ],
)
def test_only_what_can_help_is_advised(message, options, advice):
    names = {name: f"--{name.replace('_', '-')}" for name in options}
    said = with_advice(message, argparse.Namespace(options=names, **options))
    assert said.startswith("memory ran out")
    assert said.endswith(advice) or advice in said


@pytest.mark.parametrize(
    ("command", "message", "said"),
    [
        (["detect", "a"], "a exists; set overwrite to", "a exists; give --overwrite to"),
        (["detect", "a"], "from the original, or set overwrite", "original, or give --overwrite"),
        (["detect", "a"], "another file, or set in_place", "another file, or give --in-place"),
        (["detect", "a"], "no place: leave in_place out", "no place: leave --in-place out"),
        (["detect", "a"], "give gain, in electrons", "give --gain, in electrons"),
        (["detect", "a"], "name some (set extver)", "name some (give --ext)"),
        (["detect", "a"], "give model='mycam-vi'", "give --model='mycam-vi'"),
        (["detect", "a"], "give precision_of or give it", "give precision_of or give it"),
        (["label", "a", "-o", "b", "--readnoise", "1"], "give keep_unlike=True", "give --force"),
        (["label", "a", "-o", "b", "--readnoise", "1"], "set in_place", "set in_place"),
    ],
)
def test_parameters_are_named_as_options(command, message, said):
    args = build_parser().parse_args(command)
    assert with_advice(message, args).endswith(said)


@pytest.mark.parametrize(
    ("arguments", "usage", "message"),
    [
        (["detec", "a.fits"], "cosmiq-astro [-h]", "; did you mean detect?"),
        (["detect", "a.fits", "--modle", "x"], "cosmiq-astro detect [options]", "mean --model?"),
        (["detect", "a.fits", "--clean", "medmsk"], "cosmiq-astro detect [opt", "mean medmask?"),
        (["models", "--zzz"], "cosmiq-astro models [-h]", "unrecognized arguments: --zzz\n"),
        (["simulate", "-o", "d", "--sede=1"], "cosmiq-astro simulate [-h]", "mean --seed?"),
    ],
)
def test_what_was_meant(arguments, usage, message, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith(f"usage: {usage}")
    assert message in said
