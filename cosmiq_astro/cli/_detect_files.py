"""What ``cosmiq-astro detect`` does once its arguments are known to be right."""

import importlib.util
import json
import os
import sys
import traceback
from dataclasses import fields, replace
from pathlib import Path

from tqdm import tqdm

from cosmiq_astro import batch
from cosmiq_astro._io import atomic_write, check_run, printable
from cosmiq_astro.cli import _report
from cosmiq_astro.cli._errors import describe, with_advice
from cosmiq_astro.cli._terminal import print_error, print_output, print_warning
from cosmiq_astro.data import sample_path
from cosmiq_astro.hst import plan_file, read_chip
from cosmiq_astro.hst.names import output_name
from cosmiq_astro.hst.plan import PLAN_SETTINGS
from cosmiq_astro.hst.settings import DetectSettings


def detect_files(args):
    """
    Detect the cosmic rays in files, or say what would be done; one bad file does not stop the rest.

    Parameters
    ----------
    args : `argparse.Namespace`
        Parsed arguments.

    Returns
    -------
    code : int
        1 if any file failed, else 0.
    """
    if args.sample and importlib.util.find_spec("matplotlib") is None:
        raise ImportError("--sample draws with matplotlib: pip install 'cosmiq_astro[plot]'")
    files = [sample_path()] if args.sample else args.files
    outputs = [_output(args, file) for file in files]
    pairs = list(zip(files, outputs, strict=True))
    try:
        batch.check_pairs(pairs, overwrite=args.overwrite, in_place=args.in_place)
    except ValueError as error:
        args.usage_error(str(error))
    n_failed = _plan(args, pairs) if args.dry_run else _detect(args, files, outputs)
    if n_failed and len(files) > 1:
        print(f"cosmiq-astro: {n_failed} of {len(files)} files failed", file=sys.stderr)
    return 1 if n_failed else 0


def _output(args, file):
    """Name the output of a file; ``-o`` is a directory if it is one or if there are many files."""
    if args.in_place:
        return file
    if args.output is None:
        return output_name(file, Path.cwd() if args.sample else None)
    if len(args.files) > 1 or args.output.endswith((os.sep, "/")) or Path(args.output).is_dir():
        return output_name(file, args.output)
    return Path(args.output)


def _settings(args):
    """Return what `cosmiq_astro.hst.detect_file` is called with."""
    names = [field.name for field in fields(DetectSettings)]
    return {name: getattr(args, name) for name in names if hasattr(args, name)}


def _plan(args, pairs):
    """Say what would be done with the files, and return with how many of them nothing can be."""
    settings = DetectSettings(**_settings(args))
    if args.resume:
        settings = settings.loaded()
    n_failed = 0
    for file_in, file_out in pairs:
        try:
            done = batch.find_outcome(file_in, file_out, settings) if args.resume else None
            if done is not None:
                _say_done(args, done)
                continue
            target = None if args.in_place else file_out
            plan = plan_file(file_in, target, **settings.only(PLAN_SETTINGS))
            _say(args, _report.plan_facts(plan), _report.plan_text(_shown(plan)))
        except Exception as error:
            if args.debug:
                traceback.print_exc()
            _say_failed(args, file_in, describe(error, args))
            n_failed += 1
    return n_failed


def _detect(args, files, outputs):
    """Work on the files, say what came of each, and return how many failed."""
    show = sys.stderr.isatty() and not args.quiet
    picture = outputs[0].with_suffix(".png") if args.sample else None
    if picture is not None:
        others = [path for path in (args.table, picture) if path is not None]
        check_run(others=others, overwrite=args.overwrite)
    with tqdm(total=len(files), disable=not show or len(files) == 1) as bar:

        def report(outcome):
            _tell(args, outcome)
            bar.update()

        outcomes = batch.detect_files(
            files,
            None if args.in_place else outputs,
            settings=_settings(args) | {"progress_bar": show and len(files) == 1},
            jobs=args.jobs,
            resume=args.resume,
            table=args.table,
            report=report,
            scheduler=args.scheduler,
            insecure_scheduler=args.insecure_scheduler,
        )
    if picture is not None and outcomes["status"][0] != "failed":
        draw(outputs[0], picture, overwrite=args.overwrite)
        if not (args.quiet or args.json):
            print_output(f"{picture}: image, mask, probability, entropy")
    return int((outcomes["status"] == "failed").sum())


def _shown(named):
    """Return a plan or a result whose names can be printed."""
    names = {name: printable(getattr(named, name)) for name in ("file_in", "file_out")}
    return replace(named, **names)


def _tell(args, outcome):
    """Report on one file, above the progress bar."""
    with tqdm.external_write_mode():
        for note in () if args.quiet else outcome.notes:
            print_warning(f"{outcome.file_in}: {note}")
        if outcome.status == "failed":
            if args.debug:
                print(outcome.traceback, file=sys.stderr, end="")
            _say_failed(args, outcome.file_in, with_advice(outcome.error, args))
        elif outcome.result is None:
            _say_done(args, outcome)
        else:
            text = _report.result_text(_shown(outcome.result), chips=args.verbose)
            _say(args, _report.result_facts(outcome.result), text)


def _say(args, facts, text):
    if args.json:
        print_output(json.dumps(facts))
    elif not args.quiet:
        print_output(text)


def _say_done(args, outcome):
    """Report on a file that was finished before: by an earlier run, or by a worker that died."""
    facts = {name: getattr(outcome, name) for name in ("file_in", "status", "file_out")}
    file_in, file_out = printable(outcome.file_in), printable(outcome.file_out)
    said = f"{outcome.n_pixels_flagged} pixels flagged, {outcome.n_hits} hits -> {file_out}"
    if outcome.status == "skipped":
        said = f"skipped, {file_out} is up to date"
    _say(args, facts, f"{file_in}: {said}")


def _say_failed(args, file_in, message):
    if args.json:
        facts = {"file_in": str(file_in), "status": "failed", "error": message}
        print_output(json.dumps(facts))
    print_error(f"{file_in}: {message}")


def draw(file, picture, *, overwrite=False):
    """
    Draw the detection on the first chip of a file.

    Parameters
    ----------
    file : path-like
        An output of `cosmiq_astro.hst.detect_file`.
    picture : path-like
        The PNG to write.
    overwrite : bool, optional
        Whether it may be replaced.
    """
    from matplotlib.figure import Figure

    from cosmiq_astro.plots import plot_detection

    # Not a pyplot figure: there may be no display.
    figure = Figure(figsize=(11, 10), layout="compressed")
    plot_detection(read_chip(file), axes=figure.subplots(2, 2, sharex=True, sharey=True))
    with atomic_write(picture, overwrite=overwrite) as temporary:
        figure.savefig(temporary, dpi=150)
