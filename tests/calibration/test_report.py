import numpy as np
import pytest
from astropy.table import QTable

from cosmiq_astro.calibration import (
    CalibrationAccumulator,
    brier_score,
    calibration_report,
    risk_coverage_table,
    score_table,
)

pytestmark = pytest.mark.filterwarnings("ignore:the intervals rest on")

GROUPS = ["globular", "galaxy"] * 3


@pytest.fixture
def report(images):
    p, y = images
    sharpened = [x**1.5 for x in p]
    models = {"vi": (p, y), "sharpened": (sharpened, y)}
    return calibration_report(models, group=GROUPS)


def test_tables_are_those_of_the_functions(images, report):
    scores = report.tables["scores"]
    assert report.models == ["vi", "sharpened"]
    assert list(scores["group"]) == ["all", "galaxy", "globular"] * 2
    expected = score_table(*images, group=GROUPS, level=0.95)
    for name in expected.colnames[1:]:
        np.testing.assert_allclose(scores[name][:3], expected[name], err_msg=name)
    risk = report.tables["risk_coverage"]
    alone = risk_coverage_table(*images, n_points=500)
    np.testing.assert_array_equal(risk["risk"][risk["model"] == "vi"], alone["risk"])
    assert report.meta["LEVEL"] == 0.95
    assert all(table.meta["N_IMAGES"] == 6 for table in report.tables.values())


def test_differences_are_paired(images, report):
    p, y = images
    rows = report.tables["differences"]
    row = rows[rows["score"] == "brier"][0]
    gap = brier_score([x**1.5 for x in p], y) - brier_score(p, y)
    assert row["difference"] == pytest.approx(gap)
    assert row["low"] < gap < row["high"]
    scores = report.tables["scores"]
    alone = scores["brier_high"][0] - scores["brier_low"][0]
    assert row["high"] - row["low"] < alone  # images vary more than the models differ
    same = calibration_report({"a": images, "b": images})
    rows = same.tables["differences"]
    assert np.all(rows["low"][rows["score"] == "nll"] == 0)
    with pytest.raises(ValueError, match=r"data\['b'\] has 5 images .* data\['a'\] has 6"):
        calibration_report({"a": images, "b": (p[:5], y[:5])})
    p = [np.where(np.arange(40) < 3, np.nan, x) for x in p]
    with pytest.raises(ValueError, match=r"of 7104 pixels that count, .* of 7680; .* same pixels"):
        calibration_report({"a": images, "b": (p, y)})


def test_summary_and_print(report):
    text = str(report)
    assert text.startswith("vi: scored 7,680 pixels of 6 images, of which")
    assert "N_IMAGES: 6" in text
    assert repr(report) == "<CalibrationReport of vi, sharpened: 7,680 pixels>"
    assert "sharpened" in text
    assert "lower is better" in text
    assert " to " in report.summary()["vi"][0]


def test_accumulators_give_the_same_report(images, report):
    counts = CalibrationAccumulator()
    for p, y, group in zip(*images, GROUPS, strict=True):
        counts.update(p, y, group=group)
    streamed = calibration_report(counts)
    for name in ("brier", "brier_low", "ece_non_trivial", "aurc", "rms_calibration_error_high"):
        np.testing.assert_allclose(
            streamed.tables["scores"][name][:3], report.tables["scores"][name][:3], atol=1e-5
        )


def test_write(report, tmp_path):
    pytest.importorskip("matplotlib")
    directory = tmp_path / "deep" / "report"
    page = report.write(directory)
    names = {path.name for path in directory.iterdir()}
    assert names == {f"{name}.ecsv" for name in report.tables} | {
        "index.html",
        "reliability.png",
        "roc.png",
        "risk_coverage.png",
        "entropy_error.png",
    }
    text = page.read_text()
    for name in names - {"index.html"}:
        assert f'"{name}"' in text
    assert "globular" in text
    assert text.index("scored 7,680 pixels") < text.index("<table")
    again = QTable.read(directory / "scores.ecsv")
    assert again["brier"][0] == report.tables["scores"]["brier"][0]
    assert again.meta["LEVEL"] == 0.95


def test_nothing_is_overwritten_unasked(report, tmp_path):
    pytest.importorskip("matplotlib")
    (tmp_path / "roc.png").write_text("mine")
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match=r"roc.png exists already; set overwrite"):
        report.write(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"roc.png", "notes.txt"}
    report.write(tmp_path, overwrite=True)
    assert (tmp_path / "roc.png").stat().st_size > 1000
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_names_are_escaped(images, tmp_path):
    pytest.importorskip("matplotlib")
    page = calibration_report({"<b>": images}, level=None).write(tmp_path)
    assert "<b>" not in page.read_text()


def test_more_figures(report, tmp_path):
    figure = pytest.importorskip("matplotlib.figure")
    page = report.write(tmp_path, figures={"mine": (figure.Figure(), "a < b")})
    assert (tmp_path / "mine.png").read_bytes().startswith(b"\x89PNG")
    assert '<img src="mine.png" alt="a &lt; b">' in page.read_text()


def test_no_pixels_are_refused():
    with pytest.raises(ValueError, match="no pixel is left: all 2 are masked"):
        calibration_report([np.nan, 0.5], [1, np.nan])


def test_one_class_only(tmp_path):
    pytest.importorskip("matplotlib")
    report = calibration_report(np.full((4, 4), 0.2), np.zeros((4, 4)), level=None)
    assert np.isnan(report.tables["scores"]["roc_auc"][0])
    report.write(tmp_path)
