"""Files of a report: tables, plots, and one HTML page that shows them."""

import html
import os
import tempfile
from pathlib import Path

from . import plots

__all__ = ["write_report"]

_FIGURES = {
    "reliability": (
        "Reliability of all pixels, and of non-trivial pixels in equal-count bins. Pixels of "
        "p up to 0.01 are non-trivial only if they are cosmic rays, which lifts the lowest bins."
    ),
    "roc": "True- against false-positive rate",
    "precision_recall": "Wrong among the flagged against missed",
    "risk_coverage": "Error rate of the pixels kept, most certain first",
    "entropy_error": "Error rate against entropy; dashed: calibrated",
}

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .8rem .2rem 0; text-align: left; border-bottom: 1px solid #ddd; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(30rem, 1fr)); gap: 1rem; }
.wide { grid-column: 1 / -1; }
figure { margin: 0; } img { max-width: 100%; } .scroll { overflow-x: auto; }
"""


def write_report(report, directory, *, overwrite):
    """Write the files of a report, all of them or none."""
    directory = Path(directory)
    names = [f"{name}.ecsv" for name in report.tables] + [f"{name}.png" for name in _FIGURES]
    names.append("index.html")
    there = [name for name in names if (directory / name).exists()]
    if there and not overwrite:
        raise FileExistsError(f"{directory} already has {', '.join(there)}; pass overwrite=True")
    directory.mkdir(parents=True, exist_ok=True)
    # Made beside the target, so that each move is a rename on one file system.
    with tempfile.TemporaryDirectory(dir=directory, prefix=".report-") as made:
        made = Path(made)
        for name, table in report.tables.items():
            table.write(made / f"{name}.ecsv", format="ascii.ecsv")
        for name in _FIGURES:
            _figure(report, name).savefig(made / f"{name}.png", dpi=110)
        (made / "index.html").write_text(_page(report), encoding="utf-8")
        for name in names:
            os.replace(made / name, directory / name)
    return directory / "index.html"


def _figure(report, name):
    """Draw one figure of a report."""
    from matplotlib.figure import Figure

    kinds = ["reliability", "reliability_non_trivial"] if name == "reliability" else [name]
    draw = getattr(plots, f"plot_{name}")
    figure = Figure(figsize=(5.4 * len(kinds), 4.2), layout="constrained")
    for ax, kind in zip(figure.subplots(1, len(kinds), squeeze=False)[0], kinds, strict=True):
        table = report.tables[kind]
        for model in report.models:
            draw(table[table["model"] == model], ax=ax, name=model)
        ax.set_title("non-trivial pixels" if kind.endswith("non_trivial") else "")
    return figure


def _page(report):
    """Return the HTML page."""
    settings = ", ".join(f"{name} {value}" for name, value in report.meta.items())
    figures = "".join(
        f"<figure{' class=wide' if name == 'reliability' else ''}>"
        f'<img src="{name}.png" alt="{text}"><figcaption>{text}</figcaption></figure>'
        for name, text in _FIGURES.items()
    )
    sections = [f"<h2>Scores</h2>{_table(report.summary())}"]
    if "differences" in report.tables:
        table = report.tables["differences"].copy()
        for column in ("difference", "low", "high"):
            table[column].info.format = "+.3g"
        sections.append(f"<h2>Score minus that of the first model</h2>{_table(table)}")
    scores = report.tables["scores"]
    if any(scores["group"] != "all"):
        columns = ["model", "group", "n_pixels", "base_rate", "brier", "nll"]
        columns += ["ece", "ece_non_trivial", "tpr", "fpr", "roc_auc", "aurc"]
        table = scores[columns]
        for column in columns[3:]:
            table[column].info.format = ".4g"
        sections.append(f"<h2>Groups</h2>{_table(table)}")
    links = ", ".join(f'<a href="{name}.ecsv">{name}.ecsv</a>' for name in report.tables)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f"<title>Calibration report</title><style>{_STYLE}</style></head><body>"
        f"<h1>Calibration report</h1><p>{html.escape(settings)}</p>"
        f'{"".join(sections)}<h2>Plots</h2><div class="plots">{figures}</div>'
        f"<h2>Tables</h2><p>{links}</p></body></html>\n"
    )


def _table(table):
    """Return a table as HTML."""
    head = "".join(f"<th>{html.escape(name)}</th>" for name in table.colnames)
    texts = zip(*map(_cells, table.itercols()), strict=True)
    rows = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in texts
    )
    return f'<div class="scroll"><table><tr>{head}</tr>{rows}</table></div>'


def _cells(column):
    """Return the formatted values of a column."""
    form = column.info.format or ""
    return [format(value, form) for value in column.tolist()]
