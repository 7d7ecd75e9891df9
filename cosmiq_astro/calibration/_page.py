"""The page of a report, and its figures."""

import html

from . import plots

FIGURES = {
    "reliability": (
        "Reliability of all pixels, and of non-trivial pixels in equal-count bins. Pixels of "
        "p up to 0.01 are non-trivial only if they are cosmic rays, which lifts the lowest bins."
    ),
    "roc": "True- against false-positive rate",
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


def figure(report, name):
    """Draw one figure of a report."""
    from matplotlib.figure import Figure

    kinds = ["reliability", "reliability_non_trivial"] if name == "reliability" else [name]
    draw = getattr(plots, f"plot_{name}")
    drawn = Figure(figsize=(5.4 * len(kinds), 4.2), layout="constrained")
    for ax, kind in zip(drawn.subplots(1, len(kinds), squeeze=False)[0], kinds, strict=True):
        table = report.tables[kind]
        for model in report.models:
            draw(table[table["model"] == model], ax=ax, name=model)
        ax.set_title("non-trivial pixels" if kind.endswith("non_trivial") else "")
    return drawn


def page(report, more):
    """Return the HTML page, with more figures than its own: captions by name."""
    settings = ", ".join(f"{name} {value}" for name, value in report.meta.items())
    figures = "".join(
        f"<figure{' class=wide' if name == 'reliability' or name in more else ''}>"
        f'<img src="{name}.png" alt="{text}"><figcaption>{text}</figcaption></figure>'
        for name, text in (FIGURES | more).items()
    )
    sections = [f"<p>{html.escape(text)}</p>" for text in report.sentences()]
    sections.append(f"<h2>Scores</h2>{_html(report.summary())}")
    if "differences" in report.tables:
        table = _html(report.tables["differences"], "+.3g")
        sections.append(f"<h2>Score minus that of the first model</h2>{table}")
    scores = report.tables["scores"]
    if any(scores["group"] != "all"):
        columns = ["model", "group", "n_pixels", "base_rate", "brier", "nll"]
        columns += ["ece", "ece_non_trivial", "tpr", "fpr", "roc_auc", "aurc"]
        sections.append(f"<h2>Groups</h2>{_html(scores[columns], '.4g')}")
    links = ", ".join(f'<a href="{name}.ecsv">{name}.ecsv</a>' for name in report.tables)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f"<title>Calibration report</title><style>{_STYLE}</style></head><body>"
        f"<h1>Calibration report</h1>{''.join(sections)}"
        f'<h2>Plots</h2><div class="plots">{figures}</div>'
        f"<h2>Settings</h2><p>{html.escape(settings)}</p><h2>Tables</h2><p>{links}</p>"
        "</body></html>\n"
    )


def _html(table, form=""):
    """Return a table as HTML, its numbers in a format."""
    table = table.copy()
    for column in table.itercols():
        if column.dtype.kind == "f":
            column.info.format = form
    lines = table.pformat(max_lines=-1, max_width=-1, html=True, show_unit=False)
    return f'<div class="scroll">{"".join(lines)}</div>'
