"""What the documentation says agrees with the tables, the files and the code."""

import re
from pathlib import Path

import pytest
from astropy.table import Table

import cosmiq_astro as ca
from cosmiq_astro._operating_curve import largest_f

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.rst").read_text(encoding="utf-8")
PAGES = [ROOT / "README.rst", *sorted((ROOT / "docs").glob("*.rst"))]
PAGES += sorted((ROOT / "docs/guide").glob("*.rst"))
PAGES += sorted((ROOT / "docs/validation").glob("*.rst"))


def scores(tool, group):
    table = Table.read(ROOT / "docs/validation/transfer.ecsv", format="ascii.ecsv")
    chosen = (table["tool"] == tool) & (table["group"] == group) & (table["field"] == "all")
    (row,) = table[chosen]
    return row


def seconds(method):
    table = Table.read(ROOT / "docs/performance/speed_float32.ecsv", format="ascii.ecsv")
    return table["seconds_per_megapixel"][table["method"] == method][0]


def ratio(group, rate):
    row = scores("acs-wfc-vi", group)
    names = (f"ratio@{rate}%", f"ratio@{rate}%_low", f"ratio@{rate}%_high")
    return "{:.2f} ({:.2f}\N{EN DASH}{:.2f})".format(*(row[name] for name in names))


def cores(tool, group="realistic"):
    return f"{scores(tool, group)['cores_per_1e4']:,.0f}"


def test_numbers_of_the_readme_are_those_of_the_tables():
    rows = {
        "misses at 0.05 %, ACS/WFC optics": (ratio("realistic", 0.05), "1"),
        "misses at 0.5 %, ACS/WFC optics": (ratio("realistic", 0.5), "1"),
        "misses at 0.05 %, trailed stars": (ratio("trailed", 0.05), "1"),
        "misses at 0.05 %, on the ground": (ratio("ground", 0.05), "1"),
        "star cores flagged, of 10,000": (cores("acs-wfc-vi"), cores("deepCR")),
        "seconds per megapixel, two cores": (
            f"{seconds('cosmicray_vi, T=16'):.1f}",
            f"{seconds('deepCR ACS-WFC, 256-pixel segments'):.1f}",
        ),
    }
    for name, (ours, theirs) in rows.items():
        (line,) = [line for line in README.splitlines() if line.startswith(name)]
        assert re.split(r"\s{2,}", line) == [name, ours, theirs]
    text = " ".join(README.split())
    ours, theirs = cores("acs-wfc-vi", "sharp"), cores("deepCR", "sharp")
    assert f"it flags {ours} in 10,000, deepCR {theirs}" in text
    unet = scores("acs-wfc-unet", "realistic")["ratio@0.05%"]
    assert f"takes {seconds('cosmicray_unet'):.1f} s; its first row is {unet:.2f}" in text


def test_readme_is_short():
    assert len(README.split()) <= 500


@pytest.mark.parametrize("folder", ["benchmarks", "recipes"])
def test_every_script_is_named(folder):
    text = (ROOT / folder / "README.rst").read_text(encoding="utf-8")
    scripts = [path for path in (ROOT / folder).rglob("*.py") if not path.name.startswith("_")]
    assert scripts
    assert [path.name for path in scripts if f"``{path.name}``" not in text] == []


def test_every_module_is_in_the_table_of_modules():
    text = (ROOT / "docs/development/architecture.rst").read_text(encoding="utf-8")
    package = Path(ca.__file__).parent
    modules = {path.name for path in package.glob("[a-z]*.py")}
    modules |= {f"{path.parent.name}/" for path in package.glob("[a-z]*/__init__.py")}
    assert set(re.findall(r"^``([a-z_]+(?:\.py|/))``  ", text, re.MULTILINE)) == modules


def test_thresholds_of_bundled_models_are_those_of_the_largest_f1():
    for name in ca.list_models()["name"]:
        model = ca.load_model(name)
        assert model.threshold == largest_f(model.operating_curve, 1.0)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_other_packages_are_linked(page):
    text = page.read_text(encoding="utf-8")
    prose = re.sub(r"^\s.*$|``[^`]*``", "", text, flags=re.MULTILINE)
    for name in ("astroscrappy", "ccdproc", "deepCR", "maskfill", "photutils"):
        if re.search(rf"\b{name}\b", prose):
            assert re.search(rf"`[^`<]*{name}[^`<]*<https://|\b{name}`?_\b", text), name
