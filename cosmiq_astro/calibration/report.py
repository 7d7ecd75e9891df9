"""Every diagnostic at once, of one model or several side by side, and the page that shows it."""

from __future__ import annotations

import dataclasses
import html
from collections.abc import Mapping
from contextlib import ExitStack
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from astropy.table import QTable

from cosmiq_astro._io import atomic_write

from ._input import Column, Labels, Pixels, as_sample
from ._scores import DESCRIPTIONS, Scores, stacked, warn_of_few
from .plots import FIGURES, figure_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["CalibrationReport", "calibration_report"]

_N_POINTS = 500
_NARROW = ("roc", "risk_coverage", "entropy_error")
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .8rem .2rem 0; text-align: left; border-bottom: 1px solid #ddd; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(30rem, 1fr)); gap: 1rem; }
.wide { grid-column: 1 / -1; }
figure { margin: 0; } img { max-width: 100%; } .scroll { overflow-x: auto; }
"""


@dataclasses.dataclass(frozen=True, repr=False)
class CalibrationReport:
    """
    Every diagnostic of one model or several.

    ``print(report)`` gives a summary. Each table but ``differences`` has a
    column ``model``.

    Attributes
    ----------
    tables : dict of `~astropy.table.QTable`
        ``scores`` (one row for each model and group), ``reliability``
        (equal-width bins, all pixels), ``reliability_non_trivial``
        (equal-count bins), ``roc``, ``precision_recall``, ``risk_coverage``,
        ``entropy_error``, and with several models ``differences`` (to the
        first, with intervals from the same images left out).
    meta : dict
        Settings, and the number of pixels, images and pixels left out, of the
        first model.
    """

    tables: dict[str, QTable]
    meta: dict

    @property
    def models(self) -> list[str]:
        """Names of the models, in the order given."""
        return list(dict.fromkeys(self.tables["scores"]["model"].tolist()))

    @property
    def _rows(self):
        """Scores of all pixels, a row per model."""
        scores = self.tables["scores"]
        return scores[scores["group"] == "all"]

    def summary(self) -> QTable:
        """
        Return the scores, one row per score and a column per model.

        Returns
        -------
        table : `~astropy.table.QTable`
            ``score``, one column of text per model (with its interval, if
            there is one), and ``meaning``.
        """
        facts = ("model", "group", "n_pixels", "n_left_out", "base_rate")
        columns = self._rows.colnames
        names = [name for name in columns if name in DESCRIPTIONS and name not in facts]
        table = QTable({"score": names})
        for row in self._rows:
            table[str(row["model"])] = [_with_interval(row, name) for name in names]
        table["meaning"] = [DESCRIPTIONS[name] for name in names]
        return table

    def sentences(self) -> list[str]:
        """
        Say in words what the scores of each model mean.

        Returns
        -------
        sentences : list of str
            One paragraph per model.
        """
        return [_sentence(row, self.meta["N_IMAGES"]) for row in self._rows]

    def __str__(self):
        lines = [*self.sentences(), *(f"{name}: {value}" for name, value in self.meta.items())]
        return "\n".join([*lines, *self.summary().pformat(max_lines=-1, max_width=-1, align="<")])

    def __repr__(self):
        return f"<CalibrationReport of {', '.join(self.models)}: {self.meta['N_PIXELS']:,} pixels>"

    def write(
        self,
        directory: str | PathLike,
        *,
        overwrite: bool = False,
        figures: Mapping[str, tuple[Figure, str]] | None = None,
    ) -> Path:
        """
        Write all tables (ECSV), plots (PNG) and a page of both (``index.html``).

        Needs matplotlib.

        Parameters
        ----------
        directory : path-like
            Made if it does not exist.
        overwrite : bool, optional
            Whether files of the same names may be replaced.
        figures : dict, optional
            More figures for the page: by name, a `~matplotlib.figure.Figure`
            and its caption, plain text.

        Returns
        -------
        page : `~pathlib.Path`
            The page.

        Raises
        ------
        FileExistsError
            If a file is there already and ``overwrite`` is False; then
            nothing is written.
        """
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:  # at whose end all files are moved to their places

            def file(name):
                return stack.enter_context(atomic_write(directory / name, overwrite=overwrite))

            for name, table in self.tables.items():
                table.write(file(f"{name}.ecsv"), format="ascii.ecsv")
            own = {name: (figure_of(self, name), text) for name, (_, text) in FIGURES.items()}
            captions = {}
            for name, (drawn, text) in (own | dict(figures or {})).items():
                drawn.savefig(file(f"{name}.png"), dpi=110)
                captions[name] = html.escape(text)
            file("index.html").write_text(_page(self, captions), encoding="utf-8")
        return directory / "index.html"


def calibration_report(
    data: Pixels | Scores | Mapping,
    label: Labels = None,
    *,
    weight: Column = None,
    uncertainty: Column = None,
    threshold: float = 0.5,
    group: Column = None,
    image: Column = None,
    n_bins: int = 15,
    level: float = 0.95,
) -> CalibrationReport:
    """
    Compute every diagnostic at once.

    Parameters
    ----------
    data : array-like, `~astropy.table.Table`, list, accumulator, or dict
        Probabilities, or one of the inputs of
        `~cosmiq_astro.calibration.brier_score`, or a
        `~cosmiq_astro.calibration.CalibrationAccumulator`. A dict of tables,
        of accumulators, or of pairs ``(probability, label)``, by name,
        compares models on the same images.
    label : array-like or list, optional
        Labels, if ``data`` is an array or a list.
    weight, uncertainty, threshold, group, image : array-like, float
        As for `~cosmiq_astro.calibration.score_table`.
    n_bins, level : int, float
        As for `~cosmiq_astro.calibration.score_table`; None gives no
        intervals and no differences. An accumulator brings its own bins,
        threshold, groups and images.

    Returns
    -------
    report : `CalibrationReport`
        Tables, a summary for ``print``, and ``write(directory)``.

    Raises
    ------
    ValueError
        If no pixel is left in a model's data, or models saw different pixels.

    Warns
    -----
    AstropyUserWarning
        If intervals rest on fewer than 20 images.

    Examples
    --------
    >>> import numpy as np
    >>> from cosmiq_astro.calibration import calibration_report
    >>> rng = np.random.default_rng(0)
    >>> p = [rng.beta(0.3, 3, (64, 64)) for _ in range(20)]
    >>> y = [rng.random((64, 64)) < x for x in p]
    >>> report = calibration_report(p, y)
    >>> report.models
    ['model']
    >>> bool(report.tables["scores"]["ece"][0] < 0.01)
    True
    """
    models = data if isinstance(data, Mapping) else {"model": (data, label)}
    options = {"weight": weight, "group": group, "uncertainty": uncertainty, "image": image}
    scores = {}
    for name, given in models.items():
        given, label = given if isinstance(given, tuple) else (given, None)
        if not isinstance(given, Scores):
            sample = as_sample(given, label, **options)
            if not sample.size:
                n = sample.n_left_out
                raise ValueError(f"no pixel is left: all {n} are masked or not a number")
            given = Scores(sample, n_bins=n_bins, threshold=threshold)
        scores[str(name)] = given
    first = next(iter(scores.values()))
    if level is not None:
        warn_of_few(first.meta["N_IMAGES"])
    made = {name: _tables_of(one, level) for name, one in scores.items()}
    tables = {
        kind: stacked({name: tables[kind] for name, tables in made.items()}, "model")
        for kind in next(iter(made.values()))
    }
    if len(scores) > 1 and level is not None:
        tables["differences"] = _differences(scores, level)
    meta = first.meta | ({} if level is None else {"LEVEL": level})
    for table in tables.values():
        table.meta |= meta
    return CalibrationReport(tables, meta)


def _tables_of(scores, level):
    """Return each table of one model."""
    tables = {
        "scores": scores.table_of_scores(level),
        "reliability": scores.reliability_table(),
        "reliability_non_trivial": scores.reliability_table(binning="count", non_trivial=True),
    }
    for name in ("roc", "precision_recall", "risk_coverage"):
        tables[name] = getattr(scores, f"{name}_table")(n_points=_N_POINTS)
    return tables | {"entropy_error": scores.entropy_error_table()}


def _differences(scores, level):
    """Build the table of differences to the first model, on the same images."""
    (reference, first), *others = scores.items()
    rows = []
    for name, second in others:
        sizes = [one._image_sizes for one in (first, second)]
        if not np.array_equal(*sizes):
            raise ValueError(
                f"data[{name!r}] has {len(sizes[1])} images of {sizes[1].sum():.0f} pixels that "
                f"count, data[{reference!r}] has {len(sizes[0])} of {sizes[0].sum():.0f}; "
                "models must be compared on the same pixels of the same images"
            )
        names = {"model": name, "against": reference}
        rows += [names | row for row in first.differences(second, level=level)]
    return QTable(rows)


def _with_interval(row, name):
    """Format a score, with its interval if there is one."""
    value = f"{row[name]:.5g}"
    if f"{name}_low" in row.colnames and np.isfinite(row[f"{name}_low"]):
        return f"{value} ({row[f'{name}_low']:.3g} to {row[f'{name}_high']:.3g})"
    return value


def _sentence(row, n_images):
    """Say in words what the scores of a model mean."""
    rates = ("base_rate", "tpr", "fpr", "precision")
    base, flagged, wrong, right = (100 * row[name] for name in rates)
    text = (
        f"{row['model']}: scored {row['n_pixels']:,} pixels of {n_images} "
        f"image{'s' if n_images > 1 else ''}, of which {base:.3g} % are cosmic rays. It flags "
        f"{flagged:.3g} % of these and {wrong:.3g} % of the others; {right:.3g} % of what it flags "
        "are cosmic rays."
    )
    error = row["rms_calibration_error_non_trivial"]
    if np.isfinite(error):
        text += (
            " Where it is not trivial, its probability differs from the observed fraction by "
            f"{_with_interval(row, 'rms_calibration_error_non_trivial')}, root mean square."
        )
    return text


def _page(report, captions):
    """Return the HTML page, with figures by name."""
    figures = "".join(
        f"<figure{'' if name in _NARROW else ' class=wide'}>"
        f'<img src="{name}.png" alt="{text}"><figcaption>{text}</figcaption></figure>'
        for name, text in captions.items()
    )
    parts = {"Scores": _html(report.summary())}
    if "differences" in report.tables:
        parts["Score minus that of the first model"] = _html(report.tables["differences"], "+.3g")
    scores = report.tables["scores"]
    if any(scores["group"] != "all"):
        columns = ["model", "group", "n_pixels", "base_rate", "brier", "nll"]
        columns += ["ece", "ece_non_trivial", "tpr", "fpr", "roc_auc", "aurc"]
        parts["Groups"] = _html(scores[columns], ".4g")
    parts["Plots"] = f'<div class="plots">{figures}</div>'
    settings = ", ".join(f"{name} {value}" for name, value in report.meta.items())
    parts["Settings"] = f"<p>{html.escape(settings)}</p>"
    links = ", ".join(f'<a href="{name}.ecsv">{name}.ecsv</a>' for name in report.tables)
    parts["Tables"] = f"<p>{links}</p>"
    sentences = "".join(f"<p>{html.escape(text)}</p>" for text in report.sentences())
    sections = "".join(f"<h2>{title}</h2>{content}" for title, content in parts.items())
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f"<title>Calibration report</title><style>{_STYLE}</style></head><body>"
        f"<h1>Calibration report</h1>{sentences}{sections}</body></html>\n"
    )


def _html(table, form=""):
    """Return a table as HTML, its numbers in a format."""
    table = table.copy()
    for column in table.itercols():
        if column.dtype.kind == "f":
            column.info.format = form
    lines = table.pformat(max_lines=-1, max_width=-1, html=True, show_unit=False)
    return f'<div class="scroll">{"".join(lines)}</div>'
