"""One object with every diagnostic, of one model or of several side by side."""

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

from . import _sums
from ._input import Column, Labels, Pixels, as_sample
from ._page import FIGURES, figure, page
from ._scores import SampleScores, Scores, warn_of_few
from ._tables import DESCRIPTIONS, stacked

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["CalibrationReport", "calibration_report"]

_N_POINTS = 500


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
        scores = self.tables["scores"]
        facts = ("model", "group", "n_pixels", "n_left_out", "base_rate")
        names = [name for name in scores.colnames if name in DESCRIPTIONS and name not in facts]
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
        figures = figures or {}
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:  # at whose end all files are moved to their places

            def file(name):
                return stack.enter_context(atomic_write(directory / name, overwrite=overwrite))

            for name, table in self.tables.items():
                table.write(file(f"{name}.ecsv"), format="ascii.ecsv")
            for name in FIGURES:
                figure(self, name).savefig(file(f"{name}.png"), dpi=110)
            for name, (drawn, _) in figures.items():
                drawn.savefig(file(f"{name}.png"), dpi=110)
            captions = {name: html.escape(text) for name, (_, text) in figures.items()}
            file("index.html").write_text(page(self, captions), encoding="utf-8")
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
            given = SampleScores(sample, n_bins=n_bins, threshold=threshold)
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
    return {
        "scores": scores.table_of_scores(level),
        "reliability": scores.reliability_table(),
        "reliability_non_trivial": scores.reliability_table(binning="count", non_trivial=True),
        "roc": scores.roc_table(n_points=_N_POINTS),
        "precision_recall": scores.precision_recall_table(n_points=_N_POINTS),
        "risk_coverage": scores.risk_coverage_table(n_points=_N_POINTS),
        "entropy_error": scores.entropy_error_table(),
    }


def _differences(scores, level):
    """Build the table of differences to the first model."""
    (reference, first), *others = scores.items()
    rows = []
    for name, second in others:
        sizes = [one._image_sums[..., _sums.COUNT].sum((1, 2, 3)) for one in (first, second)]
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
    n, base = row["n_pixels"], row["base_rate"]
    flagged, wrong, right = (100 * row[name] for name in ("tpr", "fpr", "precision"))
    text = (
        f"{row['model']}: scored {n:,} pixels of {n_images} image{'s' if n_images > 1 else ''}, of "
        f"which {100 * base:.3g} % are cosmic rays. It flags {flagged:.3g} % of these and "
        f"{wrong:.3g} % of the others; {right:.3g} % of what it flags are cosmic rays."
    )
    error = row["rms_calibration_error_non_trivial"]
    if np.isfinite(error):
        text += (
            " Where it is not trivial, its probability differs from the observed fraction by "
            f"{_with_interval(row, 'rms_calibration_error_non_trivial')}, root mean square."
        )
    return text
