import dataclasses
import hashlib
import json
import pickle

import pytest
import torch
from safetensors.torch import load_file, save_file

from cosmiq_astro.calibration import BetaCalibration, IsotonicCalibration, TemperatureScaling
from cosmiq_astro.detector import CosmicRayDetector
from cosmiq_astro.models.model import load_model, save_model
from cosmiq_astro.models.registry import list_models


@pytest.fixture
def folder(tiny_vi, tmp_path):
    return save_model(tiny_vi, tmp_path / "tiny", card="# tiny\n")


def edit(folder, **changes):
    config = json.loads((folder / "config.json").read_text())
    config.update(changes)
    (folder / "config.json").write_text(json.dumps(config))


def test_round_trip_leaves_the_global_generator_alone(tiny_vi, folder):
    before = torch.get_rng_state()
    model = load_model(folder)
    assert torch.equal(before, torch.get_rng_state())
    assert (model.name, model.method, model.threshold) == ("tiny", "vi", 0.5)
    for name, tensor in tiny_vi.network.state_dict().items():
        assert torch.equal(model.network.state_dict()[name], tensor)
    assert not any(p.requires_grad for p in model.network.parameters())


def test_round_trip_of_several_networks(make_tiny, frame, tmp_path):
    model = make_tiny(variational=("head",), n_networks=3)
    loaded = load_model(save_model(model, tmp_path / "tiny", card="# tiny\n"))
    assert (
        loaded.n_parameters
        == model.n_parameters
        == 3 * make_tiny(variational=("head",)).n_parameters
    )
    for one, other in zip(model.networks, loaded.networks, strict=True):
        for name, tensor in one.state_dict().items():
            assert torch.equal(other.state_dict()[name], tensor)
    one, other = (CosmicRayDetector(m, device="cpu")(frame, T=6, seed=1) for m in (model, loaded))
    assert (one.probability == other.probability).all()
    assert (one.uncertainty > 0.01).any()


def test_networks_of_other_shapes_are_refused(make_tiny):
    with pytest.raises(ValueError, match="others must be networks of the same configuration"):
        dataclasses.replace(make_tiny(), others=(make_tiny(levels=2).network,))


def test_every_bundled_model_loads_and_is_listed():
    table = list_models()
    assert list(table["name"]) == ["acs-wfc-unet", "acs-wfc-vi"]
    for row in table:
        model = load_model(row["name"])
        assert model.sha256 == row["sha256"]
        assert model.method == row["method"]
        assert 0 < model.threshold < 1


def test_damaged_weights_are_refused(folder):
    weights = folder / "weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(ValueError, match="damaged or exchanged: their SHA-256 is"):
        load_model(folder)


def test_weights_of_other_shapes_are_refused(folder):
    weights = folder / "weights.safetensors"
    state = load_file(weights)
    state["head.weight"] = torch.zeros(7, 7)
    save_file(state, weights)
    edit(folder, sha256=hashlib.sha256(weights.read_bytes()).hexdigest())
    with pytest.raises(ValueError, match="do not fit the network that config"):
        load_model(folder)


class Bomb:
    def __reduce__(self):
        return (exec, ("raise SystemExit('unpickled')",))


def test_a_pickle_in_disguise_never_runs(folder):
    weights = folder / "weights.safetensors"
    weights.write_bytes(pickle.dumps(Bomb()))
    edit(folder, sha256=hashlib.sha256(weights.read_bytes()).hexdigest())
    with pytest.raises(ValueError, match="do not fit the network"):
        load_model(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"network": {"hidden": -1}}, "hidden must be a positive integer"),
        ({"network": {"no_such": 1}}, r"config\.json"),
        ({"network": {"channels": ["x-ray"]}}, "channels"),
        ({"threshold": 2.0}, "threshold"),
        ({"temperature": 0}, "temperature"),
        ({"threshold": "high"}, "threshold"),
        (
            {"ranges": {"exposure_time": [9]}},
            r"config\.json: ranges must have .lowest, highest. for some of",
        ),
        ({"ranges": {"seeing": [1, 2]}}, "for some of exposure_time, readnoise, got"),
        ({"recalibration": {"method": "magic"}}, r"config\.json .* method must be one of"),
        ({"recalibration": {"method": "beta", "a": 1}}, r"config\.json .* beta needs the numbers"),
        ({"recalibration": "beta"}, r"config\.json is not a model's configuration"),
        (
            {"recalibration": {"method": "beta", "a": -1, "b": 1, "c": 0}},
            r"config\.json .* a and b must be 0 or more",
        ),
        (
            {"recalibration": {"method": "beta", "a": "one", "b": 1, "c": 0}},
            r"config\.json is not a model's configuration",
        ),
        (
            {"recalibration": {"method": "temperature", "temperature": 2.0}},
            r"config\.json: recalibration must be None or what fit_beta .* as temperature",
        ),
    ],
)
def test_absurd_configurations_are_refused(folder, changes, message):
    edit(folder, **changes)
    with pytest.raises(ValueError, match=message):
        load_model(folder)


@pytest.mark.parametrize(
    "recalibration",
    [None, BetaCalibration(0.9, 1.2, -0.3), IsotonicCalibration((0.1, 0.5, 0.9), (0.0, 0.6, 1.0))],
)
def test_recalibration_is_kept(tiny_vi, tmp_path, recalibration):
    model = dataclasses.replace(tiny_vi, recalibration=recalibration)
    assert load_model(save_model(model, tmp_path, card="")).recalibration == recalibration


def test_a_folder_without_recalibration_is_valid(folder):
    config = json.loads((folder / "config.json").read_text())
    del config["recalibration"]
    (folder / "config.json").write_text(json.dumps(config))
    assert load_model(folder).recalibration is None


def test_a_model_takes_no_temperature_as_recalibration(tiny_vi):
    with pytest.raises(ValueError, match=r"got TemperatureScaling\(temperature=2.0\)"):
        dataclasses.replace(tiny_vi, recalibration=TemperatureScaling(2.0))


def test_incomplete_configuration_is_refused(folder):
    (folder / "config.json").write_text("{}")
    with pytest.raises(ValueError, match=r"config\.json"):
        load_model(folder)
    (folder / "config.json").write_text("{not json")
    with pytest.raises(ValueError, match=r"config\.json"):
        load_model(folder)


def test_nothing_is_overwritten_unasked(tiny_vi, folder):
    with pytest.raises(FileExistsError, match="exists already; set overwrite"):
        save_model(tiny_vi, folder, card="")
    save_model(tiny_vi, folder, card="# new\n", overwrite=True)
    assert (folder / "card.md").read_text() == "# new\n"


@pytest.mark.parametrize("name", ["nonesuch", "../weights", "", "acs-wfc-vi/../acs-wfc-vi/x"])
def test_unknown_names_list_the_known_ones(name):
    with pytest.raises(
        ValueError, match=r"neither a bundled model \(.*acs-wfc-unet.*\) nor a folder"
    ):
        load_model(name)


@pytest.mark.parametrize(
    ("name", "ending"),
    [
        ("acs-wfc-v", "; did you mean acs-wfc-vi?"),
        ("acs_wfc_unet", "; did you mean acs-wfc-unet?"),
        ("nonesuch", "a config.json"),
    ],
)
def test_a_slip_in_a_name_is_understood(name, ending):
    with pytest.raises(ValueError, match="neither a bundled model") as error:
        load_model(name)
    assert str(error.value).endswith(ending)


def test_everybody_may_read_a_model_who_may_read_its_card(tiny_vi, tmp_path):
    folder = save_model(tiny_vi, tmp_path / "model", card="")
    modes = {path.stat().st_mode for path in folder.iterdir()}
    assert len(modes) == 1


def test_settings_of_another_version_come_with_a_cure(folder):
    config = json.loads((folder / "config.json").read_text())
    config["network"]["attention"] = True
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(
        ValueError, match=r"'attention'.*; if another version of cosmiq_astro wrote"
    ):
        load_model(folder)
