"""Thousands of files: one a task, here or on a cluster, and none twice."""

import functools
import os
import traceback
import warnings
from dataclasses import dataclass, field, replace
from pathlib import Path

from astropy import units as u
from astropy.table import QTable

from cosmiq_astro._io import remove_temporaries, written_whole
from cosmiq_astro.hst import detect_file
from cosmiq_astro.hst.detect import digest_of
from cosmiq_astro.hst.provenance import digest_file, find_finished
from cosmiq_astro.survey.urls import is_url, local_files, name_output
from cosmiq_astro.verdict import verdict_line

__all__ = ["Outcome", "detect_files", "find_outcome", "outcomes_table", "run_survey"]

_RATE = u.cm**-2 / u.s
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


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
        What was found, of a file that is ``'ok'``.
    n_pixels_flagged, n_hits : int
        0 if it failed.
    hit_rate : float
        cm⁻² s⁻¹; NaN if it is unknown.
    seconds : float
        Time taken.
    verdict : str
        Whether to trust the masks, why not, and what would be better.
    """

    file_in: str
    file_out: str
    status: str
    error: str = ""
    traceback: str = field(default="", repr=False)
    notes: tuple = ()
    result: object = None
    n_pixels_flagged: int = 0
    n_hits: int = 0
    hit_rate: float = float("nan")
    seconds: float = 0.0
    verdict: str = ""


def detect_files(files, folder=None, *, table=None, **options):
    """
    Find the cosmic rays in many files; one bad file does not stop the rest.

    Parameters
    ----------
    files : sequence of str or path-like
        Inputs, see `~cosmiq_astro.hst.detect_file`; URLs such as
        ``s3://bucket/j8bt06nyq_flt.fits`` are fetched through fsspec.
    folder : str or path-like, optional
        Directory or URL of the outputs; beside each input if None.
    table : path-like, optional
        Where to write the table returned, as ECSV, also when interrupted.
    **options
        As for `run_survey`: ``jobs``, ``scheduler``, ``resume``, and settings
        of `~cosmiq_astro.hst.detect_file`.

    Returns
    -------
    outcomes : `~astropy.table.QTable`
        One row per file, see `outcomes_table`.

    Raises
    ------
    ValueError
        If two inputs would have the same output, or a setting is wrong.

    Examples
    --------
    >>> import tempfile
    >>> from cosmiq_astro.data import sample_path
    >>> from cosmiq_astro.batch import detect_files
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     first = detect_files([sample_path()], folder, model="acs-wfc-unet")
    ...     again = detect_files([sample_path()], folder, model="acs-wfc-unet", resume=True)
    >>> print(first["status"][0], again["status"][0], again["n_hits"][0] == first["n_hits"][0])
    ok skipped True
    """
    in_place = options.get("in_place", False)
    pairs = [(file, None if in_place else name_output(file, folder)) for file in files]
    outcomes = []
    try:
        outcomes.extend(run_survey(pairs, **options))
    finally:
        found = outcomes_table(outcomes)
        if table is not None:
            with written_whole(table, overwrite=True) as temporary:
                found.write(temporary, format="ascii.ecsv")
    return found


def outcomes_table(outcomes):
    """
    Put outcomes into a table.

    Parameters
    ----------
    outcomes : sequence of `Outcome`
        In any order.

    Returns
    -------
    table : `~astropy.table.QTable`
        Columns ``file_in``, ``status``, ``file_out``, ``n_pixels_flagged``,
        ``n_hits``, ``hit_rate`` (cm⁻² s⁻¹), ``seconds``, ``verdict``, ``error``; sorted by
        ``file_in``.
    """
    names = {"file_in": str, "status": str, "file_out": str, "n_pixels_flagged": int}
    names |= {"n_hits": int, "hit_rate": float, "seconds": float, "verdict": str, "error": str}
    ordered = sorted(outcomes, key=lambda outcome: outcome.file_in)
    columns = {name: [getattr(o, name) for o in ordered] for name in names}
    table = QTable(list(columns.values()), names=list(columns), dtype=list(names.values()))
    table["hit_rate"] = table["hit_rate"] * _RATE
    table["seconds"] = table["seconds"] * u.s
    return table


def run_survey(pairs, *, jobs=1, scheduler=None, resume=False, **settings):
    """
    Work on files, and give what came of each as soon as it is known.

    Parameters
    ----------
    pairs : sequence of tuple
        Input and output of each; no output (None) with ``in_place``.
    jobs : int, optional
        Processes on this machine, by `dask.distributed`; 1 works in this
        process. A script that asks for more needs the guard ``if __name__ ==
        "__main__":``.
    scheduler : str, optional
        Address of a dask scheduler, ``tcp://host:8786``, instead of ``jobs``.
        Its workers must see the files, or the URLs, by the same names.
    resume : bool, optional
        Whether to skip outputs that were made from the same input, by its
        SHA-256, with the same model, settings and version.
    **settings
        As for `~cosmiq_astro.hst.detect_file`. A model is given by its name
        or folder.

    Yields
    ------
    outcome : `Outcome`
        In the order in which they end. An error in one file, or a worker that
        dies of it, is an outcome too.

    Raises
    ------
    ImportError
        If there is no dask.
    ValueError
        If two inputs have one output, or a setting is wrong.
    """
    if not isinstance(jobs, int) or jobs < 1:
        raise ValueError(f"jobs must be a positive integer, got {jobs!r}")
    if scheduler is not None and jobs > 1:
        raise ValueError("give jobs or scheduler, not both")
    pairs = [(file_in, file_out) for file_in, file_out in pairs]
    _refuse_collisions(pairs)
    if settings.get("in_place") and any(is_url(file_in) for file_in, _ in pairs):
        raise ValueError("a URL cannot be replaced in place: give another output")
    tasks = {pair: _task(pair, resume=resume, settings=settings) for pair in pairs}
    if jobs == 1 and scheduler is None:
        yield from (task() for task in tasks.values())
    else:
        yield from _distribute(tasks, jobs, scheduler)


def _task(pair, *, resume, settings):
    """Return the work on one file, to be called without arguments."""
    output = _names(pair)[1]
    # A worker may die after its file is written and before it says so: whoever is given the file
    # next finds it done. An output that was there before is an error, unless resume was asked for.
    is_new = not is_url(output) and not os.path.exists(output)
    return functools.partial(_detect_one, pair, resume=resume or is_new, settings=settings)


def _refuse_collisions(pairs):
    taken = {}
    for file_in, file_out in pairs:
        name = str(file_in if file_out is None else file_out)
        name = name if is_url(name) else os.path.realpath(name)
        other = taken.setdefault(name, file_in)
        if other is not file_in:
            raise ValueError(f"{other} and {file_in} would be written to the same file")


def _distribute(tasks, jobs, scheduler):
    """Hand the files out to the workers, one a task; ``tasks`` has the work by pair of names."""
    try:
        import dask
        from distributed import Client, LocalCluster, as_completed
    except ImportError as error:
        raise ImportError(
            "jobs and scheduler need dask: pip install 'cosmiq_astro[dask]'"
        ) from error
    pending = {}
    cluster = None
    if scheduler is None:
        # In the workers alone, before they load torch: no more threads than cores. And without
        # dask's own MALLOC_TRIM_THRESHOLD_, which makes each file take a quarter longer.
        n_threads = str(max(1, (os.cpu_count() or 1) // jobs))
        environment = dict.fromkeys(_THREADS, n_threads)
        with dask.config.set({"distributed.nanny.pre-spawn-environ": environment}):
            cluster = LocalCluster(
                n_workers=min(jobs, max(len(tasks), 1)),
                threads_per_worker=1,
                memory_limit=0,
                dashboard_address=None,
            )
    try:
        with Client(cluster or scheduler) as client:
            for pair, task in tasks.items():
                pending[client.submit(_recorded, task, pure=False)] = pair
            for future in as_completed(list(pending)):
                pair = pending.pop(future)
                error = future.exception()
                if error is None:
                    yield future.result()
                else:
                    reason = f"the worker died: {error}".splitlines()[0]
                    yield Outcome(*_names(pair), "failed", error=reason)
    finally:
        if cluster is not None:
            cluster.close()
            outputs = (_names(pair)[1] for pair in tasks)
            remove_temporaries(output for output in outputs if not is_url(output))


def _names(pair):
    file_in, file_out = pair
    return str(file_in), str(file_in if file_out is None else file_out)


def _recorded(task):
    """Work on a file in another process, whose warnings nobody would see."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        outcome = task()
    notes = tuple(str(w.message) for w in caught if issubclass(w.category, UserWarning))
    return replace(outcome, notes=notes)


@functools.lru_cache(maxsize=2)
def _model(name):
    """Load a model once in each process."""
    from cosmiq_astro.models.model import load_model

    return load_model(name)


def _detect_one(pair, *, resume, settings):
    """Work on one file; whatever goes wrong is an outcome."""
    names = _names(pair)
    try:
        model = _model(str(settings.get("model", "acs-wfc-vi")))
        given = settings | {"model": model}
        if resume:
            done = find_outcome(pair, given)
            if done is not None:
                return done
        with local_files(*pair, overwrite=settings.get("overwrite", False)) as near:
            result = detect_file(*near, **given)
    except Exception as error:
        expected = isinstance(error, (OSError, ValueError, TypeError))
        text = str(error) if expected else f"{type(error).__name__}: {error}"
        return Outcome(*names, "failed", error=text, traceback=traceback.format_exc())
    rate = result.hit_rate
    return Outcome(
        *names,
        "ok",
        # Not the names of temporary copies.
        result=replace(result, file_in=names[0], file_out=names[1]),
        n_pixels_flagged=result.n_pixels_flagged,
        n_hits=result.n_hits,
        hit_rate=float("nan") if rate is None else rate.to_value(_RATE),
        seconds=result.seconds,
        verdict=result.verdict,
    )


def find_outcome(pair, settings):
    """
    Look whether a file needs no work, since its output is there already.

    Parameters
    ----------
    pair : tuple
        Input and output, as for `run_survey`.
    settings : dict
        Settings of `~cosmiq_astro.hst.detect_file`, with the model loaded.

    Returns
    -------
    outcome : `Outcome` or None
        ``'skipped'``, with the counts of the output; None if there is no
        output, or one made from another input or in another way.
    """
    file_in, file_out = _names(pair)
    options = {"use_fsspec": True} if is_url(file_out) else {}
    source = None
    if file_out != file_in:
        if not is_url(file_out) and not Path(file_out).exists():
            return None
        with local_files(file_in) as (near, _):
            source = digest_file(near)
    key = digest_of(settings)
    headers = find_finished(file_out, source=source, settings=key, **options)
    if not headers:
        return None
    rates = [header["CRVIRATE"] for header in headers if "CRVIRATE" in header]
    return Outcome(
        file_in,
        file_out,
        "skipped",
        n_pixels_flagged=sum(header["CRVINPIX"] for header in headers),
        n_hits=sum(header["CRVINHIT"] for header in headers),
        hit_rate=sum(rates) / len(rates) if rates else float("nan"),
        verdict="; ".join(dict.fromkeys(verdict_line(header) for header in headers)),
    )
