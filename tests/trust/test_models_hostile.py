"""Model folders and checkpoints that lie: refused with a reason, and no code of theirs runs."""

import hashlib
import io
import json
import os
import pickle
import shutil
import struct
import tomllib
import zipfile
from pathlib import Path

import pytest
import torch
from packaging.requirements import Requirement
from safetensors.torch import load_file, save_file

from cosmiq_astro._io import read_bounded
from cosmiq_astro.cli.main import main
from cosmiq_astro.models.model import load_model


@pytest.fixture
def folder(model_folder, tmp_path):
    return shutil.copytree(model_folder, tmp_path / "tiny")


def edit(folder, **changes):
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config["network"].update(changes.pop("network", {}))
    path.write_text(json.dumps(config | changes))


def put(folder, content):
    """Replace the weights, with the digest that belongs to them."""
    (folder / "weights.safetensors").write_bytes(content)
    edit(folder, sha256=hashlib.sha256(content).hexdigest())


def safetensors(header, data=b""):
    head = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(head)) + head + data


def put_changed(folder, change):
    state = load_file(folder / "weights.safetensors")
    change(state)
    save_file(state, folder / "other")
    content = (folder / "other").read_bytes()
    put(folder, content)


def set_values(name, value):
    def change(state):
        state[name].flatten()[0] = value

    return change


def set_dtype(dtype):
    def change(state):
        for name in state:
            state[name] = state[name].to(dtype)

    return change


F32 = {"dtype": "F32", "data_offsets": [0, 4]}
EXABYTE = 2**60

CONTENTS = {
    "nothing": b"",
    "seven bytes": b"\0" * 7,
    "a header longer than the file": struct.pack("<Q", 2**40) + b"{}",
    "a header of 2**64 - 1 bytes": struct.pack("<Q", 2**64 - 1) + b"{}",
    "a header that is no JSON": safetensors(b"\xff\xfe{{{"),
    "a header nested a hundred thousand deep": safetensors(b"[" * 100_000),
    "a tensor of an exabyte": safetensors(
        {"head.weight": {"dtype": "F32", "shape": [EXABYTE], "data_offsets": [0, 4 * EXABYTE]}}
    ),
    "a tensor whose size overflows": safetensors(
        {"head.weight": {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 4]}}, bytes(4)
    ),
    "a tensor of negative size": safetensors({"head.weight": F32 | {"shape": [-1]}}, bytes(4)),
    "offsets that run backwards": safetensors(
        {"head.weight": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}}, bytes(4)
    ),
    "tensors that overlap": safetensors(
        {"a": F32 | {"shape": [1]}, "b": F32 | {"shape": [1]}}, bytes(4)
    ),
    "bytes that no tensor owns": safetensors({"a": F32 | {"shape": [1]}}, bytes(4000)),
    "an unknown type": safetensors({"a": F32 | {"dtype": "F99", "shape": [1]}}, bytes(4)),
    "tensors of another network": safetensors({"a": F32 | {"shape": [1]}}, bytes(4)),
}


@pytest.mark.parametrize("what", CONTENTS)
def test_weights_that_lie_about_themselves(folder, what):
    put(folder, CONTENTS[what])
    with pytest.raises(ValueError, match="do not fit the network that config"):
        load_model(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (set_values("head.weight", float("nan")), r"head\.weight in .* is not finite"),
        (set_values("down.0.0.bias_rho", float("inf")), r"bias_rho in .* is not finite"),
        (set_values("up.0.bias", -3e38), r"up\.0\.bias in .* beyond 1e\+09: the file is damaged"),
        (set_dtype(torch.float64), "must be of torch.float32, not torch.float64"),
        (set_dtype(torch.int8), "must be of torch.float32, not torch.int8"),
        (lambda state: state.pop("head.bias"), 'do not fit the network .*"head.bias"'),
        (lambda state: state.update(more=torch.zeros(1)), 'do not fit the network .*"more"'),
    ],
)
def test_weights_that_would_give_nonsense(folder, change, message):
    put_changed(folder, change)
    with pytest.raises(ValueError, match=f"(?s){message}"):
        load_model(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"network": {"hidden": 8}}, "do not fit the network"),
        ({"network": {"levels": 2}}, "do not fit the network"),
        ({"network": {"variational": []}}, "do not fit the network"),
        ({"network": {"variational": [["*"]]}}, "variational in .* must be a list of texts"),
        ({"network": {"hidden": 10**30}}, "hidden must be 1024 or less"),
        ({"network": {"levels": 10**6}}, "levels must be 10 or less, got 1000000"),
        ({"network": {"growth": 2}}, "not a model's configuration: .* 'growth'"),
        ({"temperature": 1e-300}, r"temperature in .* must be in \(0\.001, 1000\.0\), got 1e-300"),
        ({"temperature": float("inf")}, "temperature in .* got inf"),
        ({"threshold": float("nan")}, "threshold in .* got nan"),
        ({"name": ["tiny"]}, r"name in .* must be a text of printable ASCII, got \['tiny'\]"),
        ({"instrument": None}, "instrument in .* must be a text of printable ASCII, got None"),
        ({"sha256": "0" * 64}, "damaged or exchanged: their SHA-256 is"),
        ({"sha256": None}, "damaged or exchanged"),
        ({"recalibration": {"method": "beta", "a": 10**400, "b": 1, "c": 0}}, "not a model's conf"),
    ],
)
def test_configurations_that_lie(folder, changes, message):
    edit(folder, **changes)
    with pytest.raises(ValueError, match=message):
        load_model(folder)


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"null", b"3", b'"x"', b"[" * 100_000, b"\xff\xfe\0", b'{"network": 5}', b"{}{}"],
)
def test_configurations_that_are_none(folder, content, capsys):
    (folder / "config.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"config\.json is not a model's configuration"):
        load_model(folder)
    assert main(["detect", "x.fits", "--model", str(folder)]) == 1
    assert "Traceback" not in capsys.readouterr().err


def test_no_weights(folder):
    (folder / "weights.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"weights\.safetensors"):
        load_model(folder)


def test_weights_exchanged_after_the_check_are_not_used(folder, monkeypatch):
    """The bytes whose digest was taken are those that are loaded: one read."""
    weights = folder / "weights.safetensors"
    expected = load_file(weights)["head.bias"].clone()  # of a mapped file

    def read_then_exchange(path, most):
        content = read_bounded(path, most)
        if path == weights:
            save_file({"head.bias": torch.full((1,), 666.0)}, weights)
        return content

    monkeypatch.setattr("cosmiq_astro.models.model.read_bounded", read_then_exchange)
    assert torch.equal(load_model(folder).network.state_dict()["head.bias"], expected)


class Bomb:
    """Unpickled, it leaves a file behind."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (exec, (f"open({str(self.path)!r}, 'w').close()",))


def as_pickle(bomb):
    return pickle.dumps(bomb)


def as_torch_file(bomb):
    stream = io.BytesIO()
    torch.save({"inc.conv.conv.0.weight": bomb}, stream)
    return stream.getvalue()


def as_old_torch_file(bomb):
    stream = io.BytesIO()
    torch.save(bomb, stream, _use_new_zipfile_serialization=False)
    return stream.getvalue()


def as_script(bomb):
    """A TorchScript archive holds code and pickles of its own."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name in ("data.pkl", "constants.pkl"):
            archive.writestr(f"archive/{name}", pickle.dumps(bomb))
        archive.writestr("archive/version", "3\n")
        archive.writestr("archive/code/__torch__.py", "def f():\n  return 1\n")
    return stream.getvalue()


@pytest.mark.filterwarnings("ignore:.*TorchScript", "ignore:Detected pickle protocol")
@pytest.mark.parametrize("disguise", [as_pickle, as_torch_file, as_old_torch_file, as_script])
@pytest.mark.parametrize("name", ["weights.safetensors", "deepcr.pth"])
def test_a_pickle_in_disguise_never_runs(folder, tmp_path, capsys, disguise, name):
    mark = tmp_path / "it ran"
    content = disguise(Bomb(mark))
    if name.endswith(".pth"):
        model = tmp_path / name
        model.write_bytes(content)
        message = "is not a checkpoint of deepCR's mask network"
    else:
        model = folder
        put(folder, content)
        message = "do not fit the network"
    with pytest.raises(ValueError, match=message):
        load_model(model)
    assert main(["detect", "x.fits", "--model", str(model)]) == 1
    assert "Traceback" not in capsys.readouterr().err
    assert not mark.exists()
    # The bomb is a real one.
    pickle.loads(pickle.dumps(Bomb(mark)))
    assert mark.exists()


@pytest.mark.parametrize(
    "state",
    [
        torch.ones(3),
        [1, 2],
        {},
        {1: torch.ones(1)},
        {"inc.conv.conv.0.weight": "text"},
        {"outc.conv.weight": torch.ones(()), "outc.conv.bias": torch.ones(())},
    ],
)
def test_checkpoints_of_something_else(tmp_path, state):
    path = tmp_path / "other.pth"
    torch.save(state, path)
    with pytest.raises(ValueError, match="is not a checkpoint of deepCR's mask network"):
        load_model(path)


@pytest.mark.parametrize("special", ["/dev/zero", "pipe"])
@pytest.mark.parametrize("name", ["weights.safetensors", "config.json", "deepcr.pth"])
def test_weights_that_do_not_end(folder, tmp_path, special, name):
    if special == "pipe":
        special = tmp_path / "pipe"
        os.mkfifo(special)
    model = tmp_path / name if name.endswith(".pth") else folder
    path = model if name.endswith(".pth") else folder / name
    path.unlink(missing_ok=True)
    path.symlink_to(special)
    # A folder whose configuration is no file holds no model.
    message = "neither a bundled model" if name == "config.json" else "is not a regular file"
    with pytest.raises(ValueError, match=message):
        load_model(model)


@pytest.mark.parametrize("name", ["weights.safetensors", "config.json", "deepcr.pth"])
def test_files_that_are_too_large_are_not_read(folder, tmp_path, name):
    model = tmp_path / name if name.endswith(".pth") else folder
    with open(model if name.endswith(".pth") else folder / name, "wb") as file:
        file.truncate(2**40)  # sparse
    with pytest.raises(ValueError, match="bytes; more than"):
        load_model(model)


def test_checkpoints_that_grow(tmp_path):
    path = tmp_path / "bomb.pth"
    torch.save({"outc.conv.weight": torch.zeros(1).expand(2**40)}, path)
    with pytest.raises(ValueError, match="its tensors have 4398046511104 bytes, the file only"):
        load_model(path)
    torch.save({"outc.conv.weight": torch.zeros(2**22)}, tmp_path / "plain.pth")
    with (
        zipfile.ZipFile(tmp_path / "plain.pth") as plain,
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for part in plain.infolist():
            packed.writestr(part.filename, plain.read(part))
    with pytest.raises(ValueError, match=r"its parts have \d+ bytes, the file only"):
        load_model(path)


def test_no_torch_that_runs_code_from_weights():
    """CVE-2025-32434: weights_only=True was not enough before torch 2.6."""
    pyproject = Path(__file__).parents[2] / "pyproject.toml"
    needed = tomllib.loads(pyproject.read_text())["project"]["dependencies"]
    (needed,) = (Requirement(each) for each in needed if each.startswith("torch"))
    assert not needed.specifier.contains("2.5.1")
    assert needed.specifier.contains("2.6.0")


@pytest.mark.parametrize("name", ["a\x1b[2Jb", "a\nb", "mod\u00e8le", "a\u202eb"])
def test_names_that_a_terminal_would_obey(folder, name, capsys):
    edit(folder, name=name)
    with pytest.raises(ValueError, match="must be a text of printable ASCII"):
        load_model(folder)
    assert main(["detect", "x.fits", "--model", f"no\x1b[2J{name}"]) == 1
    assert "\x1b" not in capsys.readouterr().err


def test_a_damaged_checkpoint(tmp_path):
    path = tmp_path / "cut.pth"
    torch.save({"a": torch.ones(1000)}, path)
    content = path.read_bytes()
    for n in (0, 1, 10, 100, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:n])
        with pytest.raises(ValueError, match="is not a checkpoint of deepCR's mask network"):
            load_model(path)
