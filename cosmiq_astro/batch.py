"""Thousands of files: one a task, here or on a cluster, and none twice."""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
import traceback
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from astropy.utils.exceptions import AstropyUserWarning

from cosmiq_astro import _workers
from cosmiq_astro._counts import check_count
from cosmiq_astro._io import check_run, describe, remove_leftovers
from cosmiq_astro._outcome_table import read_earlier, save, tabulate
from cosmiq_astro._rate import RATE, stated_rate
from cosmiq_astro.familiarity.verdict import noted_doubts, verdict_line
from cosmiq_astro.hst.detect import run_detection
from cosmiq_astro.hst.names import file_names, output_name
from cosmiq_astro.hst.provenance import digest_file, find_detected, is_complete, run_of
from cosmiq_astro.hst.settings import DetectSettings

if TYPE_CHECKING:
    import distributed
    from astropy.table import QTable

    from cosmiq_astro.hst.results import FileResult

__all__ = ["Outcome", "check_pairs", "detect_files", "find_outcome"]


@dataclass(frozen=True)
class Outcome:
    """
    What came of one file.

    Attributes
    ----------
    file_in, file_out : str
        Input and output.
    status : str
        ``'ok'``, ``'skipped'`` (it was there already) or ``'failed'``.
    error, traceback : str
        Why it failed, in short and in full, or empty.
    notes : tuple of str
        Warnings.
    result : `~cosmiq_astro.hst.FileResult` or None
        What was found, of a file that is ``'ok'``; None if its worker died
        after it was written.
    n_pixels_flagged, n_hits : int
        0 if it failed.
    hit_rate : float
        cm⁻² s⁻¹; NaN if it is unknown.
    seconds : float
        Time taken.
    verdict : str
        Whether to trust the masks, and if not, why.
    """

    file_in: str
    file_out: str
    status: str
    error: str = ""
    traceback: str = field(default="", repr=False)
    notes: tuple[str, ...] = ()
    result: FileResult | None = None
    n_pixels_flagged: int = 0
    n_hits: int = 0
    hit_rate: float = float("nan")
    seconds: float = 0.0
    verdict: str = ""


@dataclass(frozen=True)
class _Work:
    """What is done to every file of a run, anywhere; relative names begin in ``folder``."""

    settings: DetectSettings
    resume: bool
    run: str
    folder: str = field(default_factory=os.getcwd)

    def __call__(self, names: tuple[str, str]) -> Outcome:
        """Work on one file; whatever goes wrong is an outcome, and so is what is warned of."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", UserWarning)
            try:
                outcome = self._detect(*names)
            except Exception as error:
                text = self._with_names_as_given(describe(error), names)
                outcome = Outcome(*names, "failed", text, traceback.format_exc())
        notes = dict.fromkeys(str(w.message) for w in caught if issubclass(w.category, UserWarning))
        # The verdict says these.
        doubts = () if outcome.result is None else outcome.result.doubts
        notes = (note for note in notes if not note.endswith(doubts))
        return replace(outcome, notes=tuple(notes))

    def _with_names_as_given(self, text, names):
        for name in names:
            text = text.replace(os.path.abspath(os.path.join(self.folder, name)), name)
        return text

    def _detect(self, file_in, file_out):
        there = [os.path.abspath(os.path.join(self.folder, name)) for name in (file_in, file_out)]
        source, target = map(Path, there)
        # A worker may die after its file is written and before it says so: whoever is given the
        # file next finds it done, by this run.
        is_ours = run_of(target) == self.run
        if self.resume or is_ours:
            done = find_outcome(source, target, self.settings)
            if done is not None:
                status = "ok" if is_ours else "skipped"
                return replace(done, file_in=file_in, file_out=file_out, status=status)
        if self.settings.in_place:
            target = None
        else:
            # A worker that died may have written the data quality without the image.
            for half in file_names(source, target)[1][1:]:
                if run_of(half) == self.run:
                    half.unlink()
        result = run_detection(source, target, self.settings, run=self.run)
        rate = result.hit_rate
        return Outcome(
            file_in,
            file_out,
            "ok",
            result=replace(result, file_in=Path(file_in), file_out=Path(file_out)),
            n_pixels_flagged=result.n_pixels_flagged,
            n_hits=result.n_hits,
            hit_rate=float("nan") if rate is None else rate.to_value(RATE),
            seconds=result.seconds,
            verdict=result.verdict,
        )


def detect_files(
    files: Sequence[str | PathLike],
    outputs: str | PathLike | Sequence[str | PathLike] | None = None,
    *,
    settings: dict | None = None,
    jobs: int = 1,
    resume: bool = False,
    table: str | PathLike | None = None,
    report: Callable[[Outcome], object] | None = None,
    scheduler: str | None = None,
    security: distributed.Security | None = None,
    insecure_scheduler: bool = False,
) -> QTable:
    """
    Find the cosmic rays in many files; one bad file does not stop the rest.

    Parameters
    ----------
    files : sequence of path-like
        Inputs, see `~cosmiq_astro.hst.detect_file`.
    outputs : path-like or sequence of path-like, optional
        Directory of the outputs, or a name for each; beside each input if
        None.
    settings : dict, optional
        Keyword arguments of `~cosmiq_astro.hst.detect_file`, the same for
        all files: ``model``, ``T``, ``in_place``, ``overwrite`` and so on.
    jobs : int, optional
        Processes on this machine. Each takes its share of the cores, and
        memory of its own: lower it where that runs out. One works in this
        process.
    resume : bool, optional
        Whether to skip outputs that are whole and were made from the same
        input, by its SHA-256, with the same model, settings and version.
    table : path-like, optional
        Where to write what came of each file, as ECSV, also when interrupted.
        With ``resume`` a table of an earlier run may be there: the rows of
        files that are not in this run are kept.
    report : callable, optional
        Called with each `Outcome` as soon as it is known.
    scheduler : str, optional
        Address of a dask scheduler, ``tls://host:8786``, instead of ``jobs``.
        Its workers must see the files by the same absolute names. Whoever
        reaches a scheduler, or runs one of its workers, can run code in this
        process too.
    security : `distributed.Security`, optional
        Certificates for ``scheduler``; those of dask's configuration if None.
    insecure_scheduler : bool, optional
        Whether a scheduler without TLS may be used: only where nobody else
        reaches it.

    Returns
    -------
    outcomes : `~astropy.table.QTable`
        One row per file, by ``file_in``: ``status`` (``'ok'``, ``'skipped'``
        or ``'failed'``), ``file_out``, ``n_pixels_flagged``, ``n_hits``,
        ``hit_rate`` (cm⁻² s⁻¹), ``seconds``, ``error``, ``verdict``,
        whether to trust the masks, and ``notes``, what else was warned of.
        Control characters in names are written as escapes.

    Raises
    ------
    FileExistsError
        If ``table`` exists and may not be replaced.
    ImportError
        If there is no dask, but ``scheduler``.
    RuntimeError
        If a worker process cannot start.
    ValueError
        If an output would replace an input or another output, or a setting
        is wrong.

    Examples
    --------
    >>> import tempfile
    >>> from cosmiq_astro.data import sample_path
    >>> from cosmiq_astro.batch import detect_files
    >>> settings = {"model": "acs-wfc-unet"}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     first = detect_files([sample_path()], folder, settings=settings)
    ...     again = detect_files([sample_path()], folder, settings=settings, resume=True)
    >>> print(first["status"][0], again["status"][0], again["n_hits"][0] == first["n_hits"][0])
    ok skipped True
    """
    unknown = set(settings or {}) - {part.name for part in fields(DetectSettings)}
    if unknown:
        raise ValueError(f"settings has {sorted(unknown)}, which detect_file does not know")
    # With what they name loaded: no file gets another, whatever becomes of it.
    checked = DetectSettings(**(settings or {})).loaded()
    in_place = checked.in_place
    check_count("jobs", jobs)
    if scheduler is not None and jobs > 1:
        raise ValueError("give jobs or scheduler, not both")
    pairs = _pair(files, outputs, in_place)
    earlier = read_earlier(table) if resume and table is not None else None
    overwrite = checked.overwrite or earlier is not None
    others = [] if table is None else [table]
    check_pairs(pairs, others, overwrite=overwrite, in_place=in_place)
    remove_leftovers([tempfile.gettempdir(), *(file_out.parent for _, file_out in pairs)])
    work = _Work(checked, resume, run=secrets.token_hex(8))
    tasks = [(str(file_in), str(file_out)) for file_in, file_out in pairs]
    if scheduler is not None:
        run = _workers.on_cluster(work, tasks, scheduler, security, insecure=insecure_scheduler)
    elif jobs > 1:
        run = _workers.in_processes(work, tasks, jobs)
    else:
        run = ((task, work(task)) for task in tasks)
    # The name is taken, and known to be writable, before the work.
    save(table, tabulate([]), earlier, overwrite=overwrite)
    outcomes = []
    try:
        with contextlib.closing(run):
            for task, outcome in run:
                if isinstance(outcome, str):
                    outcome = Outcome(*task, status="failed", error=outcome)
                outcomes.append(outcome)
                if report is not None:
                    report(outcome)
    finally:
        found = tabulate(outcomes)
        save(table, found, earlier, overwrite=True)
    if report is None:
        for outcome in outcomes:
            # What failed says why in its row.
            is_doubtful = outcome.result is not None and outcome.result.doubts
            notes = (outcome.verdict, *outcome.notes) if is_doubtful else outcome.notes
            for note in () if outcome.status == "failed" else notes:
                warnings.warn(f"{outcome.file_in}: {note}", AstropyUserWarning, stacklevel=2)
    return found


def check_pairs(
    pairs: Sequence[tuple[str | PathLike, str | PathLike]],
    others: Sequence[str | PathLike] = (),
    *,
    overwrite: bool,
    in_place: bool,
) -> None:
    """
    Refuse a run that would write over its inputs, or write one file twice.

    Parameters
    ----------
    pairs : sequence of tuple
        Input and output of each file.
    others : sequence of path-like
        What else is written.
    overwrite, in_place : bool
        As for `~cosmiq_astro._io.check_run`, which raises what this does.

    Raises
    ------
    FileExistsError
        If an output exists and ``overwrite`` is False.
    ValueError
        If an output would replace an input or another output.
    """
    rows = [file_names(Path(file_in), Path(file_out)) for file_in, file_out in pairs]
    check_run(rows, others, overwrite=overwrite, in_place=in_place)


def find_outcome(
    file_in: str | PathLike, file_out: str | PathLike, settings: DetectSettings
) -> Outcome | None:
    """
    Look whether a file needs no work, since its output is there already.

    Parameters
    ----------
    file_in, file_out : path-like
        Input and output.
    settings : `~cosmiq_astro.hst.settings.DetectSettings`
        Of the run, loaded.

    Returns
    -------
    outcome : `Outcome` or None
        ``'skipped'``, with the counts of the output; None if there is no
        output, or one that is not whole, or was made from another input or
        in another way.
    """
    headers = find_detected(file_out, settings)
    # What has replaced its input cannot be compared with it.
    sources = set() if settings.in_place else {header.get("CRVISRC") for header in headers}
    if not headers or (sources and sources != {digest_file(file_in)}):
        return None
    outputs = file_names(Path(file_in), Path(file_out))[1] if headers[0]["CRVIDQ"] else [file_out]
    if not all(map(is_complete, outputs)):
        return None
    return Outcome(
        str(file_in),
        str(file_out),
        "skipped",
        n_pixels_flagged=sum(header["CRVINPIX"] for header in headers),
        n_hits=sum(header["CRVINHIT"] for header in headers),
        hit_rate=stated_rate(headers),
        verdict="; ".join(dict.fromkeys(verdict_line(noted_doubts(h)) for h in headers)),
    )


def _pair(files, outputs, in_place):
    files = [Path(file) for file in files]
    if in_place:
        if outputs is not None:
            raise ValueError("set in_place or give outputs, not both")
        return list(zip(files, files, strict=True))
    if outputs is None or isinstance(outputs, (str, os.PathLike)):
        return [(file, output_name(file, outputs)) for file in files]
    return list(zip(files, map(Path, outputs), strict=True))
