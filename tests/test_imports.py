"""Imports point one way, and the light parts stay light."""

import ast
import importlib
import subprocess
import sys
from graphlib import TopologicalSorter
from importlib.resources import files

import pytest

# Each layer of rooms, modules or packages, may import from itself and from those above it.
LAYERS = [
    [
        "_version", "_counts", "_fits_sizes", "_io", "_lacosmic", "_lazy", "_meant",
        "_operating_curve", "_picture", "_pixels", "_rate", "_scatter", "_types", "_windows",
        "units", "preprocess", "cleaning", "protect", "flatten", "spectra", "own_sky", "simulate",
        "calibration", "familiarity",
    ],
    ["models"],
    ["inference"],
    ["detector", "_inputs"],
    [
        "training", "cosmicray", "nddata", "_detection", "_exposure", "_result", "_hits",
        "catalog", "hst", "data", "page", "review", "plots",
    ],
    ["_workers", "_outcome_table", "batch", "hit_rates"],
    ["cli"],
]  # fmt: skip
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
NO_TORCH = [
    *LAYERS[0],
    *("models.registry", "inference.tiling", "inference.uncertainty"),
    *("nddata", "page", "review.edits", "plots"),
]
ROOT = files("cosmiq_astro")


def modules(folder=ROOT, package="cosmiq_astro"):
    for entry in folder.iterdir():
        if entry.is_dir() and (entry / "__init__.py").is_file():
            yield from modules(entry, f"{package}.{entry.name}")
        elif entry.name.endswith(".py"):
            stem = entry.name.removesuffix(".py")
            name = package if stem == "__init__" else f"{package}.{stem}"
            yield name, entry.read_text(encoding="utf-8"), stem == "__init__"


def imported(name, source, is_package):
    """Names imported anywhere in a module, and whether each import is at module level."""
    tree = ast.parse(source)
    top = set(tree.body)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node in top
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = name.split(".")
                parts = parts[: len(parts) - node.level + is_package]
                base = ".".join([*parts, base] if base else parts)
            yield base, node in top
            for alias in node.names:
                yield f"{base}.{alias.name}", node in top


def room_of(name):
    """Return the module or package of the first level that a module is in; "" if in none."""
    return name.split(".")[1] if name.startswith("cosmiq_astro.") else ""


MODULES = sorted(modules())
NAMES = {name for name, _, _ in MODULES}
ROOMS = {room_of(name) for name in NAMES} - {""}


@pytest.mark.parametrize(("name", "source", "is_package"), MODULES, ids=[m[0] for m in MODULES])
def test_imports_point_one_way(name, source, is_package):
    own = LEVEL.get(room_of(name), 0)
    for target, _ in imported(name, source, is_package):
        level = LEVEL.get(room_of(target), 0)
        assert level <= own, f"{name} imports {target}, a layer above it"
        if target.startswith("cosmiq_astro.training"):
            assert room_of(name) in ("training", "cli"), f"{name} imports {target}"


def test_every_room_is_in_a_layer():
    assert ROOMS | {"_version"} == set(LEVEL)


def test_no_module_imports_itself_by_a_detour():
    """Look for circles, also through imports within functions."""
    needs = {
        name: {t for t, _ in imported(name, source, package) if t in NAMES and t != name}
        # A package is always imported first; what its modules need of it is no circle.
        - {name.rsplit(".", 1)[0]}
        for name, source, package in MODULES
    }
    order = TopologicalSorter(needs)
    order.prepare()  # raises CycleError, which names the circle


def test_no_room_imports_itself_by_a_detour():
    """Look for circles of packages as wholes, whichever of their modules make them."""
    order = TopologicalSorter()
    for name, source, is_package in MODULES:
        others = {room_of(target) for target, _ in imported(name, source, is_package)}
        order.add(room_of(name), *(others & ROOMS - {room_of(name)}))
    order.prepare()


@pytest.mark.parametrize(("name", "source", "is_package"), MODULES, ids=[m[0] for m in MODULES])
def test_torch_and_matplotlib_stay_out_of_the_light_parts(name, source, is_package):
    heavy = {t.split(".")[0] for t, top in imported(name, source, is_package) if top}
    assert "matplotlib" not in heavy
    if is_package or any(f"{name}.".startswith(f"cosmiq_astro.{light}.") for light in NO_TORCH):
        assert not heavy & {"torch", "lightning_fabric"}


@pytest.mark.parametrize(
    "statement",
    [
        "import cosmiq_astro; cosmiq_astro.__version__; dir(cosmiq_astro)",
        "import cosmiq_astro.cli.main",
        "import cosmiq_astro.training",
    ],
)
def test_nothing_heavy_is_loaded(statement):
    code = (
        f"{statement}\nimport sys\n"
        "heavy = ('torch', 'ccdproc', 'matplotlib', 'photutils', 'dask')\n"
        "print([m for m in heavy if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_public_names():
    import cosmiq_astro as ca

    for name in ca.__all__:
        assert getattr(ca, name) is not None
        assert name in dir(ca)
    for module in ("calibration", "catalog", "cleaning", "hst", "simulate", "training"):
        assert getattr(ca, module).__name__ == f"cosmiq_astro.{module}"
    with pytest.raises(AttributeError, match="has no attribute 'nonesuch'"):
        _ = ca.nonesuch


LAZY = pytest.mark.parametrize(
    "package", [f"cosmiq_astro{name}" for name in ("", ".review", ".training")]
)


@LAZY
def test_names_shown_are_the_public_ones(package):
    module = importlib.import_module(package)
    shown = {name for name in dir(module) if not name.startswith("_")}
    assert shown == {*module._LAZY, *getattr(module, "_MODULES", ())}
    assert {*module.__all__, "__doc__", "__path__"} <= set(dir(module))


@LAZY
def test_stub_agrees_with_the_package(package):
    module = importlib.import_module(package)
    stub = files(package).joinpath("__init__.pyi").read_text(encoding="utf-8")
    imports = [node for node in ast.parse(stub).body if isinstance(node, ast.ImportFrom)]
    stated = {(node.module, name.name) for node in imports for name in node.names}
    lazy = {(target, name) for name, target in module._LAZY.items()}
    assert stated == lazy | {(package, name) for name in getattr(module, "_MODULES", ())}
