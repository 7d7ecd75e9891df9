"""One object with every diagnostic, of one model or of several side by side."""

import dataclasses
from collections.abc import Mapping

import numpy as np
from astropy.table import QTable, vstack

from . import _page, _scores, _sums, _tables
from ._descriptions import DESCRIPTIONS
from ._input import as_sample
from .accumulator import CalibrationAccumulator

__all__ = ["CalibrationReport", "calibration_report"]

_N_POINTS = 500
_SUMMARY = (
    "brier",
    "brier_non_trivial",
    "nll",
    "nll_non_trivial",
    "ece",
    "ece_non_trivial",
    "ece_adaptive_non_trivial",
    "ece_sky",
    "ece_cosmic_ray",
    "tpr",
    "fpr",
    "precision",
    "roc_auc",
    "tpr_at_0.05%_fpr",
    "tpr_at_0.5%_fpr",
    "average_precision",
    "aurc",
    "augrc",
    "error_auroc",
)


@dataclasses.dataclass(frozen=True)
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
        first, with intervals from the same images resampled).
    meta : dict
        Settings, and the number of pixels, images and pixels left out, of the
        first model.
    """

    tables: dict
    meta: dict

    @property
    def models(self):
        """Names of the models, in the order given."""
        return list(dict.fromkeys(self.tables["scores"]["model"].tolist()))

    def summary(self):
        """
        Return the scores that decide, one row per score and a column per model.

        Returns
        -------
        table : `~astropy.table.QTable`
            ``score``, one column of text per model (with its interval, if
            there is one), and ``meaning``.
        """
        scores = self.tables["scores"]
        rows = scores[scores["group"] == "all"]
        table = QTable({"score": list(_SUMMARY)})
        for row in rows:
            table[str(row["model"])] = [_with_interval(row, name) for name in _SUMMARY]
        table["meaning"] = [DESCRIPTIONS[name] for name in _SUMMARY]
        return table

    def __str__(self):
        lines = [f"{name}: {value}" for name, value in self.meta.items()]
        return "\n".join([*lines, *self.summary().pformat(max_lines=-1, max_width=-1, align="<")])

    def write(self, directory, *, overwrite=False):
        """
        Write all tables (ECSV), plots (PNG) and a page of both (``index.html``).

        Needs matplotlib.

        Parameters
        ----------
        directory : path-like
            Made if it does not exist.
        overwrite : bool, optional
            Whether files of the same names may be replaced.

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
        return _page.write_report(self, directory, overwrite=overwrite)


def calibration_report(
    data,
    label=None,
    *,
    weight=None,
    uncertainty=None,
    threshold=0.5,
    group=None,
    image=None,
    n_bins=15,
    n_resamples=1000,
    level=0.95,
    seed=None,
):
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
    n_bins, n_resamples, level, seed : int, float
        As for `~cosmiq_astro.calibration.score_table`; an accumulator brings
        its own bins, threshold, groups and images.

    Returns
    -------
    report : `CalibrationReport`
        Tables, a summary for ``print``, and ``write(directory)``.

    Raises
    ------
    ValueError
        If no pixel is left in a model's data.

    Examples
    --------
    >>> import numpy as np
    >>> from cosmiq_astro.calibration import calibration_report
    >>> rng = np.random.default_rng(0)
    >>> p = [rng.beta(0.3, 3, (64, 64)) for _ in range(8)]
    >>> y = [rng.random((64, 64)) < x for x in p]
    >>> report = calibration_report(p, y, seed=1)
    >>> report.models
    ['model']
    >>> bool(report.tables["scores"]["ece"][0] < 0.01)
    True
    """
    models = data if isinstance(data, Mapping) else {"model": (data, label)}
    options = {"weight": weight, "group": group, "uncertainty": uncertainty, "image": image}
    counts = {}
    for name, given in models.items():
        pair = given if isinstance(given, tuple) else (given, None)
        counts[str(name)] = _counts_by_group(pair, options, n_bins, threshold)
    # All models must see the same draws of the images, so that differences are paired.
    seed = int(np.random.SeedSequence().generate_state(1)[0]) if seed is None else seed
    resampling = {"level": level, "n_resamples": n_resamples, "seed": seed}
    tables = _all_tables(counts, resampling)
    if len(counts) > 1:
        tables["differences"] = _differences(counts, resampling)
    first = next(iter(counts.values()))["all"]
    meta = first.meta | {"SEED": seed, "LEVEL": level, "RESAMPLE": n_resamples}
    for table in tables.values():
        table.meta |= meta
    return CalibrationReport(tables, meta)


def _counts_by_group(pair, options, n_bins, threshold):
    """Return the counts of all pixels and of each group."""
    data, label = pair
    if isinstance(data, CalibrationAccumulator):
        return data._counts_by_group()
    sample = as_sample(data, label, **options)
    if not sample.size:
        raise ValueError(f"no pixel is left: all {sample.n_left_out} are masked or not a number")
    return _tables.counts_by_group(sample, n_bins=n_bins, threshold=threshold)


def _all_tables(counts, resampling):
    """Build each table for each model and stack them."""
    builders = {
        "scores": lambda groups: _scores.scores_from(groups, **resampling),
        "reliability": lambda groups: _tables.reliability(groups["all"]),
        "reliability_non_trivial": lambda groups: _tables.reliability(
            groups["all"], binning="count", non_trivial=True
        ),
        "roc": lambda groups: _tables.roc_from(groups["all"].ranks, n_points=_N_POINTS),
        "precision_recall": lambda groups: _tables.precision_recall_from(
            groups["all"].ranks, n_points=_N_POINTS
        ),
        "risk_coverage": lambda groups: _tables.risk_coverage_from(
            groups["all"].risk, n_points=_N_POINTS
        ),
        "entropy_error": lambda groups: _tables.entropy_error_from(groups["all"].ranks),
    }
    tables = {}
    for kind, build in builders.items():
        parts = []
        for name, groups in counts.items():
            table = build(groups)
            table.meta.clear()
            table.add_column([name] * len(table), index=0, name="model")
            table["model"].info.description = "name of the model"
            parts.append(table)
        tables[kind] = vstack(parts)
    return tables


def _differences(counts, resampling):
    """Build the table of differences to the first model."""
    (reference, first), *others = ((name, groups["all"]) for name, groups in counts.items())
    rows = []
    for name, second in others:
        sizes = [counts.sums[..., _sums.COUNT].sum((1, 2, 3)) for counts in (first, second)]
        if not np.array_equal(*sizes):
            raise ValueError(
                f"data[{name!r}] has {len(sizes[1])} images of {sizes[1].sum():.0f} pixels that "
                f"count, data[{reference!r}] has {len(sizes[0])} of {sizes[0].sum():.0f}; "
                "models must be compared on the same pixels of the same images"
            )
        rows += [
            {"model": name, "against": reference} | row
            for row in _scores.differences_from(first, second, **resampling)
        ]
    return QTable(rows)


def _with_interval(row, name):
    """Format a score, with its interval if there is one."""
    value = f"{row[name]:.5g}"
    if f"{name}_low" in row.colnames and np.isfinite(row[f"{name}_low"]):
        return f"{value} ({row[f'{name}_low']:.3g} to {row[f'{name}_high']:.3g})"
    return value
